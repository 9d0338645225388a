"""DICOM headers as text, the way ImageJ keeps them in an image's Info and slice labels.

ImageJ writes ``0028,0004  Photometric Interpretation: MONOCHROME1`` a line (in sequences
``0028,1053  >Rescale Slope: 1``), pydicom ``(0028,0004) Photometric Interpretation ...``. The first says
what the pixels of an image opened by ImageJ mean; both may name the patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mikata.errors import ImageError
from mikata.images import dicom_values
from mikata.language import say
from mikata.types import Image, ValueCalibration

_LINE = re.compile(r"^([0-9A-Fa-f]{4},[0-9A-Fa-f]{4})[ \t]+(>?)[^:\n]*:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_EITHER = re.compile(r"^\s*\(?[0-9A-Fa-f]{4},\s?[0-9A-Fa-f]{4}\)?\s", re.MULTILINE)

# What the pixels mean, and nothing about a person: these lines alone are read, and kept.
_NUMBERS = {
    "0028,0002": "SamplesPerPixel", "0028,0100": "BitsAllocated", "0028,0101": "BitsStored",
    "0028,0102": "HighBit", "0028,0103": "PixelRepresentation", "0028,0120": "PixelPaddingValue",
    "0028,0121": "PixelPaddingRangeLimit", "0028,1052": "RescaleIntercept", "0028,1053": "RescaleSlope",
}  # fmt: skip
_WORDS = {
    "0008,0060": "Modality", "0028,0004": "PhotometricInterpretation", "0028,1054": "RescaleType",
    "0054,1001": "Units", "3004,0002": "DoseUnits",
}  # fmt: skip
_SEQUENCES = {"0028,3000": "ModalityLUTSequence", "0040,9096": "RealWorldValueMappingSequence"}
_KNOWN = _NUMBERS | _WORDS | _SEQUENCES
_HARMLESS = re.compile(r"[A-Za-z0-9 _.+\-/]{0,24}")

INVERTING = np.tile(np.arange(255, -1, -1, dtype=np.uint8), (3, 1))
"""The LUT that shows 0 as white."""


def is_header(text: str) -> bool:
    """Whether a text holds a DICOM header, in ImageJ's or in pydicom's spelling."""
    return _EITHER.search(text) is not None


def without_patient(text: str) -> str:
    """The lines of ImageJ's header that say what the pixels mean, and no others."""
    kept = (m for m in _LINE.finditer(text) if m[1].upper() in _KNOWN and _HARMLESS.fullmatch(m[3]))
    return "".join(f"{m[1]}  {m[2]}{_KNOWN[m[1].upper()]}: {m[3]}\n" for m in kept)


def first_header(texts: Iterable[str]) -> str:
    """The first text with ImageJ's header in it (Info, then slice labels), or nothing."""
    return next((text for text in texts if _LINE.search(text)), "")


def forgotten(info: str | None, labels: list[str]) -> tuple[str | None, list[str]] | None:
    """Info text and slice labels of an ImageJ image without what names a patient; None where nothing does.

    Where Info or a label holds a header, in ImageJ's spelling or in pydicom's, all labels go, and of Info only the
    lines stay that say what the pixels mean (unit, bits, padding), so that another command finds the same values.
    Of other labels the first line stays; another Info stays whole.
    """
    texts = [info or "", *labels]
    if any(is_header(text) for text in texts):
        return without_patient(first_header(texts)) or None, [""] * len(labels)
    if any("\n" in label for label in labels):
        return info, [label.split("\n", 1)[0] for label in labels]
    return None


def meant(image: Image, header: str, *, frames: Iterable[str] = ()) -> Image:
    """An image that ImageJ opened from a DICOM file, with the values and the unit of `images.read`.

    ImageJ leaves out the unit, shows MONOCHROME1 by an inverting LUT and keeps padding. Where an image no
    longer holds the pixels of its file (it was converted to 8 bits, say), no unit is claimed for it.

    Parameters
    ----------
    image:
        As ImageJ holds it.
    header:
        ImageJ's text of the header, empty where there is none.
    frames:
        Headers of the single slices, in a stack made of several files.

    Raises
    ------
    ImageError
        If ImageJ's pixels are not those that the header means: colours by a palette, a modality LUT,
        slopes of single frames, dose, or numbers that are not in the lowest bits.
    """
    dataset = _dataset(header)
    if dataset is None or image.is_colour:
        return image
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise _refused(image, say("its pixels are numbers of colours in a palette"))
    bits = int(dataset.get("BitsAllocated", 16))
    whole = image.array.dtype.name != "float32"
    if whole and 8 * image.array.itemsize != bits:
        if not _white_is_zero(image, dataset):
            return image
        return turned(image, min(8 * image.array.itemsize, int(dataset.get("BitsStored", bits))))
    _check(image, dataset, header, frames if whole else ())
    # what is stored in the image is the file's number times `slope` plus `intercept`
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    if whole:
        first, second = _line(image.calibration)
        if (slope, second) != (1, 1) or intercept - first not in (0, 32768):  # 32768: signed numbers
            return image  # another calibration than the file's: the user's own
        intercept -= first
    if image.calibrated_unit == "grey":
        image = _with_unit(image, dicom_values.unit(dataset))
    padded = dicom_values.padded(dataset, image.array, slope, intercept)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and image.calibrated_unit == "grey":
        if not looks_inverted(image):
            return image  # turned round already, and the padding with it
        ends = [end * slope + intercept for end in dicom_values.stored_ends(dataset)]
        image = _turned(image, min(ends), max(ends))
    return image.replace(array=dicom_values.blackened(image.array, padded))


def turned(image: Image, bits: int) -> Image:
    """A "white is zero" image with white high: values within `bits` turned round, with LUT and range."""
    return _turned(image, 0.0, float(2**bits - 1))


def looks_inverted(image: Image) -> bool:
    """Whether a grey image is shown with 0 as white."""
    return len(image.luts) == 1 and np.array_equal(image.luts[0], INVERTING)


def _turned(image: Image, low: float, high: float) -> Image:
    slack = 1e-6 * max(abs(low), abs(high))  # ImageJ rounds when it multiplies by the slope
    if image.array.min() < low - slack or image.array.max() > high + slack:
        raise ImageError(
            say(
                "{title}: low values are white in it, from {low:g} to {high:g} by its header, but it "
                "holds {lowest:g} to {highest:g}. In ImageJ, turn it with Edit > Invert and Image > "
                "Lookup Tables > Invert LUT.",
                title=image.title,
                low=low,
                high=high,
                lowest=image.array.min(),
                highest=image.array.max(),
            )
        )
    array = (low + high - image.array.astype(np.float64)).astype(image.array.dtype)
    ranges = tuple((low + high - top, low + high - bottom) for bottom, top in image.display_ranges)
    return image.replace(array=array, luts=(), display_ranges=ranges)


def _white_is_zero(image: Image, dataset: Dataset) -> bool:
    """Whether it still is as the file has it; who changed the LUT is taken to have changed the pixels."""
    return dataset.get("PhotometricInterpretation") == "MONOCHROME1" and looks_inverted(image)


def _dataset(header: str) -> Dataset | None:
    """The known elements of ImageJ's text: those of the file itself, else the first in a sequence."""
    dataset, own = Dataset(), set()
    for match in _LINE.finditer(header):
        tag, nested, value = match[1].upper(), bool(match[2]), match[3]
        name = _KNOWN.get(tag)
        if name is None or name in own or (nested and name in dataset):
            continue
        if not nested:
            own.add(name)
        if name in _SEQUENCES.values():
            setattr(dataset, name, Sequence([Dataset()]))
        elif name in _WORDS.values():
            setattr(dataset, name, value)
        elif re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value):
            number = float(value)
            setattr(dataset, name, str(number) if name.startswith("Rescale") else int(number))
    return dataset if "PhotometricInterpretation" in dataset or "Modality" in dataset else None


def _check(image: Image, dataset: Dataset, header: str, frames: Iterable[str]) -> None:
    if dataset.get("ModalityLUTSequence"):
        raise _refused(
            image, say("its header brings a table of values (modality LUT), which ImageJ leaves out")
        )
    if dataset.get("Modality") == "RTDOSE" and image.calibrated_unit == "grey":
        raise _refused(image, say("ImageJ leaves out the scale of its dose"))
    stored = int(dataset.get("BitsStored", 0))
    if stored and int(dataset.get("HighBit", stored - 1)) != stored - 1:
        raise _refused(image, say("its numbers are not in the lowest bits, where ImageJ takes them to be"))
    for text in (header, "\n".join(frames)):
        for tag in ("0028,1052", "0028,1053"):
            found = {match[3] for match in _LINE.finditer(text) if match[1] == tag}
            if len({float(word) for word in found if re.fullmatch(r"[+-]?[0-9.eE+-]+", word)}) > 1:
                raise _refused(
                    image, say("its frames have slopes or intercepts of their own, and ImageJ uses one")
                )


def _refused(image: Image, reason: str) -> ImageError:
    return ImageError(
        say(
            "{title}: {reason}, so that its values in ImageJ are not those of the file. Let Mikata "
            "open the file itself: give its path as images=[...].",
            title=image.title,
            reason=reason,
        )
    )


def _line(calibration: ValueCalibration | None) -> tuple[float, float]:
    """Intercept and slope of the straight line that makes values of stored numbers; 0 and 0: no such line."""
    if calibration is None:
        return 0.0, 1.0
    if calibration.function != 0 or len(calibration.coefficients) < 2:
        return 0.0, 0.0
    return calibration.coefficients[0], calibration.coefficients[1]


def _with_unit(image: Image, unit: str) -> Image:
    if image.calibration is None:
        return image.replace(value_unit=unit)
    return image.replace(
        calibration=ValueCalibration(image.calibration.coefficients, unit, image.calibration.function)
    )
