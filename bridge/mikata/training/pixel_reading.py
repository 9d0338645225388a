"""What trainings of all networks from images to images do first: refuse what is for others, and read the images."""

from __future__ import annotations

from collections.abc import Sequence

from mikata import images
from mikata.datasets import Entry
from mikata.errors import DataError, ImageError, RecipeError
from mikata.language import say
from mikata.networks import InputSpec, to_input
from mikata.networks.inputs import TakesImages
from mikata.training.data import Part, Statistics, look_through
from mikata.training.recipe import Recipe
from mikata.training.stage import Detection, Segmentation, Stage, shown
from mikata.types import Progress

_GIB = 2**30


def refuse_for_pixels(recipe: Recipe, *, detection: bool = False) -> None:
    """Refuse what a recipe says that is not for segmentation or, if so, for detection.

    Raises
    ------
    RecipeError
        If it has several stages, scales images, or says what classifiers or the other kind are trained with.
    """
    if len(recipe.stages) > 1:
        raise RecipeError(
            say(
                "{recipe}: a network for {task} is trained in one stage.",
                recipe=recipe.source,
                task=_task(detection),
            )
        )
    stage = recipe.stage
    if detection and stage.segmentation != Segmentation():
        raise RecipeError(
            say(
                "{recipe} has a table [stage.segmentation]: it trains networks for segmentation. Give a recipe with "
                "[stage.detection].",
                recipe=recipe.source,
            )
        )
    if not detection and stage.detection != Detection():
        raise RecipeError(
            say(
                "{recipe} has a table [stage.detection]: it trains networks for detection. Give a recipe with "
                "[stage.segmentation].",
                recipe=recipe.source,
            )
        )
    wanted = {
        "fit": (stage.fit, "native"),
        "head": (stage.head, "gradient"),
        "balance": (stage.balance, "none"),
        "label_smoothing": (stage.label_smoothing, 0.0),
    }
    for key, (value, needed) in wanted.items():
        if value != needed:
            raise RecipeError(
                say(
                    "{recipe}: a network for {task} is trained with {key} = {needed}, not {value}.",
                    recipe=recipe.source,
                    task=_task(detection),
                    key=key,
                    needed=shown(needed),
                    value=shown(value),
                )
            )
    if stage.source in ("formula", "unlabelled", "previous"):
        raise RecipeError(
            say(
                "{recipe}: source = {value} is for classifiers. Say none, imagenet (of an smp: network's encoder), or a "
                "package of a network for {task}.",
                recipe=recipe.source,
                value=shown(stage.source),
                task=_task(detection),
            )
        )


def _task(detection: bool) -> str:
    return say("detection") if detection else say("segmentation")


def refuse_size(stage: Stage, step: int, recipe: Recipe) -> None:
    """Refuse patches (`RecipeError`) that the network does not take."""
    if stage.size[0] % step or stage.size[1] % step:
        raise RecipeError(
            say(
                "{recipe}: {network} takes patches whose sides are multiples of {step} px, not {height} x {width}. Say "
                "another size.",
                recipe=recipe.source,
                network=stage.network,
                step=step,
                height=stage.size[0],
                width=stage.size[1],
            )
        )


def seen_through(learning: Part, choosing: Part, stage: Stage, progress: Progress) -> Statistics:
    """Statistics of the training images; all images are kept in memory if the recipe has room for them.

    Raises
    ------
    DataError
        If one channel of them is the same everywhere.
    """
    keep = learning.nbytes() + choosing.nbytes() <= stage.cache_gib * _GIB
    statistics = look_through(
        learning, keep=keep, workers=stage.workers, message=say("Reading training images"), progress=progress
    )
    if min(statistics.std) == 0:
        raise DataError(
            say("All training images have the same value everywhere in one channel: nothing can be learnt.")
        )
    if keep:
        look_through(
            choosing,
            keep=True,
            workers=stage.workers,
            message=say("Reading selection images"),
            progress=progress,
        )
    if all(entry.picture.eight_bit for entry in (*learning.entries, *choosing.entries)):
        statistics = Statistics(statistics.mean, statistics.std, (0.0, 255.0))
    return statistics


def refuse_unlike_tests(entries: Sequence[Entry], spec: TakesImages, statistics: Statistics) -> None:
    """Refuse before the training what would be found out after it: that no test image suits its values."""
    suited = InputSpec(spec.channels, spec.size, spec.fit, spec.value_unit, statistics.value_range)
    problem = ""
    for entry in entries:
        try:
            image = images.read(entry.file)
            to_input(next(image.frames()).values, suited, name=str(entry.file), unit=image.calibrated_unit)
        except ImageError as error:
            problem = problem or str(error)
            continue
        return
    if problem:
        raise DataError(
            say(
                "None of the {count} test images suits the training images, so that the network could not be tested. The "
                "first: {reason}",
                count=len(entries),
                reason=problem,
            )
        )
