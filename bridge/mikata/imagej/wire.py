"""The one form in which images and results travel between Python and ImageJ, whoever speaks Java at the other end.

Facts of an ImagePlus are a dictionary of words, numbers and Base64 text; pixels are one array beside it, one plane
after the other as they lie in ImageJ's stack (a colour pixel is an int of packed ARGB out of process). Regions are
ImageJ's own ``.roi`` bytes. `mikata.imagej.convert` gathers and applies the facts through JPype, the Groovy of
``fiji_scripts`` does the same in a user's Fiji. Nothing here knows Java.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_SUBTYPE, ROI_TYPE

from mikata import regions
from mikata.errors import ImageError
from mikata.images import dicom_text
from mikata.images.lengths import converted, unit_name
from mikata.language import say
from mikata.types import AXES, Image, Plot, Region, Result, Table, ValueCalibration

Facts = dict[str, Any]

GREY = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
MODES = {"composite": 1, "color": 2, "grayscale": 3}  # ij.CompositeImage.COMPOSITE, COLOR, GRAYSCALE
_COLOUR = 4  # ij.ImagePlus.COLOR_RGB; 0 to 3: GRAY8, GRAY16, GRAY32, COLOR_256
_UNCALIBRATED = 20  # ij.measure.Calibration.NONE
_LAST_FITTED = 13  # ij.measure.Calibration.EXP_RECOVERY: functions up to it are all in their coefficients
_OPTICAL_DENSITY = 21  # ij.measure.Calibration.UNCALIBRATED_OD: needs no coefficients
_DEFAULT_VALUE_UNIT = "Gray Value"
_TYPE_BYTE = 6  # ij.io.RoiDecoder.TYPE
_SECONDS = {
    "sec": 1.0, "s": 1.0, "second": 1.0, "seconds": 1.0, "": 1.0,
    "ms": 1e-3, "msec": 1e-3, "µs": 1e-6, "us": 1e-6, "usec": 1e-6,
    "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
}  # fmt: skip


def text(data: bytes) -> str:
    """Bytes as Base64."""
    return base64.b64encode(data).decode("ascii")


def data(encoded: str | bytes) -> bytes:
    """Bytes out of Base64; bytes as they are."""
    return base64.b64decode(encoded) if isinstance(encoded, str) else encoded


def to_packed_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """ImageJ's colour pixels, one int of opaque ARGB each, of an (H, W, 3) array; returns (H, W)."""
    packed = np.full(rgb.shape[:2], 0xFF, np.uint32)
    for sample in range(3):
        np.left_shift(packed, 8, out=packed)
        np.bitwise_or(packed, rgb[..., sample], out=packed)
    return packed.view(np.int32)


def from_packed_rgb(packed: NDArray[np.int32], target: NDArray[np.uint8]) -> None:
    """Red, green and blue out of ImageJ's colour pixels (H, W) into an (H, W, 3) array."""
    bits = packed.view(np.uint32)
    for sample, shift in enumerate((16, 8, 0)):
        target[..., sample] = bits >> shift  # uint8 keeps the low eight bits


# --- from ImageJ ------------------------------------------------------------------------------------------------


def refuse(facts: Mapping[str, Any]) -> None:
    """Raise `ImageError` where the pixels have no place in an `Image`; to be asked before they are copied."""
    if facts["indexed"]:
        raise ImageError(
            say(
                "{title} is an 8-bit colour image, whose pixels are numbers of colours. "
                "In ImageJ, convert it with Image > Type > RGB Color first.",
                title=facts["title"],
            )
        )


def image(facts: Mapping[str, Any], planes: NDArray[Any], *, keep_metadata: bool = False) -> Image:
    """An `Image` of an ImagePlus: see `mikata.imagej.convert.from_imageplus`.

    Parameters
    ----------
    facts:
        As that function or the Groovy of ``fiji_scripts`` gathers them.
    planes:
        (planes, height, width) as stored, or (planes, height, width, 3) of colour; not copied.
    keep_metadata:
        Also take the Info text and the slice labels, which may name a patient.

    Raises
    ------
    ImageError
        If pixels or value calibration have no place in an `Image`, or ImageJ's pixels are not those that the
        DICOM header means.
    """
    refuse(facts)
    colour = facts["type"] == _COLOUR
    channels, slices, frames = facts["channels"], facts["slices"], facts["frames"]
    if channels * slices * frames != len(planes):
        channels, slices, frames = 1, len(planes), 1
    sizes = dict(zip("TZC", (frames, slices, channels), strict=True))
    kept = "".join(a for a in AXES[:3] if sizes[a] > 1)
    array = planes.reshape((*(sizes[a] for a in kept), *planes.shape[1:]))
    calibration = facts["calibration"]
    values = _value_calibration(calibration, facts["title"])
    value_unit = calibration["value_unit"]
    luts, ranges, mode = ((), (), "") if colour else _display(facts, channels, array)
    unit, pixel_size = _scale(calibration)
    info, labels = facts["info"] or "", facts["labels"]
    made = Image(
        array=array,
        axes=kept + ("YXS" if colour else "YX"),
        title=facts["title"],
        pixel_size=pixel_size,
        unit=unit,
        frame_interval_s=(calibration["frame_interval"] if _is_finite(calibration["frame_interval"]) else 0.0)
        * _SECONDS.get(calibration["time_unit"].lower(), 1.0),
        calibration=values,
        value_unit="grey" if value_unit == _DEFAULT_VALUE_UNIT or values else value_unit,
        luts=luts,
        display_ranges=ranges,
        mode=mode,
        slice_labels=tuple(labels) if keep_metadata and any(labels) else (),
        overlay=tuple(region(one) for one in facts["overlay"] or ()),
        roi=region(facts["roi"]) if facts["roi"] else None,
        info=info if keep_metadata else "",
    )
    header = dicom_text.first_header([info, *labels])
    if header:
        return dicom_text.meant(made, header, frames=labels)
    bits = _white_is_zero_bits(facts)
    return dicom_text.turned(made, bits) if bits and dicom_text.looks_inverted(made) else made


def region(said: Mapping[str, Any]) -> Region:
    """A region of ImageJ's bytes; ImageJ writes a polygon's type for a rotated rectangle, and would read one."""
    encoded = bytearray(data(said["data"]))
    if said["rotated"]:
        encoded[_TYPE_BYTE] = ROI_TYPE.FREEHAND
    return Region(bytes(encoded), said["name"] or "")


def _value_calibration(said: Mapping[str, Any], title: str) -> ValueCalibration | None:
    if said["function"] == _UNCALIBRATED:
        return None
    if said["zero_clip"]:
        raise ImageError(
            say(
                "{title}: its value calibration cuts negative values off (Zero Clip). In ImageJ, convert it "
                "with Image > Type > 32-bit first.",
                title=title,
            )
        )
    if not _is_finite(*said["coefficients"] or ()):
        raise ImageError(
            say("{title}: its value calibration has a coefficient that is no number.", title=title)
        )
    unit = said["value_unit"]
    return ValueCalibration(
        tuple(float(c) for c in said["coefficients"] or ()),
        "grey" if unit == _DEFAULT_VALUE_UNIT else unit,
        said["function"],
    )


def _scale(said: Mapping[str, Any]) -> tuple[str, tuple[float, float, float]]:
    """Unit of x, and width, height and depth of a pixel in it."""
    unit = unit_name(said["x_unit"])
    sizes = (said["width"], said["height"], said["depth"])
    width, height, depth = (float(n) if _is_finite(n) else 1.0 for n in sizes)
    if unit != "pixel":
        height = converted(height, unit_name(said["y_unit"]), unit)
        depth = converted(depth, unit_name(said["z_unit"]), unit)
    return unit, (width, height, depth)


def _display(
    facts: Mapping[str, Any], channels: int, array: NDArray[Any]
) -> tuple[tuple[NDArray[np.uint8], ...], tuple[tuple[float, float], ...], str]:
    """LUTs, ranges and mode; in an image of channels one of each channel, also where ImageJ has one for all."""
    luts = tuple(np.frombuffer(data(lut), np.uint8).reshape(3, 256) for lut in facts["luts"])
    # NaN, where all pixels are; None, where they came as JSON
    ranges = tuple((float(low), float(high)) for low, high in facts["ranges"] if _is_finite(low, high))
    mode = ""
    if channels > 1 and facts["composite"]:
        mode = {number: name for name, number in MODES.items()}.get(facts["mode"], "")
    else:
        luts, ranges = luts[:1] * channels, ranges[:1] * channels
    if len(ranges) < channels:
        ranges = ()
    if all(np.array_equal(lut, GREY) for lut in luts):
        luts = ()
    if array.dtype == np.uint8 and all(r == (0.0, 255.0) for r in ranges):
        ranges = ()
    return luts, ranges, mode


def _is_finite(*numbers: float | None) -> bool:
    return all(number is not None and math.isfinite(number) for number in numbers)


def _white_is_zero_bits(facts: Mapping[str, Any]) -> int:
    """Bits of a pixel in a "white is zero" TIFF; 0 for all others, and for ImageJ's own.

    ImageJ marks a TIFF so for every inverting LUT, whose pixels are meant as they are.
    """
    file = facts["file"]
    if file is None or not file["white_is_zero"] or not file["tiff"] or file["imagej"]:
        return 0
    bits = int(file["bits"])
    return bits if 0 < bits <= facts["bit_depth"] <= 16 else 0


# --- to ImageJ --------------------------------------------------------------------------------------------------


def imageplus(image: Image) -> tuple[Facts, NDArray[Any]]:
    """What an ImagePlus is made of: facts, and planes (planes, height, width) or (planes, height, width, 3).

    Raises
    ------
    ImageError
        If the value calibration is one that only a table describes.
    """
    height, width = image.array.shape[-3:-1] if image.is_colour else image.array.shape[-2:]
    planes = image.array.reshape((-1, height, width, 3) if image.is_colour else (-1, height, width))
    channels, slices, frames = image.size("C"), image.size("Z"), image.size("T")
    values = image.calibration
    if values is not None and not (
        0 <= values.function <= _LAST_FITTED or values.function == _OPTICAL_DENSITY
    ):
        raise ImageError(
            say(
                "{title}: ImageJ's calibration function {function} is not described by coefficients, so the "
                "image cannot be rebuilt in ImageJ.",
                title=image.title,
                function=values.function,
            )
        )
    composite = channels > 1 and bool(image.mode) and not image.is_colour
    facts: Facts = {
        "title": image.title,
        "channels": channels,
        "slices": slices,
        "frames": frames,
        "colour": image.is_colour,
        "labels": list(image.slice_labels),
        "info": image.info or None,
        "pixel_size": list(image.pixel_size),
        "unit": image.unit,
        "frame_interval": image.frame_interval_s,
        "function": None if values is None else values.function,
        "coefficients": [] if values is None else list(values.coefficients),
        "value_unit": values.unit if values else None if image.value_unit == "grey" else image.value_unit,
        "mode": MODES[image.mode] if composite else 0,
        "hyperstack": channels > 1 or (slices > 1 and frames > 1),
        "luts": [np.ascontiguousarray(lut, np.uint8).tobytes() for lut in image.luts],
        "ranges": [list(pair) for pair in image.display_ranges],
    }
    return facts, planes


def mending(region: Region) -> Facts:
    """What ImageJ 1.54p reads otherwise than it wrote it, and has to be told once more.

    Returns
    -------
    dict
        ``stroke``: (alpha, red, green, blue), or ``none`` where there is no stroke; ``properties``; ``position``;
        ``location`` (x, y). Only what is to be set.
    """
    said = regions.to_roi(region)
    facts: Facts = {}
    if said.group:  # ImageJ has put the group's colour in its place
        if said.stroke_color[0]:
            facts["stroke"] = list(said.stroke_color)
        elif any(said.fill_color):
            facts["stroke"] = "none"
    if not said.props.isascii():  # read byte by byte
        pairs = (line.partition(": ") for line in said.props.splitlines())
        facts["properties"] = {key: value for key, _, value in pairs}
    if said.roitype == ROI_TYPE.POINT and said.position:  # lost where points have counters
        facts["position"] = int(said.position)
    if (
        said.subtype == ROI_SUBTYPE.TEXT
    ):  # words that are centred or on the right would move with each reading
        facts["location"] = [float(said.left), float(said.top)]
    return facts


def outcome(result: Result, share: Callable[[NDArray[Any]], Any]) -> Facts:
    """A command's result for a door in another process.

    Parameters
    ----------
    share:
        Puts an array where the other process can read it, and says what to send instead.
    """
    return {
        "message": result.message,
        "stopped": result.stopped,
        "overlay": None if result.overlay is None else [_sent(one) for one in result.overlay],
        "manager": [_sent(one) for one in result.manager],
        "images": [_sent_image(one, share) for one in result.images],
        "tables": [_sent_table(one) for one in result.tables],
        "plots": [_sent_plot(one) for one in result.plots],
        "files": [str(path) for path in result.files],
        "page": None if result.page is None else str(result.page),
    }


def _sent(region: Region) -> Facts:
    return {"data": text(region.data), "name": region.name, "mending": mending(region)}


def _sent_image(image: Image, share: Callable[[NDArray[Any]], Any]) -> Facts:
    facts, planes = imageplus(image)
    facts["luts"] = [text(lut) for lut in facts["luts"]]
    return facts | {
        "pixels": share(planes),
        "overlay": [_sent(one) for one in image.overlay],
        "roi": _sent(image.roi) if image.roi else None,
    }


def _sent_table(table: Table) -> Facts:
    rows = [[_sent_cell(cell) for cell in row] for row in table.rows]
    return {"title": table.title, "columns": list(table.columns), "rows": rows, "append": table.append}


def _sent_cell(cell: Any) -> Any:
    """Numbers as numbers (JSON knows none that are not finite), flags as 1 and 0, words, and None."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_ | int | float | np.integer | np.floating):
        return _sent_number(float(cell))
    if isinstance(cell, Path):
        return str(cell)
    return str(cell)


def _sent_number(value: float) -> float | Facts:
    return (
        value
        if math.isfinite(value)
        else {"number": {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")}
    )


def _sent_plot(plot: Plot) -> Facts:
    series = [
        {"name": name, "x": [_sent_number(float(x)) for x in xs], "y": [_sent_number(float(y)) for y in ys]}
        for name, xs, ys in plot.series
    ]
    return {"title": plot.title, "x_label": plot.x_label, "y_label": plot.y_label, "series": series}
