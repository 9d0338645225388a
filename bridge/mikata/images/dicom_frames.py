"""DICOM pixel data to arrays, and where each frame lies in space and time."""

from __future__ import annotations

import itertools
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
from mikata.language import say

Position = tuple[float, float, float]
"""Of the upper left pixel of a slice in the patient: x, y, z in mm."""

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
    shift = _lowest_bit(path, dataset)
    try:
        try:
            pixels = _whole_words(dataset) if shift else pixel_array(dataset)
        except (RuntimeError, NotImplementedError) as error:
            if syntax not in _JPEG | _JPEG_LS | _JPEG_2000:
                raise ImageError(
                    say(
                        "{path} is compressed as {compression}, which cannot be read: {reason}",
                        path=path,
                        compression=syntax.name,
                        reason=error,
                    )
                ) from error
            pixels = _by_imagecodecs(path, dataset, syntax)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(
            say("{path} has damaged or incomplete pixel data: {reason}", path=path, reason=reason)
        ) from error
    if shift:
        if (pixels & pixels.dtype.type((1 << shift) - 1)).any():
            raise ImageError(
                say(
                    "{path} keeps its numbers in the bits from {shift} on, by its header, but has others "
                    "below them: header and pixels do not fit.",
                    path=path,
                    shift=shift,
                )
            )
        pixels = pixels >> shift
    if pixels.dtype.kind in "iu" and int(dataset.get("SamplesPerPixel", 1)) == 1:
        pixels = _without_unused_bits(dataset, pixels)
    return pixels


def _lowest_bit(path: Path, dataset: Dataset) -> int:
    """Where in its word a stored number begins: 0, but 4 for 12 bits at the upper end of 16."""
    bits, allocated = int(dataset.get("BitsStored") or 0), int(dataset.get("BitsAllocated") or 0)
    high = dataset.get("HighBit")
    if high is None or not bits or int(dataset.get("SamplesPerPixel", 1)) != 1 or "PixelData" not in dataset:
        return 0
    lowest = int(high) + 1 - bits
    if lowest < 0 or int(high) >= allocated:
        raise ImageError(
            say(
                "{path} has {bits} bits stored with the highest at {high}, which cannot be.",
                path=path,
                bits=bits,
                high=high,
            )
        )
    if lowest and dataset.file_meta.TransferSyntaxUID.is_compressed:
        raise ImageError(
            say(
                "{path} is compressed and keeps its numbers in other bits than the lowest, which is not "
                "read.",
                path=path,
            )
        )
    return lowest


def _whole_words(dataset: Dataset) -> NDArray[Any]:
    """Pixels with all their bits; pydicom keeps only as many of the lowest as are stored."""
    plain = dataset.copy()
    plain.BitsStored, plain.HighBit = plain.BitsAllocated, int(plain.BitsAllocated) - 1
    plain.file_meta = dataset.file_meta
    return pixel_array(plain)


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
            say(
                "{path} is compressed as {name} and is damaged or of a kind not read: {reason}",
                path=path,
                name=name,
                reason=error,
            )
        ) from error
    pixels = np.stack(frames)
    if len(frames) != count or pixels.shape[1:3] != (dataset.Rows, dataset.Columns):
        raise ImageError(
            say(
                "{path} has damaged or incomplete pixel data: {shape} of {count} frames.",
                path=path,
                shape=pixels.shape,
                count=count,
            )
        )
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
        places = _in_space(dataset, positions)
        slices, repeats = len(places), set(Counter(positions).values())
        if len(repeats) > 1:  # neither a stack nor a whole number of them
            return Layout(as_stored, 1, count, 0.0)
        rank = {position: index for index, position in enumerate(places)}
        seen: Counter[Position] = Counter()
        keys = []
        for index, position in enumerate(positions):
            keys.append((seen[position], rank[position], index))
            seen[position] += 1
        order = np.array([key[2] for key in sorted(keys)])
        return Layout(order, count // slices, slices, interval if slices < count else 0.0)
    moving = bool(pointers & (_FRAME_TIMES | _TIME_SLICES)) or dataset.get("Modality") in _MOVING
    if moving:
        return Layout(as_stored, count, 1, interval if count > 1 else 0.0)
    return Layout(as_stored, 1, count, 0.0)


def _in_space(dataset: Dataset, positions: list[Position]) -> list[Position]:
    """The different positions, one after the other along the slices' normal.

    Where the file's order runs one way through space, up or down, it is kept.
    """
    places = list(dict.fromkeys(positions))
    heights = _heights(dataset, places)
    steps = np.sign(np.diff(heights))
    if (steps == steps[:1]).all():
        return places
    return [places[index] for index in np.argsort(heights, kind="stable")]


def _heights(dataset: Dataset, places: list[Position]) -> NDArray[np.float64]:
    """Distances in mm along the normal of the slices, from the patient's origin."""
    for group in groups(dataset, 0, "PlaneOrientationSequence"):
        cosines = group.get("ImageOrientationPatient")
        if cosines is not None and len(cosines) == 6:
            row, column = np.array([float(c) for c in cosines]).reshape(2, 3)
            return np.asarray(np.array(places) @ np.cross(row, column))
    return np.array(places)[:, 2]  # upright slices, where the file does not say


def _positions(dataset: Dataset, count: int) -> list[Position] | None:
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
        x, y, z = (round(float(p), 4) for p in position)
        positions.append((x, y, z))
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
    positions = _positions(dataset, count)
    if positions is not None and len(set(positions)) > 1:
        places = _in_space(dataset, positions)
        gaps = [math.dist(one, other) for one, other in itertools.pairwise(places)]
        middle = float(np.median(gaps))
        if (
            max(abs(gap - middle) for gap in gaps) > 0.1 * middle
            and len(set(Counter(positions).values())) == 1
        ):
            raise ImageError(
                say(
                    "its slices lie {least:g} to {most:g} mm apart, which no single distance describes. Save "
                    "slices of one distance by themselves.",
                    least=min(gaps),
                    most=max(gaps),
                )
            )
        return middle
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        for group in groups(dataset, 0, "PixelMeasuresSequence"):
            distance = first_number(group.get(name))
            if distance:
                return abs(distance)
    return 1.0
