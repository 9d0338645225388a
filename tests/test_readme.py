"""The README says what the code does, and its own commands are the ones that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mikata.command import documentation
from mikata.commands import COMMANDS
from mikata.imagej.java import JARS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_commands_is_todays() -> None:
    assert documentation(COMMANDS).strip() in README, "paste what `mikata commands` prints into the README"


@pytest.mark.parametrize("jar", JARS, ids=lambda jar: jar.name)
def test_the_jars_are_named_with_their_sums(jar) -> None:
    assert f"| `{jar.name}` | {jar.group}:{jar.artifact}:{jar.version} | `{jar.sha256}` |" in README


def test_the_two_commands_are_as_written() -> None:
    assert "pip install . && mikata demo" in README
    assert 'pip install ".[test]" && pytest' in README
    assert "esearch use, not for diagnosis" in README


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
