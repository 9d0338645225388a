"""`Image` and `Region` to ImageJ's own objects, and back: exact, one copy a plane.

Stack order in ImageJ is channel fastest, then slice, then frame, which is the order of an `Image`'s
axes (TZCYX), so planes are taken as they lie. What the facts mean is `mikata.imagej.wire`'s business.
"""

from __future__ import annotations

from typing import Any

import jpype
import numpy as np
from numpy.typing import NDArray

from mikata.imagej import pixels, wire
from mikata.imagej.forgetting import slice_labels
from mikata.imagej.java import jclass
from mikata.imagej.rois import facts_of_overlay, facts_of_roi, to_overlay, to_roi
from mikata.types import Image

_TYPES = {0: "uint8", 1: "uint16", 2: "float32", 3: "uint8", 4: "rgb"}  # ij.ImagePlus.GRAY8 ... COLOR_RGB
_INDEXED = 3  # ij.ImagePlus.COLOR_256


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
    facts, planes = wire.imageplus(image)
    labels = facts["labels"]
    stack = jclass("ij.ImageStack")(planes.shape[2], planes.shape[1])
    for number, plane in enumerate(planes):
        packed = wire.to_packed_rgb(plane) if facts["colour"] else plane
        stack.addSlice((labels[number] or None) if labels else None, pixels.to_java_array(packed))
    imp = jclass("ij.ImagePlus")(facts["title"], stack)
    imp.setDimensions(facts["channels"], facts["slices"], facts["frames"])
    if facts["info"]:
        imp.setProperty("Info", facts["info"])
    if len(planes) == 1 and labels and labels[0]:
        imp.setProp("Slice_Label", labels[0])
    imp.setCalibration(_calibration(facts))
    if facts["mode"]:
        imp = jclass("ij.CompositeImage")(imp, facts["mode"])
    imp.setOpenAsHyperStack(facts["hyperstack"])
    if not facts["colour"]:
        _set_display(imp, facts)
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
    indexed = {"indexed": _is_indexed(imp), "title": str(imp.getTitle())}
    wire.refuse(indexed)
    # planes first: a virtual stack knows a slice's label and range once it was shown
    planes = _planes(imp)
    return wire.image(_facts(imp) | indexed, planes, keep_metadata=keep_metadata)


def _planes(imp: Any) -> NDArray[Any]:
    kind = _TYPES[int(imp.getType())]
    colour = kind == "rgb"
    width, height = int(imp.getWidth()), int(imp.getHeight())
    stack = imp.getStack()
    count = int(stack.getSize())
    out = np.empty(
        (count, height, width, 3) if colour else (count, height, width), "uint8" if colour else kind
    )
    packed = np.empty((height, width), np.int32) if colour else None
    for number in range(count):
        source = stack.getPixels(number + 1)
        if packed is not None:
            pixels.copy_from_java(source, packed)
            wire.from_packed_rgb(packed, out[number])
        else:
            pixels.copy_from_java(source, out[number])
    return out


def _facts(imp: Any) -> wire.Facts:
    """What `wire.image` asks of an ImagePlus beside its pixels."""
    _, _, channels, slices, frames = (int(n) for n in imp.getDimensions(False))
    info, overlay, roi = imp.getInfoProperty(), imp.getOverlay(), imp.getRoi()
    return {
        "type": int(imp.getType()),
        "channels": channels,
        "slices": slices,
        "frames": frames,
        "bit_depth": int(imp.getBitDepth()),
        "calibration": _facts_of_calibration(imp.getCalibration()),
        "info": None if info is None else str(info),
        "labels": slice_labels(imp),
        "file": _facts_of_file(imp.getOriginalFileInfo()),
        "overlay": None if overlay is None else facts_of_overlay(overlay),
        "roi": None if roi is None else facts_of_roi(roi),
        **_facts_of_display(imp, channels),
    }


def _is_indexed(imp: Any) -> bool:
    """Whether the pixels are numbers of colours: 8-bit colour, with a LUT that is not grey."""
    if int(imp.getType()) != _INDEXED:
        return False
    red, green, blue = _lut(imp.getProcessor().getColorModel())
    return not (np.array_equal(red, green) and np.array_equal(green, blue))


def _facts_of_calibration(calibration: Any) -> wire.Facts:
    coefficients = calibration.getCoefficients()
    return {
        "width": float(calibration.pixelWidth),
        "height": float(calibration.pixelHeight),
        "depth": float(calibration.pixelDepth),
        "x_unit": str(calibration.getXUnit()),
        "y_unit": str(calibration.getYUnit()),
        "z_unit": str(calibration.getZUnit()),
        "frame_interval": float(calibration.frameInterval),
        "time_unit": str(calibration.getTimeUnit()),
        "function": int(calibration.getFunction()),
        "coefficients": None if coefficients is None else [float(c) for c in coefficients],
        "value_unit": str(calibration.getValueUnit()),
        "zero_clip": bool(calibration.zeroClip()),
    }


def _facts_of_file(file: Any) -> wire.Facts | None:
    if file is None:
        return None
    bits = {int(file.GRAY8): 8, int(file.GRAY12_UNSIGNED): 12, int(file.GRAY16_UNSIGNED): 16}
    return {
        "white_is_zero": bool(file.whiteIsZero),
        "tiff": int(file.fileFormat) == int(file.TIFF),
        "imagej": file.description is not None and str(file.description).startswith("ImageJ="),
        "bits": bits.get(int(file.fileType), 0),
    }


def _facts_of_display(imp: Any, channels: int) -> wire.Facts:
    composite = channels > 1 and bool(imp.isComposite())
    if composite:
        found = list(imp.getLuts())
        luts = [_lut(lut) for lut in found]
        ranges = [(float(lut.min), float(lut.max)) for lut in found]
    else:
        processor = imp.getProcessor()
        luts = [_lut(processor.getColorModel())] if int(imp.getType()) != 4 else []
        ranges = [(float(processor.getMin()), float(processor.getMax()))]
    return {
        "composite": composite,
        "mode": int(imp.getMode()) if composite else 0,
        "luts": [lut.tobytes() for lut in luts],
        "ranges": ranges,
    }


def _calibration(facts: wire.Facts) -> Any:
    calibration = jclass("ij.measure.Calibration")()
    calibration.pixelWidth, calibration.pixelHeight, calibration.pixelDepth = facts["pixel_size"]
    calibration.setUnit(facts["unit"])
    calibration.frameInterval = facts["frame_interval"]
    if facts["frame_interval"]:
        calibration.setTimeUnit("sec")
    if facts["function"] is not None:
        calibration.setFunction(
            facts["function"], jpype.JArray(jpype.JDouble)(facts["coefficients"]), facts["value_unit"]
        )
    elif facts["value_unit"]:
        calibration.setValueUnit(facts["value_unit"])
    return calibration


def _set_display(imp: Any, facts: wire.Facts) -> None:
    luts = [_java_lut(np.frombuffer(lut, np.uint8).reshape(3, 256)) for lut in facts["luts"]]
    ranges = facts["ranges"]
    if facts["mode"]:
        grey = _java_lut(wire.GREY)
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


def _java_lut(lut: NDArray[np.uint8]) -> Any:
    return jclass("ij.process.LUT")(*(pixels.to_java_array(row) for row in lut))


def _lut(model: Any) -> NDArray[np.uint8]:
    out = np.empty((3, 256), np.uint8)
    for row, read in zip(out, (model.getReds, model.getGreens, model.getBlues), strict=True):
        java = jpype.JArray(jpype.JByte)(256)
        read(java)
        pixels.copy_from_java(java, row)
    return out
