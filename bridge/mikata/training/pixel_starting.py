"""The network from images to images that a training starts with: its weights and its normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mikata.architecture import SMP, Detector, Segmenter
from mikata.errors import NetworkError, RecipeError
from mikata.language import say
from mikata.networks import read_pixel_network
from mikata.training.data import Statistics
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage

_Network = TypeVar("_Network", Segmenter, Detector)

_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def start_segmenter(
    stage: Stage, classes: int, channels: int, distance: bool, recipe: Recipe, unit: str
) -> tuple[Segmenter, dict[str, str]]:
    """The untrained network for segmentation with the weights it starts from, and what these are.

    `unit` is that of the training images' values; what is raised is as of `start`.
    """
    shrink = stage.segmentation.shrink
    return start(
        lambda: Segmenter(
            stage.network, classes, channels, [0.0] * channels, [1.0] * channels, distance, shrink
        ),
        ("network", "classes", "channels", "distance", "shrink"),
        stage,
        recipe,
        unit,
    )


def start_detector(
    stage: Stage, classes: int, channels: int, typical_px: float, recipe: Recipe, unit: str
) -> tuple[Detector, dict[str, str]]:
    """The untrained network for detection with the weights it starts from, and what these are.

    `unit` is that of the training images' values; what is raised is as of `start`. The typical size of a package to
    start from stays, since its weights go with it; it must know sizes if and only if the objects have some.
    """
    shrink = stage.detection.shrink
    network, parent = start(
        lambda: Detector(
            stage.network, classes, channels, [0.0] * channels, [1.0] * channels, typical_px, shrink
        ),
        ("network", "classes", "channels", "shrink"),
        stage,
        recipe,
        unit,
    )
    sized = bool(network.configuration["typical_px"])
    if sized != bool(typical_px):
        given = {True: say("with sizes (boxes)"), False: say("without sizes (points)")}
        raise RecipeError(
            say(
                "{recipe}: the package {package} does not suit: it has learnt objects {other}, and here they are {here}.",
                recipe=recipe.source,
                package=parent["name"],
                other=given[sized],
                here=given[not sized],
            )
        )
    return network, parent


def start(
    make: Callable[[], _Network], alike: Sequence[str], stage: Stage, recipe: Recipe, unit: str
) -> tuple[_Network, dict[str, str]]:
    """The untrained network with the weights it starts from, and what these are.

    Parameters
    ----------
    make:
        Gives the network with random weights.
    alike:
        Parts of the configuration in which a package to start from is as this network.
    unit:
        Of the training images' values.

    Raises
    ------
    NetworkError, PackageError
        If the network does not exist, or its weights cannot be had.
    RecipeError
        If a package to start from is of another kind, or for values in another unit.
    """
    try:
        network = make()
    except ValueError as error:
        raise NetworkError(
            say("The network {name} cannot be built: {error}.", name=stage.network, error=error)
        ) from error
    if stage.source == "none":
        return network, {}
    if stage.source == "imagenet":
        _take_published(network, stage.network)
        return network, {}
    path = Path(stage.source)
    package = read_pixel_network(path)
    own: Any = package.network
    known = getattr(own, "configuration", {})
    differences = [(key, known.get(key), network.configuration[key]) for key in alike]
    differences.append(("value_unit", package.value_unit, unit))
    for key, other, here in differences:
        if other != here:
            raise RecipeError(
                say(
                    "{recipe}: the package {package} does not suit: its {key} is {other}, and here it is {here}.",
                    recipe=recipe.source,
                    package=path.name,
                    key=key,
                    other=other,
                    here=here,
                )
            )
    return own, {"name": path.name}


def _take_published(network: Segmenter | Detector, name: str) -> None:
    """Give an encoder its published weights."""
    if not name.startswith(SMP):
        raise NetworkError(say('{name} has no published weights. Say source = "none".', name=name))
    import segmentation_models_pytorch as smp

    architecture, _, encoder = name.removeprefix(SMP).partition("/")
    try:
        whole = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights="imagenet",
            in_channels=network.configuration["channels"],
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
    plain: Any = network.network
    plain.encoder.load_state_dict(whole.encoder.state_dict())


def normalised(
    network: _Network, stage: Stage, statistics: Statistics, unit: str, recipe: Recipe
) -> _Network:
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
        return network
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
    state = network.network.state_dict()
    fresh = type(network)(**{**network.configuration, "mean": mean, "std": std})
    fresh.network.load_state_dict(state)
    return fresh
