"""Figures of paired readers: against published examples, other libraries and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm
from sklearn.metrics import cohen_kappa_score

from mikata.evaluation import clustered_wilson, exchange_p, kappa, newcombe, wilson
from mikata.evaluation.intervals import Interval
from mikata.evaluation.pairs import kappa_interval, kappas, predictive

PAIRED = {  # examples of Fagerland, Lydersen and Laake: both, only first, only second, neither
    "airway (Bentur 2009)": (1, 1, 7, 12),
    "response (Cavo 2012)": (59, 6, 16, 80),
}


def signs(first: int, second: int) -> list[int]:
    return [1] * first + [-1] * second


def test_mid_p_of_mcnemar_is_the_published_one() -> None:
    # Fagerland, Lydersen and Laake (2013, table 4): .039
    _, b, c, _ = PAIRED["airway (Bentur 2009)"]
    assert round(exchange_p(signs(b, c)), 3) == 0.039


@pytest.mark.parametrize(("b", "c"), [(0, 3), (1, 7), (5, 5), (6, 16), (30, 41)])
def test_mid_p_is_the_exact_p_less_half_of_what_was_found(b: int, c: int) -> None:
    exact, point = binomtest(b, b + c).pvalue, math.comb(b + c, b) / 2 ** (b + c)
    # where both are the same the exact p is cut off at 1, which counts the middle once
    expected = 1 - point / 2 if b == c else exact - point
    assert exchange_p(signs(b, c)) == pytest.approx(expected, abs=1e-12)
    assert exchange_p(signs(c, b)) == pytest.approx(expected, abs=1e-12)


def test_nothing_that_differs_shows_nothing() -> None:
    assert exchange_p([]) == exchange_p([0, 0]) == 1.0
    with pytest.raises(ValueError, match="whole"):
        exchange_p([0.5])


def test_exchanging_is_the_sum_over_all_signs() -> None:
    d = np.array([2, -1, 3, 1, 1, 0, -2])
    used = np.abs(d[d != 0])
    every = np.array([[1 if n >> k & 1 else -1 for k in range(len(used))] for n in range(2 ** len(used))])
    sums, found = np.abs(every @ used), abs(d.sum())
    assert exchange_p(d) == pytest.approx((sums > found).mean() + (sums == found).mean() / 2)


def test_exchanging_goes_to_obuchowskis_test() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        d = generator.integers(-3, 4, 400) + (generator.random(400) < 0.1)
        units = len(d)
        statistic = (units - 1) / units * d.sum() ** 2 / (d**2).sum()  # as Yang et al. (2010) write it
        assert exchange_p(d) == pytest.approx(chi2.sf(statistic, 1), abs=0.02)


@pytest.mark.parametrize(
    ("name", "low", "high", "digits"),
    # Fagerland, Lydersen and Laake (2014), and the package contingencytables that goes with their book
    [("airway (Bentur 2009)", -0.507, -0.026, 3), ("response (Cavo 2012)", -0.1186, -0.0046, 4)],
)
def test_newcombes_interval_is_the_published_one(name: str, low: float, high: float, digits: int) -> None:
    found = newcombe(*PAIRED[name])
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)
    both, b, c, neither = PAIRED[name]
    other = newcombe(both, c, b, neither)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_newcombes_interval_at_the_edges() -> None:
    assert math.isnan(newcombe(0, 0, 0, 0).low)
    for table in ((10, 0, 0, 0), (0, 0, 0, 10), (0, 10, 0, 0), (5, 0, 0, 5)):
        found, value = newcombe(*table), (table[1] - table[2]) / 10
        assert -1 <= found.low <= value <= found.high <= 1
        assert found.high - found.low > 0.05
    with pytest.raises(ValueError, match="negative"):
        newcombe(1, -1, 0, 0)


def test_kappa_is_that_of_other_libraries() -> None:
    # statsmodels 0.15, stats.inter_rater.cohens_kappa: kappa, its standard error and interval
    for table, value, error, low, high in (
        ((20, 5, 10, 15), 0.4, 0.12699606293110033, 0.151092290476661, 0.6489077095233389),
        ((40, 9, 6, 45), 0.6995192307692307, 0.07139360269998822, 0.5595903407506923, 0.8394481207877692),
    ):
        found, interval = kappa(*table), kappa_interval(*table, cases=sum(table))
        assert (found.value, found.error) == pytest.approx((value, error))
        assert (interval.low, interval.high) == pytest.approx((low, high))
        first = np.repeat([1, 1, 0, 0], table)
        assert found.value == pytest.approx(cohen_kappa_score(first, np.repeat([1, 0, 1, 0], table)))
        assert kappas(np.array(table, float)[:, None])[0] == pytest.approx(value)


def test_kappa_without_disagreement_is_not_certain() -> None:
    interval = kappa_interval(5, 0, 0, 5, cases=10)
    assert interval.high == 1
    assert interval.low == pytest.approx((wilson(10, 10).low - 0.5) / 0.5)
    for table in ((0, 0, 0, 9), (9, 0, 0, 0), (0, 0, 0, 0)):
        assert math.isnan(kappa(*table).value)
        assert math.isnan(kappa_interval(*table, cases=9).low)
    assert math.isnan(kappas(np.array([[9.0], [0], [0], [0]]))[0])


def test_wilson_of_clusters() -> None:
    single = clustered_wilson([1, 0, 1, 1, 0], [1] * 5)
    assert (single.low, single.high) == (wilson(3, 5).low, wilson(3, 5).high)
    # by hand: p = .6, v = 4/3 * (1 + 1 + .04 + .04...) -> effective number, then Student's instead of normal
    x, n = np.array([3, 0, 2, 4]), np.array([3, 3, 4, 5])
    share = 9 / 15
    variance = 4 / 3 * ((x - share * n) ** 2).sum() / 15**2
    effective = share * (1 - share) / variance * (norm.ppf(0.975) / 3.182446305284263) ** 2
    expected, found = wilson(share * effective, effective), clustered_wilson(x, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.high - found.low > wilson(9, 15).high - wilson(9, 15).low
    # none of 4 patients is not none of 12 independent cases
    none = clustered_wilson([0] * 4, [3] * 4)
    assert (none.low, none.high) == (0, wilson(0, 4).high)
    assert math.isnan(clustered_wilson([2], [4]).low)
    assert math.isnan(clustered_wilson([], []).low)
    assert clustered_wilson([1, 1, 0], [2, 2, 0]).high <= 1  # every patient the same: no more than all cases
    with pytest.raises(ValueError, match="patient"):
        clustered_wilson([2], [1])


def test_wilson_of_clusters_covers_small_shares() -> None:
    """What the network alone missed is a small share: there resampling patients covers too rarely."""
    generator = np.random.default_rng(1)
    covered = plain = 0
    runs, share, rho = 1500, 0.05, 0.4
    a, b = share * (1 - rho) / rho, (1 - share) * (1 - rho) / rho
    for _ in range(runs):
        n = 1 + generator.poisson(2, 30)
        x = generator.binomial(n, generator.beta(a, b, 30))
        found, naive = clustered_wilson(x, n), wilson(int(x.sum()), int(n.sum()))
        covered += found.low <= share <= found.high
        plain += naive.low <= share <= naive.high
    assert covered / runs > 0.93
    assert plain / runs < 0.88


def test_predictive_values_are_bayes() -> None:
    sens, spec = wilson(45, 50, 0.975), wilson(180, 200, 0.975)
    (ppv, of_ppv), (npv, of_npv) = predictive(sens, spec, (0.9, 0.9), 0.01)
    assert ppv == pytest.approx(0.009 / (0.009 + 0.099))
    assert npv == pytest.approx(0.891 / (0.891 + 0.001))
    assert of_ppv.low < ppv < of_ppv.high
    assert of_npv.low < npv < of_npv.high
    assert of_ppv.level == pytest.approx(0.95)
    certain = Interval(1.0, 1.0, "", 0.975)
    assert predictive(certain, certain, (1.0, 1.0), 0.3)[0][0] == 1
    with pytest.raises(ValueError, match="prevalence"):
        predictive(sens, spec, (0.9, 0.9), 1.0)


def test_predictive_intervals_cover() -> None:
    generator = np.random.default_rng(2)
    sens, spec, prevalence = 0.85, 0.9, 0.05
    true = sens * prevalence / (sens * prevalence + (1 - spec) * (1 - prevalence))
    covered = 0
    for _ in range(1000):
        yes, no = generator.binomial(40, sens), generator.binomial(60, spec)
        ends = (wilson(yes, 40, 0.975), wilson(no, 60, 0.975))
        (_, found), _ = predictive(*ends, (yes / 40, no / 60), prevalence)
        covered += found.low <= true <= found.high
    assert covered >= 950


def test_the_test_of_clusters_keeps_its_level() -> None:
    """No difference, but calls of a patient's lesions go together: McNemar's test of lesions finds one too often."""
    generator = np.random.default_rng(3)
    runs, patients, lesions = 2000, 25, 4
    clustered = naive = 0
    for _ in range(runs):
        # a patient's lesions share whom they are easy for
        easy = generator.beta(0.5, 0.5, (patients, 1))
        network_wins = generator.random((patients, lesions)) < easy
        differs = generator.random((patients, lesions)) < 0.4
        d = np.where(differs, np.where(network_wins, 1, -1), 0)
        clustered += exchange_p(d.sum(1)) < 0.05
        naive += exchange_p(d.ravel()) < 0.05
    assert 0.03 < clustered / runs < 0.065
    assert naive / runs > 0.09
