"""From predictions to a report: confusion matrix, scores and the interval that suits each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import NOT_STATED, Dataset, Entry
from mikata.evaluation.intervals import (
    LEVEL,
    Interval,
    mean_of_shares,
    percentiles,
    resampled,
    wilson,
)
from mikata.evaluation.report import ClassScores, Report, Score, Unit
from mikata.evaluation.words import BOOTSTRAP, WILSON_F1, WILSON_PATIENTS


def score(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
    *,
    skipped: tuple[tuple[Path, str], ...] = (),
    seed: int = 0,
    test_of: Dataset | None = None,
    seen: int = 0,
) -> Report:
    """Scores of predictions that are already there.

    Where every image is independent (one image for each patient, or patients unknown), intervals are
    Wilson's: F1 through TP / (TP + FP + FN), of which it is a monotone function and which is a share,
    and balanced accuracy through the recalls. Where patients have several images, patients are
    resampled (percentiles of 2000 draws): images of one patient are not independent, and treating
    them so gives intervals that are too short. Where all draws agree (everything right), the draws
    say nothing, and Wilson's interval over the patients stands in.

    Parameters
    ----------
    probabilities:
        (n, K), rows as `entries`, columns as `classes`.
    test_of, seen:
        What is known of the images, as in `Report`.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    truth = np.array([numbers[entry.label] for entry in entries])
    predicted = probabilities.argmax(1)
    confusion = _confusion(truth, predicted, np.ones(len(truth)), len(classes)).astype(np.int64)
    known = all(entry.patient for entry in entries)
    n_patients = len({entry.patient for entry in entries}) if known else None
    clustered = n_patients is not None and n_patients < len(entries)
    unit: Unit = "patient" if known else "image"
    values = _statistics(confusion.astype(np.float64))
    if clustered:
        intervals = _by_patient(entries, truth, predicted, values, len(classes), seed)
    else:
        intervals = _independent(confusion)
    sizes = _sizes(confusion)
    scores = [
        Score(float(value), interval, int(n), unit)
        for value, interval, n in zip(values, intervals, sizes, strict=True)
    ]
    count = len(classes)
    references = dict(sorted(Counter(entry.reference or NOT_STATED for entry in entries).items()))
    per_class = tuple(ClassScores(name, *scores[2 + i :: count]) for i, name in enumerate(classes))
    return Report(
        classes=tuple(classes),
        entries=tuple(entries),
        probabilities=probabilities,
        confusion=confusion,
        n=len(entries),
        n_patients=n_patients,
        unit=unit,
        accuracy=scores[0],
        balanced_accuracy=scores[1],
        per_class=per_class,
        skipped=skipped,
        references=references,
        test_of=test_of,
        seen=seen,
    )


def _confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    flat = np.bincount(truth * classes + predicted, weights=weights, minlength=classes * classes)
    return flat.astype(np.float64).reshape(classes, classes)


def _statistics(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Accuracy, balanced accuracy, then recalls, precisions, F1s and one-against-the-rest accuracies (2 + 4 K,)."""
    right = np.diag(confusion)
    true, said = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN: not defined
        recall, precision, f1 = right / true, right / said, 2 * right / (true + said)
    total = confusion.sum()
    against = (total - true - said + 2 * right) / total
    return np.concatenate([[right.sum() / total, recall.mean()], recall, precision, f1, against])


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


def _sizes(confusion: NDArray[np.int64]) -> list[int]:
    total = int(confusion.sum())
    return [total, total, *(n for _, n in _shares(confusion))]


def _independent(confusion: NDArray[np.int64]) -> list[Interval]:
    count = len(confusion)
    shares = _shares(confusion)
    singles = [wilson(*share) for share in shares]
    f1s = [_f1_of_jaccard(interval) for interval in singles[2 * count : 3 * count]]
    recalls = shares[:count]
    return [
        wilson(int(np.trace(confusion)), int(confusion.sum())),
        mean_of_shares([r for r, _ in recalls], [n for _, n in recalls]),
        *singles[: 2 * count],
        *f1s,
        *singles[3 * count :],
    ]


def _f1_of_jaccard(interval: Interval) -> Interval:
    low, high = (2 * end / (1 + end) for end in (interval.low, interval.high))
    return Interval(low, high, WILSON_F1, interval.level)


def _by_patient(
    entries: Sequence[Entry],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    values: NDArray[np.float64],
    classes: int,
    seed: int,
) -> list[Interval]:
    _, units = np.unique([entry.patient for entry in entries], return_inverse=True)
    draws = resampled(
        units, lambda weights: _statistics(_confusion(truth, predicted, weights, classes)), seed=seed
    )
    intervals = []
    concerned = _patients_concerned(units, truth, predicted, classes)
    for column, value in enumerate(values):
        low, high = percentiles(draws[:, column])
        if math.isfinite(value) and high - low < 1e-12:
            intervals.append(_without_spread(float(value), concerned[column]))
        else:
            intervals.append(Interval(low, high, BOOTSTRAP, LEVEL))
    return intervals


def _patients_concerned(
    units: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> list[int]:
    """Number of patients behind each statistic; for balanced accuracy, of the class with the fewest."""

    def patients(mask: NDArray[np.bool_]) -> int:
        return len(np.unique(units[mask]))

    everyone = len(np.unique(units))
    true = [patients(truth == k) for k in range(classes)]
    said = [patients(predicted == k) for k in range(classes)]
    either = [patients((truth == k) | (predicted == k)) for k in range(classes)]
    return [everyone, min(true), *true, *said, *either, *[everyone] * classes]


def _without_spread(value: float, patients: int) -> Interval:
    interval = wilson(value * patients, patients)
    return Interval(interval.low, interval.high, WILSON_PATIENTS, LEVEL)
