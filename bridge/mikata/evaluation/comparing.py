"""Several methods on the same repeats and folds: figures, differences to the first, and what they can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Entry
from mikata.datasets.splitting import groups_of
from mikata.errors import DataError
from mikata.evaluation.comparison import COMPARED, Comparison, Difference, Measured, Method, Spread
from mikata.evaluation.intervals import RESAMPLES, drawings
from mikata.evaluation.measures import FIGURES, Judged, Unit, numbered, units_concerned
from mikata.evaluation.paired import (
    corrected_t,
    difference_interval,
    difference_p,
    holm,
    share_interval,
)
from mikata.evaluation.ranking import Kind
from mikata.language import say

_COLUMNS = [FIGURES.index("accuracy" if name == "micro_f1" else name) for name in COMPARED]


def compare(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: Mapping[str, Sequence[NDArray[np.floating]]],
    folds: Sequence[NDArray[np.int64]],
    *,
    training: float | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    auc: Kind = "one-vs-rest",
) -> Comparison:
    """Compare methods by their out-of-fold probabilities on the same repeats and folds.

    Figures of a repeat are made of the confusion matrix of all its images, so that no fold lacks a class; for the
    area under the curve only images of one fold are paired, since the networks of two folds are not on one scale
    (Forman and Scholz 2010). The figure of a method is the mean over repeats. Its interval, and that of its
    difference to the first method, come from resampling patients, with the same draws for all methods (expanded
    percentiles, Hesterberg 2015, which allow for few patients). Draws in which a class has no image are left out of
    the figures that need it.

    Parameters
    ----------
    entries:
        The n images.
    classes:
        Names of the K classes, in the order of columns.
    probabilities:
        For each method, the first being the one that others are compared with: for each repeat (n, K), each row
        by the network that was not trained on that image.
    folds:
        For each repeat (n,): number of the fold in which each image was tested.
    training:
        Mean number of images that a network learnt from, for the corrected t-test; None: all that are not in the
        fold's test part (which is too many where some are a selection part).
    seed:
        Of the resampling.
    auc:
        Of more than two classes: each against the rest, or all pairs (Hand and Till 2001).

    Raises
    ------
    DataError
        If images of one patient, or copies of one image, are in two folds of a repeat, or a class has no image.
    ValueError
        If shapes do not agree, or a probability is not finite.
    """
    names = {name: number for number, name in enumerate(classes)}
    truth = np.array([names[entry.label] for entry in entries], np.int64)
    _check_shapes(probabilities, folds, len(entries), len(classes))
    _check_data(entries, classes, folds)
    units, n_patients, unit = numbered(entries)
    count = int(units.max()) + 1
    judged = {
        name: [Judged(truth, p, units, fold, auc) for p, fold in zip(given, folds, strict=True)]
        for name, given in probabilities.items()
    }
    blocks: dict[str, list[NDArray[np.float64]]] = {name: [] for name in judged}
    for drawn in drawings(count, seed=seed, resamples=resamples, size=max(len(entries), len(classes) ** 2)):
        for name, repeats in judged.items():
            blocks[name].append(np.mean([one.figures(drawn) for one in repeats], axis=0)[:, _COLUMNS])
    draws = {name: np.concatenate(found) for name, found in blocks.items()}
    everyone = np.ones((count, 1))
    of_repeats = {
        name: np.array([one.figures(everyone)[0] for one in repeats])[:, _COLUMNS]
        for name, repeats in judged.items()
    }
    of_folds = {
        name: _figures_of_folds(truth, given, folds, auc)[:, _COLUMNS]
        for name, given in probabilities.items()
    }
    concerned = [units_concerned(units, truth, len(classes))[column] for column in _COLUMNS]
    measured = {
        name: tuple(
            Measured(
                figure,
                float(of_repeats[name][:, s].mean()),
                share_interval(
                    float(of_repeats[name][:, s].mean()), draws[name][:, s], count, concerned[s], unit
                ),
                _spread(of_repeats[name][:, s]),
                _spread(of_folds[name][:, s]),
            )
            for s, figure in enumerate(COMPARED)
        )
        for name in judged
    }
    ratio = _ratio(folds, len(entries), training)
    differences = _differences(draws, of_repeats, of_folds, ratio, count, concerned, unit)
    return Comparison(
        methods=tuple(Method(name, measured[name], differences[name]) for name in judged),
        n=len(entries),
        n_patients=n_patients,
        unit=unit,
        of_class={name: len(np.unique(units[truth == number])) for name, number in names.items()},
        repeats=len(folds),
        folds=max(len(np.unique(fold)) for fold in folds),
        ratio=ratio,
        resamples=resamples,
        auc=auc,
    )


def _differences(
    draws: dict[str, NDArray[np.float64]],
    of_repeats: dict[str, NDArray[np.float64]],
    of_folds: dict[str, NDArray[np.float64]],
    ratio: float,
    count: int,
    concerned: list[int],
    unit: Unit,
) -> dict[str, tuple[Difference, ...]]:
    """For each method its differences to the first, in the order of `COMPARED`; none for the first."""
    first, *others = draws
    found: dict[str, list[Difference]] = {name: [] for name in draws}
    for s, figure in enumerate(COMPARED):
        values = [float((of_repeats[name] - of_repeats[first])[:, s].mean()) for name in others]
        drawn = [(draws[name] - draws[first])[:, s] for name in others]
        ps = [difference_p(one, count) for one in drawn]
        tests = [corrected_t((of_folds[name] - of_folds[first])[:, s].tolist(), ratio) for name in others]
        rows = zip(others, values, drawn, ps, holm(ps), tests, holm([one.p for one in tests]), strict=True)
        for name, value, one, p, p_holm, test, t_p_holm in rows:
            interval = difference_interval(value, one, count, concerned[s], unit)
            found[name].append(Difference(figure, value, interval, p, p_holm, test, t_p_holm, count))
    return {name: tuple(rows) for name, rows in found.items()}


def _figures_of_folds(
    truth: NDArray[np.int64],
    given: Sequence[NDArray[np.floating]],
    folds: Sequence[NDArray[np.int64]],
    auc: Kind,
) -> NDArray[np.float64]:
    """The `FIGURES` of every fold of every repeat (J, 7)."""
    rows = []
    for probabilities, fold in zip(given, folds, strict=True):
        for number in np.unique(fold):
            mine = fold == number
            one = Judged(truth[mine], probabilities[mine], np.arange(int(mine.sum())), kind=auc)
            rows.append(one.figures(np.ones((int(mine.sum()), 1)))[0])
    return np.array(rows)


def _spread(values: NDArray[np.float64]) -> Spread:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Spread(math.nan, math.nan, math.nan, 0)
    sd = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
    return Spread(sd, float(defined.min()), float(defined.max()), len(defined))


def _ratio(folds: Sequence[NDArray[np.int64]], n: int, training: float | None) -> float:
    tested = float(np.mean([len(fold) / len(np.unique(fold)) for fold in folds]))
    learnt = n - tested if training is None else training
    return tested / learnt if learnt > 0 else math.nan


def _check_shapes(
    probabilities: Mapping[str, Sequence[NDArray[np.floating]]],
    folds: Sequence[NDArray[np.int64]],
    n: int,
    classes: int,
) -> None:
    if not probabilities or not folds or not n:
        raise ValueError("nothing to compare")
    if any(fold.shape != (n,) for fold in folds):
        raise ValueError(f"folds of {n} images are wanted, one array for each repeat")
    for name, given in probabilities.items():
        if len(given) != len(folds):
            raise ValueError(f"{name}: {len(given)} repeats where there are {len(folds)}")
        for one in given:
            if one.shape != (n, classes):
                raise ValueError(f"{name}: probabilities {one.shape} where ({n}, {classes}) are wanted")
            if not np.isfinite(one).all():
                raise ValueError(f"{name}: a probability is not finite")


def _check_data(entries: Sequence[Entry], classes: Sequence[str], folds: Sequence[NDArray[np.int64]]) -> None:
    for name in classes:
        if not any(entry.label == name for entry in entries):
            raise DataError(say("There is no image of the class '{name}' to compare methods on.", name=name))
    groups = groups_of(entries)
    for fold in folds:
        first: dict[int, int] = {}
        for i, group in enumerate(groups):
            before = first.setdefault(group, i)
            if fold[before] != fold[i]:
                raise DataError(
                    say(
                        "{one} and {other} are of one patient or the same picture, but are tested in two "
                        "folds: the networks have seen what they are tested on.",
                        one=entries[before].file.name,
                        other=entries[i].file.name,
                    )
                )
