"""Images to TIFF files that ImageJ opens with everything in them, by tifffile.

ImageJ 1.54p reads slice labels of little-endian files wrongly (all but Latin letters are lost), so
files are big-endian, as ImageJ's own.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mikata.errors import ImageError, OutputError
from mikata.language import say
from mikata.outputs import written
from mikata.types import Image

_LARGEST = 2**32 - 2**25
"""Bytes of pixels; above it ImageJ's TIFF, whose offsets have 32 bits, has no place for the rest."""

_MODES = ("", "grayscale", "color", "composite")
_IDENTITY = (0.0, 1.0)


def write_tiff(path: Path | str, image: Image, *, overwrite: bool = True) -> Path:
    """Write an ImageJ TIFF file: pixels, sizes, value calibration, LUTs, ranges, labels, ROIs.

    It is written beside its place and then renamed, so an older file is whole until the new one is.
    The text in `Image.info` is written only if there is any; readers leave it empty.

    Parameters
    ----------
    path:
        The file, by custom ending in ``.tif``.
    image:
        What to write. Pixel sizes survive to better than 1e-9 of their value.
    overwrite:
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputError
        If the folder is missing or cannot be written, or the file exists and `overwrite` is false.
    ImageError
        If ImageJ's TIFF cannot hold the image: more than 4 GB, pixel sizes beyond its range, a value
        calibration on 32-bit or colour pixels, or LUTs, ranges or labels whose number is wrong.
    """
    path = Path(path)
    metadata = _metadata(path, image)
    if image.array.nbytes > _LARGEST:
        raise ImageError(
            say("{path} would hold more than the 4 GB of an ImageJ TIFF; write it in parts.", path=path)
        )
    if not overwrite and path.exists():
        raise OutputError(
            say("{path} exists already; choose another name or let it be overwritten.", path=path)
        )
    with written(path) as aside:
        tifffile.imwrite(
            aside,
            # all six axes, since tifffile takes a width of 1 at the end for samples
            image.array.reshape([image.size(axis) for axis in "TZCYXS"]),
            imagej=True,
            byteorder=">",
            photometric="rgb" if image.is_colour else "minisblack",
            resolution=(_resolution(path, image.pixel_size[0]), _resolution(path, image.pixel_size[1])),
            resolutionunit="NONE",
            metadata={"axes": "TZCYXS", **metadata},
            colormap=_colormap(image),
            software=False,  # ImageJ would show and save it as the image's Info
        )
    return path


def _metadata(path: Path, image: Image) -> dict[str, Any]:
    channels = image.size("C")
    planes = channels * image.size("Z") * image.size("T")
    stacked = sum(image.size(axis) > 1 for axis in "TZC")
    metadata: dict[str, Any] = {"hyperstack": stacked > 1 or channels > 1, "unit": _escaped(image.unit)}
    if image.mode not in _MODES:
        raise ImageError(
            say(
                "{path}: an image's mode is grayscale, color or composite, not {mode}.",
                path=path,
                mode=image.mode,
            )
        )
    if channels > 1:
        metadata["mode"] = image.mode or "grayscale"
    if image.pixel_size[2] != 1.0:
        metadata["spacing"] = float(image.pixel_size[2])
    if image.frame_interval_s:
        metadata["finterval"] = float(image.frame_interval_s)
    metadata.update(_value_words(path, image))
    for count, what, wanted in (
        (len(image.luts), say("LUTs"), channels),
        (len(image.display_ranges), say("display ranges"), channels),
        (len(image.slice_labels), say("slice labels"), planes),
    ):
        if count not in (0, wanted):
            raise ImageError(
                say(
                    "{path}: the image has {count} {what} where there should be {wanted}.",
                    path=path,
                    count=count,
                    what=what,
                    wanted=wanted,
                )
            )
    if image.display_ranges:
        metadata["min"], metadata["max"] = map(float, image.display_ranges[0])
        if channels > 1:
            metadata["Ranges"] = tuple(float(end) for pair in image.display_ranges for end in pair)
    if image.luts:
        if any(lut.shape != (3, 256) or lut.dtype != np.uint8 for lut in image.luts):
            raise ImageError(say("{path}: a LUT is an array of uint8 with the shape (3, 256).", path=path))
        if channels > 1:
            metadata["LUTs"] = list(image.luts)
        elif metadata["hyperstack"]:
            # tifffile writes hyperstack=false beside a colour map; of two lines ImageJ takes the last
            metadata["hyperStack"] = metadata.pop("hyperstack")
    if any(image.slice_labels):
        metadata["Labels"] = list(image.slice_labels)
    if image.info:
        metadata["Info"] = image.info
    if image.roi is not None:
        metadata["ROI"] = image.roi.data
    if image.overlay:
        metadata["Overlays"] = [region.data for region in image.overlay]
    return metadata


def _colormap(image: Image) -> NDArray[np.uint16] | None:
    """ImageJ's place for the LUT of a single channel, whatever the bit depth; its own bytes count high."""
    if image.is_colour or len(image.luts) != 1:
        return None
    return image.luts[0].astype(np.uint16) * np.uint16(257)


def _value_words(path: Path, image: Image) -> dict[str, Any]:
    calibration = image.calibration
    unit = image.calibrated_unit
    spelled = "Gray Value" if unit == "grey" else unit
    if calibration is not None and (image.is_colour or image.array.dtype == np.float32):
        raise ImageError(
            say(
                "{path}: ImageJ knows no value calibration of 32-bit or colour pixels; write "
                "image.values() instead.",
                path=path,
            )
        )
    if image.is_colour or (calibration is None and unit == "grey"):
        return {}
    if image.array.dtype == np.float32:
        return {"vunit": _escaped(spelled)}
    function = calibration.function if calibration else 0
    coefficients = calibration.coefficients if calibration else _IDENTITY
    words: dict[str, Any] = {"cf": function}
    words.update({f"c{i}": float(c) for i, c in enumerate(coefficients)})
    words["vunit"] = _escaped(spelled)
    return words


def _escaped(text: str) -> str:
    r"""Java's properties are ASCII: others as ``\uXXXX``, in UTF-16, as ImageJ does; no line ends."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join(chr(c) if 0x20 <= c < 0x7F and c != 0x5C else f"\\u{c:04X}" for c in codes)


def _resolution(path: Path, size: float) -> tuple[int, int]:
    """Pixels in a unit, as TIFF's fraction of two 32-bit integers nearest to 1 / `size`."""
    top = 2**32 - 1
    if not (size > 0 and 1 / top <= size <= top):
        raise ImageError(
            say(
                "{path}: a pixel size of {size} cannot be written; use a smaller or larger unit.",
                path=path,
                size=size,
            )
        )
    per_unit = 1 / Fraction(size)
    limit = top if per_unit <= 1 else int(top / per_unit)
    nearest = per_unit.limit_denominator(max(1, limit))
    if nearest.numerator == 0 or nearest.numerator > top:
        raise ImageError(
            say(
                "{path}: a pixel size of {size} cannot be written; use a smaller or larger unit.",
                path=path,
                size=size,
            )
        )
    return nearest.numerator, nearest.denominator
