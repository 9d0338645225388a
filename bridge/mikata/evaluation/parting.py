"""A network for segmentation on images: predicted, judged, and the settings of objects chosen."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mikata import images
from mikata.datasets import Entry
from mikata.errors import DataError, ImageError
from mikata.evaluation.pixels import THRESHOLDS, Matched, match, pooled_f1
from mikata.evaluation.segmenting import Judged, PixelReport, judge, report
from mikata.language import say
from mikata.networks import PixelNetwork
from mikata.networks.instances import DEFAULTS, FOREGROUND, SEED, SMALLEST, label_image
from mikata.networks.pixelwise import Meaning, Sides, unchanged
from mikata.networks.reach import halo_of
from mikata.tiling import Channels, PlaneValues, Tiler, zeros
from mikata.training.detection_run import DetectionRun
from mikata.training.segmented_run import SegmentationRun
from mikata.types import SILENT, Progress

Run = TypeVar("Run", SegmentationRun, DetectionRun)

_FOREGROUNDS = (0.5, 0.3, 0.4, 0.6, 0.7)
_SEEDS = (0.5, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
_SMALLEST = (0.0, 0.1, 0.2)  # of the median object of the training images


def tiler_of(run: SegmentationRun | DetectionRun) -> Tiler:
    """Runs the trained network as Segment Images will: whole where that fits into memory, else in tiles."""
    network: nn.Module
    meaning: Meaning
    if isinstance(run, DetectionRun):
        network, meaning = run.detector, "points"
    else:
        network, meaning = run.segmenter, "classes" if run.instances == "none" else "instances"
    halo = halo_of(copy.deepcopy(network).to("cpu").eval(), run.channels, run.step)
    sides = Sides(run.step, run.step)
    return Tiler(
        PixelNetwork(
            path=run.checkpoint,
            channels=run.channels,
            before=unchanged,
            network=network,
            after=unchanged,
            height=sides,
            width=sides,
            halo=halo,
            stride=run.step,
            scale=1,
            outputs=run.outputs,
            meaning=meaning,
            value_unit=run.value_unit,
            value_range=run.value_range,
        )
    )


def outputs_of(tiler: Tiler, entry: Entry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """An image as the network takes it (C, H, W), and what the network says of it (K, H, W).

    Raises
    ------
    ImageError
        If its file can no longer be read, or does not suit the network.
    """
    plane = PlaneValues(images.read(entry.file), 1, 1, tiler.network, str(entry.file))
    made = Channels(zeros((len(tiler.network.outputs), plane.height, plane.width), np.float32))
    tiler.run(plane, [made], lambda done, count: None)
    return plane.values(slice(None)), made.values


def noted(run: Run, skipped: int) -> Run:
    """The run with a note of the selection images that could not be used to choose its settings."""
    if not skipped:
        return run
    note = say(
        "{count} selection image(s) could not be used to choose the settings of objects.", count=skipped
    )
    return dataclasses.replace(run, notes=(*run.notes, note))


def choose_settings(run: SegmentationRun, *, progress: Progress = SILENT) -> SegmentationRun:
    """The run with the settings that make the best objects of the selection images; the test part is not looked at.

    Best is the highest F1 of all objects together, as the mean over the intersections 0.5 to 0.95; of equal ones the
    first of a list that begins with the defaults. First the two thresholds are chosen, then the smallest object.
    """
    if run.instances == "none":
        return run
    found = []
    skipped = 0
    tiler = tiler_of(run)
    for done, entry in enumerate(run.parts["selection"]):
        progress.show(say("Choose the settings of objects"), done, len(run.parts["selection"]))
        try:
            outputs = outputs_of(tiler, entry)[1]
        except ImageError:  # after the training: what was learnt is to be kept
            skipped += 1
            continue
        found.append((outputs, run.dataset.truth(entry).objects))
    run = noted(run, skipped)
    if not found:
        return dataclasses.replace(run, settings=dict(DEFAULTS))
    typical = _median_area(run)
    best, best_score = dict(DEFAULTS), -1.0
    thresholds = [{FOREGROUND: f, SEED: s} for f, s in product(_FOREGROUNDS, _SEEDS)]
    sizes = [{SMALLEST: float(round(share * typical))} for share in _SMALLEST]
    for trial in (*thresholds, *sizes):
        if SMALLEST not in trial:
            settings = {**DEFAULTS, **trial}
        else:
            settings = {**best, **trial}
        score = _score(run, found, settings)
        if score > best_score + 1e-12:
            best, best_score = settings, score
    chosen = {
        "by": "highest F1 of objects of the selection images, mean over IoU 0.5 to 0.95",
        "selection_f1_mean": best_score,
        "tried": len(thresholds) + len(sizes),
    }
    return dataclasses.replace(run, settings=best, chosen=chosen)


def _median_area(run: SegmentationRun) -> float:
    areas = [np.bincount(run.dataset.truth(entry).objects.ravel())[1:] for entry in run.parts["training"]]
    return float(np.median(np.concatenate(areas)))


def _score(
    run: SegmentationRun,
    found: Sequence[tuple[NDArray[np.float32], NDArray[np.int32]]],
    settings: Mapping[str, float],
) -> float:
    matched: list[Matched] = [
        match(truth, label_image(outputs, run.outputs, settings)) for outputs, truth in found
    ]
    return float(np.nan_to_num(np.mean([pooled_f1(matched, number) for number in range(len(THRESHOLDS))])))


def evaluate_segmentation(
    run: SegmentationRun, entries: Sequence[Entry], *, seed: int = 0, progress: Progress = SILENT
) -> PixelReport:
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
    judged: list[Judged] = []
    used: list[Entry] = []
    skipped: list[tuple[Path, str]] = []
    tiler = tiler_of(run)
    for done, entry in enumerate(entries):
        progress.show(say("Test"), done, len(entries))
        try:
            _, outputs = outputs_of(tiler, entry)
        except ImageError as error:
            skipped.append((entry.file, str(error)))
            continue
        truth = run.dataset.truth(entry)
        parted = run.instances != "none"
        objects = run.label_image(outputs) if parted else None
        said = run.class_image(outputs) if objects is None else (objects > 0).astype(np.uint8)
        judged.append(
            judge(truth.classes, said, len(run.classes), truth.objects if parted else None, objects)
        )
        used.append(entry)
    refuse_none_judged(used, skipped)
    return report(used, judged, run.classes[1:], seed=seed, skipped=tuple(skipped), test_of=run.dataset)


def refuse_none_judged(used: Sequence[Entry], skipped: Sequence[tuple[Path, str]]) -> None:
    """Refuse a test (`DataError`) none of whose images could be judged."""
    if not used:
        raise DataError(
            say(
                "None of the {count} test images can be judged. The first is {file}: {reason}",
                count=len(skipped),
                file=skipped[0][0],
                reason=skipped[0][1],
            )
        )
