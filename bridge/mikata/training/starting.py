"""The network that a stage starts with: its weights, where they come from, and its normalisation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mikata.architecture import Classifier
from mikata.errors import NetworkError, RecipeError
from mikata.language import say
from mikata.networks import Model, build, check_size, imagenet_normalisation, is_package, read_package
from mikata.networks.inputs import TakesImages
from mikata.training.data import Statistics
from mikata.training.recipe import Recipe
from mikata.training.run import Base, Run
from mikata.training.stage import Stage


@dataclass(frozen=True, eq=False)
class Start:
    """What a stage starts from.

    Attributes
    ----------
    weights:
        As `mikata.networks.build` takes them.
    parent:
        Name and SHA-256 of the weights' file; empty where there is none.
    base:
        The classifier whose weights they are, where it is one.
    normalised:
        Whether a normalisation belongs to the weights and goes with them.
    """

    weights: Literal["none", "imagenet"] | Path | Model
    parent: dict[str, str] = field(default_factory=dict)
    base: Base | None = None
    normalised: bool = True


def start_of(stage: Stage, spec: TakesImages, recipe: Recipe, before: Run | None) -> Start:
    """Where the weights come from; random ones for ``formula`` and ``unlabelled``, which are still to be learnt.

    Parameters
    ----------
    before:
        The stage before, whose weights ``previous`` takes.

    Raises
    ------
    NetworkError, PackageError
        If weights are missing or cannot be read.
    RecipeError
        If their normalisation is for values in another unit than these images have.
    """
    if stage.source in ("none", "formula", "unlabelled"):
        return Start("none", normalised=False)
    if stage.source == "imagenet":
        return Start("imagenet")
    if stage.source == "previous":
        assert before is not None
        name = before.recipe.stage.name or say("the stage before")
        _refuse_other_unit(stage, before.value_unit, spec, name, recipe)
        return Start(as_model(before, name), base=before)
    path = Path(stage.source)
    if is_package(path):
        package = read_package(path)
        _refuse_other_unit(stage, package.value_unit, spec, path.name, recipe)
        return Start(package, {"name": path.name, "sha256": package.weights_sha256}, package)
    try:
        with path.open("rb") as file:
            return Start(path, {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    except FileNotFoundError as error:
        raise NetworkError(say("The weights {path} do not exist.", path=path)) from error
    except OSError as error:
        raise NetworkError(
            say("The weights {path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error


def as_model(run: Run, name: str) -> Model:
    """A training's network as if it were read from a package of that name."""
    return Model(
        classifier=run.classifier,
        classes=run.classes,
        channels=run.channels,
        size=run.size,
        fit=run.fit,
        value_unit=run.value_unit,
        value_range=run.value_range,
        weights_sha256="",
        record={},
        path=Path(name),
    )


def _refuse_other_unit(stage: Stage, unit: str, spec: TakesImages, name: str, recipe: Recipe) -> None:
    if stage.normalisation in ("auto", "weights") and unit != spec.value_unit:
        raise RecipeError(
            say(
                "{recipe}: {package} was trained on values in {expected}, but these images have {unit}, so its "
                'normalisation does not suit them. Say normalisation = "data".',
                recipe=recipe.source,
                package=name,
                expected=unit,
                unit=spec.value_unit,
            )
        )


def start_network(
    stage: Stage,
    spec: TakesImages,
    classes: int,
    statistics: Statistics,
    start: Start,
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
    mean, std = _mean_and_std(stage, spec, statistics, start, recipe)
    classifier = build(
        stage.network,
        classes=classes,
        channels=spec.channels,
        mean=mean,
        std=std,
        size=stage.size if stage.fit == "resize" else None,
        weights=start.weights,
        keep_normalisation=start.normalised and stage.normalisation in ("auto", "weights"),
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
    stage: Stage, spec: TakesImages, statistics: Statistics, start: Start, recipe: Recipe
) -> tuple[list[float] | None, list[float] | None]:
    """What is subtracted and divided by; None: what the weights bring along, and nothing else."""
    wanted = stage.normalisation
    eight_bit = statistics.value_range == (0.0, 255.0)
    imagenets = start.weights == "imagenet" and (wanted == "weights" or (wanted == "auto" and eight_bit))
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
    if not start.normalised:
        raise RecipeError(
            say(
                '{recipe}: normalisation = "weights" needs weights to take it from. Name a package, or say '
                '"data".',
                recipe=recipe.source,
            )
        )
    return None, None
