"""Calibrated values of an image -> what a network takes, or a sentence saying why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mikata.errors import ImageError
from mikata.language import say

_UNCALIBRATED = {"", "grey", "gray", "gray value", "grey value"}


class TakesImages(Protocol):
    """What :func:`to_input` must know of a network; a `Model` is one."""

    @property
    def channels(self) -> int:
        """Number of input channels."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px: the size itself, or with ``native`` the smallest."""

    @property
    def fit(self) -> Literal["resize", "native"]:
        """Whether images are scaled to `size`, or keep their own scale."""

    @property
    def value_unit(self) -> str:
        """Unit of the training images' values."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the training images."""


@dataclass(frozen=True)
class InputSpec:
    """What a network takes.

    Attributes
    ----------
    channels:
        Number of input channels.
    size:
        Height and width in px: the size itself with ``resize``, the smallest one with ``native``.
    fit:
        ``resize``: images are scaled to `size`; ``native``: they keep their own scale.
    value_unit:
        Unit of the training images' values, such as ``HU``; ``grey`` when nothing is known.
    value_range:
        Smallest and largest value of the training images.
    """

    channels: int
    size: tuple[int, int]
    fit: Literal["resize", "native"]
    value_unit: str = "grey"
    value_range: tuple[float, float] = (float("-inf"), float("inf"))


def to_input(
    frame_values: NDArray[np.float32], spec: TakesImages, *, name: str, unit: str | None = None
) -> Tensor:
    """Return one plane of an image as a network takes it.

    Parameters
    ----------
    frame_values:
        Calibrated values (C, H, W).
    spec:
        What the network takes: a `Model` or an `InputSpec`.
    name:
        File and slice, for messages.
    unit:
        Unit of the values, compared with the network's; None where the caller has compared it.

    Returns
    -------
    Tensor
        float32 (C, h, w), values in the same unit. Grey becomes three equal channels and the reverse as
        needed. With ``resize``, bilinear with antialiasing to the size of `spec`, sides scaled each on
        its own. With ``native``, the same pixels; an image smaller than the size is continued as in a
        mirror to the right and below, so that pixel (y, x) stays pixel (y, x).

    Raises
    ------
    ImageError
        If the values are not finite or all the same, in another unit, far outside the range that the
        network was trained on (see :func:`check_values`), or the channels do not fit.
    """
    values = np.asarray(frame_values)
    if values.ndim != 3 or 0 in values.shape:
        raise ImageError(
            say(
                "{name}: a plane with channels (C, H, W) is expected, not an array of shape {shape}.",
                name=name,
                shape=values.shape,
            )
        )
    check_values(values, spec, name=name, unit=unit)
    x = torch.from_numpy(np.ascontiguousarray(fit_channels(values, spec.channels, name), dtype=np.float32))
    height, width = spec.size
    if spec.fit == "resize":
        if x.shape[1:] == (height, width):
            return x
        scaled: Tensor = F.interpolate(
            x[None], size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )
        return scaled[0]
    below, right = max(0, height - x.shape[1]), max(0, width - x.shape[2])
    if below or right:
        # NumPy's, since it goes on reflecting where an image is less than half of the size
        x = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, below), (0, right)), mode="reflect"))
    return x


def check_values(values: NDArray[Any], spec: TakesImages, *, name: str, unit: str | None = None) -> None:
    """Refuse values that a network cannot have been made for.

    An image is refused where a tenth of its pixels lies further outside the range of the training
    images than that range is wide: stored values of a CT (904 HU is 34696 there) or a 16-bit image for
    an 8-bit network. Single hot pixels, metal and an exposure twice as long pass. An 8-bit network
    also refuses an image that was scaled to 0..1.

    Raises
    ------
    ImageError
        If so, or if the unit is another, a value is NaN or infinite, or all values are the same.
    """
    if unit is not None and _plain_unit(unit) != _plain_unit(spec.value_unit):
        units = {"unit": unit or "grey", "expected": spec.value_unit}
        if _plain_unit(unit) == "grey":
            raise ImageError(
                say(
                    "{name}: its values are in {unit}, but the network was trained on {expected}. Open the "
                    "original DICOM file, which brings its unit along, or calibrate this image with Analyze > "
                    "Calibrate... in ImageJ.",
                    name=name,
                    **units,
                )
            )
        raise ImageError(
            say(
                "{name}: its values are in {unit}, but the network was trained on {expected}. It is another "
                "kind of image: give this network images like those it was trained on.",
                name=name,
                **units,
            )
        )
    finite = np.isfinite(values)
    if not finite.all():
        count = int(values.size - np.count_nonzero(finite))
        raise ImageError(
            say(
                "{name}: {count} of {total} values are not numbers (NaN or infinite). Replace them first, "
                "for example with Process > Noise > Remove NaNs... in ImageJ.",
                name=name,
                count=count,
                total=values.size,
            )
        )
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ImageError(
            say(
                "{name}: the image is constant (every value is {value:g}): there is nothing to see.",
                name=name,
                value=low,
            )
        )
    bottom, top = spec.value_range
    if not (np.isfinite(bottom) and np.isfinite(top)):
        return
    span = top - bottom
    if low < bottom - span or high > top + span:
        dark, bright = (float(value) for value in np.quantile(values, (0.1, 0.9)))
        if dark < bottom - span or bright > top + span:
            raise ImageError(
                say(
                    "{name}: its values go from {low:g} to {high:g}, but the network was trained on {bottom:g} "
                    "to {top:g} {unit}. Is it the same kind of image, with the same calibration? A stored "
                    "value is not a calibrated one: open the original, or convert it as the training images "
                    "were.",
                    name=name,
                    low=low,
                    high=high,
                    bottom=bottom,
                    top=top,
                    unit=spec.value_unit,
                )
            )
    eight_bit = _plain_unit(spec.value_unit) == "grey" and bottom >= 0 and 20 < top <= 255
    if eight_bit and low >= 0 and high <= 1 and not np.array_equal(values, np.rint(values)):
        raise ImageError(
            say(
                "{name}: its values lie between 0 and 1, but the network was trained on {bottom:g} to {top:g} "
                "{unit}. Multiply them by 255.",
                name=name,
                bottom=bottom,
                top=top,
                unit=spec.value_unit,
            )
        )


def _plain_unit(unit: str) -> str:
    plain = unit.strip().casefold()
    return "grey" if plain in _UNCALIBRATED else plain


def fit_channels(values: NDArray[Any], channels: int, name: str) -> NDArray[Any]:
    """A plane (C, H, W) with the number of channels that a network takes: grey made three, three equal ones made grey.

    Where the pixels can stay as they are, the array is a view of `values`.

    Raises
    ------
    ImageError
        If the channels do not fit.
    """
    own = values.shape[0]
    if own == channels:
        return values
    if own == 1 and channels == 3:
        return np.broadcast_to(values, (3, *values.shape[1:]))
    if own == 3 and channels == 1:
        if np.array_equal(values[0], values[1]) and np.array_equal(values[0], values[2]):
            return values[:1]
        raise ImageError(
            say(
                "{name} is in colour, but the network was trained on grey images. Convert it first with "
                "Image > Type > 8-bit in ImageJ.",
                name=name,
            )
        )
    raise ImageError(
        say(
            "{name} has {own} channels, but the network was trained on images with {channels}.",
            name=name,
            own=own,
            channels=channels,
        )
    )
