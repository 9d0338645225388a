"""Confidence intervals of shares: exact, Wilson, sums of shares, and resampling of patients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, t

LEVEL = 0.95
RESAMPLES = 2000
_BLOCK = 2**19  # numbers of one array in a block of resamples (4 MiB): what fits the cache is faster


@dataclass(frozen=True)
class Interval:
    """Where the true value lies with the stated confidence.

    Attributes
    ----------
    low, high:
        Ends, in the unit of the value: from 0 to 1 for shares; NaN where there is nothing to estimate from.
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


def drawings(
    units: int, *, seed: int, resamples: int = RESAMPLES, size: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often each unit (patient) is drawn, with replacement, in blocks of resamples.

    The draws depend on `units` and `seed` alone, not on the blocks: two methods that are judged with the same
    seed are judged on the same resamples, so that their differences are paired.

    Parameters
    ----------
    units:
        Number of units U, at least 1.
    seed:
        Of the draws.
    size:
        Numbers that the caller keeps for each resample, such as the number of images: sets the blocks.

    Yields
    ------
    ndarray
        (U, R): whole numbers, each column adds up to U; the R of all blocks add up to `resamples`.
    """
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK // max(units, size, 1)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(units, size=(rows, units))
        drawn += units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def percentiles(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the defined values; NaN where there are none."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return float(low), float(high)


def expanded(values: NDArray[np.float64], units: int, level: float = LEVEL) -> tuple[float, float]:
    """Percentiles that allow for few units: the expanded percentile interval (Hesterberg 2015).

    Plain percentiles of a bootstrap are too short for few units, by the factor sqrt((n - 1) / n) and by taking the
    normal distribution for Student's; wider percentiles make up for both (doi 10.1080/00031305.2015.1089789).

    Parameters
    ----------
    values:
        Of the resamples (R,); NaN where not defined.
    units:
        Number of resampled units (patients); fewer than 2 give NaN.
    """
    if units < 2:
        return math.nan, math.nan
    reach = float(t.ppf((1 + level) / 2, units - 1)) * math.sqrt(units / (units - 1))
    return percentiles(values, 1 - 2 * float(norm.sf(reach)))


def two_sided(differences: NDArray[np.float64], units: int) -> float:
    """Two-sided p of no difference, which goes with `expanded`: below 1 - `level` where that leaves 0 out.

    Twice the smaller share of the resamples on one side of 0 (no smaller than 1 in R + 1), carried over from the
    normal distribution to Student's as the interval is. Resamples at 0 count on both sides.

    Returns
    -------
    float
        From 0 to 1; NaN with fewer than 2 units or no defined value.
    """
    defined = differences[np.isfinite(differences)]
    if units < 2 or not len(defined):
        return math.nan
    below, above = (int((side * defined <= 0).sum()) for side in (1, -1))
    share = (min(below, above) + 1) / (len(defined) + 1)
    if share >= 0.5:
        return 1.0
    reach = float(norm.isf(share)) / math.sqrt(units / (units - 1))
    return float(2 * t.sf(reach, units - 1))
