"""How well regions and objects agree with the truth: Dice, IoU, distance of borders, and F1 of objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Intersections over union from which a found object counts as right: 0.5, 0.55, ..., 0.95."""


@dataclass(frozen=True)
class Overlap:
    """Pixels of a class in the truth, in a prediction, and in both."""

    true: int
    said: int
    both: int

    @property
    def dice(self) -> float:
        """2 both / (true + said): Dice 1945 (doi 10.2307/1932409); NaN where neither has a pixel."""
        total = self.true + self.said
        return 2 * self.both / total if total else math.nan

    @property
    def iou(self) -> float:
        """both / (true + said - both): Jaccard 1912; NaN where neither has a pixel."""
        total = self.true + self.said - self.both
        return self.both / total if total else math.nan


def overlap(true: NDArray[np.bool_], said: NDArray[np.bool_]) -> Overlap:
    """Pixels of a class (H, W) in the truth, the prediction and both."""
    return Overlap(int(true.sum()), int(said.sum()), int((true & said).sum()))


def hausdorff_95(true: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """The 95th percentile of the distances between the borders of two regions (H, W), in px.

    Of each border pixel (one with a neighbour outside, edges excluded, of the region's four) the distance to the
    nearest border pixel of the other region; the larger of the percentiles in the two directions (Huttenlocher et al.
    1993, doi 10.1109/34.232073, with a percentile in place of the largest).

    Returns
    -------
    float
        NaN where either region is empty.
    """
    if not (true.any() and said.any()):
        return math.nan
    borders = [one & ~ndimage.binary_erosion(one, border_value=1) for one in (true, said)]
    if not all(border.any() for border in borders):  # the whole image
        return 0.0 if (true == said).all() else math.nan
    away = [ndimage.distance_transform_edt(~border) for border in borders]
    return float(max(np.percentile(away[1][borders[0]], 95), np.percentile(away[0][borders[1]], 95)))


@dataclass(frozen=True)
class Matched:
    """Objects of an image, matched with those of the truth.

    Attributes
    ----------
    true, said:
        Numbers of objects in the truth and in the prediction.
    right:
        Pairs with an intersection over union of at least each of `THRESHOLDS`.
    """

    true: int
    said: int
    right: tuple[int, ...]

    def f1(self, threshold: int = 0) -> float:
        """2 TP / (2 TP + FP + FN) at the threshold of a number (0: 0.5); NaN where there is no object at all."""
        total = self.true + self.said
        return 2 * self.right[threshold] / total if total else math.nan


def match(true: NDArray[np.int32], said: NDArray[np.int32]) -> Matched:
    """Match the objects of two label images (H, W) one to one, at each of `THRESHOLDS`.

    The pairs are those of the largest number with at least this intersection over union (Caicedo et al. 2019, doi
    10.1038/s41592-019-0612-7), found as a largest matching of a bipartite graph (Hopcroft and Karp 1973, doi 10.1137/0202019). Above 0.5 there is only one way.

    Parameters
    ----------
    true, said:
        Whole numbers; 0 is background. Their numbers need not be without gaps.
    """
    (numbers, own), (others, found) = (np.unique(one, return_inverse=True) for one in (true, said))
    sizes, other_sizes = (np.bincount(one.ravel()) for one in (own, found))
    # of pairs that share a pixel alone: a table of all would be too large for thousands of objects
    inside = ((true > 0) & (said > 0)).ravel()
    codes, both = np.unique(
        own.ravel()[inside].astype(np.int64) * len(others) + found.ravel()[inside], return_counts=True
    )
    rows, columns = np.divmod(codes, len(others))
    iou = both / (sizes[rows] + other_sizes[columns] - both)
    right = []
    for threshold in THRESHOLDS:
        good = iou >= threshold - 1e-12
        pairs = sparse.csr_array(
            (np.ones(int(good.sum()), bool), (rows[good], columns[good])), shape=(len(numbers), len(others))
        )
        right.append(int((csgraph.maximum_bipartite_matching(pairs) >= 0).sum()))
    return Matched(int((numbers > 0).sum()), int((others > 0).sum()), tuple(right))


def pooled_f1(found: Sequence[Matched], threshold: int = 0) -> float:
    """F1 of the objects of all images together; NaN where there are none."""
    total = sum(one.true + one.said for one in found)
    return 2 * sum(one.right[threshold] for one in found) / total if total else math.nan
