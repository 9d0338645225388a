"""Tables of labelled images: CSV as spreadsheets write it, into rows with their numbers."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mikata.datasets.entries import PARTS
from mikata.datasets.sheets import column_name, located, one_width, sheet_lines
from mikata.errors import DataError
from mikata.language import say
from mikata.privacy import one_spelling

MASK = "mask"
"""Stands in place of ``label`` where images have masks."""

VALUE = "value"
"""Stands in place of ``label`` where images have a number each; its unit, if any, in brackets: ``value [mm]``."""

OPTIONAL = (
    "patient",
    "patient_alias",
    "study",
    "phase",
    "view",
    "laterality",
    "lesion",
    "site",
    "split",
    "reference",
)
_SPLIT_WORDS = {
    "training": "training",
    "train": "training",
    "selection": "selection",
    "validation": "selection",
    "valid": "selection",
    "val": "selection",
    "test": "test",
    "testing": "test",
}
# Columns that may well hold what tells patients apart: passed over, they would let a patient into two parts.
_MAYBE_PATIENT = frozenset(
    """patient_id patientid patient_name patient_no patient_number pat_id pid mrn subject subject_id subjectid
    case case_id caseid participant participant_id person donor donor_id animal animal_id chart_no karte
    患者 患者id 患者番号 患者名 氏名 症例 症例番号 症例id 被験者 被験者番号 被験者id カルテ番号 検体提供者""".split()
)
_MOST_REFERENCES = 12
_VALUE_WITH_UNIT = re.compile(r"value\s*\[(?P<unit>[^\[\]]*)\]", re.IGNORECASE)
_SLIP = 0.8  # how alike a column's name must be to one we know to be taken for a slip of the pen


@dataclass(frozen=True)
class Row:
    """One line of the table; `number` is the row's in a spreadsheet, the header being row 1.

    `value` is the number of the column ``value``, None where there is no such column.
    """

    number: int
    file: Path
    cells: dict[str, str]
    value: float | None = None


@dataclass(frozen=True)
class Header:
    """What the first row says besides: columns that are not known, and the unit of the column ``value``."""

    ignored: tuple[str, ...]
    unit: str


def read_table(path: Path, target: str = "label", *, more: Sequence[str] = ()) -> tuple[list[Row], Header]:
    """Rows of a table, and what its header says of them.

    `target` is the column that says what an image is: ``label``, which may be ``value``, or ``mask``. With an empty one,
    `more` are columns that there may be besides, and a file may be named by several rows, which agree on what they say
    of the image.

    UTF-8 with or without byte order mark, UTF-16 with one (Excel's "Unicode text"), and CP932
    (Japanese Excel) are read; cells are separated by commas, tabs or semicolons. Case, spaces and
    full-width letters in the header do not matter. Files are relative to the table's folder.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column or a cell, or names a file twice; the message has
        the row and the column.
    """
    lines = sheet_lines(path)
    if not lines or not any(cell.strip() for cell in lines[0]):
        raise DataError(
            say(
                "{path} has no header: its first row must name the columns file and {target}.",
                path=path,
                target=target or " ".join(more),
            )
        )
    columns, ignored = _columns(path, lines[0], target, more)
    rows = []
    first: dict[Path, Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) < len(lines[0]):
            line = line + [""] * (len(lines[0]) - len(line))
        cells = {name: line[index].strip() for name, index in columns.items()}
        for name in ("file", VALUE if VALUE in columns else target):
            if name and not cells[name]:
                raise DataError(
                    say("{path}, row {row}: the column '{name}' is empty.", path=path, row=number, name=name)
                )
        if len([cell for cell in line[len(lines[0]) :] if cell.strip()]):
            raise DataError(
                say(
                    "{path}, row {row}: it has {cells} cells, but the header names {columns}. A name with a "
                    "comma in it must be in quotes.",
                    path=path,
                    row=number,
                    cells=len(line),
                    columns=len(lines[0]),
                )
            )
        if cells.get("split"):
            cells["split"] = _split_word(path, number, cells["split"])
        value = _number(path, number, cells[VALUE]) if VALUE in columns else None
        row = Row(number, located(path.parent, cells["file"]), cells, value)
        if target:
            _refuse_twice(path, row, first)
        else:
            _refuse_unlike_rows(path, row, first)
        rows.append(row)
    if not rows:
        raise DataError(say("{path} has a header but no rows: there are no images in it.", path=path))
    _refuse_gaps(path, rows, columns)
    _refuse_similar_patients(path, rows)
    _refuse_told_cases(path, rows)
    return rows, Header(ignored, _unit(lines[0]))


def _unit(header: list[str]) -> str:
    for cell in header:
        # as it is written where that can be read: NFKC would make mm2 of mm²
        match = _VALUE_WITH_UNIT.fullmatch(cell.strip()) or _VALUE_WITH_UNIT.fullmatch(one_width(cell))
        if match:
            return match["unit"].strip()
    return ""


def _number(path: Path, number: int, cell: str) -> float:
    """A value as it is written: digits with a point, signs and exponents allowed."""
    try:
        value = float(one_width(cell))
    except ValueError as error:
        raise DataError(
            say(
                "{path}, row {row}: the column 'value' has '{cell}', which is no number. Write it with digits and a "
                "decimal point, without its unit (that belongs into the header: value [mm]); names of classes belong "
                "into a column 'label'.",
                path=path,
                row=number,
                cell=cell,
            )
        ) from error
    if not math.isfinite(value):
        raise DataError(
            say(
                "{path}, row {row}: the column 'value' has '{cell}', which is not finite. Give the number, or leave "
                "the row out.",
                path=path,
                row=number,
                cell=cell,
            )
        )
    return value


def _columns(
    path: Path, header: list[str], target: str, more: Sequence[str]
) -> tuple[dict[str, int], tuple[str, ...]]:
    names = [VALUE if _VALUE_WITH_UNIT.fullmatch(one_width(cell)) else column_name(cell) for cell in header]
    targets = ("label", VALUE) if target == "label" else (target,) if target else tuple(more)
    known: dict[str, int] = {}
    ignored = []
    for index, name in enumerate(names):
        if name in known:
            raise DataError(
                say("{path}: the column '{name}' is there twice. Keep one.", path=path, name=name)
            )
        if name in ("file", *targets, *OPTIONAL):
            known[name] = index
        elif name:
            ignored.append(header[index].strip())
    absent = [name for name in ("file", *targets, *OPTIONAL) if name not in known]
    for name in ignored:
        close = difflib.get_close_matches(name.casefold(), absent, 1, _SLIP)
        if close:
            raise DataError(
                say(
                    "{path}: the column '{name}' is unknown; did you mean '{known}'? Rename or remove it.",
                    path=path,
                    name=name,
                    known=close[0],
                )
            )
    for name in ignored:
        if column_name(name) in _MAYBE_PATIENT and not {"patient", "patient_alias"} & set(known):
            raise DataError(
                say(
                    "{path}: the column '{name}' may tell patients apart. Name it patient (it is then hashed "
                    "in all results) or patient_alias (shown as it is), so that no patient is in training "
                    "and test; or remove it.",
                    path=path,
                    name=name,
                )
            )
    if VALUE in known and "label" in known:
        raise DataError(
            say(
                "{path} has both the columns 'label' and 'value'. Keep label to tell classes apart, or value to learn "
                "a number.",
                path=path,
            )
        )
    for name in ("file", target) if target else ("file",):
        if name not in known and not (name == "label" and VALUE in known):
            found = ", ".join(cell.strip() for cell in header)
            raise DataError(
                say(
                    "{path}: the column '{name}' is missing. Its first row has: {found}.",
                    path=path,
                    name=name,
                    found=found,
                )
            )
    return known, tuple(ignored)


def _split_word(path: Path, number: int, word: str) -> str:
    part = _SPLIT_WORDS.get(word.casefold())
    if part is None:
        raise DataError(
            say(
                "{path}, row {row}: the column 'split' has '{word}'; use {parts} or {last}.",
                path=path,
                row=number,
                word=word,
                parts=", ".join(PARTS[:-1]),
                last=PARTS[-1],
            )
        )
    return part


def _refuse_twice(path: Path, row: Row, first: dict[Path, Row]) -> None:
    before = first.setdefault(row.file, row)
    if before is row:
        return
    if row.value is not None and before.value != row.value:
        raise DataError(
            say(
                "{path}: {file} has two values, {old:g} in row {before} and {new:g} in row {row}. Keep the right one.",
                path=path,
                file=row.cells["file"],
                old=before.value,
                before=before.number,
                new=row.value,
                row=row.number,
            )
        )
    old, new = before.cells.get("label"), row.cells.get("label")
    if old == new:
        raise DataError(
            say(
                "{path}: rows {before} and {row} both name {file}. Keep one.",
                path=path,
                before=before.number,
                row=row.number,
                file=row.cells["file"],
            )
        )
    raise DataError(
        say(
            "{path}: {file} has two labels, '{old}' in row {before} and '{new}' in row {row}. Keep "
            "the right one.",
            path=path,
            file=row.cells["file"],
            old=old,
            before=before.number,
            new=new,
            row=row.number,
        )
    )


def _refuse_unlike_rows(path: Path, row: Row, first: dict[Path, Row]) -> None:
    """The rows of one file are of one patient, study, part and so on."""
    before = first.setdefault(row.file, row)
    for name in OPTIONAL:
        if before.cells.get(name) != row.cells.get(name):
            raise DataError(
                say(
                    "{path}: rows {before} and {row} are both of {file}, but differ in the column '{name}'. Make them alike.",
                    path=path,
                    before=before.number,
                    row=row.number,
                    file=row.cells["file"],
                    name=name,
                )
            )


def _refuse_gaps(path: Path, rows: list[Row], columns: dict[str, int]) -> None:
    """A column that decides who is kept together must be full or empty, never half."""
    for name in ("patient", "patient_alias", "split"):
        if name not in columns:
            continue
        empty = [row for row in rows if not row.cells[name]]
        if empty and len(empty) < len(rows):
            raise DataError(
                say(
                    "{path}, row {row}: the column '{name}' is empty, but other rows fill it ({empty} of "
                    "{rows} are empty). Fill it in every row or leave it out.",
                    path=path,
                    row=empty[0].number,
                    name=name,
                    empty=len(empty),
                    rows=len(rows),
                )
            )
    if "patient" in columns and "patient_alias" in columns:
        _refuse_unlike_aliases(path, rows)


def _refuse_similar_patients(path: Path, rows: list[Row]) -> None:
    """One patient written in two ways would be two patients; the ids themselves stay out of messages."""
    for name in ("patient", "patient_alias"):
        first: dict[str, Row] = {}
        for row in rows:
            written = row.cells.get(name, "")
            before = first.setdefault(one_spelling(written), row)
            if before.cells.get(name, "") != written:
                raise DataError(
                    say(
                        "{path}: the column '{name}' of rows {before} and {row} differs in case, width or spaces "
                        "only. Use one spelling for one patient.",
                        path=path,
                        name=name,
                        before=before.number,
                        row=row.number,
                    )
                )


def _refuse_told_cases(path: Path, rows: list[Row]) -> None:
    """What the truth rests on is printed in reports and packages, so it must not tell of single cases."""
    counts = Counter(row.cells.get("reference", "") for row in rows)
    single = sum(count == 1 for count in counts.values())
    if len(counts) > _MOST_REFERENCES or (len(counts) > 3 and 2 * single > len(counts)):
        raise DataError(
            say(
                "{path}: the column 'reference' has {count} different values. It is printed in reports "
                "and packages, so it must name kinds of truth (pathology, follow-up, reader), not single "
                "cases.",
                path=path,
                count=len(counts),
            )
        )


def _refuse_unlike_aliases(path: Path, rows: list[Row]) -> None:
    for one, other in (("patient", "patient_alias"), ("patient_alias", "patient")):
        seen: dict[str, str] = {}
        for row in rows:
            known = seen.setdefault(row.cells[one], row.cells[other])
            if known == row.cells[other]:
                continue
            alias = row.cells["patient_alias"]
            if other == "patient_alias":
                raise DataError(
                    say(
                        "{path}, row {row}: one patient has the aliases '{known}' and '{alias}'. "
                        "Give each patient one alias.",
                        path=path,
                        row=row.number,
                        known=known,
                        alias=alias,
                    )
                )
            raise DataError(
                say(
                    "{path}, row {row}: the alias '{alias}' stands for two patients. "
                    "Give each patient one alias.",
                    path=path,
                    row=row.number,
                    alias=alias,
                )
            )
