"""DICOM pixel data to arrays, and where each frame lies in space and time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pydicom.encaps
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from mikata.errors import ImageError
from mikata.images.dicom_values import first_number, groups, signed

_FRAME_TIMES = {0x00181063, 0x00181065}  # Frame Time, Frame Time Vector
_TIME_SLICES = {0x00540100, 0x00540030}  # Time Slot and Time Slice vectors of nuclear medicine
_MOVING = {"US", "XA", "RF", "ES", "XC", "GM", "IVUS"}

# pydicom's own plugins leave out 12-bit and lossless JPEG (a GPL library would add them) and
# odd JPEG 2000; imagecodecs has them
_JPEG = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}


def decoded(path: Path, dataset: Dataset) -> NDArray[Any]:
    """Stored numbers (N, Y, X) or (Y, X), or RGB colours (..., 3); palettes not applied.

    Raises
    ------
    ImageError
        If the pixel data are damaged, cut off, or compressed in a way that nothing here reads.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        try:
            pixels = pixel_array(dataset)
        except (RuntimeError, NotImplementedError) as error:
            if syntax not in _JPEG | _JPEG_LS | _JPEG_2000:
                raise ImageError(
                    f"{path} is compressed as {syntax.name}, which cannot be read: {error}"
                ) from error
            pixels = _by_imagecodecs(path, dataset, syntax)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(f"{path} has damaged or incomplete pixel data: {reason}") from error
    if pixels.dtype.kind in "iu" and int(dataset.get("SamplesPerPixel", 1)) == 1:
        pixels = _without_unused_bits(dataset, pixels)
    return pixels


def _by_imagecodecs(path: Path, dataset: Dataset, syntax: str) -> NDArray[Any]:
    if syntax in _JPEG_LS:
        decode = imagecodecs.jpegls_decode
    elif syntax in _JPEG_2000:
        decode = imagecodecs.jpeg2k_decode
    else:
        decode = imagecodecs.jpeg_decode
    count = int(dataset.get("NumberOfFrames") or 1)
    try:
        frames = [
            np.asarray(decode(data))
            for data in pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=count)
        ]
    except RuntimeError as error:  # all of imagecodecs' errors
        name = pydicom.uid.UID(syntax).name
        raise ImageError(
            f"{path} is compressed as {name} and is damaged or of a kind not read: {error}"
        ) from error
    pixels = np.stack(frames)
    if len(frames) != count or pixels.shape[1:3] != (dataset.Rows, dataset.Columns):
        raise ImageError(f"{path} has damaged or incomplete pixel data: {pixels.shape} of {count} frames.")
    if signed(dataset):
        pixels = pixels.view(f"i{pixels.dtype.itemsize}")
    return pixels if count > 1 else pixels[0]


def _without_unused_bits(dataset: Dataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Old files keep overlay planes in the high bits that the numbers do not use."""
    bits, allocated = int(dataset.get("BitsStored", 0)), 8 * pixels.dtype.itemsize
    if not 0 < bits < allocated:
        return pixels
    if signed(dataset) and pixels.dtype.kind == "i":
        shift = allocated - bits
        return np.asarray((pixels << shift) >> shift)
    return np.asarray(pixels & pixels.dtype.type((1 << bits) - 1))


@dataclass(frozen=True)
class Layout:
    """Frames in the order time, slice: ``order`` picks `frames` x `slices` of the file's frames."""

    order: NDArray[np.intp]
    frames: int
    slices: int
    interval_s: float


def layout(dataset: Dataset, count: int) -> Layout:
    """Whether frames are slices, moments, or both."""
    as_stored = np.arange(count)
    interval = (first_number(dataset.get("FrameTime")) or 0.0) / 1000
    pointer = dataset.get("FrameIncrementPointer")
    pointers = {int(pointer)} if isinstance(pointer, int) else {int(tag) for tag in pointer or ()}
    positions = _positions(dataset, count)
    if positions is not None and count > 1:
        slices = len(set(positions))
        repeats = set(Counter(positions).values())
        if slices < count and len(repeats) == 1:
            seen: Counter[tuple[float, ...]] = Counter()
            place = {position: index for index, position in enumerate(dict.fromkeys(positions))}
            keys = []
            for index, position in enumerate(positions):
                keys.append((seen[position], place[position], index))
                seen[position] += 1
            order = np.array([key[2] for key in sorted(keys)])
            return Layout(order, count // slices, slices, interval)
        return Layout(as_stored, 1, count, 0.0)
    moving = bool(pointers & (_FRAME_TIMES | _TIME_SLICES)) or dataset.get("Modality") in _MOVING
    if moving:
        return Layout(as_stored, count, 1, interval if count > 1 else 0.0)
    return Layout(as_stored, 1, count, 0.0)


def _positions(dataset: Dataset, count: int) -> list[tuple[float, ...]] | None:
    """Where each frame of an enhanced file lies in the patient, in mm, or None."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups or len(groups) != count:
        return None
    positions = []
    for group in groups:
        plane = group.get("PlanePositionSequence")
        position = plane[0].get("ImagePositionPatient") if plane else None
        if not position or len(position) != 3:
            return None
        positions.append(tuple(round(float(p), 4) for p in position))
    return positions


def pixel_size(dataset: Dataset) -> tuple[float, float, float] | None:
    """Width, height and distance of pixels in mm, or None where the file does not say.

    DICOM lists the distance between rows (height) first.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        for group in groups(dataset, 0, "PixelMeasuresSequence"):
            spacing = group.get(name)
            if spacing is None or isinstance(spacing, (str, float, int)) or len(spacing) != 2:
                continue
            height, width = (float(distance) for distance in spacing)
            if height > 0 and width > 0 and math.isfinite(height * width):
                return width, height, _slice_distance(dataset)
    return _ultrasound_size(dataset)


def _ultrasound_size(dataset: Dataset) -> tuple[float, float, float] | None:
    """The scale of the depth image, where all regions with a scale in cm agree."""
    sizes = {
        (abs(float(region.PhysicalDeltaX)) * 10, abs(float(region.PhysicalDeltaY)) * 10, 1.0)
        for region in dataset.get("SequenceOfUltrasoundRegions") or ()
        if region.get("PhysicalUnitsXDirection") == 3 and region.get("PhysicalUnitsYDirection") == 3
        and region.get("PhysicalDeltaX") and region.get("PhysicalDeltaY")
    }  # fmt: skip
    return sizes.pop() if len(sizes) == 1 else None


def _slice_distance(dataset: Dataset) -> float:
    count = int(dataset.get("NumberOfFrames") or 1)
    offsets = dataset.get("GridFrameOffsetVector")  # dose
    if offsets is not None and not isinstance(offsets, (str, float, int)) and len(offsets) > 1:
        return abs(float(offsets[1]) - float(offsets[0])) or 1.0
    places = list(dict.fromkeys(_positions(dataset, count) or ()))
    if len(places) > 1:
        return math.dist(places[0], places[1])
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        for group in groups(dataset, 0, "PixelMeasuresSequence"):
            distance = first_number(group.get(name))
            if distance:
                return abs(distance)
    return 1.0
