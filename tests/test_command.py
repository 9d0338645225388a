"""A declaration is read once: values, macro options, messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikata.command import (
    Images,
    InputPath,
    OutputPath,
    Range,
    command,
    declaration,
    documentation,
)
from mikata.commands import COMMANDS
from mikata.errors import ParameterError
from mikata.options import parse_options, quote_option
from mikata.types import Progress, Result

SEEN: dict[str, object] = {}


@command("Sharpen It...", "Measure")
def sharpen_it(
    images: Images,
    *,
    model: InputPath | None = None,
    out: OutputPath = None,
    sigma_px: Annotated[float, Range(0.1, 10)] = 1.5,
    rounds: Annotated[int, Range(1, 9)] = 3,
    edge: Literal["mirror", "zero pad"] = "mirror",
    note: str = "",
    show: bool = False,
    progress: Progress,
) -> Result:
    """Make it sharper.

    And more words.

    Parameters
    ----------
    images
        What to sharpen.
    model
        A package
        over two lines.
    out
        Where to.
    sigma_px
        Width.
    rounds
        How often.
    edge
        What lies outside.
    note
        Anything.
    show
        Show it.
    """
    SEEN.clear()
    SEEN.update(locals())
    return Result("done")


SHARPEN = declaration(sharpen_it)


def test_the_declaration_is_the_signature() -> None:
    assert SHARPEN.title == "Sharpen It..."
    assert SHARPEN.cli_name == "sharpen-it"
    assert SHARPEN.summary == "Make it sharper."
    found = {p.name: (p.kind, p.label, p.allowed, p.positional) for p in SHARPEN.parameters}
    assert found == {
        "images": ("images", "Images", "", True),
        "model": ("input", "Model", "", False),
        "out": ("output", "Out", "", False),
        "sigma_px": ("number", "Sigma (px)", "from 0.1 to 10", False),
        "rounds": ("integer", "Rounds", "from 1 to 9", False),
        "edge": ("choice", "Edge", "one of mirror, zero pad", False),
        "note": ("text", "Note", "", False),
        "show": ("flag", "Show", "", False),
    }
    assert SHARPEN.parameter("model").help == "A package over two lines."


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        ("sigma_px=2 ", {"sigma_px": "2"}),
        ("sigma_px=2.5 rounds=4 show", {"sigma_px": "2.5", "rounds": "4", "show": True}),
        ("show=true", {"show": "true"}),
        ("show=false", {"show": "false"}),
        ("edge=[zero pad] show", {"edge": "zero pad", "show": True}),
        ("note=[a [b] c]", {"note": "a [b] c"}),
        ("note='a ] b'", {"note": "a ] b"}),
        ("note=[]", {"note": ""}),
        (r"note=[C:\Users\山田 太郎 (test)\x.tif]", {"note": r"C:\Users\山田 太郎 (test)\x.tif"}),
        ("note=a=b", {"note": "a=b"}),
    ],
)
def test_macro_options_are_imagejs(options: str, expected: dict[str, object]) -> None:
    assert SHARPEN.parse_options(options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "sigma=2",
            "unknown key 'sigma' (did you mean 'sigma_px'?). Known keys: images, model, out, sigma_px",
        ),
        ("sigma_px=2 sigma_px=3", "the key 'sigma_px' is there twice"),
        ("sigma_px", "sigma_px has no value"),
        ("note=[a b", "opens a [ that is not closed"),
        ("note='a b", "opens a ' that is not closed"),
        ("[a]", "cannot be read from here: [a]"),
    ],
)
def test_macro_options_that_are_wrong(options: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        SHARPEN.parse_options(options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigma_px": "0"}, "Sharpen It: sigma_px is 0; it must be from 0.1 to 10."),
        ({"sigma_px": "wide"}, "sigma_px is 'wide'; it must be a number from 0.1 to 10."),
        ({"sigma_px": "nan"}, "sigma_px is 'nan'"),
        ({"sigma_px": True}, "sigma_px is 'True'"),
        ({"rounds": "2.5"}, "rounds is '2.5'; it must be a whole number from 1 to 9."),
        ({"rounds": 2.5}, "whole number"),
        ({"edge": "miror"}, "edge is 'miror' (did you mean mirror?); it must be one of mirror, zero pad."),
        ({"show": "yes"}, "show is 'yes'; it must be true or false."),
        ({"model": "/not/there"}, "which does not exist"),
        ({"model": 3}, "must be a path, not int"),
        ({"images": "/not/there.tif"}, "images is '/not/there.tif', which does not exist."),
        ({"images": ["/not/there.tif"]}, "which does not exist"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_values_that_are_wrong_say_what_is_right(given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        SHARPEN.values({"images": []} | given)
    assert message.replace("/", str(Path("/"))) in str(caught.value) or message in str(caught.value)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ParameterError, match=r"Sharpen It: images is missing\. What to sharpen\."):
        SHARPEN.values({})


def test_missing_keys_take_the_declared_defaults(hard_path: Path) -> None:
    values = SHARPEN.values({"images": [], "model": f"{hard_path}", "sigma_px": "2"})
    assert values == {
        "images": [], "model": hard_path, "out": None, "sigma_px": 2.0, "rounds": 3,
        "edge": "mirror", "note": "", "show": False,
    }  # fmt: skip


def test_the_function_checks_its_arguments() -> None:
    sharpen_it([], rounds=2, out="a/b", progress=Progress())
    assert (SEEN["rounds"], SEEN["out"], SEEN["sigma_px"]) == (2, Path("a/b"), 1.5)
    with pytest.raises(ParameterError, match="rounds is 10"):
        sharpen_it([], rounds=10, progress=Progress())
    with pytest.raises(ParameterError, match="takes 1 value"):
        sharpen_it([], 3, progress=Progress())  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("default", "is a keyword"), ("match", "is a keyword"), ("undocumented", "the docstring says nothing")],
)
def test_names_that_no_door_could_use_are_refused(name: str, problem: str) -> None:
    scope: dict[str, object] = {}
    exec(f"def f(*, {name}: int = 1): '''One.'''", scope)
    with pytest.raises(TypeError, match=problem):
        command("Do It...", "Measure")(scope["f"])  # type: ignore[type-var]


def test_a_flag_must_be_false_by_default() -> None:
    def f(*, on: bool = True) -> Result:
        """One.

        Parameters
        ----------
        on
            Word.
        """
        return Result("")

    with pytest.raises(TypeError, match="must be False"):
        command("Do It...", "Measure")(f)


def test_a_title_of_one_word_is_refused() -> None:
    def sharpen() -> Result:
        """One."""
        return Result("")

    with pytest.raises(TypeError, match=r"'Sharpen\.\.\.' must be of more than one word"):
        command("Sharpen...", "Measure")(sharpen)


def test_the_command_line_has_the_functions_name() -> None:
    def blur() -> Result:
        """One."""
        return Result("")

    assert declaration(command("Make It Soft...", "Measure")(blur)).cli_name == "blur"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30))
def test_a_quoted_value_comes_back(value: str) -> None:
    try:
        quoted = quote_option(value)
    except ParameterError:
        assert "'" in value
        return
    if " " not in value and value != value.strip():
        return
    assert parse_options(f"a=1 key={quoted} b") == [("a", "1"), ("key", value), ("b", None)]


def test_only_changed_values_are_written() -> None:
    assert SHARPEN.format_options({"sigma_px": 2.0, "edge": "zero pad", "show": True, "rounds": 3}) == (
        "sigma_px=2.0 edge=[zero pad] show"
    )


def test_every_command_is_documented() -> None:
    text = documentation(COMMANDS)
    for item in COMMANDS:
        assert f"### {item.title}" in text
        assert item.title.endswith("...")
        for parameter in item.parameters:
            assert f"| `{parameter.name}` |" in text
            assert parameter.help.endswith(".")
            assert parameter.label
