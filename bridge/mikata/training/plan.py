"""Which images each stage of a recipe learns from: settled for all stages before the first one begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mikata.datasets import Dataset, Entry, split
from mikata.errors import DataError
from mikata.language import say
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage

Parts = Mapping[str, tuple[Entry, ...]]

_FEWEST_TESTED = 3  # below, neither correlations nor limits of agreement are defined


@dataclass(frozen=True)
class Planned:
    """A stage and its images.

    Attributes
    ----------
    number:
        Counts from 1.
    stage:
        What the recipe says of it.
    dataset:
        Where its images are from.
    parts:
        ``training`` and ``selection``; ``test`` is empty but for the last stage.
    left_out:
        Number of images not used because they, or others of their patients, are in a later stage's test part.
    """

    number: int
    stage: Stage
    dataset: Dataset
    parts: Parts
    left_out: int = 0

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.stage.name or say("stage {number}", number=self.number)


def plan(
    dataset: Dataset, recipe: Recipe, parts: Parts | None, read: Callable[[Path], Dataset]
) -> list[Planned]:
    """Read the data of all stages and settle who learns from what.

    What tests or chooses in a later stage must not be learnt from in an earlier one, even under another label.
    So images of a later test part (the same pixels, or the same patient's alias) are left out of every stage
    before it, and those of a later selection part may only choose there as well.

    Parameters
    ----------
    dataset:
        Of the last stage.
    parts:
        Its split; None: by the recipe's shares and seed.
    read:
        Gives the data set of a path.

    Raises
    ------
    DataError
        If the data of a stage cannot be read, split or learnt from once a later stage's images are left out.
    RecipeError
        If flips are on for classes that speak of sides.
    """
    parts = parts or split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    if dataset.values and len(parts["test"]) < _FEWEST_TESTED:
        raise DataError(
            say(
                "{path}: only {count} image(s) are left to test; to judge values takes at least {least}. Add images, "
                "or say a larger share for the test.",
                path=dataset.path,
                count=len(parts["test"]),
                least=_FEWEST_TESTED,
            )
        )
    last = len(recipe.stages)
    found = [Planned(last, recipe.stage, dataset, parts)]
    for number in range(last - 1, 0, -1):
        stage = recipe.stages[number - 1]
        own = read(Path(stage.data))
        testing = _Known.of(entry for later in found for entry in later.parts["test"])
        choosing = _Known.of(entry for later in found for entry in later.parts["selection"])
        left = tuple(entry for entry in own.entries if entry not in testing)
        earlier = _parts_of_earlier(dataclasses.replace(own, entries=left), choosing, recipe)
        found.insert(0, Planned(number, stage, own, earlier, len(own.entries) - len(left)))
    for planned in found:
        refuse_flips_of_sides(recipe.at(planned.number - 1), planned.dataset)
    return found


@dataclass(frozen=True)
class _Known:
    """Images by their pixels and their patients."""

    digests: frozenset[str]
    patients: frozenset[str]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> _Known:
        found = list(entries)
        return cls(
            frozenset(entry.picture.digest for entry in found),
            frozenset(entry.patient for entry in found if entry.patient),
        )

    def __contains__(self, entry: Entry) -> bool:
        return entry.picture.digest in self.digests or entry.patient in self.patients


def _parts_of_earlier(dataset: Dataset, choosing: _Known, recipe: Recipe) -> Parts:
    """Training and selection of a stage that is not tested."""
    shared = tuple(entry for entry in dataset.entries if entry in choosing)
    rest = tuple(entry for entry in dataset.entries if entry not in choosing)
    if not rest:
        raise DataError(
            say(
                "{path}: no image is left to learn from, since all are in the test or selection part of a later stage. "
                "Add some.",
                path=dataset.path,
            )
        )
    for name in dataset.classes:
        if all(entry.label != name for entry in rest):
            raise DataError(
                say(
                    "{path}: no image of the class '{name}' is left to learn from, since all are in the test or "
                    "selection part of a later stage. Add some, or leave the class out.",
                    path=dataset.path,
                    name=name,
                )
            )
    if _has_all(shared, dataset.classes):
        return {"training": rest, "selection": shared, "test": ()}
    # the table's own test images, if it names some, stay out of everything
    parts = split(
        dataclasses.replace(dataset, entries=rest),
        test=recipe.selection / 2,
        selection=recipe.selection / 2,
        seed=recipe.seed,
    )
    named = {entry.split for entry in rest}
    own_test = () if "test" in named else parts["test"]
    return {"training": parts["training"], "selection": (*parts["selection"], *own_test, *shared), "test": ()}


def _has_all(entries: Sequence[Entry], classes: Sequence[str]) -> bool:
    return bool(classes) and {entry.label for entry in entries} == set(classes)
