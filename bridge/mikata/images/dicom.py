"""DICOM files to images, by pydicom: calibrated values with their unit, and nothing of the patient."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mikata.errors import ImageError
from mikata.images import dicom_frames, dicom_text, dicom_values
from mikata.images.arrays import PRIMARIES, from_array
from mikata.language import say
from mikata.types import Image

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def starts_like_dicom(start: bytes, *, preamble_only: bool = False) -> bool:
    """Whether a file's first bytes are those of a DICOM file, with or without its preamble.

    Parameters
    ----------
    start:
        At least the first 132 bytes.
    preamble_only:
        Ask for the mark after the preamble, not for something that merely looks like a header.
    """
    if start[128:132] == b"DICM":
        return True
    if preamble_only or len(start) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack(order + "HH", start[:4])
        if group in (0x0002, 0x0008) and element <= 0x0060:
            if start[4:6].isalpha() and start[4:6].isupper():
                return True
            if struct.unpack(order + "I", start[4:8])[0] <= 128 and order == "<":
                return True
    return False


def patient_id(path: Path) -> str:
    """The PatientID in a DICOM file's header; empty where there is none, or in a file of another kind."""
    try:
        with path.open("rb") as file:
            if not starts_like_dicom(file.read(352)):
                return ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values elsewhere in the header
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
        return str(header.get("PatientID") or "").strip()
    except (OSError, InvalidDicomError, ValueError, NotImplementedError, AttributeError, EOFError):
        return ""  # the reader of its pixels says what is wrong with the file


def read(path: Path, keep_metadata: bool) -> Image:
    """Read a DICOM file.

    Grey images become float32 calibrated values: the modality LUT, or slope and intercept (of each
    frame in enhanced multi-frame files), applied in double precision. The unit is ``HU`` for CT,
    that of the Units element for PET (``Bq/mL``), ``counts`` for nuclear medicine, ``Gy`` for dose,
    else ``grey``. The first window becomes the display range. Colours (RGB, YBR, palette) become
    8-bit RGB. Overlay planes are left out.

    MONOCHROME1 (low values are white, as on film): values without a physical unit are turned round
    within the range of the stored bits, so that white is high, as in all other images; the rest
    of the file (window) is turned with them. Values with a unit stay and are shown with an inverting LUT.

    Padding (PixelPaddingValue, such as -2000 around a CT's circle) gets the lowest value of the frame's
    other pixels, so that it is black and no statistics are made of it.

    Several frames are slices (Z), or frames in time (T) where the file says so or all lie at one
    place. Slices that follow one another in space stay in the file's order, others are sorted along
    their normal; their distance is the median gap, and gaps that differ by more than 10 % are refused.
    Pixel sizes are in mm: in the patient (Pixel Spacing), else at the detector (Imager Pixel
    Spacing, larger than the patient by the magnification).

    Nothing else of the header is kept, unless `keep_metadata` puts all of it into `Image.info`.
    """
    with warnings.catch_warnings():
        # pydicom warns of every oddity of a header; what matters here is refused in words below
        warnings.simplefilter("ignore")
        dataset = _dataset(path)
        pixels = dicom_frames.decoded(path, dataset)
        if int(dataset.get("SamplesPerPixel", 1)) == 1 and dataset.get("PhotometricInterpretation") != (
            "PALETTE COLOR"
        ):
            image = _grey(path, dataset, pixels)
        else:
            image = _colour(path, dataset, pixels)
        if keep_metadata:
            image = image.replace(info=str(dataset))
    return image


def _dataset(path: Path) -> Dataset:
    try:
        with path.open("rb") as file:
            start = file.read(352)
        if not starts_like_dicom(start):
            raise ImageError(say("{path} is not a DICOM file.", path=path))
        dataset = pydicom.dcmread(path, force=True)
    except (InvalidDicomError, BytesLengthException, EOFError) as error:
        raise ImageError(say("{path} is a damaged DICOM file: {reason}.", path=path, reason=error)) from error
    if not any(name in dataset for name in _PIXELS):
        kind = dataset.get("Modality") or dataset.get("SOPClassUID")
        name = getattr(kind, "name", kind) or say("unknown kind")
        raise ImageError(say("{path} is a DICOM file without an image ({name}).", path=path, name=name))
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
    return dataset


def _grey(path: Path, dataset: Dataset, stored: NDArray[Any]) -> Image:
    if stored.ndim == 2:
        stored = stored[None]
    count = len(stored)
    values = dicom_values.calibrated(path, dataset, stored)
    unit = dicom_values.unit(dataset)
    window = dicom_values.window(dataset)
    luts: tuple[NDArray[np.uint8], ...] = ()
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        if unit == "grey":
            ends = dicom_values.ends(path, dataset, count)
            values = (ends - values.astype(np.float64)).astype(np.float32)
            if window:
                window = (float(ends.flat[0]) - window[1], float(ends.flat[0]) - window[0])
        else:
            luts = (dicom_text.INVERTING,)
    values = dicom_values.blackened(values, dicom_values.padded(dataset, stored))
    return _image(path, dataset, values, "").replace(
        value_unit=unit, display_ranges=(window,) if window else (), luts=luts
    )


def _colour(path: Path, dataset: Dataset, pixels: NDArray[Any]) -> Image:
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        if pixels.dtype == np.uint16:  # DICOM palettes have 16 bits a colour
            pixels = (pixels >> 8).astype(np.uint8)
    if pixels.shape[-1] not in (3, 4):
        raise ImageError(
            say(
                "{path} has {samples} samples a pixel; Mikata reads grey and RGB.",
                path=path,
                samples=pixels.shape[-1],
            )
        )
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.dtype == np.uint8:
        return _image(path, dataset, pixels, "S")
    if int(dataset.get("BitsAllocated", 0)) <= 16:
        return _image(path, dataset, pixels[..., :3], "C").replace(mode="composite", luts=PRIMARIES)
    # 32-bit colours exist in tests of other software only; keep the 16 bits that ImageJ can hold
    return _image(path, dataset, (pixels[..., :3] >> 16).astype(np.uint16), "C").replace(
        mode="composite", luts=PRIMARIES
    )


def _image(path: Path, dataset: Dataset, pixels: NDArray[Any], samples: str) -> Image:
    """Axes and sizes of frames (N, Y, X) or (N, Y, X, samples)."""
    layout = dicom_frames.layout(dataset, len(pixels))
    pixels = pixels[layout.order].reshape(layout.frames, layout.slices, *pixels.shape[1:])
    size = dicom_frames.pixel_size(dataset)
    return from_array(
        pixels,
        "TZYX" + samples,
        path.name,
        path=path,
        pixel_size=size or (1.0, 1.0, 1.0),
        unit="mm" if size else "pixel",
        frame_interval_s=layout.interval_s,
    )
