"""From labelled images to a tested package with a report: the work of the Train command."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets, evaluation, packaging, report
from mikata.errors import OutputError
from mikata.evaluation import Report
from mikata.outputs import write_text
from mikata.training import recipe as recipes
from mikata.training.run import Run, train
from mikata.types import Plot, Progress, Table


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained, tested and packaged classifier."""

    run: Run
    scores: Report
    package: Path
    page: Path

    @property
    def message(self) -> str:
        """What came out, in sentences."""
        accuracy = self.scores.accuracy
        text = f"{self.package.name}: test accuracy {_share(accuracy.value)} ({interval_words(self.scores)})."
        if self.run.stopped_by == "interrupted":
            text += f" The training was stopped in epoch {len(self.run.history) + 1}; "
            text += f"the package holds the weights of epoch {self.run.best_epoch}."
        skipped = self.run.dataset.skipped
        if skipped:
            first = "; ".join(f"{path.name}: {why}" for path, why in skipped[:5])
            more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
            text += f" {len(skipped)} file(s) skipped ({first}{more})."
        return text + " Research use, not for diagnosis."

    @property
    def table(self) -> Table:
        """Every score with its interval."""
        columns = ("figure", "value", "low", "high", "level", "interval", "n", "unit")
        rows = [
            (f.name, f.value, f.low, f.high, f.level, f.method, f.n, f.unit) for f in self.scores.figures()
        ]
        return Table(f"Test of {self.package.name}", columns, tuple(rows), append=False)

    @property
    def curves(self) -> Plot:
        """Loss over the epochs."""
        epochs = tuple(float(row["epoch"]) for row in self.run.history)
        series = [(part, epochs, tuple(row[f"{part}_loss"] for row in self.run.history)) for part in _PARTS]
        return Plot(f"Training of {self.package.name}", "epoch", "loss", tuple(series))


_PARTS = ("training", "selection")


def train_package(
    data: Path,
    out: Path,
    *,
    recipe: Path | None = None,
    changes: dict[str, Any] | None = None,
    name: str,
    authors: tuple[str, ...] = (),
    licence: str = "",
    source: str = "",
    overwrite: bool = False,
    test_image: NDArray[np.float32] | None = None,
    cover: NDArray[np.uint8] | None = None,
    progress: Progress,
) -> Learnt:
    """Split, train, test once, package, report.

    Parameters
    ----------
    data:
        Folder of class folders, or a CSV.
    out:
        Folder of the package. The report stands beside it.
    recipe:
        File or name of a recipe; None: the default one.
    changes:
        Settings that replace the recipe's where they are not None, such as ``epochs``.
    source:
        What the images are and under which licence, for the package's README.
    test_image:
        Input (C, H, W) of the package's test, of open licence; None draws one by formula, so that no
        patient's image leaves the building with a model.
    cover:
        Picture (H, W, 3) of the package, of open licence as well; None draws one.

    Raises
    ------
    DataError, RecipeError, TrainingError, OutputError
        As the data, recipe, training and disk make it. An existing package is only replaced by a
        complete new one.
    Cancelled
        If the user stopped it before the first epoch had ended. Later, the best weights are packaged.
    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out} is already there. Choose another folder, or let Train overwrite it.")
    settings = recipes.read(recipe).change(**(changes or {}))
    progress.step("Read the data")
    dataset = datasets.read(data)
    checkpoints = out.with_name(f"{out.name} training")
    run = train(dataset, settings, folder=checkpoints, progress=progress)
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show("Test")
    scores = evaluation.evaluate(run, run.parts["test"])
    progress.show("Package")
    packaging.write(
        out,
        run,
        scores,
        name=name,
        authors=authors,
        licence=licence,
        data=source,
        test_image=packaging.formula_image(run) if test_image is None else test_image,
        cover=cover,
        overwrite=overwrite,
    )
    page = out.with_name(f"{out.name} report.html")
    learnt = Learnt(run, scores, out, page)
    write_text(page, report.page(f"Training of {name}", learnt.message, sections(learnt)))
    if run.stopped_by != "interrupted":
        shutil.rmtree(checkpoints, ignore_errors=True)
    return learnt


def sections(learnt: Learnt) -> list[tuple[str, str]]:
    """The parts of a training's report, for pages that hold more than that."""
    run, scores = learnt.run, learnt.scores
    counts = [
        (part, *(sum(e.label == label for e in run.parts[part]) for label in run.classes))
        for part in ("training", "selection", "test")
    ]
    notes = "".join(report.paragraph(note) for note in scores.notes)
    return [
        (
            "How well it does on images it has not seen",
            report.headline(_share(scores.accuracy.value), f"accuracy: {interval_words(scores)}")
            + report.paragraph(scores.protocol)
            + notes
            + report.plot(
                report.confusion_plot(scores.confusion.tolist(), run.classes), "Numbers of test images."
            )
            + report.table(learnt.table),
        ),
        (
            "How it was trained",
            report.plot(
                report.curves_plot(run.history, run.best_epoch),
                "Training figures are of augmented images while the weights still change; the selection "
                "images, which choose the epoch, are shown as they are.",
            )
            + report.pairs(
                {
                    "network": run.recipe.stage.network,
                    "recipe": run.recipe.source,
                    "epochs": f"{len(run.history)}, kept: {run.best_epoch} (lowest selection loss)",
                    "ended": run.stopped_by,
                    "seed": run.seed,
                    "device": run.device,
                    "time": f"{run.seconds:.0f} s",
                }
            ),
        ),
        (
            "Data",
            report.paragraph(
                f"The split is {run.grouping}. The test images were used once, after the training."
            )
            + report.table(Table("", ("part", *run.classes), tuple(counts)))
            + report.pairs(
                {
                    "truth rests on": ", ".join(f"{k} ({n})" for k, n in run.dataset.references.items()),
                    "skipped files": len(run.dataset.skipped),
                    "fingerprint": run.dataset.fingerprint,
                }
            ),
        ),
    ]


def interval_words(scores: Report) -> str:
    """The accuracy's interval with everything that a reader must know of it."""
    accuracy = scores.accuracy
    bounds = accuracy.interval
    patients = f" of {scores.n_patients} patients" if scores.n_patients else ""
    return (
        f"{bounds.level:.0%} interval {_share(bounds.low)} to {_share(bounds.high)}, {bounds.method}, "
        f"n = {scores.n} images{patients}"
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
