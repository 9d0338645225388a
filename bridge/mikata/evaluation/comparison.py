"""What a comparison of methods found: figures, differences to the first method, and their table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mikata.evaluation.intervals import Interval
from mikata.evaluation.measures import FIGURES, Unit
from mikata.evaluation.paired import ResampledT
from mikata.evaluation.ranking import Kind
from mikata.types import Table

COMPARED = (*FIGURES[:4], "micro_f1", *FIGURES[4:])
"""Figures of a comparison, by key. ``balanced_accuracy`` is the macro recall, ``micro_f1`` equals ``accuracy``."""


_UNDEFINED = "not defined"


@dataclass(frozen=True)
class Spread:
    """How a figure differs between repeats or folds.

    Attributes
    ----------
    sd:
        Standard deviation (n - 1 in the divisor); NaN for fewer than 2.
    low, high:
        Smallest and largest.
    n:
        Number of repeats or folds in which the figure is defined.
    """

    sd: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Measured:
    """A figure of a method.

    Attributes
    ----------
    figure:
        Its key, one of `COMPARED`.
    value:
        Mean over the repeats, each over all images; from 0 to 1, NaN where not defined.
    interval:
        By resampling patients, who keep all their images and repeats.
    over_repeats:
        Spread of the repeats' figures.
    over_folds:
        Spread of the figures of every fold of every repeat, which are of few images each.
    """

    figure: str
    value: float
    interval: Interval
    over_repeats: Spread
    over_folds: Spread


@dataclass(frozen=True)
class Difference:
    """How a figure of a method differs from that of the first method.

    Attributes
    ----------
    figure:
        Its key, one of `COMPARED`.
    value:
        The method's less the first's; from -1 to 1.
    interval, p, p_holm:
        By resampling patients, the same for both methods: two-sided p, and that adjusted for the number of
        methods that are compared with the first (Holm 1979). They take the trained networks as given.
    t, t_p_holm:
        Corrected resampled t-test over the folds, and its p adjusted likewise. It answers for trainings on other
        images as well.
    units:
        Number of patients, or images where patients are not known.
    """

    figure: str
    value: float
    interval: Interval
    p: float
    p_holm: float
    t: ResampledT
    t_p_holm: float
    units: int

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.interval.high - self.interval.low) / 2

    @property
    def too_few(self) -> bool:
        """Whether the difference is smaller than the half-width of its interval, so that it is not shown."""
        return abs(self.value) < self.half_width

    @property
    def needed(self) -> int | None:
        """About how many patients (images) would show this difference; None where it is shown, or is 0.

        The half-width falls with the square root of the number, so that it would equal the difference then;
        half of such studies would still miss it.
        """
        if not self.too_few or abs(self.value) < 1e-12:
            return None
        return math.ceil(self.units * (self.half_width / abs(self.value)) ** 2)


@dataclass(frozen=True)
class Method:
    """What was found of one method.

    Attributes
    ----------
    name:
        As given.
    measured:
        A figure for each of `COMPARED`, in its order.
    differences:
        To the first method, in the same order; none for the first itself.
    """

    name: str
    measured: tuple[Measured, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Methods that were judged on the same folds.

    Attributes
    ----------
    methods:
        The first is the one that the others are compared with.
    n, n_patients, unit:
        Numbers of images and patients (None where not known), and what was resampled.
    of_class:
        Number of patients (images) of each class.
    repeats, folds:
        Numbers of repeats, and of folds in each.
    ratio:
        Test images over training images in a fold; NaN where not known.
    resamples:
        Of the bootstrap.
    auc:
        How the area under the curve is made of more than two classes.
    """

    methods: tuple[Method, ...]
    n: int
    n_patients: int | None
    unit: Unit
    of_class: dict[str, int]
    repeats: int
    folds: int
    ratio: float
    resamples: int
    auc: Kind

    def table(self) -> Table:
        """A row for each method and figure, English keys; for CSV and ImageJ."""
        columns = (
            "method", "figure", "value", "low", "high",
            "sd_repeats", "min_repeats", "max_repeats", "sd_folds", "min_folds", "max_folds",
            "difference", "difference_low", "difference_high", "p", "p_holm",
            "t_difference", "t_low", "t_high", "t", "t_df", "t_p", "t_p_holm",
            "n", "units", "independent",
        )  # fmt: skip
        units = self.n if self.n_patients is None else self.n_patients
        rows = []
        for method in self.methods:
            against = {difference.figure: difference for difference in method.differences}
            for m in method.measured:
                spreads = [(s.sd, s.low, s.high) for s in (m.over_repeats, m.over_folds)]
                numbers = [m.value, m.interval.low, m.interval.high, *spreads[0], *spreads[1]]
                compared: list[float | str] = [""] * 12
                if m.figure in against:
                    d = against[m.figure]
                    compared = [
                        d.value, d.interval.low, d.interval.high, d.p, d.p_holm,
                        d.t.difference, d.t.interval.low, d.t.interval.high,
                        d.t.statistic, d.t.freedom, d.t.p, d.t_p_holm,
                    ]  # fmt: skip
                rows.append(
                    (method.name, m.figure, *map(_shown, [*numbers, *compared]), self.n, units, self.unit)
                )
        return Table("Comparison", columns, tuple(rows), append=False)

    def record(self) -> dict[str, Any]:
        """Plain JSON values; null where not defined; no patient, no file name."""
        table = self.table()
        names = table.columns[:-3]
        return {
            "n": self.n,
            "n_patients": self.n_patients,
            "independent": self.unit,
            "of_class": dict(self.of_class),
            "repeats": self.repeats,
            "folds": self.folds,
            "test_over_training": self.ratio if math.isfinite(self.ratio) else None,
            "resamples": self.resamples,
            "auc": self.auc,
            "figures": [
                {k: None if v == _UNDEFINED else v for k, v in zip(names, row, strict=False) if v != ""}
                for row in table.rows
            ],
        }


def _shown(value: float | str) -> float | str:
    return value if isinstance(value, str) or math.isfinite(value) else _UNDEFINED
