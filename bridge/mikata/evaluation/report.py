"""What an evaluation found: scores, each with n, unit and interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Entry
from mikata.evaluation.intervals import Interval
from mikata.training.run import NOTICE

Unit = Literal["image", "patient"]


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes
    ----------
    value:
        From 0 to 1; NaN where it is not defined (no image of a class, or none predicted as one).
    interval:
        Its confidence interval.
    n:
        Number of images it is made of.
    unit:
        What was taken as independent for the interval.
    """

    value: float
    interval: Interval
    n: int
    unit: Unit

    def record(self) -> dict[str, Any]:
        """Plain JSON values; null where not defined."""
        return {
            "value": _finite(self.value),
            "low": _finite(self.interval.low),
            "high": _finite(self.interval.high),
            "level": self.interval.level,
            "method": self.interval.method,
            "n": self.n,
            "independent": self.unit,
        }


@dataclass(frozen=True)
class Figure:
    """A score under its name, flat, as tables and READMEs show it.

    Attributes
    ----------
    name:
        Such as ``Accuracy`` or ``Recall of brick``.
    value, low, high:
        The figure and its interval, from 0 to 1.
    level:
        Confidence of the interval.
    method:
        How the interval was made.
    n:
        Number of images it is made of.
    unit:
        What was taken as independent for the interval, ``image`` or ``patient``.
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    method: str
    n: int
    unit: Unit


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class against the rest."""

    name: str
    recall: Score
    precision: Score
    f1: Score
    accuracy: Score
    """Share of all images on whose belonging to the class or not the prediction and the truth agree: never to be
    compared with an accuracy over all classes."""


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Attributes
    ----------
    classes:
        Names, in the order of rows and columns.
    entries:
        The images that could be judged.
    probabilities:
        Of each image (n, K), float32.
    confusion:
        Numbers of images (K, K): rows are the true class, columns the predicted one.
    n, n_patients:
        Numbers of images and of patients; `n_patients` is None where patients are not known.
    unit:
        What is independent: ``patient``, or ``image`` where patients are not known.
    accuracy:
        Share of images whose most probable class is the true one.
    balanced_accuracy:
        Mean recall of the classes.
    per_class:
        Recall, precision and F1 of each class.
    skipped:
        Images that could not be judged, each with the reason.
    notes:
        What a reader must know, in sentences.
    references:
        What the truth rests on: number of images for each.
    protocol:
        Which images these are and what is known of them, in a sentence or two.
    """

    classes: tuple[str, ...]
    entries: tuple[Entry, ...] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    confusion: NDArray[np.int64]
    n: int
    n_patients: int | None
    unit: Unit
    accuracy: Score
    balanced_accuracy: Score
    per_class: tuple[ClassScores, ...]
    skipped: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]
    references: dict[str, int]
    protocol: str

    @property
    def predicted(self) -> tuple[str, ...]:
        """Most probable class of each image."""
        return tuple(self.classes[i] for i in self.probabilities.argmax(1))

    def figures(self) -> tuple[Figure, ...]:
        """All scores in the order accuracy, balanced accuracy, classes; NaN where one is not defined."""
        named = [("Accuracy", self.accuracy), ("Balanced accuracy", self.balanced_accuracy)]
        for scores in self.per_class:
            named += [
                (f"Recall of {scores.name}", scores.recall),
                (f"Precision of {scores.name}", scores.precision),
                (f"F1 of {scores.name}", scores.f1),
                (f"Accuracy of {scores.name} against the rest", scores.accuracy),
            ]
        return tuple(
            Figure(
                name,
                s.value,
                s.interval.low,
                s.interval.high,
                s.interval.level,
                s.interval.method,
                s.n,
                s.unit,
            )
            for name, s in named
        )

    def record(self) -> dict[str, Any]:
        """Plain JSON values for the record; no patient, no file name."""
        return {
            "notice": NOTICE,
            "protocol": self.protocol,
            "n": self.n,
            "n_patients": self.n_patients,
            "independent": self.unit,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "accuracy": self.accuracy.record(),
            "balanced_accuracy": self.balanced_accuracy.record(),
            "per_class": [
                {
                    "name": scores.name,
                    "recall": scores.recall.record(),
                    "precision": scores.precision.record(),
                    "f1": scores.f1.record(),
                    "accuracy_against_the_rest": scores.accuracy.record(),
                }
                for scores in self.per_class
            ],
            "skipped": len(self.skipped),
            "notes": list(self.notes),
            "references": dict(self.references),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
