"""The training of a network for detection as a recipe says, with the loop of all trainings."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np

from mikata.datasets import Detected, split
from mikata.errors import Cancelled, DataError
from mikata.language import say
from mikata.networks.reach import step_of
from mikata.training import order
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.box_patches import BoxPart
from mikata.training.centre_losses import CentreLoss
from mikata.training.data import channels_of, input_of
from mikata.training.detection_run import DetectionRun, Parts
from mikata.training.fitting import accelerator_for, device_name, fit
from mikata.training.pixel_reading import refuse_for_pixels, refuse_size, refuse_unlike_tests, seen_through
from mikata.training.pixel_starting import normalised, start_detector
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.run import versions
from mikata.training.schedule import refuse_endless_warmup
from mikata.types import SILENT, Progress


def train_detection(
    dataset: Detected,
    recipe: Recipe,
    *,
    folder: Path,
    parts: Parts | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> DetectionRun:
    """Train a network for detection.

    Every step is a function of seed, epoch and its number, and the epoch with the lowest selection loss is kept, as in
    `mikata.training.train`.

    Parameters
    ----------
    dataset:
        Images with boxes or points.
    recipe:
        Of one stage; what ``[stage.detection]`` says counts.
    folder, parts, resume:
        As of `mikata.training.train_segmentation`.

    Raises
    ------
    DataError, RecipeError, NetworkError, TrainingError, OutputError, Cancelled
        As `mikata.training.train` raises them.
    """
    started = time.monotonic()
    progress = progress if main_process() else SILENT
    stage = recipe.stage
    said = stage.detection
    refuse_for_pixels(recipe, detection=True)
    accelerator = accelerator_for(stage, recipe)
    refuse_endless_warmup(stage, recipe.source)
    refuse_flips_of_sides(recipe, dataclasses.replace(dataset, classes=dataset.names))
    parts = parts or split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    _refuse_empty_training(dataset, parts)
    classes = len(dataset.names)
    try:
        with order.own_random_numbers(recipe.seed):
            channels = channels_of([e for entries in parts.values() for e in entries], stage.channels)
            detector, parent = start_detector(
                stage, classes, channels, typical_size(parts), recipe, parts["training"][0].picture.unit
            )
            step = step_of(detector.eval(), channels)
            refuse_size(stage, step, recipe)
            used = (*parts["training"], *parts["selection"])
            spec = input_of(used, channels, stage.size, stage.fit)
            learning, choosing = (
                BoxPart.of(parts[name], spec, step=step) for name in ("training", "selection")
            )
            statistics = seen_through(learning, choosing, stage, progress)
            refuse_unlike_tests(parts["test"], learning.spec, statistics)
            detector = normalised(detector, stage, statistics, spec.value_unit, recipe)
            losses = CentreLoss(
                learning.objects_per_patch(classes, stage),
                choosing.objects_per_image(classes),
                detector.configuration["typical_px"],
                said.shrink,
                said.near_px,
            )
            loop, stopped_by = fit(
                detector,
                learning,
                choosing,
                stage,
                recipe,
                statistics,
                folder,
                progress,
                accelerator,
                resume=resume,
                losses=losses,
            )
    except KeyboardInterrupt as error:
        raise Cancelled(say("Stopped before the training had begun: nothing is kept.")) from error
    detector = detector.to("cpu")
    loop.checkpoints.load_best(detector)
    return DetectionRun(
        detector=detector.eval(),
        classes=dataset.names,
        step=step,
        channels=channels,
        value_unit=spec.value_unit,
        value_range=statistics.value_range,
        history=tuple(loop.history),
        recipe=recipe,
        dataset=dataset,
        parts=dict(parts),
        seed=recipe.seed,
        best_epoch=loop.checkpoints.best_epoch,
        stopped_by=stopped_by,
        seconds=time.monotonic() - started + loop.seconds,
        device=device_name(accelerator),
        versions=versions(),
        checkpoint=loop.checkpoints.best,
        last_checkpoint=loop.checkpoints.last,
        parent=parent,
        notes=tuple(loop.notes),
    )


def typical_size(parts: Parts) -> float:
    """The geometric mean of the sides of the training images' objects, in px; 0 where none is known."""
    sides = [
        side
        for entry in parts["training"]
        for box in entry.boxes or ()
        if box.sized
        for side in (box.width, box.height)
    ]
    return float(np.exp(np.mean(np.log(sides)))) if sides else 0.0


def _refuse_empty_training(dataset: Detected, parts: Parts) -> None:
    for name in ("training", "selection"):
        present = {box.kind for entry in parts[name] for box in entry.boxes or ()}
        for number, class_name in enumerate(dataset.names):
            if number not in present:
                raise DataError(
                    say(
                        "{path}: no image of the {part} part has an object of the class '{name}': change the seed, the shares "
                        "or the column 'split'.",
                        path=dataset.path,
                        part=name,
                        name=class_name,
                    )
                )
