"""From images to a tested package of a network from images to images: what Train Segmentation and Train Detection share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from mikata import packaging, report
from mikata.datasets import Dataset
from mikata.evaluation import words
from mikata.evaluation.detecting import DetectionReport
from mikata.evaluation.segmenting import PixelReport
from mikata.language import joined, say
from mikata.learning.learnt import defined
from mikata.learning.places import Places
from mikata.outputs import first_few, write_csv, write_text
from mikata.packaging import CheckReport
from mikata.training import recipe as recipes
from mikata.training.detection_run import DetectionRun
from mikata.training.pixel_run import split_words
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.segmented_run import SegmentationRun
from mikata.types import SILENT, Plot, Progress, Result, Table

PICTURES = 6
"""Of test images on a report page."""

TRUE, SAID, BOTH = (0, 158, 115), (213, 94, 0), (255, 255, 255)
"""Colours of truth, prediction and both, told apart by the colour-blind too."""

Data = TypeVar("Data", bound=Dataset)
Run = TypeVar("Run", bound=SegmentationRun | DetectionRun)
Scores = TypeVar("Scores", bound=PixelReport | DetectionReport)


@dataclass(frozen=True, eq=False)
class LearntPixels(ABC, Generic[Run, Scores]):
    """A trained, tested and packaged network from images to images.

    Attributes
    ----------
    run, scores:
        The training, and what its test found.
    package, archive, page, test_images:
        The package's folder, the same as a zip for deepImageJ, the report, and the figures of each test image.
    checked:
        Whether each kind of the package's weights gives its test output.
    """

    run: Run
    scores: Scores
    package: Path
    archive: Path
    page: Path
    test_images: Path
    checked: CheckReport

    @property
    @abstractmethod
    def per_image(self) -> Table:
        """The figures of each test image; patients as they are called in all results."""

    @abstractmethod
    def _empty(self, count: int) -> str:
        """That so many images hold no object, as a sentence."""

    @abstractmethod
    def _pictures(self) -> tuple[str, str]:
        """What the test images with truth and prediction show, in words, and the pictures as HTML."""

    @abstractmethod
    def _methods(self) -> str:
        """How it was trained, as a paragraph in the user's language."""

    @abstractmethod
    def _counts(self, part: dict[str, Any]) -> tuple[Any, ...]:
        """What is counted in a part of the data, of its record; a cell for each of `_counted`."""

    @abstractmethod
    def _counted(self) -> tuple[str, ...]:
        """Heads of these cells."""

    def _reading(self) -> str:
        """How the truth was read, as a sentence; empty where there is no doubt."""
        return ""

    def _notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know, in sentences."""
        return words.image_notes(self.scores)

    def _plots(self) -> list[tuple[str, str]]:
        """More sections, after the figures."""
        return []

    @property
    def message(self) -> str:
        """What came out, in sentences for the one who started it."""
        listed = [f"{path.name}: {why}" for path, why in (*self.run.dataset.skipped, *self.scores.skipped)]
        skipped = [say("Skipped: {files}.", files=first_few(listed))] if listed else []
        return joined([self.summary, *skipped, say("Research use, not for diagnosis.")])

    @property
    def summary(self) -> str:
        """What came out, naming no file, for pages that are given on."""
        run, dataset = self.run, self.run.dataset
        sentences = [self._result()]
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
        sentences += [*run.notes, self._reading()]
        if dataset.empty:
            sentences.append(self._empty(dataset.empty))
        if dataset.skipped:
            sentences.append(say("{count} file(s) could not be used.", count=len(dataset.skipped)))
        if dataset.ignored_columns:
            sentences.append(
                say("Columns that were not used: {columns}.", columns=", ".join(dataset.ignored_columns))
            )
        if not self.checked.passed:
            sentences.append(
                say(
                    "The package does NOT pass its own test: {problems}.",
                    problems="; ".join(self.checked.problems),
                )
            )
        return joined([sentence for sentence in sentences if sentence])

    def _result(self) -> str:
        leading = self.scores.leading
        values = {
            "package": self.package.name,
            "figure": self.scores.figures(say)[0].name,
            "n": self.scores.n,
        }
        if not math.isfinite(leading.value):
            return say("{package}: {figure} of {n} test images is not defined.", **values)
        values["value"] = leading.value
        if not math.isfinite(leading.low):
            return say(
                "{package}: {figure} of the test images {value:.3f} (n = {n}; too few for an interval).",
                **values,
            )
        return say(
            "{package}: {figure} of the test images {value:.3f} ({level:.0%} interval {low:.3f} to {high:.3f}, n = {n}).",
            **values,
            level=leading.level,
            low=leading.low,
            high=leading.high,
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
    def files(self) -> tuple[Path, ...]:
        """Everything that was written."""
        return self.package, self.archive, self.page, self.test_images

    @property
    def curves(self) -> Plot:
        """Loss over the epochs."""
        history = self.run.history
        epochs = tuple(float(row["epoch"]) for row in history)
        series = tuple(
            (part, epochs, tuple(row[f"{part}_loss"] for row in history))
            for part in ("training", "selection")
        )
        return Plot(f"Training of {self.package.name}", "epoch", "loss", series)

    @property
    def result(self) -> Result:
        """The same as what a command returns."""
        return Result(
            self.message,
            tables=(self.table,),
            plots=(self.curves,),
            files=self.files,
            page=self.page,
            stopped=self.run.stopped_by == "interrupted",
        )

    def sections(self) -> list[tuple[str, str]]:
        """The parts of the report."""
        run, scores = self.run, self.scores
        leading = scores.leading
        value = f"{leading.value:.3f}" if math.isfinite(leading.value) else say("not defined")
        told, pictures = self._pictures()
        return [
            (
                say("How well it does on images it has not seen"),
                report.headline(value, scores.figures(say)[0].name)
                + report.paragraph(words.protocol(scores))
                + "".join(report.paragraph(note) for note in self._notes())
                + report.figures(scores.figures(say)),
            ),
            *self._plots(),
            (
                say("Test images with truth and prediction"),
                report.paragraph(told) + pictures,
            ),
            (
                say("How it was trained"),
                report.plot(
                    report.curves_plot(run.history, run.best_epoch),
                    say(
                        "Training figures are of augmented patches while the weights still change; the selection images, "
                        "which choose the epoch, are shown whole and as they are."
                    ),
                ),
            ),
            (
                say("Data"),
                report.paragraph(
                    say(
                        "The split is {split}. The test images were used once, after the training.",
                        split=split_words(run.dataset, say),
                    )
                )
                + (report.paragraph(self._reading()) if self._reading() else "")
                + report.table(self._parts())
                + report.pairs({say("fingerprint"): run.dataset.fingerprint}),
            ),
            (say("For the methods section"), report.paragraph(self._methods())),
            (say("Versions"), report.pairs(report.versions())),
        ]

    def _parts(self) -> Table:
        run = self.run
        data = run.record()["data"]["parts"]
        rows = tuple(
            (
                say(name),
                len(entries),
                len({e.patient for e in entries}) if run.dataset.has_patients else say("not known"),
                *self._counts(data[name]),
            )
            for name, entries in run.parts.items()
        )
        return Table("", (say("part"), say("images"), say("patients"), *self._counted()), rows)


@dataclass(frozen=True)
class Steps(Generic[Data, Run, Scores]):
    """What one kind of training does.

    Attributes
    ----------
    recipe:
        Name of the recipe where none is given.
    read, train, choose, judge, write:
        The data set of a path and recipe; its training; the run with the settings chosen on the selection part; its
        test; its package.
    learnt:
        What has come of it.
    """

    recipe: str
    read: Callable[[Path, Recipe, Progress], Data]
    train: Callable[..., Run]
    choose: Callable[[Run], Run]
    judge: Callable[[Run], Scores]
    write: Callable[..., Path]
    learnt: Callable[..., LearntPixels[Run, Scores]]


class Wanted(TypedDict, total=False):
    """What a person asks of a training; see `learn_pixelwise`."""

    recipe: Path | None
    changes: dict[str, Any] | None
    authors: tuple[str, ...]
    licence: str
    source: str
    overwrite: bool
    resume: bool
    test_image: NDArray[np.float32] | None


def learn_pixelwise(
    steps: Steps[Data, Run, Scores],
    data: Path,
    out: Path,
    *,
    name: str,
    progress: Progress,
    recipe: Path | None = None,
    changes: dict[str, Any] | None = None,
    authors: tuple[str, ...] = (),
    licence: str = "",
    source: str = "",
    overwrite: bool = False,
    resume: bool = False,
    test_image: NDArray[np.float32] | None = None,
) -> LearntPixels[Run, Scores]:
    """Split, train, choose how objects are made, test once, package, check the package, report.

    Parameters
    ----------
    steps:
        What is done.
    data:
        As the kind of training takes it.
    out:
        Folder of the package. Its zip and the report stand beside it.
    recipe:
        File or name of a recipe; None: that of the kind.
    changes, name, authors, licence, source, test_image, overwrite, resume:
        As of `mikata.learning.train_package`.

    Raises
    ------
    DataError, RecipeError, TrainingError, PackageError, OutputError
        As data, recipe, training, words and disk make it. What can be known before the training is said before it.
    Cancelled
        If the user stopped it before the first epoch had ended. Later, the best weights are packaged.
    """
    places = Places(out)
    main = main_process()
    if main:
        places.refuse(name=name, licence=licence, overwrite=overwrite, resume=resume)
    else:
        progress = SILENT
    settings = recipes.read(recipe or Path(steps.recipe)).change(**(changes or {}))
    dataset = steps.read(data, settings, progress)
    run = steps.train(dataset, settings, folder=places.checkpoints, resume=resume, progress=progress)
    if not main:
        raise SystemExit(0)  # of several processes that train together, the main one has all that follows
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show(say("Choose the settings of objects"))
    run = steps.choose(run)
    progress.show(say("Test"))
    scores = steps.judge(run)
    progress.show(say("Package"))
    steps.write(
        places.package,
        run,
        scores,
        name=name,
        authors=authors,
        licence=licence,
        data=source,
        test_image=test_image,
        overwrite=overwrite,
    )
    packaging.zip_package(places.package, places.archive, overwrite=overwrite)
    progress.show(say("Check the package"))
    checked = packaging.check(places.package)
    learnt = steps.learnt(
        run, scores, places.package, places.archive, places.page, places.test_images, checked
    )
    title = say("Training of {name}", name=name)
    write_text(places.page, report.page(title, learnt.summary, learnt.sections()))
    write_csv(places.test_images, learnt.per_image)
    if run.stopped_by != "interrupted":
        places.clear()
    return learnt


def worst_first(count: int, value: Callable[[int], float]) -> list[int]:
    """Numbers of the test images that a report shows: those with the lowest value."""
    return sorted(range(count), key=value)[:PICTURES]


def dimmed(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image (C, H, W) as a picture (H, W, 3) in grey, dark enough for colours to be seen on it."""
    plane = image.mean(0)
    low, high = np.percentile(plane, (0.5, 99.5))
    grey = np.clip((plane - low) / ((high - low) or 1.0), 0, 1) * 200
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, 2)
