"""Figures of classifiers from confusion matrices and rankings, for many resamples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mikata.datasets import Entry
from mikata.evaluation.ranking import Kind, area, rankings

Unit = Literal["image", "patient"]

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_f1",
    "weighted_precision",
    "weighted_f1",
    "auc",
)
"""Figures of a whole classifier, by key.

``balanced_accuracy`` is the macro recall. ``accuracy`` is also the micro recall, micro precision and micro F1, and
the weighted recall: where each image has one true and one predicted class these are the same number.
"""


def numbered(entries: Sequence[Entry]) -> tuple[NDArray[np.int64], int | None, Unit]:
    """What is resampled: the number (n,) of each image's patient; how many patients; ``patient`` or ``image``.

    Where the patient of an image is not known, every image is its own unit and the number of patients is None.
    """
    if all(entry.patient for entry in entries):
        names, units = np.unique([entry.patient for entry in entries], return_inverse=True)
        return units.astype(np.int64), len(names), "patient"
    return np.arange(len(entries)), None, "image"


def units_concerned(units: NDArray[np.int64], truth: NDArray[np.int64], classes: int) -> list[int]:
    """Number of units (patients) that each of the `FIGURES` rests on.

    For a mean over classes, and for the area under the curve, of the class with the fewest.
    """
    everyone = len(np.unique(units))
    fewest = min(len(np.unique(units[truth == k])) for k in range(classes))
    whole = ("accuracy", "weighted_precision", "weighted_f1")
    return [everyone if name in whole else fewest for name in FIGURES]


def per_class(confusions: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Recalls, precisions, F1s and accuracies of one class against the rest, each (..., K).

    Parameters
    ----------
    confusions:
        (..., K, K): numbers of images, rows are the true class, columns the predicted one.

    Returns
    -------
    tuple of ndarray
        NaN where 0 / 0: no image of the class, none predicted as it, neither.
    """
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    true, said = confusions.sum(-1), confusions.sum(-2)
    total = true.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision, f1 = right / true, right / said, 2 * right / (true + said)
        against = (total - true - said + 2 * right) / total
    return recall, precision, f1, against


def of_all_classes(confusions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The `FIGURES` but the area under the curve, (..., 6), from confusion matrices (..., K, K).

    Macro figures are means over the classes, weighted ones weigh each class by its number of true images. A class
    that has images, but which no image is predicted as, has a precision of 0 there, as in scikit-learn. A class
    without images leaves macro figures undefined (NaN) and has no weight in weighted ones.
    """
    recall, precision, f1, _ = per_class(confusions)
    true, said = confusions.sum(-1), confusions.sum(-2)
    total = true.sum(-1)
    absent = true == 0
    precision = np.where((said == 0) & ~absent, 0.0, precision)
    precision = np.where(absent, np.nan, precision)
    f1 = np.where(absent, np.nan, f1)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = np.trace(confusions, axis1=-2, axis2=-1) / total
        weighted = [np.where(absent, 0.0, true * part).sum(-1) / total for part in (precision, f1)]
    macro = [part.mean(-1) for part in (recall, precision, f1)]
    return np.stack([accuracy, *macro, *weighted], -1)


class Judged:
    """One set of predictions, ready to be judged on resamples of its patients.

    Parameters
    ----------
    truth:
        (n,) numbers of the classes, from 0.
    probabilities:
        (n, K), finite.
    units:
        (n,) number of the resampled unit of each image, as from `numbered`.
    strata:
        (n,) fold of each image, whose networks' probabilities are not to be compared; None: one network.
    kind:
        Of the area under the curve.
    """

    def __init__(
        self,
        truth: NDArray[np.int64],
        probabilities: NDArray[np.floating],
        units: NDArray[np.int64],
        strata: NDArray[np.int64] | None = None,
        kind: Kind = "one-vs-rest",
    ) -> None:
        count = probabilities.shape[1]
        self.classes = count
        cells = truth * count + probabilities.argmax(1)
        shape = (count * count, int(units.max()) + 1)
        self._cells = csr_array((np.ones(len(truth)), (cells, units)), shape=shape)
        self._rankings = rankings(truth, probabilities, units, strata, kind)

    def confusions(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Confusion matrices (R, K, K) for how often each unit counts (U, R)."""
        flat = np.asarray(self._cells @ drawn)
        return np.ascontiguousarray(flat.T).reshape(-1, self.classes, self.classes)

    def areas(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Areas under the curve (R,)."""
        return area(self._rankings, drawn)

    def figures(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """The `FIGURES` (R, 7)."""
        return np.column_stack([of_all_classes(self.confusions(drawn)), self.areas(drawn)])
