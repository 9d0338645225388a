"""The network for segmentation that a training starts with: its weights and its normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mikata.architecture import SMP, Segmenter
from mikata.errors import NetworkError, RecipeError
from mikata.language import say
from mikata.networks import read_pixel_network
from mikata.training.data import Statistics
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage

_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def start_segmenter(
    stage: Stage, classes: int, channels: int, distance: bool, recipe: Recipe, unit: str
) -> tuple[Segmenter, dict[str, str]]:
    """The untrained network with the weights it starts from, and what these are.

    `unit` is that of the training images' values.

    Raises
    ------
    NetworkError, PackageError
        If the network does not exist, or its weights cannot be had.
    RecipeError
        If a package to start from is of another kind, or for values in another unit.
    """
    try:
        segmenter = Segmenter(
            stage.network,
            classes,
            channels,
            [0.0] * channels,
            [1.0] * channels,
            distance,
            stage.segmentation.shrink,
        )
    except ValueError as error:
        raise NetworkError(
            say("The network {name} cannot be built: {error}.", name=stage.network, error=error)
        ) from error
    if stage.source == "none":
        return segmenter, {}
    if stage.source == "imagenet":
        _take_published(segmenter, stage.network, channels)
        return segmenter, {}
    path = Path(stage.source)
    package = read_pixel_network(path)
    own: Any = package.network
    for key in ("network", "classes", "channels", "distance", "shrink"):
        if own.configuration[key] != segmenter.configuration[key]:
            raise RecipeError(
                say(
                    "{recipe}: the package {package} does not suit: its {key} is {other}, and here it is {here}.",
                    recipe=recipe.source,
                    package=path.name,
                    key=key,
                    other=own.configuration[key],
                    here=segmenter.configuration[key],
                )
            )
    if package.value_unit != unit:
        raise RecipeError(
            say(
                "{recipe}: the package {package} does not suit: its {key} is {other}, and here it is {here}.",
                recipe=recipe.source,
                package=path.name,
                key="value_unit",
                other=package.value_unit,
                here=unit,
            )
        )
    return own, {"name": path.name}


def _take_published(segmenter: Segmenter, name: str, channels: int) -> None:
    """Give an encoder its published weights."""
    if not name.startswith(SMP):
        raise NetworkError(say('{name} has no published weights. Say source = "none".', name=name))
    import segmentation_models_pytorch as smp

    architecture, _, encoder = name.removeprefix(SMP).partition("/")
    try:
        whole = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights="imagenet", in_channels=channels
        )
    except Exception as error:  # of the network, of its hub, or that there are no such weights
        raise NetworkError(
            say(
                "The published weights of {name} cannot be had: {reason}. They are fetched once; without the internet say "
                'source = "none".',
                name=name,
                reason=str(error).splitlines()[0].rstrip(".。") if str(error) else type(error).__name__,
            )
        ) from error
    plain: Any = segmenter.network
    plain.encoder.load_state_dict(whole.encoder.state_dict())


def normalised(
    segmenter: Segmenter, stage: Stage, statistics: Statistics, unit: str, recipe: Recipe
) -> Segmenter:
    """The network with the mean and standard deviation that the recipe asks for; a package keeps its own."""
    channels = len(statistics.mean)
    from_package = stage.source not in ("none", "imagenet")
    wanted = stage.normalisation
    if wanted == "auto":
        eight_bit = statistics.value_range == (0.0, 255.0)
        wanted = "imagenet" if stage.source == "imagenet" and eight_bit else "data"
        if from_package:
            wanted = "weights"
    if wanted == "weights":
        if not from_package:
            raise RecipeError(
                say(
                    '{recipe}: normalisation = "weights" needs weights to take it from. Name a package, or say "data".',
                    recipe=recipe.source,
                )
            )
        return segmenter
    if wanted in ("imagenet", "unit") and statistics.value_range != (0.0, 255.0):
        raise RecipeError(
            say(
                "{recipe}: the normalisation of ImageNet is for 8-bit images, but these have values in {unit} of another "
                'kind. Say normalisation = "data".',
                recipe=recipe.source,
                unit=unit,
            )
        )
    mean, std = list(statistics.mean), list(statistics.std)
    if wanted == "unit":
        mean, std = [0.0] * channels, [255.0] * channels
    elif wanted == "imagenet":
        mean, std = list(_IMAGENET_MEAN), list(_IMAGENET_STD)
        if channels != 3:
            mean, std = [sum(mean) / 3] * channels, [sum(std) / 3] * channels
    state = segmenter.network.state_dict()
    fresh = Segmenter(**{**segmenter.configuration, "mean": mean, "std": std})
    fresh.network.load_state_dict(state)
    return fresh
