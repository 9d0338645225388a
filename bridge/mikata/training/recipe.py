"""Recipes: how a network is trained, as a TOML file that is checked to the last key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from mikata.errors import RecipeError
from mikata.language import say

Fit = Literal["resize", "native"]
Fill = Literal["reflect", "nearest", "lowest"]
_Check = Callable[[Any], str]  # what is wrong with a value, in words; empty when nothing is


def _number(low: float, high: float, *, open_low: bool = False) -> _Check:
    def check(value: Any) -> str:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if good and (low < value if open_low else low <= value) and value <= high:
            return ""
        if open_low:
            return say("a number above {low:g} to {high:g}", low=low, high=high)
        if high == math.inf:
            return say("a number from {low:g}", low=low)
        return say("a number from {low:g} to {high:g}", low=low, high=high)

    return check


def _whole(low: int, high: int = 2**31 - 1) -> _Check:
    def check(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return ""
        if high == 2**31 - 1:
            return say("a whole number from {low}", low=low)
        return say("a whole number from {low} to {high}", low=low, high=high)

    return check


def _one_of(*choices: Any) -> _Check:
    def check(value: Any) -> str:
        if any(type(value) is type(c) and value == c for c in choices):
            return ""
        return say("one of {choices}", choices=", ".join(map(_shown, choices)))

    return check


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else say("true or false")


def _words(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else say("a text in quotes")


def _height_and_width(value: Any) -> str:
    good = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, int) and not isinstance(v, bool) and 16 <= v <= 4096 for v in value)
    )
    return "" if good else say("[height, width], each a whole number from 16 to 4096 px")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; see ``default.toml`` for what each key means."""

    rotation_rad: float = 0.1
    shift: float = 0.1
    brightness: float = 0.1
    flip_horizontal: bool = False
    flip_vertical: bool = False
    fill: Fill = "reflect"


@dataclass(frozen=True)
class Stage:
    """One training of one network; see ``default.toml`` for what each key means.

    `weights` is ``none``, ``imagenet``, or a path, made absolute from the recipe's folder.
    """

    network: str = "small_cnn"
    weights: str = "none"
    size: tuple[int, int] = (128, 128)
    fit: Fit = "resize"
    channels: Literal["auto", 1, 3] = "auto"
    normalisation: Literal["auto", "data", "imagenet", "weights"] = "auto"
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 0.001
    epsilon: float = 1e-8
    adam_formula: Literal["torch", "keras"] = "torch"
    weight_decay: float = 0.0
    momentum: float = 0.9
    clipnorm: float = 0.0
    clipnorm_scope: Literal["global", "tensor"] = "global"
    epochs: int = 30
    batch: int = 16
    schedule: Literal["constant", "cosine"] = "cosine"
    early_stopping: int = 10
    balance: Literal["none", "class_weights", "sampling"] = "none"
    precision: Literal["32", "bf16", "16"] = "32"
    workers: int = 0
    cache_gib: float = 4.0
    augmentation: Augmentation = field(default_factory=Augmentation)


_CHECKS: dict[str, _Check] = {
    "rotation_rad": _number(0, math.pi),
    "shift": _number(0, 0.5),
    "brightness": _number(0, 0.9),
    "flip_horizontal": _flag,
    "flip_vertical": _flag,
    "fill": _one_of(*get_args(Fill)),
    "network": _words,
    "weights": _words,
    "size": _height_and_width,
    "fit": _one_of(*get_args(Fit)),
    "channels": _one_of("auto", 1, 3),
    "normalisation": _one_of("auto", "data", "imagenet", "weights"),
    "optimiser": _one_of("adam", "adamw", "sgd"),
    "learning_rate": _number(0, 10, open_low=True),
    "epsilon": _number(0, 1, open_low=True),
    "adam_formula": _one_of("torch", "keras"),
    "weight_decay": _number(0, 10),
    "momentum": _number(0, 0.9999),
    "clipnorm": _number(0, math.inf),
    "clipnorm_scope": _one_of("global", "tensor"),
    "epochs": _whole(1, 100_000),
    "batch": _whole(1, 65_536),
    "schedule": _one_of("constant", "cosine"),
    "early_stopping": _whole(0, 100_000),
    "balance": _one_of("none", "class_weights", "sampling"),
    "precision": _one_of("32", "bf16", "16"),
    "workers": _whole(0, 256),
    "cache_gib": _number(0, 4096),
    "seed": _whole(0),
    "test": _number(0, 0.9, open_low=True),
    "selection": _number(0, 0.9, open_low=True),
}


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes
    ----------
    stages:
        Exactly one.
    seed:
        Of the split, the start weights, the order and the augmentation.
    test, selection:
        Shares of the images for these parts, where the data set does not state its own split.
    source:
        The file it was read from, or ``default``; for messages and the record.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    seed: int = 0
    test: float = 0.2
    selection: float = 0.2
    source: str = "default"

    @property
    def stage(self) -> Stage:
        """The one stage."""
        return self.stages[0]

    def change(self, **changes: Any) -> Recipe:
        """A copy with other values, checked like those of a file; None leaves a value as it is.

        Keys are ``seed``, ``test``, ``selection`` and those of the stage and of its augmentation.

        Raises
        ------
        RecipeError
            If a key is unknown or a value is out of range.
        """
        wanted = {key: value for key, value in changes.items() if value is not None}
        whole = self.to_dict()
        stage = whole["stage"][0]
        homes = [
            ({"seed"}, whole),
            ({"test", "selection"}, whole["split"]),
            (_names(Stage) - {"augmentation"}, stage),
            (_names(Augmentation), stage["augmentation"]),
        ]
        _refuse_unknown(self.source, "", wanted, set().union(*(keys for keys, _ in homes)))
        for key, value in wanted.items():
            next(table for keys, table in homes if key in keys)[key] = value
        return _recipe(whole, self.source, None)

    def to_dict(self) -> dict[str, Any]:
        """The recipe in the file's own structure, every key filled in; plain JSON values."""
        stages = []
        for stage in self.stages:
            table = dataclasses.asdict(stage)
            table["size"] = list(stage.size)
            stages.append(table)
        split = {"test": self.test, "selection": self.selection}
        return {"seed": self.seed, "split": split, "stage": stages}


def folder() -> Path:
    """Where the shipped recipes are: in the installed package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "_data" / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "bioimage_models" / "recipes"


def names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def read(path: Path | None = None, *, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path:
        A TOML file, or the bare name of a shipped recipe (``texture``); None: ``default``.
    changes:
        Values that replace the file's, as in :meth:`Recipe.change`.

    Raises
    ------
    RecipeError
        If the file is missing or no TOML, or a key or value is not known; the message names the key.
    """
    path = path or Path("default")
    shipped = folder() / f"{path}.toml"
    # a bare name is a shipped recipe's, whatever lies in the folder where Mikata was started
    if not path.suffix and path.name == str(path) and shipped.is_file():
        path = shipped
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = tomllib.loads(text)
    except FileNotFoundError as error:
        raise RecipeError(
            say(
                "The recipe {path} does not exist. Give a TOML file, or one of {names}.",
                path=path,
                names=", ".join(names()),
            )
        ) from error
    except OSError as error:
        raise RecipeError(
            say("The recipe {path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(say("The recipe {path} is not UTF-8 text. Save it as UTF-8.", path=path)) from error
    except tomllib.TOMLDecodeError as error:
        words = [say("The recipe {path} is not valid TOML: {error}.", path=path, error=error)]
        if "\\" in text:
            words.append(say("A Windows path needs single quotes: 'C:\\models\\my.pt'."))
        raise RecipeError(" ".join(words)) from error
    source = path.stem if path == shipped else str(path)
    return _recipe(found, source, path.parent).change(**(changes or {}))


def _recipe(found: Mapping[str, Any], source: str, home: Path | None) -> Recipe:
    _refuse_unknown(source, "", found, {"seed", "split", "stage"})
    split = _table(source, "split", found.get("split", {}))
    _refuse_unknown(source, "split: ", split, {"test", "selection"})
    stages = found.get("stage", [{}])
    if not isinstance(stages, list) or not stages:
        raise RecipeError(
            say("{recipe}: a stage must be written as [[stage]], in double brackets.", recipe=source)
        )
    if len(stages) > 1:
        raise RecipeError(
            say(
                "{recipe}: it has {count} stages, but only one can be trained. Keep one [[stage]].",
                recipe=source,
                count=len(stages),
            )
        )
    top = {"seed": found["seed"]} if "seed" in found else {}
    top |= split
    _check_values(source, "", top)
    recipe = Recipe((_stage(source, _table(source, "stage", stages[0]), home),), source=source, **top)
    if recipe.test + recipe.selection >= 1:
        raise RecipeError(
            say(
                "{recipe}: split: test and selection together must leave something to train on.",
                recipe=source,
            )
        )
    return recipe


def _stage(source: str, found: Mapping[str, Any], home: Path | None) -> Stage:
    _refuse_unknown(source, "stage: ", found, _names(Stage))
    changes = _table(source, "stage.augmentation", found.get("augmentation", {}))
    _refuse_unknown(source, "stage.augmentation: ", changes, _names(Augmentation))
    _check_values(source, "stage.augmentation: ", changes)
    values = {key: value for key, value in found.items() if key != "augmentation"}
    _check_values(source, "stage: ", values)
    if "size" in values:
        values["size"] = tuple(values["size"])
    if home is not None and values.get("weights", "none") not in ("none", "imagenet"):
        values["weights"] = str((home / values["weights"]).absolute())
    stage = Stage(**values, augmentation=Augmentation(**changes))
    if stage.optimiser == "sgd" and stage.adam_formula == "keras":
        raise RecipeError(
            say(
                '{recipe}: stage: adam_formula = "keras" needs the optimiser adam or adamw, not sgd.',
                recipe=source,
            )
        )
    return stage


def _names(kind: type[Any]) -> set[str]:
    return {item.name for item in dataclasses.fields(kind)}


def _table(source: str, name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(
            say("{recipe}: {name} must be a table of keys, written under [{name}].", recipe=source, name=name)
        )
    return value


def _refuse_unknown(source: str, where: str, found: Mapping[str, Any], known: set[str]) -> None:
    for key in found:
        if key in known:
            continue
        close = difflib.get_close_matches(key, known, 1)
        if close:
            raise RecipeError(
                say(
                    "{recipe}: {where}the key '{key}' is unknown; did you mean '{meant}'?",
                    recipe=source,
                    where=where,
                    key=key,
                    meant=close[0],
                )
            )
        raise RecipeError(
            say(
                "{recipe}: {where}the key '{key}' is unknown; known are {known}.",
                recipe=source,
                where=where,
                key=key,
                known=", ".join(sorted(known)),
            )
        )


def _check_values(source: str, where: str, found: Mapping[str, Any]) -> None:
    for key, value in found.items():
        wanted = _CHECKS[key](value)
        if wanted:
            raise RecipeError(
                say(
                    "{recipe}: {key} must be {wanted}, not {value}.",
                    recipe=source,
                    key=where + key,
                    wanted=wanted,
                    value=_shown(value),
                )
            )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
