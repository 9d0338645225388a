"""What a DICOM file's stored numbers mean: modality LUT, slope and intercept, unit, window.

Facts by DICOM PS3.3: C.11.1 (modality LUT), C.11.2 (window), C.7.5.1.1.2 (padding), C.7.6.16 (functional groups),
C.8.9.1 (PET units), C.8.8.3 (dose).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from mikata.errors import ImageError
from mikata.language import say

_PET_UNITS = {
    "BQML": "Bq/mL", "CNTS": "counts", "PROPCNTS": "counts", "CPS": "counts/s", "PROPCPS": "counts/s",
    "GML": "g/mL", "STDDEV": "sd", "KBQML": "kBq/mL", "MLMING": "mL/min/g", "MLG": "mL/g",
}  # fmt: skip
_RESCALE_TYPES = {
    "HU": "HU", "HU_MOD": "HU", "HOUNSFIELD": "HU", "HOUNSFIELD UNIT": "HU", "HOUNSFIELD UNITS": "HU",
    "OD": "OD", "MGML": "mg/mL", "PCT": "%", "Z_EFF": "Z_eff",
}  # fmt: skip


def calibrated(path: Path, dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Calibrated values of frames (N, Y, X), as float32 rounded once from double precision."""
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, dataset), np.float32)
    slopes, intercepts = _lines(path, dataset, len(stored))
    if np.all(slopes == 1) and np.all(intercepts == 0):
        return stored.astype(np.float32)
    result = np.empty(stored.shape, np.float32)
    for index, frame in enumerate(stored):  # frame by frame: half the memory of one double array
        result[index] = frame.astype(np.float64) * slopes[index] + intercepts[index]
    return result


def ends(path: Path, dataset: Dataset, count: int) -> NDArray[np.float64]:
    """Sum of the lowest and highest value that the stored bits allow, for each frame (N, 1, 1)."""
    low, high = stored_ends(dataset)
    if dataset.get("ModalityLUTSequence"):
        table = np.asarray(dataset.ModalityLUTSequence[0].LUTData)
        return np.full((count, 1, 1), float(table.min()) + float(table.max()))
    slopes, intercepts = _lines(path, dataset, count)
    return np.asarray((low + high) * slopes + 2 * intercepts)[:, None, None]


def stored_ends(dataset: Dataset) -> tuple[int, int]:
    """The lowest and the highest number that the stored bits allow."""
    bits = int(dataset.get("BitsStored", 16))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed(dataset) else (0, 2**bits - 1)


def padded(
    dataset: Dataset, numbers: NDArray[Any], slope: float = 1.0, intercept: float = 0.0
) -> NDArray[np.bool_] | None:
    """Which pixels are none, but fill the frame around a round or turned picture (PixelPaddingValue).

    Parameters
    ----------
    dataset:
        The header.
    numbers:
        The file's stored numbers times `slope` plus `intercept`.

    Returns
    -------
    numpy.ndarray or None
        True where there is padding, in the shape of `numbers`; None where the header tells of none.
    """
    value = first_number(dataset.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = first_number(dataset.get("PixelPaddingRangeLimit"))
    span = 2 ** int(dataset.get("BitsAllocated", 16))
    # the element may say 63536 where -2000 is meant, or the reverse
    ends = [number % span for number in (value, value if limit is None else limit)]
    if signed(dataset):
        ends = [end - span if end >= span / 2 else end for end in ends]
    low, high = sorted(end * slope + intercept for end in ends)
    half = abs(slope) / 2  # ImageJ rounds when it multiplies
    found = np.asarray((numbers > low - half) & (numbers < high + half))
    return found if found.any() else None


def blackened(frames: NDArray[Any], padding: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Frames (..., Y, X) whose padded pixels have the lowest value of the other pixels of their frame."""
    if padding is None:
        return frames
    result = frames.copy()
    for index in np.ndindex(frames.shape[:-2]):
        inside = ~padding[index]
        if inside.any():
            result[index][padding[index]] = frames[index][inside].min()
    return result


def signed(dataset: Dataset) -> bool:
    """Whether stored numbers are two's complement."""
    return int(dataset.get("PixelRepresentation", 0)) == 1


def unit(dataset: Dataset) -> str:
    """Unit of the calibrated values, ``grey`` where the file names none."""
    modality = dataset.get("Modality", "")
    if modality == "PT":
        return _PET_UNITS.get(str(dataset.get("Units", "")).upper(), "grey")
    if modality == "RTDOSE":
        return "Gy" if str(dataset.get("DoseUnits", "")).upper() == "GY" else "grey"
    if modality == "NM":
        return "counts"
    group = next(_transformations(dataset), None)
    if group is not None and "RescaleSlope" in group:
        kind = str(group.get("RescaleType") or "").strip().upper()
        if modality == "CT" and kind in ("", "US") and not _measures_another(dataset):
            return "HU"  # "US" is unspecified
        return _RESCALE_TYPES.get(kind, "grey")
    if dataset.get("ModalityLUTSequence"):
        kind = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType", "")).upper()
        return _RESCALE_TYPES.get(kind, "grey")
    return "grey"


def _measures_another(dataset: Dataset) -> bool:
    """Whether values of a CT are mapped to a quantity of another kind, such as blood flow."""
    return any("RealWorldValueMappingSequence" in group for group in (
        dataset, *dataset.get("SharedFunctionalGroupsSequence", ()),
        *dataset.get("PerFrameFunctionalGroupsSequence", ()),
    ))  # fmt: skip


def window(dataset: Dataset) -> tuple[float, float] | None:
    """Lowest and highest value shown, by the file's first window (of several, ImageJ takes the last).

    Centre minus and plus half the width, as ImageJ reckons; DICOM's own rule is half a step narrower.
    """
    for group in groups(dataset, 0, "FrameVOILUTSequence"):
        center, width = first_number(group.get("WindowCenter")), first_number(group.get("WindowWidth"))
        if center is not None and width is not None and width > 0:
            return center - width / 2, center + width / 2
    return None


def _lines(path: Path, dataset: Dataset, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    slopes, intercepts = np.ones(count), np.zeros(count)
    if dataset.get("Modality") == "RTDOSE":
        slopes[:] = first_number(dataset.get("DoseGridScaling")) or 1.0
        return slopes, intercepts
    for index in range(count):
        group = next(groups(dataset, index, "PixelValueTransformationSequence"), None)
        if group is None:
            continue
        slope, intercept = (
            first_number(group.get("RescaleSlope")),
            first_number(group.get("RescaleIntercept")),
        )
        slopes[index] = 1.0 if slope is None else slope
        intercepts[index] = 0.0 if intercept is None else intercept
    if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all()) or (slopes == 0).any():
        raise ImageError(
            say("{path} has a rescale slope of 0 or none at all: its values mean nothing.", path=path)
        )
    return slopes, intercepts


def _transformations(dataset: Dataset) -> Iterator[Dataset]:
    return groups(dataset, 0, "PixelValueTransformationSequence")


def groups(dataset: Dataset, frame: int, name: str) -> Iterator[Dataset]:
    """Where a property of a frame may stand: its own functional group, the shared one, the file."""
    for sequence, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = dataset.get(sequence)
        if items and index < len(items) and items[index].get(name):
            yield items[index][name][0]
    yield dataset


def first_number(value: Any) -> float | None:
    """The first number of an element that may be empty, single or multiple."""
    if value is None or value == "":
        return None
    if not isinstance(value, (str, int, float)) and hasattr(value, "__len__"):
        if not len(value):
            return None
        value = value[0]
    number = float(value)
    return number if math.isfinite(number) else None
