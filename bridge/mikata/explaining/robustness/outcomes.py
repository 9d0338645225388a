"""What the network says of changed images, over all of them: accuracy, agreement and probability with intervals.

Patients are resampled, since images of one patient are not independent; where patients are not known, image files
are. Intervals are expanded percentiles of the bootstrap (`mikata.evaluation.intervals.expanded`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mikata.evaluation.intervals import Interval
from mikata.evaluation.paired import share_interval
from mikata.explaining.resamples import resampled_means
from mikata.explanation.corruptions import UNITS
from mikata.types import Table

UNCHANGED, FGSM, PGD, SMALLEST = "unchanged", "FGSM", "PGD", "smallest change"
NOT_DEFINED = "not defined"


@dataclass(frozen=True)
class Test:
    """A change that all images went through.

    Attributes
    ----------
    name:
        ``unchanged``, ``FGSM``, ``PGD``, ``smallest change`` (at most so large), or a kind of corruption.
    level:
        How strong, in `unit`.
    unit:
        Of the level.
    """

    name: str
    level: float = 0.0
    unit: str = ""

    __test__ = False  # no test of pytest's


@dataclass(frozen=True)
class Subject:
    """A plane, and what is known of it.

    Attributes
    ----------
    image:
        Name of its image in the run; `z` and `t` count from 1.
    patient:
        Empty where not known.
    truth, human:
        Number of the true class, and of the one that a human called; None where not known.
    predicted:
        Number of the class that the network gives the unchanged plane.
    probability:
        Of that class.
    """

    image: str
    z: int
    t: int
    patient: str
    truth: int | None
    human: int | None
    predicted: int
    probability: float


@dataclass(frozen=True)
class Answer:
    """What the network says of a changed plane: a class, and the probability of the class it gave the unchanged one."""

    predicted: int
    left: float


@dataclass(frozen=True)
class Figures:
    """One test over all planes that it could be made on.

    Attributes
    ----------
    n_planes, n_images, n_units:
        Planes, image files, and independent units (patients or files) among them.
    flips:
        Planes whose predicted class is another than that of the unchanged plane.
    agreement:
        Share of planes whose predicted class stayed, 0 to 1.
    accuracy:
        Share of planes whose predicted class is the true one; NaN where truth is not known.
    probability:
        Mean probability of the class that was predicted on the unchanged plane.
    human:
        Share of planes whose predicted class is what a human called the unchanged plane; NaN where no human did.
    n_human:
        Planes that a human called.
    """

    test: Test
    n_planes: int
    n_images: int
    n_units: int
    flips: int
    agreement: float
    agreement_interval: Interval
    accuracy: float
    accuracy_interval: Interval
    probability: float
    probability_interval: Interval
    human: float
    human_interval: Interval
    n_human: int

    @property
    def leading(self) -> tuple[float, Interval]:
        """Accuracy where the truth is known, else agreement."""
        if math.isfinite(self.accuracy):
            return self.accuracy, self.accuracy_interval
        return self.agreement, self.agreement_interval


@dataclass
class Outcomes:
    """Answers as they come in."""

    subjects: list[Subject] = field(default_factory=list)
    answers: dict[Test, dict[int, Answer]] = field(default_factory=dict)

    def add(self, subject: Subject) -> int:
        """Take a plane; gives its number."""
        self.subjects.append(subject)
        number = len(self.subjects) - 1
        self.answer(number, Test(UNCHANGED), Answer(subject.predicted, subject.probability))
        return number

    def answer(self, number: int, test: Test, answer: Answer) -> None:
        """Take what the network says of a changed plane."""
        self.answers.setdefault(test, {})[number] = answer

    @property
    def judged(self) -> bool:
        """Whether the truth of every plane is known."""
        return bool(self.subjects) and all(one.truth is not None for one in self.subjects)

    @property
    def unit(self) -> Literal["patient", "image"]:
        """What is resampled."""
        return "patient" if all(one.patient for one in self.subjects) else "image"

    @property
    def units(self) -> NDArray[np.int64]:
        """(M,) number of each plane's patient, or of its file."""
        names = [one.patient if self.unit == "patient" else one.image for one in self.subjects]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def figures(self, seed: int = 0) -> tuple[Figures, ...]:
        """Of every test, in the order in which they were first made."""
        tests = list(self.answers)
        columns = np.concatenate([self._columns(test) for test in tests], 1)
        units = self.units
        draws = resampled_means(columns, units, int(units.max()) + 1, seed)
        return tuple(
            self._figures(test, columns[:, 4 * n : 4 * n + 4], draws[:, 4 * n : 4 * n + 4], units)
            for n, test in enumerate(tests)
        )

    def _columns(self, test: Test) -> NDArray[np.float64]:
        """(M, 4) agreement, correctness, probability and agreement with the human; NaN where not known."""
        found = np.full((len(self.subjects), 4), np.nan)
        judged = self.judged
        for number, answer in self.answers[test].items():
            subject = self.subjects[number]
            found[number, 0] = answer.predicted == subject.predicted
            if judged:
                # an attack that turns a wrong answer into the right one has not made the network better
                attacked = test.name in (FGSM, PGD, SMALLEST) and subject.predicted != subject.truth
                found[number, 1] = answer.predicted == subject.truth and not attacked
            found[number, 2] = answer.left
            if subject.human is not None:
                found[number, 3] = answer.predicted == subject.human
        return found

    def _figures(
        self, test: Test, columns: NDArray[np.float64], draws: NDArray[np.float64], units: NDArray[np.int64]
    ) -> Figures:
        there = np.flatnonzero(np.isfinite(columns[:, 0]))
        found = []
        for column in range(4):
            known = np.flatnonzero(np.isfinite(columns[:, column]))
            value = float(columns[known, column].mean()) if len(known) else math.nan
            own = len(np.unique(units[known]))
            found.append((value, share_interval(value, draws[:, column], own, own, self.unit)))
        (agreement, a), (accuracy, b), (probability, c), (human, d) = found
        return Figures(
            test,
            len(there),
            len({self.subjects[number].image for number in there}),
            len(np.unique(units[there])),
            int((columns[there, 0] == 0).sum()),
            agreement, a, accuracy, b, probability, c, human, d,
            int(np.isfinite(columns[:, 3]).sum()),
        )  # fmt: skip


def table(figures: Sequence[Figures], unit: str) -> Table:
    """One row for each test and level.

    ``level`` is in ``level_unit``: largest change of a value for FGSM, PGD and the smallest change (of which at most
    so large a one was found); standard deviation of noise and blur; contrast left; JPEG's quality; angle.
    """
    columns = (
        "test", "level", "level_unit", "n_planes", "n_images", f"n_{unit}s_resampled", "flips",
        "agreement", "agreement_low", "agreement_high", "accuracy", "accuracy_low", "accuracy_high",
        "mean_probability", "probability_low", "probability_high", "human_agreement", "human_low", "human_high",
        "n_human", "level_of_intervals", "agreement_interval", "accuracy_interval", "probability_interval",
    )  # fmt: skip
    rows = []
    for one in figures:
        shares = (
            (one.agreement, one.agreement_interval), (one.accuracy, one.accuracy_interval),
            (one.probability, one.probability_interval), (one.human, one.human_interval),
        )  # fmt: skip
        numbers = [_defined(x) for value, interval in shares for x in (value, interval.low, interval.high)]
        rows.append((
            one.test.name, one.test.level, one.test.unit, one.n_planes, one.n_images, one.n_units, one.flips,
            *numbers, one.n_human, one.agreement_interval.level, one.agreement_interval.method,
            one.accuracy_interval.method if math.isfinite(one.accuracy) else "", one.probability_interval.method,
        ))  # fmt: skip
    return Table("Robustness curves", columns, tuple(rows), append=False)


def of_kind(figures: Sequence[Figures], name: str) -> list[Figures]:
    """The figures of one test at all its levels, from the weakest to the strongest."""
    found = [one for one in figures if one.test.name == name]
    # less contrast and less quality are worse; contrast above 100 % is rare and sorts with the rest
    return sorted(found, key=lambda one: one.test.level, reverse=name in ("contrast", "jpeg"))


def kinds(figures: Sequence[Figures]) -> list[str]:
    """Kinds of corruption that were tested."""
    there = {one.test.name for one in figures}
    return [kind for kind in UNITS if kind in there]


def _defined(value: float) -> float | str:
    return float(value) if math.isfinite(value) else NOT_DEFINED
