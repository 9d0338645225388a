"""The READMEs say what the code does, and their own commands are the ones that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mikata.command import Command, documentation
from mikata.commands import COMMANDS
from mikata.imagej.java import JARS
from mikata.language import say, speaking

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
JAPANESE = (ROOT / "README.ja.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("text", [README, JAPANESE], ids=["en", "ja"])

_KINDS = {"flag": "チェック", "images": "画像", "input": "入力", "output": "出力", "text": "文字列"}


def in_japanese(commands: tuple[Command, ...]) -> str:
    """The table of commands for README.ja.md, in the catalogue's words."""
    with speaking("ja"):
        return "\n".join(line for item in commands for line in _in_japanese(item)).strip()


def _in_japanese(item: Command) -> list[str]:
    lines = [
        f"### {item.title}",
        "",
        say(item.summary),
        "",
        f"メニュー: Plugins > Mikata > {item.group} > {item.title} · "
        f"コマンドライン: `mikata {item.cli_name}` · Python: `mikata.{item.name}`",
        "",
        "| パラメータ | 値 | 既定値 | |",
        "| --- | --- | --- | --- |",
    ]
    for p in item.parameters:
        default = "必須" if p.required else p.default_text.lower() if p.kind == "flag" else p.default_text
        lines.append(f"| `{p.name}` | {p.allowed or _KINDS[p.kind]} | {default} | {say(p.help)} |")
    return [*lines, ""]


def test_the_table_of_commands_is_todays() -> None:
    assert documentation(COMMANDS).strip() in README, "paste what `mikata commands` prints into the README"


def test_the_japanese_table_of_commands_is_todays() -> None:
    assert in_japanese(COMMANDS) in JAPANESE, (
        "paste what `python tests/test_readme.py` prints into README.ja.md"
    )


@BOTH
@pytest.mark.parametrize("jar", JARS, ids=lambda jar: jar.name)
def test_the_jars_are_named_with_their_sums(jar, text: str) -> None:
    assert f"| `{jar.name}` | {jar.group}:{jar.artifact}:{jar.version} | `{jar.sha256}` |" in text


@BOTH
def test_the_two_commands_are_as_written(text: str) -> None:
    assert "pip install . && mikata demo" in text
    assert 'pip install ".[test]" && pytest' in text


def test_both_say_what_it_is_not_for() -> None:
    assert "esearch use, not for diagnosis" in README
    assert "研究用であり、診断用ではありません" in JAPANESE


@BOTH
def test_linked_files_exist(text: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


@BOTH
def test_links_within_the_page_lead_somewhere(text: str) -> None:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", text):
        assert target in anchors, target


def test_each_leads_to_the_other() -> None:
    assert "](README.ja.md)" in README[:500]
    assert "](README.md)" in JAPANESE[:500]


def test_both_have_the_same_parts_and_code() -> None:
    """What is typed is the same in both, and so are pictures, sections and rows of tables."""
    blocks = [re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL) for text in (README, JAPANESE)]
    # the address of PyTorch's own index is written in one README only
    ours, theirs = [[_typed(b) for b in some if "--index-url" not in b] for some in blocks]
    assert ours == theirs
    ours, theirs = [re.findall(r"!\[.*?\]\((.*?)\)", text) for text in (README, JAPANESE)]
    assert ours == theirs
    for start in ("## ", "### ", "| ", "- "):
        counts = [sum(line.startswith(start) for line in text.splitlines()) for text in (README, JAPANESE)]
        assert counts[0] == counts[1], start


def _typed(block: str) -> str:
    """Code without its comments, and without what the second column of a listing says."""
    lines = [re.split(r"\s+(?://|#) ", line)[0] for line in block.splitlines()]
    return "\n".join(
        re.split(r" {3,}", line)[0] for line in lines if line.strip() and not line.startswith("  ")
    )


def test_every_option_of_the_offline_commands_is_named() -> None:
    from mikata import app

    for command in ("wheelhouse", "portable"):
        collected = app._app()[command].assemble_argument_collection()
        options = [name for argument in collected for name in argument.names if name.startswith("--")]
        assert options, command
        for name in options:
            assert name.startswith("--no-") or f"`{name}`" in README or f"{name} " in README, name


if __name__ == "__main__":
    print(in_japanese(COMMANDS))
