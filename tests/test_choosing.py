"""Base or fine-tuned: the choice by the selection set and the verdict of the test set."""

from __future__ import annotations

import json

import numpy as np
import pytest

import judged
from mikata.errors import DataError, ParameterError
from mikata.evaluation import MARGIN, better, verdict


def _networks(
    skills: tuple[float, float], patients: int, seed: int = 0
) -> tuple[list, np.ndarray, np.ndarray]:
    truth, of = judged.cohort(patients, 2)
    generator = np.random.default_rng(seed)
    base, tuned = (judged.probabilities(truth, generator, 2, skill) for skill in skills)
    return judged.entries(truth, of), base, tuned


def test_the_better_is_kept_and_base_where_they_are_equal() -> None:
    entries, base, tuned = _networks((0.5, 2.0), 40)
    choice = better(entries, "ab", base, tuned)
    assert choice.kept == "tuned"
    assert choice.tuned - choice.base == pytest.approx(choice.difference.value)
    assert choice.sentence() == (
        f"The fine-tuned network is kept: Balanced accuracy on the selection set {choice.tuned:.3f}, "
        f"before {choice.base:.3f}."
    )
    other = better(entries, "ab", tuned, base)
    assert other.kept == "base"
    assert other.sentence().startswith("The network from before fine-tuning is kept")
    assert better(entries, "ab", base, base).kept == "base"
    # another figure may decide otherwise
    assert better(entries, "ab", base, tuned, figure="auc").difference.figure == "auc"


def test_verdicts() -> None:
    entries, base, tuned = _networks((0.3, 3.0), 80)
    found = verdict(entries, "ab", base, tuned)
    assert found.word == "better"
    assert found.ruled_out
    assert found.difference.interval.low > 0
    assert found.sentence().startswith(
        f"Better. Balanced accuracy {found.tuned:.3f} after fine-tuning, {found.base:.3f}"
    )
    assert "(80 patients resampled)" in found.sentence()
    assert verdict(entries, "ab", tuned, base).word == "worse"
    assert verdict(entries, "ab", tuned, base).sentence().startswith("Worse. ")
    assert json.loads(json.dumps(found.record(), allow_nan=False))["verdict"] == "better"


def test_no_loss_shown_is_no_proof() -> None:
    entries, base, tuned = _networks((1.0, 1.0), 20)
    found = verdict(entries, "ab", base, tuned)
    assert (found.word, found.margin) == ("no loss shown", MARGIN)
    assert found.difference.interval.low < -MARGIN
    assert not found.ruled_out
    assert "the test set is too small to rule it out" in found.sentence()
    # one image of many otherwise: a larger loss is ruled out
    entries, base, _ = _networks((1.0, 1.0), 300)
    tuned = base.copy()
    tuned[0] = tuned[0][::-1]
    found = verdict(entries, "ab", base, tuned)
    assert (found.word, found.ruled_out) == ("no loss shown", True)
    assert found.sentence().endswith("A loss of more than 0.05 is ruled out.")
    # the same answers on few images rule out little
    entries, base, _ = _networks((1.0, 1.0), 12)
    assert not verdict(entries, "ab", base, base).ruled_out


def test_images_stand_in_where_patients_are_not_known() -> None:
    truth, _ = judged.cohort(60, 1)
    generator = np.random.default_rng(0)
    base, tuned = (judged.probabilities(truth, generator, 2) for _ in range(2))
    found = verdict(judged.entries(truth), "ab", base, tuned)
    assert found.unit == "image"
    assert "(60 images resampled, patients not known)" in found.sentence()


def test_what_cannot_be_judged_is_refused() -> None:
    entries, base, tuned = _networks((1.0, 1.0), 10)
    with pytest.raises(ParameterError, match=r"'f2' is unknown\. Known are: accuracy, balanced_accuracy"):
        better(entries, "ab", base, tuned, figure="f2")
    for margin in (0.0, 1.0):
        with pytest.raises(ParameterError, match="margin must be above 0"):
            verdict(entries, "ab", base, tuned, margin=margin)
    truth = np.array([0, 0, 1, 1])
    one = judged.entries(truth, np.zeros(4, int))
    p = judged.probabilities(truth, np.random.default_rng(0), 2)
    with pytest.raises(DataError, match=r"images of 1 patient\(s\): too few"):
        verdict(one, "ab", p, p[::-1])
    with pytest.raises(DataError, match="no image of the class 'b'"):
        verdict(one[:2], "ab", p[:2], p[:2])


def test_verdicts_err_rarely_where_nothing_has_changed() -> None:
    """Two networks of the same skill: 5 % are called better or worse, no more."""
    words = [
        verdict(*(lambda e, b, t: (e, "ab", b, t))(*_networks((0.7, 0.7), 24, seed)), seed=seed).word
        for seed in range(100)
    ]
    assert words.count("no loss shown") >= 88  # 95 wanted, standard deviation 2.2
