"""Abstention: what a classifier gets right where it is sure enough, and how often it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from mikata.datasets import Entry
from mikata.errors import DataError, ParameterError
from mikata.evaluation.intervals import LEVEL, Interval, drawings, percentiles, wilson
from mikata.evaluation.measures import Unit, numbered
from mikata.evaluation.report import Score
from mikata.evaluation.words import BOOTSTRAP, WILSON_ALL
from mikata.language import say

STAGES = 10
"""Coverages at which a threshold with a certainty is looked for: fixed, since looking at all of them costs certainty."""


@dataclass(frozen=True)
class Abstention:
    """A classifier that answers only where its confidence reaches a threshold.

    Attributes
    ----------
    threshold:
        Least confidence (probability of the most probable class) of an answer, from 0 to 1.
    n, answered:
        Number of images, and of those it answers.
    coverage:
        Share of images it answers.
    accuracy:
        Share of right answers among its answers; NaN where it answers none.
    """

    threshold: float
    n: int
    answered: int
    coverage: Score
    accuracy: Score


@dataclass(frozen=True)
class Threshold:
    """A threshold that was chosen for a wanted accuracy.

    Attributes
    ----------
    value:
        The least confidence of an answer.
    wanted:
        The accuracy that was asked for.
    certainty:
        With which the accuracy is at least that on images like these; None where the choice went by the share of
        right answers alone, which is then too good on the images of the choice, and may be missed on others.
    accuracy, coverage:
        On the images of the choice.
    n, answered:
        Numbers of images of the choice, and of those answered.
    """

    value: float
    wanted: float
    certainty: float | None
    accuracy: float
    coverage: float
    n: int
    answered: int


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """How the share of wrong answers falls as a classifier answers less often.

    Attributes
    ----------
    thresholds:
        Distinct confidences, falling (T,).
    coverage, risk:
        Share of images answered at each threshold, and share of wrong ones among these (T,).
    area:
        Area under the curve (AURC): mean risk over the numbers of answered images 1..n; images of the same
        confidence count as in any order, on average.
    least_area:
        That of the best possible order (all wrong answers last) with the same accuracy.
    """

    thresholds: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float
    least_area: float


def abstain(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: NDArray[np.floating],
    threshold: float,
    *,
    seed: int = 0,
) -> Abstention:
    """Coverage, and accuracy among the answers, at a threshold, each with its interval.

    The threshold must not come from these images. Intervals are Wilson's where images are independent, else from
    resampling patients (percentiles of 2000 draws; draws without an answer are left out of the accuracy).

    Parameters
    ----------
    probabilities:
        (n, K), rows as `entries`, columns as `classes`.
    threshold:
        From 0 (answers everything) to 1.

    Raises
    ------
    ParameterError
        If the threshold is out of range.
    """
    if not 0 <= threshold <= 1:
        raise ParameterError(
            say("The confidence threshold must be from 0 to 1, not {threshold:g}.", threshold=threshold)
        )
    confidence, right = _confidence(entries, classes, probabilities)
    answers = confidence >= threshold
    units, n_patients, unit = numbered(entries)
    n, answered, hits = len(entries), int(answers.sum()), int((answers & right).sum())
    if n_patients is None or n_patients == n:
        intervals = [wilson(answered, n), wilson(hits, answered)]
    else:
        intervals = _by_unit(units, answers, right, unit, seed)
    return Abstention(
        threshold,
        n,
        answered,
        Score(answered / n, intervals[0], n, unit),
        Score(hits / answered if answered else math.nan, intervals[1], answered, unit),
    )


def threshold_for(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: NDArray[np.floating],
    accuracy: float,
    *,
    certainty: float | None = None,
) -> Threshold:
    """Lowest threshold at which the answers reach a wanted accuracy, on a selection set.

    Parameters
    ----------
    entries, probabilities:
        Images of the selection part, and their (n, K) probabilities.
    accuracy:
        Wanted share of right answers, above 0 and at most 1.
    certainty:
        None: the share on these images decides. Else, such as 0.95: the exact lower bound (Clopper and Pearson) of
        the accuracy decides, tried at ten thresholds, those that answer a tenth, two tenths and so on of the
        images, each at a tenth of the error, so that all ten bounds hold together (Bonferroni, as in Learn then
        Test; Angelopoulos et al. 2021, arXiv 2110.01052). Where patients have several images, a bound is taken as
        if each patient were one image, which is on the safe side.

    Raises
    ------
    DataError
        If no threshold reaches it.
    ParameterError
        If a number is out of range.
    """
    if not 0 < accuracy <= 1:
        raise ParameterError(
            say("The wanted accuracy must be above 0 and at most 1, not {accuracy:g}.", accuracy=accuracy)
        )
    if certainty is not None and not 0 < certainty < 1:
        raise ParameterError(
            say("The certainty must be above 0 and below 1, not {certainty:g}.", certainty=certainty)
        )
    confidence, right = _confidence(entries, classes, probabilities)
    values, hits, answered = _by_threshold(confidence, right)
    shares = hits / answered
    if certainty is None:
        enough = np.flatnonzero(shares >= accuracy - 1e-12)
        chosen = int(enough[-1]) if len(enough) else None
    else:
        units = numbered(entries)[0]
        patients = np.array([len(np.unique(units[confidence >= value])) for value in values])
        chosen = _guaranteed(shares, patients, answered, accuracy, 1 - certainty)
    if chosen is None:
        best = int(np.argmax(shares))
        if certainty is None:
            raise DataError(
                say(
                    "No confidence threshold gives an accuracy of {wanted:g} on the {n} selection images: the "
                    "best is {best:.3f}. Ask for less, or train better.",
                    wanted=accuracy,
                    n=len(entries),
                    best=float(shares[best]),
                )
            )
        raise DataError(
            say(
                "No confidence threshold gives an accuracy of {wanted:g} with a certainty of {certainty:g} by "
                "the {n} selection images: ask for less, or add images.",
                wanted=accuracy,
                certainty=certainty,
                n=len(entries),
            )
        )
    return Threshold(
        float(values[chosen]),
        accuracy,
        certainty,
        float(shares[chosen]),
        float(answered[chosen] / len(entries)),
        len(entries),
        int(answered[chosen]),
    )


def risk_coverage(
    entries: Sequence[Entry], classes: Sequence[str], probabilities: NDArray[np.floating]
) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv and Wiener 2010) and its area (Geifman et al. 2019, arXiv 1805.08206).

    Parameters
    ----------
    probabilities:
        (n, K), rows as `entries`, columns as `classes`.
    """
    confidence, right = _confidence(entries, classes, probabilities)
    values, hits, answered = _by_threshold(confidence, right)
    wrong = answered - hits
    sizes = np.diff(answered, prepend=0)
    # within a group of one confidence wrong answers are spread evenly: that is the mean over all orders
    group = np.repeat(np.arange(len(values)), sizes)
    number = np.arange(1, len(entries) + 1)
    before, more = (wrong - np.diff(wrong, prepend=0))[group], np.diff(wrong, prepend=0)[group]
    place = number - (answered - sizes)[group]
    area = float(((before + more * place / sizes[group]) / number).mean())
    last = np.maximum(0, number - int(hits[-1]))
    return RiskCoverage(
        values, answered / len(entries), wrong / answered, area, float((last / number).mean())
    )


def _confidence(
    entries: Sequence[Entry], classes: Sequence[str], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Highest probability (n,) of each image, and whether its class is the true one."""
    if not len(entries):
        raise DataError(say("There are no images to evaluate."))
    if probabilities.shape != (len(entries), len(classes)) or not np.isfinite(probabilities).all():
        raise ValueError(f"finite probabilities ({len(entries)}, {len(classes)}) are wanted")
    numbers = {name: number for number, name in enumerate(classes)}
    truth = np.array([numbers[entry.label] for entry in entries])
    return probabilities.max(1).astype(np.float64), probabilities.argmax(1) == truth


def _by_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct confidences, falling, and the numbers of right and of all answers at each (T,)."""
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return values[ends], np.cumsum(right[order], dtype=np.int64)[ends], (ends + 1).astype(np.int64)


def _guaranteed(
    shares: NDArray[np.float64],
    patients: NDArray[np.int64],
    answered: NDArray[np.int64],
    wanted: float,
    error: float,
) -> int | None:
    """Position of most answers, among the stages of coverage, whose lower bound is at least what is wanted."""
    stages = np.searchsorted(answered, answered[-1] * np.arange(1, STAGES + 1) / STAGES)
    for position in stages[::-1]:
        hits = shares[position] * patients[position]
        bound = beta.ppf(error / STAGES, hits, patients[position] - hits + 1) if hits > 0 else 0.0
        if bound >= wanted:
            return int(position)
    return None


def _by_unit(
    units: NDArray[np.int64],
    answers: NDArray[np.bool_],
    right: NDArray[np.bool_],
    unit: Unit,
    seed: int,
) -> list[Interval]:
    """Intervals of coverage and accuracy by resampling units."""
    count = int(units.max()) + 1
    sums = [np.bincount(units, weights=mask, minlength=count) for mask in (answers, answers & right)]
    images = np.bincount(units, minlength=count)
    parts = []
    for drawn in drawings(count, seed=seed):
        given, hits, every = sums[0] @ drawn, sums[1] @ drawn, images @ drawn
        with np.errstate(invalid="ignore"):  # no answer: not defined
            parts.append(np.stack([given / every, hits / given]))
    draws = np.concatenate(parts, axis=1)
    values = [sums[0].sum() / len(units), sums[1].sum() / max(1.0, sums[0].sum())]
    concerned = [count, int((sums[0] > 0).sum())]
    intervals = []
    for value, row, patients in zip(values, draws, concerned, strict=True):
        low, high = percentiles(row)
        if high - low < 1e-12:
            stand_in = wilson(value * patients, patients)
            intervals.append(Interval(stand_in.low, stand_in.high, WILSON_ALL[unit], LEVEL))
        else:
            intervals.append(Interval(low, high, BOOTSTRAP[unit], LEVEL))
    return intervals
