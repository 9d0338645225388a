"""ImageJ's options strings, as macros hand them to commands and the Recorder writes them.

The form is ImageJ's own (``ij.Macro``, ``ij.gui.GenericDialog``): ``key=value``, ``key=[a value with spaces]``,
``key='...'``, and a flag by its name alone.
"""

from __future__ import annotations

import re

from mikata.errors import ParameterError
from mikata.language import say


def parse_options(options: str) -> list[tuple[str, str | None]]:
    """Split a macro's options as ``ij.Macro.getValue`` does; a key alone has the value None.

    Square brackets nest; a value in single quotes is taken as it is.

    Raises
    ------
    ParameterError
        If a bracket or quote is not closed, or something is not ``key`` or ``key=value``.
    """
    result: list[tuple[str, str | None]] = []
    i = 0
    while i < len(options):
        if options[i].isspace():
            i += 1
            continue
        found = re.compile(r"[^\s=\[\]']+").match(options, i)
        if not found:
            raise ParameterError(
                say("The macro options cannot be read from here: {rest}", rest=options[i:].strip())
            )
        key, i = found.group(), found.end()
        if i >= len(options) or options[i] != "=":
            result.append((key, None))
            continue
        value, i = _option_value(options, i + 1, key)
        result.append((key, value))
    return result


def _option_value(options: str, start: int, key: str) -> tuple[str, int]:
    opening = options[start : start + 1]
    if opening == "[":
        depth = 0
        for i in range(start, len(options)):
            depth += {"[": 1, "]": -1}.get(options[i], 0)
            if depth == 0:
                return options[start + 1 : i], i + 1
        raise ParameterError(say("The value of {key} opens a [ that is not closed.", key=key))
    if opening == "'":
        end = options.find("'", start + 1)
        if end < 0:
            raise ParameterError(say("The value of {key} opens a ' that is not closed.", key=key))
        return options[start + 1 : end], end + 1
    end = start
    while end < len(options) and not options[end].isspace():
        end += 1
    return options[start:end], end


def quote_option(value: str) -> str:
    """A value as ImageJ's Recorder writes it: in brackets if it has a space, or would be misread."""
    if value and not re.search(r"\s", value) and value[0] not in "['":
        return value
    depth = 0
    for character in value:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth < 0:
            break
    if depth == 0:
        return f"[{value}]"
    if "'" not in value:
        return f"'{value}'"
    raise ParameterError(
        say("A macro cannot hold this value (unbalanced brackets and a quote): {value}", value=value)
    )
