"""A first recipe for a data set, by rules that are printed with it; the same data give the same recipe."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mikata import datasets
from mikata.comparison.kinds import refuse_values
from mikata.datasets import Dataset
from mikata.errors import OutputError, RecipeError
from mikata.language import say
from mikata.outputs import probe, write_text
from mikata.training import Recipe
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.recipe import read
from mikata.training.writing import as_toml
from mikata.types import Progress, Table

_SEEN = 20_000  # images that a training should see in all
_MOST_PX = 224  # side that most published networks are made for
_FEW = 2_000  # training images below which a small network stands a chance against a large one
_UNEQUAL, _RARE = 1.5, 10.0  # the largest class over the smallest
_MEMORY_GIB = 4.0  # for the images; twice that is what a small computer has


@dataclass(frozen=True)
class Rule:
    """A setting, and why it is so."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Derived:
    """A recipe and its reasons."""

    recipe: Recipe
    rules: tuple[Rule, ...]
    file: Path

    @property
    def table(self) -> Table:
        """A row for each setting."""
        rows = tuple((rule.key, _cell(rule.value), rule.reason) for rule in self.rules)
        return Table("Recipe", ("setting", "value", "reason"), rows, append=False)

    @property
    def message(self) -> str:
        """What came out."""
        stage = self.recipe.stage
        return say(
            "{file}: {network} at {width} x {height} px, {epochs} epochs in batches of {batch}; the reasons are in the "
            "file and in the table. It is a start, not the best: compare and search from here. Research use, not for "
            "diagnosis.",
            file=self.file.name,
            network=stage.network,
            width=stage.size[1],
            height=stage.size[0],
            epochs=stage.epochs,
            batch=stage.batch,
        )


def derive(data: Path, out: Path, *, overwrite: bool, progress: Progress) -> Derived:
    """Write a recipe for a data set.

    Parameters
    ----------
    data:
        Folder of class folders, or a CSV.
    out:
        The TOML file.

    Raises
    ------
    DataError
        If the data cannot be read or split.
    OutputError
        If the file is there already, or cannot be written.
    """
    if out.exists() and not overwrite:
        raise OutputError(
            say("{path} is already there. Choose another name, or let it be overwritten.", path=out)
        )
    probe(out.parent)
    dataset = datasets.read(data, progress=progress)
    refuse_values(dataset)
    rules = rules_for(dataset)
    changes = {rule.key: rule.value for rule in rules}
    recipe = read(changes=changes)
    recipe = dataclasses.replace(
        recipe, source=out.stem, stages=(dataclasses.replace(recipe.stage, data=_from(out.parent, data)),)
    )
    write_text(out, as_toml(recipe, {rule.key: rule.reason for rule in rules}))
    return Derived(recipe, rules, out)


def rules_for(dataset: Dataset) -> tuple[Rule, ...]:
    """The settings that the data decide, each with its reason.

    Raises
    ------
    DataError
        If the data cannot be split.
    """
    default = Recipe()
    parts = datasets.split(dataset, test=default.test, selection=default.selection, seed=default.seed)
    learning = parts["training"]
    heights = [entry.picture.height for entry in dataset.entries]
    widths = [entry.picture.width for entry in dataset.entries]
    channels = max(entry.picture.channels for entry in dataset.entries)
    size = _size(heights, widths)
    n = len(learning)
    batch = _batch(n)
    epochs = min(200, max(20, math.ceil(_SEEN / n / 10) * 10))
    counts = Counter(entry.label for entry in learning)
    ratio = max(counts.values()) / min(counts.values())
    return (
        Rule(
            "network",
            "small_cnn" if n < _FEW else "resnet18",
            say("{n} training images; small_cnn below {few}, else resnet18", n=n, few=_FEW),
        ),
        Rule(
            "source",
            "formula",
            say("pictures drawn by formula first: nothing to download; ask mikata compare whether it helps"),
        ),
        Rule(
            "size",
            list(size),
            say(
                "median image {width} x {height} px, rounded to multiples of 32, the longer side at most {most}",
                width=round(float(np.median(widths))),
                height=round(float(np.median(heights))),
                most=_MOST_PX,
            ),
        ),
        Rule("batch", batch, say("about a tenth of the training images, from 8 to 64")),
        Rule(
            "epochs",
            epochs,
            say("so that about {seen} images are seen in all, from 20 to 200 epochs", seen=_SEEN),
        ),
        Rule("early_stopping", max(10, epochs // 4), say("a quarter of the epochs, at least 10")),
        _balance(ratio),
        *_turns(dataset, channels),
        Rule(
            "cache_gib",
            _cache(n + len(parts["selection"]), channels, size),
            say("all images kept in memory if they fit into it"),
        ),
    )


def _size(heights: Sequence[int], widths: Sequence[int]) -> tuple[int, int]:
    """Height and width in px: of the median image, its longer side at most `_MOST_PX`, in multiples of 32."""
    height, width = float(np.median(heights)), float(np.median(widths))
    shrink = min(1.0, _MOST_PX / max(height, width))
    return _rounded(height * shrink), _rounded(width * shrink)


def _rounded(pixels: float) -> int:
    return max(32, 32 * round(pixels / 32))


def _batch(n: int) -> int:
    """A power of two from 8 to 64, so that an epoch has about ten steps or more."""
    return int(2 ** min(6, max(3, math.floor(math.log2(max(n / 10, 1))))))


def _balance(ratio: float) -> Rule:
    wanted: Literal["none", "class_weights", "logit_adjustment"]
    if ratio < _UNEQUAL:
        wanted = "none"
    elif ratio < _RARE:
        wanted = "class_weights"
    else:
        wanted = "logit_adjustment"
    reason = say(
        "the largest class has {ratio:.1f} times as many images as the smallest; class_weights from {unequal:g}, "
        "logit_adjustment from {rare:g}",
        ratio=ratio,
        unequal=_UNEQUAL,
        rare=_RARE,
    )
    return Rule("balance", wanted, reason)


def _turns(dataset: Dataset, channels: int) -> tuple[Rule, ...]:
    """Flips and quarter turns for colour images, unless classes speak of sides."""
    trial = read(changes={"flip_horizontal": True})
    try:
        refuse_flips_of_sides(trial, dataset)
    except RecipeError:
        sides, wanted = True, False
    else:
        sides, wanted = False, channels == 3
    if sides:
        reason = say("the classes speak of sides")
    elif wanted:
        reason = say("colour images are taken for sections and smears, which have no upper side; check it")
    else:
        reason = say("grey images are taken for films, which have an upper side; check it")
    return tuple(Rule(key, wanted, reason) for key in ("flip_horizontal", "flip_vertical", "quarter_turns"))


def _cache(n: int, channels: int, size: tuple[int, int]) -> float:
    needed = n * channels * size[0] * size[1] * 4 / 2**30
    return max(_MEMORY_GIB, math.ceil(needed)) if needed < 2 * _MEMORY_GIB else _MEMORY_GIB


def _from(folder: Path, data: Path) -> str:
    """The data from the recipe's folder where they are inside, so that both can be moved together."""
    data, folder = data.absolute(), folder.absolute()
    return data.relative_to(folder).as_posix() if data.is_relative_to(folder) else str(data)


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
