"""Images made worse as in practice: noise, blur, little contrast, JPEG compression, rotation.

Each function takes calibrated values (C, H, W) and gives new ones of the same shape as float32, kept within the lowest
and highest value that images of the kind can have; nothing is rounded, except by JPEG. The kinds, but for rotation, are
among those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, arXiv 1903.12261; the levels are stated in units that can be measured in any image, where
theirs are for photographs of 224 px.
"""

from __future__ import annotations

import difflib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata.errors import ParameterError
from mikata.language import say

Values = NDArray[np.float32]

UNITS: Mapping[str, str] = {
    "noise": "grey levels",
    "blur": "px",
    "contrast": "%",
    "jpeg": "quality",
    "rotation": "degrees",
}
"""The kinds, and what their levels are in."""

_NOISE_PERCENT = (2.0, 4.0, 8.0, 16.0)
_STANDARD: Mapping[str, tuple[float, ...]] = {
    "blur": (1.0, 2.0, 4.0, 8.0),
    "contrast": (80.0, 60.0, 40.0, 20.0),
    "jpeg": (75.0, 50.0, 25.0, 10.0),
    "rotation": (5.0, 10.0, 15.0, 30.0),
}
_ALLOWED: Mapping[str, tuple[float, float]] = {
    "noise": (0.0, math.inf),
    "blur": (0.0, 200.0),
    "contrast": (0.0, 1000.0),
    "jpeg": (1.0, 100.0),
    "rotation": (0.0, 180.0),
}
_LARGEST_JPEG = 65_535


@dataclass(frozen=True)
class Corruption:
    """One kind at one level.

    Attributes
    ----------
    kind:
        One of `UNITS`.
    level:
        In the unit of its kind: standard deviation of the noise, and of the blur; contrast that is left; quality of
        JPEG from 1 to 100; angle.
    """

    kind: str
    level: float

    def applied(
        self, values: Values, limits: tuple[float, float], window: tuple[float, float], seed: int
    ) -> Values:
        """An image made worse; chance (the noise, the side to turn to) depends on `seed` and the kind alone.

        Parameters
        ----------
        values:
            (C, H, W), calibrated.
        limits:
            Lowest and highest value that such an image can have.
        window:
            What JPEG stores as 0 and as 255.
        seed:
            The image's own.
        """
        random = np.random.default_rng([seed, list(UNITS).index(self.kind)])
        match self.kind:
            case "noise":
                changed = noisy(values, self.level, random)
            case "blur":
                changed = blurred(values, self.level)
            case "contrast":
                changed = less_contrast(values, self.level)
            case "jpeg":
                changed = jpeg(values, round(self.level), window)
            case _:
                changed = rotated(values, self.level if random.random() < 0.5 else -self.level)
        return np.clip(changed, *np.asarray(limits, np.float32))


def standard(value_range: tuple[float, float]) -> tuple[Corruption, ...]:
    """Four levels of each kind; noise in per cent (2, 4, 8, 16) of the range of the training images' values."""
    span = value_range[1] - value_range[0]
    noise = tuple(Corruption("noise", float(f"{span * percent / 100:.3g}")) for percent in _NOISE_PERCENT)
    return (*noise, *(Corruption(kind, level) for kind, levels in _STANDARD.items() for level in levels))


def levels(text: str, value_range: tuple[float, float]) -> tuple[Corruption, ...]:
    """Corruptions from a text such as ``noise=5,10; blur=1,2``; all at their standard levels where it is empty.

    Raises
    ------
    ParameterError
        For an unknown kind, a level that is no number or out of range, or a kind that is there twice.
    """
    if not text.strip():
        return standard(value_range)
    found: dict[str, tuple[Corruption, ...]] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        kind, equals, numbers = (piece.strip() for piece in part.partition("="))
        kind = kind.casefold()
        if kind not in UNITS or not equals:
            near = difflib.get_close_matches(kind, UNITS, 1)
            hint = say(" (did you mean '{near}'?)", near=near[0]) if near and near[0] != kind else ""
            raise ParameterError(
                say(
                    "levels has '{part}'{hint}. Write levels as in noise=5,10; blur=1,2. The kinds are {kinds}.",
                    part=part.strip(),
                    hint=hint,
                    kinds=", ".join(f"{name} ({unit})" for name, unit in UNITS.items()),
                )
            )
        if kind in found:
            raise ParameterError(say("levels names {kind} twice: give all its levels at once.", kind=kind))
        found[kind] = tuple(Corruption(kind, _level(kind, number)) for number in numbers.split(","))
        if len(set(found[kind])) < len(found[kind]):
            raise ParameterError(say("levels has a level of {kind} twice.", kind=kind))
    return tuple(one for kind in UNITS for one in found.get(kind, ()))


def _level(kind: str, text: str) -> float:
    low, high = _ALLOWED[kind]
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    whole = kind != "jpeg" or level == round(level) if math.isfinite(level) else False
    if not (math.isfinite(level) and whole and low <= level <= high and level > 0):
        facts = {"kind": kind, "level": text.strip(), "unit": UNITS[kind]}
        if kind == "jpeg":
            raise ParameterError(
                say(
                    "jpeg has the level '{level}' in levels; it is a whole number from 1 to 100.",
                    level=facts["level"],
                )
            )
        if math.isinf(high):
            raise ParameterError(
                say("{kind} has the level '{level}' in levels; it is a number above 0, in {unit}.", **facts)
            )
        raise ParameterError(
            say(
                "{kind} has the level '{level}' in levels; it is a number above 0 and up to {high:g}, in {unit}.",
                high=high,
                **facts,
            )
        )
    return level


def noisy(values: Values, sd: float, random: np.random.Generator) -> Values:
    """Gaussian noise of that standard deviation added, in the unit of the values, to each value on its own.

    Equal channels (grey shown as colour) get the same noise.
    """
    channels = 1 if _grey(values) else len(values)
    drawn = random.standard_normal((channels, *values.shape[1:]), np.float32)
    return np.asarray(values + np.float32(sd) * drawn, np.float32)


def blurred(values: Values, sd_px: float) -> Values:
    """Convolved with a Gaussian of that standard deviation in px, cut off at 4; the border is continued as a mirror."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, (0, sd_px, sd_px), mode="reflect", truncate=4.0), np.float32)


def less_contrast(values: Values, percent: float) -> Values:
    """Each value's distance from its channel's mean, made `percent` of what it was."""
    mean = values.mean((1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(mean + (values - mean) * (percent / 100), np.float32)


def jpeg(values: Values, quality: int, window: tuple[float, float]) -> Values:
    """Stored as JPEG of that quality (libjpeg's, 1 to 100) and read again.

    JPEG holds 8 bits: `window` becomes 0 to 255, rounded, what lies beyond is cut off, and 0 to 255 are taken back.
    Three channels are colour, with Pillow's usual halving of the colours' resolution; other numbers of channels are
    stored one by one.
    """
    from PIL import Image as Pillow

    if max(values.shape[1:]) > _LARGEST_JPEG:
        raise ParameterError(
            say(
                "JPEG holds at most {most} px along a side: leave jpeg out of levels for these images.",
                most=_LARGEST_JPEG,
            )
        )
    low, high = window
    stored = np.clip(np.rint((values.astype(np.float64) - low) * (255 / (high - low))), 0, 255).astype(
        np.uint8
    )
    grey = _grey(values)
    planes = [stored[0]] if grey else [np.moveaxis(stored, 0, -1)] if len(stored) == 3 else list(stored)
    read = []
    for plane in planes:
        buffer = io.BytesIO()
        Pillow.fromarray(np.ascontiguousarray(plane)).save(buffer, "JPEG", quality=quality)
        with Pillow.open(buffer) as picture:
            read.append(np.asarray(picture, np.float64))
    back = np.moveaxis(read[0], -1, 0) if read[0].ndim == 3 else np.stack(read)
    if grey:
        back = np.repeat(back, len(values), 0)
    return np.asarray(low + back * ((high - low) / 255), np.float32)


def rotated(values: Values, degrees: float) -> Values:
    """Turned about the middle of the picture, anticlockwise as it is seen, bilinear, at the same size.

    The corners that come into view are filled as in a mirror, so that no black edge tells of the rotation.
    """
    from scipy.ndimage import rotate

    turned = rotate(values, degrees, axes=(2, 1), reshape=False, order=1, mode="mirror")
    return np.asarray(turned, np.float32)


def _grey(values: Values) -> bool:
    """Whether all channels are the same."""
    return all(np.array_equal(values[0], one) for one in values[1:])
