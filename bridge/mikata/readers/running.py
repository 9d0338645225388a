"""From a table of calls to the agreement of network, human and reference: the work of the command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from mikata.errors import DataError, ParameterError
from mikata.evaluation.readers import CELLS, Cell, Readers, adjusted, compare_readers
from mikata.images import write_tiff
from mikata.language import joined, say
from mikata.networks import read_package
from mikata.outputs import ResultFolder, write_text
from mikata.privacy import one_spelling
from mikata.readers import page as pages
from mikata.readers import words as sentences
from mikata.readers.calls import Caller, called
from mikata.readers.cases import Shown, stack
from mikata.readers.table import Reading, Readings, Words, read_readings
from mikata.types import Image, Progress, Result, Table

FIGURES, CASES, PAGE = "agreement.csv", "agreement cases.csv", "agreement.html"

_COLUMNS = (
    "level", "figure", "reader", "value", "low", "high", "count", "of", "units", "p", "p_holm", "interval", "test",
)  # fmt: skip


def agree(
    data: Path,
    *,
    positive: str = "positive",
    negative: str = "negative",
    threshold: float | None = None,
    prevalence: float | None = None,
    reference: str = "",
    model: Path | None = None,
    cell: Cell | Literal["none"] = "none",
    stack_size: int = 512,
    layer: str = "",
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    progress: Progress,
) -> Result:
    """Compare a network and a human reader by a reference, case by case and lesion by lesion.

    Parameters
    ----------
    data:
        The table, as `mikata.readers.read_readings` takes it.
    positive, negative:
        Words of the table, and with a model the names of its classes; several with ; between.
    threshold:
        From which probability on a case is positive; None: the table has words, or the most probable class decides.
    prevalence:
        For the predictive values, above 0, below 1; None: that of the table.
    reference:
        What the reference is called on the page, such as pathology.
    model:
        Package of the network, in place of the column ``network``.
    cell:
        Whose cases are shown as a stack; by lesion where the table has lesions.
    stack_size:
        Side of the stack's slices, px.
    layer:
        Of the heat maps on the stack, which are drawn where a model is given.
    out:
        Folder for ``agreement.csv``, ``agreement cases.csv``, ``agreement.html`` and ``cell A.tif``; None: what there
        is to show is returned.
    keep_metadata:
        Whether names of files and cases, which may name a patient, go into results.

    Raises
    ------
    DataError, ParameterError, NetworkError, PackageError, ImageError, OutputError
        As table, words, model, images and folder make it.
    """
    known = Words(positive, negative)
    readings = read_readings(data, known, threshold=threshold, by_model=model is not None)
    files = [row.file for row in readings.rows]
    if cell != "none" and None in files:
        raise ParameterError(
            say(
                "cell is {cell}, but {data} has no column 'file' with the images to show. Add it, or leave cell at none.",
                cell=cell,
                data=data,
            )
        )
    folder = ResultFolder(out, overwrite, [data, *files]) if out else None
    stack_name = f"cell {cell}.tif"
    if folder:
        folder.reserve([FIGURES, CASES, PAGE, *([stack_name] if cell != "none" else [])])
    shown: Shown | None = None
    model_name = ""
    if model is not None:
        network = read_package(model)
        model_name = network.path.name
        run = called(Caller.of(network, known, threshold), readings, batch=batch, progress=progress)
        readings = run.readings
        shown = Shown(network, run.targets, layer, batch)
    progress.step(say("Compare network and human"))
    found = levels(readings, prevalence)
    table, cases = figures(found), case_table(readings, keep_metadata)
    images: tuple[Image, ...] = ()
    message = [sentences.missed(found[0]), *map(sentences.verdict, found[0].gaps)]
    if cell != "none":
        inside = [row for row in readings.rows if cell_of(row) == cell]
        if inside:
            images = (
                stack(
                    inside,
                    title=f"cell {cell}",
                    size=stack_size,
                    shown=shown,
                    keep_metadata=keep_metadata,
                    progress=progress,
                ),
            )
        else:
            message.append(say("Cell {cell} is empty: there is nothing to show.", cell=cell))
    notes = _notes(model_name, threshold, readings.lesions)
    for level in found:
        message += sentences.cautions(level)
    if readings.ignored:
        message.append(say("Columns that were not used: {columns}.", columns=", ".join(readings.ignored)))
    message.append(say("Research use, not for diagnosis."))
    if folder is None:
        return Result(joined(dict.fromkeys(message)), images=images, tables=(table, cases))
    asked = _asked(positive, negative, threshold, model_name)
    text = pages.page(found, reference or say("the reference"), notes, asked)
    written = [folder.write_table(FIGURES, table), folder.write_table(CASES, cases)]
    written += [write_tiff(folder.path(stack_name), image) for image in images]
    written.append(write_text(folder.path(PAGE), text))
    return Result(joined(dict.fromkeys(message)), tables=(table,), files=tuple(written), page=written[-1])


def levels(readings: Readings, prevalence: float | None = None) -> tuple[Readers, ...]:
    """The agreement by lesion (where lesions are told) and by case, with p adjusted for all tests of both.

    A case of several lesions is positive, for each of the three, if one of its lesions is.
    """
    rows = readings.rows
    if any(row.network is None for row in rows):
        raise DataError(say("The network's calls are missing."))
    found = []
    if readings.lesions:
        units = [row.patient if readings.patients else one_spelling(row.case) for row in rows]
        found.append(
            compare_readers(
                [bool(row.network) for row in rows],
                [row.human for row in rows],
                [row.reference for row in rows],
                units,
                unit="patient" if readings.patients else "case",
                level="lesion",
                prevalence=prevalence,
            )
        )
    cases: dict[str, list[Reading]] = {}
    for row in rows:
        cases.setdefault(one_spelling(row.case), []).append(row)
    groups = list(cases.values())
    found.append(
        compare_readers(
            [any(row.network for row in group) for group in groups],
            [any(row.human for row in group) for group in groups],
            [any(row.reference for row in group) for group in groups],
            [group[0].patient for group in groups] if readings.patients else None,
            prevalence=prevalence,
        )
    )
    return adjusted(found)


def cell_of(row: Reading) -> Cell:
    """The cell of `CELLS` that a row is in."""
    said = (row.reference, row.human, bool(row.network))
    return next(name for name, values in CELLS.items() if values == said)


def figures(found: Sequence[Readers]) -> Table:
    """Every figure of every level, one a row; empty where not defined."""
    rows: list[tuple[Any, ...]] = []
    for one in found:
        rates = [(f"cell_{name}", "both", rate) for name, rate in one.cells.items()]
        rates += [(figure, reader, rate) for (figure, reader), rate in one.rates.items()]
        rates += [("agreement", "both", one.agreement), ("kappa", "both", one.kappa)]
        for figure, reader, rate in rates:
            ends = map(_defined, (rate.value, rate.interval.low, rate.interval.high))
            method = rate.interval.method
            rows.append(
                (one.level, figure, reader, *ends, rate.count, rate.of, rate.units, None, None, method, None)
            )
        for gap in one.gaps:
            ends = map(_defined, (gap.value, gap.interval.low, gap.interval.high))
            differing = gap.network_only + gap.human_only
            ps = map(_defined, (gap.p, gap.p_holm))
            rows.append(
                (
                    one.level, f"{gap.figure}_difference", "network - human", *ends, gap.network_only, differing,
                    None, *ps, gap.interval.method, gap.test,
                )
            )  # fmt: skip
    return Table("Reader Agreement", _COLUMNS, tuple(rows), append=False)


def case_table(readings: Readings, keep_metadata: bool) -> Table:
    """Each row of the table with its cell; names of cases and lesions only where metadata may be kept."""
    names = ("case", "lesion") if keep_metadata else ()
    columns = ("row", *names, "cell", "network", "probability", "human", "reference")
    rows = tuple(
        (
            row.row,
            *((row.case, row.lesion) if keep_metadata else ()),
            cell_of(row),
            *(cast(Any, _word(row.network)), row.probability, _word(row.human), _word(row.reference)),
        )
        for row in readings.rows
    )
    return Table("Reader Agreement cases", columns, rows, append=False)


def _word(call: bool | None) -> str:
    return "positive" if call else "negative"


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _notes(model: str, threshold: float | None, lesions: bool) -> list[str]:
    """Cautions that are of no single level."""
    said = [
        say(
            "The comparison is fair only if the human read without knowing what the network or the reference says, and if "
            "the reference was made without knowing either."
        )
    ]
    if lesions:
        said.append(
            say(
                "By case, a case is positive for network, human or reference if one of its lesions is: one that found only "
                "another lesion than the true one counts as right there."
            )
        )
    if threshold is not None:
        said.append(
            say(
                "The threshold must have been fixed before these cases were looked at: one that was chosen on them makes "
                "the network look better than it is."
            )
        )
    if model:
        said.append(
            say(
                "Mikata cannot tell whether the network was trained on some of these cases or others of their patients. If "
                "it was, its figures are too good."
            )
        )
    return said


def _asked(positive: str, negative: str, threshold: float | None, model: str) -> dict[str, str]:
    asked = {say("words for positive"): positive, say("words for negative"): negative}
    if model:
        asked[say("network")] = model
        if threshold is None:
            asked[say("positive from a probability of")] = say("the most probable class decides")
    if threshold is not None:
        asked[say("positive from a probability of")] = f"{threshold:g}"
    return asked
