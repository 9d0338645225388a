"""Confidence intervals of shares: exact, Wilson, sums of shares, and resampling of patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """Where the true value lies with the stated confidence.

    Attributes
    ----------
    low, high:
        Ends, from 0 to 1; NaN where there is nothing to estimate from.
    method:
        How it was made, in words.
    level:
        Confidence, such as 0.95.
    """

    low: float
    high: float
    method: str
    level: float = LEVEL


def wilson(right: float, count: float, level: float = LEVEL) -> Interval:
    """Score interval of a share (Wilson 1927).

    Parameters
    ----------
    right:
        Number of successes, 0 to `count`; need not be whole.
    count:
        Number of independent trials; 0 gives NaN.
    level:
        Confidence, between 0 and 1.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    _check(right, count, level)
    if count == 0:
        return Interval(math.nan, math.nan, "Wilson", level)
    z = float(norm.ppf((1 + level) / 2))
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    # rounding must not leave 0 out where nothing was right, nor 1 where everything was
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == count else min(1.0, middle + half)
    return Interval(low, high, "Wilson", level)


def clopper_pearson(right: int, count: int, level: float = LEVEL) -> Interval:
    """Exact interval of a share (Clopper and Pearson 1934); never covers less than `level`.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    _check(right, count, level)
    if count == 0:
        return Interval(math.nan, math.nan, "Clopper-Pearson", level)
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, right, count - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, count - right)) if right < count else 1.0
    return Interval(low, high, "Clopper-Pearson", level)


def _check(right: float, count: float, level: float) -> None:
    if not 0 <= right <= count:
        raise ValueError(f"{right} successes in {count} trials")
    if not 0 < level < 1:
        raise ValueError(f"a confidence of {level}")


def mean_of_shares(right: Sequence[float], counts: Sequence[float], level: float = LEVEL) -> Interval:
    """Interval of the mean of independent shares, from the Wilson interval of each.

    Each end adds up the distances of the single ends as independent errors (MOVER; Zou and Donner
    2008, doi 10.1002/sim.3095); it does not shrink to a point where every share is 0 or 1.
    """
    pairs = list(zip(right, counts, strict=True))
    shares = [r / n if n else math.nan for r, n in pairs]
    single = [wilson(r, n, level) for r, n in pairs]
    mean = sum(shares) / len(shares)
    below = math.sqrt(sum((p - i.low) ** 2 for p, i in zip(shares, single, strict=True))) / len(shares)
    above = math.sqrt(sum((i.high - p) ** 2 for p, i in zip(shares, single, strict=True))) / len(shares)
    low, high = (mean - below, mean + above)
    if math.isnan(mean):
        return Interval(math.nan, math.nan, "MOVER over Wilson", level)
    return Interval(max(0.0, low), min(1.0, high), "MOVER over Wilson", level)


def resampled(
    units: NDArray[np.int64],
    statistics: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> NDArray[np.float64]:
    """Values of statistics over resampled units (patients), drawn with replacement.

    Parameters
    ----------
    units:
        Number of the unit of each image (N,), from 0 without gaps.
    statistics:
        From how often each image counts (N,) to the values (S,); NaN where one is not defined.
    seed:
        Of the draws.

    Returns
    -------
    ndarray
        (resamples, S).
    """
    generator = np.random.default_rng(seed)
    count = int(units.max()) + 1
    rows = []
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(count, size=count), minlength=count)
        rows.append(statistics(drawn[units].astype(np.float64)))
    return np.stack(rows)


def percentiles(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the defined values; NaN where there are none."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return float(low), float(high)
