"""From images with boxes or points to a tested package of a network for detection: the work of Train Detection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mikata import report
from mikata.datasets import Detected, Entry, read_detected
from mikata.errors import DataError
from mikata.evaluation import words
from mikata.evaluation.detecting import DetectionReport, choose_settings, evaluate_detection
from mikata.evaluation.marking import FALSE, HIT, RATES, Marked
from mikata.evaluation.parting import outputs_of, tiler_of
from mikata.language import say
from mikata.learning.pixelwise import (
    SAID,
    TRUE,
    LearntPixels,
    Steps,
    Wanted,
    dimmed,
    learn_pixelwise,
    worst_first,
)
from mikata.networks.pixelwise import SIZES
from mikata.packaging.detected import write_detection
from mikata.packaging.pages import framed
from mikata.tiling import Tiler
from mikata.training import detection_methods
from mikata.training.detecting import train_detection
from mikata.training.detection_run import DetectionRun
from mikata.training.recipe import Recipe
from mikata.types import Progress, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 420
"""CSS px of a test image on the report page."""


class LearntDetection(LearntPixels[DetectionRun, DetectionReport]):
    """A trained, tested and packaged network for detection."""

    @property
    def per_image(self) -> Table:
        """What was found in each test image at the chosen score; patients as they are called in all results."""
        columns = ["file", "patient"]
        for name in self.scores.classes:
            columns += [f"objects {name}", f"found {name}", f"false positives {name}"]
        rows = []
        for entry, judged in zip(self.scores.entries, self.scores.judged, strict=True):
            row: list[Any] = [entry.file.name, entry.patient]
            for one in judged:
                row += [one.objects, *_at(one, self.scores.score)]
            rows.append(tuple(row))
        return Table("Test images", tuple(columns), tuple(rows))

    def _empty(self, count: int) -> str:
        return say("{count} image(s) hold no object.", count=count)

    def _reading(self) -> str:
        return self.run.dataset.reading_words(say)

    def _methods(self) -> str:
        return detection_methods.paragraph(self.run, say)

    def _counted(self) -> tuple[str, ...]:
        return self.run.classes

    def _counts(self, part: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(part["objects"][name] for name in self.run.classes)

    def _notes(self) -> tuple[str, ...]:
        return (*self.scores.sentences(say), *words.image_notes(self.scores))

    def _plots(self) -> list[tuple[str, str]]:
        told = say(
            "Sensitivity against false positives an image (FROC) on the test images: how much more is found where more "
            "false positives are put up with."
        )
        return [(say("Sensitivity and false positives"), report.plot(froc_plot(self.scores), told))]

    def _pictures(self) -> tuple[str, str]:
        run, scores = self.run, self.scores
        totals = [_totals(one, scores.score) for one in scores.judged]
        tiler = tiler_of(run)
        shown = []
        for number in worst_first(scores.n, lambda n: -(totals[n][0] - totals[n][1] + totals[n][2])):
            objects, found, false = totals[number]
            caption = say(
                "Test image {number}: {found} of {objects} found, {false} false positive(s)",
                number=number + 1,
                found=found,
                objects=objects,
                false=false,
            )
            shown.append(report.picture(_drawn(run, tiler, scores.entries[number]), caption, _WIDTH))
        told = say(
            "Green: boxes of the truth. Orange: boxes of the prediction, with at least the chosen score of {score:g}. A cross "
            "is a place without size. The images with the most mistakes come first.",
            score=scores.score,
        )
        return told, report.pictures(shown)


def train_detection_package(
    data: Path, out: Path, *, name: str, progress: Progress, **wanted: Unpack[Wanted]
) -> LearntDetection:
    """Split, train, choose the least score, test once, package, check the package, report.

    Parameters
    ----------
    data:
        As `mikata.datasets.read_detected` takes it.
    recipe:
        File or name of a recipe; None: ``cells``.
    out, name, progress, wanted:
        As of `mikata.learning.pixelwise.learn_pixelwise`, which also tells what is raised.
    """
    steps = Steps("cells", _read, train_detection, choose_settings, _judge, write_detection, LearntDetection)
    learnt = learn_pixelwise(steps, data, out, name=name, progress=progress, **wanted)
    assert isinstance(learnt, LearntDetection)
    return learnt


def _read(data: Path, recipe: Recipe, progress: Progress) -> Detected:
    dataset = read_detected(data, names=recipe.stage.detection.names, progress=progress)
    for name in dataset.names:
        if name in SIZES:
            raise DataError(
                say(
                    "{path}: a class cannot be called '{name}', since the network's output has a channel of that name. Call it "
                    "otherwise.",
                    path=data,
                    name=name,
                )
            )
    return dataset


def _judge(run: DetectionRun) -> DetectionReport:
    return evaluate_detection(run, run.parts["test"], seed=run.seed)


def _at(one: Marked, score: float) -> tuple[int, int]:
    """Numbers of hits and of false positives with at least this score."""
    kept = one.scores >= score
    return int(((one.hits == HIT) & kept).sum()), int(((one.hits == FALSE) & kept).sum())


def _totals(judged: tuple[Marked, ...], score: float) -> tuple[int, int, int]:
    """Numbers of objects, hits and false positives of an image, all classes together."""
    each = [_at(one, score) for one in judged]
    return sum(one.objects for one in judged), sum(hits for hits, _ in each), sum(false for _, false in each)


def froc_plot(scores: DetectionReport) -> Figure:
    """Sensitivity of each class against the mean number of false positives an image, at 1/8 to 8 of these."""
    from matplotlib.figure import Figure

    axis = [say("false positives an image"), say("sensitivity")]
    named = report.letters([*axis, *scores.froc])
    if (
        named.words[:2] != axis
    ):  # no font of this machine has their letters, and a number is no name of an axis
        axis = ["false positives an image", "sensitivity"]
    classes, font = report.letters(list(scores.froc)).words, dict[str, Any](named.font)
    figure = Figure(figsize=(6, 3.5))
    axes = figure.subplots()
    for name, values in zip(classes, scores.froc.values(), strict=True):
        axes.plot(RATES, values, marker=".", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="0.9")
    axes.set_xlabel(axis[0], **font)
    axes.set_ylabel(axis[1], **font)
    axes.legend(prop=font or None)
    figure.tight_layout()
    return figure


def _drawn(run: DetectionRun, tiler: Tiler, entry: Entry) -> NDArray[np.uint8]:
    """An image with the boxes of truth and prediction (H, W, 3)."""
    image, outputs = outputs_of(tiler, entry)
    picture = dimmed(image)
    thick = max(1, round(picture.shape[1] / _WIDTH))  # as the page shows it, about a px
    for found, colour in ((entry.boxes or (), TRUE), (run.points(outputs), SAID)):
        framed(
            picture,
            ((b.x - b.width / 2, b.y - b.height / 2, b.width, b.height) for b in found),
            colour,
            thick,
        )
    return picture
