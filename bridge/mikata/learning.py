"""From labelled images to a tested package with a report: the work of the Train command."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets, evaluation, packaging, report
from mikata.errors import OutputError
from mikata.evaluation import Report
from mikata.outputs import first_few, probe, write_csv, write_text
from mikata.packaging import CheckReport
from mikata.training import recipe as recipes
from mikata.training.checkpoints import CHECKPOINTS
from mikata.training.run import Run, train
from mikata.types import Plot, Progress, Table


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained, tested and packaged classifier.

    Attributes
    ----------
    run, scores:
        The training, and what its test found.
    package, archive, page, test_images:
        The package's folder, the same as a zip for deepImageJ, the report, and what was said of each test image.
    checked:
        Whether each kind of the package's weights gives its test output.
    """

    run: Run
    scores: Report
    package: Path
    archive: Path
    page: Path
    test_images: Path
    checked: CheckReport

    @property
    def message(self) -> str:
        """What came out, in sentences for the one who started it."""
        listed = [f"{path.name}: {why}" for path, why in (*self.run.dataset.skipped, *self.scores.skipped)]
        return f"{self.summary}{f' Skipped: {first_few(listed)}.' if listed else ''} {report.NOTICE}"

    @property
    def summary(self) -> str:
        """What came out, naming no file, for pages that are given on."""
        run, accuracy = self.run, self.scores.accuracy
        text = f"{self.package.name}: test accuracy {_share(accuracy.value)} ({interval_words(self.scores)})."
        if run.stopped_by == "interrupted":
            text += f" The training was stopped in epoch {len(run.history) + 1}; "
            text += f"the package holds the weights of epoch {run.best_epoch}, and the folder "
            text += f"{run.checkpoint.parent.name} beside it the last ones."
        if run.dataset.skipped:
            text += f" {len(run.dataset.skipped)} file(s) could not be used."
        if self.scores.skipped:
            text += (
                f" {len(self.scores.skipped)} test image(s) could not be judged and are not in the figures."
            )
        if run.dataset.ignored_columns:
            text += f" Columns that were not used: {', '.join(run.dataset.ignored_columns)}."
        if not self.checked.passed:
            text += f" The package does NOT pass its own test: {'; '.join(self.checked.problems)}."
        return text

    @property
    def table(self) -> Table:
        """Every score with its interval."""
        columns = ("figure", "value", "low", "high", "level", "interval", "n", "independent")
        rows = [
            (f.name, *map(_defined, (f.value, f.low, f.high)), f.level, f.method, f.n, f.unit)
            for f in self.scores.figures()
        ]
        return Table(f"Test of {self.package.name}", columns, tuple(rows), append=False)

    @property
    def predictions(self) -> Table:
        """What the network says of each test image; patients as they are called in all results."""
        classes = self.run.classes
        rows = [
            (entry.file.name, entry.patient, entry.label, predicted, *map(float, probabilities))
            for entry, predicted, probabilities in zip(
                self.scores.entries, self.scores.predicted, self.scores.probabilities, strict=True
            )
        ]
        columns = ("file", "patient", "label", "predicted", *(f"p({c})" for c in classes))
        return Table("Test images", columns, tuple(rows))

    @property
    def curves(self) -> Plot:
        """Loss over the epochs."""
        epochs = tuple(float(row["epoch"]) for row in self.run.history)
        series = [(part, epochs, tuple(row[f"{part}_loss"] for row in self.run.history)) for part in _PARTS]
        return Plot(f"Training of {self.package.name}", "epoch", "loss", tuple(series))


_PARTS = ("training", "selection")
_STARTS = {"none": "random weights", "imagenet": "torchvision's ImageNet weights"}


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
    """Split, train, test once, package, check the package, report.

    Parameters
    ----------
    data:
        Folder of class folders, or a CSV.
    out:
        Folder of the package. Its zip and the report stand beside it.
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
    DataError, RecipeError, TrainingError, PackageError, OutputError
        As the data, recipe, training, words and disk make it. What can be known before the training is
        said before it. Existing files are only replaced by complete new ones, and only with `overwrite`.
    Cancelled
        If the user stopped it before the first epoch had ended. Later, the best weights are packaged.
    """
    packaging.refuse_target(out, overwrite)
    packaging.refuse_words(name=name, licence=licence)
    archive, page, predictions = (
        out.with_name(out.name + end) for end in (".zip", " report.html", " test images.csv")
    )
    for path in (archive, page, predictions):
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path} is already there. Choose another name for the package, or let Train overwrite it."
            )
    probe(out.parent)
    settings = recipes.read(recipe).change(**(changes or {}))
    checkpoints = _checkpoint_folder(out.with_name(f"{out.name} training"), overwrite)
    dataset = datasets.read(data, progress=progress)
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
    packaging.zip_package(out, archive, overwrite=overwrite)
    progress.show("Check the package")
    learnt = Learnt(run, scores, out, archive, page, predictions, packaging.check(out))
    versions = ("Versions", report.pairs(report.versions()))
    write_text(page, report.page(f"Training of {name}", learnt.summary, [*sections(learnt), versions]))
    write_csv(predictions, learnt.predictions)
    if run.stopped_by != "interrupted":
        for file in CHECKPOINTS:
            (checkpoints / file).unlink(missing_ok=True)
        checkpoints.rmdir()
    return learnt


def _checkpoint_folder(folder: Path, overwrite: bool) -> Path:
    """Where a training keeps its checkpoints until their weights are in a package.

    Raises
    ------
    OutputError
        If something else is there, or checkpoints of a training that did not end.
    """
    inside = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or inside - set(CHECKPOINTS):
        raise OutputError(
            f"{folder} is already there and holds other files; the training keeps its checkpoints in a folder of "
            "this name. Choose another name for the package."
        )
    if inside and not overwrite:
        raise OutputError(
            f"{folder} holds the weights of a training that did not end. Move them, or let Train overwrite them."
        )
    return folder


def sections(learnt: Learnt) -> list[tuple[str, str]]:
    """The parts of a training's report, for pages that hold more than that."""
    run, scores = learnt.run, learnt.scores
    counts = [(part, *(_count(run, part, label) for label in run.classes)) for part in datasets.PARTS]
    notes = "".join(report.paragraph(note) for note in scores.notes)
    return [
        (
            "How well it does on images it has not seen",
            report.headline(_share(scores.accuracy.value), f"accuracy: {interval_words(scores)}")
            + report.paragraph(scores.protocol)
            + notes
            + report.matrix(scores.confusion.tolist(), run.classes)
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
                    "recipe": Path(run.recipe.source).name,
                    "started from": run.parent.get("name") or _STARTS[run.recipe.stage.weights],
                    "normalisation": _normalisation(run),
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
            report.paragraph(f"The split is {run.split}. The test images were used once, after the training.")
            + report.table(Table("", ("part", *run.classes), tuple(counts)))
            + report.pairs(
                {
                    "truth rests on": ", ".join(f"{k} ({n})" for k, n in run.dataset.references.items()),
                    **_kinds(run),
                    "files that could not be used": len(run.dataset.skipped),
                    "test images that could not be judged": len(scores.skipped),
                    "columns not used": ", ".join(run.dataset.ignored_columns) or "none",
                    "fingerprint": run.dataset.fingerprint,
                }
            ),
        ),
        ("The package", _package(learnt)),
    ]


def _count(run: Run, part: str, label: str) -> str:
    entries = [entry for entry in run.parts[part] if entry.label == label]
    if not run.dataset.has_patients:
        return f"{len(entries)} images"
    return f"{len(entries)} images of {len({entry.patient for entry in entries})} patients"


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else "not defined"


def _normalisation(run: Run) -> str:
    """The numbers the network really uses, whatever they come from."""
    configuration = run.classifier.configuration
    pairs = zip(configuration["mean"], configuration["std"], strict=True)
    return "(value - mean) / std, " + ", ".join(f"mean {m:.4g}, std {s:.4g}" for m, s in pairs)


def _kinds(run: Run) -> dict[str, str]:
    """How many images there are of each site, view and so on, where the table says it."""
    found = {}
    for column in ("site", "view", "phase", "laterality"):
        counts = Counter(getattr(entry, column) for entry in run.dataset.entries)
        if 1 < len(counts) <= _MOST_KINDS or (len(counts) == 1 and "" not in counts):
            found[column] = ", ".join(f"{k or 'not stated'} ({n})" for k, n in sorted(counts.items()))
    return found


_MOST_KINDS = 12  # more values than that are no kinds, and might tell of single patients


def _package(learnt: Learnt) -> str:
    formats = {f.weights: "passed" if f.passed else "; ".join(f.messages) for f in learnt.checked.formats}
    size = sum(f.stat().st_size for f in learnt.package.iterdir()) / 1e6
    return report.paragraph(
        f"{learnt.package.name} is a BioImage.IO package of {size:.1f} MB: install {learnt.archive.name} in "
        "deepImageJ. Its own test with each kind of weights:"
    ) + report.pairs(formats or {"description": "; ".join(learnt.checked.problems)})


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
