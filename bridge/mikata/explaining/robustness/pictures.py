"""Images of attacked planes: as 32-bit files to measure in, and as small pictures for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mikata.explaining.robustness.attacked import Attacked, Facts
from mikata.explanation.display import lut, render
from mikata.prediction import Plane
from mikata.types import Image

CHANGED, DIFFERENCE, HEAT = " changed", " difference", " heat"
"""Ends of the names of what is made of an image."""

_PICTURE_PX = 256


@dataclass(frozen=True)
class Names:
    """Words that go into images: names of the classes, unit of the values."""

    classes: Sequence[str]
    unit: str


def images(name: str, planes: Sequence[Attacked], names: Names) -> dict[str, Image]:
    """Changed image, difference and heat of the planes of one image, by the end of the file's name.

    All are 32-bit and of the size at which the network takes the image, a slice for each plane. The difference is the
    changed image less the unchanged one. The heat has three channels: of the class predicted before, in the unchanged
    and in the changed image, on one scale, and of the class predicted after.
    """
    labels = [_label(one) for one in planes] if len(planes) > 1 else []
    changed = _stack([one.changed for one in planes])
    difference = _stack([one.difference for one in planes])
    reach = max(float(np.abs(difference).max()), 1e-12)
    window = planes[0].sample.window
    made = {
        CHANGED: _image(changed, f"{name}{CHANGED}", names.unit, window, labels),
        DIFFERENCE: _image(difference, f"{name}{DIFFERENCE}", names.unit, (-reach, reach), labels),
    }
    heats = [one.heat for one in planes if one.heat is not None]
    if len(heats) == len(planes):
        heat = np.stack(heats)
        first = planes[0]
        before, after = (
            names.classes[first.facts.before.predicted],
            names.classes[first.facts.after.predicted],
        )
        roles = (
            [f"{before}, unchanged", f"{before}, changed", f"{after}, changed"]
            if len(planes) == 1
            else ["class before, unchanged", "class before, changed", "class after, changed"]
        )
        together = float(heat[:, :2].max()) or 1.0
        made[HEAT] = _image(
            heat,
            f"{name}{HEAT}",
            "heat",
            (0.0, together),
            [f"{label}: {role}" if label else role for label in labels or [""] for role in roles],
        ).replace(
            luts=(np.ascontiguousarray(lut("Fire").T),) * 3,
            display_ranges=((0.0, together), (0.0, together), (0.0, float(heat[:, 2].max()) or 1.0)),
            mode="color",
        )
    return made


def _label(one: Attacked) -> str:
    plane = one.sample.plane
    return f"slice {plane.z} frame {plane.t}"


def _stack(planes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(Z, C, h, w): a grey plane beside coloured ones is repeated."""
    channels = max(len(one) for one in planes)
    return np.stack([np.broadcast_to(one, (channels, *one.shape[1:])) for one in planes])


def _image(
    array: NDArray[np.float32], title: str, unit: str, window: tuple[float, float], labels: Sequence[str]
) -> Image:
    depth, channels = array.shape[:2]
    keep = [(axis, length) for axis, length in zip("ZC", (depth, channels), strict=True) if length > 1]
    # one label for a slice is repeated for its channels
    every = (
        labels if len(labels) in (0, depth * channels) else [one for one in labels for _ in range(channels)]
    )
    return Image(
        np.ascontiguousarray(array.reshape(*(length for _, length in keep), *array.shape[2:])),
        "".join(axis for axis, _ in keep) + "YX",
        title=title,
        value_unit=unit,
        display_ranges=(window,) * channels,
        mode="grayscale" if channels > 1 else "",
        slice_labels=tuple(every),
    )


@dataclass(frozen=True, eq=False)
class Example:
    """A plane for the page, small.

    Attributes
    ----------
    plane, facts:
        Which one, and what was found of it.
    original, difference, changed:
        Pictures (h, w, 3).
    heat:
        Three pictures of heat over the image, or none.
    reach:
        Largest difference: what is shown as full red and blue.
    """

    plane: Plane
    facts: Facts
    original: NDArray[np.uint8]
    difference: NDArray[np.uint8]
    changed: NDArray[np.uint8]
    heat: tuple[NDArray[np.uint8], ...]
    reach: float


def example(one: Attacked) -> Example:
    """The pictures of a plane."""
    original, changed = (_shown(array, one.sample.window) for array in (one.original, one.changed))
    difference = one.difference
    # of several channels, at each pixel the one that changes most
    most = np.abs(difference).argmax(0)
    signed = np.take_along_axis(difference, most[None], 0)[0]
    reach = max(float(np.abs(signed).max()), 1e-12)
    heat: tuple[NDArray[np.uint8], ...] = ()
    if one.heat is not None:
        maps = [_small(each[None])[0] for each in one.heat]
        together = max(float(maps[0].max()), float(maps[1].max()), 1e-12)
        own = max(float(maps[2].max()), 1e-12)
        under = (original, changed, changed)
        heat = tuple(
            render(picture, np.maximum(each, 0), maximum=top)
            for picture, each, top in zip(under, maps, (together, together, own), strict=True)
        )
    return Example(one.sample.plane, one.facts, original, _signed(signed, reach), changed, heat, reach)


def _shown(values: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Values (c, h, w) as a small picture (h, w, 3)."""
    low, high = window
    channels = values if len(values) == 3 else np.repeat(values.mean(0, keepdims=True), 3, 0)
    small = _small(channels.astype(np.float32))
    stored = np.clip(np.rint((small - low) * (255 / max(high - low, 1e-12))), 0, 255)
    return np.ascontiguousarray(np.moveaxis(stored, 0, -1).astype(np.uint8))


def _signed(values: NDArray[np.float32], reach: float) -> NDArray[np.uint8]:
    """Blue below 0, white at 0, red above; pixels are picked, since mixing neighbours would hide the pattern."""
    from matplotlib import colormaps

    height, width = values.shape
    scale = min(1.0, _PICTURE_PX / max(height, width))
    rows, columns = (
        ((np.arange(max(1, round(side * scale))) + 0.5) * side / max(1, round(side * scale))).astype(int)
        for side in (height, width)
    )
    picked = values[rows[:, None], columns]
    table = colormaps["RdBu_r"]
    return np.asarray(table((picked / reach + 1) / 2, bytes=True)[..., :3], np.uint8)


def _small(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = planes.shape[1:]
    scale = min(1.0, _PICTURE_PX / max(height, width))
    if scale == 1:
        return planes
    size = max(1, round(height * scale)), max(1, round(width * scale))
    batch = torch.from_numpy(np.ascontiguousarray(planes))[None]
    return np.asarray(F.interpolate(batch, size, mode="bilinear", antialias=True)[0].numpy(), np.float32)
