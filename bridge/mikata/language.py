"""The user's language: one catalogue (gettext) of every sentence that a person reads.

Menu names, macro keys, the command line's options, column names and files for programs stay English, or
macros and scripts would break between machines.
"""

from __future__ import annotations

import functools
import gettext
import locale
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "ja")

LANGUAGE_VARIABLE = "MIKATA_LANGUAGE"
"""Environment variable: ``en`` or ``ja``; without it the language of the system, as gettext finds it."""

_CATALOGUES = Path(__file__).parent / "locale"


def say(message: str, /, **values: Any) -> str:
    """A sentence in the user's language.

    Parameters
    ----------
    message:
        In English, a constant (the catalogue is made from the calls); ``{name}`` stands for a value.
    values:
        What the names stand for; without any, braces in the message are left as they are.
    """
    text = _catalogue(language()).gettext(message) if message else ""
    return text.format(**values) if values else text


def joined(sentences: Iterable[str]) -> str:
    """Sentences one after another; no blank follows a Japanese full stop."""
    text = ""
    for sentence in filter(None, sentences):
        text += ("" if not text or text.endswith("。") else " ") + sentence
    return text


def english(message: str, /, **values: Any) -> str:
    """A sentence as it stands in the source: what goes into a package must not depend on who makes it."""
    return message.format(**values) if values else message


def duration(seconds: float, say: Callable[..., str] = say) -> str:
    """A time in words: ``40 s``, ``3 min 20 s``, ``2 h 5 min``; `say` gives their language."""
    whole = max(0, round(seconds))
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    if whole < 3600:
        return say("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    return say("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)


def language() -> str:
    """The language in use, one of `LANGUAGES`."""
    wished = [
        os.environ.get(name, "") for name in (LANGUAGE_VARIABLE, "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    ]
    chosen = next((name for name in wished if name), "") or (locale.getlocale()[0] or "")
    # Windows says Japanese_Japan where others say ja_JP
    return "ja" if chosen.lower().startswith("ja") else "en"


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """A language for a while, in this process: for what is written in another's."""
    before = os.environ.get(LANGUAGE_VARIABLE)
    os.environ[LANGUAGE_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[LANGUAGE_VARIABLE]
        else:
            os.environ[LANGUAGE_VARIABLE] = before


@functools.cache
def _catalogue(name: str) -> gettext.NullTranslations:
    return gettext.translation("mikata", _CATALOGUES, [name], fallback=name == "en")
