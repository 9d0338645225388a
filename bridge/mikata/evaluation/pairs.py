"""Two readers of the same cases: paired tests, intervals of shares and differences, and kappa.

Cases of one patient are not independent. Shares then take Wilson's interval with the number of independent cases
that would vary as much (Rao and Scott), the paired test exchanges the two readers in whole patients, and
differences and kappa are resampled by patient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from mikata.evaluation.intervals import LEVEL, Interval, wilson

EFFECTIVE = "Wilson, effective number of cases (Rao and Scott)"
NEWCOMBE = "Newcombe, paired"
FLEISS = "Fleiss, Cohen and Everitt"
AGREED = "Wilson of the agreement, since no case differs"


def clustered_wilson(right: ArrayLike, counts: ArrayLike, level: float = LEVEL) -> Interval:
    """Interval of a share among cases of several patients.

    Wilson's with the number of independent cases whose share would vary as much as this one does over patients:
    p (1 - p) / v with v = K / (K - 1) sum (x_k - p n_k)^2 / N^2 (Rao and Scott 1992, doi 10.2307/2532311), at most N,
    and less by (z / t)^2 for the few patients that v is estimated from (Korn and Graubard 1998). Where no or every
    case is right, v says nothing, and the number of patients is taken: as if all cases of a patient were one.

    In a simulation of small shares (5 %, 30 patients with 3 cases on average, correlation 0.4 within a patient) it
    covers 96 %, the bootstrap over patients 88 %.

    Parameters
    ----------
    right, counts:
        (K,) successes and cases of each patient; patients without cases do not count.

    Returns
    -------
    Interval
        Plain Wilson where every patient has one case; NaN without cases, and with one patient of several cases.

    Raises
    ------
    ValueError
        If numbers do not fit, or are out of range.
    """
    x, n = np.asarray(right, np.float64), np.asarray(counts, np.float64)
    if x.shape != n.shape or x.ndim != 1 or (x < 0).any() or (x > n).any():
        raise ValueError("successes and cases are wanted for each patient")
    x, n = x[n > 0], n[n > 0]
    patients, total = len(n), float(n.sum())
    if (n == 1).all():
        return wilson(float(x.sum()), total, level)
    if patients < 2:
        return Interval(math.nan, math.nan, EFFECTIVE, level)
    share = float(x.sum()) / total
    if share in (0.0, 1.0):
        effective = float(patients)
    else:
        variance = patients / (patients - 1) * float(((x - share * n) ** 2).sum()) / total**2
        effective = min(total, share * (1 - share) / variance) if variance > 0 else total
        tail = (1 + level) / 2
        effective *= float(norm.ppf(tail) / t.ppf(tail, patients - 1)) ** 2
    found = wilson(min(share * effective, effective), effective, level)
    return Interval(found.low, found.high, EFFECTIVE, level)


def exchange_p(differences: ArrayLike) -> float:
    """Two-sided mid-p of no difference between two readers of the same patients, exact.

    If the readers are equally good, exchanging them within a patient changes nothing: each patient's difference has
    either sign with the same odds, and their sum has a distribution that is added up here over all signs. The sum of
    squares that Obuchowski (1998, Statistics in Medicine 17:1495) divides by is this distribution's variance, so for
    many patients the two tests agree; for few, hers leans on the normal distribution. With one case for each
    patient this is McNemar's mid-p (Fagerland, Lydersen and Laake 2013, doi 10.1186/1471-2288-13-91).

    Parameters
    ----------
    differences:
        (K,) whole numbers, for each patient the cases that only the first reader has right less those that only the
        second has.

    Returns
    -------
    float
        1 where no patient differs.
    """
    d = np.asarray(differences)
    if d.ndim != 1 or not np.array_equal(d, np.rint(d)):
        raise ValueError("whole differences (K,) are wanted")
    steps = np.abs(d[d != 0]).astype(np.int64)
    if not len(steps):
        return 1.0
    reach = int(steps.sum())
    odds = np.zeros(2 * reach + 1)
    odds[reach] = 1.0
    low = high = reach  # what is not 0 yet
    for step in steps.tolist():
        before = odds[low : high + 1].copy()
        odds[low : high + 1] = 0.0
        odds[low - step : high - step + 1] += before / 2
        odds[low + step : high + step + 1] += before / 2
        low, high = low - step, high + step
    found = abs(int(d.sum()))
    sums = np.abs(np.arange(-reach, reach + 1))
    p = float(odds[sums > found].sum() + odds[sums == found].sum() / 2)
    return min(1.0, p)


def newcombe(both: int, first: int, second: int, neither: int, level: float = LEVEL) -> Interval:
    """Interval of the difference of two paired shares, first less second.

    Wilson intervals of the two, put together with their correlation (Newcombe 1998, Statistics in Medicine 17:2635,
    method 10, the correlation with its continuity correction).

    Parameters
    ----------
    both, first, second, neither:
        Numbers of independent cases that both, only the first, only the second, and neither has right.

    Returns
    -------
    Interval
        From -1 to 1; NaN without cases.
    """
    n = both + first + second + neither
    if min(both, first, second, neither) < 0:
        raise ValueError("numbers of cases are not negative")
    if n == 0:
        return Interval(math.nan, math.nan, NEWCOMBE, level)
    p1, p2 = (both + first) / n, (both + second) / n
    one, two = wilson(both + first, n, level), wilson(both + second, n, level)
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    cross = both * neither - first * second
    cross_corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = cross_corrected / math.sqrt(product) if product else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    low = p1 - p2 - reach(p1 - one.low, two.high - p2)
    high = p1 - p2 + reach(one.high - p1, p2 - two.low)
    return Interval(max(-1.0, low), min(1.0, high), NEWCOMBE, level)


class Kappa(NamedTuple):
    """Cohen's kappa, at most 1, and its standard error; both NaN where chance alone agrees in every case."""

    value: float
    error: float


def kappa(both: float, first: float, second: float, neither: float) -> Kappa:
    """Agreement of two readers beyond chance (Cohen 1960), with its standard error (Fleiss, Cohen and Everitt 1969).

    Parameters
    ----------
    both, first, second, neither:
        Numbers of independent cases that both, only the first, only the second, and neither calls positive.
    """
    n = both + first + second + neither
    if n <= 0:
        return Kappa(math.nan, math.nan)
    cells = np.array([[both, first], [second, neither]], np.float64) / n
    rows, columns = cells.sum(1), cells.sum(0)
    agreed, chance = float(np.trace(cells)), float(rows @ columns)
    if chance >= 1:
        return Kappa(math.nan, math.nan)
    value = (agreed - chance) / (1 - chance)
    on = float((np.diag(cells) * (1 - (rows + columns) * (1 - value)) ** 2).sum())
    off = float(cells[0, 1] * (columns[0] + rows[1]) ** 2 + cells[1, 0] * (columns[1] + rows[0]) ** 2)
    variance = on + (1 - value) ** 2 * off - (value - chance * (1 - value)) ** 2
    return Kappa(value, math.sqrt(max(0.0, variance) / n) / (1 - chance))


def kappas(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cohen's kappa (R,) of many tables (4, R): both, only the first, only the second, neither; NaN as in `kappa`."""
    both, first, second, neither = cells / cells.sum(0)
    one, two = both + first, both + second
    chance = one * two + (1 - one) * (1 - two)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(chance < 1, (both + neither - chance) / (1 - chance), np.nan))


def kappa_interval(
    both: float, first: float, second: float, neither: float, cases: float, level: float = LEVEL
) -> Interval:
    """Interval of kappa for independent cases.

    Normal, with the error of Fleiss, Cohen and Everitt. Where the two agree on every case that error is 0 and says
    nothing: the interval is then that of the agreement (Wilson, of `cases`), at the chance agreement found.
    """
    found = kappa(both, first, second, neither)
    if not math.isfinite(found.value):
        return Interval(math.nan, math.nan, FLEISS, level)
    if first == second == 0:
        n = both + neither
        chance = (both / n) ** 2 + (neither / n) ** 2
        least = wilson(cases, cases, level).low
        return Interval((least - chance) / (1 - chance), 1.0, AGREED, level)
    reach = float(norm.ppf((1 + level) / 2)) * found.error
    return Interval(max(-1.0, found.value - reach), min(1.0, found.value + reach), FLEISS, level)


def predictive(
    sensitivity: Interval, specificity: Interval, values: tuple[float, float], prevalence: float
) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
    """Positive and negative predictive value at a stated prevalence, by Bayes' rule, each with its interval.

    Both rise with sensitivity and with specificity, so that the ends of the two intervals give the ends. If each of
    these holds with 97.5 %, both hold with 95 % at least, however they depend on each other (Bonferroni).

    Parameters
    ----------
    sensitivity, specificity:
        Intervals with 97.5 %.
    values:
        Sensitivity and specificity.
    prevalence:
        Above 0, below 1.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"a prevalence of {prevalence}")

    def positive(sens: float, spec: float) -> float:
        said = sens * prevalence + (1 - spec) * (1 - prevalence)
        return sens * prevalence / said if said > 0 else math.nan

    def negative(sens: float, spec: float) -> float:
        said = spec * (1 - prevalence) + (1 - sens) * prevalence
        return spec * (1 - prevalence) / said if said > 0 else math.nan

    level = 1 - 2 * (1 - sensitivity.level)

    def both(value: float, low: float, high: float) -> tuple[float, Interval]:
        # where nobody is called positive at one end, the predictive value there may be anything
        low = 0.0 if math.isnan(low) and math.isfinite(sensitivity.low + specificity.low) else low
        high = 1.0 if math.isnan(high) and math.isfinite(sensitivity.low + specificity.low) else high
        return value, Interval(low, high, BAYES, level)

    lows, highs = (sensitivity.low, specificity.low), (sensitivity.high, specificity.high)
    return (
        both(positive(*values), positive(*lows), positive(*highs)),
        both(negative(*values), negative(*lows), negative(*highs)),
    )


BAYES = "ends of the 97.5 % intervals of sensitivity and specificity (Bonferroni)"
