"""Areas under ROC curves, of one set of probabilities and of thousands of resamples of it at once."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["one-vs-rest", "hand-till"]
"""How an area is made of more than two classes."""


class Ranking:
    """Scores of positive and negative images, sorted once.

    The area is the share of pairs of a positive and a negative image in which the positive one has the higher
    score, ties counting one half (Hanley and McNeil 1982). Where strata are given, only images of one stratum are
    paired: probabilities of networks that were trained on different folds are not on one scale, and pairing them
    biases the area (Forman and Scholz 2010).

    Parameters
    ----------
    scores:
        (n,), finite; higher speaks for positive.
    positive:
        (n,) truth values.
    units:
        (n,) number of the resampled unit (patient) of each image, from 0.
    strata:
        (n,) whole numbers; None: all images are in one.
    """

    def __init__(
        self,
        scores: NDArray[np.floating],
        positive: NDArray[np.bool_],
        units: NDArray[np.int64],
        strata: NDArray[np.int64] | None = None,
    ) -> None:
        found = np.zeros(len(scores), np.int64)
        if strata is not None:
            found = np.unique(strata, return_inverse=True)[1]
        order = np.lexsort((scores, found))
        values, yes, stratum = scores[order], positive[order], found[order]
        self._positive, self._negative = units[order][yes], units[order][~yes]
        # numbers of negatives below each positive, and not above it; ends of the strata among both
        new = np.ones(len(order), bool)
        new[1:] = (values[1:] != values[:-1]) | (stratum[1:] != stratum[:-1])
        group = np.cumsum(new) - 1
        negatives = np.concatenate([[0], np.cumsum(~yes)])
        starts = np.append(np.flatnonzero(new), len(order))
        self._below = negatives[starts[group]][yes]
        self._not_above = negatives[starts[group + 1]][yes]
        self._ties = bool((self._below != self._not_above).any())
        edges = np.searchsorted(stratum, np.arange(stratum.max(initial=0) + 2))
        self._negative_edges = negatives[edges]
        self._positive_edges = edges - negatives[edges]

    def area(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Area (R,) for how often each unit counts (U, R); NaN where there is no pair.

        One pass over the sorted images for all resamples, instead of a sort for each.
        """
        before = np.zeros((len(self._negative) + 1, drawn.shape[1]))
        np.cumsum(drawn[self._negative], axis=0, out=before[1:])
        counts = drawn[self._positive]
        won = np.einsum("ir,ir->r", counts, before[self._below])
        if self._ties:
            won = (won + np.einsum("ir,ir->r", counts, before[self._not_above])) / 2
        pairs = np.zeros_like(won)
        for first, last, low, high in zip(
            self._positive_edges, self._positive_edges[1:], self._negative_edges, self._negative_edges[1:],
            strict=False,
        ):  # fmt: skip
            of_stratum = counts[first:last].sum(0)
            pairs += of_stratum * (before[high] - before[low])
            won -= of_stratum * before[low]
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: not defined
            return np.asarray(won / pairs)


def rankings(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    units: NDArray[np.int64],
    strata: NDArray[np.int64] | None = None,
    kind: Kind = "one-vs-rest",
) -> list[Ranking]:
    """The rankings whose areas' mean is the area of a classifier.

    Of two classes, that of the second class alone; of more, either each class against the rest, all with the same
    weight (macro), or each ordered pair of classes (Hand and Till 2001, their M), which does not depend on how
    frequent the classes are.

    Parameters
    ----------
    truth:
        (n,) numbers of the classes.
    probabilities:
        (n, K).
    units, strata:
        As in `Ranking`.
    """
    count = probabilities.shape[1]
    if count == 2:
        return [Ranking(probabilities[:, 1], truth == 1, units, strata)]
    if kind == "one-vs-rest":
        return [Ranking(probabilities[:, k], truth == k, units, strata) for k in range(count)]
    found = []
    for i in range(count):
        for j in range(count):
            if i != j:
                among = (truth == i) | (truth == j)
                part = None if strata is None else strata[among]
                found.append(Ranking(probabilities[among, i], truth[among] == i, units[among], part))
    return found


def area(found: list[Ranking], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean area (R,) of rankings for how often each unit counts (U, R); NaN where one is not defined."""
    total = np.zeros(drawn.shape[1])
    for ranking in found:
        total += ranking.area(drawn)
    return total / len(found)


def auc(truth: NDArray[np.int64], probabilities: NDArray[np.floating], kind: Kind = "one-vs-rest") -> float:
    """Area under the ROC curve of a classifier, as `rankings` defines it.

    Parameters
    ----------
    truth:
        (n,) numbers of the classes, from 0.
    probabilities:
        (n, K), finite.

    Returns
    -------
    float
        From 0 to 1, 0.5 by chance; NaN where a class has no image.
    """
    units = np.arange(len(truth))
    return float(area(rankings(truth, probabilities, units, kind=kind), np.ones((len(truth), 1)))[0])
