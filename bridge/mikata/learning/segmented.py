"""From images with masks to a tested package of a network for segmentation: the work of Train Segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mikata import report
from mikata.datasets import Entry, Segmented, read_segmented
from mikata.evaluation.parting import choose_settings, evaluate_segmentation, outputs_of, tiler_of
from mikata.evaluation.segmenting import PixelReport
from mikata.language import say
from mikata.learning.learnt import defined
from mikata.learning.pixelwise import (
    BOTH,
    SAID,
    TRUE,
    LearntPixels,
    Steps,
    Wanted,
    dimmed,
    learn_pixelwise,
    worst_first,
)
from mikata.packaging.segmented import write_segmentation
from mikata.tiling import Tiler
from mikata.training import pixel_methods
from mikata.training.recipe import Recipe
from mikata.training.segmented_run import SegmentationRun
from mikata.training.segmenting import train_segmentation
from mikata.types import Progress, Table


class LearntSegmentation(LearntPixels[SegmentationRun, PixelReport]):
    """A trained, tested and packaged network for segmentation."""

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

    def _empty(self, count: int) -> str:
        return say("{count} mask(s) hold no object.", count=count)

    def _reading(self) -> str:
        return self.run.dataset.reading_words(say)

    def _methods(self) -> str:
        return pixel_methods.paragraph(self.run, say)

    def _counted(self) -> tuple[str, ...]:
        return (say("objects"),)

    def _counts(self, part: dict[str, Any]) -> tuple[Any, ...]:
        return (part["objects"],)

    def _pictures(self) -> tuple[str, str]:
        run, scores = self.run, self.scores

        def dice(number: int) -> float:
            found = np.array([one.dice for one in scores.judged[number].overlaps])
            return float(np.nanmean(found)) if np.isfinite(found).any() else 1.0

        tiler = tiler_of(run)
        shown = [
            report.picture(
                _drawn(run, tiler, scores.entries[number]),
                say("Test image {number}, Dice {dice:.3f}", number=number + 1, dice=dice(number)),
                320,
            )
            for number in worst_first(scores.n, dice)
        ]
        told = say(
            "Green: outlines of the truth. Orange: outlines of the prediction. White: both. The images with the lowest "
            "Dice come first."
        )
        return told, report.pictures(shown)


def train_segmentation_package(
    data: Path, out: Path, *, name: str, progress: Progress, **wanted: Unpack[Wanted]
) -> LearntSegmentation:
    """Split, train, choose how objects are made, test once, package, check the package, report.

    Parameters
    ----------
    data:
        As `mikata.datasets.read_segmented` takes it.
    recipe:
        File or name of a recipe; None: ``nuclei``.
    out, name, progress, wanted:
        As of `mikata.learning.pixelwise.learn_pixelwise`, which also tells what is raised.
    """
    steps = Steps(
        "nuclei", _read, train_segmentation, choose_settings, _judge, write_segmentation, LearntSegmentation
    )
    learnt = learn_pixelwise(steps, data, out, name=name, progress=progress, **wanted)
    assert isinstance(learnt, LearntSegmentation)
    return learnt


def _read(data: Path, recipe: Recipe, progress: Progress) -> Segmented:
    said = recipe.stage.segmentation
    return read_segmented(
        data, kind=said.masks, names=said.names, parted=said.instances != "none", progress=progress
    )


def _judge(run: SegmentationRun) -> PixelReport:
    return evaluate_segmentation(run, run.parts["test"], seed=run.seed)


def _drawn(run: SegmentationRun, tiler: Tiler, entry: Entry) -> NDArray[np.uint8]:
    """An image with the outlines of truth and prediction (H, W, 3)."""
    from skimage import segmentation

    find_boundaries: Any = segmentation.find_boundaries

    image, outputs = outputs_of(tiler, entry)
    truth = run.dataset.truth(entry)
    picture = dimmed(image)
    parted = run.instances != "none"
    true = find_boundaries(truth.objects if parted else truth.classes, mode="inner")
    said = find_boundaries(run.label_image(outputs) if parted else run.class_image(outputs), mode="inner")
    picture[true] = TRUE
    picture[said] = SAID
    picture[true & said] = BOTH
    return picture
