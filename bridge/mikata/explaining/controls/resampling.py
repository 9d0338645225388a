"""Means over images with intervals by resampling patients, and the seeds of random networks where there are any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mikata.evaluation import Interval
from mikata.evaluation.intervals import LEVEL, drawings, expanded
from mikata.evaluation.paired import FEWEST, share_interval

Unit = Literal["patient", "image"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes
    ----------
    value:
        NaN where nothing is defined.
    interval:
        Ends are NaN with fewer than `FEWEST` units.
    n, n_units:
        Images and patients (or image files) it rests on.
    """

    value: float
    interval: Interval
    n: int
    n_units: int

    @classmethod
    def alone(cls, value: float, n: int, n_units: int) -> Estimate:
        """A figure that has no interval."""
        return cls(value, Interval(math.nan, math.nan, "none"), n, n_units)


class Resampling:
    """Patients drawn with replacement, the same draws for all figures of one report.

    Parameters
    ----------
    names:
        Patient, or image file, of each of the N images.
    unit:
        Which of the two.
    seed:
        Of the draws.
    """

    def __init__(self, names: Sequence[str], unit: Unit, seed: int) -> None:
        self.unit = unit
        self._own = np.unique(list(names), return_inverse=True)[1]
        self.n_units = int(self._own.max()) + 1
        self._seed = seed
        drawn = np.concatenate(list(drawings(self.n_units, seed=seed, size=len(self._own))), axis=1)
        self._weights: NDArray[np.float64] = drawn.T[:, self._own]

    def mean(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of the defined values (N,)."""
        value, draws, n, own = self._means(values)
        return Estimate(value, self._interval(draws, own, f"bootstrap over {self._plural}"), n, own)

    def share(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of the defined values (N,), each from 0 to 1; Wilson's interval where all agree."""
        value, draws, n, own = self._means(values)
        if own < FEWEST:
            return Estimate.alone(value, n, own)
        return Estimate(value, share_interval(value, draws, own, own, self.unit), n, own)

    def crossed(
        self, likeness: NDArray[np.float64], others: NDArray[np.float64]
    ) -> tuple[Estimate, Estimate, Estimate]:
        """Likeness of maps to those of S random networks, that of different images, and the first less the second.

        Images and networks are drawn independently of each other (Owen 2007, doi 10.1214/07-AOAS122): all images meet
        the same few networks.

        Parameters
        ----------
        likeness:
            (S, N), NaN where the original map has no ranks, or where the random network's has none: that network
            counts as the others do for this image, and as 0 where none has any.
        others:
            (N, N) of different images' maps; pairs of one unit do not count.
        """
        known = np.isfinite(np.diagonal(others))
        filled = _filled(likeness)[:, known]
        weights = self._weights[:, known]
        own = self._own[known]
        count, units = len(own), len(np.unique(own))
        seeds = len(filled)
        drawn = np.concatenate(list(drawings(seeds, seed=self._seed + 1)), axis=1).T
        pairs = np.where(own[:, None] != own[None], others[np.ix_(known, known)], 0.0)
        apart = (own[:, None] != own[None]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = ((drawn @ filled) * weights).sum(1) / (seeds * weights.sum(1))
            unlike = ((weights @ pairs) * weights).sum(1) / ((weights @ apart) * weights).sum(1)
        value = float(filled.mean()) if count else math.nan
        other = float(pairs.sum() / apart.sum()) if apart.any() else math.nan
        method = f"bootstrap over {self._plural} and random networks"
        least = min(units, seeds)
        return (
            Estimate(value, self._interval(alike, least, method), count, units),
            Estimate(other, self._interval(unlike, units, f"bootstrap over {self._plural}"), count, units),
            Estimate(value - other, self._interval(alike - unlike, least, method), count, units),
        )

    def above_others(
        self, likeness: NDArray[np.float64], others: NDArray[np.float64]
    ) -> tuple[Estimate, Estimate]:
        """Likeness (N,), and how far it lies above that of different images (N, N)."""
        value, draws, _, _ = self._means(likeness)
        apart = (self._own[:, None] != self._own[None]) & np.isfinite(others)
        pairs, there = np.where(apart, others, 0.0), apart.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            unlike = ((self._weights @ pairs) * self._weights).sum(1)
            unlike /= ((self._weights @ there) * self._weights).sum(1)
        other = float(pairs.sum() / there.sum()) if apart.any() else math.nan
        alike = self.mean(likeness)
        interval = self._interval(draws - unlike, alike.n_units, f"bootstrap over {self._plural}")
        return alike, Estimate(value - other, interval, alike.n, alike.n_units)

    def _means(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], int, int]:
        known = np.isfinite(values)
        if not known.any():
            return math.nan, np.full(len(self._weights), np.nan), 0, 0
        weights = self._weights[:, known]
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = (weights @ values[known]) / weights.sum(1)
        return (
            float(values[known].mean()), draws, int(known.sum()), len(np.unique(self._own[known])),
        )  # fmt: skip

    def _interval(self, draws: NDArray[np.float64], units: int, method: str) -> Interval:
        if units < FEWEST:
            return Interval(math.nan, math.nan, "none: too few", LEVEL)
        low, high = expanded(draws, units)
        return Interval(low, high, f"{method}, expanded percentiles", LEVEL)

    @property
    def _plural(self) -> str:
        return "patients" if self.unit == "patient" else "images"


def _filled(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undefined values stand for the mean of the other networks of that image; 0 where there is none."""
    known = np.isfinite(likeness)
    counts = known.sum(0)
    means = np.where(counts > 0, np.nansum(likeness, 0) / np.maximum(counts, 1), 0.0)
    return np.where(known, likeness, means[None])
