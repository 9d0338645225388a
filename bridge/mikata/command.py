"""A command is a typed function; this module reads its declaration once, for every door.

Signature and docstring say everything: types, defaults, ranges (`Range`), choices (`Literal`),
labels and help (from the docstring's Parameters: ``name : label``, then the help; without a label, the name
in words with its unit). From that come the function
itself with its arguments checked, the command line, ImageJ's dialog, the macro options and the
documentation. Nothing here loads NumPy, torch or Java.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import keyword
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from mikata.errors import ParameterError
from mikata.language import say, speaking
from mikata.options import parse_options, quote_option
from mikata.shipped import models
from mikata.types import Progress, Result

Kind = Literal["images", "input", "output", "flag", "integer", "number", "choice", "text"]
Group = Literal["Learn", "Predict", "Explain", "Measure", "Package", "Help"]
F = TypeVar("F", bound=Callable[..., Result])


@dataclass(frozen=True)
class Range:
    """Smallest and largest allowed value, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class _Role:
    """What a path or an image stands for, which its type alone does not say."""

    kind: Kind
    shipped: bool = False


Images = Annotated[Any, _Role("images")]
"""Images to work on: a file, a folder, a list of them, an `Image` or an array; in ImageJ the current image.

Several in one text are separated by semicolons.
"""

InputPath = Annotated[Path, _Role("input")]
"""A file or folder that must exist."""

ModelPath = Annotated[Path, _Role("input", shipped=True)]
"""A package that must exist, or the name of one that comes with Mikata; ``./name`` is what lies on the disk."""

OutputPath = Annotated[Path | None, _Role("output")]
"""A file or folder that the command writes."""

REQUIRED: Any = inspect.Parameter.empty

EACH_TIME = frozenset({"overwrite", "resume", "keep_metadata", "run_package_code", "run_torchscript"})
"""Flags that no dialog remembers: what loses files, gives names away or lets strangers' code run is to be chosen each time.

Images neither: leaving them empty means the current image, and a folder from last week would be a trap.
"""

_FIRST = frozenset({"data", "recipe", "recipes"})
"""Required inputs that a command line takes without their name."""

# Units in which a name may end, and how a dialog shows them.
_UNITS = {"percent": "%", "px": "px", "mm": "mm", "s": "s", "rad": "rad"}

_GROOVY_WORDS = frozenset(
    """abstract as assert boolean break byte case catch char class const continue def default do double else
    enum extends false final finally float for goto if implements import in instanceof int interface long
    native new null package private protected public return short static strictfp super switch synchronized
    this threadsafe throw throws trait transient true try var void volatile while""".split()
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command.

    `low` and `high` are None where there is no bound; `choices` is empty unless `kind` is ``choice``.
    `positional` parameters are a command line's arguments, all others its options. Where `shipped`, an input may be the
    name of a package that comes with Mikata.
    """

    name: str
    kind: Kind
    label: str
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    positional: bool = False
    shipped: bool = False

    @property
    def required(self) -> bool:
        """Whether it must be given (images are taken from ImageJ where they are not)."""
        return self.default is REQUIRED

    @property
    def default_text(self) -> str:
        """The default as a user would type it; empty where there is none."""
        if self.required or self.default is None:
            return ""
        return _number(self.default) if isinstance(self.default, float) else str(self.default)

    @property
    def allowed(self) -> str:
        """The allowed values in words of the user's language, empty where anything goes."""
        if self.choices:
            return say("one of {choices}", choices=", ".join(self.choices))
        if self.low is not None and self.high is not None:
            if math.isinf(self.high):
                return say("at least {low}", low=_number(self.low))
            return say("from {low} to {high}", low=_number(self.low), high=_number(self.high))
        return ""

    def convert(self, value: Any, title: str) -> Any:
        """The value in its type, or a `ParameterError` that says what is allowed."""
        try:
            return self._convert(value)
        except ValueError as error:
            raise ParameterError(
                say("{title}: {name} {problem}", title=title, name=self.name, problem=error)
            ) from None

    # Errors below are the rest of a sentence that starts with the parameter's name.

    def _convert(self, value: Any) -> Any:
        if value is None and self.default is None:
            return None
        match self.kind:
            case "images":
                return _existing(value) if isinstance(value, str | Path | list | tuple) else value
            case "input" | "output":
                return self._path(value)
            case "flag":
                return _flag(value)
            case "integer" | "number":
                return self._number(value)
            case "choice":
                if value not in self.choices:
                    near = difflib.get_close_matches(str(value), self.choices, 1)
                    if near:
                        raise ValueError(
                            say(
                                "is '{value}' (did you mean {near}?); it must be {allowed}.",
                                value=value,
                                near=near[0],
                                allowed=self.allowed,
                            )
                        )
                    raise ValueError(
                        say("is '{value}'; it must be {allowed}.", value=value, allowed=self.allowed)
                    )
                return value
            case "text":
                return str(value)
        typing.assert_never(self.kind)

    def _path(self, value: Any) -> Path | None:
        if not isinstance(value, str | Path):
            raise ValueError(say("must be a path, not {kind}.", kind=type(value).__name__))
        if isinstance(value, str):
            value = value.strip()
        if value == "":
            if self.default is None:
                return None
            if self.kind == "input":
                raise ValueError(say("is empty; give an existing file or folder."))
            raise ValueError(say("is empty; give a file or folder to write."))
        path = Path(value).expanduser()
        if self.kind == "input":
            if self.shipped and (not path.exists() or str(value) in models()):
                return _shipped(path)
            _existing(path)
        return path

    def _number(self, value: Any) -> int | float:
        whole = self.kind == "integer"
        number: float | None = None
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                number = float(value)
            except ValueError:
                number = None
        elif hasattr(value, "__float__") and not isinstance(value, bool):  # NumPy's scalars
            number = float(value)
        if number is None or not math.isfinite(number) or (whole and number != int(number)):
            raise ValueError(self._no_number(value))
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueError(say("is {value}; it must be {allowed}.", value=value, allowed=self.allowed))
        return int(number) if whole else number

    def _no_number(self, value: Any) -> str:
        whole, allowed = self.kind == "integer", self.allowed
        if not allowed:
            if whole:
                return say("is '{value}'; it must be a whole number.", value=value)
            return say("is '{value}'; it must be a number.", value=value)
        if whole:
            return say("is '{value}'; it must be a whole number {allowed}.", value=value, allowed=allowed)
        return say("is '{value}'; it must be a number {allowed}.", value=value, allowed=allowed)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _existing(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_existing(item) if isinstance(item, str | Path) else item for item in value]
    if isinstance(value, str):
        value = value.strip()
        if not value:  # which pathlib takes for the working directory
            raise ValueError(say("is empty; give a file or a folder."))
        if ";" in value and not Path(value).expanduser().exists():
            return [_existing(part) for part in value.split(";") if part.strip()]
    path = Path(value).expanduser()
    if not path.exists():
        raise ValueError(say("is '{path}', which does not exist.", path=path))
    return path


def _shipped(name: Path) -> Path:
    """The package that comes with Mikata under a name, if nothing of that name lies in the working directory.

    Where both are there neither is taken for the other: which one runs would depend on where a program was started.
    """
    known = models()
    if str(name) in known:
        if name.exists() and name.resolve() != known[str(name)].resolve():
            raise ValueError(
                say(
                    "is '{name}', which is a package that comes with Mikata and a file or folder in {folder} too. Give {there} "
                    "for the one that lies there, or {shipped} for Mikata's.",
                    name=name,
                    folder=Path.cwd(),
                    there=f".{os.sep}{name}",
                    shipped=known[str(name)],
                )
            )
        return known[str(name)]
    raise ValueError(
        say(
            "is '{path}', which does not exist. Packages that come with Mikata: {names}.",
            path=name,
            names=", ".join(known),
        )
    )


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "false"):
        return text == "true"
    raise ValueError(say("is '{value}'; it must be true or false.", value=value))


@dataclass(frozen=True)
class Command:
    """A function's declaration: `title` as in ImageJ's menu, `group` its sub-menu."""

    title: str
    group: Group
    function: Callable[..., Result]
    summary: str
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        """Name of the Python function."""
        return self.function.__name__

    @property
    def cli_name(self) -> str:
        """Name on the command line: the function's, with hyphens."""
        return self.name.replace("_", "-")

    @property
    def plain_title(self) -> str:
        """The title without its dots, for messages and windows."""
        return self.title.removesuffix("...")

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; `ParameterError` with the known ones where there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = [p.name for p in self.parameters]
        near = difflib.get_close_matches(name, known, 1)
        facts = {"title": self.plain_title, "name": name, "known": ", ".join(known)}
        if near:
            raise ParameterError(
                say(
                    "{title}: unknown key '{name}' (did you mean '{near}'?). Known keys: {known}.",
                    near=near[0],
                    **facts,
                )
            )
        raise ParameterError(say("{title}: unknown key '{name}'. Known keys: {known}.", **facts))

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter's value, checked and in its type; defaults where nothing was given.

        Raises
        ------
        ParameterError
            An unknown name, a missing required value, or one that is not allowed.
        """
        for name in given:
            self.parameter(name)
        result: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name in given:
                result[parameter.name] = parameter.convert(given[parameter.name], self.plain_title)
            elif parameter.required:
                raise ParameterError(
                    say(
                        "{title}: {name} is missing. {help}",
                        title=self.plain_title,
                        name=parameter.name,
                        help=say(parameter.help),
                    )
                )
            else:
                result[parameter.name] = parameter.default
        return result

    def run(self, given: Mapping[str, Any], progress: Progress) -> Result:
        """Check the values and call the function."""
        return self.function(**self.values(given), progress=progress)

    def parse_options(self, options: str) -> dict[str, Any]:
        """ImageJ's options string as given values (still to be checked by `values`)."""
        given: dict[str, Any] = {}
        for key, value in parse_options(options):
            try:
                parameter = self.parameter(key)
            except ParameterError as error:
                if value is not None or not given:
                    raise
                # a word by itself after a value: most often the rest of a path with spaces
                raise ParameterError(
                    say("{problem} A value with spaces needs brackets: key=[a value].", problem=error)
                ) from None
            if key in given:
                raise ParameterError(
                    say("{title}: the key '{key}' is there twice.", title=self.plain_title, key=key)
                )
            if value is None and parameter.kind != "flag":
                raise ParameterError(
                    say(
                        "{title}: {key} has no value; write {key}=value, or {key}=[a value with spaces].",
                        title=self.plain_title,
                        key=key,
                    )
                )
            given[key] = True if value is None else value
        return given

    def format_options(self, given: Mapping[str, Any]) -> str:
        """The options string of a macro, with the values that differ from the defaults."""
        parts = []
        for parameter in self.parameters:
            value = given.get(parameter.name, parameter.default)
            if value is REQUIRED or value is None or value == parameter.default:
                continue
            if parameter.kind == "flag":
                parts.append(parameter.name)
            else:
                parts.append(f"{parameter.name}={quote_option(str(value))}")
        return " ".join(parts)


def command(title: str, group: Group) -> Callable[[F], F]:
    """Declare a function as a command; calling it checks its arguments as every door does."""

    def declare(function: F) -> F:
        declared = _declaration(title, group, function)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Result:
            progress = kwargs.pop("progress", None) or Progress()
            names = [p.name for p in declared.parameters if p.positional]
            if len(args) > len(names):
                raise ParameterError(
                    say(
                        "{title} takes {count} value(s) without a name.",
                        title=declared.plain_title,
                        count=len(names),
                    )
                )
            given = dict(zip(names, args, strict=False)) | kwargs
            return function(**declared.values(given), progress=progress)

        checked.command = declared  # type: ignore[attr-defined]
        return cast(F, checked)

    return declare


def declaration(function: Callable[..., Result]) -> Command:
    """The declaration of a function made a command by `command`."""
    return cast(Command, function.command)  # type: ignore[attr-defined]


def _declaration(title: str, group: Group, function: Callable[..., Result]) -> Command:
    if " " not in title:
        # Fiji makes a menu entry of a script only where its file's name has an underscore, which becomes a space
        raise TypeError(f"{function.__name__}: the title '{title}' must be of more than one word")
    summary, helps = read_docstring(function)
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = []
    for name, item in inspect.signature(function).parameters.items():
        if name == "progress":
            continue
        if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _GROOVY_WORDS:
            raise TypeError(f"{function.__name__}: '{name}' is a keyword and cannot name a parameter")
        if name not in helps:
            raise TypeError(f"{function.__name__}: the docstring says nothing of '{name}'")
        parameter = _parameter(name, hints[name], item.default, *helps[name])
        if parameter.kind == "flag" and parameter.default is not False:
            # in a macro a flag is given by its name alone, so its absence must mean false
            raise TypeError(f"{function.__name__}: the flag '{name}' must be False by default")
        parameters.append(parameter)
    return Command(title, group, function, summary, tuple(parameters))


def _label(name: str) -> str:
    """The name in words, with its unit."""
    *words, last = name.split("_")
    if words and last in _UNITS:
        return f"{' '.join(words).capitalize()} ({_UNITS[last]})"
    return name.replace("_", " ").capitalize()


def _parameter(name: str, hint: Any, default: Any, label: str, help_text: str) -> Parameter:
    role: _Role | None = None
    bounds = None
    if typing.get_origin(hint) is Annotated:
        hint, *marks = typing.get_args(hint)
        role = next((m for m in marks if isinstance(m, _Role)), None)
        bounds = next((m for m in marks if isinstance(m, Range)), None)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if typing.get_origin(hint) is Annotated:  # InputPath | None
        hint, *marks = typing.get_args(hint)
        role = next((m for m in marks if isinstance(m, _Role)), role)
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    choices: tuple[str, ...] = ()
    kind: Kind
    if role:
        kind = role.kind
    elif typing.get_origin(hint) is Literal:
        kind, choices = "choice", typing.get_args(hint)
    elif hint in (bool, int, float, str):
        kind = cast(Kind, {bool: "flag", int: "integer", float: "number", str: "text"}[hint])
    else:
        raise TypeError(f"'{name}' has the type {hint}, which no door can ask for")
    first = kind == "input" and name in _FIRST and default is REQUIRED
    positional = kind == "images" or first
    shipped = role is not None and role.shipped
    return Parameter(
        name, kind, label or _label(name), default, help_text, low, high, choices, positional, shipped
    )


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, tuple[str, str]]]:
    """First sentence, and each parameter's label and help, from a docstring in NumPy's style."""
    text = inspect.getdoc(function) or ""
    summary = " ".join(text.split("\n\n", 1)[0].split())
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}|\Z)", text, re.MULTILINE | re.DOTALL)
    helps: dict[str, tuple[str, str]] = {}
    if section:
        entries = re.compile(r"^(\w+)(?: : ([^\n]+))?\n((?:[ \t]+[^\n]*\n?|\n)+)", re.MULTILINE)
        for name, label, words in entries.findall(section.group(1) + "\n"):
            helps[name] = (label.strip(), " ".join(words.split()))
    return summary, helps


def documentation(commands: tuple[Command, ...]) -> str:
    """A Markdown table of all commands and their parameters, in English."""
    with speaking("en"):
        return _documentation(commands)


def _documentation(commands: tuple[Command, ...]) -> str:
    lines = []
    for item in commands:
        lines += [
            f"### {item.title}",
            "",
            f"{item.summary}",
            "",
            f"Menu: Plugins > Mikata > {item.group} > {item.title} · "
            f"command line: `mikata {item.cli_name}` · Python: `mikata.{item.name}`",
            "",
            "| parameter | values | default | |",
            "| --- | --- | --- | --- |",
        ]
        for p in item.parameters:
            default = (
                "required" if p.required else p.default_text.lower() if p.kind == "flag" else p.default_text
            )
            lines.append(f"| `{p.name}` | {p.allowed or p.kind} | {default} | {p.help} |")
        lines.append("")
    return "\n".join(lines)
