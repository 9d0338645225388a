"""Base or fine-tuned: which to keep, by a selection set, and what the untouched test set says of it, once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Entry
from mikata.errors import DataError, ParameterError
from mikata.evaluation import words
from mikata.evaluation.comparing import compare
from mikata.evaluation.comparison import COMPARED, Comparison, Difference
from mikata.evaluation.measures import Unit
from mikata.language import joined, say

Kept = Literal["base", "tuned"]
Word = Literal["better", "no loss shown", "worse"]

MARGIN = 0.05
"""A loss that large, and no larger, is taken to be no matter, unless another margin is given beforehand."""


@dataclass(frozen=True)
class Choice:
    """Which of two networks to keep, by the selection set.

    Attributes
    ----------
    kept:
        ``tuned`` only where its figure is higher; where they are equal ``base``, which is known for longer.
    base, tuned:
        Their figures on the selection set, from 0 to 1. The kept one's is too good: it was chosen by it.
    difference:
        Tuned less base, with its interval. The choice goes by the value alone.
    """

    kept: Kept
    base: float
    tuned: float
    difference: Difference

    def sentence(self, say: words.Say = say) -> str:
        """The choice in words."""
        figure = words.figure(self.difference.figure, say)
        if self.kept == "tuned":
            return say(
                "The fine-tuned network is kept: {figure} on the selection set {tuned:.3f}, before {base:.3f}.",
                figure=figure,
                tuned=self.tuned,
                base=self.base,
            )
        return say(
            "The network from before fine-tuning is kept: {figure} on the selection set {base:.3f}, "
            "fine-tuned {tuned:.3f}.",
            figure=figure,
            tuned=self.tuned,
            base=self.base,
        )


@dataclass(frozen=True)
class Verdict:
    """What the test set says of fine-tuning.

    Attributes
    ----------
    word:
        ``better`` where the whole interval of the difference is above 0, ``worse`` where it is below 0, else
        ``no loss shown``: which is no proof that there is none.
    base, tuned:
        Their figures on the test set, from 0 to 1.
    difference:
        Tuned less base, with the interval (95 %) that decides, from resampling patients.
    margin:
        The loss that is taken to be no matter.
    unit:
        ``patient``, or ``image`` where patients are not known.
    """

    word: Word
    base: float
    tuned: float
    difference: Difference
    margin: float
    unit: Unit

    @property
    def ruled_out(self) -> bool:
        """Whether the interval leaves out every loss larger than the margin (non-inferior)."""
        return self.difference.interval.low >= -self.margin

    def sentence(self, say: words.Say = say) -> str:
        """The verdict in words, with the interval."""
        d = self.difference
        values = {
            "figure": words.figure(d.figure, say),
            "tuned": self.tuned,
            "base": self.base,
            "value": d.value,
            "low": d.interval.low,
            "high": d.interval.high,
            "n": d.units,
        }
        found = (
            say(
                "{figure} {tuned:.3f} after fine-tuning, {base:.3f} before: difference {value:+.3f}, 95 % "
                "interval {low:+.3f} to {high:+.3f} ({n} patients resampled).",
                **values,
            )
            if self.unit == "patient"
            else say(
                "{figure} {tuned:.3f} after fine-tuning, {base:.3f} before: difference {value:+.3f}, 95 % "
                "interval {low:+.3f} to {high:+.3f} ({n} images resampled, patients not known).",
                **values,
            )
        )
        if self.word == "better":
            return joined((say("Better."), found))
        if self.word == "worse":
            return joined((say("Worse."), found))
        if self.ruled_out:
            more = say("A loss of more than {margin:g} is ruled out.", margin=self.margin)
        else:
            more = say(
                "A loss of {loss:.3f} would fit these data too, more than the margin of {margin:g}: the test "
                "set is too small to rule it out.",
                loss=-d.interval.low,
                margin=self.margin,
            )
        return joined((say("No loss shown."), found, more))

    def record(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "verdict": self.word,
            "figure": self.difference.figure,
            "base": self.base,
            "tuned": self.tuned,
            "difference": self.difference.value,
            "low": self.difference.interval.low,
            "high": self.difference.interval.high,
            "level": self.difference.interval.level,
            "method": self.difference.interval.method,
            "margin": self.margin,
            "loss_ruled_out": self.ruled_out,
            "units": self.difference.units,
            "independent": self.unit,
        }


def better(
    entries: Sequence[Entry],
    classes: Sequence[str],
    base: NDArray[np.floating],
    tuned: NDArray[np.floating],
    *,
    figure: str = "balanced_accuracy",
    seed: int = 0,
) -> Choice:
    """Choose between a network before and after fine-tuning, by images that neither was trained on.

    Parameters
    ----------
    entries:
        The n images of a selection set, never those of the test set.
    classes:
        Names of the K classes.
    base, tuned:
        Probabilities (n, K) of the two networks.
    figure:
        The figure that decides, one of `COMPARED`.

    Raises
    ------
    DataError
        If a class has no image.
    ParameterError
        If the figure is unknown.
    """
    comparison, difference = _pair(entries, classes, base, tuned, figure, seed)
    values = _values(comparison, figure)
    # a difference of rounding is none
    return Choice("tuned" if difference.value > 1e-12 else "base", *values, difference)


def verdict(
    entries: Sequence[Entry],
    classes: Sequence[str],
    base: NDArray[np.floating],
    tuned: NDArray[np.floating],
    *,
    figure: str = "balanced_accuracy",
    margin: float = MARGIN,
    seed: int = 0,
) -> Verdict:
    """Judge fine-tuning on the untouched test set, which is to be done once, after the choice.

    Parameters
    ----------
    entries:
        The n images of the test set.
    base, tuned:
        Probabilities (n, K) of the two networks.
    figure:
        One of `COMPARED`, chosen beforehand.
    margin:
        Largest loss that does not matter, above 0 and below 1, chosen beforehand.

    Raises
    ------
    DataError
        If a class has no image, or there are too few patients for an interval.
    ParameterError
        If the figure is unknown or the margin out of range.
    """
    if not 0 < margin < 1:
        raise ParameterError(say("The margin must be above 0 and below 1, not {margin:g}.", margin=margin))
    comparison, difference = _pair(entries, classes, base, tuned, figure, seed)
    low, high = difference.interval.low, difference.interval.high
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(
            say("Networks cannot be compared on the images of {n} patient(s): too few.", n=difference.units)
        )
    word: Word = "better" if low > 0 else "worse" if high < 0 else "no loss shown"
    return Verdict(word, *_values(comparison, figure), difference, margin, comparison.unit)


def _pair(
    entries: Sequence[Entry],
    classes: Sequence[str],
    base: NDArray[np.floating],
    tuned: NDArray[np.floating],
    figure: str,
    seed: int,
) -> tuple[Comparison, Difference]:
    if figure not in COMPARED:
        raise ParameterError(
            say(
                "The figure '{figure}' is unknown. Known are: {known}.",
                figure=figure,
                known=", ".join(COMPARED),
            )
        )
    together = [np.zeros(len(entries), np.int64)]  # one network each, so one fold
    found = compare(entries, classes, {"base": [base], "tuned": [tuned]}, together, seed=seed)
    return found, found.methods[1].differences[COMPARED.index(figure)]


def _values(comparison: Comparison, figure: str) -> tuple[float, float]:
    base, tuned = (method.measured[COMPARED.index(figure)].value for method in comparison.methods)
    return base, tuned
