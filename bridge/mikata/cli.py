"""Door: the command line, one sub-command for each command, made from its declaration.

Values reach `Command.values` as the words that were typed, so that they are checked, and refused,
as in ImageJ.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from mikata.command import Command, Kind, Parameter
from mikata.errors import MacroError, MikataError
from mikata.language import say, speaking
from mikata.types import Progress, Result, Table

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

INTERRUPTED = 130  # what shells expect after Ctrl-C

NOTICE = "Research use, not for diagnosis."


def build(commands: Iterable[Command], version: Callable[[], str]) -> cyclopts.App:
    """The command line of these commands; a caller may add sub-commands of its own."""
    app = cyclopts.App(
        name="mikata",
        help=f"Train, explain and measure deep networks on images, from ImageJ. {NOTICE}",
        version=version,
        help_format="plaintext",
        help_on_error=False,
        suppress_keyboard_interrupt=False,
    )
    for item in commands:
        app.command(_subcommand(item), name=item.cli_name, group=item.group)
    return app


def _subcommand(item: Command) -> Callable[..., int]:
    def run(*args: str, **options: Any) -> int:
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not None and v is not False}
        for parameter in item.parameters:
            if parameter.positional:
                given[parameter.name] = list(args) if parameter.kind == "images" else args[0]
        if _needs_folder(item) and not str(given.get("out", "")).strip():
            given["out"] = item.cli_name  # on the command line there is no window to show results in
        with Console() as console:
            result = item.run(given, console)
        show(result)
        return INTERRUPTED if result.stopped else 0

    run.__name__ = item.name
    run.__doc__ = f"{item.summary} {NOTICE}"
    signature = [_argument(p) for p in item.parameters if p.positional]
    signature += [_option(item, p) for p in item.parameters if not p.positional]
    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in signature}
    return run


def _needs_folder(item: Command) -> bool:
    """Whether its results would be shown by ImageJ if no folder is given."""
    return any(p.name == "out" and p.default is None for p in item.parameters)


def _argument(parameter: Parameter) -> inspect.Parameter:
    help_text = "Files or folders of images." if parameter.kind == "images" else parameter.help
    several = parameter.kind == "images"
    spec = cyclopts.Parameter(name=parameter.name.upper(), help=help_text, show_default=False, required=True)
    kind = inspect.Parameter.VAR_POSITIONAL if several else inspect.Parameter.POSITIONAL_ONLY
    return inspect.Parameter(parameter.name, kind, annotation=Annotated[str, spec])


_METAVARS: dict[Kind, str | None] = {
    "images": None,
    "input": "PATH",
    "output": "PATH",
    "flag": None,
    "integer": "INTEGER",
    "number": "NUMBER",
    "choice": "CHOICE",
    "text": "TEXT",
}


def _option(item: Command, parameter: Parameter) -> inspect.Parameter:
    with speaking("en"):  # as all the help of the command line
        allowed = parameter.allowed
    notes = [allowed] if allowed and not parameter.choices else []
    if parameter.choices:
        notes.append(", ".join(parameter.choices))
    if parameter.required:
        notes.append("required")
    elif parameter.name == "out" and parameter.default is None:
        notes.append(f"default ./{item.cli_name}")
    elif parameter.default not in (None, "") and parameter.kind != "flag":
        notes.append(f"default {parameter.default_text}")
    spec = cyclopts.Parameter(
        name=f"--{parameter.name.replace('_', '-')}",
        help=parameter.help + (f" [{'; '.join(notes)}]" if notes else ""),
        show_default=False,
        negative="",
        metavar=_METAVARS[parameter.kind],
    )
    flag = parameter.kind == "flag"
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if flag else None,
        annotation=Annotated[bool if flag else str | None, spec],
    )


class Console(Progress):
    """Progress as a bar with the time left, on standard error; a plain line where that is no terminal."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._message = ""

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        elif self._message:
            print(self._message, file=sys.stderr, flush=True)

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show `done` of `total`, or the message alone."""
        if not sys.stderr.isatty():
            # one line a step, in its last state: a log is not to fill with seconds left
            if self._message and _step(message) != _step(self._message):
                print(self._message, file=sys.stderr, flush=True)
            if not total:
                print(message, file=sys.stderr, flush=True)
            self._message = message if total else ""
            return
        if self._bar is None:
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Terminal(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(message, total=None)
        assert self._task is not None
        if _step(message) != _step(self._message):
            self._bar.reset(self._task)
        self._message = message
        self._bar.update(self._task, description=message, completed=done, total=total or None)


def _step(message: str) -> str:
    """What a progress message is about: its first clause."""
    return message.split(",")[0]


def show(result: Result) -> None:
    """Print a result's sentence, tables that stand for themselves, and where its files are."""
    for table in result.tables:
        if not table.append:
            _show_table(table)
    print(result.message)
    for path in result.files:
        print(f"  {path}")


_NO_WIDTH = 10_000


def _show_table(table: Table) -> None:
    """A table as wide as the console; floats with four significant digits (the files have them all)."""
    from rich.console import Console as Terminal
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, padding=(0, 2, 0, 0))
    for column in table.columns:
        grid.add_column(column, overflow="fold")
    for row in table.rows:
        grid.add_row(*map(Text, map(_cell, row)))
    # a file or a pipe has no width: a row is a line
    Terminal(file=sys.stdout, width=None if sys.stdout.isatty() else _NO_WIDTH).print(grid)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def main(app: cyclopts.App, arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 for an error the user can act on, 130 for Ctrl-C."""
    try:
        result = app(arguments, result_action="return_value", exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        return 2
    except MikataError as error:
        if isinstance(error, MacroError) and error.__cause__ and not isinstance(error.__cause__, MikataError):
            traceback.print_exception(error.__cause__)  # a fault of a command, not of the macro
        print(f"mikata: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mikata: {say('stopped.')}", file=sys.stderr)
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def existing_file(text: str) -> Path:
    """A path of an existing file."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise MikataError(say("There is no file {path}.", path=path))
    return path
