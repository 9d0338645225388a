"""What a human called each image: the column ``human`` of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mikata.datasets import Entry
from mikata.datasets.sheets import column_name, located, sheet_lines
from mikata.errors import DataError
from mikata.language import say
from mikata.privacy import one_spelling

_TABLES = (".csv", ".tsv")


def human_calls(given: Any, entries: Mapping[str, Entry], classes: Sequence[str]) -> dict[str, int]:
    """The number of the class that a human called each image, by the image's name; empty cells are left out.

    Parameters
    ----------
    given:
        What the user gave as images; only a table can have the column.
    entries:
        By the image's name.
    classes:
        Of the network: case, width and blanks do not matter.

    Raises
    ------
    DataError
        If a cell names no class of the network.
    """
    members = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(members) != 1 or not isinstance(members[0], (str, Path)):
        return {}
    path = Path(members[0])
    if path.suffix.lower() not in _TABLES or not entries:
        return {}
    lines = sheet_lines(path)
    header = [column_name(cell) for cell in lines[0]]
    if "human" not in header:
        return {}
    numbers = {one_spelling(name): number for number, name in enumerate(classes)}
    said: dict[Path, int] = {}
    for row, line in enumerate(lines[1:], start=2):
        cells = dict(zip(header, line, strict=False))
        word = cells.get("human", "").strip()
        if not word:
            continue
        if one_spelling(word) not in numbers:
            raise DataError(
                say(
                    "{path}, row {row}: the column 'human' has '{word}', which is no class of the network ({classes}). "
                    "Write the class that the human called, or leave the cell empty.",
                    path=path,
                    row=row,
                    word=word,
                    classes=", ".join(classes),
                )
            )
        said[located(path.parent, cells["file"].strip())] = numbers[one_spelling(word)]
    return {name: said[entry.file] for name, entry in entries.items() if entry.file in said}
