"""How well predicted values agree with true ones: errors, Bland-Altman, intraclass and other correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher
from scipy.stats import norm, t

from mikata.errors import DataError
from mikata.evaluation.intervals import LEVEL, Interval, drawings, expanded
from mikata.evaluation.measures import Unit
from mikata.evaluation.report import Score
from mikata.language import say

AGREEMENT = (
    "mae",
    "rmse",
    "bias",
    "lower_limit",
    "upper_limit",
    "icc_2_1",
    "icc_3_1",
    "pearson",
    "spearman",
)
"""Figures of agreement, by key."""

_REACH = float(norm.ppf(0.975))  # limits of agreement hold 95 % of differences: 1.96 standard deviations


@dataclass(frozen=True)
class Agreement:
    """How well predicted values agree with true ones.

    Attributes
    ----------
    mae, rmse:
        Mean absolute error, and root of the mean squared error, in the unit of the values.
    bias:
        Mean of predicted less true, in the unit of the values.
    lower_limit, upper_limit:
        Limits of agreement (Bland and Altman 1999): bias less and plus 1.96 `sd`. About 95 % of differences are
        between them, if they are about normal and do not grow with the value.
    sd:
        Standard deviation of the differences of single images; of images of several patients, of the variance
        between and within patients together.
    icc_2_1, icc_3_1:
        Intraclass correlations of Shrout and Fleiss (1979) for single values: ICC(2,1) is of agreement, and is
        lowered by a bias; ICC(3,1) of consistency, and is not. At most 1.
    pearson, spearman:
        Correlations of values and of their ranks, from -1 to 1. They say nothing of agreement: a bias or a wrong
        scale leaves them as they are.
    n, n_patients:
        Numbers of images and of patients; None where patients are not known.
    """

    mae: Score
    rmse: Score
    bias: Score
    lower_limit: Score
    upper_limit: Score
    sd: float
    icc_2_1: Score
    icc_3_1: Score
    pearson: Score
    spearman: Score
    n: int
    n_patients: int | None

    def record(self) -> dict[str, Any]:
        """Plain JSON values; null where not defined."""
        return {
            "n": self.n,
            "n_patients": self.n_patients,
            "sd": self.sd if math.isfinite(self.sd) else None,
            **{name: getattr(self, name).record() for name in AGREEMENT},
        }


@dataclass(frozen=True)
class Intraclass:
    """Intraclass correlations of single values (Shrout and Fleiss 1979), each with its interval."""

    icc_2_1: float
    icc_2_1_interval: Interval
    icc_3_1: float
    icc_3_1_interval: Interval


def agreement(
    true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    patients: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> Agreement:
    """Judge predicted values.

    Where images are independent (one for each patient, or patients not known), intervals are Student's for the
    bias, Bland and Altman's (1999) for the limits, those of the F distribution for the intraclass correlations, and
    Fisher's z for Pearson's; the others come from resampling. Where patients have several images, the limits allow
    for that (Bland and Altman 2007, doi 10.1080/10543400701329422: variance between and within patients; the true
    value may differ between a patient's images), and all intervals come from resampling patients (expanded
    percentiles, Hesterberg 2015).

    Parameters
    ----------
    true, predicted:
        Values (n,), finite, in one unit.
    patients:
        Alias of each image's patient (n,); None, or an empty alias among them: patients are not known.
    seed:
        Of the resampling.

    Raises
    ------
    DataError
        If there are fewer than 3 images.
    ValueError
        If the numbers of values differ, or one is not finite.
    """
    a, b = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("finite true and predicted values are wanted, one of each for an image")
    n = len(a)
    if n < 3:
        raise DataError(say("Agreement needs at least 3 images; there are {n}.", n=n))
    units, n_patients = np.arange(n), None
    if patients is not None and all(patients):
        names, units = np.unique(list(patients), return_inverse=True)
        if len(units) != n:
            raise ValueError(f"{len(units)} patients for {n} values")
        n_patients = len(names)
    unit: Unit = "image" if n_patients is None else "patient"
    count = int(units.max()) + 1
    statistics = _Statistics(a, b, units)
    values = statistics.of(np.ones((count, 1)))[0]
    draws = np.concatenate([statistics.of(drawn) for drawn in drawings(count, seed=seed, size=n)])
    method = "bootstrap over patients" if unit == "patient" else "bootstrap over images"
    intervals = {
        name: Interval(*expanded(draws[:, s], count), f"{method}, expanded percentiles")
        for s, name in enumerate(AGREEMENT)
    }
    if count == n:
        intervals |= _of_theory(a, b, values)
    scores = {
        name: Score(float(value), intervals[name], n, unit)
        for name, value in zip(AGREEMENT, values, strict=True)
    }
    sd = float(values[AGREEMENT.index("upper_limit")] - values[AGREEMENT.index("bias")]) / _REACH
    return Agreement(**scores, sd=sd, n=n, n_patients=n_patients)


def intraclass(ratings: NDArray[np.floating], level: float = LEVEL) -> Intraclass:
    """ICC(2,1) and ICC(3,1) of Shrout and Fleiss (1979, Psychological Bulletin 86:420).

    With mean squares of targets (BMS), judges (JMS) and the rest (EMS) for n targets and k judges::

        ICC(2,1) = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)
        ICC(3,1) = (BMS - EMS) / (BMS + (k - 1) EMS)

    Intervals are theirs: exact for ICC(3,1), with Satterthwaite's degrees of freedom for ICC(2,1).

    Parameters
    ----------
    ratings:
        (n, k): each of n targets (images) by each of k judges, at least 2 of both; finite.

    Returns
    -------
    Intraclass
        NaN where all ratings are the same.
    """
    x = np.asarray(ratings, np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise ValueError("ratings of at least 2 targets by at least 2 judges are wanted")
    n, k = x.shape
    bms, jms, ems = (0.0 if square <= k * _crumb(x) else square for square in _mean_squares(x))
    two, three = _coefficients(np.array(bms), np.array(jms), np.array(ems), n, k)
    method = "F distribution (Shrout and Fleiss)"
    nothing = Interval(math.nan, math.nan, method, level)
    if not math.isfinite(three):
        return Intraclass(float(two), nothing, float(three), nothing)
    if ems == 0:  # judges differ by a constant at most: consistency is complete, and F has no upper end
        return Intraclass(float(two), nothing, float(three), Interval(1.0, 1.0, method, level))
    tail = (1 + level) / 2
    freedom = (n - 1) * (k - 1)
    ratio = bms / ems
    low = ratio / fisher.ppf(tail, n - 1, freedom)
    high = ratio * fisher.ppf(tail, freedom, n - 1)
    of_three = Interval(float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1)), method, level)
    judges = jms / ems
    inner = n * (1 + (k - 1) * two) - k * two
    v = freedom * (k * two * judges + inner) ** 2
    v /= (n - 1) * k**2 * two**2 * judges**2 + inner**2
    above, below = fisher.ppf(tail, n - 1, v), fisher.ppf(tail, v, n - 1)
    rest = k * jms + (k * n - k - n) * ems
    of_two = Interval(
        float(n * (bms - above * ems) / (above * rest + n * bms)),
        float(n * (below * bms - ems) / (rest + n * below * bms)),
        method,
        level,
    )
    return Intraclass(float(two), of_two, float(three), of_three)


def _mean_squares(x: NDArray[np.float64]) -> tuple[float, float, float]:
    """Of targets, judges and the rest."""
    n, k = x.shape
    rows, columns, mean = x.mean(1), x.mean(0), x.mean()
    rest = x - rows[:, None] - columns[None, :] + mean
    return (
        float(k * ((rows - mean) ** 2).sum() / (n - 1)),
        float(n * ((columns - mean) ** 2).sum() / (k - 1)),
        float((rest**2).sum() / ((n - 1) * (k - 1))),
    )


def _coefficients(
    bms: NDArray[np.float64],
    jms: NDArray[np.float64],
    ems: NDArray[np.float64],
    n: NDArray[np.float64] | int,
    k: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(invalid="ignore", divide="ignore"):  # all the same: not defined
        two = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
        three = (bms - ems) / (bms + (k - 1) * ems)
    return two, three


class _Statistics:
    """The figures of `AGREEMENT` for how often each unit counts."""

    def __init__(self, a: NDArray[np.float64], b: NDArray[np.float64], units: NDArray[np.int64]) -> None:
        self._units = units
        self._sizes = np.bincount(units).astype(np.float64)
        # about the middle, or squares of large values lose the digits that matter
        middle = (a.mean() + b.mean()) / 2
        self._crumb = _crumb(a, b)
        a, b = a - middle, b - middle
        d = b - a
        columns = (np.abs(d), d**2, d, a, b, a * a, b * b, a * b)
        self._sums = np.stack([np.bincount(units, weights=column) for column in columns])  # (8, U)
        self._ranks = [_Ranks(values, units) for values in (a, b)]

    def of(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Figures (R, 9) for counts of the units (U, R); NaN where not defined."""
        n = self._sizes @ drawn
        absolute, squares, d, a, b, aa, bb, ab = (self._sums @ drawn) / n
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(self._variance(drawn, n, d))
            var_a, var_b = (np.where(v <= self._crumb, 0.0, v) for v in (aa - a * a, bb - b * b))
            cov = np.where((var_a == 0) | (var_b == 0), 0.0, ab - a * b)
            pearson = np.clip(cov / np.sqrt(var_a * var_b), -1, 1)
            bms = n / (n - 1) * _above_0(var_a + var_b + 2 * cov) / 2
            ems = n / (n - 1) * _above_0(var_a + var_b - 2 * cov) / 2
            two, three = _coefficients(bms, n * (a - b) ** 2 / 2, ems, n, 2)
            spearman = self._spearman(drawn, n)
        limits = (d - _REACH * sd, d + _REACH * sd)
        return np.column_stack([absolute, np.sqrt(squares), d, *limits, two, three, pearson, spearman])

    def _variance(
        self, drawn: NDArray[np.float64], n: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Of the difference of a single image: between patients and within, by analysis of variance."""
        sums, squares = self._sums[2], self._sums[1]
        units = drawn.sum(0)
        of_means = (sums**2 / self._sizes) @ drawn
        total = squares @ drawn
        if (self._sizes == 1).all():
            return _above_0((total - n * bias**2) / (n - 1))
        within = _above_0((total - of_means) / (n - units))
        between = (of_means - n * bias**2) / (units - 1)
        divisor = (n - (self._sizes**2 @ drawn) / n) / (units - 1)
        return np.asarray(within + np.maximum(0, (between - within) / divisor))

    def _spearman(self, drawn: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = drawn[self._units]
        x, y = (ranks.of(weights) for ranks in self._ranks)
        mean = (n + 1) / 2
        x -= mean
        y -= mean
        products = [np.einsum("ir,ir,ir->r", weights, p, q) for p, q in ((x, y), (x, x), (y, y))]
        return np.asarray(products[0] / np.sqrt(products[1] * products[2]))


class _Ranks:
    """Mean ranks of values, where each counts as often as its unit."""

    def __init__(self, values: NDArray[np.float64], units: NDArray[np.int64]) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        new = np.append(True, ordered[1:] != ordered[:-1])
        self._starts = np.flatnonzero(new)
        self._group = np.empty(len(values), np.int64)
        self._group[self._order] = np.cumsum(new) - 1

    def of(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ranks (n, R) for how often each value counts (n, R); ties share their mean."""
        groups = np.add.reduceat(weights[self._order], self._starts, axis=0)
        ranks = np.cumsum(groups, axis=0) - groups + (groups + 1) / 2
        return np.asarray(ranks[self._group])


def _crumb(*values: NDArray[np.float64]) -> float:
    """A variance that is no more than rounding leaves of equal values."""
    return float(max(np.abs(x).max() for x in values) * 1e-12) ** 2


def _above_0(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances without the negative crumbs of rounding."""
    return np.maximum(values, 0)


def _of_theory(
    a: NDArray[np.float64], b: NDArray[np.float64], values: NDArray[np.float64]
) -> dict[str, Interval]:
    """Intervals of independent pairs that need no resampling."""
    n = len(a)
    found = dict(zip(AGREEMENT, values.tolist(), strict=True))
    sd = (found["upper_limit"] - found["bias"]) / _REACH
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1))
    errors = {
        "bias": sd / math.sqrt(n),
        "lower_limit": sd * math.sqrt(1 / n + _REACH**2 / (2 * (n - 1))),
        "upper_limit": sd * math.sqrt(1 / n + _REACH**2 / (2 * (n - 1))),
    }
    intervals = {
        name: Interval(
            found[name] - reach * error,
            found[name] + reach * error,
            "Student's t" if name == "bias" else "Bland and Altman (1999)",
        )
        for name, error in errors.items()
    }
    both = intraclass(np.column_stack([a, b]))
    intervals |= {"icc_2_1": both.icc_2_1_interval, "icc_3_1": both.icc_3_1_interval}
    pearson = found["pearson"]
    if n > 3 and abs(pearson) < 1:
        z, half = math.atanh(pearson), float(norm.ppf((1 + LEVEL) / 2)) / math.sqrt(n - 3)
        intervals["pearson"] = Interval(math.tanh(z - half), math.tanh(z + half), "Fisher's z")
    return intervals
