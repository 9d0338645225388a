"""A checked package as a sentence, tables and a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mikata import report
from mikata.language import joined, say
from mikata.outputs import ResultFolder, write_text
from mikata.packaging.checks import COLUMNS, POINTS, Checked, Reader, examine_package
from mikata.packaging.checks.findings import Finding
from mikata.types import Progress, Result, Table

PAGE = "report.html"
POINTS_FILE = "points.csv"
DIFFERENCES_FILE = "differences.csv"

_COLOURS = {"failed": "#f7dcc8", "warning": "#fdf0d2", "passed": "#d9f0e8", "not applicable": "#eef1f4"}


def check_package(
    model: Path, reader: Reader, *, out: Path | None, overwrite: bool, progress: Progress
) -> Result:
    """Check a package; what it finds is a result and no error.

    Parameters
    ----------
    model:
        Folder or zip.
    out:
        Folder for the page and tables, or None.

    Raises
    ------
    PackageError
        If there is no package, or it is damaged, unsafe or not the one that its checksums tell of; nothing is written
        then.
    OutputError
        If the folder cannot be written, or has such files that are not to be replaced.
    """
    folder = None
    if out is not None and out.exists():
        folder = ResultFolder(out, overwrite)
        folder.reserve((PAGE, POINTS_FILE, DIFFERENCES_FILE))
    found = examine_package(model, reader, progress=progress)
    tables = _tables(found)
    sentence = message(found)
    files: tuple[Path, ...] = ()
    page = None
    if out is not None:
        folder = folder or ResultFolder(out, overwrite)
        page = write_text(folder.path(PAGE), _page(found, sentence, tables))
        files = (
            page,
            folder.write_table(POINTS_FILE, tables[0]),
            folder.write_table(DIFFERENCES_FILE, tables[1]),
        )
    return Result(sentence, tables=tables, files=files, page=page)


def message(found: Checked) -> str:
    """The verdict: for each reader whether it runs, with the points in its way, and the largest difference."""
    own = [finding for finding in found.failed if finding.point in POINTS]
    others = [finding for finding in found.failed if finding.point not in POINTS]
    sentences = []
    if found.reader != "zoo":
        # a wrong result or a missing file is in the way of every reader; a field that only the format wants is not
        shared = [f for f in others if f.point != "description"]
        if own or shared:
            sentences.append(
                say(
                    "{name}: deepImageJ will refuse it or give wrong results (points {points}).",
                    name=found.name,
                    points=_names([*own, *shared]),
                )
            )
        elif _ran(found, ("test torchscript",)):
            sentences.append(say("{name}: deepImageJ imports and runs it.", name=found.name))
        else:
            sentences.append(
                say(
                    "{name}: no point stands in deepImageJ's way, but the output of its TorchScript was not checked.",
                    name=found.name,
                )
            )
    if found.reader != "deepimagej":
        if others:
            sentences.append(
                say(
                    "{name}: readers of the zoo will refuse it or give wrong results (points {points}).",
                    name=found.name,
                    points=_names(others),
                )
            )
        elif _ran(found, [f"test {kind}" for kind in ("onnx", "pytorch_state_dict", "torchscript")]):
            sentences.append(say("{name}: readers of the zoo run it.", name=found.name))
        else:
            sentences.append(
                say(
                    "{name}: no point stands in the way of readers of the zoo, but its output was not checked.",
                    name=found.name,
                )
            )
    compared = [d for d in found.differences if d.largest == d.largest]
    if compared:
        worst = max(compared, key=lambda d: d.largest)
        sentences.append(
            say(
                "Largest difference {value:.2g} ({weights} to {against}).",
                value=worst.largest,
                weights=worst.weights,
                against=worst.against,
            )
        )
    else:
        sentences.append(say("No weights could be run, so no output is checked."))
    if found.warnings:
        sentences.append(say("Warnings: {points}.", points=_names(found.warnings)))
    return joined(sentences)


def _ran(found: Checked, points: Sequence[str]) -> bool:
    """Whether one of these weights was run and gave the test output."""
    return any(finding.point in points and finding.status == "passed" for finding in found.findings)


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(finding.point for finding in findings)


def _tables(found: Checked) -> tuple[Table, Table]:
    return (
        Table("Check Package", COLUMNS, tuple(finding.cells for finding in found.findings), append=False),
        Table(
            "Check Package differences",
            ("weights", "compared_with", "output", "largest_difference", "mean_difference", "largest_value", "agrees"),
            tuple(
                (d.weights, d.against, d.output, d.largest, d.mean, d.magnitude, "yes" if d.agrees else "no")
                for d in found.differences
            ),
            append=False,
        ),
    )  # fmt: skip


def _page(found: Checked, lead: str, tables: tuple[Table, Table]) -> str:
    order = {"failed": 0, "warning": 1, "passed": 2, "not applicable": 3}
    rows = "".join(map(_row, sorted(found.findings, key=lambda finding: order[finding.status])))
    head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
    points = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    about = {
        say("package"): found.path.name,
        say("name"): found.name,
        "format_version": found.format_version,
        say("checked for"): found.reader,
    }
    sections = [
        (say("Points"), points),
        (say("Differences of the test output"), report.table(tables[1])),
        (
            say("How it was done"),
            report.paragraph(
                say(
                    "Points 1 to 18 are what deepImageJ 3 accepts, from its sources and from packages run through them. "
                    "Test tensors ran through the operations of bioimageio.core; weights agree where all numbers but "
                    "100 in a million are within 0.001 plus 0.001 of the largest value. No code of the package was "
                    "executed."
                )
            ),
        ),
        (say("Package"), report.pairs(about)),
        (say("Versions"), report.pairs(report.versions())),
    ]
    return report.page(say("Package check"), lead, sections)


def _row(finding: Finding) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in finding.cells)
    return f'<tr style="background: {_COLOURS[finding.status]}">{cells}</tr>'
