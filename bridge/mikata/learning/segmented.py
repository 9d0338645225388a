"""From images with masks to a tested package of a network for segmentation: the work of Train Segmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import packaging, report
from mikata.datasets import Entry, read_segmented
from mikata.evaluation import words
from mikata.evaluation.parting import choose_settings, evaluate_segmentation, outputs_of, tiler_of
from mikata.evaluation.segmenting import PixelReport
from mikata.language import joined, say
from mikata.learning.learnt import defined
from mikata.learning.places import Places
from mikata.outputs import first_few, write_csv, write_text
from mikata.packaging import CheckReport
from mikata.packaging.segmented import write_segmentation
from mikata.tiling import Tiler
from mikata.training import pixel_methods
from mikata.training import recipe as recipes
from mikata.training.processes import main_process
from mikata.training.segmented_run import SegmentationRun
from mikata.training.segmenting import train_segmentation
from mikata.types import SILENT, Plot, Progress, Table

_PICTURES = 6
_TRUE, _SAID, _BOTH = (0, 158, 115), (213, 94, 0), (255, 255, 255)  # told apart by the colour-blind too


@dataclass(frozen=True, eq=False)
class LearntSegmentation:
    """A trained, tested and packaged network for segmentation.

    Attributes
    ----------
    run, scores:
        The training, and what its test found.
    package, archive, page, test_images:
        The package's folder, the same as a zip for deepImageJ, the report, and the figures of each test image.
    checked:
        Whether each kind of the package's weights gives its test output.
    """

    run: SegmentationRun
    scores: PixelReport
    package: Path
    archive: Path
    page: Path
    test_images: Path
    checked: CheckReport

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
        sentences += run.notes
        sentences.append(dataset.reading_words(say))
        if dataset.empty:
            sentences.append(say("{count} mask(s) hold no object.", count=dataset.empty))
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
        return joined(sentences)

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
    def per_image(self) -> Table:
        """The figures of each test image; patients as they are called in all results."""
        classes = self.scores.classes
        columns = ["file", "patient"]
        for name in classes:
            columns += [f"dice {name}", f"iou {name}", f"hausdorff_95_px {name}"]
        parted = self.run.instances != "none"
        if parted:
            columns += ["objects", "found", "right (IoU 0.5)", "f1 (IoU 0.5)"]
        rows = []
        for entry, one in zip(self.scores.entries, self.scores.judged, strict=True):
            row: list[Any] = [entry.file.name, entry.patient]
            for both, far in zip(one.overlaps, one.hausdorff_95, strict=True):
                row += map(defined, (both.dice, both.iou, far))
            if one.objects is not None:
                row += [one.objects.true, one.objects.said, one.objects.right[0], defined(one.objects.f1())]
            rows.append(tuple(row))
        return Table("Test images", tuple(columns), tuple(rows))

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


def train_segmentation_package(
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
    resume: bool = False,
    test_image: NDArray[np.float32] | None = None,
    progress: Progress,
) -> LearntSegmentation:
    """Split, train, choose how objects are made, test once, package, check the package, report.

    Parameters
    ----------
    data:
        As `mikata.datasets.read_segmented` takes it.
    out:
        Folder of the package. Its zip and the report stand beside it.
    recipe:
        File or name of a recipe; None: ``nuclei``.
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
    settings = recipes.read(recipe or Path("nuclei")).change(**(changes or {}))
    said = settings.stage.segmentation
    dataset = read_segmented(
        data, kind=said.masks, names=said.names, parted=said.instances != "none", progress=progress
    )
    run = train_segmentation(dataset, settings, folder=places.checkpoints, resume=resume, progress=progress)
    if not main:
        raise SystemExit(0)  # of several processes that train together, the main one has all that follows
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show(say("Choose the settings of objects"))
    run = choose_settings(run)
    progress.show(say("Test"))
    scores = evaluate_segmentation(run, run.parts["test"], seed=run.seed)
    progress.show(say("Package"))
    write_segmentation(
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
    learnt = LearntSegmentation(
        run, scores, places.package, places.archive, places.page, places.test_images, checked
    )
    title = say("Training of {name}", name=name)
    write_text(places.page, report.page(title, learnt.summary, sections(learnt)))
    write_csv(places.test_images, learnt.per_image)
    if run.stopped_by != "interrupted":
        places.clear()
    return learnt


def sections(learnt: LearntSegmentation) -> list[tuple[str, str]]:
    """The parts of the report."""
    run, scores = learnt.run, learnt.scores
    leading = scores.leading
    value = f"{leading.value:.3f}" if math.isfinite(leading.value) else say("not defined")
    data = run.record()["data"]
    counts = Table(
        "",
        (say("part"), say("images"), say("patients"), say("objects")),
        tuple(
            (
                say(name),
                len(entries),
                len({e.patient for e in entries}) if run.dataset.has_patients else say("not known"),
                data["parts"][name]["objects"],
            )
            for name, entries in run.parts.items()
        ),
    )
    return [
        (
            say("How well it does on images it has not seen"),
            report.headline(value, scores.figures(say)[0].name)
            + report.paragraph(words.protocol(scores))
            + "".join(report.paragraph(note) for note in words.image_notes(scores))
            + report.figures(scores.figures(say)),
        ),
        (
            say("Test images with truth and prediction"),
            report.paragraph(
                say(
                    "Green: outlines of the truth. Orange: outlines of the prediction. White: both. The images with the lowest "
                    "Dice come first."
                )
            )
            + report.pictures(_pictures(learnt)),
        ),
        (
            say("How it was trained"),
            report.plot(
                report.curves_plot(run.history, run.best_epoch),
                say(
                    "Training figures are of augmented patches while the weights still change; the selection images, which "
                    "choose the epoch, are shown whole and as they are."
                ),
            ),
        ),
        (
            say("Data"),
            report.paragraph(
                say(
                    "The split is {split}. The test images were used once, after the training.",
                    split=run.dataset.grouping_words(say),
                )
            )
            + report.paragraph(run.dataset.reading_words(say))
            + report.table(counts)
            + report.pairs({say("fingerprint"): run.dataset.fingerprint}),
        ),
        (say("For the methods section"), report.paragraph(pixel_methods.paragraph(run, say))),
        (say("Versions"), report.pairs(report.versions())),
    ]


def _pictures(learnt: LearntSegmentation) -> list[str]:
    run, scores = learnt.run, learnt.scores

    def dice(number: int) -> float:
        found = np.array([one.dice for one in scores.judged[number].overlaps])
        return float(np.nanmean(found)) if np.isfinite(found).any() else 1.0

    order = sorted(range(scores.n), key=dice)[:_PICTURES]
    tiler = tiler_of(run)
    return [
        report.picture(
            _drawn(run, tiler, scores.entries[number]),
            say("Test image {number}, Dice {dice:.3f}", number=number + 1, dice=dice(number)),
            320,
        )
        for number in order
    ]


def _drawn(run: SegmentationRun, tiler: Tiler, entry: Entry) -> NDArray[np.uint8]:
    """An image with the outlines of truth and prediction (H, W, 3)."""
    from skimage import segmentation

    find_boundaries: Any = segmentation.find_boundaries

    image, outputs = outputs_of(tiler, entry)
    truth = run.dataset.truth(entry)
    plane = image.mean(0)
    low, high = np.percentile(plane, (0.5, 99.5))
    grey = np.clip((plane - low) / ((high - low) or 1.0), 0, 1) * 200
    picture = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, 2)
    parted = run.instances != "none"
    true = find_boundaries(truth.objects if parted else truth.classes, mode="inner")
    said = find_boundaries(run.label_image(outputs) if parted else run.class_image(outputs), mode="inner")
    picture[true] = _TRUE
    picture[said] = _SAID
    picture[true & said] = _BOTH
    return picture
