"""A network's calls of the cases of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mikata.errors import DataError, NetworkError
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model
from mikata.outputs import first_few
from mikata.prediction import predict
from mikata.readers.table import Readings, Words
from mikata.types import Progress


@dataclass(frozen=True, eq=False)
class Caller:
    """A model, and which of its classes are positive.

    Attributes
    ----------
    positive:
        Numbers of the classes that mean positive.
    threshold:
        From which summed probability of these on a case is positive; None: where the most probable class is one.
    """

    model: Model
    positive: tuple[int, ...]
    threshold: float | None

    @classmethod
    def of(cls, model: Model, words: Words, threshold: float | None) -> Caller:
        """A caller for the words of a table.

        Raises
        ------
        NetworkError
            If the network gives a value, or the words leave no positive or no other class.
        """
        if model.values:
            raise NetworkError(
                say("{model} gives a value, not classes: give a network with classes.", model=model.path.name)
            )
        positive = tuple(k for k, name in enumerate(model.classes) if words.call(name))
        if not positive or len(positive) == len(model.classes):
            raise NetworkError(
                say(
                    "{model} has the classes {classes}: name in 'positive' those of them that are positive (several with "
                    "; between), and in 'negative' the words for the others.",
                    model=model.path.name,
                    classes=", ".join(model.classes),
                )
            )
        return cls(model, positive, threshold)

    def call(self, probabilities: tuple[float, ...]) -> tuple[bool, float]:
        """Whether a case is positive, and the probability of that."""
        share = min(1.0, sum(probabilities[k] for k in self.positive))
        if self.threshold is None:
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            return best in self.positive, share
        return share >= self.threshold, share

    def leading(self, probabilities: tuple[float, ...]) -> int:
        """The most probable of the positive classes: what a heat map speaks for."""
        return max(self.positive, key=probabilities.__getitem__)


@dataclass(frozen=True, eq=False)
class Called:
    """What a network says of the cases of a table: calls, and the class whose heat shows why, by row."""

    readings: Readings
    targets: dict[int, int]


def called(caller: Caller, readings: Readings, *, batch: int, progress: Progress) -> Called:
    """Run a network over the images of a table.

    Raises
    ------
    DataError
        If an image cannot be read or judged, is missing, or has several planes: leaving it out unasked would change
        the figures.
    """
    files = [row.file for row in readings.rows]
    absent = [str(file) for file in files if file is None or not file.is_file()]
    if absent:
        raise DataError(
            say(
                "{count} of the {all} images are not there: {files}. The column 'file' is relative to the table's folder.",
                count=len(absent),
                all=len(files),
                files=first_few(absent),
            )
        )
    source = Images.of([file for file in files if file is not None])
    places = {name: place for place, name in enumerate(source.names)}
    found: dict[int, tuple[float, ...]] = {}
    for one in predict(caller.model, source, batch=batch, progress=progress):
        place = places[one.plane.image]
        if place in found:
            raise DataError(
                say(
                    "{file} has several planes, but a row of the table is one case. Give each plane a file and a row.",
                    file=files[place],
                )
            )
        found[place] = one.probabilities
    if len(found) < len(files):
        raise DataError(
            say(
                "The network cannot judge {count} of the {all} images: {files}. Repair the files, or take their rows out "
                "of the table: leaving them out unasked would change the figures.",
                count=len(files) - len(found),
                all=len(files),
                files=first_few([f"{Path(file).name}: {reason}" for file, reason in source.skipped]),
            )
        )
    calls = [caller.call(found[place]) for place in range(len(files))]
    targets = {row.row: caller.leading(found[place]) for place, row in enumerate(readings.rows)}
    return Called(readings.with_calls(calls), targets)
