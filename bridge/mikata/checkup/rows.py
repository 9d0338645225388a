"""One line of the doctor's table, and words of errors that may stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "note", "problem"]

_MOST_WORDS = 400  # characters: some of torch's errors fill a page


@dataclass(frozen=True)
class Row:
    """What was looked at, what was found, and what to do about it."""

    check: str
    result: str
    state: State = "ok"
    todo: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row as the table has it."""
        return self.check, self.result, self.state, self.todo


def words(error: object) -> str:
    """An error's own words on one line, without the home folder, whose name is most often a person's."""
    text = str(error)
    home = str(Path.home())
    if len(home) > 1:  # "/" for accounts without a home
        text = text.replace(home, "~").replace(home.replace("\\", "\\\\"), "~")
    text = " ".join(text.split())
    if isinstance(error, BaseException):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]} ..."
