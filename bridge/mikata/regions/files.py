"""Regions to and from ImageJ's ROI bytes, ``.roi`` and ``.zip`` files, and TIFF overlays."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import roifile
import tifffile

from mikata.errors import RegionError
from mikata.language import say
from mikata.outputs import written
from mikata.types import Region

# what zipfile and tifffile are known to raise on damaged files
_DAMAGE = (
    OSError, zipfile.BadZipFile, zlib.error, tifffile.TiffFileError, struct.error, ValueError, KeyError,
    IndexError, TypeError, RuntimeError, NotImplementedError,
)  # fmt: skip

_LARGEST = 512_000_000
"""Bytes of ROIs unpacked out of a zip; a picture of 10000 x 10000 pixels in a ROI fits."""

_HEADER2 = 64
"""Length of the second header, after which name and properties follow (``ij.io.RoiEncoder``)."""


def from_bytes(data: bytes) -> Region:
    """A region of ImageJ's ROI bytes, which are kept as they are.

    Raises
    ------
    RegionError
        If they are not a ROI, or are cut off.
    """
    return Region(bytes(data), _decoded(data).name)


def to_roi(region: Region) -> roifile.ImagejRoi:
    """The region's bytes, decoded by roifile.

    Raises
    ------
    RegionError
        If they are damaged.
    """
    return _decoded(region.data)


def from_roi(roi: roifile.ImagejRoi) -> Region:
    """A region of a roifile ROI.

    Names outside Unicode's first plane, such as rare kanji, are written as ImageJ reads them
    (roifile 2026.2.10 counts them as one letter where ImageJ counts two).

    Raises
    ------
    RegionError
        If the ROI cannot be written, for instance for coordinates outside -5000..60535.
    """
    units = {
        field: str(getattr(roi, field)).encode("utf-16-be", "surrogatepass")
        for field in ("name", "props", "text", "text_name")
    }
    if all(len(data) == 2 * len(str(getattr(roi, field))) for field, data in units.items()):
        try:
            return Region(roi.tobytes(), roi.name)
        except (ValueError, struct.error) as error:
            raise RegionError(
                say("The ROI '{region}' cannot be written: {reason}.", region=roi.name, reason=error)
            ) from error
    saved = {field: getattr(roi, field) for field in units}
    try:
        for field, data in units.items():  # letters of the right number, to be written over below
            setattr(roi, field, "x" * (len(data) // 2))
        buffer = bytearray(roi.tobytes())
    except (ValueError, struct.error) as error:
        raise RegionError(
            say("The ROI '{region}' cannot be written: {reason}.", region=saved["name"], reason=error)
        ) from error
    finally:
        for field, value in saved.items():
            setattr(roi, field, value)
    header2 = struct.unpack(">i", buffer[60:64])[0]
    place = header2 + _HEADER2
    for field in ("name", "props"):
        buffer[place : place + len(units[field])] = units[field]
        place += len(units[field])
    if roi.subtype == roifile.ROI_SUBTYPE.TEXT:
        words = units["text_name"] + units["text"]
        buffer[80 : 80 + len(words)] = words
    return Region(bytes(buffer), saved["name"])


def read(path: Path | str, *, selection: bool = True) -> tuple[Region, ...]:
    """Read the ROIs of a ``.roi`` file, a ``.zip`` of them, or a TIFF file's overlay and selection.

    A TIFF's selection comes last; its pixels are not read. Entries of a zip without a name of their own
    take their file's.

    Parameters
    ----------
    selection:
        Whether a TIFF's selection belongs to its ROIs even where it has an overlay: what happened to be selected
        when it was saved is often none of them.

    Raises
    ------
    RegionError
        If the file is missing, damaged or of another kind, or a zip's ROIs are larger than 512 MB.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise RegionError(say("{path} is not a file.", path=path))
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"Iout":
            return (_named(from_bytes(path.read_bytes()), path.name),)
        if start[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
                size = sum(entry.file_size for entry in entries)
                if size > _LARGEST:
                    raise RegionError(
                        say(
                            "{path} would unpack to {size:.0f} MB of ROIs; up to {limit:.0f} MB are read.",
                            path=path,
                            size=size / 1e6,
                            limit=_LARGEST / 1e6,
                        )
                    )
                return tuple(_named(from_bytes(_unpacked(archive, e)), e.filename) for e in entries)
        if start[:2] in (b"II", b"MM"):
            with tifffile.TiffFile(path) as tif:
                extra = tif.imagej_metadata or {}
            found = extra.get("Overlays", [])
            found = [found] if isinstance(found, bytes) else list(found)
            if selected := extra.get("ROI") if selection or not found else None:
                found.append(selected)
            return tuple(from_bytes(data) for data in found)
    except RegionError as error:
        raise error if str(path) in str(error) else RegionError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise RegionError(say("{path} cannot be read as ROIs: {reason}.", path=path, reason=error)) from error
    raise RegionError(say("{path} holds no ROIs: it is neither .roi nor .zip nor TIFF.", path=path))


def write(path: Path | str, regions: Sequence[Region]) -> Path:
    """Write regions as ImageJ's ROI Manager does: one as ``.roi``, any number as ``.zip``.

    Raises
    ------
    RegionError
        If the ending is neither, or a ``.roi`` is to hold more or less than one.
    OutputError
        If the file cannot be written; an older one is then as it was.
    """
    path = Path(path)
    regions = tuple(regions)
    ending = path.suffix.lower()
    if ending not in (".roi", ".zip"):
        raise RegionError(say("{path}: ROIs are written as .roi or .zip.", path=path))
    if ending == ".roi" and len(regions) != 1:
        raise RegionError(
            say(
                "{path}: a .roi file holds one ROI, not {count}; write a .zip.", path=path, count=len(regions)
            )
        )
    with written(path) as aside:
        if ending == ".roi":
            aside.write_bytes(regions[0].data)
        else:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, region in zip(_entries(regions), regions, strict=True):
                    archive.writestr(name, region.data)
    return path


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes; no more of them are unpacked than the zip says there are."""
    with archive.open(entry) as file:
        return file.read(entry.file_size) + file.read(1)  # at the end its checksum is compared


def _decoded(data: bytes) -> roifile.ImagejRoi:
    try:
        roi = roifile.ImagejRoi.frombytes(bytes(data))
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise RegionError(
            say("These are not the bytes of an ImageJ ROI, or they are cut off: {reason}.", reason=error)
        ) from error
    return roi


def _named(region: Region, file: str) -> Region:
    """ImageJ gives a ROI without a name that of its file."""
    if region.name:
        return region
    stem = file.rsplit("/", 1)[-1]
    return Region(region.data, stem[:-4] if stem.lower().endswith(".roi") else stem)


def _entries(regions: Sequence[Region]) -> list[str]:
    """Names of files in the zip: unique, and without what file systems refuse."""
    entries: list[str] = []
    taken: set[str] = set()
    for number, region in enumerate(regions, 1):
        clean = "".join(
            "_" if c in '\\/:*?"<>|' or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 else c for c in region.name
        )
        stem = clean.strip(" .") or f"{number:04d}"
        name, count = stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.casefold())
        entries.append(f"{name}.roi")
    return entries
