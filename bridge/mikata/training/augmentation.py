"""Random changes of a batch of training images, all at once on its device."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.datasets import Dataset
from mikata.errors import RecipeError
from mikata.language import say
from mikata.training.order import DRAWS
from mikata.training.recipe import Recipe
from mikata.training.stage import Augmentation

_PADDING = {"reflect": "reflection", "nearest": "border", "lowest": "zeros"}
_SIDES = {"lt", "rt", "lft", "rgt", "sinister", "dexter", "hidari", "migi"}
_JAPANESE_SIDES = ("左", "右", "ひだり", "みぎ", "ヒダリ", "ミギ")
_SIDE_AT_START = re.compile(r"(left|right)(?!over|eous|ful)")  # leftlung, rightside, but no leftover
_SHORT = ({"l", "r"}, {"os", "od"}, {"sin", "dex"})  # speak of sides only where both are there


def augment(images: Tensor, draws: Tensor, options: Augmentation, value_range: tuple[float, float]) -> Tensor:
    """Rotate, shift, flip and brighten images.

    Parameters
    ----------
    images:
        (N, C, H, W), values within `value_range`.
    draws:
        (N, len(DRAWS)), from 0 to 1: the only source of chance.
    options:
        How far each change may go.
    value_range:
        Lowest and highest possible value: brightness is a factor on what is above the lowest, and the
        result stays inside.
    """
    column = {name: draws[:, i] for i, name in enumerate(DRAWS)}
    low, high = value_range
    if options.rotation_rad or options.shift or options.flip_horizontal or options.flip_vertical:
        grid = F.affine_grid(
            _matrices(column, options, images.shape), list(images.shape), align_corners=False
        )
        # grid_sample knows no other fill than 0
        offset = low if options.fill == "lowest" else 0.0
        images = (
            F.grid_sample(
                images - offset,
                grid.to(images.dtype),
                padding_mode=_PADDING[options.fill],
                align_corners=False,
            )
            + offset
        )
    if options.brightness:
        factor = 1 + options.brightness * (2 * column["brightness"] - 1)
        images = ((images - low) * factor[:, None, None, None] + low).clamp(low, high)
    return images


def _matrices(column: dict[str, Tensor], options: Augmentation, shape: Sequence[int]) -> Tensor:
    """From places in the result to places in the image (N, 2, 3), both from -1 to 1 over the image."""
    height, width = shape[-2:]
    angle = options.rotation_rad * (2 * column["rotation"] - 1)
    cosine, sine = angle.cos(), angle.sin()
    across = _signs(column["flip_horizontal"], options.flip_horizontal)
    down = _signs(column["flip_vertical"], options.flip_vertical)
    # 2 of these coordinates are the whole width or height
    right = 2 * options.shift * (2 * column["shift_x"] - 1)
    below = 2 * options.shift * (2 * column["shift_y"] - 1)
    # a rotation is one of pixels: in these coordinates, an oblong image needs its aspect ratio
    rows = [
        torch.stack([cosine * across, -sine * down * (height / width), right], 1),
        torch.stack([sine * across * (width / height), cosine * down, below], 1),
    ]
    return torch.stack(rows, 1)


def _signs(draw: Tensor, wanted: bool) -> Tensor:
    return torch.where(draw < 0.5, -1.0, 1.0) if wanted else torch.ones_like(draw)


def refuse_flips_of_sides(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to mirror images whose classes are about sides.

    Raises
    ------
    RecipeError
        If the recipe flips images and a class is named after a side (English, Japanese, or both of a
        pair such as L and R), or the labels are what the table's laterality column says.
    """
    options = recipe.stage.augmentation
    if not (options.flip_horizontal or options.flip_vertical):
        return
    reason = _about_sides(dataset)
    if reason:
        raise RecipeError(
            say(
                "{recipe}: flips are on, but {reason}: a mirrored image would have the wrong label. "
                "Set flip_horizontal and flip_vertical to false.",
                recipe=recipe.source,
                reason=reason,
            )
        )


def _about_sides(dataset: Dataset) -> str:
    plain = {name: unicodedata.normalize("NFKC", name) for name in dataset.classes}
    words = {name: _tokens(text) for name, text in plain.items()}
    for name, tokens in words.items():
        in_japanese = any(side in plain[name] for side in _JAPANESE_SIDES)
        if in_japanese or tokens & _SIDES or any(map(_SIDE_AT_START.match, tokens)):
            return say("the class '{name}' speaks of a side", name=name)
    for one in dataset.classes:
        other = f"R{one[1:]}"
        if one.startswith("L") and other in dataset.classes:  # LMLO and RMLO, LUL and RUL
            return say("the classes '{one}' and '{other}' speak of sides", one=one, other=other)
    for pair in _SHORT:
        found = [name for name, tokens in words.items() if tokens & pair]
        if pair <= set().union(*words.values()):
            return say("the classes {names} speak of sides", names=say(" and ").join(map(repr, found)))
    if all(entry.laterality for entry in dataset.entries):
        by_side: dict[str, set[str]] = {}
        for entry in dataset.entries:
            by_side.setdefault(entry.laterality.casefold(), set()).add(entry.label)
        if len(by_side) > 1 and all(len(labels) == 1 for labels in by_side.values()):
            return say("the classes follow the column 'laterality'")
    return ""


def _tokens(name: str) -> set[str]:
    """Words of a name in small letters; ``LeftLung`` has two."""
    return {word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
