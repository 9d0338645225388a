"""A folder of class folders, or a table, into a `Dataset` whose images were all opened once."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mikata.datasets.entries import Dataset, Entry, Picture
from mikata.datasets.table import read_table
from mikata.errors import DataError, ImageError
from mikata.images import natural_key, patient_id
from mikata.images import read as read_image
from mikata.privacy import one_spelling, pseudonym
from mikata.types import SILENT, Image, Progress

_NO_IMAGES = {"thumbs.db", "desktop.ini", "__macosx"}  # what Windows and macOS leave in folders
_NOT_FACTS = ("file", "label", "patient_alias")  # columns that an entry has in another form


@dataclass(frozen=True)
class _Candidate:
    file: Path
    label: str
    where: str
    facts: dict[str, str] = field(default_factory=dict)


def read(path: Path, *, for_training: bool = True, progress: Progress = SILENT) -> Dataset:
    """Read labelled images.

    Every image is opened once: what cannot be opened is listed in ``skipped`` and left out. Exact
    copies of one picture are allowed within a class, and `mikata.datasets.split` keeps them together.
    Where no table tells the patient, the PatientID of DICOM files does.

    Parameters
    ----------
    path:
        A folder with one folder of images for each class (its name is the class), or a CSV table with the
        columns file and label, usually patient or patient_alias, and where there are any study, phase, view,
        laterality, lesion, site, split and reference.
    for_training:
        Whether to refuse what no network can learn from: one class, or a class with one image or one
        patient.

    Raises
    ------
    DataError
        If nothing can be read, or labels, patients or splits contradict each other; the message names
        the file, and for a table the row and the column.
    Cancelled
        If the user stopped it.
    """
    ignored: tuple[str, ...] = ()
    if path.is_dir():
        candidates = _from_folder(path)
    elif path.is_file():
        candidates, ignored = _from_table(path)
    else:
        raise DataError(f"{path} does not exist. Give a folder of class folders, or a CSV table.")
    _refuse_similar_labels(path, candidates)
    entries, skipped = _open_all(candidates, progress)
    if not entries:
        file, reason = skipped[0]
        raise DataError(
            f"None of the {len(skipped)} images of {path} can be used. The first is {file}: {reason}"
        )
    _refuse_two_labels(path, entries)
    _refuse_mixed_values(path, entries)
    classes = tuple(sorted({entry.label for entry in entries}, key=natural_key))
    dataset = Dataset(path, tuple(entries), classes, tuple(skipped), _fingerprint(entries), ignored)
    if for_training:
        _refuse_untrainable(dataset)
    return dataset


def _from_folder(folder: Path) -> list[_Candidate]:
    inside = [item for item in folder.iterdir() if not _is_litter(item)]
    folders = sorted((item for item in inside if item.is_dir()), key=lambda item: natural_key(item.name))
    if not folders:
        tables = sorted(item.name for item in inside if item.suffix.lower() in (".csv", ".tsv"))
        instead = f" It holds {tables[0]}: give that file." if tables else ""
        raise DataError(f"{folder} holds no class folders: one folder of images for each class.{instead}")
    candidates = []
    for item in folders:
        files = sorted((f for f in item.iterdir() if not _is_litter(f)), key=lambda f: natural_key(f.name))
        deeper = [f.name for f in files if f.is_dir()]
        if deeper:
            raise DataError(
                f"The class folder {item} holds the folder {deeper[0]}. Put its images into {item.name}; "
                "for patients, or for images already split, give a CSV table with the columns file, label, "
                "patient and split."
            )
        if not files:
            raise DataError(f"The class folder {item} holds no images. Fill it or remove it.")
        label = unicodedata.normalize("NFC", item.name)
        candidates += [_Candidate(file, label, str(file)) for file in files]
    return candidates


def _is_litter(item: Path) -> bool:
    return item.name.startswith(".") or item.name.casefold() in _NO_IMAGES


def _from_table(path: Path) -> tuple[list[_Candidate], tuple[str, ...]]:
    rows, ignored = read_table(path)
    name = _patient_names(rows[0].cells)
    hidden: dict[str, str] = {}
    candidates = []
    for row in rows:
        facts = {key: value for key, value in row.cells.items() if key not in _NOT_FACTS}
        facts["patient"] = ""
        if name is not None:
            key = row.cells[name[0]]
            if key not in hidden:
                hidden[key] = name[1](key)
            facts["patient"] = hidden[key]
        candidates.append(
            _Candidate(row.file, row.cells["label"], f"row {row.number} ({row.cells['file']})", facts)
        )
    return candidates, ignored


def _patient_names(cells: dict[str, str]) -> tuple[str, Callable[[str], str]] | None:
    """Column that tells patients apart, and what to call them; None where no patient is known."""
    if cells.get("patient_alias"):
        return "patient_alias", str
    if cells.get("patient"):
        return "patient", pseudonym
    return None


def _open_all(candidates: list[_Candidate], progress: Progress) -> tuple[list[Entry], list[tuple[Path, str]]]:
    entries: list[Entry] = []
    skipped: list[tuple[Path, str]] = []
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, (candidate, seen) in enumerate(zip(candidates, pool.map(_look, candidates), strict=True)):
            progress.step("Reading images", done, len(candidates))
            if isinstance(seen, str):
                skipped.append((candidate.file, seen))
                continue
            facts = candidate.facts
            if not facts.get("patient") and seen.patient_id:
                facts = facts | {"patient": pseudonym(seen.patient_id)}
            entries.append(Entry(candidate.file, candidate.label, seen.picture, **facts))
    finally:
        pool.shutdown(cancel_futures=True)
    progress.step("Reading images", len(candidates), len(candidates))
    return entries, skipped


@dataclass(frozen=True)
class _Seen:
    picture: Picture
    patient_id: str


def _look(candidate: _Candidate) -> _Seen | str:
    """What an image is, or why it cannot be used."""
    if not candidate.file.exists():
        return "The file is not there."
    try:
        seen = picture(read_image(candidate.file))
        # a table's patient counts more, and saves opening the file again
        return _Seen(seen, "" if candidate.facts.get("patient") else patient_id(candidate.file))
    except OSError as error:
        return f"The file cannot be read: {error.strerror or error}."
    except ImageError as error:
        return str(error)


def picture(image: Image) -> Picture:
    """What a data set keeps of an image.

    Raises
    ------
    ImageError
        If it has several slices or frames (one label for all of them would be a guess), values that are
        not finite, or the same value everywhere.
    """
    planes = image.size("Z") * image.size("T")
    if planes > 1:
        raise ImageError(
            f"It has {planes} slices or frames; training takes one plane a file. Save them singly."
        )
    values = next(image.frames()).values
    if not np.isfinite(values).all():
        raise ImageError("It has values that are not finite (NaN or infinity).")
    if (values == values.flat[0]).all():
        raise ImageError("It is constant: there is nothing to see in it.")
    channels, height, width = values.shape
    if (
        image.is_colour
        and channels == 3
        and (values[0] == values[1]).all()
        and (values[1] == values[2]).all()
    ):
        channels = 1
    eight_bit = image.array.dtype == np.uint8 and image.calibration is None
    content = hashlib.sha256(f"{channels} {height} {width} ".encode())
    content.update(values[:channels].tobytes())
    return Picture(channels, height, width, image.calibrated_unit, eight_bit, content.hexdigest())


def _refuse_similar_labels(path: Path, candidates: Iterable[_Candidate]) -> None:
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        spellings[one_spelling(candidate.label)][candidate.label] += 1
    for found in spellings.values():
        if len(found) > 1:
            said = " and ".join(f"'{name}' ({count} images)" for name, count in found.most_common())
            raise DataError(
                f"{path}: the labels {said} differ in case, width or spaces only. Use one spelling."
            )


def _refuse_two_labels(path: Path, entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        before = first.setdefault(entry.picture.digest, entry)
        if before.label != entry.label:
            raise DataError(
                f"{path}: {before.file} ('{before.label}') and {entry.file} ('{entry.label}') are the same "
                "picture under two labels. Remove the wrong one."
            )


def _refuse_mixed_values(path: Path, entries: list[Entry]) -> None:
    units = {entry.picture.unit: entry for entry in entries}
    channels = {entry.picture.channels: entry for entry in entries}
    depths = {entry.picture.eight_bit: entry for entry in entries}
    mixed: dict[str, Entry] = {}
    if len(units) == 1 and len(depths) > 1:
        # a network could tell the classes apart by the range of their numbers alone
        mixed = {"8-bit values": depths[True], "values of another range": depths[False]}
    elif len(units) > 1:
        mixed = {f"values in {unit}": entry for unit, entry in units.items()}
    elif len(channels) > 1 and channels.keys() != {1, 3}:  # grey goes with colour: it is shown as colour
        mixed = {f"{number} channels": entry for number, entry in channels.items()}
    if mixed:
        said = ", ".join(f"{entry.file.name} has {what}" for what, entry in mixed.items())
        raise DataError(f"{path}: the images are of different kinds: {said}. Train on images of one kind.")


def _refuse_untrainable(dataset: Dataset) -> None:
    path, left_out = dataset.path, ""
    if dataset.skipped:
        left_out = f" ({len(dataset.skipped)} files could not be read, such as {dataset.skipped[0][0].name})"
    if len(dataset.entries) == 1:
        raise DataError(f"{path} has only one image{left_out}. Training needs several images of each class.")
    if len(dataset.classes) == 1:
        raise DataError(
            f"{path} has only one class, '{dataset.classes[0]}'{left_out}. Training needs at least two."
        )
    for name, count in dataset.counts().items():
        if count == 1:
            raise DataError(
                f"{path}: the class '{name}' has only one image{left_out}. It needs at least three, one each "
                "to train, to choose the best epoch and to test."
            )
        patients = {entry.patient for entry in dataset.entries if entry.label == name}
        if dataset.has_patients and len(patients) == 1:
            header = "" if path.is_file() else " by their DICOM headers"
            remedy = " If that is wrong, give a CSV with the column patient." if header else ""
            raise DataError(
                f"{path}: all {count} images of the class '{name}' are of one patient{header}{left_out}. It needs "
                f"at least three, one each to train, to choose the best epoch and to test.{remedy}"
            )


def _fingerprint(entries: Iterable[Entry]) -> str:
    lines = sorted(f"{entry.picture.digest} {entry.label}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
