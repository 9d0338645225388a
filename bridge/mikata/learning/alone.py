"""What the members of an ensemble are worth alone, beside the whole, on the same test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mikata import evaluation
from mikata.errors import DataError
from mikata.evaluation import FIGURES, Interval, Report, words
from mikata.evaluation.measures import Unit
from mikata.language import say
from mikata.learning.pairing import in_common
from mikata.training.ensembles import Ensemble
from mikata.types import Table

LEADING = "balanced_accuracy"
"""The figure that the sentence is about: it does not reward a network for saying the commonest class."""


@dataclass(frozen=True)
class Beside:
    """A figure of the ensemble beside those of its members.

    Attributes
    ----------
    figure:
        Its key, one of `mikata.evaluation.FIGURES`.
    ensemble, mean:
        The ensemble's, and the mean of the members' own; from 0 to 1, NaN where not defined.
    sd, low, high:
        Standard deviation (n - 1 in the divisor), smallest and largest of the members' own.
    difference:
        Ensemble less mean.
    interval:
        Of the difference, by resampling patients, the same for all networks. It takes the trained networks as given.
    """

    figure: str
    ensemble: float
    mean: float
    sd: float
    low: float
    high: float
    difference: float
    interval: Interval


@dataclass(frozen=True)
class Alone:
    """The ensemble beside its members.

    Attributes
    ----------
    figures:
        In the order of `mikata.evaluation.FIGURES`.
    members:
        How many there are.
    images, units:
        Numbers of test images that all could judge, and of what was resampled.
    unit:
        ``patient``, or ``image`` where patients are not known.
    """

    figures: tuple[Beside, ...]
    members: int
    images: int
    units: int
    unit: Unit

    def sentence(self, say: words.Say = say) -> str:
        """What was measured, of `LEADING`."""
        one = next(found for found in self.figures if found.figure == LEADING)
        values = {
            "figure": words.figure(one.figure, say),
            "ensemble": one.ensemble,
            "count": self.members,
            "mean": one.mean,
            "sd": one.sd,
            "low": one.low,
            "high": one.high,
            "difference": one.difference,
            "difference_low": one.interval.low,
            "difference_high": one.interval.high,
            "n": self.units,
        }
        if not (math.isfinite(one.interval.low) and math.isfinite(one.interval.high)):
            return say(
                "{figure} of the ensemble {ensemble:.3f}; of its {count} members alone {mean:.3f} on average (SD {sd:.3f}, "
                "from {low:.3f} to {high:.3f}). The difference of {difference:+.3f} has no interval: the test images are "
                "of too few patients.",
                **values,
            )
        if self.unit == "patient":
            return say(
                "{figure} of the ensemble {ensemble:.3f}; of its {count} members alone {mean:.3f} on average (SD {sd:.3f}, "
                "from {low:.3f} to {high:.3f}): difference {difference:+.3f}, 95 % interval {difference_low:+.3f} to {difference_high:+.3f} "
                "({n} patients resampled).",
                **values,
            )
        return say(
            "{figure} of the ensemble {ensemble:.3f}; of its {count} members alone {mean:.3f} on average (SD {sd:.3f}, "
            "from {low:.3f} to {high:.3f}): difference {difference:+.3f}, 95 % interval {difference_low:+.3f} to {difference_high:+.3f} "
            "({n} images resampled, patients not known).",
            **values,
        )

    def table(self, title: str) -> Table:
        """Every figure, with English names."""
        columns = (
            "figure", "ensemble", "mean_of_members", "sd_of_members", "lowest", "highest", "difference", "low", "high",
            "level", "interval",
        )  # fmt: skip
        rows = tuple(
            (one.figure, *map(_defined, _numbers(one)), one.interval.level, one.interval.method)
            for one in self.figures
        )
        return Table(title, columns, rows, append=False)

    def rows(self) -> tuple[tuple[str | float, ...], ...]:
        """The same for a page, in the user's language."""
        return tuple(
            (
                words.figure(one.figure),
                *(v if math.isfinite(v) else say("not defined") for v in _numbers(one)),
                words.method(one.interval.method),
            )
            for one in self.figures
        )

    def record(self) -> dict[str, Any]:
        """Plain JSON values; null where not defined."""
        keys = ("ensemble", "mean", "sd", "lowest", "highest", "difference", "low", "high")
        return {
            "images": self.images,
            "units": self.units,
            "independent": self.unit,
            "figures": {
                one.figure: {
                    key: value if math.isfinite(value) else None
                    for key, value in zip(keys, _numbers(one), strict=True)
                }
                | {"level": one.interval.level, "method": one.interval.method}
                for one in self.figures
            },
        }


def beside_members(ensemble: Ensemble, scores: Report) -> Alone:
    """Judge each member alone on the ensemble's test images; nothing is chosen by it.

    Parameters
    ----------
    scores:
        Of the ensemble.

    Raises
    ------
    DataError
        If no image of a class could be judged.
    """
    tested = ensemble.runs[0].parts["test"]
    reports = [evaluation.evaluate(run, tested, seed=run.seed) for run in ensemble.runs]
    entries, (*members, whole) = in_common([*reports, scores])
    # each network is a repeat: the mean over repeats is that over members, and so is their spread
    one_fold = [np.zeros(len(entries), np.int64)] * len(members)
    found = evaluation.compare(
        entries,
        ensemble.classes,
        {"members": members, "ensemble": [whole] * len(members)},
        one_fold,
        seed=ensemble.runs[0].seed,
    )
    own, mean_of_all = found.methods[1], found.methods[0]
    rows = {
        apart.figure: Beside(
            apart.figure,
            together.value,
            apart.value,
            apart.over_repeats.sd,
            apart.over_repeats.low,
            apart.over_repeats.high,
            difference.value,
            difference.interval,
        )
        for apart, together, difference in zip(
            mean_of_all.measured, own.measured, own.differences, strict=True
        )
    }
    units = own.differences[0].units
    return Alone(tuple(rows[figure] for figure in FIGURES), len(members), len(entries), units, found.unit)


def beside_members_or_why(ensemble: Ensemble, scores: Report) -> tuple[Alone | None, tuple[str, ...]]:
    """The same; where it cannot be measured, None and why, for the package is worth more than this comparison."""
    try:
        return beside_members(ensemble, scores), ()
    except DataError as error:
        return None, (say("The members were not compared with the whole: {reason}", reason=error),)


def _numbers(one: Beside) -> tuple[float, ...]:
    return (
        one.ensemble,
        one.mean,
        one.sd,
        one.low,
        one.high,
        one.difference,
        one.interval.low,
        one.interval.high,
    )


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else "not defined"
