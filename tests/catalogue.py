"""Keeps the catalogue of sentences in step with the code: `python tests/catalogue.py [PART.po ...]`.

Collects every sentence given to `say` in Python and in Fiji's support file, and every summary, label and help of
the commands; writes them into the Japanese .po, with translations it already has or that are in the parts; compiles
the .mo beside it; prints what has no translation yet.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from mikata.commands import COMMANDS
from mikata.imagej import scripts

PACKAGE = Path(__file__).parents[1] / "bridge" / "mikata"
PO = PACKAGE / "locale" / "ja" / "LC_MESSAGES" / "mikata.po"
MO = PO.with_suffix(".mo")


def sentences() -> dict[str, list[str]]:
    """Every message id, with the places in which it stands."""
    found: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        with file.open("rb") as source:
            for _, message, _, _ in extract("python", source, keywords={"say": None}):
                found.setdefault(str(message), []).append(file.relative_to(PACKAGE).as_posix())
    for message in scripts.support_messages():
        found.setdefault(message, []).append(scripts.SUPPORT)
    for message, name in declared():
        found.setdefault(message, []).append(name)
    found.pop("", None)
    return found


def declared() -> Iterator[tuple[str, str]]:
    """Summaries, labels and helps of the commands."""
    for item in COMMANDS:
        yield item.summary, item.name
        for parameter in item.parameters:
            yield parameter.label, f"{item.name}.{parameter.name}"
            yield parameter.help, f"{item.name}.{parameter.name}"


def placeholders(text: str) -> list[str]:
    """Named places of a message, with their formats."""
    return sorted(re.findall(r"\{[^{}]*\}", text))


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="ja")


def compiled(catalogue: Catalog) -> bytes:
    """The content of the .mo file."""
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def update(parts: list[Path]) -> list[str]:
    """Bring .po and .mo up to date; the sentences that lack a translation."""
    known: dict[str, str] = {}
    for path in [*parts, *([PO] if PO.exists() else [])]:
        known |= {str(m.id): str(m.string) for m in read(path) if m.id and m.string}
    day = datetime(2026, 1, 1, tzinfo=UTC)  # the same each time: what changes is to be the sentences
    catalogue = Catalog(
        "ja", project="Mikata", version="1", fuzzy=False, creation_date=day, revision_date=day,
        header_comment="# Mikata's sentences in Japanese.", last_translator="Mikata", language_team="Mikata",
    )  # fmt: skip
    for message, places in sorted(sentences().items()):
        catalogue.add(
            message, known.get(message, ""), locations=[(place, 0) for place in sorted(set(places))]
        )
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(file, catalogue, width=0, include_lineno=False, sort_output=False, omit_header=False)
    MO.write_bytes(compiled(read(PO)))
    return [str(m.id) for m in catalogue if m.id and not m.string]


if __name__ == "__main__":
    for missing in update([Path(name) for name in sys.argv[1:]]):
        print(repr(missing))
