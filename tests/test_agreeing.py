"""Agreement of values: against the tables of the papers, scipy and simulated truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from mikata.errors import DataError
from mikata.evaluation import AGREEMENT, agreement, intraclass
from mikata.evaluation.agreeing import _Statistics
from mikata.evaluation.intervals import drawings

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Ratings of 6 targets by 4 judges (Shrout and Fleiss 1979, table 2)."""

LARGE_METER = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI_METER = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
"""Peak expiratory flow in l/min of 17 subjects by two meters (Bland and Altman 1986, table)."""

CARDIAC = {  # of 12 subjects, by radionuclide ventriculography and impedance cardiography (Bland and Altman 2007)
    1: ([7.83, 7.42, 7.89, 7.12, 7.88], [6.57, 5.62, 6.90, 6.57, 6.35]),
    2: ([6.16, 7.26, 6.71, 6.54], [4.06, 4.29, 4.26, 4.09]),
    3: ([4.75, 5.24, 4.86, 4.78, 6.05, 5.42], [4.71, 5.50, 5.08, 5.02, 6.01, 5.67]),
    4: ([4.21, 3.61, 3.72, 3.87, 3.92], [4.14, 4.20, 4.61, 4.68, 5.04]),
    5: ([3.13, 2.98, 2.85, 3.17, 3.09, 3.12], [3.03, 2.86, 2.77, 2.46, 2.32, 2.43]),
    6: ([5.92, 6.42, 5.92, 6.27], [5.90, 5.81, 5.70, 5.76]),
    7: ([7.13, 6.62, 6.58, 6.93], [5.09, 4.63, 4.61, 5.09]),
    8: ([4.54, 4.81, 5.11, 5.29, 5.39, 5.57], [4.72, 4.61, 4.36, 4.20, 4.36, 4.20]),
    9: ([4.48, 4.92, 3.97], [3.17, 3.12, 2.96]),
    10: ([4.22, 4.65, 4.74, 4.44, 4.50], [4.35, 4.62, 3.16, 3.53, 3.53]),
    11: ([6.78, 6.07, 6.52, 6.42, 6.41, 5.76], [7.20, 6.09, 7.00, 7.10, 7.40, 6.80]),
    12: ([5.06, 4.72, 4.90, 4.80, 4.90, 5.10], [4.50, 4.20, 3.80, 3.80, 4.20, 4.50]),
}  # fmt: skip


def test_intraclass_correlations_are_those_of_the_paper() -> None:
    found = intraclass(np.array(SHROUT_FLEISS))
    assert (round(found.icc_2_1, 2), round(found.icc_3_1, 2)) == (0.29, 0.71)
    # intervals as R's psych::ICC prints them for these data
    for interval, low, high in (
        (found.icc_2_1_interval, 0.019, 0.761),
        (found.icc_3_1_interval, 0.342, 0.946),
    ):
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-4)


def test_limits_of_agreement_are_those_of_the_paper() -> None:
    found = agreement(np.array(MINI_METER), np.array(LARGE_METER))
    # mean difference -2.1, standard deviation 38.8; the paper takes 2 standard deviations
    assert (round(found.bias.value, 1), round(found.sd, 1)) == (-2.1, 38.8)
    assert found.lower_limit.value == pytest.approx(found.bias.value - 1.96 * found.sd, abs=0.01)
    assert found.upper_limit.value == pytest.approx(found.bias.value + 1.96 * found.sd, abs=0.01)
    # bias -22.0 to 17.8 in the paper, with t of 16 degrees of freedom, 2.12
    assert (round(found.bias.interval.low, 1), round(found.bias.interval.high, 1)) == pytest.approx(
        (-22.0, 17.8), abs=0.11
    )
    # the error of a limit is about the root of 3 times that of the bias (Bland and Altman 1986, 1999)
    half = (found.lower_limit.interval.high - found.lower_limit.interval.low) / 2
    assert half == pytest.approx(2.12 * math.sqrt(3 * 38.8**2 / 17), rel=0.02)
    assert (found.n, found.n_patients, found.bias.unit) == (17, None, "image")
    swapped = agreement(np.array(LARGE_METER), np.array(MINI_METER))
    assert swapped.bias.value == -found.bias.value
    assert swapped.upper_limit.value == pytest.approx(-found.lower_limit.value)


def test_limits_of_agreement_allow_for_several_images_of_a_patient() -> None:
    """The worked example of Bland and Altman (2007, section 3), where the true value varies."""
    subjects = [str(s) for s, (rv, _) in CARDIAC.items() for _ in rv]
    rv, ic = (np.concatenate([pair[i] for pair in CARDIAC.values()]) for i in (0, 1))
    assert len(rv) == 60
    found = agreement(ic, rv, subjects)
    assert found.bias.value == pytest.approx(0.6021667)
    assert found.sd**2 == pytest.approx(0.98133606, abs=1e-6)
    assert found.lower_limit.value == pytest.approx(-1.3394565, abs=1e-4)  # they take 1.96 for 1.95996
    assert found.upper_limit.value == pytest.approx(2.5437899, abs=1e-4)
    assert (found.n, found.n_patients, found.bias.unit) == (60, 12, "patient")
    for name in AGREEMENT:
        score = getattr(found, name)
        assert score.interval.low < score.value < score.interval.high
        assert "bootstrap over patients" in score.interval.method
    # images taken as independent give intervals that are too short
    naive = agreement(ic, rv)
    assert naive.sd == pytest.approx(0.9610571, abs=1e-6)  # as the paper has it
    length, short = (a.bias.interval.high - a.bias.interval.low for a in (found, naive))
    assert length > 1.7 * short


def test_figures_equal_scipy_and_definitions() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(50, 10, 80).round()  # ties
    predicted = (true + generator.normal(2, 5, 80)).round()
    found = agreement(true, predicted)
    d = predicted - true
    assert found.mae.value == pytest.approx(np.abs(d).mean())
    assert found.rmse.value == pytest.approx(math.sqrt((d**2).mean()))
    r = pearsonr(true, predicted)
    assert found.pearson.value == pytest.approx(r.statistic)
    expected = r.confidence_interval(0.95)
    assert (found.pearson.interval.low, found.pearson.interval.high) == pytest.approx(
        (expected.low, expected.high)
    )
    assert found.spearman.value == pytest.approx(spearmanr(true, predicted).statistic)
    both = intraclass(np.column_stack([true, predicted]))
    assert (found.icc_2_1.value, found.icc_3_1.value) == pytest.approx((both.icc_2_1, both.icc_3_1))
    assert found.icc_2_1.interval == both.icc_2_1_interval
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["mae"]["value"] == found.mae.value
    # far from 0 nothing is lost to rounding
    far = agreement(true + 1e7, predicted + 1e7)
    for name in AGREEMENT:
        assert getattr(far, name).value == pytest.approx(getattr(found, name).value, rel=1e-6)


def test_resamples_equal_figures_of_repeated_images() -> None:
    generator = np.random.default_rng(1)
    units = np.arange(30) // 3
    a = generator.normal(0, 1, 30).round(1)
    b = (a + generator.normal(0, 0.5, 30)).round(1)
    statistics = _Statistics(a, b, units)
    drawn = np.concatenate(list(drawings(10, seed=0, resamples=5)), axis=1)
    for column, row in zip(drawn.T.astype(int), statistics.of(drawn), strict=True):
        # a patient that was drawn twice is two patients
        again = [
            i
            for unit, count in enumerate(column)
            for _ in range(count)
            for i in np.flatnonzero(units == unit)
        ]
        copies = [str(c) for c in range(10) for _ in range(3)]
        expected = agreement(a[again], b[again], copies)
        assert row == pytest.approx([getattr(expected, name).value for name in AGREEMENT])


@pytest.mark.parametrize("images", [1, 4])
def test_intervals_cover_the_truth(images: int) -> None:
    """Bias 1, between patients 2 and within 1: limits 1 -+ 1.96 x root(5)."""
    patients = [str(p) for p in range(30) for _ in range(images)]
    truth = {
        "bias": 1.0,
        "lower_limit": 1 - 1.959964 * math.sqrt(5),
        "upper_limit": 1 + 1.959964 * math.sqrt(5),
    }
    covered = dict.fromkeys(truth, 0)
    for trial in range(200):
        generator = np.random.default_rng(trial)
        true = generator.normal(50, 5, len(patients))
        of_patient = np.repeat(generator.normal(1, 2, 30), images)
        found = agreement(
            true, true + of_patient + generator.normal(0, 1, len(patients)), patients, seed=trial
        )
        for name, value in truth.items():
            interval = getattr(found, name).interval
            covered[name] += interval.low <= value <= interval.high
    assert 181 <= covered["bias"] <= 199
    # the bootstrap of a standard deviation is a little short with 30 patients
    assert min(covered["lower_limit"], covered["upper_limit"]) >= (181 if images == 1 else 172)


def test_what_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="at least 3 images; there are 2"):
        agreement(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    for wrong in (np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.0])):
        with pytest.raises(ValueError, match="finite true and predicted"):
            agreement(np.array([1.0, 2.0, 3.0]), wrong)
    with pytest.raises(ValueError, match="2 patients for 3 values"):
        agreement(np.arange(3), np.arange(3), ["p", "q"])
    with pytest.raises(ValueError, match="at least 2 targets"):
        intraclass(np.ones((1, 3)))
    same = agreement(np.full(5, 0.1), np.full(5, 0.1))
    assert same.mae.value == 0
    assert all(
        math.isnan(getattr(same, name).value) for name in ("icc_2_1", "icc_3_1", "pearson", "spearman")
    )
    assert json.loads(json.dumps(same.record(), allow_nan=False))["pearson"]["value"] is None
    assert math.isnan(intraclass(np.full((5, 3), 0.1)).icc_2_1)
    still = agreement(np.arange(5) * 0.1, np.full(5, 0.1))  # it says the same of every image
    assert math.isnan(still.pearson.value)
    assert still.icc_2_1.value < 0.1
    one = agreement(np.arange(5), np.array([1, 1, 2, 4, 6]), ["p"] * 5)
    assert one.n_patients == 1
    assert math.isnan(one.mae.interval.low)
    shifted = agreement(np.arange(6), np.arange(6) + 2)
    assert (shifted.icc_3_1.value, shifted.pearson.value) == (pytest.approx(1), pytest.approx(1))
    assert max(shifted.icc_3_1.value, shifted.pearson.value) <= 1
    assert (shifted.icc_3_1.interval.low, shifted.icc_3_1.interval.high) == (1, 1)
    assert shifted.icc_2_1.value < 0.9
