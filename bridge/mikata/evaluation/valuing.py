"""How good a network that gives a value is on images it has not seen: agreement with the true values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Dataset, Entry, references_of, values_of
from mikata.evaluation import words
from mikata.evaluation.agreeing import AGREEMENT, Agreement, agreement
from mikata.evaluation.measures import Unit
from mikata.evaluation.report import Figure
from mikata.evaluation.running import ModelLike, judged
from mikata.evaluation.words import Say
from mikata.language import english
from mikata.training.run import NOTICE
from mikata.types import SILENT, Progress


@dataclass(frozen=True, eq=False)
class ValueReport:
    """What an evaluation of values found.

    Attributes
    ----------
    entries:
        The images that could be judged.
    predicted:
        What the network says of each (n,), float64, in the unit of the true values.
    agreement:
        Errors, Bland-Altman, intraclass and other correlations, each with its interval.
    value_unit:
        Unit of the values; empty where the data do not say it.
    skipped:
        Images that could not be judged, each with the reason.
    references:
        What the truth rests on: number of images for each.
    test_of, seen:
        As of a `Report`.
    """

    entries: tuple[Entry, ...] = field(repr=False)
    predicted: NDArray[np.float64] = field(repr=False)
    agreement: Agreement
    value_unit: str
    skipped: tuple[tuple[Path, str], ...]
    references: dict[str, int]
    test_of: Dataset | None = field(default=None, repr=False)
    seen: int = 0

    @property
    def true(self) -> NDArray[np.float64]:
        """The true values (n,)."""
        return values_of(self.entries)

    @property
    def n(self) -> int:
        """Number of images."""
        return self.agreement.n

    @property
    def n_patients(self) -> int | None:
        """Number of patients; None where they are not known."""
        return self.agreement.n_patients

    @property
    def unit(self) -> Unit:
        """What is independent: ``patient``, or ``image`` where patients are not known."""
        return "image" if self.n_patients is None else "patient"

    @property
    def protocol(self) -> str:
        """Which images these are and what is known of them, in English; else `mikata.evaluation.words`."""
        return words.protocol(self, english)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in English sentences; else `mikata.evaluation.words`."""
        return words.image_notes(self, english)

    def figures(self, say: Say = english) -> tuple[Figure, ...]:
        """All scores in the order of `AGREEMENT`; NaN where not defined. Errors are in `value_unit`.

        `say` gives the names their language; tables and packages have them in English.
        """
        found = []
        for key in AGREEMENT:
            one = getattr(self.agreement, key)
            bounds = one.interval
            name = words.agreement(key, self.value_unit, say)
            found.append(
                Figure(name, one.value, bounds.low, bounds.high, bounds.level, bounds.method, one.n, one.unit)
            )
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """Plain JSON values for the record; no patient, no file name, no single value."""
        return {
            "notice": NOTICE,
            "protocol": self.protocol,
            "independent": self.unit,
            "value_unit": self.value_unit,
            **self.agreement.record(),
            "skipped": len(self.skipped),
            "notes": list(self.notes),
            "references": dict(self.references),
        }


def evaluate_values(
    model: ModelLike,
    entries: Sequence[Entry],
    *,
    progress: Progress = SILENT,
    batch: int = 16,
    workers: int = 0,
    seed: int = 0,
) -> ValueReport:
    """Judge a network that gives a value, on images whose values are known.

    Parameters
    ----------
    model:
        A `Model` or a `Run`; it is left as found.
    entries:
        Images with values, in the unit of those it was trained on.
    batch, workers, seed:
        As of `evaluate`.

    Raises
    ------
    DataError
        If there are no images, one has no value, or fewer than 3 can be judged.
    ValueError
        If the network gives classes.
    Cancelled
        If the user stopped it.
    """
    if model.classifier.target is None:
        raise ValueError("the network gives classes, not a value: use evaluate")
    found = judged(model, entries, progress=progress, batch=batch, workers=workers)
    predicted = found.outputs[:, 0].astype(np.float64)
    patients = [entry.patient for entry in found.entries]
    return ValueReport(
        entries=found.entries,
        predicted=predicted,
        agreement=agreement(values_of(found.entries), predicted, patients, seed=seed),
        value_unit=model.classifier.unit,
        skipped=found.skipped,
        references=references_of(found.entries),
        test_of=found.test_of,
        seen=found.seen,
    )
