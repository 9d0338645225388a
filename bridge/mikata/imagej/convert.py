"""`Image` and `Region` to ImageJ's own objects, and back: exact, one copy a plane.

Stack order in ImageJ is channel fastest, then slice, then frame, which is the order of an `Image`'s
axes (TZCYX), so planes are taken as they lie.
"""

from __future__ import annotations

from typing import Any

import jpype
import numpy as np
from numpy.typing import NDArray

from mikata.errors import ImageError
from mikata.imagej import pixels
from mikata.imagej.forgetting import slice_labels
from mikata.imagej.java import jclass
from mikata.imagej.rois import from_overlay, from_roi, to_overlay, to_roi
from mikata.images import dicom_text
from mikata.images.lengths import converted, unit_name
from mikata.types import AXES, Image, ValueCalibration

_MODES = {"composite": 1, "color": 2, "grayscale": 3}  # ij.CompositeImage.COMPOSITE, COLOR, GRAYSCALE
_GREY = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
_TYPES = {0: "uint8", 1: "uint16", 2: "float32", 3: "uint8", 4: "rgb"}  # ij.ImagePlus.GRAY8 ... COLOR_RGB
_INDEXED = 3  # ij.ImagePlus.COLOR_256
_UNCALIBRATED = 20  # ij.measure.Calibration.NONE
_LAST_FITTED = 13  # ij.measure.Calibration.EXP_RECOVERY: functions up to it are all in their coefficients
_OPTICAL_DENSITY = 21  # ij.measure.Calibration.UNCALIBRATED_OD: needs no coefficients
_DEFAULT_VALUE_UNIT = "Gray Value"
_SECONDS = {
    "sec": 1.0, "s": 1.0, "second": 1.0, "seconds": 1.0, "": 1.0,
    "ms": 1e-3, "msec": 1e-3, "µs": 1e-6, "us": 1e-6, "usec": 1e-6,
    "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
}  # fmt: skip


def to_imageplus(image: Image) -> Any:
    """An ImagePlus with the pixels of an image and all that goes with them.

    Parameters
    ----------
    image:
        Its array is copied once and not changed.

    Returns
    -------
    ij.ImagePlus
        A CompositeImage where the image has several channels and a mode; not shown.

    Raises
    ------
    ImageError
        If the value calibration is one that only a table describes.
    RegionError
        If a region of the overlay is not what ImageJ reads.
    """
    height, width = image.array.shape[-3:-1] if image.is_colour else image.array.shape[-2:]
    planes = image.array.reshape((-1, height, width, 3) if image.is_colour else (-1, height, width))
    stack = jclass("ij.ImageStack")(width, height)
    for number, plane in enumerate(planes):
        label = image.slice_labels[number] if image.slice_labels else ""
        stack.addSlice(
            label or None, pixels.to_java_array(pixels.to_packed_rgb(plane) if image.is_colour else plane)
        )
    imp = jclass("ij.ImagePlus")(image.title, stack)
    channels, slices, frames = image.size("C"), image.size("Z"), image.size("T")
    imp.setDimensions(channels, slices, frames)
    if image.info:
        imp.setProperty("Info", image.info)
    if len(planes) == 1 and image.slice_labels and image.slice_labels[0]:
        imp.setProp("Slice_Label", image.slice_labels[0])
    imp.setCalibration(_calibration(image))
    if channels > 1 and image.mode and not image.is_colour:
        imp = jclass("ij.CompositeImage")(imp, _MODES[image.mode])
    imp.setOpenAsHyperStack(channels > 1 or (slices > 1 and frames > 1))
    if not image.is_colour:
        _set_display(imp, image)
    if image.overlay:
        imp.setOverlay(to_overlay(image.overlay))
    if image.roi is not None:
        imp.setRoi(to_roi(image.roi))
    return imp


def from_imageplus(imp: Any, *, keep_metadata: bool = False) -> Image:
    """An `Image` with the pixels of an ImagePlus and all that goes with them.

    A file opened by ImageJ gives the calibrated values and the unit that `mikata.images.read` gives:
    by the DICOM header in its Info, and "white is zero" (MONOCHROME1, TIFF's photometric 0) turned round
    where the file says so and ImageJ shows it by an inverting LUT. An inverting LUT alone, which users and
    masks have for their looks, leaves the values as they are.

    Parameters
    ----------
    imp:
        Any ImagePlus; virtual stacks are read plane by plane. Not changed.
    keep_metadata:
        Also take the Info text and the slice labels, which may name a patient.

    Raises
    ------
    ImageError
        If pixels or value calibration have no place in an `Image`, or ImageJ's pixels are not those
        that the DICOM header means.
    """
    array, axes = _array(imp)
    title = str(imp.getTitle())
    calibration = imp.getCalibration()
    values = _value_calibration(calibration, title)
    value_unit = str(calibration.getValueUnit())
    time_unit = str(calibration.getTimeUnit()).lower()
    overlay, roi, info = imp.getOverlay(), imp.getRoi(), imp.getInfoProperty()
    info, labels = "" if info is None else str(info), slice_labels(imp)
    luts, ranges, mode = ((), (), "") if axes.endswith("S") else _display(imp, axes, array)
    unit, pixel_size = _scale(calibration)
    image = Image(
        array=array,
        axes=axes,
        title=title,
        pixel_size=pixel_size,
        unit=unit,
        frame_interval_s=float(calibration.frameInterval) * _SECONDS.get(time_unit, 1.0),
        calibration=values,
        value_unit="grey" if value_unit == _DEFAULT_VALUE_UNIT or values else value_unit,
        luts=luts,
        display_ranges=ranges,
        mode=mode,
        slice_labels=tuple(labels) if keep_metadata and any(labels) else (),
        overlay=from_overlay(overlay) if overlay is not None else (),
        roi=from_roi(roi) if roi is not None else None,
        info=info if keep_metadata else "",
    )
    header = dicom_text.first_header([info, *labels])
    if header:
        return dicom_text.meant(image, header, frames=labels)
    bits = _white_is_zero_bits(imp)
    return dicom_text.turned(image, bits) if bits and dicom_text.looks_inverted(image) else image


def _array(imp: Any) -> tuple[NDArray[Any], str]:
    kind = _TYPES[int(imp.getType())]
    colour = kind == "rgb"
    if int(imp.getType()) == _INDEXED and not _is_grey(imp):
        raise ImageError(
            f"{imp.getTitle()} is an 8-bit colour image, whose pixels are numbers of colours. "
            "In ImageJ, convert it with Image > Type > RGB Color first."
        )
    width, height, channels, slices, frames = (int(n) for n in imp.getDimensions(False))
    stack = imp.getStack()
    count = int(stack.getSize())
    if channels * slices * frames != count:
        channels, slices, frames = 1, count, 1
    out = np.empty(
        (count, height, width, 3) if colour else (count, height, width), "uint8" if colour else kind
    )
    packed = np.empty((height, width), np.int32) if colour else None
    for number in range(count):
        source = stack.getPixels(number + 1)
        if packed is not None:
            pixels.copy_from_java(source, packed)
            pixels.from_packed_rgb(packed, out[number])
        else:
            pixels.copy_from_java(source, out[number])
    sizes = dict(zip("TZC", (frames, slices, channels), strict=True))
    kept = "".join(a for a in AXES[:3] if sizes[a] > 1)
    shape = (*(sizes[a] for a in kept), *out.shape[1:])
    return out.reshape(shape), kept + ("YXS" if colour else "YX")


def _is_grey(imp: Any) -> bool:
    red, green, blue = _lut(imp.getProcessor().getColorModel())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def _calibration(image: Image) -> Any:
    calibration = jclass("ij.measure.Calibration")()
    calibration.pixelWidth, calibration.pixelHeight, calibration.pixelDepth = image.pixel_size
    calibration.setUnit(image.unit)
    calibration.frameInterval = image.frame_interval_s
    if image.frame_interval_s:
        calibration.setTimeUnit("sec")
    values = image.calibration
    if values is not None:
        if not (0 <= values.function <= _LAST_FITTED or values.function == _OPTICAL_DENSITY):
            raise ImageError(
                f"{image.title}: ImageJ's calibration function {values.function} is not described by "
                "coefficients, so the image cannot be rebuilt in ImageJ."
            )
        calibration.setFunction(
            values.function, jpype.JArray(jpype.JDouble)(list(values.coefficients)), values.unit
        )
    elif image.value_unit != "grey":
        calibration.setValueUnit(image.value_unit)
    return calibration


def _scale(calibration: Any) -> tuple[str, tuple[float, float, float]]:
    """Unit of x, and width, height and depth of a pixel in it."""
    unit = unit_name(str(calibration.getXUnit()))
    width, height, depth = (
        float(n) for n in (calibration.pixelWidth, calibration.pixelHeight, calibration.pixelDepth)
    )
    if unit != "pixel":
        height = converted(height, unit_name(str(calibration.getYUnit())), unit)
        depth = converted(depth, unit_name(str(calibration.getZUnit())), unit)
    return unit, (width, height, depth)


def _white_is_zero_bits(imp: Any) -> int:
    """Bits of a pixel in a "white is zero" TIFF; 0 for all others, and for ImageJ's own.

    ImageJ marks a TIFF so for every inverting LUT, whose pixels are meant as they are.
    """
    file = imp.getOriginalFileInfo()
    if file is None or not file.whiteIsZero or int(file.fileFormat) != int(file.TIFF):
        return 0
    if file.description is not None and str(file.description).startswith("ImageJ="):
        return 0
    kinds = {int(file.GRAY8): 8, int(file.GRAY12_UNSIGNED): 12, int(file.GRAY16_UNSIGNED): 16}
    bits = kinds.get(int(file.fileType), 0)
    return bits if bits <= int(imp.getBitDepth()) <= 16 else 0


def _value_calibration(calibration: Any, title: str) -> ValueCalibration | None:
    function = int(calibration.getFunction())
    if function == _UNCALIBRATED:
        return None
    if bool(calibration.zeroClip()):
        raise ImageError(
            f"{title}: its value calibration cuts negative values off (Zero Clip). In ImageJ, convert it "
            "with Image > Type > 32-bit first."
        )
    coefficients = calibration.getCoefficients()
    unit = str(calibration.getValueUnit())
    return ValueCalibration(
        tuple(float(c) for c in coefficients) if coefficients is not None else (),
        "grey" if unit == _DEFAULT_VALUE_UNIT else unit,
        function,
    )


def _set_display(imp: Any, image: Image) -> None:
    luts = [_java_lut(lut) for lut in image.luts]
    ranges = image.display_ranges
    if image.mode and image.size("C") > 1:
        grey = _java_lut(_GREY)
        for channel, current in enumerate(imp.getLuts()):
            lut = luts[channel] if channel < len(luts) else grey.clone()
            # a composite image keeps each channel's range in its LUT
            lut.min, lut.max = ranges[channel] if channel < len(ranges) else (current.min, current.max)
            imp.setChannelLut(lut, channel + 1)
        imp.reset()
        return
    processor = imp.getProcessor()
    if luts:
        processor.setColorModel(luts[0])
        imp.getStack().setColorModel(luts[0])
    if ranges:
        processor.setMinAndMax(*ranges[0])


def _display(
    imp: Any, axes: str, array: NDArray[Any]
) -> tuple[tuple[NDArray[np.uint8], ...], tuple[tuple[float, float], ...], str]:
    """LUTs, ranges and mode; in an image of channels one of each channel, also where ImageJ has one for all."""
    channels = array.shape[axes.index("C")] if "C" in axes else 1
    mode = ""
    if channels > 1 and bool(imp.isComposite()):
        found = list(imp.getLuts())
        luts = tuple(_lut(lut) for lut in found)
        ranges = tuple((float(lut.min), float(lut.max)) for lut in found)
        mode = {number: name for name, number in _MODES.items()}.get(int(imp.getMode()), "")
    else:
        processor = imp.getProcessor()
        luts = (_lut(processor.getColorModel()),) * channels
        ranges = ((float(processor.getMin()), float(processor.getMax())),) * channels
    if all(np.array_equal(lut, _GREY) for lut in luts):
        luts = ()
    if array.dtype == np.uint8 and all(r == (0.0, 255.0) for r in ranges):
        ranges = ()
    return luts, ranges, mode


def _java_lut(lut: NDArray[np.uint8]) -> Any:
    return jclass("ij.process.LUT")(*(pixels.to_java_array(row) for row in np.asarray(lut, np.uint8)))


def _lut(model: Any) -> NDArray[np.uint8]:
    out = np.empty((3, 256), np.uint8)
    for row, read in zip(out, (model.getReds, model.getGreens, model.getBlues), strict=True):
        java = jpype.JArray(jpype.JByte)(256)
        read(java)
        pixels.copy_from_java(java, row)
    return out
