"""One file to one image: which reader, and what to say when it cannot be read."""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Callable
from pathlib import Path

from mikata.errors import ImageError
from mikata.images import dicom, pictures, tiff_reader, volumes
from mikata.language import say
from mikata.types import Image

Reader = Callable[[Path, bool], Image]

_BY_SUFFIX: dict[str, Reader] = {
    ".tif": tiff_reader.read,
    ".tiff": tiff_reader.read,
    ".png": pictures.read,
    ".jpg": pictures.read,
    ".jpeg": pictures.read,
    ".dcm": dicom.read,
    ".dicom": dicom.read,
    ".ima": dicom.read,
    ".nii": volumes.read_nifti,
    ".nii.gz": volumes.read_nifti,
    ".npy": volumes.read_npy,
}
SUFFIXES = tuple(_BY_SUFFIX)
"""Endings of the files that are taken for images; DICOM is also known by its content."""

_BY_START: tuple[tuple[bytes, Reader], ...] = (
    (b"II*\0", tiff_reader.read),
    (b"MM\0*", tiff_reader.read),
    (b"II+\0", tiff_reader.read),
    (b"MM\0+", tiff_reader.read),
    (b"\x89PNG\r\n\x1a\n", pictures.read),
    (b"\xff\xd8\xff", pictures.read),
    (b"\x93NUMPY", volumes.read_npy),
)


def read(path: Path | str, *, keep_metadata: bool = False) -> Image:
    """Read an image file: TIFF (ImageJ, OME, plain), PNG, JPEG, DICOM, NIfTI or NumPy's .npy.

    The file's content decides, then the ending of its name.

    Parameters
    ----------
    path:
        The file.
    keep_metadata:
        Keep the text that describes the image (ImageJ's Info, a DICOM header) in `Image.info`, and slice
        labels. Both may name the patient; without it neither is kept.

    Returns
    -------
    Image
        Titled with the file's name. Stored values as in the file where ImageJ can hold them;
        `Image.values` gives the calibrated ones. DICOM and scaled NIfTI are calibrated already.

    Raises
    ------
    ImageError
        If the file is missing, damaged, or not an image that can be read; the sentence names it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(352)
    except IsADirectoryError:
        raise ImageError(say("{path} is a folder, not an image file.", path=path)) from None
    except FileNotFoundError:
        raise ImageError(say("{path} does not exist.", path=path)) from None
    except OSError as error:
        if path.is_dir():  # Windows answers "permission denied" for a folder
            raise ImageError(say("{path} is a folder, not an image file.", path=path)) from None
        raise ImageError(
            say("{path} cannot be opened: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    if not start:
        raise ImageError(say("{path} is empty.", path=path))
    reader = _reader(path, start)
    if reader is None:
        raise ImageError(
            say("{path} is not an image that Mikata reads (TIFF, PNG, JPEG, DICOM, NIfTI, .npy).", path=path)
        )
    try:
        return reader(path, keep_metadata)
    except ImageError as error:
        sentence = str(error)
        if str(path) in sentence:
            raise
        # the title, with which sentences of `from_array` begin in every language
        if sentence.startswith(path.name):
            raise ImageError(str(path.parent / sentence)) from error
        raise ImageError(f"{path}: {sentence}") from error
    except MemoryError:
        raise ImageError(
            say("{path} is too large for this computer's memory, or damaged.", path=path)
        ) from None
    except _DAMAGE as error:
        raise ImageError(
            say("{path} cannot be read; it may be damaged: {reason}", path=path, reason=_reason(error))
        ) from error


# What the libraries are known to raise on damaged files (tried by cutting and flipping bytes):
# each is wrapped, so that one bad file never stops a folder of good ones.
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, ArithmeticError,
    NotImplementedError, OSError, EOFError, RuntimeError, SyntaxError, struct.error, zlib.error,
    tokenize.TokenError,
)  # fmt: skip


def looks_like_image(path: Path) -> bool:
    """Whether a file in a folder is meant as an image, by its ending or (DICOM) by its content."""
    if _suffix(path) in _BY_SUFFIX:
        return True
    if path.name.upper() == "DICOMDIR":
        return False
    known_other = path.suffix and not path.suffix[1:].isdigit()  # UIDs as names end in .123
    try:
        with path.open("rb") as file:
            start = file.read(352)
    except OSError:
        return False
    return dicom.starts_like_dicom(start, preamble_only=bool(known_other))


def _reader(path: Path, start: bytes) -> Reader | None:
    if start[128:132] == b"DICM":  # first: a DICOM file's preamble may be the start of a TIFF file
        return dicom.read
    for magic, reader in _BY_START:
        if start.startswith(magic):
            return reader
    if dicom.starts_like_dicom(start, preamble_only=_suffix(path) in _BY_SUFFIX):
        return dicom.read
    return _BY_SUFFIX.get(_suffix(path))


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
