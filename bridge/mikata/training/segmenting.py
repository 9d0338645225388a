"""The training of a network for segmentation as a recipe says, with the loop of all trainings."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from mikata.datasets import Segmented, split
from mikata.errors import Cancelled, DataError, RecipeError
from mikata.language import say
from mikata.networks.reach import step_of
from mikata.training import order
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.data import Statistics, channels_of, input_of
from mikata.training.fitting import accelerator_for, device_name, fit
from mikata.training.patches import MaskPart
from mikata.training.pixel_losses import PixelLoss
from mikata.training.pixel_reading import refuse_for_pixels, refuse_size, refuse_unlike_tests, seen_through
from mikata.training.pixel_starting import normalised, start_segmenter
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.run import versions
from mikata.training.schedule import refuse_endless_warmup
from mikata.training.segmented_run import Parts, SegmentationRun
from mikata.training.stage import Segmentation, Stage
from mikata.types import SILENT, Progress


def train_segmentation(
    dataset: Segmented,
    recipe: Recipe,
    *,
    folder: Path,
    parts: Parts | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> SegmentationRun:
    """Train a network for segmentation.

    Every step is a function of seed, epoch and its number, and the epoch with the lowest selection loss is kept, as in
    `mikata.training.train`.

    Parameters
    ----------
    dataset:
        Images with masks.
    recipe:
        Of one stage; what ``[stage.segmentation]`` says counts.
    folder:
        Gets the checkpoints.
    parts:
        A split of `dataset` made before; None: by the recipe's shares and seed. Its test part is not looked at.
    resume:
        Whether to go on from the state that an earlier start of the same training has left in `folder`.

    Raises
    ------
    DataError, RecipeError, NetworkError, TrainingError, OutputError, Cancelled
        As `mikata.training.train` raises them.
    """
    started = time.monotonic()
    progress = progress if main_process() else SILENT
    stage = recipe.stage
    refuse_for_pixels(recipe)
    accelerator = accelerator_for(stage, recipe)
    refuse_endless_warmup(stage, recipe.source)
    refuse_flips_of_sides(recipe, dataclasses.replace(dataset, classes=dataset.reading.names))
    parts = parts or split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    said = stage.segmentation
    outputs = outputs_of(dataset, said)
    _refuse_empty_training(dataset, parts)
    classes = len(outputs) - (said.instances == "distance")
    try:
        with order.own_random_numbers(recipe.seed):
            channels = channels_of([e for entries in parts.values() for e in entries], stage.channels)
            segmenter, parent = start_segmenter(
                stage,
                classes,
                channels,
                said.instances == "distance",
                recipe,
                parts["training"][0].picture.unit,
            )
            step = step_of(segmenter.eval(), channels)
            learning, choosing, statistics = _load(parts, dataset, stage, channels, step, recipe, progress)
            segmenter = normalised(segmenter, stage, statistics, learning.spec.value_unit, recipe)
            loop, stopped_by = fit(
                segmenter,
                learning,
                choosing,
                stage,
                recipe,
                statistics,
                folder,
                progress,
                accelerator,
                resume=resume,
                losses=PixelLoss(classes, said.loss, said.instances),
            )
    except KeyboardInterrupt as error:
        raise Cancelled(say("Stopped before the training had begun: nothing is kept.")) from error
    segmenter = segmenter.to("cpu")
    loop.checkpoints.load_best(segmenter)
    return SegmentationRun(
        segmenter=segmenter.eval(),
        classes=dataset.names,
        outputs=outputs,
        instances=said.instances,
        step=step,
        channels=channels,
        value_unit=learning.spec.value_unit,
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


def outputs_of(dataset: Segmented, said: Segmentation) -> tuple[str, ...]:
    """Names of the channels of the output.

    Raises
    ------
    RecipeError
        If objects of several classes are to be told apart.
    """
    if said.instances == "none":
        return dataset.names
    if len(dataset.names) > 2:
        raise RecipeError(
            say(
                'instances = "{instances}" tells objects of one class apart, but there are {count}: {names}. Say '
                'instances = "none", or train one network a class.',
                instances=said.instances,
                count=len(dataset.names) - 1,
                names=", ".join(dataset.names[1:]),
            )
        )
    return (*dataset.names, said.instances)


def _refuse_empty_training(dataset: Segmented, parts: Parts) -> None:
    for name in ("training", "selection"):
        present = {k for entry in parts[name] if entry.mask is not None for k in entry.mask.present}
        for number, class_name in enumerate(dataset.reading.names, 1):
            if number not in present:
                raise DataError(
                    say(
                        "{path}: no mask of the {part} part holds the class '{name}': change the seed, the shares or the "
                        "column 'split'.",
                        path=dataset.path,
                        part=name,
                        name=class_name,
                    )
                )


def _load(
    parts: Parts,
    dataset: Segmented,
    stage: Stage,
    channels: int,
    step: int,
    recipe: Recipe,
    progress: Progress,
) -> tuple[MaskPart, MaskPart, Statistics]:
    """Training and selection images, and the statistics of the training images."""
    refuse_size(stage, step, recipe)
    used = (*parts["training"], *parts["selection"])
    spec = input_of(used, channels, stage.size, stage.fit)
    distance = stage.segmentation.instances == "distance"
    learning, choosing = (
        MaskPart.of(parts[name], dataset, spec, distance=distance, step=step)
        for name in ("training", "selection")
    )
    statistics = seen_through(learning, choosing, stage, progress)
    if learning.kept is not None:
        learning.keep_truth()
        choosing.keep_truth()
    refuse_unlike_tests(parts["test"], spec, statistics)
    return learning, choosing, statistics
