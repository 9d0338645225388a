"""A call of a command from ImageJ, whichever way it comes: options to values, errors to words.

Nothing here knows Java: the door in this process and the worker for a user's Fiji both stand on it, so that one
macro line has one meaning.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from mikata.command import Command
from mikata.errors import ImageError, MikataError, ParameterError
from mikata.language import duration, say
from mikata.types import Result


def given_by_macro(item: Command, options: str, variable: Callable[[str], str | None]) -> dict[str, Any]:
    """What a macro's options say, still as words.

    Parameters
    ----------
    variable:
        The value of a macro's variable, None where it has none: ``&name`` stands for it, as in ImageJ's own
        dialogs.

    Raises
    ------
    ParameterError
        If they cannot be read, or name a key or a variable that is not there.
    """
    return {key: _variable(value, variable) for key, value in item.parse_options(_as_utf8(options)).items()}


def _as_utf8(options: str) -> str:
    """Options as they were written: ImageJ takes the bytes of a macro file for Latin-1, whatever they are."""
    try:
        return options.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return options


def options_of(item: Command, typed: Mapping[str, str | bool]) -> str:
    """The options that a macro needs for what was typed into a dialog: what differs from the defaults."""
    defaults = {p.name: p.default_text for p in item.parameters}
    changed = {k: v for k, v in typed.items() if v is True or (v is not False and v not in ("", defaults[k]))}
    return item.format_options(changed)


def _variable(value: Any, variable: Callable[[str], str | None]) -> Any:
    if not (isinstance(value, str) and value.startswith("&")):
        return value
    found = variable(value[1:])
    if found is None:
        raise ParameterError(
            say(
                "The macro has no variable '{name}', which its options name as {text}.",
                name=value[1:],
                text=value,
            )
        )
    return found


def values(item: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values; images left empty are None, since the current image stands in.

    Raises
    ------
    ParameterError
        As `Command.values`.
    """
    images = {p.name for p in item.parameters if p.kind == "images"}
    typed = {k: v for k, v in given.items() if k not in images or str(v).strip()}
    return item.values(dict.fromkeys(images) | typed)


def takes_current(item: Command, checked: Mapping[str, Any]) -> str | None:
    """The parameter for which the current image stands in, None where none is left empty."""
    return next((p.name for p in item.parameters if p.kind == "images" and checked[p.name] is None), None)


def missing_image(item: Command) -> ImageError:
    """What to say where an image should stand in and none is open."""
    return ImageError(
        say(
            "{title}: there is no image open. Open one, or name files or a folder: images=[...].",
            title=item.plain_title,
        )
    )


def forgets(checked: Mapping[str, Any]) -> bool:
    """Whether the current image is to name no patient afterwards: its command makes images, and was not told to."""
    return checked.get("keep_metadata") is False


def words(error: BaseException) -> str:
    """An error as a person reads it."""
    return str(error) if isinstance(error, MikataError) else f"{type(error).__name__}: {error}"


def trace(error: BaseException) -> str:
    """Where an error came from, for the log; empty for errors that say themselves what to do."""
    return "" if isinstance(error, MikataError) else "".join(traceback.format_exception(error))


def log(result: Result) -> str:
    """What goes into ImageJ's log: the sentence, and where the files are; empty where there are none."""
    return "\n".join([result.message, *(f"  {path}" for path in result.files)]) if result.files else ""


class TimeLeft:
    """Guesses from the steps done how long the rest takes, for messages that do not say so themselves."""

    _SURE = 3.0
    """Seconds before which nothing is said: first steps are slow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stretch: tuple[str, int] | None = None
        self._started = (0.0, 0)

    def words(self, message: str, done: int, total: int) -> str:
        """The message, with the time left where it can be told."""
        if "," in message or not total:  # a training's own words say the time
            return message
        now, stretch = self._clock(), (message, total)
        if stretch != self._stretch or done < self._started[1]:
            self._stretch, self._started = stretch, (now, done)
        gone, steps = now - self._started[0], done - self._started[1]
        if gone < self._SURE or steps <= 0 or done >= total:
            return message
        left = duration(gone / steps * (total - done))
        return say("{message}, {time} left", message=message, time=left)
