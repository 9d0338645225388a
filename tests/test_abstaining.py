"""Abstention: coverage and accuracy among answers, thresholds, and the risk-coverage curve."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

import judged
from mikata.errors import DataError, ParameterError
from mikata.evaluation import abstain, risk_coverage, threshold_for, wilson


def _sure(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of two classes with these confidences."""
    truth = np.arange(len(right)) % 2
    said = np.where(right, truth, 1 - truth)
    high = np.array(confidences)
    p = np.empty((len(right), 2))
    p[np.arange(len(right)), said], p[np.arange(len(right)), 1 - said] = high, 1 - high
    return truth, p


CONFIDENCES = [0.95, 0.9, 0.9, 0.8, 0.7, 0.6]
RIGHT = [True, True, False, True, False, False]


def test_coverage_and_accuracy_among_answers() -> None:
    truth, p = _sure(CONFIDENCES, RIGHT)
    entries = judged.entries(truth)
    for threshold, answered, hits in ((0, 6, 3), (0.75, 4, 3), (0.9, 3, 2), (0.91, 1, 1)):
        found = abstain(entries, "ab", p, threshold)
        assert (found.n, found.answered, found.coverage.value) == (6, answered, answered / 6)
        assert found.accuracy.value == hits / answered
        assert found.accuracy.n == answered
        assert found.accuracy.interval == wilson(hits, answered)
        assert found.coverage.interval == wilson(answered, 6)
    silent = abstain(entries, "ab", p, 0.99)
    assert (silent.answered, silent.coverage.value) == (0, 0)
    assert math.isnan(silent.accuracy.value)
    with pytest.raises(ParameterError, match=r"from 0 to 1, not 1\.5"):
        abstain(entries, "ab", p, 1.5)
    with pytest.raises(ValueError, match=r"probabilities \(6, 2\)"):
        abstain(entries, "ab", p[:3], 0.5)


def test_intervals_by_patient_are_wider_where_images_of_a_patient_agree() -> None:
    patients = np.repeat(np.arange(40), 10)
    generator = np.random.default_rng(0)
    sure, right = generator.random(40) < 0.6, generator.random(40) < 0.8
    truth, p = _sure(np.where(sure, 0.9, 0.6)[patients].tolist(), right[patients].tolist())
    found = abstain(judged.entries(truth, patients), "ab", p, 0.8)
    images = abstain(judged.entries(truth), "ab", p, 0.8)
    for ours, naive in ((found.coverage, images.coverage), (found.accuracy, images.accuracy)):
        assert ours.value == naive.value
        assert ours.unit == "patient"
        width, short = (s.interval.high - s.interval.low for s in (ours, naive))
        assert width > 2.5 * short
    everything = abstain(judged.entries(truth, patients), "ab", p, 0.0)
    assert everything.coverage.value == 1
    assert everything.coverage.interval.low == pytest.approx(wilson(40, 40).low)


def test_threshold_for_a_wanted_accuracy() -> None:
    truth, p = _sure(CONFIDENCES, RIGHT)
    entries = judged.entries(truth)
    found = threshold_for(entries, "ab", p, 0.75)
    assert (found.value, found.accuracy, found.answered) == (0.8, 0.75, 4)
    assert abstain(entries, "ab", p, found.value).answered == 4
    assert threshold_for(entries, "ab", p, 1.0).value == 0.95
    assert threshold_for(entries, "ab", p, 0.5).coverage == 1
    # two images of one confidence are answered together: the right one alone cannot be had
    truth, p = _sure([0.9, 0.9], [True, False])
    with pytest.raises(DataError, match=r"accuracy of 0.8 on the 2 selection images: the best is 0.500"):
        threshold_for(judged.entries(truth), "ab", p, 0.8)


def test_single_precision_confidences_are_their_own_threshold() -> None:
    truth, of = judged.cohort(200, 1)
    p = judged.probabilities(truth, np.random.default_rng(0), 2)
    entries = judged.entries(truth, of)
    found = threshold_for(entries, "ab", p, 0.9)
    again = abstain(entries, "ab", p, found.value)
    assert (again.answered, again.accuracy.value) == (found.answered, found.accuracy)


def _clinic(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images whose confidence is the probability of being right."""
    confidence = generator.uniform(0.5, 1, n)
    return _sure(confidence.tolist(), (generator.random(n) < confidence).tolist())


def test_a_certainty_is_kept_and_going_by_the_share_alone_is_not() -> None:
    missed = {None: 0, 0.9: 0}
    for trial in range(200):
        truth, p = _clinic(300, np.random.default_rng(trial))
        entries = judged.entries(truth)
        for certainty in missed:
            try:
                value = threshold_for(entries, "ab", p, 0.85, certainty=certainty).value
            except DataError:
                continue
            missed[certainty] += (value + 1) / 2 < 0.85  # the true accuracy of answers above the threshold
    assert missed[0.9] <= 20
    assert missed[None] > 60


def test_a_certainty_needs_enough_patients() -> None:
    truth, p = _sure([0.9] * 60, [True] * 60)
    assert threshold_for(judged.entries(truth), "ab", p, 0.9, certainty=0.95).coverage == 1
    with pytest.raises(DataError, match=r"0\.95 with a certainty of 0\.99 by the 60 selection images"):
        threshold_for(judged.entries(truth), "ab", p, 0.95, certainty=0.99)
    with pytest.raises(DataError, match="ask for less, or add images"):  # ten patients, not sixty
        threshold_for(judged.entries(truth, np.arange(60) // 6), "ab", p, 0.9, certainty=0.95)
    for options in ({"accuracy": 0.0}, {"accuracy": 1.1}, {"accuracy": 0.9, "certainty": 1.0}):
        with pytest.raises(ParameterError, match="must be above 0"):
            threshold_for(judged.entries(truth), "ab", p, **options)


def test_risk_coverage_curve() -> None:
    truth, p = _sure(CONFIDENCES, RIGHT)
    found = risk_coverage(judged.entries(truth), "ab", p)
    assert found.thresholds == pytest.approx([0.95, 0.9, 0.8, 0.7, 0.6])
    assert found.coverage == pytest.approx(np.array([1, 3, 4, 5, 6]) / 6)
    assert found.risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5, 3 / 6])
    # the tie of a right and a wrong answer: the mean over both orders
    areas = [np.mean(np.cumsum([0, *tie, 0, 1, 1]) / np.arange(1, 7)) for tie in permutations((0, 1))]
    assert found.area == pytest.approx(np.mean(areas))
    assert found.least_area == pytest.approx(np.mean(np.cumsum([0, 0, 0, 1, 1, 1]) / np.arange(1, 7)))
    best = risk_coverage(
        *(lambda t, p: (judged.entries(t), "ab", p))(*_sure(CONFIDENCES, sorted(RIGHT, reverse=True)))
    )
    assert best.area == pytest.approx(best.least_area)
    with pytest.raises(DataError, match="no images"):
        risk_coverage([], "ab", p[:0])
