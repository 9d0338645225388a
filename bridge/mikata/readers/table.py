"""The table of calls: a CSV with what network, human and reference say of each case or lesion."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mikata.datasets.sheets import column_name, located, one_width, sheet_lines
from mikata.errors import DataError, ParameterError
from mikata.language import say
from mikata.privacy import one_spelling, pseudonym

_KNOWN = ("file", "case", "patient", "patient_alias", "lesion", "network", "human", "reference")
_SLIP = 0.8  # how alike a column's name must be to one we know to be taken for a slip of the pen
_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-", "?"})


@dataclass(frozen=True)
class Reading:
    """What is said of one case or lesion.

    Attributes
    ----------
    row:
        Its row in the spreadsheet, the header being row 1.
    case:
        The column ``case``, or the file as it is written.
    file:
        The image; None where there is no column ``file``.
    patient:
        The table's alias, or a salted hash of the patient's id; empty where patients are not known.
    lesion:
        Empty where cases are counted whole.
    network, probability:
        Whether the network calls it positive, and with which probability; None where that is not known (yet).
    human, reference:
        Whether they call it positive.
    """

    row: int
    case: str
    file: Path | None
    patient: str
    lesion: str
    network: bool | None
    probability: float | None
    human: bool
    reference: bool


@dataclass(frozen=True)
class Readings:
    """A whole table.

    Attributes
    ----------
    rows:
        In the order of the table, at least one.
    lesions, patients:
        Whether they are told.
    ignored:
        Columns that were not used.
    """

    rows: tuple[Reading, ...]
    lesions: bool
    patients: bool
    ignored: tuple[str, ...]

    def with_calls(self, calls: Sequence[tuple[bool, float]]) -> Readings:
        """The same with the network's calls and probabilities, one for each row."""
        rows = [
            replace(row, network=call, probability=probability)
            for row, (call, probability) in zip(self.rows, calls, strict=True)
        ]
        return replace(self, rows=tuple(rows))


class Words:
    """Which words of a table mean positive and which negative; case, width and blanks do not matter.

    Parameters
    ----------
    positive, negative:
        One word each, or several with ; between.

    Raises
    ------
    ParameterError
        If one is empty, or a word means both.
    """

    def __init__(self, positive: str, negative: str) -> None:
        self.positive, self.negative = _words(positive), _words(negative)
        for name, words in (("positive", self.positive), ("negative", self.negative)):
            if not words:
                raise ParameterError(
                    say(
                        "{name} is empty: give the word (or several with ; between) that means it in the table.",
                        name=name,
                    )
                )
        both = set(self.positive) & set(self.negative)
        if both:
            raise ParameterError(
                say(
                    "The word '{word}' is to mean both positive and negative. Give it once.",
                    word=self.positive[min(both)],
                )
            )

    def call(self, word: str) -> bool | None:
        """Whether a word means positive; None if it is neither."""
        plain = one_spelling(word)
        return True if plain in self.positive else False if plain in self.negative else None

    @property
    def known(self) -> str:
        """All words, for messages."""
        return ", ".join((*self.positive.values(), *self.negative.values()))


def _words(text: str) -> dict[str, str]:
    return {one_spelling(word): word.strip() for word in text.split(";") if word.strip()}


def read_readings(path: Path, words: Words, *, threshold: float | None, by_model: bool) -> Readings:
    """Read a table of calls.

    Columns: ``file`` (relative to the table) or ``case``, or both; ``human`` and ``reference`` with words of
    `words`; ``network`` with such words or, where a `threshold` is given, the probability of being positive;
    optionally ``patient`` (hashed) or ``patient_alias`` (kept), and ``lesion``. Encodings and separators are those
    of `mikata.datasets.sheets`.

    Parameters
    ----------
    threshold:
        From which probability on the network's call is positive, above 0, up to 1; None: the column holds words.
    by_model:
        Whether a model is to give the network's calls, so that there is no column ``network``, but files.

    Raises
    ------
    DataError
        If the table lacks a column or a cell, has other words, names a case (lesion) twice, or contradicts itself.
    """
    lines = sheet_lines(path)
    if not lines or not any(cell.strip() for cell in lines[0]):
        raise DataError(
            say(
                "{path} has no header: its first row must name the columns file (or case), network, human and reference.",
                path=path,
            )
        )
    columns, ignored = _columns(path, lines[0], by_model)
    reading = _Reader(path, columns, words, threshold, by_model)
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if any(cell.strip() for cell in line):
            rows.append(reading.row(number, line, len(lines[0])))
    if not rows:
        raise DataError(say("{path} has a header but no rows: there are no cases in it.", path=path))
    _refuse_gaps(path, rows, columns)
    _refuse_twice(path, rows, "lesion" in columns)
    _refuse_one_file_twice(path, rows)
    _refuse_two_patients(path, rows)
    patients = bool({"patient", "patient_alias"} & columns.keys()) and bool(rows[0].patient)
    return Readings(tuple(rows), bool(rows[0].lesion), patients, ignored)


@dataclass(frozen=True)
class _Reader:
    path: Path
    columns: dict[str, int]
    words: Words
    threshold: float | None
    by_model: bool

    def row(self, number: int, line: list[str], width: int) -> Reading:
        if any(cell.strip() for cell in line[width:]):
            raise DataError(
                say(
                    "{path}, row {row}: it has {cells} cells, but the header names {columns}. A name with a "
                    "comma in it must be in quotes.",
                    path=self.path,
                    row=number,
                    cells=len(line),
                    columns=width,
                )
            )
        line = line + [""] * (width - len(line))
        cells = {name: line[index].strip() for name, index in self.columns.items()}
        for name in ("file", "case"):
            if name in cells and not cells[name]:
                raise DataError(
                    say(
                        "{path}, row {row}: the column '{name}' is empty.",
                        path=self.path,
                        row=number,
                        name=name,
                    )
                )
        network: bool | None = None
        probability: float | None = None
        if not self.by_model:
            if self.threshold is None:
                network = self._call(number, "network", cells["network"])
            else:
                probability = self._probability(number, cells["network"])
                network = probability >= self.threshold
        patient = cells.get("patient_alias", "")
        if not patient and cells.get("patient"):
            patient = pseudonym(cells["patient"])
        return Reading(
            row=number,
            case=cells.get("case") or cells["file"],
            file=located(self.path.parent, cells["file"]) if "file" in cells else None,
            patient=patient,
            lesion=cells.get("lesion", ""),
            network=network,
            probability=probability,
            human=self._call(number, "human", cells["human"]),
            reference=self._call(number, "reference", cells["reference"]),
        )

    def _call(self, number: int, name: str, cell: str) -> bool:
        found = self.words.call(cell)
        if found is not None:
            return found
        self._refuse_missing(number, name, cell)
        if name == "network" and _number(cell) is not None:
            raise DataError(
                say(
                    "{path}, row {row}: the column 'network' has the number {cell}. State from which probability on a "
                    "case counts as positive (threshold_percent), or give calls as one of the words {known}.",
                    path=self.path,
                    row=number,
                    cell=cell,
                    known=self.words.known,
                )
            )
        raise DataError(
            say(
                "{path}, row {row}: the column '{name}' has '{cell}', which is neither positive nor negative: known are "
                "{known}. Correct the cell, or name the words of this table (positive, negative).",
                path=self.path,
                row=number,
                name=name,
                cell=cell,
                known=self.words.known,
            )
        )

    def _probability(self, number: int, cell: str) -> float:
        self._refuse_missing(number, "network", cell)
        value = _number(cell)
        if value is None or not 0 <= value <= 1:
            raise DataError(
                say(
                    "{path}, row {row}: the column 'network' has '{cell}'. With a threshold it must hold the probability "
                    "of being positive, from 0 to 1; where it holds words, leave threshold_percent at 0.",
                    path=self.path,
                    row=number,
                    cell=cell,
                )
            )
        return value

    def _refuse_missing(self, number: int, name: str, cell: str) -> None:
        if one_spelling(cell) in _MISSING:
            raise DataError(
                say(
                    "{path}, row {row}: the column '{name}' is empty or says that there is no value ('{cell}'). Fill it, "
                    "or take the row out, and say in your report how many cases you left out and why.",
                    path=self.path,
                    row=number,
                    name=name,
                    cell=cell,
                )
            )


def _number(cell: str) -> float | None:
    try:
        value = float(one_width(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _columns(path: Path, header: list[str], by_model: bool) -> tuple[dict[str, int], tuple[str, ...]]:
    names = [column_name(cell) for cell in header]
    known: dict[str, int] = {}
    ignored = []
    for index, name in enumerate(names):
        if name in known:
            raise DataError(
                say("{path}: the column '{name}' is there twice. Keep one.", path=path, name=name)
            )
        if name in _KNOWN:
            known[name] = index
        elif name:
            ignored.append(header[index].strip())
    absent = [name for name in _KNOWN if name not in known]
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
    wanted = ["human", "reference"] if by_model else ["network", "human", "reference"]
    if by_model or "case" not in known:
        wanted.insert(0, "file")
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DataError(
            say(
                "{path}: the column '{name}' is missing. Its first row has: {found}.",
                path=path,
                name=missing[0],
                found=", ".join(cell.strip() for cell in header),
            )
        )
    if by_model and "network" in known:
        raise DataError(
            say(
                "{path} has a column 'network', and a model is given as well. Take the column out, or leave the model "
                "empty.",
                path=path,
            )
        )
    if by_model and "lesion" in known:
        raise DataError(
            say(
                "{path} has a column 'lesion', but a model says one thing of a whole image, not one of each lesion. Give "
                "the network's calls in a column 'network', or a table without lesions.",
                path=path,
            )
        )
    return known, tuple(ignored)


def _refuse_gaps(path: Path, rows: list[Reading], columns: dict[str, int]) -> None:
    """Patients and lesions are told of all rows or of none."""
    for name, full in (
        ("patient", [bool(row.patient) for row in rows]),
        ("lesion", [bool(row.lesion) for row in rows]),
    ):
        if any(full) and not all(full):
            raise DataError(
                say(
                    "{path}, row {row}: the column '{name}' is empty, but other rows fill it ({empty} of "
                    "{rows} are empty). Fill it in every row or leave it out.",
                    path=path,
                    row=rows[full.index(False)].row,
                    name="patient_alias" if name == "patient" and "patient_alias" in columns else name,
                    empty=full.count(False),
                    rows=len(rows),
                )
            )


def _refuse_twice(path: Path, rows: list[Reading], lesions: bool) -> None:
    first: dict[tuple[str, str], Reading] = {}
    for row in rows:
        before = first.setdefault((one_spelling(row.case), one_spelling(row.lesion)), row)
        if before is row:
            continue
        if lesions:
            raise DataError(
                say(
                    "{path}: rows {before} and {row} are of the same case and lesion. Keep one.",
                    path=path,
                    before=before.row,
                    row=row.row,
                )
            )
        raise DataError(
            say(
                "{path}: rows {before} and {row} are of the same case. Keep one; if they are several lesions of it, "
                "number them in a column 'lesion'.",
                path=path,
                before=before.row,
                row=row.row,
            )
        )


def _refuse_one_file_twice(path: Path, rows: list[Reading]) -> None:
    """One image under two cases would count as two independent ones."""
    first: dict[Path, Reading] = {}
    for row in rows:
        if row.file is None:
            continue
        before = first.setdefault(row.file, row)
        if one_spelling(before.case) != one_spelling(row.case):
            raise DataError(
                say(
                    "{path}: rows {before} and {row} are of the same file, but of two cases. Keep one, or give both the same "
                    "case.",
                    path=path,
                    before=before.row,
                    row=row.row,
                )
            )


def _refuse_two_patients(path: Path, rows: list[Reading]) -> None:
    first: dict[str, Reading] = {}
    for row in rows:
        before = first.setdefault(one_spelling(row.case), row)
        if before.patient != row.patient:
            raise DataError(
                say(
                    "{path}: rows {before} and {row} are of the same case, but of two patients. Correct one.",
                    path=path,
                    before=before.row,
                    row=row.row,
                )
            )
