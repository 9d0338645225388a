"""A network for detection on images: its points judged, and the settings that they are made with chosen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Box, Dataset, Entry, references_of
from mikata.errors import ImageError
from mikata.evaluation.figured import Figured, finite, interval_of
from mikata.evaluation.intervals import drawings
from mikata.evaluation.marking import AGAIN, HIT, RATES, Curves, Marked, mark
from mikata.evaluation.measures import Unit, numbered
from mikata.evaluation.parting import noted, outputs_of, refuse_none_judged, tiler_of
from mikata.evaluation.report import Figure
from mikata.evaluation.words import Say
from mikata.language import english, say
from mikata.networks.peaks import APART, DEFAULTS, SCORE, Point
from mikata.training.detection_run import DetectionRun
from mikata.types import SILENT, Progress

Draws = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A figure (R,) of how often each patient counts (U, R)."""

MEAN, SENSITIVITY, POOLED, CURVE = (
    "sensitivity_mean",
    "sensitivity",
    "sensitivity_pooled",
    "sensitivity_curve",
)
AP, RECALL, PRECISION = "average_precision", "recall", "precision"

AT = 1.0
"""False positives an image at which the sensitivity with an interval is told."""

_LOWEST = 0.01  # score from which marks are looked at
_APART = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of a typical object of the class with the smallest
_SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))


def named(key: str, class_name: str, say: Say) -> str:
    """The name of a figure, of a class where it is one's; `say` gives it its language."""
    names = {
        MEAN: say("Sensitivity at 1 false positive an image (mean of classes)"),
        SENSITIVITY: say("Sensitivity for {name} at 1 false positive an image", name=class_name),
        POOLED: say("Sensitivity at 1 false positive an image (all classes together)"),
        CURVE: say("Sensitivity for {name} (mean over 1/8 to 8 false positives an image)", name=class_name),
        AP: say("Average precision of {name} (IoU 0.5)", name=class_name),
        RECALL: say("Sensitivity for {name} at the chosen score", name=class_name),
        PRECISION: say("Precision of {name} at the chosen score", name=class_name),
    }
    return names[key]


@dataclass(frozen=True, eq=False)
class DetectionReport(Figured):
    """What was measured of a detection.

    Attributes
    ----------
    judged:
        The marks of each class in each image.
    froc:
        Sensitivity at each number of false positives an image (`RATES`) by class; NaN where it has no object.
    objects:
        Number of objects by class.
    score:
        The chosen score.
    near_px:
        How near to an object without size a mark is a hit.
    """

    judged: tuple[tuple[Marked, ...], ...] = ()
    froc: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    score: float = DEFAULTS[SCORE]
    near_px: float = 0.0

    @staticmethod
    def named(key: str, class_name: str, say: Say) -> str:
        """The name of a figure."""
        return named(key, class_name, say)

    def rule(self, say: Say = english) -> str:
        """What counts as a hit, in sentences; `say` gives them their language."""
        return say(
            "A mark is a hit where its centre lies in the box of an object (of one without size: at most {near:g} px from it) "
            "that no mark with a higher score has hit. Further marks in an object that is hit already count neither as hits nor as "
            "false positives. Sensitivity at a number of false positives an image is that of the lowest score with no more "
            "than so many.",
            near=self.near_px,
        )

    def sentences(self, say: Say = english) -> tuple[str, ...]:
        """What a reader must know, in sentences: how many objects there are of each class, and the rule."""
        counts = ", ".join(f"{name}: {count}" for name, count in self.objects.items())
        absent = [name for name, count in self.objects.items() if not count]
        found = [say("Objects in these images: {counts}.", counts=counts), self.rule(say)]
        if absent:
            found.append(
                say("There is no object of {classes}: nothing is known of these.", classes=", ".join(absent))
            )
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, in English sentences."""
        return (*self.sentences(), *super().notes)

    def record(self) -> dict[str, Any]:
        """All figures as plain JSON values; null where not defined."""
        curves = {name: [finite(value) for value in values] for name, values in self.froc.items()}
        return {
            **super().record(),
            "objects": dict(self.objects),
            "score": self.score,
            "near_px": self.near_px,
            "false_positives_an_image": list(RATES),
            "froc": curves,
        }


def of_class(points: Sequence[Point], kind: int) -> list[Point]:
    """Those of one class."""
    return [one for one in points if one.kind == kind]


def judge(boxes: Sequence[Box], points: Sequence[Point], classes: int, near_px: float) -> tuple[Marked, ...]:
    """The marks of each class in an image; `near_px` as of `mikata.evaluation.marking.mark`."""
    return tuple(
        mark([box for box in boxes if box.kind == kind], of_class(points, kind), near_px)
        for kind in range(classes)
    )


def report(
    entries: Sequence[Entry],
    judged: Sequence[tuple[Marked, ...]],
    classes: Sequence[str],
    *,
    score: float,
    near_px: float = 0.0,
    seed: int = 0,
    skipped: tuple[tuple[Path, str], ...] = (),
    test_of: Dataset | None = None,
) -> DetectionReport:
    """All figures of judged images, each with its interval over resampled patients (images where they are not known).

    Each resample has its own threshold for 1 false positive an image. Fewer than five patients with objects of a class
    give no interval.

    Parameters
    ----------
    entries, judged:
        As many of both.
    score:
        The chosen one, for sensitivity and precision at it.
    """
    units, n_patients, unit = numbered(entries)
    images = np.bincount(units).astype(np.float64)
    curves = [Curves([one[kind] for one in judged], units, images) for kind in range(len(classes))]
    together = Curves([part for one in judged for part in one], np.repeat(units, len(classes)), images)
    one_draw = np.ones((len(images), 1))
    draws = list(drawings(len(images), seed=seed, size=max(len(together.scores), 1)))
    made = _Made(units, unit, one_draw, draws)
    objects = np.array([[part.objects for part in one] for one in judged])
    sized = np.array([[part.sized for part in one] for one in judged])
    counted = [kind for kind in range(len(classes)) if objects[:, kind].any()]
    if len(classes) > 1:
        # of the classes, the one that rests on the fewest
        fewest = min(counted, key=lambda kind: made.concerned(objects[:, kind]), default=0)
        made.add(
            MEAN,
            "",
            lambda drawn: np.mean([curves[kind].sensitivities(drawn, (AT,))[:, 0] for kind in counted], 0),
            objects[:, fewest],
        )
    for kind, name in enumerate(classes):
        made.add(SENSITIVITY, name, _sensitivity(curves[kind]), objects[:, kind])
    if len(classes) > 1:
        made.add(POOLED, "", _sensitivity(together), objects.sum(1))
    for kind, name in enumerate(classes):
        curve = curves[kind]
        made.add(CURVE, name, _mean_sensitivity(curve), objects[:, kind])
        if sized.any():
            made.add(AP, name, curve.average_precision, sized[:, kind])
        hits, false = curve.at(score)
        made.add(RECALL, name, _ratio(hits, curve.objects), objects[:, kind])
        said = np.array([int((one[kind].hits[one[kind].scores >= score] != AGAIN).sum()) for one in judged])
        made.add(PRECISION, name, _ratio(hits, hits + false), said)
    return DetectionReport(
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
        froc={
            name: tuple(curve.sensitivities(one_draw)[0].tolist())
            for name, curve in zip(classes, curves, strict=True)
        },
        objects={name: int(curve.objects.sum()) for name, curve in zip(classes, curves, strict=True)},
        score=score,
        near_px=near_px,
    )


def _sensitivity(curve: Curves) -> Draws:
    return lambda drawn: curve.sensitivities(drawn, (AT,))[:, 0]


def _mean_sensitivity(curve: Curves) -> Draws:
    return lambda drawn: curve.sensitivities(drawn).mean(1)


def _ratio(upper: NDArray[Any], lower: NDArray[Any]) -> Draws:
    def ratio(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[np.float64] = (upper @ drawn) / (lower @ drawn)
        return found

    return ratio


@dataclass(eq=False)
class _Made:
    """Makes figures, one after another."""

    units: NDArray[np.int64]
    unit: Unit
    one_draw: NDArray[np.float64]
    draws: list[NDArray[np.float64]]
    rows: list[Figure] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)

    def concerned(self, counts: NDArray[np.int64]) -> int:
        """How many patients have images that count."""
        return len(np.unique(self.units[counts > 0]))

    def add(self, key: str, class_name: str, figure: Draws, counts: NDArray[np.int64]) -> None:
        """Add a figure, which is not defined where nothing of any image (`counts`) has a part in it."""
        images = int((counts > 0).sum())
        value = float(figure(self.one_draw)[0]) if images else math.nan
        found = np.concatenate([figure(drawn) for drawn in self.draws]) if images else np.empty(0)
        interval = interval_of(value, found, self.concerned(counts), self.unit)
        ends = (interval.low, interval.high, interval.level, interval.method)
        self.rows.append(Figure(named(key, class_name, english), value, *ends, images, self.unit))
        self.keys.append((key, class_name))


def choose_settings(run: DetectionRun, *, progress: Progress = SILENT) -> DetectionRun:
    """The run with the settings that make the best points of the selection images; the test part is not looked at.

    Best is the highest F1, as the mean over the classes, where further marks in an object are false ones; of equal ones
    the first of a list that begins with marks that may be near to each other and low scores.
    """
    found = []
    skipped = 0
    tiler = tiler_of(run)
    for done, entry in enumerate(run.parts["selection"]):
        progress.show(say("Choose the settings of marks"), done, len(run.parts["selection"]))
        try:
            outputs = outputs_of(tiler, entry)[1]
        except ImageError:  # after the training: what was learnt is to be kept
            skipped += 1
            continue
        found.append((outputs, entry.boxes or ()))
    run = noted(run, skipped)
    if not found:
        return dataclasses.replace(run, settings=dict(DEFAULTS))
    best, best_f1 = dict(DEFAULTS), -1.0
    distances = sorted({max(1, round(share * _smallest(run))) for share in _APART})
    for apart in distances:
        trial = dataclasses.replace(run, settings={**DEFAULTS, APART: float(apart)})
        judged = [
            judge(boxes, trial.points(outputs, _SCORES[0]), len(run.classes), run.near_px)
            for outputs, boxes in found
        ]
        for score in _SCORES:
            f1 = float(
                np.mean([_f1([one[kind] for one in judged], score) for kind in range(len(run.classes))])
            )
            if f1 > best_f1 + 1e-12:
                best, best_f1 = {SCORE: score, APART: float(apart)}, f1
    chosen = {
        "by": "highest F1 of marks in the selection images, mean over the classes",
        "selection_f1": best_f1,
        "tried": len(distances) * len(_SCORES),
    }
    return dataclasses.replace(run, settings=best, chosen=chosen)


def _smallest(run: DetectionRun) -> float:
    """Median size of the objects of the class with the smallest; twice `near_px` where no size is known."""
    sides: dict[int, list[float]] = {}
    for entry in run.parts["training"]:
        for box in entry.boxes or ():
            if box.sized:
                sides.setdefault(box.kind, []).append(math.sqrt(box.width * box.height))
    return min((float(np.median(own)) for own in sides.values()), default=2 * run.near_px)


def _f1(marked: Sequence[Marked], score: float) -> float:
    """F1 of all images together; 1 where there is nothing to find and nothing found."""
    hits = sum(int(((one.hits == HIT) & (one.scores >= score)).sum()) for one in marked)
    said = sum(int((one.scores >= score).sum()) for one in marked)
    total = said + sum(one.objects for one in marked)
    return 2 * hits / total if total else 1.0


def evaluate_detection(
    run: DetectionRun, entries: Sequence[Entry], *, seed: int = 0, progress: Progress = SILENT
) -> DetectionReport:
    """Judge a network on images.

    Parameters
    ----------
    entries:
        The test part, as a rule: used once, at the end.

    Raises
    ------
    DataError
        If none of the images can be judged.
    """
    judged: list[tuple[Marked, ...]] = []
    used: list[Entry] = []
    skipped: list[tuple[Path, str]] = []
    score = {**DEFAULTS, **run.settings}[SCORE]
    tiler = tiler_of(run)
    for done, entry in enumerate(entries):
        progress.show(say("Test"), done, len(entries))
        try:
            _, outputs = outputs_of(tiler, entry)
        except ImageError as error:
            skipped.append((entry.file, str(error)))
            continue
        points = run.points(outputs, min(_LOWEST, score))
        judged.append(judge(entry.boxes or (), points, len(run.classes), run.near_px))
        used.append(entry)
    refuse_none_judged(used, skipped)
    return report(
        used,
        judged,
        run.classes,
        score=score,
        near_px=run.near_px,
        seed=seed,
        skipped=tuple(skipped),
        test_of=run.dataset,
    )
