"""TIFF to images: ImageJ's own, OME, and all others, by tifffile.

What ImageJ writes where is read off ``ij.io.TiffDecoder``, ``ij.io.FileOpener`` and
``ij.measure.Calibration`` of ImageJ 1.54p.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mikata import regions
from mikata.errors import ImageError, RegionError
from mikata.images import dicom_text
from mikata.images.arrays import PRIMARIES, from_array
from mikata.images.lengths import MICROMETRE, converted, in_seconds, unit_name
from mikata.language import say
from mikata.types import Image, Region, ValueCalibration

_CENTIMETRE, _INCH = 3, 2


def read(path: Path, keep_metadata: bool) -> Image:
    """Read a TIFF file.

    ImageJ's files keep stored values, value calibration, sizes, LUTs, display ranges, selection and
    overlay; Info and slice labels only with `keep_metadata`. Where ImageJ saved a DICOM file, the header in
    its Info counts as in `mikata.images.dicom_text.meant`. In files not from ImageJ, "white is zero" grey
    pixels of 8 to 16 bits are inverted, so that white is high; masks of 1 bit are not (tifffile tags them
    so by default, and means true by 1), and get an inverting LUT.

    Of several images in an OME file labels, overviews and thumbnails are left out, and others refused; of
    pages of several sizes in other files the first are read, as ImageJ does. 16-bit colours become three
    channels; alpha is dropped.
    """
    try:
        with _complaints() as said, tifffile.TiffFile(path) as tif:
            if not tif.series:
                raise ImageError(say("{path} holds no image.", path=path))
            series = _only_series(path, tif)
            pixels = series.asarray()
            if said:
                # tifffile fills what it cannot read with zeros and only logs it
                raise ImageError(say("{path} is damaged: {complaint}.", path=path, complaint=said[0]))
            if tif.is_imagej:
                return _imagej(path, tif, series, pixels, keep_metadata)
            return _foreign(path, tif, series, pixels, keep_metadata)
    except tifffile.TiffFileError as error:
        raise ImageError(
            say("{path} is not a TIFF file, or is damaged: {reason}.", path=path, reason=error)
        ) from error


_BESIDE = re.compile(r"label|macro|overview|thumb|preview", re.IGNORECASE)


def _only_series(path: Path, tif: Any) -> Any:
    """The image of a file; of an OME file's several the one that is not a picture of the slide or its label."""
    found = list(tif.series)
    if tif.is_ome and len(found) > 1:
        found = [one for one in found if not _BESIDE.search(str(one.name))]
        if len(found) != 1:
            raise ImageError(
                say(
                    "{path} holds {count} images (OME series), and Mikata reads one of a file. Save the one "
                    "that is meant as a file of its own, for example with Bio-Formats in ImageJ.",
                    path=path,
                    count=len(found) or len(tif.series),
                )
            )
    return found[0]


# Complaints that mean missing or wrong pixels; the others are about tags that do not matter here.
_SERIOUS = re.compile(
    r"corrupt|truncat|failed to|missing|invalid (page|offset|data)|cannot decode|too few|size mismatch",
    re.IGNORECASE,
)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile logs in this thread while it reads: its only way of telling about damage."""
    said: list[str] = []
    thread = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = " ".join(re.sub(r"<[^<>]*>:? ?", "", record.getMessage()).split())
            if record.thread == thread and record.levelno >= logging.WARNING and _SERIOUS.search(message):
                said.append(message[:200])

    logger = logging.getLogger("tifffile")
    handler = Keep()
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


# ---------------------------------------------------------------- ImageJ


def _imagej(path: Path, tif: Any, series: Any, pixels: NDArray[Any], keep_metadata: bool) -> Image:
    page = tif.pages.first
    words = description_words(page.description)
    if not {"ImageJ", "SCIFIO"} & words.keys():
        words = description_words(page.description1)
    extra = _metadata(path, page)
    pixels, axes = _known_axes(path, pixels, series.axes)
    image = _from_pixels(path, pixels, axes)

    unit, size = _scale(page, words)
    channels = image.size("C")
    calibration, value_unit = _calibration(words, image)
    ranges = _ranges(words, extra, channels)
    info, labels = _text(extra.get("Info", "")), _labels(extra, image)
    roi = extra.get("ROI")
    overlay = extra.get("Overlays", [])
    if isinstance(overlay, bytes):
        overlay = [overlay]
    image = image.replace(
        pixel_size=size,
        unit=unit,
        frame_interval_s=in_seconds(_number(words.get("finterval"), 0.0), words.get("tunit", "")),
        calibration=calibration,
        value_unit=value_unit,
        luts=_luts(extra, page, channels),
        display_ranges=ranges,
        mode=words.get("mode", "").lower() if channels > 1 else "",
        slice_labels=labels if keep_metadata and any(labels) else (),
        roi=_region(path, roi) if roi else None,
        overlay=tuple(_region(path, data) for data in overlay),
        info=info if keep_metadata else "",
    )
    # a DICOM file opened and saved by ImageJ: its header says what the pixels mean, kept or not
    return dicom_text.meant(image, dicom_text.first_header([info, *labels]), frames=labels)


def _metadata(path: Path, page: Any) -> dict[str, Any]:
    """ImageJ's private tags (50838, 50839), read by tifffile."""
    tag = page.tags.get(50839)
    if tag is None:
        return {}
    if not isinstance(tag.value, dict):
        raise ImageError(say("{path} has damaged ImageJ metadata.", path=path))
    return tag.value


def description_words(description: str) -> dict[str, str]:
    r"""ImageJ's description, ``key=value`` lines with Java's ``\uXXXX`` escapes, as words."""
    words = {}
    for line in description.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), value)
            words[key.strip()] = unescaped.strip()
    return words


def _scale(page: Any, words: dict[str, str]) -> tuple[str, tuple[float, float, float]]:
    """Unit and pixel size as `ij.io.FileOpener` works them out of tags and description."""
    width, height, tag_unit = _resolution(page)
    said = words.get("unit", "")
    if tag_unit == "cm" and said == "um":
        width, height = width * 10_000, height * 10_000
    depth = abs(_number(words.get("spacing"), 1.0))
    unit = unit_name(said)
    if unit != "pixel":
        height = converted(height, unit_name(words.get("yunit", said)), unit)
        depth = converted(depth, unit_name(words.get("zunit", said)), unit)
    return unit, (width, height, depth or 1.0)


def _resolution(page: Any) -> tuple[float, float, str]:
    """Pixel width and height by the resolution tags, and their unit: cm, inch or nothing."""
    sizes = []
    for code in (282, 283):
        tag = page.tags.get(code)
        numerator, denominator = tag.value if tag is not None else (1, 1)
        sizes.append(denominator / numerator if numerator and denominator else 1.0)
    tag = page.tags.get(296)
    unit = {_CENTIMETRE: "cm", _INCH: "inch"}.get(int(tag.value) if tag is not None else 0, "")
    return sizes[0], sizes[1], unit


def _calibration(words: dict[str, str], image: Image) -> tuple[ValueCalibration | None, str]:
    calibration = image.calibration  # signed 16-bit pixels bring their own
    if image.is_colour:
        return None, "grey"
    unit = words.get("vunit")
    if unit is None:
        return calibration, "grey"
    if unit.strip().lower() in ("", "gray value", "grey value"):
        unit = "grey"
    if image.array.dtype == np.float32:
        return None, unit
    if words.get("zeroclip", "").lower() == "true":
        raise ImageError(
            say(
                "{path} sets negative calibrated values to 0, which Mikata does not. In ImageJ, convert "
                "it with Image > Type > 32-bit first.",
                path=image.path,
            )
        )
    function = int(_number(words.get("cf"), 0.0))
    coefficients = []
    for index in range(5):
        if f"c{index}" not in words:
            break
        coefficients.append(_number(words[f"c{index}"], 0.0))
    if function == 20 or (len(coefficients) < 2 and function != 21):  # 20: none, 21: uncalibrated OD
        return calibration, "grey" if calibration else unit
    if calibration is not None and (function, coefficients) != (0, [-32768.0, 1.0]):
        # the file says that its pixels are signed *and* has a function of the stored, unsigned ones
        calibration = None
    if (function, coefficients) == (0, [0.0, 1.0]):
        return None, unit
    return ValueCalibration(tuple(coefficients), unit, function), "grey"


def _ranges(words: dict[str, str], extra: dict[str, Any], channels: int) -> tuple[tuple[float, float], ...]:
    flat = extra.get("Ranges")
    if channels > 1 and flat is not None and len(flat) == 2 * channels:
        return tuple((float(flat[2 * i]), float(flat[2 * i + 1])) for i in range(channels))
    low, high = _number(words.get("min"), 0.0), _number(words.get("max"), 0.0)
    if channels == 1 and (low, high) != (0.0, 0.0):
        return ((low, high),)
    return ()


def _luts(extra: dict[str, Any], page: Any, channels: int) -> tuple[NDArray[np.uint8], ...]:
    tables = extra.get("LUTs")
    if channels > 1:
        if tables is None:
            return ()
        tables = [tables] if isinstance(tables, np.ndarray) else tables
        if len(tables) < channels or any(table.shape != (3, 256) for table in tables):
            return ()
        return tuple(np.array(table, np.uint8) for table in tables[:channels])
    colours = page.tags.get(320)
    if colours is not None and np.size(colours.value) == 768:
        return ((np.asarray(colours.value, np.uint16).reshape(3, 256) >> 8).astype(np.uint8),)
    if page.photometric == 0 and page.samplesperpixel == 1:  # an inverting LUT, as ImageJ stores it
        return (dicom_text.INVERTING,)
    return ()


def _labels(extra: dict[str, Any], image: Image) -> tuple[str, ...]:
    labels = extra.get("Labels")
    if labels is None:
        return ()
    labels = [_text(label) for label in ([labels] if isinstance(labels, (str, bytes)) else labels)]
    count = image.size("C") * image.size("Z") * image.size("T")
    return tuple((labels + [""] * count)[:count])


def _region(path: Path, data: bytes) -> Region:
    try:
        return regions.from_bytes(data)
    except RegionError as error:
        raise ImageError(
            say("{path} has a damaged ROI or overlay. {reason}", path=path, reason=error)
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _number(word: str | None, otherwise: float) -> float:
    try:
        number = float(word) if word is not None else otherwise
    except ValueError:
        return otherwise
    return number if math.isfinite(number) else otherwise


# ---------------------------------------------------------------- OME and others


def _foreign(path: Path, tif: Any, series: Any, pixels: NDArray[Any], keep_metadata: bool) -> Image:
    page = series.keyframe
    axes = series.axes
    turned = page.photometric == 0 and pixels.dtype in (np.uint8, np.uint16)
    if turned:
        pixels = ((1 << page.bitspersample) - 1 - pixels).astype(pixels.dtype)
    if "S" in axes:
        index = axes.index("S")
        if page.extrasamples and pixels.shape[index] in (2, 4):
            pixels = np.take(pixels, range(pixels.shape[index] - 1), axis=index)
        if pixels.shape[index] not in (1, 3) or (pixels.shape[index] == 3 and pixels.dtype != np.uint8):
            if "C" in axes:
                raise ImageError(
                    say("{path} has colours of {kind} in several channels.", path=path, kind=pixels.dtype)
                )
            axes = axes.replace("S", "C")
    wide_colour = "S" in series.axes and "S" not in axes and page.photometric == 2
    pixels, axes = _known_axes(path, pixels, axes)
    image = _from_pixels(path, pixels, axes)
    if wide_colour and image.size("C") == 3:
        image = image.replace(mode="composite", luts=PRIMARIES)
    info = _text(page.description) if keep_metadata else ""
    if tif.is_ome and tif.ome_metadata:
        return _with_ome(path, image.replace(info=info), tif.ome_metadata)
    width, height, unit = _resolution(tif.pages.first)
    if unit == "inch" and abs(width * 72 - 1) < 1e-9:
        unit = ""  # 72 dots an inch says nothing; ImageJ ignores it too
    colours = page.tags.get(320) if page.photometric == 3 else None
    luts: tuple[NDArray[np.uint8], ...] = ()
    if colours is not None and np.size(colours.value) == 768 and image.size("C") == 1:
        luts = ((np.asarray(colours.value, np.uint16).reshape(3, 256) >> 8).astype(np.uint8),)
    if page.photometric == 0 and image.size("C") == 1 and not turned:
        luts = (dicom_text.INVERTING,)  # as ImageJ shows it
    image = image.replace(info=info, luts=luts or image.luts)
    if not unit or (width, height) == (1.0, 1.0):
        return image
    if unit == "cm" and width <= 0.001:  # a microscope's; ImageJ changes the unit as well
        width, height, unit = width * 10_000, height * 10_000, MICROMETRE
    return image.replace(pixel_size=(width, height, 1.0), unit=unit)


def _with_ome(path: Path, image: Image, xml: str) -> Image:
    """Sizes, times and colours of the first image that an OME header describes."""
    tree = tifffile.xml2dict(xml).get("OME", {})
    entry = tree.get("Image")
    if isinstance(entry, list):
        entry = next((one for one in entry if not _BESIDE.search(str(one.get("Name", "")))), entry[0])
    if not isinstance(entry, dict) or not isinstance(entry.get("Pixels"), dict):
        raise ImageError(say("{path} has a damaged OME header.", path=path))
    pixels = entry["Pixels"]
    unit = unit_name(str(pixels.get("PhysicalSizeXUnit", MICROMETRE)))
    size = [
        converted(
            float(pixels.get(f"PhysicalSize{axis}", 1.0)),
            unit_name(str(pixels.get(f"PhysicalSize{axis}Unit", MICROMETRE))),
            unit,
        )
        for axis in "XYZ"
    ]
    colours = _ome_colours(pixels, image.size("C"))
    if colours and not image.is_colour:
        image = image.replace(luts=colours, mode="composite" if image.size("C") > 1 else "")
    known = "PhysicalSizeX" in pixels
    interval = in_seconds(float(pixels.get("TimeIncrement", 0.0)), str(pixels.get("TimeIncrementUnit", "s")))
    return image.replace(
        pixel_size=(size[0], size[1], size[2]) if known else (1.0, 1.0, 1.0),
        unit=unit if known else "pixel",
        frame_interval_s=interval,
    )


def _ome_colours(pixels: dict[str, Any], count: int) -> tuple[NDArray[np.uint8], ...]:
    """A LUT from black to each channel's colour, which is a signed number of red, green, blue and alpha."""
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    colours = [channel["Color"] for channel in channels if isinstance(channel, dict) and "Color" in channel]
    if len(colours) != count:
        return ()
    numbers = np.array([int(colour) & 0xFFFFFFFF for colour in colours], np.uint32)
    rgb = (numbers[:, None] >> np.array([24, 16, 8], np.uint32)) & 0xFF
    if count == 1 and (rgb == 255).all():
        return ()
    ramp = np.arange(256)
    return tuple(np.rint(colour[:, None] * ramp / 255).astype(np.uint8) for colour in rgb)


# ---------------------------------------------------------------- both


def _known_axes(path: Path, pixels: NDArray[Any], axes: str) -> tuple[NDArray[Any], str]:
    """Axes of length 1 out; tifffile's names for unnamed page axes (I, Q) become slices."""
    keep = [i for i, a in enumerate(axes) if a in "YX" or pixels.shape[i] > 1]
    pixels = pixels.reshape([pixels.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    for name in "IQ":
        while name in axes:
            free = next((a for a in "ZTC" if a not in axes), None)
            if free is None:
                break
            axes = axes.replace(name, free, 1)
    if len(set(axes)) != len(axes) or not set(axes) <= set("TZCYXS"):
        raise ImageError(
            say(
                "{path} has the axes {axes}; Mikata reads images of x, y, channels, slices and frames.",
                path=path,
                axes=axes,
            )
        )
    return pixels, axes


def _from_pixels(path: Path, pixels: NDArray[Any], axes: str) -> Image:
    return from_array(pixels, axes, path.name, exact=False, path=path)
