"""`mikata doctor`: on which device work will run, why, and what to type where that is not the GPU.

A module of its own for each question: `facts` asks the machine, `devices` judges it without asking anything more,
`wheels` knows which builds of torch there are, `machine` looks at everything else, `selftest` tries it all.
Nothing here loads torch or Java before `examine` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mikata.checkup.rows import Row
from mikata.checkup.wheels import torch_index
from mikata.errors import OutputError
from mikata.language import joined, say
from mikata.outputs import probe, write_text
from mikata.types import Progress, Result, Table

__all__ = ["examine", "tell", "torch_index"]

_told: dict[str, str] = {}


def tell(facts: Mapping[str, str]) -> None:
    """Note what only a door knows, such as Fiji's version; shown as it is, in the order in which it was told.

    A fact told again under the same name replaces the first.
    """
    _told.update(facts)


def examine(
    *, self_test: bool = True, report: Path | None = None, overwrite: bool = False, progress: Progress
) -> Result:
    """Look at everything; the work of the Doctor command.

    Parameters
    ----------
    self_test:
        Whether to train, predict and explain once, which takes up to a minute.
    report:
        Text file for the table, or None.

    Raises
    ------
    OutputError
        If the report cannot be written, or is there and is not to be replaced; said before the self-test.
    Cancelled
        If the user stopped it; nothing is left of it then.
    """
    if report:
        _refuse(report, overwrite)
    progress.step(say("Look at torch and the GPU"))
    from mikata.checkup.devices import device_rows, judge
    from mikata.checkup.facts import gather
    from mikata.checkup.machine import machine_rows

    facts = gather()
    verdict = judge(facts)
    progress.step(say("Look at this computer"))
    machine = machine_rows()
    rows = [verdict.row(), *device_rows(facts), *machine]
    rows += [Row(name, value) for name, value in _told.items()]
    sentences = [verdict.message]
    if self_test:
        from mikata.checkup.selftest import run

        progress.step(say("Self-test"))
        tested = run(progress)
        rows.append(tested)
        sentences.append(f"{tested.check}: {tested.result}")
    else:
        rows.append(Row(say("Self-test"), say("Left out."), "note"))
    if others := [row.check for row in machine if row.state == "problem"]:
        sentences.append(say("Other problems, see the table: {names}.", names=", ".join(others)))
    if report:
        write_text(report, _text(rows))
    table = Table(
        "Doctor", ("check", "result", "state", "what to do"), tuple(r.cells for r in rows), append=False
    )
    return Result(joined(sentences), tables=(table,), files=(report,) if report else ())


def _refuse(report: Path, overwrite: bool) -> None:
    if report.is_dir():
        raise OutputError(say("{path} is a folder; give a file for the report.", path=report))
    if report.exists() and not overwrite:
        raise OutputError(
            say(
                "{path} is already there. Choose another file, or let Mikata Doctor overwrite it.",
                path=report,
            )
        )
    probe(report.absolute().parent)


def _text(rows: list[Row]) -> str:
    """The table as lines for a mail or an issue."""
    lines = [f"Mikata doctor, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", ""]
    for row in rows:
        lines.append(f"[{row.state}] {row.check}: {row.result}")
        if row.todo:
            lines.append(f"    -> {row.todo}")
    return "\n".join(lines) + "\n"
