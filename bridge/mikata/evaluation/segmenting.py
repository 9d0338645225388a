"""Scores of a segmentation: of each class and of objects, with intervals by resampling patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Dataset, Entry, references_of
from mikata.evaluation.figured import Figured, interval_of
from mikata.evaluation.intervals import drawings
from mikata.evaluation.measures import Unit, numbered
from mikata.evaluation.pixels import THRESHOLDS, Matched, Overlap, hausdorff_95, match, overlap
from mikata.evaluation.report import Figure
from mikata.evaluation.words import Say
from mikata.language import english

F1, F1_MEAN, RECALL, PRECISION = "f1", "f1_mean", "recall", "precision"
DICE, IOU, POOLED_DICE, POOLED_IOU, HAUSDORFF = "dice", "iou", "pooled_dice", "pooled_iou", "hausdorff"


def named(key: str, class_name: str, say: Say) -> str:
    """The name of a figure, of a class where it is one's; `say` gives it its language."""
    names = {
        F1: say("F1 of objects (IoU 0.5)"),
        F1_MEAN: say("F1 of objects (mean over IoU 0.5 to 0.95)"),
        RECALL: say("Recall of objects (IoU 0.5)"),
        PRECISION: say("Precision of objects (IoU 0.5)"),
        DICE: say("Dice of {name} (mean of images)", name=class_name),
        IOU: say("IoU of {name} (mean of images)", name=class_name),
        POOLED_DICE: say("Dice of {name} (all pixels pooled)", name=class_name),
        POOLED_IOU: say("IoU of {name} (all pixels pooled)", name=class_name),
        HAUSDORFF: say(
            "Hausdorff 95 of {name} in px (mean of images where truth and prediction have it)",
            name=class_name,
        ),
    }
    return names[key]


@dataclass(frozen=True, eq=False)
class Judged:
    """One image, judged.

    Attributes
    ----------
    overlaps:
        Of each class but the background.
    hausdorff_95:
        The same, in px; NaN where a class is not in both.
    objects:
        Where objects are told apart.
    """

    overlaps: tuple[Overlap, ...]
    hausdorff_95: tuple[float, ...]
    objects: Matched | None = None


def judge(
    true: NDArray[np.uint8],
    said: NDArray[np.uint8],
    classes: int,
    true_objects: NDArray[np.int32] | None = None,
    said_objects: NDArray[np.int32] | None = None,
) -> Judged:
    """Compare what each pixel is said to be with what it is.

    Parameters
    ----------
    true, said:
        Numbers of classes (H, W).
    classes:
        How many there are, background included.
    true_objects, said_objects:
        Numbers of objects (H, W); None where they are not told apart.
    """
    pairs = [(true == number, said == number) for number in range(1, classes)]
    objects = None
    if true_objects is not None and said_objects is not None:
        objects = match(true_objects, said_objects)
    return Judged(
        tuple(overlap(*pair) for pair in pairs), tuple(hausdorff_95(*pair) for pair in pairs), objects
    )


@dataclass(frozen=True, eq=False)
class PixelReport(Figured):
    """What was measured of a segmentation.

    Attributes
    ----------
    judged:
        What was found of each image.
    """

    judged: tuple[Judged, ...] = ()

    @staticmethod
    def named(key: str, class_name: str, say: Say) -> str:
        """The name of a figure."""
        return named(key, class_name, say)


def report(
    entries: Sequence[Entry],
    judged: Sequence[Judged],
    classes: Sequence[str],
    *,
    seed: int = 0,
    skipped: tuple[tuple[Path, str], ...] = (),
    test_of: Dataset | None = None,
) -> PixelReport:
    """All figures of judged images, each with its interval.

    Each figure is a share A / B where A and B are sums over images: of the mean Dice of images, A adds up their Dice
    and B counts those that have one; of pooled figures both add up pixels or objects. So a resample of patients needs
    the images' own numbers only (2000 draws; expanded percentiles, Hesterberg 2015, doi
    10.1080/00031305.2015.1089789, which allow for few patients). Fewer than five patients give no interval.

    Parameters
    ----------
    entries, judged:
        As many of both.
    classes:
        Names of the classes but the background.
    """
    units, n_patients, unit = numbered(entries)
    made = _Made(units, unit, seed)
    if all(one.objects is not None for one in judged):
        objects = [one.objects for one in judged if one.objects is not None]
        totals = [one.true + one.said for one in objects]
        right = [one.right[0] for one in objects]
        mean = [2 * sum(one.right) / len(THRESHOLDS) for one in objects]
        made.add(F1, "", [2 * one for one in right], totals)
        made.add(F1_MEAN, "", mean, totals)
        made.add(RECALL, "", right, [one.true for one in objects])
        made.add(PRECISION, "", right, [one.said for one in objects])
    for number, name in enumerate(classes):
        own = [one.overlaps[number] for one in judged]
        both = [one.both for one in own]
        total = [one.true + one.said for one in own]
        made.mean(DICE, name, [one.dice for one in own])
        made.mean(IOU, name, [one.iou for one in own])
        made.add(POOLED_DICE, name, [2 * one for one in both], total)
        made.add(POOLED_IOU, name, both, [t - b for t, b in zip(total, both, strict=True)])
        made.mean(HAUSDORFF, name, [one.hausdorff_95[number] for one in judged])
    return PixelReport(
        classes=tuple(classes),
        entries=tuple(entries),
        judged=tuple(judged),
        rows=tuple(made.rows),
        keys=tuple(made.keys),
        n=len(entries),
        n_patients=n_patients,
        unit=unit,
        skipped=skipped,
        references=references_of(entries),
        test_of=test_of,
    )


@dataclass(frozen=True, eq=False)
class _Made:
    """Makes figures of the numbers of images, one after another."""

    units: NDArray[np.int64]
    unit: Unit
    seed: int
    rows: list[Figure] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)

    def mean(self, key: str, class_name: str, values: Sequence[float]) -> None:
        """Mean over the images that have a value."""
        defined = np.isfinite(values)
        self.add(key, class_name, np.where(defined, values, 0.0), defined)

    def add(self, key: str, class_name: str, upper: Any, lower: Any) -> None:
        """Sum of `upper` over sum of `lower`, each of one number an image."""
        count = int(self.units.max()) + 1
        above, below = (
            np.asarray(np.bincount(self.units, np.asarray(one, np.float64), minlength=count), np.float64)
            for one in (upper, lower)
        )
        value = float(above.sum() / below.sum()) if below.sum() else math.nan
        concerned = int(np.count_nonzero(below))
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = [(above @ drawn) / (below @ drawn) for drawn in drawings(count, seed=self.seed)]
        interval = interval_of(value, np.concatenate(draws), concerned, self.unit, is_share=key != HAUSDORFF)
        ends = (interval.low, interval.high, interval.level, interval.method)
        images = int(np.count_nonzero(lower))
        self.rows.append(Figure(named(key, class_name, english), value, *ends, images, self.unit))
        self.keys.append((key, class_name))
