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
from mikata.datasets.table import Header, read_table
from mikata.datasets.values import refuse_few_values
from mikata.errors import DataError, ImageError
from mikata.images import looks_like_image, natural_key, patient_id
from mikata.images import read as read_image
from mikata.language import say
from mikata.privacy import one_spelling, pseudonym
from mikata.types import SILENT, Image, Progress

_NO_IMAGES = {"thumbs.db", "desktop.ini", "__macosx"}  # what Windows and macOS leave in folders
_NOT_FACTS = ("file", "label", "value", "patient_alias")  # columns that an entry has in another form


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that is named or found, and what is said of it."""

    file: Path
    label: str
    facts: dict[str, str] = field(default_factory=dict)
    value: float | None = None


def read(path: Path, *, for_training: bool = True, progress: Progress = SILENT) -> Dataset:
    """Read labelled images.

    Every image is opened once: what cannot be opened is listed in ``skipped`` and left out. Exact
    copies of one picture are allowed within a class, and `mikata.datasets.split` keeps them together.
    Where no table tells the patient, the PatientID of DICOM files does.

    Parameters
    ----------
    path:
        A folder with one folder of images for each class (its name is the class), or a CSV table with the
        columns file and label (or value, for a number instead of a class; with a unit, ``value [mm]``), usually patient or patient_alias, and where there are any study, phase, view,
        laterality, lesion, site, split and reference.
    for_training:
        Whether to refuse what no network can learn from: one class, or a class with one image or one
        patient; fewer than 10 different values, or fewer than 3 patients with values.

    Raises
    ------
    DataError
        If nothing can be read, or labels, patients or splits contradict each other; the message names
        the file, and for a table the row and the column.
    Cancelled
        If the user stopped it.
    """
    ignored: tuple[str, ...] = ()
    unit = ""
    if path.is_dir():
        candidates = _from_folder(path)
    elif path.is_file():
        candidates, header = _from_table(path)
        ignored, unit = header.ignored, header.unit
    else:
        raise DataError(
            say("{path} does not exist. Give a folder of class folders, or a CSV table.", path=path)
        )
    _refuse_similar_labels(path, candidates)
    entries, skipped = open_all(candidates, progress)
    if not entries:
        file, reason = skipped[0]
        raise DataError(
            say(
                "None of the {count} images of {path} can be used. The first is {file}: {reason}",
                count=len(skipped),
                path=path,
                file=file,
                reason=reason,
            )
        )
    _refuse_two_labels(path, entries)
    refuse_mixed_values(path, entries)
    classes = tuple(sorted({entry.label for entry in entries if entry.label}, key=natural_key))
    dataset = Dataset(path, tuple(entries), classes, tuple(skipped), _fingerprint(entries), ignored, unit)
    if for_training and dataset.values:
        refuse_few_values(dataset)
    elif for_training:
        _refuse_untrainable(dataset)
    return dataset


def read_unlabelled(
    folder: Path, *, progress: Progress = SILENT
) -> tuple[tuple[Entry, ...], tuple[tuple[Path, str], ...]]:
    """Read images of which nobody said what they show.

    Parameters
    ----------
    folder:
        With images, also in folders inside it.

    Returns
    -------
    tuple
        The images that can be used, with an empty label, and the files that cannot, each with the reason.

    Raises
    ------
    DataError
        If there is no such folder or no image in it can be used.
    Cancelled
        If the user stopped it.
    """
    if not folder.is_dir():
        raise DataError(
            say("{folder} does not exist, or is no folder. Give a folder of images.", folder=folder)
        )
    files = (
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(is_litter(Path(part)) for part in file.relative_to(folder).parts)
        and looks_like_image(file)
    )
    ordered = sorted(files, key=lambda file: natural_key(str(file.relative_to(folder))))
    entries, skipped = open_all([Candidate(file, "") for file in ordered], progress)
    if not entries:
        raise DataError(say("{folder} holds no image that can be used.", folder=folder))
    return tuple(entries), tuple(skipped)


def _from_folder(folder: Path) -> list[Candidate]:
    inside = [item for item in folder.iterdir() if not is_litter(item)]
    folders = sorted((item for item in inside if item.is_dir()), key=lambda item: natural_key(item.name))
    if not folders:
        tables = sorted(item.name for item in inside if item.suffix.lower() in (".csv", ".tsv"))
        if tables:
            raise DataError(
                say(
                    "{folder} holds no class folders: one folder of images for each class. "
                    "It holds {table}: give that file.",
                    folder=folder,
                    table=tables[0],
                )
            )
        raise DataError(
            say("{folder} holds no class folders: one folder of images for each class.", folder=folder)
        )
    candidates = []
    for item in folders:
        files = sorted((f for f in item.iterdir() if not is_litter(f)), key=lambda f: natural_key(f.name))
        deeper = [f.name for f in files if f.is_dir()]
        if deeper:
            raise DataError(
                say(
                    "The class folder {folder} holds the folder {inner}. Put its images into {name}; for "
                    "patients, or for images already split, give a CSV table with the columns file, label, "
                    "patient and split.",
                    folder=item,
                    inner=deeper[0],
                    name=item.name,
                )
            )
        if not files:
            raise DataError(
                say("The class folder {folder} holds no images. Fill it or remove it.", folder=item)
            )
        label = unicodedata.normalize("NFC", item.name)
        candidates += [Candidate(file, label) for file in files]
    return candidates


def is_litter(item: Path) -> bool:
    """Whether a file or folder is what a system leaves behind."""
    return item.name.startswith(".") or item.name.casefold() in _NO_IMAGES


def _from_table(path: Path) -> tuple[list[Candidate], Header]:
    rows, header = read_table(path)
    name = patient_names(rows[0].cells)
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
        candidates.append(Candidate(row.file, row.cells.get("label", ""), facts, row.value))
    return candidates, header


def patient_names(cells: dict[str, str]) -> tuple[str, Callable[[str], str]] | None:
    """Column that tells patients apart, and what to call them; None where no patient is known."""
    if cells.get("patient_alias"):
        return "patient_alias", str
    if cells.get("patient"):
        return "patient", pseudonym
    return None


def open_all(candidates: list[Candidate], progress: Progress) -> tuple[list[Entry], list[tuple[Path, str]]]:
    """Open every image once: those that can be used, in order, and the files that cannot, each with the reason."""
    entries: list[Entry] = []
    skipped: list[tuple[Path, str]] = []
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, (candidate, seen) in enumerate(zip(candidates, pool.map(_look, candidates), strict=True)):
            progress.step(say("Reading images"), done, len(candidates))
            if isinstance(seen, str):
                skipped.append((candidate.file, seen))
                continue
            facts = candidate.facts
            if not facts.get("patient") and seen.patient_id:
                facts = facts | {"patient": pseudonym(seen.patient_id)}
            entries.append(
                Entry(
                    candidate.file,
                    candidate.label,
                    seen.picture,
                    **facts,  # type: ignore[arg-type]  # texts only: no column that gets here is named mask
                    value=candidate.value,
                )
            )
    finally:
        pool.shutdown(cancel_futures=True)
    progress.step(say("Reading images"), len(candidates), len(candidates))
    return entries, skipped


@dataclass(frozen=True)
class _Seen:
    picture: Picture
    patient_id: str


def _look(candidate: Candidate) -> _Seen | str:
    """What an image is, or why it cannot be used."""
    if not candidate.file.exists():
        return say("The file is not there.")
    try:
        seen = picture(read_image(candidate.file))
        # a table's patient counts more, and saves opening the file again
        return _Seen(seen, "" if candidate.facts.get("patient") else patient_id(candidate.file))
    except OSError as error:
        return say("The file cannot be read: {reason}.", reason=error.strerror or error)
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
            say(
                "It has {planes} slices or frames; training takes one plane a file. Save them singly.",
                planes=planes,
            )
        )
    values = next(image.frames()).values
    if not np.isfinite(values).all():
        raise ImageError(say("It has values that are not finite (NaN or infinity)."))
    if (values == values.flat[0]).all():
        raise ImageError(say("It is constant: there is nothing to see in it."))
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


def _refuse_similar_labels(path: Path, candidates: Iterable[Candidate]) -> None:
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        spellings[one_spelling(candidate.label)][candidate.label] += 1
    for found in spellings.values():
        if len(found) > 1:
            said = say(" and ").join(
                say("'{name}' ({count} images)", name=name, count=count)
                for name, count in found.most_common()
            )
            raise DataError(
                say(
                    "{path}: the labels {said} differ in case, width or spaces only. Use one spelling.",
                    path=path,
                    said=said,
                )
            )


def _refuse_two_labels(path: Path, entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        before = first.setdefault(entry.picture.digest, entry)
        if before.value != entry.value:
            raise DataError(
                say(
                    "{path}: {one} ({one_value:g}) and {other} ({other_value:g}) are the same picture with two values. "
                    "Remove the wrong one.",
                    path=path,
                    one=before.file,
                    one_value=before.value,
                    other=entry.file,
                    other_value=entry.value,
                )
            )
        if before.label != entry.label:
            raise DataError(
                say(
                    "{path}: {one} ('{one_label}') and {other} ('{other_label}') are the same picture under "
                    "two labels. Remove the wrong one.",
                    path=path,
                    one=before.file,
                    one_label=before.label,
                    other=entry.file,
                    other_label=entry.label,
                )
            )


def refuse_mixed_values(path: Path, entries: list[Entry]) -> None:
    """Refuse images of different units, depths or channels, or `DataError` with two of them."""
    units = {entry.picture.unit: entry for entry in entries}
    channels = {entry.picture.channels: entry for entry in entries}
    depths = {entry.picture.eight_bit: entry for entry in entries}
    kinds: list[str] = []
    if len(units) == 1 and len(depths) > 1:
        # a network could tell the classes apart by the range of their numbers alone
        kinds = [
            say("{file} has 8-bit values", file=depths[True].file.name),
            say("{file} has values of another range", file=depths[False].file.name),
        ]
    elif len(units) > 1:
        kinds = [
            say("{file} has values in {unit}", file=entry.file.name, unit=unit)
            for unit, entry in units.items()
        ]
    elif len(channels) > 1 and channels.keys() != {1, 3}:  # grey goes with colour: it is shown as colour
        kinds = [
            say("{file} has {number} channels", file=entry.file.name, number=number)
            for number, entry in channels.items()
        ]
    if kinds:
        raise DataError(
            say(
                "{path}: the images are of different kinds: {kinds}. Train on images of one kind.",
                path=path,
                kinds=", ".join(kinds),
            )
        )


def _refuse_untrainable(dataset: Dataset) -> None:
    path, left_out = dataset.path, ""
    if dataset.skipped:
        left_out = say(
            " ({count} files could not be read, such as {file})",
            count=len(dataset.skipped),
            file=dataset.skipped[0][0].name,
        )
    if len(dataset.entries) == 1:
        raise DataError(
            say(
                "{path} has only one image{left_out}. Training needs several images of each class.",
                path=path,
                left_out=left_out,
            )
        )
    if len(dataset.classes) == 1:
        raise DataError(
            say(
                "{path} has only one class, '{label}'{left_out}. Training needs at least two.",
                path=path,
                label=dataset.classes[0],
                left_out=left_out,
            )
        )
    for name, count in dataset.counts().items():
        if count == 1:
            raise DataError(
                say(
                    "{path}: the class '{name}' has only one image{left_out}. It needs at least three, one "
                    "each to train, to choose the best epoch and to test.",
                    path=path,
                    name=name,
                    left_out=left_out,
                )
            )
        patients = {entry.patient for entry in dataset.entries if entry.label == name}
        if dataset.has_patients and len(patients) == 1:
            if path.is_file():
                raise DataError(
                    say(
                        "{path}: all {count} images of the class '{name}' are of one patient{left_out}. "
                        "It needs at least three, one each to train, to choose the best epoch and to test.",
                        path=path,
                        count=count,
                        name=name,
                        left_out=left_out,
                    )
                )
            raise DataError(
                say(
                    "{path}: all {count} images of the class '{name}' are of one patient by their DICOM "
                    "headers{left_out}. It needs at least three, one each to train, to choose the best epoch "
                    "and to test. If that is wrong, give a CSV with the column patient.",
                    path=path,
                    count=count,
                    name=name,
                    left_out=left_out,
                )
            )


def _fingerprint(entries: Iterable[Entry]) -> str:
    lines = sorted(
        f"{entry.picture.digest} {entry.label if entry.value is None else repr(entry.value)}\n"
        for entry in entries
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
