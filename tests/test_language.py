"""The user's language: the catalogue is whole and true to the code, and the language is the one asked for."""

from __future__ import annotations

import ast
import locale
import string
import subprocess
import sys
from collections.abc import Iterator

import pytest
from babel.messages.mofile import read_mo

import catalogue
from mikata.command import documentation
from mikata.commands import COMMANDS
from mikata.commands.explain import grad_cam
from mikata.errors import Cancelled, ParameterError
from mikata.language import LANGUAGE_VARIABLE, language, say, speaking

VARIABLES = (LANGUAGE_VARIABLE, "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    """Sentences and translations of the Japanese .po."""
    return {str(m.id): str(m.string) for m in catalogue.read(catalogue.PO) if m.id}


@pytest.fixture
def no_wish(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable says a language, and the system none that is known."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(locale, "getlocale", lambda: (None, None))
    return monkeypatch


def test_the_catalogue_has_what_the_code_says_and_nothing_else(entries: dict[str, str]) -> None:
    said = catalogue.sentences().keys()
    assert said - entries.keys() == set(), "missing: run tests/catalogue.py, then translate"
    assert entries.keys() - said == set(), "not said any more: run tests/catalogue.py"


def test_every_sentence_is_translated(entries: dict[str, str]) -> None:
    assert [message for message, translation in entries.items() if not translation.strip()] == []
    assert [str(m.id) for m in catalogue.read(catalogue.PO) if m.id and m.fuzzy] == []


def test_translations_have_the_same_places_with_the_same_formats(entries: dict[str, str]) -> None:
    places = catalogue.placeholders
    assert [m for m, translation in entries.items() if places(m) != places(translation)] == []


def test_the_compiled_catalogue_is_the_one_that_is_read_here(entries: dict[str, str]) -> None:
    # by what it says, not byte by byte: babel writes its own version into the header
    with catalogue.MO.open("rb") as file:
        assert {str(m.id): str(m.string) for m in read_mo(file) if m.id} == entries


def test_labels_start_with_the_english_word(entries: dict[str, str]) -> None:
    # ImageJ makes a dialog's macro keys of each label's first word, and manuals name fields by it
    labels = {p.label for item in COMMANDS for p in item.parameters}
    bad = {label: entries[label] for label in labels if not entries[label].startswith(f"{label.split()[0]} ")}
    assert bad == {}


def test_labels_of_a_command_stay_apart(entries: dict[str, str]) -> None:
    for item in COMMANDS:
        labels = [entries[p.label] for p in item.parameters]
        assert len(set(labels)) == len(labels)


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted(catalogue.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                yield f"{file.relative_to(catalogue.PACKAGE).as_posix()}:{node.lineno}", node


def test_what_is_said_can_be_collected() -> None:
    # a sentence put together while the program runs is in no catalogue
    built = (ast.JoinedStr, ast.BinOp, ast.IfExp)
    assert [place for place, call in _calls() if isinstance(call.args[0], built)] == []


def test_every_place_of_a_sentence_is_given_its_value() -> None:
    wrong = []
    for place, call in _calls():
        message, given = call.args[0], {word.arg for word in call.keywords}
        if not (isinstance(message, ast.Constant) and isinstance(message.value, str)):
            continue
        if None in given:  # **values
            continue
        named = {name for _, name, _, _ in string.Formatter().parse(message.value) if name is not None}
        if named != given:
            wrong.append((place, sorted(named), sorted(map(str, given))))
    assert wrong == []


def test_one_process_speaks_two_languages() -> None:
    with speaking("ja"):
        assert say("Research use, not for diagnosis.") == "研究用であり、診断用ではありません。"
        assert say("There is no file {path}.", path="a.tif") == "ファイル a.tif がありません。"
        assert str(Cancelled()) == "中止しました。"
        with speaking("en"):
            assert say("There is no file {path}.", path="a.tif") == "There is no file a.tif."
        assert language() == "ja"
    assert say("Research use, not for diagnosis.") == "Research use, not for diagnosis."


def test_speaking_leaves_no_wish_behind(no_wish: pytest.MonkeyPatch) -> None:
    with speaking("ja"):
        assert language() == "ja"
    assert language() == "en"
    with pytest.raises(ZeroDivisionError), speaking("ja"):
        _ = 1 / 0
    assert language() == "en"


def test_braces_are_kept_where_nothing_is_filled_in() -> None:
    assert say("{not} in any {catalogue") == "{not} in any {catalogue"
    assert say("") == ""  # which gettext would answer with the catalogue's header


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "Japanese_Japan.932"}, "ja"),
        ({"LANG": "JA"}, "ja"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ja_JP.UTF-8", "LANG": "en_GB.UTF-8"}, "ja"),
        ({"LC_ALL": "C", "LC_MESSAGES": "ja_JP.UTF-8", "LANG": "ja_JP.UTF-8"}, "en"),
        ({"LANGUAGE": "ja:en", "LC_ALL": "C", "LANG": "en_GB.UTF-8"}, "ja"),
        ({"LANGUAGE": "en", "LANG": "ja_JP.UTF-8"}, "en"),
        ({LANGUAGE_VARIABLE: "ja", "LANGUAGE": "en", "LANG": "en_GB.UTF-8"}, "ja"),
        ({LANGUAGE_VARIABLE: "en", "LANGUAGE": "ja", "LC_ALL": "ja_JP.UTF-8", "LANG": "ja_JP.UTF-8"}, "en"),
        ({LANGUAGE_VARIABLE: "", "LANGUAGE": "", "LANG": "ja_JP.UTF-8"}, "ja"),
        ({LANGUAGE_VARIABLE: "fr", "LANG": "ja_JP.UTF-8"}, "en"),
    ],
)
def test_the_nearest_wish_counts(no_wish: pytest.MonkeyPatch, wishes: dict[str, str], expected: str) -> None:
    for name, value in wishes.items():
        no_wish.setenv(name, value)
    assert language() == expected
    assert say("Cancelled.") == {"en": "Cancelled.", "ja": "中止しました。"}[expected]


@pytest.mark.parametrize(
    ("name", "expected"), [("Japanese_Japan", "ja"), ("ja_JP", "ja"), ("French_France", "en")]
)
def test_without_a_wish_the_system_decides(no_wish: pytest.MonkeyPatch, name: str, expected: str) -> None:
    no_wish.setattr(locale, "getlocale", lambda: (name, "cp932"))
    assert language() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"opacity_percent": "200"}, "Grad-CAM Heat Map: opacity_percent は 200 です。0 以上 100 以下にしてください。"),
        ({"batch": "2.5"}, "Grad-CAM Heat Map: batch は「2.5」です。1 以上"),
        ({"overwrite": "yes"}, "overwrite は「yes」です。true または false にしてください。"),
        ({"lutt": "Fire"}, "Grad-CAM Heat Map: キー「lutt」は認識できません（「lut」ではありませんか）。使えるキー: "),
    ],
)  # fmt: skip
def test_wrong_values_are_told_in_japanese(given: dict[str, str], message: str) -> None:
    with speaking("ja"), pytest.raises(ParameterError) as caught:
        grad_cam([], **{"model": str(catalogue.PO)} | given)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_missing_value_is_explained_in_japanese() -> None:
    help_text = say("Folder or .zip of a BioImage.IO package that Mikata has trained.")
    with speaking("ja"), pytest.raises(ParameterError) as caught:
        grad_cam([])  # type: ignore[call-arg]
    assert "model が指定されていません。" in str(caught.value)
    assert help_text not in str(caught.value)


def test_the_reference_stays_english() -> None:
    english = documentation(COMMANDS)
    with speaking("ja"):
        assert documentation(COMMANDS) == english


def test_a_process_takes_its_language_from_the_environment(no_wish: pytest.MonkeyPatch) -> None:
    no_wish.setenv(LANGUAGE_VARIABLE, "ja")
    code = "from mikata.language import say; print(ascii(say('Cancelled.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii("中止しました。")
