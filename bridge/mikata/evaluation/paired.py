"""Tests of differences: over the folds of a cross-validation, over resampled patients, and over several at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from mikata.evaluation.intervals import LEVEL, Interval, expanded, two_sided, wilson

EXPANDED = {
    "patient": "bootstrap over patients, expanded percentiles",
    "image": "bootstrap over images, expanded percentiles",
}
NO_SPREAD = {
    "patient": "Wilson over patients, since all resamples agree",
    "image": "Wilson over images, since all resamples agree",
}
FEWEST = 5
"""Units below which resampling says next to nothing: of 2, 3 and 4 patients an interval that is meant to hold the truth in
95 of 100 cases held it in 48, 73 and 90 of simulated ones. Five draws lie all on one side of their median in one sample
of sixteen, so that no interval between the extremes of fewer can be a 95 % interval."""
TOO_FEW = {
    "patient": f"none: fewer than {FEWEST} patients",
    "image": f"none: fewer than {FEWEST} images",
}
RESAMPLED_T = "corrected resampled t (Nadeau and Bengio)"


@dataclass(frozen=True)
class ResampledT:
    """A corrected resampled t-test.

    Attributes
    ----------
    difference:
        Mean over the folds.
    statistic, freedom:
        Student's t and its degrees of freedom, the number of folds less 1.
    p:
        Two-sided, from 0 to 1.
    interval:
        Of the difference.
    """

    difference: float
    statistic: float
    freedom: int
    p: float
    interval: Interval


def corrected_t(differences: Sequence[float], ratio: float, level: float = LEVEL) -> ResampledT:
    """Whether the folds of a repeated cross-validation differ from 0 on average.

    The folds' training sets overlap, so that their figures are not independent: a plain t-test over them finds
    differences far too often. The variance of the mean is taken as (1 / J + n_test / n_train) times the variance of
    the J differences (Nadeau and Bengio 2003, doi 10.1023/A:1024068626366; for repeats of folds Bouckaert and Frank
    2004). It answers for other training sets of this size, where resampling patients takes the networks as given.

    Parameters
    ----------
    differences:
        One for each fold of each repeat; those that are not defined (NaN) are left out.
    ratio:
        Number of test images over number of training images in a fold.

    Returns
    -------
    ResampledT
        NaN with fewer than 2 differences, or where all are the same but not 0 (no variance to judge by).
    """
    values = np.asarray(differences, np.float64)
    values = values[np.isfinite(values)]
    count = len(values)
    mean = float(values.mean()) if count else math.nan
    nothing = Interval(math.nan, math.nan, RESAMPLED_T, level)
    if count < 2 or not math.isfinite(ratio):
        return ResampledT(mean, math.nan, max(0, count - 1), math.nan, nothing)
    error = math.sqrt((1 / count + ratio) * float(values.var(ddof=1)))
    if error <= 1e-12 * max(1.0, abs(mean)):
        same = abs(mean) <= 1e-12
        return ResampledT(mean, 0.0 if same else math.nan, count - 1, 1.0 if same else math.nan, nothing)
    statistic = mean / error
    reach = float(t.ppf((1 + level) / 2, count - 1)) * error
    return ResampledT(
        mean,
        statistic,
        count - 1,
        float(2 * t.sf(abs(statistic), count - 1)),
        Interval(mean - reach, mean + reach, RESAMPLED_T, level),
    )


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p of several tests (Holm 1979): below alpha where the whole family errs with at most alpha.

    Parameters
    ----------
    ps:
        From 0 to 1; NaN where there is no test, which then does not count among them.

    Returns
    -------
    tuple of float
        In the order of `ps`, each at most 1; NaN stays NaN.
    """
    values = np.asarray(ps, np.float64)
    found = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return tuple(found.tolist())


def share_interval(
    value: float, draws: NDArray[np.float64], units: int, concerned: int, unit: str
) -> Interval:
    """Interval of a figure from 0 to 1 by its resamples.

    Parameters
    ----------
    value:
        The figure.
    draws:
        (R,) of the resamples.
    units, concerned:
        Number of resampled units (one alone gives NaN), and of those that the figure rests on: Wilson's interval
        over the latter stands in where all resamples agree, since they say nothing then.
    unit:
        ``patient`` or ``image``.
    """
    low, high = expanded(draws, units)
    if units > 1 and math.isfinite(value) and _agree(draws):
        stand_in = wilson(min(max(value, 0.0), 1.0) * concerned, concerned)
        return Interval(stand_in.low, stand_in.high, NO_SPREAD[unit], LEVEL)
    return Interval(low, high, EXPANDED[unit], LEVEL)


def difference_interval(
    value: float, draws: NDArray[np.float64], units: int, concerned: int, unit: str
) -> Interval:
    """Interval of a difference of two such figures, from -1 to 1, by its paired resamples.

    Where all resamples agree (two methods that say the same of every image, say), it reaches as far as the share
    of units on which they might yet differ: the upper end of Wilson's interval of none in `concerned`.
    """
    low, high = expanded(draws, units)
    if units > 1 and math.isfinite(value) and _agree(draws):
        reach = wilson(0, concerned).high
        return Interval(max(-1.0, value - reach), min(1.0, value + reach), NO_SPREAD[unit], LEVEL)
    return Interval(low, high, EXPANDED[unit], LEVEL)


def of_enough(interval: Interval, units: int, unit: str) -> Interval:
    """The interval, or one without ends where it rests on fewer than `FEWEST` units."""
    return interval if units >= FEWEST else Interval(math.nan, math.nan, TOO_FEW[unit], interval.level)


def difference_p(draws: NDArray[np.float64], units: int) -> float:
    """Two-sided p of no difference by paired resamples (R,), as `mikata.evaluation.intervals.two_sided`.

    Differences of rounding count as none.
    """
    return two_sided(np.where(np.abs(draws) < 1e-12, 0.0, draws), units)


def _agree(draws: NDArray[np.float64]) -> bool:
    defined = draws[np.isfinite(draws)]
    return len(defined) > 0 and float(np.ptp(defined)) < 1e-12
