"""NumPy arrays to images: which numbers ImageJ can hold, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata.errors import ImageError
from mikata.language import say
from mikata.types import AXES, Image, ValueCalibration

SIGNED_16 = ValueCalibration((-32768.0, 1.0))
"""ImageJ keeps signed 16-bit pixels as unsigned ones, 32768 too high, and this function beside them."""

PRIMARIES = tuple(np.outer(np.arange(3) == channel, np.arange(256)).astype(np.uint8) for channel in range(3))
"""LUTs of red, green and blue, for colours of 16 bits, which ImageJ keeps as three channels."""

DEFAULT_AXES = {2: "YX", 3: "ZYX", 4: "ZCYX", 5: "TZCYX"}


def from_array(
    array: ArrayLike, axes: str | None = None, title: str = "", *, exact: bool = True, **attributes: Any
) -> Image:
    """Make an image of a NumPy array.

    Parameters
    ----------
    array:
        bool, integer or floating point numbers of 2 to 6 dimensions.
    axes:
        One letter for each dimension, out of ``TZCYX`` in any order and ``S`` for the 3 (or 4: alpha
        is dropped) samples of a colour. Without it: ``YX``, ``ZYX``, ``ZCYX`` or ``TZCYX`` by the number
        of dimensions, and ``YXS`` for a uint8 array of three dimensions whose last is 3 or 4.
    title:
        The image's name.
    exact:
        Refuse numbers that float32 does not hold; otherwise floating point numbers (never
        integers) are rounded to the nearest float32, which is what ImageJ does with 64-bit files.
    **attributes:
        Other attributes of :class:`mikata.types.Image`.

    Returns
    -------
    Image
        uint8, uint16 and float32 are kept; bool becomes 0 and 255; int16 becomes uint16 with
        ImageJ's calibration function (-32768 + stored); everything else becomes float32. Axes of
        length 1 other than Y and X are dropped.

    Raises
    ------
    ImageError
        If the array is empty, is not of numbers, has other dimensions, or holds numbers that a
        32-bit float cannot hold.
    """
    pixels = np.asarray(array)
    name = title or say("The array")
    if pixels.size == 0:
        raise ImageError(say("{name} has no pixels: its shape is {shape}.", name=name, shape=pixels.shape))
    if axes is None:
        if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
            axes = "YXS"
        elif pixels.ndim in DEFAULT_AXES:
            axes = DEFAULT_AXES[pixels.ndim]
        else:
            raise ImageError(
                say(
                    "{name} has {dimensions} dimensions; an image has 2 to 5.",
                    name=name,
                    dimensions=pixels.ndim,
                )
            )
    pixels, axes = _in_order(pixels, axes, name)
    attributes.setdefault("title", title)
    pixels, calibration = _storable(pixels, name, exact)
    if calibration is not None:
        if "calibration" in attributes:
            raise ImageError(
                say(
                    "{name} holds signed 16-bit numbers, which bring their own value calibration; give "
                    "unsigned ones, or no calibration.",
                    name=name,
                )
            )
        unit = attributes.pop("value_unit", "grey")
        attributes["calibration"] = ValueCalibration(calibration.coefficients, unit)
    return Image(np.ascontiguousarray(pixels), axes, **attributes)


def _in_order(pixels: NDArray[Any], axes: str, name: str) -> tuple[NDArray[Any], str]:
    wanted = AXES + "S"
    if (
        len(axes) != pixels.ndim
        or len(set(axes)) != len(axes)
        or not set(axes) <= set(wanted)
        or not {"Y", "X"} <= set(axes)
    ):
        raise ImageError(
            say(
                "{name} of shape {shape} cannot have the axes '{axes}': one letter a dimension, out of "
                "{letters} and S, with Y and X among them.",
                name=name,
                shape=pixels.shape,
                axes=axes,
                letters=AXES,
            )
        )
    order = sorted(range(len(axes)), key=lambda i: wanted.index(axes[i]))
    pixels = pixels.transpose(order)
    axes = "".join(axes[i] for i in order)
    if axes.endswith("S"):
        if pixels.shape[-1] == 4:
            pixels = pixels[..., :3]
        if pixels.shape[-1] not in (1, 3):
            raise ImageError(
                say(
                    "{name} has {samples} samples a pixel; a colour image has 3.",
                    name=name,
                    samples=pixels.shape[-1],
                )
            )
        if pixels.shape[-1] == 3 and pixels.dtype != np.uint8:
            raise ImageError(
                say(
                    "{name} holds colours as {kind}; ImageJ's are 8-bit. Scale them to 0..255, or name the "
                    "axis C to keep three channels.",
                    name=name,
                    kind=pixels.dtype,
                )
            )
    drop = tuple(i for i, a in enumerate(axes) if a not in "YX" and pixels.shape[i] == 1)
    return pixels.squeeze(drop), "".join(a for i, a in enumerate(axes) if i not in drop)


def _storable(pixels: NDArray[Any], name: str, exact: bool) -> tuple[NDArray[Any], ValueCalibration | None]:
    kind, size = pixels.dtype.kind, pixels.dtype.itemsize
    if kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255), None
    if (kind == "u" and size <= 2) or (kind == "f" and size == 4):
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False), None
    if kind == "i" and size == 2:
        return (pixels.astype(np.int32) + 32768).astype(np.uint16), SIGNED_16
    if kind == "f" and size == 2:
        return pixels.astype(np.float32), None
    if kind in "iu":
        rounded = pixels.astype(np.float32)
        # float64 holds every integer that float32 does; from 2**53 on both sides would round alike
        same = rounded.astype(np.float64) == pixels.astype(np.float64)
        if size == 8:
            same &= np.abs(rounded) < 2.0**53
        if not same.all():
            raise ImageError(
                say(
                    "{name} holds integers such as {number}, which a 32-bit float cannot hold exactly.",
                    name=name,
                    number=pixels[~same].flat[0],
                )
            )
        return rounded, None
    if kind == "f":
        with np.errstate(over="ignore"):
            rounded = pixels.astype(np.float32)
        if exact and not np.array_equal(rounded, pixels, equal_nan=True):
            raise ImageError(
                say(
                    "{name} holds {kind} numbers that change when rounded to ImageJ's 32 bits; use "
                    "array.astype('float32') if that is meant.",
                    name=name,
                    kind=pixels.dtype,
                )
            )
        if np.any(np.isinf(rounded) & np.isfinite(pixels)):
            raise ImageError(
                say("{name} holds numbers beyond the range of ImageJ's 32-bit pixels (3.4e38).", name=name)
            )
        return rounded, None
    raise ImageError(say("{name} holds {kind}, which are not real numbers.", name=name, kind=pixels.dtype))
