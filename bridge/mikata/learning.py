"""From labelled images to a tested package with a report: the work of the Train command."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets, evaluation, packaging, report
from mikata.errors import OutputError
from mikata.evaluation import Report, words
from mikata.language import say
from mikata.outputs import first_few, probe, write_csv, write_text
from mikata.packaging import CheckReport
from mikata.training import recipe as recipes
from mikata.training.checkpoints import CHECKPOINTS
from mikata.training.fitting import StoppedBy
from mikata.training.run import Run
from mikata.training.stages import train
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
        sentences = [self.summary]
        if listed:
            sentences.append(say("Skipped: {files}.", files=first_few(listed)))
        return " ".join([*sentences, say("Research use, not for diagnosis.")])

    @property
    def summary(self) -> str:
        """What came out, naming no file, for pages that are given on."""
        run = self.run
        sentences = [
            say(
                "{package}: test accuracy {accuracy} ({interval}).",
                package=self.package.name,
                accuracy=_share(self.scores.accuracy.value),
                interval=interval_words(self.scores),
            )
        ]
        if run.stopped_by == "interrupted":
            sentences.append(
                say(
                    "The training was stopped in epoch {epoch}; the package holds the weights of epoch {best}, "
                    "and the folder {folder} beside it the last ones.",
                    epoch=len(run.history) + 1,
                    best=run.best_epoch,
                    folder=run.checkpoint.parent.name,
                )
            )
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
        return " ".join(sentences)

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
                say(
                    "{path} is already there. Choose another name for the package, or let Train overwrite it.",
                    path=path,
                )
            )
    probe(out.parent)
    settings = recipes.read(recipe).change(**(changes or {}))
    checkpoints = _checkpoint_folder(out.with_name(f"{out.name} training"), overwrite)
    dataset = datasets.read(data, progress=progress)
    run = train(dataset, settings, folder=checkpoints, progress=progress)
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show(say("Test"))
    scores = evaluation.evaluate(run, run.parts["test"])
    progress.show(say("Package"))
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
    progress.show(say("Check the package"))
    learnt = Learnt(run, scores, out, archive, page, predictions, packaging.check(out))
    versions = (say("Versions"), report.pairs(report.versions()))
    title = say("Training of {name}", name=name)
    write_text(page, report.page(title, learnt.summary, [*sections(learnt), versions]))
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
            say(
                "{folder} is already there and holds other files; the training keeps its checkpoints in a "
                "folder of this name. Choose another name for the package.",
                folder=folder,
            )
        )
    if inside and not overwrite:
        raise OutputError(
            say(
                "{folder} holds the weights of a training that did not end. Move them, or let Train overwrite "
                "them.",
                folder=folder,
            )
        )
    return folder


def sections(learnt: Learnt) -> list[tuple[str, str]]:
    """The parts of a training's report, for pages that hold more than that."""
    run, scores = learnt.run, learnt.scores
    parts = _parts()
    counts = [(parts[part], *(_count(run, part, label) for label in run.classes)) for part in datasets.PARTS]
    notes = "".join(report.paragraph(note) for note in words.notes(scores))
    return [
        (
            say("How well it does on images it has not seen"),
            report.headline(
                _share(scores.accuracy.value), say("accuracy: {interval}", interval=interval_words(scores))
            )
            + report.paragraph(words.protocol(scores))
            + notes
            + report.matrix(scores.confusion.tolist(), run.classes)
            + report.scores(scores),
        ),
        (
            say("How it was trained"),
            report.plot(
                report.curves_plot(run.history, run.best_epoch),
                say(
                    "Training figures are of augmented images while the weights still change; the selection "
                    "images, which choose the epoch, are shown as they are."
                ),
            )
            + report.pairs(
                {
                    say("network"): run.recipe.stage.network,
                    say("recipe"): Path(run.recipe.source).name,
                    say("started from"): run.parent.get("name") or _start(run),
                    say("normalisation"): _normalisation(run),
                    say("epochs"): say(
                        "{count}, kept: {best} (lowest selection loss)",
                        count=len(run.history),
                        best=run.best_epoch,
                    ),
                    say("ended"): _end(run),
                    say("seed"): run.seed,
                    say("device"): run.device,
                    say("time"): say("{seconds:.0f} s", seconds=run.seconds),
                }
            ),
        ),
        (
            say("Data"),
            report.paragraph(
                say(
                    "The split is {split}. The test images were used once, after the training.",
                    split=_split(run),
                )
            )
            + report.table(Table("", (say("part"), *run.classes), tuple(counts)))
            + report.pairs(
                {
                    say("truth rests on"): _listed(
                        (say("not stated") if name == datasets.NOT_STATED else name, count)
                        for name, count in run.dataset.references.items()
                    ),
                    **_kinds(run),
                    say("files that could not be used"): len(run.dataset.skipped),
                    say("test images that could not be judged"): len(scores.skipped),
                    say("columns not used"): ", ".join(run.dataset.ignored_columns) or say("none"),
                    say("fingerprint"): run.dataset.fingerprint,
                }
            ),
        ),
        (say("The package"), _package(learnt)),
    ]


def _parts() -> dict[str, str]:
    return {"training": say("training"), "selection": say("selection"), "test": say("test")}


def _start(run: Run) -> str:
    starts = {
        "none": say("random weights"),
        "imagenet": say("ImageNet weights"),
        "previous": say("the stage before"),
        "formula": say("pictures drawn by formula"),
        "unlabelled": say("images without labels"),
    }
    return starts[run.recipe.stage.source]


def _end(run: Run) -> str:
    ends: dict[StoppedBy, str] = {
        "finished": say("finished"),
        "early stopping": say("early stopping"),
        "interrupted": say("interrupted"),
    }
    return ends[run.stopped_by]


def _split(run: Run) -> str:
    """`Run.split`, which records keep in English, for readers."""
    grouping = words.grouping(run.dataset)
    if any(entry.split for entry in run.dataset.entries):
        return say("{grouping}, given in the table", grouping=grouping)
    return grouping


def _count(run: Run, part: str, label: str) -> str:
    entries = [entry for entry in run.parts[part] if entry.label == label]
    if not run.dataset.has_patients:
        return say("{n} images", n=len(entries))
    patients = len({entry.patient for entry in entries})
    return say("{n} images of {patients} patients", n=len(entries), patients=patients)


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
            found[column] = _listed((k or say("not stated"), n) for k, n in sorted(counts.items()))
    return found


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts)


_MOST_KINDS = 12  # more values than that are no kinds, and might tell of single patients


def _package(learnt: Learnt) -> str:
    formats = {
        f.weights: say("passed") if f.passed else "; ".join(f.messages) for f in learnt.checked.formats
    }
    size = sum(f.stat().st_size for f in learnt.package.iterdir()) / 1e6
    return report.paragraph(
        say(
            "{package} is a BioImage.IO package of {size:.1f} MB: install {archive} in deepImageJ. Its own test "
            "with each kind of weights:",
            package=learnt.package.name,
            size=size,
            archive=learnt.archive.name,
        )
    ) + report.pairs(formats or {say("description"): "; ".join(learnt.checked.problems)})


def interval_words(scores: Report) -> str:
    """The accuracy's interval with everything that a reader must know of it."""
    bounds = scores.accuracy.interval
    values = {
        "level": bounds.level,
        "low": _share(bounds.low),
        "high": _share(bounds.high),
        "method": words.method(bounds.method),
        "n": scores.n,
    }
    if scores.n_patients:
        return say(
            "{level:.0%} interval {low} to {high}, {method}, n = {n} images of {patients} patients",
            patients=scores.n_patients,
            **values,
        )
    return say("{level:.0%} interval {low} to {high}, {method}, n = {n} images", **values)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
