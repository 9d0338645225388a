"""The network that a stage starts with: its weights, where they come from, and its normalisation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from mikata.architecture import Classifier
from mikata.errors import NetworkError, RecipeError
from mikata.language import say
from mikata.networks import Model, build, check_size, imagenet_normalisation, is_package, read_package
from mikata.networks.inputs import TakesImages
from mikata.training.data import Statistics
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage

Weights = Literal["none", "imagenet"] | Path | Model
"""Random weights, torchvision's, those of a state dict's file, or a package's."""


def start_weights(stage: Stage, spec: TakesImages, recipe: Recipe) -> tuple[Weights, dict[str, str]]:
    """The weights to start from, and the name and SHA-256 of their file (empty where they have none).

    Raises
    ------
    NetworkError, PackageError
        If they are missing or cannot be read.
    RecipeError
        If a package's normalisation is for values in another unit than these images have.
    """
    if stage.source in ("none", "unlabelled"):  # the latter changes them before the stage begins
        return "none", {}
    if stage.source == "imagenet":
        return "imagenet", {}
    path = Path(stage.source)
    if is_package(path):
        package = read_package(path)
        if stage.normalisation in ("auto", "weights") and package.value_unit != spec.value_unit:
            raise RecipeError(
                say(
                    "{recipe}: the package {package} was trained on values in {expected}, but these images "
                    "have {unit}, so its normalisation does not suit them. "
                    'Say normalisation = "data".',
                    recipe=recipe.source,
                    package=path.name,
                    expected=package.value_unit,
                    unit=spec.value_unit,
                )
            )
        return package, {"name": path.name, "sha256": package.weights_sha256}
    try:
        with path.open("rb") as file:
            return path, {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except FileNotFoundError as error:
        raise NetworkError(say("The weights {path} do not exist.", path=path)) from error
    except OSError as error:
        raise NetworkError(
            say("The weights {path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error


def start_network(
    stage: Stage,
    spec: TakesImages,
    classes: int,
    statistics: Statistics,
    weights: Weights,
    recipe: Recipe,
) -> Classifier:
    """The untrained network, tried on an image of the stage's size.

    Raises
    ------
    NetworkError
        If the network does not exist, its weights do not fit, or it cannot take images of this size.
    RecipeError
        If the recipe asks for a normalisation that there is not, or for images of many sizes in vain.
    """
    mean, std = _mean_and_std(stage, spec, statistics, weights, recipe)
    classifier = build(
        stage.network,
        classes=classes,
        channels=spec.channels,
        mean=mean,
        std=std,
        size=stage.size if stage.fit == "resize" else None,
        weights=weights,
        keep_normalisation=stage.normalisation in ("auto", "weights"),
    )
    check_size(classifier, stage.size)
    if stage.fit == "native":
        height, width = stage.size
        try:
            check_size(classifier, (height + 32, width + 32))
        except NetworkError as error:
            raise RecipeError(
                say(
                    '{recipe}: {network} takes images of one size only. Say fit = "resize".',
                    recipe=recipe.source,
                    network=stage.network,
                )
            ) from error
    return classifier


def _mean_and_std(
    stage: Stage, spec: TakesImages, statistics: Statistics, weights: Weights, recipe: Recipe
) -> tuple[list[float] | None, list[float] | None]:
    """What is subtracted and divided by; None: what the weights bring along, and nothing else."""
    wanted = stage.normalisation
    eight_bit = statistics.value_range == (0.0, 255.0)
    imagenets = weights == "imagenet" and (wanted == "weights" or (wanted == "auto" and eight_bit))
    if wanted == "imagenet" or imagenets:
        if not eight_bit:
            raise RecipeError(
                say(
                    "{recipe}: the normalisation of ImageNet is for 8-bit images, but these have values in "
                    '{unit} of another kind. Say normalisation = "data".',
                    recipe=recipe.source,
                    unit=spec.value_unit,
                )
            )
        return imagenet_normalisation(stage.network, spec.channels)
    if wanted != "weights":
        return list(statistics.mean), list(statistics.std)
    if weights == "none":
        raise RecipeError(
            say(
                '{recipe}: normalisation = "weights" needs weights to take it from. Name a package, or say '
                '"data".',
                recipe=recipe.source,
            )
        )
    return None, None
