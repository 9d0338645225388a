"""Images with places of objects: a table or a folder with ROIs into a `Dataset` whose images were all opened once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mikata.datasets.beside import (
    by_name,
    files_of,
    refuse_few,
    refuse_none,
    refuse_two_truths,
    with_overlays,
)
from mikata.datasets.box_sources import (
    COLUMNS,
    box_of_row,
    boxes_of_regions,
    class_column,
    form_of,
    is_empty,
    names_in,
)
from mikata.datasets.boxes import Box
from mikata.datasets.entries import EVERY, Dataset, Entry
from mikata.datasets.masks import ROI_ENDINGS
from mikata.datasets.reading import Candidate, open_all, patient_names, refuse_mixed_values
from mikata.datasets.table import OPTIONAL, Row, read_table
from mikata.errors import DataError
from mikata.images import looks_like_image, natural_key
from mikata.language import say
from mikata.privacy import one_spelling
from mikata.types import SILENT, Progress

_IMAGES, _ROIS, _EMPTY = "images", "rois", "empty"
_SHOWN = 6

From = Literal["table", "ROIs", "overlays"]


@dataclass(frozen=True)
class Detected(Dataset):
    """Images with places of objects, which each entry has as `boxes`.

    Attributes
    ----------
    names:
        Of the classes, in the order of the numbers that boxes have.
    kind:
        Where the places are from.
    roi_names:
        What ROIs are named, numbers left out, where all were taken as one class.
    """

    names: tuple[str, ...] = ("object",)
    kind: From = "table"
    roi_names: tuple[str, ...] = ()

    @property
    def empty(self) -> int:
        """Number of images without any object."""
        return sum(not entry.boxes for entry in self.entries)

    @property
    def sized(self) -> bool:
        """Whether the size of at least one object is known."""
        return any(box.sized for entry in self.entries for box in entry.boxes or ())

    def reading_words(self, say: Callable[..., str]) -> str:
        """That ROIs of several names are one class, if so: it may not be meant; `say` gives it its language."""
        if len(self.roi_names) < 2:
            return ""
        shown = ", ".join(self.roi_names[:_SHOWN]) + (", ..." if len(self.roi_names) > _SHOWN else "")
        return say(
            "The ROIs have the names {names}, and all were taken as one class. To tell them apart, name the classes in a "
            "recipe: names = [...] in [stage.detection].",
            names=shown,
        )


def read_detected(path: Path, *, names: Sequence[str] = (), progress: Progress = SILENT) -> Detected:
    """Read images and where their objects are.

    Parameters
    ----------
    path:
        A CSV table with the column file and one row an object: either xmin, ymin, xmax and ymax, or x and y of the
        centre, with radius, or width and height, where the size is known; in px from the upper left corner. A column
        class where there are several, and patient (or patient_alias), study, site, split and so on as
        `mikata.datasets.read` takes them. An image without objects has one row without numbers.
        Or a folder with ``images`` and ``rois`` in it, ROIs (``.roi`` or ``.zip``) named as their images, and images
        without objects in a third folder, ``empty``, where there are any; or a folder of TIFFs with ImageJ overlays.
    names:
        Of the classes. None: those of the table in natural order; of ROIs, one class, "object". One: all are of it.

    Raises
    ------
    DataError
        If nothing can be read, a place does not suit its image, or there is no object; the message names the file, and
        for a table the row.
    Cancelled
        If the user stopped it.
    """
    if path.is_dir():
        return _of_folder(path, tuple(names) or ("object",), progress)
    if path.is_file():
        return _of_table(path, tuple(names), progress)
    raise DataError(
        say(
            "{path} does not exist. Give a CSV table with one row an object, or a folder with images and ROIs.",
            path=path,
        )
    )


def _of_table(path: Path, names: tuple[str, ...], progress: Progress) -> Detected:
    rows, header = read_table(path, "", more=COLUMNS)
    form = form_of(path, rows[0].cells)
    column = class_column(path, rows[0].cells)
    names = _names(path, rows, form, column, names)
    numbers = {name: number for number, name in enumerate(names)}
    patient = patient_names(rows[0].cells)
    of_file: dict[Path, list[Row]] = {}
    for row in rows:
        of_file.setdefault(row.file, []).append(row)
    candidates = []
    for file, own in of_file.items():
        facts = {key: own[0].cells[key] for key in OPTIONAL if key in own[0].cells and key != "patient_alias"}
        facts["patient"] = "" if patient is None else patient[1](own[0].cells[patient[0]])
        candidates.append(Candidate(file, EVERY, facts))
    entries, skipped = open_all(candidates, progress)
    refuse_none(path, entries, skipped)
    found = []
    for entry in entries:
        shape = (entry.picture.height, entry.picture.width)
        seen: dict[Box, Row] = {}
        boxes: list[Box] = []
        for row in of_file[entry.file]:
            if is_empty(row, form):
                _refuse_empty_beside_others(path, row, of_file[entry.file])
                continue
            kind = numbers[row.cells[column]] if column and len(names) > 1 else 0
            box = box_of_row(path, row, form, kind, shape)
            before = seen.setdefault(box, row)
            if before is not row:
                raise DataError(
                    say(
                        "{path}: rows {before} and {row} are the same object of {file}. Keep one.",
                        path=path,
                        before=before.number,
                        row=row.number,
                        file=row.cells["file"],
                    )
                )
            boxes.append(box)
        found.append(dataclasses.replace(entry, boxes=tuple(boxes)))
    return _made(path, found, skipped, names, "table", header.ignored)


def _names(
    path: Path, rows: Sequence[Row], form: Sequence[str], column: str, names: tuple[str, ...]
) -> tuple[str, ...]:
    """The classes of a table's objects."""
    if not column:
        if len(names) > 1:
            raise DataError(
                say(
                    "{path}: the recipe names {count} classes, but there is no column 'class'.",
                    path=path,
                    count=len(names),
                )
            )
        return names or ("object",)
    marked = [row for row in rows if not is_empty(row, form)]
    if len(names) == 1:
        return names
    for row in marked:
        name = row.cells[column]
        if not name:
            raise DataError(
                say(
                    "{path}, row {row}: the column '{name}' is empty.", path=path, row=row.number, name=column
                )
            )
        if names and name not in names:
            raise DataError(
                say(
                    "{path}, row {row}: the class '{name}' is none of those that the recipe names: {names}.",
                    path=path,
                    row=row.number,
                    name=name,
                    names=", ".join(names),
                )
            )
    found = names or tuple(sorted({row.cells[column] for row in marked}, key=natural_key)) or ("object",)
    spellings: dict[str, str] = {}
    for name in found:
        before = spellings.setdefault(one_spelling(name), name)
        if before != name:
            raise DataError(
                say(
                    "{path}: the classes '{one}' and '{other}' differ in case, width or spaces only. Use one spelling.",
                    path=path,
                    one=before,
                    other=name,
                )
            )
    return found


def _refuse_empty_beside_others(path: Path, row: Row, rows: Sequence[Row]) -> None:
    if len(rows) > 1:
        other = next(one for one in rows if one is not row)
        raise DataError(
            say(
                "{path}: row {row} says that {file} has no object, but it has row {other} as well. Fill in the numbers, or "
                "keep one of them.",
                path=path,
                row=row.number,
                file=row.cells["file"],
                other=other.number,
            )
        )


def _of_folder(folder: Path, names: tuple[str, ...], progress: Progress) -> Detected:
    images, rois, none = (folder / name for name in (_IMAGES, _ROIS, _EMPTY))
    pairs: dict[Path, Path | None] = {}
    kind: From = "ROIs"
    if images.is_dir():
        if not rois.is_dir():
            raise DataError(
                say(
                    "{folder} has the folder {images}, but no folder {rois}.",
                    folder=folder,
                    images=_IMAGES,
                    rois=_ROIS,
                )
            )
        pairs |= by_name(images, [rois], lambda file: file.suffix.lower() in ROI_ENDINGS, _no_rois)
        if none.is_dir():
            pairs |= dict.fromkeys(filter(looks_like_image, files_of(none)))
    else:
        kind = "overlays"
        pairs |= {file: file for file in with_overlays(folder)}
    if not pairs:
        raise DataError(
            say(
                "{folder} holds no images with objects: give a folder with the folders images and rois, a folder of TIFFs with "
                "overlays, or a CSV table with one row an object.",
                folder=folder,
            )
        )
    entries, skipped = open_all([Candidate(file, EVERY) for file in pairs], progress)
    refuse_none(folder, entries, skipped)
    found = []
    named: set[str] = set()
    for done, entry in enumerate(entries):
        progress.step(say("Reading ROIs"), done, len(entries))
        source = pairs[entry.file]
        shape = (entry.picture.height, entry.picture.width)
        boxes = () if source is None else boxes_of_regions(source, names, shape)
        if source is not None and len(names) == 1:
            named |= names_in(source)
        found.append(dataclasses.replace(entry, boxes=boxes))
    made = _made(folder, found, skipped, names, kind, ())
    return dataclasses.replace(made, roi_names=tuple(sorted(named, key=natural_key)))


def _no_rois(file: Path, folders: Sequence[Path]) -> str:
    return say(
        "{file} has no ROIs: no .roi or .zip of the folder {folder} is named {stem}. If nothing is in it to be found, move it "
        "into a folder {empty} beside them.",
        file=file,
        folder=folders[0].name,
        stem=file.stem,
        empty=_EMPTY,
    )


def _made(
    path: Path,
    entries: list[Entry],
    skipped: Sequence[tuple[Path, str]],
    names: tuple[str, ...],
    kind: From,
    ignored: tuple[str, ...],
) -> Detected:
    """The data set, once it is clear that a network can learn from it."""
    refuse_mixed_values(path, entries)
    present = {box.kind for entry in entries for box in entry.boxes or ()}
    if not present:
        raise DataError(say("{path}: no image has an object: there is nothing to learn from.", path=path))
    for number, name in enumerate(names):
        if number not in present:
            raise DataError(
                say("{path}: no object is of the class '{name}'. Is its name right?", path=path, name=name)
            )
    refuse_two_truths(path, entries, digest)
    refuse_few(path, entries)
    lines = sorted(f"{entry.picture.digest} {digest(entry)}\n" for entry in entries)
    fingerprint = hashlib.sha256("".join(lines).encode()).hexdigest()
    return Detected(
        path, tuple(entries), (EVERY,), tuple(skipped), fingerprint, ignored, names=names, kind=kind
    )


def digest(entry: Entry) -> str:
    """SHA-256 of where the objects of an image are, hexadecimal; their order does not matter."""
    lines = sorted(
        f"{box.kind} {box.x!r} {box.y!r} {box.width!r} {box.height!r}" for box in entry.boxes or ()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
