"""Marks against true objects: which of them hit, and what that makes at every threshold, for many resamples at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Box
from mikata.networks.peaks import Point

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives an image at which sensitivity is told (Setio et al. 2017, LUNA16, doi 10.1016/j.media.2017.06.015)."""

HIT, AGAIN, FALSE = 1, 0, -1
"""What a mark is: the first in its object, another one in an object that is hit already, or in none."""

OVERLAP = 0.5
"""Intersection over union from which a box is that of an object (Everingham et al. 2010, PASCAL VOC)."""


@dataclass(frozen=True, eq=False)
class Marked:
    """The marks of one class in one image, the highest score first, and how many objects there are.

    Attributes
    ----------
    scores:
        (E,), descending.
    hits:
        (E,): `HIT`, `AGAIN` or `FALSE`, by centres.
    overlaps:
        (E,): 1 where the box overlaps that of an object enough (`OVERLAP`), which no higher one does, else 0.
    objects, sized:
        Number of objects, and of those whose size is known.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.int8]
    overlaps: NDArray[np.int8]
    objects: int
    sized: int


def mark(boxes: Sequence[Box], points: Sequence[Point], near_px: float) -> Marked:
    """Compare the marks of one class in an image with its objects.

    From the highest score down, a mark hits the nearest object in which its centre lies (of an object without size: from
    whose centre it is at most `near_px` away) and that no mark has hit before. A mark that lies in objects which all are
    hit already is neither a hit nor a false positive; one that lies in none is a false positive. This is the rule of
    LUNA16 and of most computer-aided detection (Petrick et al. 2013, doi 10.1118/1.4816310, leaves the choice open).

    For the boxes, a mark takes the object with the largest intersection over union that no mark has taken before; at
    least `OVERLAP` counts, and all else, a second box on an object too, is false.
    """
    ordered = sorted(points, key=lambda one: -one.score)
    hits = np.full(len(ordered), FALSE, np.int8)
    overlaps = np.zeros(len(ordered), np.int8)
    hit: set[int] = set()
    taken: set[int] = set()
    for number, one in enumerate(ordered):
        around = [k for k, box in enumerate(boxes) if box.holds(one.x, one.y, near_px)]
        free = [k for k in around if k not in hit]
        if free:
            hit.add(min(free, key=lambda k: (boxes[k].x - one.x) ** 2 + (boxes[k].y - one.y) ** 2))
            hits[number] = HIT
        elif around:
            hits[number] = AGAIN
        shares = [(_overlap(box, one), k) for k, box in enumerate(boxes) if k not in taken and box.sized]
        share, best = max(shares, default=(0.0, -1), key=lambda pair: pair[0])
        if share >= OVERLAP:
            taken.add(best)
            overlaps[number] = 1
    scores = np.array([one.score for one in ordered], np.float64)
    return Marked(scores, hits, overlaps, len(boxes), sum(box.sized for box in boxes))


def _overlap(box: Box, point: Point) -> float:
    """Intersection over union of two boxes."""
    sides = []
    for at, other, side, other_side in (
        (box.x, point.x, box.width, point.width),
        (box.y, point.y, box.height, point.height),
    ):
        sides.append(min(at + side / 2, other + other_side / 2) - max(at - side / 2, other - other_side / 2))
    both = max(0.0, sides[0]) * max(0.0, sides[1])
    either = box.width * box.height + point.width * point.height - both
    return both / either if either > 0 else 0.0


class Curves:
    """The marks of many images, ready to be judged on resamples of their patients.

    Parameters
    ----------
    marked:
        Of each image; of several classes together: several of one image.
    units:
        Number (n,) of the resampled unit (patient) of each of `marked`.
    images:
        Number of images of each unit (U,).
    """

    def __init__(
        self, marked: Sequence[Marked], units: NDArray[np.int64], images: NDArray[np.float64]
    ) -> None:
        count = len(images)
        self.images = images
        self.objects = np.bincount(units, [one.objects for one in marked], count)
        self.sized = np.bincount(units, [one.sized for one in marked], count)
        scores = np.concatenate([one.scores for one in marked])
        order = np.argsort(-scores, kind="stable")
        self.scores = scores[order]
        self.unit = np.repeat(units, [len(one.scores) for one in marked])[order]
        self.hits = np.concatenate([one.hits for one in marked])[order]
        self.overlaps = np.concatenate([one.overlaps for one in marked])[order]
        # equal scores stand or fall together
        self._last = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True)[: len(scores)])

    def sensitivities(
        self, drawn: NDArray[np.float64], rates: Sequence[float] = RATES
    ) -> NDArray[np.float64]:
        """Share of the objects that are hit (R, len(rates)) at each mean number of false positives an image.

        That of the lowest threshold which has no more than so many, without interpolation; the threshold is each
        resample's own. NaN where there are no objects.

        Parameters
        ----------
        drawn:
            How often each unit counts (U, R).
        """
        weights = drawn[self.unit]
        false = np.cumsum(weights * (self.hits == FALSE)[:, None], 0)[self._last]
        found = np.cumsum(weights * (self.hits == HIT)[:, None], 0)[self._last]
        start = np.zeros((1, drawn.shape[1]))
        false, found = np.concatenate([start, false]), np.concatenate([start, found])
        images, objects = self.images @ drawn, self.objects @ drawn
        made = np.empty((drawn.shape[1], len(rates)))
        columns = np.arange(drawn.shape[1])
        for number, rate in enumerate(rates):
            # the last of ascending numbers; rounding must not leave out one that is just allowed
            allowed = (false <= rate * images * (1 + 1e-12)).sum(0) - 1
            with np.errstate(invalid="ignore", divide="ignore"):
                made[:, number] = found[allowed, columns] / objects
        return made

    def average_precision(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Area under precision against recall of boxes (R,), precision made to fall only (PASCAL VOC since 2010)."""
        weights = drawn[self.unit]
        right = np.cumsum(weights * (self.overlaps == 1)[:, None], 0)[self._last]
        every = np.cumsum(weights, 0)[self._last]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(every > 0, right / every, 0.0)
            precision = np.maximum.accumulate(precision[::-1], 0)[::-1]
            steps = np.diff(right, axis=0, prepend=0.0)
            found: NDArray[np.float64] = (precision * steps).sum(0) / (self.sized @ drawn)
        return found

    def at(self, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Numbers of hits and of false positives of each unit (U,), of marks with at least this score."""
        count = len(self.images)
        kept = self.scores >= threshold
        return (
            np.bincount(self.unit, (self.hits == HIT) & kept, count).astype(np.float64),
            np.bincount(self.unit, (self.hits == FALSE) & kept, count).astype(np.float64),
        )
