"""How areas overlap: a heat map cut at levels, a human's regions and a reference's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata.errors import ImageError, RegionError
from mikata.language import say

SETS = ("heat", "human", "reference")
"""What is compared, by key, in this order."""


@dataclass(frozen=True)
class Pair:
    """Two areas.

    Attributes
    ----------
    first, second:
        Keys out of `SETS`.
    intersection:
        Pixels in both.
    iou, dice:
        Intersection over union (Jaccard), and twice the intersection over the sum of both areas (Dice 1945); from 0
        to 1, NaN where both are empty.
    chance_dice:
        Dice that areas of these sizes have on average if one lies anywhere in the image, pixel by pixel: what a
        figure has to be held against. NaN where both are empty.
    """

    first: str
    second: str
    intersection: int
    iou: float
    dice: float
    chance_dice: float


@dataclass(frozen=True)
class Overlap:
    """Areas and how they overlap, in pixels.

    Attributes
    ----------
    level_percent:
        Where the heat is cut, in per cent of its own maximum.
    areas:
        Of each set.
    pairs:
        Every two of them.
    parts:
        Pixels that are in exactly these sets: the parts of a Venn diagram, three of two sets and seven of three.
    pixels:
        Of the whole image.
    """

    level_percent: float
    areas: dict[str, int]
    pairs: tuple[Pair, ...]
    parts: dict[tuple[str, ...], int]
    pixels: int


def heat_mask(heat: ArrayLike, level_percent: float) -> NDArray[np.bool_]:
    """Where heat is at least `level_percent` (above 0, to 100) of its maximum; nowhere if no heat is above 0.

    Raises
    ------
    ImageError
        If it is not (H, W), or holds NaN or infinity.
    """
    values = np.asarray(heat)
    if values.ndim != 2 or values.size == 0:
        raise ImageError(
            say("A heat map has a height and a width, not the shape {shape}.", shape=values.shape)
        )
    if not np.isfinite(values).all():
        raise ImageError(say("The heat map holds values that are not numbers (NaN) or infinite."))
    if not 0 < level_percent <= 100:
        raise ValueError(f"a level of {level_percent} %")
    top = float(values.max())
    if top <= 0:
        return np.zeros(values.shape, bool)
    return np.asarray(values >= top * level_percent / 100)


def overlap(masks: Mapping[str, ArrayLike], level_percent: float = math.nan) -> Overlap:
    """How areas overlap.

    Parameters
    ----------
    masks:
        Two or three of `SETS`, booleans (H, W) of one size.

    Raises
    ------
    RegionError
        If they differ in size.
    """
    names = [name for name in SETS if name in masks]
    if len(names) < 2 or len(names) != len(masks):
        raise ValueError(f"two or three of {SETS} are wanted, not {tuple(masks)}")
    inside = {name: np.asarray(masks[name], bool) for name in names}
    shapes = {mask.shape for mask in inside.values()}
    if len(shapes) != 1:
        raise RegionError(
            say(
                "The areas to compare are of different images: {shapes}.",
                shapes=", ".join(f"{name} {mask.shape}" for name, mask in inside.items()),
            )
        )
    code = sum(inside[name].astype(np.uint8) << place for place, name in enumerate(names))
    counts = np.bincount(np.asarray(code).ravel(), minlength=1 << len(names))
    parts = {
        members: int(counts[sum(1 << names.index(name) for name in members)])
        for size in range(1, len(names) + 1)
        for members in combinations(names, size)
    }
    pixels = int(counts.sum())
    areas = {name: sum(n for members, n in parts.items() if name in members) for name in names}
    pairs = []
    for first, second in combinations(names, 2):
        both = sum(n for members, n in parts.items() if first in members and second in members)
        total = areas[first] + areas[second]
        union = total - both
        pairs.append(
            Pair(
                first,
                second,
                both,
                both / union if union else math.nan,
                2 * both / total if total else math.nan,
                2 * areas[first] * areas[second] / pixels / total if total else math.nan,
            )
        )
    return Overlap(level_percent, areas, tuple(pairs), parts, pixels)


def sweep(
    heat: ArrayLike,
    human: ArrayLike,
    reference: ArrayLike | None = None,
    levels_percent: Sequence[float] = tuple(range(10, 100, 10)),
) -> tuple[Overlap, ...]:
    """Overlap at each level of the heat, as `overlap`."""
    others = {"human": human} | ({} if reference is None else {"reference": reference})
    return tuple(overlap({"heat": heat_mask(heat, level), **others}, level) for level in levels_percent)
