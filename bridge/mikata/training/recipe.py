"""Recipes: how a network is trained, in one stage or several, as a TOML file that is checked to the last key."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mikata.errors import RecipeError
from mikata.language import say
from mikata.shipped import recipes
from mikata.training.stage import (
    CHECKS,
    Augmentation,
    Detection,
    Formula,
    Segmentation,
    Stage,
    Unlabelled,
    shown,
)

_TABLES: dict[str, type[Any]] = {
    "augmentation": Augmentation,
    "segmentation": Segmentation,
    "detection": Detection,
    "formula": Formula,
    "unlabelled": Unlabelled,
}
_NO_SOURCES = ("augmentation", "segmentation", "detection")
"""Tables that do not belong to a source of weights of their name."""
_SOURCES = ("none", "imagenet", "previous", "formula", "unlabelled")
_INHERITED = ("network", "size", "fit", "channels")
"""What a stage takes over from the one before it when it says nothing else and goes on with its weights."""


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes
    ----------
    stages:
        One after another; the last one makes the classifier that is tested and packaged.
    seed:
        Of the split, the start weights, the order and the augmentation.
    test, selection:
        Shares of the images for these parts, where the data set does not state its own split.
    source:
        The file it was read from, or ``default``; for messages and the record.
    search:
        Its table ``[search]``: settings that `mikata search` chooses from; a training takes no notice.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    seed: int = 0
    test: float = 0.2
    selection: float = 0.2
    source: str = "default"
    search: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """The last stage."""
        return self.stages[-1]

    def at(self, number: int) -> Recipe:
        """The recipe up to and with the stage `number`, which counts from 0."""
        return dataclasses.replace(self, stages=self.stages[: number + 1])

    def own_data(self) -> Path:
        """What the last stage says it learns from.

        Raises
        ------
        RecipeError
            If it says nothing.
        """
        if not self.stage.data:
            raise RecipeError(
                say(
                    "{recipe}: its last stage names no data. Name the folder or table there, or give it to the "
                    "command.",
                    recipe=self.source,
                )
            )
        return Path(self.stage.data)

    def change(self, **changes: Any) -> Recipe:
        """A copy with other values, checked like those of a file; None leaves a value as it is.

        Keys are ``seed``, ``test``, ``selection`` and those of the last stage and of its augmentation. Where it goes
        on with the weights of the stages before it, what the network is and sees changes in these too.

        Raises
        ------
        RecipeError
            If a key is unknown or a value is out of range.
        """
        wanted = {key: value for key, value in changes.items() if value is not None}
        whole = self.to_dict()
        stage = whole["stage"][-1]
        homes = [
            ({"seed"}, whole),
            ({"test", "selection"}, whole["split"]),
            (_names(Stage) - _TABLES.keys(), stage),
            (_names(Augmentation), stage["augmentation"]),
        ]
        _refuse_unknown(self.source, "", wanted, set().union(*(keys for keys, _ in homes)))
        for key, value in wanted.items():
            next(table for keys, table in homes if key in keys)[key] = value
        if stage["source"] != "previous":
            whole["stage"] = [stage]  # nothing that the stages before have learnt would be used
        for later, earlier in zip(whole["stage"][:0:-1], whole["stage"][-2::-1], strict=True):
            if later["source"] != "previous":
                break
            earlier.update({key: later[key] for key in _INHERITED if key in wanted})
        return _recipe(whole | {"search": dict(self.search)}, self.source, None)

    def to_dict(self) -> dict[str, Any]:
        """The recipe in the file's own structure, every key filled in; plain JSON values."""
        stages = []
        for stage in self.stages:
            table = dataclasses.asdict(stage)
            table["size"] = list(stage.size)
            table["frozen"] = list(stage.frozen)
            for own, names in (
                ("segmentation", stage.segmentation.names),
                ("detection", stage.detection.names),
            ):
                table[own]["names"] = list(names)
            stages.append(table)
        split = {"test": self.test, "selection": self.selection}
        return {"seed": self.seed, "split": split, "stage": stages}

    def record(self) -> dict[str, Any]:
        """`to_dict` without folders, which tell of the computer and often of its user."""
        whole = self.to_dict()
        for stage in whole["stage"]:
            for table, key in ((stage, "source"), (stage, "data"), (stage["unlabelled"], "images")):
                table[key] = Path(table[key]).name
        return whole


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
    # a bare name is a shipped recipe's, whatever lies in the folder where Mikata was started
    known = recipes()
    shipped = known.get(str(path))
    path = shipped or path
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = tomllib.loads(text)
    except FileNotFoundError as error:
        raise RecipeError(
            say(
                "The recipe {path} does not exist. Give a TOML file, or one of {names}.",
                path=path,
                names=", ".join(known),
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
    _refuse_unknown(source, "", found, {"seed", "split", "stage", "search"})
    split = _table(source, "split", found.get("split", {}))
    _refuse_unknown(source, "split: ", split, {"test", "selection"})
    tables = found.get("stage", [{}])
    if not isinstance(tables, list) or not tables:
        raise RecipeError(
            say("{recipe}: a stage must be written as [[stage]], in double brackets.", recipe=source)
        )
    top = {"seed": found["seed"]} if "seed" in found else {}
    top |= split
    _check_values(source, "", top)
    search = dict(_table(source, "search", found.get("search", {})))
    if home is not None and isinstance(search.get("source"), list):
        search["source"] = [_absolute(home, one) for one in search["source"]]
    tried = search.get("source", [])
    stages: list[Stage] = []
    for table in tables:
        stages.append(_stage(source, _table(source, "stage", table), home, stages, tried))
    _refuse_what_cannot_follow(source, stages)
    recipe = Recipe(tuple(stages), source=source, search=search, **top)
    if recipe.test + recipe.selection >= 1:
        raise RecipeError(
            say(
                "{recipe}: split: test and selection together must leave something to train on.",
                recipe=source,
            )
        )
    return recipe


def _stage(
    source: str, found: Mapping[str, Any], home: Path | None, before: list[Stage], tried: Collection[Any]
) -> Stage:
    """A stage; `tried` are sources that a search may give it."""
    if "weights" in found:
        raise RecipeError(say("{recipe}: stage: the key 'weights' is now 'source'.", recipe=source))
    _refuse_unknown(source, "stage: ", found, _names(Stage))
    tables = {}
    for name, kind in _TABLES.items():
        inner = dict(_table(source, f"stage.{name}", found.get(name, {})))
        _refuse_unknown(source, f"stage.{name}: ", inner, _names(kind))
        _check_values(source, f"stage.{name}: ", inner)
        used = name in _NO_SOURCES or found.get("source") == name or name in tried
        if not used and kind(**inner) != kind():
            raise RecipeError(
                say(
                    '{recipe}: [stage.{name}] says how to train for source = "{name}", but this stage has '
                    "another source.",
                    recipe=source,
                    name=name,
                )
            )
        if home is not None and inner.get("images"):
            inner["images"] = str((home / inner["images"]).absolute())
        if "names" in inner:
            inner["names"] = tuple(inner["names"])
        tables[name] = kind(**inner)
    values = {key: value for key, value in found.items() if key not in _TABLES}
    _check_values(source, "stage: ", values)
    if before:
        values.setdefault("source", "previous")
        if values["source"] == "previous":
            values = {key: getattr(before[-1], key) for key in _INHERITED} | values
    for key in ("size", "frozen"):
        if key in values:
            values[key] = tuple(values[key])
    if home is not None:
        if "source" in values:
            values["source"] = _absolute(home, values["source"])
        if values.get("data"):
            values["data"] = str((home / values["data"]).absolute())
    stage = Stage(**values, **tables)
    if stage.optimiser == "sgd" and stage.adam_formula == "keras":
        raise RecipeError(
            say(
                '{recipe}: stage: adam_formula = "keras" needs the optimiser adam or adamw, not sgd.',
                recipe=source,
            )
        )
    if stage.segmentation != Segmentation() and stage.detection != Detection():
        raise RecipeError(
            say(
                "{recipe}: a network learns either segmentation or detection: keep [stage.segmentation] or [stage.detection].",
                recipe=source,
            )
        )
    return stage


def _absolute(home: Path, source: Any) -> Any:
    """A source of weights that is a path, from the recipe's folder."""
    return source if source in _SOURCES or not isinstance(source, str) else str((home / source).absolute())


def _refuse_what_cannot_follow(source: str, stages: list[Stage]) -> None:
    if stages[0].source == "previous":
        raise RecipeError(
            say('{recipe}: stage 1: source = "previous" needs a stage before it.', recipe=source)
        )
    for number, stage in enumerate(stages, 1):
        if number < len(stages) and not stage.data:
            raise RecipeError(
                say(
                    "{recipe}: stage {number} needs its own data: name the folder or table, as in "
                    'data = "textures". Only the last stage learns from the data that the command is given.',
                    recipe=source,
                    number=number,
                )
            )
        if number > 1 and stage.source != "previous":
            raise RecipeError(
                say(
                    '{recipe}: stage {number} has source = "{source}", so that all that stage {before} learns '
                    'would be lost. Say source = "previous", or take out the stages before it.',
                    recipe=source,
                    number=number,
                    source=Path(stage.source).name,
                    before=number - 1,
                )
            )
        if number > 1 and stage.network != stages[number - 2].network:
            raise RecipeError(
                say(
                    "{recipe}: stage {number} is a {network}, which cannot go on with the weights of the "
                    "{other} of stage {before}. Give all stages one network.",
                    recipe=source,
                    number=number,
                    network=stage.network,
                    other=stages[number - 2].network,
                    before=number - 1,
                )
            )


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
        wanted = CHECKS[key](value)
        if wanted:
            raise RecipeError(
                say(
                    "{recipe}: {key} must be {wanted}, not {value}.",
                    recipe=source,
                    key=where + key,
                    wanted=wanted,
                    value=shown(value),
                )
            )
