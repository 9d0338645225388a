"""Reports of networks from images to images: images, figures with intervals by resampling patients, and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Dataset, Entry
from mikata.evaluation.intervals import LEVEL, Interval, expanded, wilson
from mikata.evaluation.measures import Unit
from mikata.evaluation.paired import EXPANDED, FEWEST, TOO_FEW
from mikata.evaluation.report import Figure
from mikata.evaluation.words import WILSON_ALL, Say, image_notes, protocol
from mikata.language import english


@dataclass(frozen=True, eq=False)
class Figured:
    """What was measured of a network.

    Attributes
    ----------
    classes:
        Names of the classes but a background.
    entries:
        The images.
    rows, keys:
        All figures with their intervals, by English names; and what each is, and of which class, as of `named`.
    n, n_patients, unit:
        Number of images and of patients (None: not known), and what was resampled.
    skipped:
        Images that could not be judged.
    test_of, seen:
        As of `mikata.evaluation.Report`.
    """

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    rows: tuple[Figure, ...]
    keys: tuple[tuple[str, str], ...]
    n: int
    n_patients: int | None
    unit: Unit
    skipped: tuple[tuple[Path, str], ...] = ()
    references: Mapping[str, int] = field(default_factory=dict)
    test_of: Dataset | None = None
    seen: int = 0

    @staticmethod
    def named(key: str, class_name: str, say: Say) -> str:
        """The name of a figure, of a class where it is one's; `say` gives it its language."""
        raise NotImplementedError

    def figure(self, name: str) -> Figure:
        """The figure of an English name."""
        return next(row for row in self.rows if row.name == name)

    def figures(self, say: Say = english) -> tuple[Figure, ...]:
        """All figures with their intervals; `say` gives their names their language."""
        return tuple(
            replace(row, name=self.named(*key, say)) for row, key in zip(self.rows, self.keys, strict=True)
        )

    @property
    def leading(self) -> Figure:
        """The figure that a sentence is about."""
        return self.rows[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in English sentences."""
        return image_notes(self, english)

    @property
    def protocol(self) -> str:
        """Which images these are, in English."""
        return protocol(self, english)

    def record(self) -> dict[str, Any]:
        """All figures as plain JSON values; null where not defined."""
        return {
            "n": self.n,
            "n_patients": self.n_patients,
            "independent": self.unit,
            "references": dict(self.references),
            "skipped": len(self.skipped),
            "figures": {
                row.name: {
                    "value": finite(row.value),
                    "low": finite(row.low),
                    "high": finite(row.high),
                    "level": row.level,
                    "method": row.method,
                    "n": row.n,
                }
                for row in self.rows
            },
        }


def finite(value: float) -> float | None:
    """A number as JSON has it; null where not defined."""
    return value if math.isfinite(value) else None


def interval_of(
    value: float, draws: NDArray[np.float64], concerned: int, unit: Unit, *, is_share: bool = True
) -> Interval:
    """Interval of a figure by its resamples (expanded percentiles, Hesterberg 2015).

    Parameters
    ----------
    value, draws:
        The figure, and those of the resamples (R,).
    concerned:
        Number of patients (or images) that the figure rests on; with fewer than `FEWEST` there is none.
    is_share:
        Whether it is from 0 to 1: where all draws are alike, Wilson's interval then stands in.
    """
    if concerned < FEWEST:
        return Interval(math.nan, math.nan, TOO_FEW[unit], LEVEL)
    low, high = expanded(draws, concerned)
    if is_share and high - low < 1e-12:  # all alike, as where all is right: the draws say nothing
        whole = wilson(min(value, 1.0) * concerned, concerned)
        return Interval(whole.low, whole.high, WILSON_ALL[unit], LEVEL)
    return Interval(low, high, EXPANDED[unit], LEVEL)
