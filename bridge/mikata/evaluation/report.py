"""What an evaluation found: scores, each with n, unit and interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Dataset, Entry
from mikata.evaluation import words
from mikata.evaluation.intervals import Interval
from mikata.evaluation.measures import Unit
from mikata.evaluation.ranking import Kind
from mikata.evaluation.words import Say
from mikata.language import english
from mikata.training.run import NOTICE

Average = Literal["macro", "micro", "weighted"]


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


@dataclass(frozen=True)
class AverageScores:
    """Scores of all classes in one: the mean over classes, over images, or over classes by their size.

    Attributes
    ----------
    name:
        ``macro``: the mean of the classes. ``micro``: from the counts of all classes together; with one class for
        each image all three are the accuracy. ``weighted``: the mean of the classes, each with the weight of its
        number of images; its recall is the accuracy.
    recall, precision, f1:
        A class that no image is predicted as counts with a precision of 0.
    """

    name: Average
    recall: Score
    precision: Score
    f1: Score


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
    averages:
        Macro, micro and weighted recall, precision and F1.
    auc:
        Area under the ROC curve: of two classes, for the second.
    auc_kind:
        How it is made of more than two classes.
    per_class:
        Recall, precision and F1 of each class.
    skipped:
        Images that could not be judged, each with the reason.
    references:
        What the truth rests on: number of images for each.
    test_of:
        The data set whose test part these images are, if the network was trained on its other parts; else None.
    seen:
        Number of images that the training at hand has learnt from, or from others of their patients.
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
    averages: tuple[AverageScores, ...]
    auc: Score
    auc_kind: Kind
    per_class: tuple[ClassScores, ...]
    skipped: tuple[tuple[Path, str], ...]
    references: dict[str, int]
    test_of: Dataset | None = field(default=None, repr=False)
    seen: int = 0

    @property
    def protocol(self) -> str:
        """Which images these are and what is known of them, in English; else `mikata.evaluation.words`."""
        return words.protocol(self, english)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in English sentences; else `mikata.evaluation.words`."""
        return words.notes(self, english)

    @property
    def predicted(self) -> tuple[str, ...]:
        """Most probable class of each image."""
        return tuple(self.classes[i] for i in self.probabilities.argmax(1))

    def figures(self, say: Say = english) -> tuple[Figure, ...]:
        """All scores in the order accuracy, balanced accuracy, AUC, averages, classes; NaN where not defined.

        `say` gives the names their language; tables and packages have them in English.
        """
        named = [
            (say("Accuracy"), self.accuracy),
            (say("Balanced accuracy"), self.balanced_accuracy),
            (words.area(self, say), self.auc),
        ]
        for average in self.averages:
            recall, precision, f1 = words.averages(average.name, say)
            named += [(recall, average.recall), (precision, average.precision), (f1, average.f1)]
        for scores in self.per_class:
            named += [
                (say("Recall of {name}", name=scores.name), scores.recall),
                (say("Precision of {name}", name=scores.name), scores.precision),
                (say("F1 of {name}", name=scores.name), scores.f1),
                (say("Accuracy of {name} against the rest", name=scores.name), scores.accuracy),
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
            "averages": {
                average.name: {
                    "recall": average.recall.record(),
                    "precision": average.precision.record(),
                    "f1": average.f1.record(),
                }
                for average in self.averages
            },
            "auc": {
                **self.auc.record(),
                "of": f"class {self.classes[1]}" if len(self.classes) == 2 else self.auc_kind,
            },
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
