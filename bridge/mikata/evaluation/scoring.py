"""From predictions to a report: confusion matrix, scores and the interval that suits each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Dataset, Entry, references_of
from mikata.evaluation.intervals import LEVEL, Interval, drawings, mean_of_shares, percentiles, wilson
from mikata.evaluation.measures import (
    FIGURES,
    Judged,
    Unit,
    numbered,
    of_all_classes,
    per_class,
    units_concerned,
)
from mikata.evaluation.ranking import Kind
from mikata.evaluation.report import AverageScores, ClassScores, Report, Score
from mikata.evaluation.words import BOOTSTRAP, WILSON_ALL, WILSON_F1

_ALL = len(FIGURES)  # columns of the whole classifier; those of the classes come after them


def score(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
    *,
    skipped: tuple[tuple[Path, str], ...] = (),
    seed: int = 0,
    test_of: Dataset | None = None,
    seen: int = 0,
    auc: Kind = "one-vs-rest",
) -> Report:
    """Scores of predictions that are already there.

    Where every image is independent (one image for each patient, or patients unknown), intervals of shares
    are Wilson's: F1 through TP / (TP + FP + FN), of which it is a monotone function and which is a share,
    and balanced accuracy through the recalls. Averages of precision and F1, and the area under the ROC
    curve, are no such shares: the patients are resampled (percentiles of 2000 draws), or the images where
    patients are not known. Where patients have several images, patients are resampled for every figure:
    images of one patient are not independent, and treating them so gives intervals that are too short.
    Draws in which a class has no image are left out of the figures that need it. Where all draws agree
    (everything right), the draws say nothing, and Wilson's interval over the patients stands in.

    Parameters
    ----------
    probabilities:
        (n, K), rows as `entries`, columns as `classes`.
    seed:
        Of the resampling.
    test_of, seen:
        What is known of the images, as in `Report`.
    auc:
        Of more than two classes: each against the rest, or all pairs (Hand and Till 2001).
    """
    numbers = {name: number for number, name in enumerate(classes)}
    count = len(classes)
    truth = np.array([numbers[entry.label] for entry in entries])
    predicted = probabilities.argmax(1)
    units, n_patients, unit = numbered(entries)
    judged = Judged(truth, probabilities, units, kind=auc)
    everyone = np.ones((int(units.max()) + 1, 1))
    confusion = judged.confusions(everyone)[0].astype(np.int64)
    values = _statistics(judged, everyone)[0]
    intervals = _resampled(judged, units, truth, predicted, values, unit, seed)
    if n_patients is None or n_patients == len(entries):
        intervals |= _independent(confusion)
    sizes = [len(entries)] * _ALL + [n for _, n in _shares(confusion)]
    scores = [
        Score(float(value), intervals[column], int(n), unit)
        for column, (value, n) in enumerate(zip(values, sizes, strict=True))
    ]
    whole = dict(zip(FIGURES, scores, strict=False))
    return Report(
        classes=tuple(classes),
        entries=tuple(entries),
        probabilities=probabilities,
        confusion=confusion,
        n=len(entries),
        n_patients=n_patients,
        unit=unit,
        accuracy=whole["accuracy"],
        balanced_accuracy=whole["balanced_accuracy"],
        averages=(
            AverageScores("macro", whole["balanced_accuracy"], whole["macro_precision"], whole["macro_f1"]),
            AverageScores("micro", whole["accuracy"], whole["accuracy"], whole["accuracy"]),
            AverageScores("weighted", whole["accuracy"], whole["weighted_precision"], whole["weighted_f1"]),
        ),
        auc=whole["auc"],
        auc_kind=auc,
        per_class=tuple(ClassScores(name, *scores[_ALL + i :: count]) for i, name in enumerate(classes)),
        skipped=skipped,
        references=references_of(entries),
        test_of=test_of,
        seen=seen,
    )


def _statistics(judged: Judged, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The `FIGURES`, then recalls, precisions, F1s and one-against-the-rest accuracies: (R, 7 + 4 K)."""
    confusions = judged.confusions(drawn)
    return np.column_stack([of_all_classes(confusions), judged.areas(drawn), *per_class(confusions)])


def _shares(confusion: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(right, of) behind recalls, precisions, F1s and accuracies of one class against the rest.

    TP of TP + FN, of TP + FP, of TP + FP + FN; TP + TN of all.
    """
    right = np.diag(confusion)
    true, said, total = confusion.sum(1), confusion.sum(0), confusion.sum()
    shares = [
        (int(r), int(n))
        for counts in (true, said, true + said - right)
        for r, n in zip(right, counts, strict=True)
    ]
    return [*shares, *((int(n), int(total)) for n in total - true - said + 2 * right)]


def _independent(confusion: NDArray[np.int64]) -> dict[int, Interval]:
    """Intervals by column of what is a share, or a mean of shares, of independent images."""
    count = len(confusion)
    shares = _shares(confusion)
    recalls = shares[:count]
    found = {
        FIGURES.index("accuracy"): wilson(int(np.trace(confusion)), int(confusion.sum())),
        FIGURES.index("balanced_accuracy"): mean_of_shares([r for r, _ in recalls], [n for _, n in recalls]),
    }
    for column, share in enumerate(shares):
        interval = wilson(*share)
        is_f1 = 2 * count <= column < 3 * count
        found[_ALL + column] = _f1_of_jaccard(interval) if is_f1 else interval
    return found


def _f1_of_jaccard(interval: Interval) -> Interval:
    low, high = (2 * end / (1 + end) for end in (interval.low, interval.high))
    return Interval(low, high, WILSON_F1, interval.level)


def _resampled(
    judged: Judged,
    units: NDArray[np.int64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    values: NDArray[np.float64],
    unit: Unit,
    seed: int,
) -> dict[int, Interval]:
    """Intervals by column from resampling units."""
    size = max(len(truth), judged.classes**2)
    draws = np.concatenate(
        [_statistics(judged, drawn) for drawn in drawings(int(units.max()) + 1, seed=seed, size=size)]
    )
    intervals = {}
    concerned = _concerned(units, truth, predicted, judged.classes)
    for column, value in enumerate(values):
        low, high = percentiles(draws[:, column])
        if math.isfinite(value) and high - low < 1e-12:
            intervals[column] = _without_spread(float(value), concerned[column], unit)
        else:
            intervals[column] = Interval(low, high, BOOTSTRAP[unit], LEVEL)
    return intervals


def _concerned(
    units: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> list[int]:
    """Number of units (patients) behind each of the `FIGURES`, then behind each class's four scores (7 + 4 K)."""

    def count(mask: NDArray[np.bool_]) -> int:
        return len(np.unique(units[mask]))

    true = [count(truth == k) for k in range(classes)]
    said = [count(predicted == k) for k in range(classes)]
    either = [count((truth == k) | (predicted == k)) for k in range(classes)]
    everyone = len(np.unique(units))
    return [*units_concerned(units, truth, classes), *true, *said, *either, *[everyone] * classes]


def _without_spread(value: float, count: int, unit: Unit) -> Interval:
    interval = wilson(value * count, count)
    return Interval(interval.low, interval.high, WILSON_ALL[unit], LEVEL)
