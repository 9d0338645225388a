"""What a training has made: a network, its test and its package."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mikata.evaluation import Report, ValueReport
from mikata.language import joined, say
from mikata.learning.alone import Alone
from mikata.learning.figures import amount, error_words, interval_words, share
from mikata.learning.tuning import Tuning
from mikata.outputs import first_few
from mikata.packaging import CheckReport
from mikata.training import Run
from mikata.training.ensembles import Ensemble
from mikata.types import Plot, Table


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained, tested and packaged network, for classes or a value.

    Attributes
    ----------
    run, scores:
        The training, or those of an ensemble's members, and what its test found.
    package, archive, page, test_images:
        The package's folder, the same as a zip for deepImageJ, the report, and what was said of each test image.
    checked:
        Whether each kind of the package's weights gives its test output.
    tuning:
        How it compares with the network it started from, where that knew the same classes.
    alone:
        What an ensemble's members are worth alone; None of one network, or where that could not be measured.
    """

    run: Run | Ensemble
    scores: Report | ValueReport
    package: Path
    archive: Path
    page: Path
    test_images: Path
    checked: CheckReport
    tuning: Tuning | None = None
    alone: Alone | None = None

    @property
    def message(self) -> str:
        """What came out, in sentences for the one who started it."""
        listed = [f"{path.name}: {why}" for path, why in (*self.run.dataset.skipped, *self.scores.skipped)]
        sentences = [self.summary]
        if listed:
            sentences.append(say("Skipped: {files}.", files=first_few(listed)))
        return joined([*sentences, say("Research use, not for diagnosis.")])

    @property
    def summary(self) -> str:
        """What came out, naming no file, for pages that are given on."""
        run = self.run
        sentences = [self._result()]
        if isinstance(run, Run) and run.stopped_by == "interrupted":
            sentences.append(
                say(
                    "The training was stopped in epoch {epoch}; the package holds the weights of epoch {best}, "
                    "and the folder {folder} beside it the last ones.",
                    epoch=len(run.history) + 1,
                    best=run.best_epoch,
                    folder=run.checkpoint.parent.name,
                )
            )
        if self.tuning is not None:
            sentences += [self.tuning.choice.sentence(), self.tuning.verdict.sentence()]
        if self.alone is not None:
            sentences.append(self.alone.sentence())
        sentences += run.notes
        if run.dataset.skipped:
            sentences.append(say("{count} file(s) could not be used.", count=len(run.dataset.skipped)))
        if self.scores.skipped:
            sentences.append(
                say(
                    "{count} test image(s) could not be judged and are not in the figures.",
                    count=len(self.scores.skipped),
                )
            )
        if run.dataset.ignored_columns:
            sentences.append(
                say("Columns that were not used: {columns}.", columns=", ".join(run.dataset.ignored_columns))
            )
        if not self.checked.passed:
            sentences.append(
                say(
                    "The package does NOT pass its own test: {problems}.",
                    problems="; ".join(self.checked.problems),
                )
            )
        return joined(sentences)

    def _result(self) -> str:
        scores = self.scores
        if isinstance(scores, ValueReport):
            agreed = scores.agreement
            return say(
                "{package}: mean absolute error of the test images {error} ({interval}); bias {bias}, limits of "
                "agreement {low} to {high}, ICC(2,1) {icc}.",
                package=self.package.name,
                error=amount(agreed.mae.value, scores.value_unit),
                interval=error_words(scores),
                bias=amount(agreed.bias.value, scores.value_unit),
                low=amount(agreed.lower_limit.value, scores.value_unit),
                high=amount(agreed.upper_limit.value, scores.value_unit),
                icc=amount(agreed.icc_2_1.value, ""),
            )
        return say(
            "{package}: test accuracy {accuracy} ({interval}).",
            package=self.package.name,
            accuracy=share(scores.accuracy.value),
            interval=interval_words(scores),
        )

    @property
    def table(self) -> Table:
        """Every score with its interval."""
        columns = ("figure", "value", "low", "high", "level", "interval", "n", "independent")
        rows = [
            (f.name, *map(defined, (f.value, f.low, f.high)), f.level, f.method, f.n, f.unit)
            for f in self.scores.figures()
        ]
        return Table(f"Test of {self.package.name}", columns, tuple(rows), append=False)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All that was measured: `table`, and of an ensemble its figures beside those of its members."""
        if self.alone is None:
            return (self.table,)
        return self.table, self.alone.table(f"Members of {self.package.name}")

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that was written."""
        return self.package, self.archive, self.page, self.test_images

    @property
    def predictions(self) -> Table:
        """What the network says of each test image; patients as they are called in all results."""
        classes, scores = self.run.classes, self.scores
        if isinstance(scores, ValueReport):
            measured = zip(scores.entries, scores.true.tolist(), scores.predicted.tolist(), strict=True)
            return Table(
                "Test images",
                ("file", "patient", "value", "predicted", "unit"),
                tuple(
                    (entry.file.name, entry.patient, *both, scores.value_unit) for entry, *both in measured
                ),
            )
        rows = [
            (entry.file.name, entry.patient, entry.label, predicted, *map(float, probabilities))
            for entry, predicted, probabilities in zip(
                scores.entries, scores.predicted, scores.probabilities, strict=True
            )
        ]
        columns = ("file", "patient", "label", "predicted", *(f"p({c})" for c in classes))
        return Table("Test images", columns, tuple(rows))

    @property
    def curves(self) -> Plot:
        """Loss over the epochs; of an ensemble, of each member under its number."""
        if isinstance(self.run, Run):
            series = _losses(self.run, "")
        else:
            series = [one for n, run in enumerate(self.run.runs, 1) for one in _losses(run, f" {n}")]
        return Plot(f"Training of {self.package.name}", "epoch", "loss", tuple(series))


_PARTS = ("training", "selection")


def _losses(run: Run, member: str) -> list[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    epochs = tuple(float(row["epoch"]) for row in run.history)
    return [(f"{part}{member}", epochs, tuple(row[f"{part}_loss"] for row in run.history)) for part in _PARTS]


def defined(value: float) -> float | str:
    """A figure as tables of a training have it."""
    return value if math.isfinite(value) else "not defined"
