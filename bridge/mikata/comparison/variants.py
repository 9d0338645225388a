"""What is compared: several recipes, or one recipe with its sources of weights taken away one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mikata.errors import RecipeError
from mikata.language import say
from mikata.training import Recipe, Stage

NONE, STAGED = "none", "in stages"


@dataclass(frozen=True)
class Contestant:
    """A recipe under the name that tables give it."""

    name: str
    recipe: Recipe


def contestants(recipes: Sequence[Recipe]) -> tuple[Contestant, ...]:
    """The recipes to compare, the first being the one that the others are compared with.

    A single recipe is compared with what is left of it: its last stage from random weights (``none``), that stage
    after each of its sources alone, and the whole recipe (``in stages``).

    Raises
    ------
    RecipeError
        If a single recipe has nothing to take away, or two recipes have one name.
    """
    if len(recipes) == 1:
        return _taken_apart(recipes[0])
    names = [Path(recipe.source).stem for recipe in recipes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(say("Two recipes are named '{name}'. Give the files different names.", name=twice))
    return tuple(Contestant(name, recipe) for name, recipe in zip(names, recipes, strict=True))


def _taken_apart(recipe: Recipe) -> tuple[Contestant, ...]:
    *earlier, last = recipe.stages
    first = recipe.stages[0]
    found = [Contestant(NONE, dataclasses.replace(recipe, stages=(_from_nothing(last),)))]
    if first.source != "none":
        alone = dataclasses.replace(
            last, source=first.source, formula=first.formula, unlabelled=first.unlabelled
        )
        name = Path(first.source).stem
        found.append(Contestant(name, dataclasses.replace(recipe, stages=(alone,))))
    for number, stage in enumerate(earlier, 1):
        name = stage.name or f"stage {number}"
        found.append(Contestant(name, dataclasses.replace(recipe, stages=(_from_nothing(stage), last))))
    if len(found) == 1:
        raise RecipeError(
            say(
                "{recipe}: there is nothing to compare: it has one stage, from random weights. Give several "
                "recipes, or one with a source of weights.",
                recipe=recipe.source,
            )
        )
    if len(found) > 2:  # with one source alone, that is the whole recipe
        found.append(Contestant(STAGED, recipe))
    return tuple(found)


def _from_nothing(stage: Stage) -> Stage:
    """The stage from random weights; nothing is kept still, since there is nothing yet that is worth keeping."""
    return dataclasses.replace(
        stage,
        source="none",
        head="gradient",
        frozen=(),
        head_epochs=0,
        unfreeze_every=0,
        frozen_norm=False,
        rate_by_depth=1.0,
        normalisation="auto" if stage.normalisation == "weights" else stage.normalisation,
    )
