"""Settings to choose from: the table ``[search]`` of a recipe, checked to the last key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mikata.errors import RecipeError
from mikata.language import say
from mikata.training import Recipe
from mikata.training.stage import CHECKS, shown

if TYPE_CHECKING:
    import optuna

Choice = tuple[str, ...] | tuple[int, ...] | tuple[float, ...] | tuple[bool, ...]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `log`: small ones as likely as large ones, by their order of magnitude."""

    low: float
    high: float
    log: bool
    whole: bool


Space = Mapping[str, "Range | tuple[Any, ...]"]
"""For each key of the last stage (or of its augmentation) what it may be."""


def space_of(recipe: Recipe) -> Space:
    """Read and check a recipe's ``[search]``.

    Raises
    ------
    RecipeError
        If it is missing or empty, a key is none that can be searched, or a value is not allowed.
    """
    if not recipe.search:
        raise RecipeError(
            say(
                "{recipe}: there is nothing to search. Add a table [search] with the settings to choose from, such "
                "as learning_rate = {{ low = 1e-4, high = 1e-2, log = true }} or batch = [8, 16, 32].",
                recipe=recipe.source,
            )
        )
    found = {key: _one(recipe.source, key, value) for key, value in recipe.search.items()}
    for key, value in found.items():
        for end in (value.low, value.high) if isinstance(value, Range) else value:
            # the recipe's own check says what is wrong with a value, and whether the key can be set at all
            recipe.change(**{key: int(end) if isinstance(value, Range) and value.whole else end})
    return found


def _one(source: str, key: str, value: Any) -> Range | tuple[Any, ...]:
    if key not in CHECKS or key in ("seed", "test", "selection", "data", "name"):
        raise RecipeError(
            say("{recipe}: search: the key '{key}' cannot be searched.", recipe=source, key=key)
        )
    if isinstance(value, list) and len(value) > 1 and len({shown(one) for one in value}) == len(value):
        return tuple(tuple(one) if isinstance(one, list) else one for one in value)
    numbers = isinstance(value, Mapping) and all(
        isinstance(value.get(end), int | float) and not isinstance(value.get(end), bool)
        for end in ("low", "high")
    )
    if (
        not numbers
        or not set(value) <= {"low", "high", "log"}
        or not isinstance(value.get("log", False), bool)
        or not -math.inf < value["low"] < value["high"] < math.inf
        or (value.get("log") and value["low"] <= 0)
    ):
        raise RecipeError(
            say(
                "{recipe}: search: {key} must be a list of two or more different values, or "
                "{{ low = ..., high = ... }}, with log = true if small numbers (above 0) are as likely as large "
                "ones.",
                recipe=source,
                key=key,
            )
        )
    whole = isinstance(value["low"], int) and isinstance(value["high"], int)
    return Range(value["low"], value["high"], value.get("log", False), whole)


def suggest(space: Space, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Values for one trial, as `Recipe.change` takes them."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        if not isinstance(value, Range):
            # by number, since a size is a list, which no storage holds
            found[key] = value[trial.suggest_categorical(key, tuple(range(len(value))))]
            if isinstance(found[key], tuple):
                found[key] = list(found[key])
        elif value.whole:
            found[key] = trial.suggest_int(key, int(value.low), int(value.high), log=value.log)
        else:
            found[key] = trial.suggest_float(key, value.low, value.high, log=value.log)
    return found
