"""The network that a stage starts with: its weights, where they come from, and its normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mikata.architecture import Classifier
from mikata.errors import NetworkError, RecipeError
from mikata.language import say
from mikata.networks import (
    Fit,
    Model,
    Source,
    Weights,
    build_with_fit,
    check_size,
    imagenet_normalisation,
    read_own,
    read_source,
    source_of,
)
from mikata.networks.inputs import TakesImages
from mikata.training.data import Statistics
from mikata.training.recipe import Recipe
from mikata.training.run import Base, Run
from mikata.training.stage import Stage

_EIGHT_BIT = (0.0, 255.0)


@dataclass(frozen=True, eq=False)
class Start:
    """What a stage starts from.

    Attributes
    ----------
    weights:
        As `mikata.networks.build` takes them.
    parent:
        Name and SHA-256 of the weights' file and what else is known of it; empty where there is none.
    base:
        The classifier whose weights they are, where it is one.
    classes:
        Names of the classes that the weights' head tells apart; None where they are not known.
    normalised:
        Whether a normalisation may belong to the weights and go with them.
    """

    weights: Weights
    parent: dict[str, str] = field(default_factory=dict)
    base: Base | None = None
    classes: tuple[str, ...] | None = None
    normalised: bool = True


def start_of(stage: Stage, before: Run | None) -> Start:
    """Where the weights come from; random ones for ``formula`` and ``unlabelled``, which are still to be learnt.

    Parameters
    ----------
    before:
        The stage before, whose weights ``previous`` takes.

    Raises
    ------
    NetworkError, PackageError
        If weights are missing or cannot be read.
    """
    if stage.source in ("none", "formula", "unlabelled"):
        return Start("none", normalised=False)
    if stage.source == "imagenet":
        return Start("imagenet")
    if stage.source == "previous":
        assert before is not None
        name = before.recipe.stage.name or say("the stage before")
        return Start(source_of(as_model(before, name)), base=before, classes=before.classes)
    path = Path(stage.source)
    package = read_own(path)
    if package is not None:
        own = source_of(package)
        return Start(own, own.parent(), package, package.classes)
    source = read_source(path)
    # another program's head: whose classes it tells apart, and in which order, is not known here
    return Start(source, source.parent(), classes=() if source.kind == "foreign package" else None)


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


def start_network(
    stage: Stage,
    spec: TakesImages,
    classes: tuple[str, ...],
    statistics: Statistics,
    start: Start,
    recipe: Recipe,
    target: tuple[float, float] | None = None,
    unit: str = "",
) -> tuple[Classifier, Fit]:
    """The untrained network, tried on an image of the stage's size, and what of the weights it took.

    With a `target`, mean and standard deviation of training values in `unit`, it gives a value; its head begins anew
    then, since a head made for other values is in their standard deviations.

    Raises
    ------
    NetworkError
        If the network does not exist, its weights do not fit, it cannot take images of this size, or the
        normalisation of its weights is for other values.
    RecipeError
        If the recipe asks for a normalisation that there is not, or for images of many sizes in vain.
    """
    mean, std = _mean_and_std(stage, spec, statistics, start, recipe)
    classifier, fit = build_with_fit(
        stage.network,
        classes=len(classes) if target is None else 1,
        channels=spec.channels,
        mean=mean,
        std=std,
        size=stage.size if stage.fit == "resize" else None,
        weights=start.weights,
        keep_normalisation=start.normalised and stage.normalisation in ("auto", "weights"),
        new_head=target is not None or (start.classes is not None and start.classes != classes),
        target=target,
        unit=unit,
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
    return classifier, fit


def _mean_and_std(
    stage: Stage, spec: TakesImages, statistics: Statistics, start: Start, recipe: Recipe
) -> tuple[list[float] | None, list[float] | None]:
    """What is subtracted and divided by; None: what the weights bring along, and nothing else."""
    wanted = stage.normalisation
    eight_bit = statistics.value_range == _EIGHT_BIT
    imagenets = start.weights == "imagenet" and (wanted == "weights" or (wanted == "auto" and eight_bit))
    if wanted == "imagenet" or imagenets:
        _refuse_other_than_eight_bit(spec, eight_bit, recipe)
        return imagenet_normalisation(stage.network, spec.channels)
    if wanted == "unit":
        _refuse_other_than_eight_bit(spec, eight_bit, recipe)
        return [0.0] * spec.channels, [255.0] * spec.channels
    if wanted == "data" or not start.normalised or start.weights == "imagenet":
        if wanted == "weights":
            raise RecipeError(
                say(
                    '{recipe}: normalisation = "weights" needs weights to take it from. Name a package, or say '
                    '"data".',
                    recipe=recipe.source,
                )
            )
        return list(statistics.mean), list(statistics.std)
    if isinstance(start.weights, Source) and start.weights.normalisation is not None:
        start.weights.normalisation.refuse_other_values(
            spec.value_unit, statistics.value_range, start.weights.name
        )
    return None, None


def _refuse_other_than_eight_bit(spec: TakesImages, eight_bit: bool, recipe: Recipe) -> None:
    if not eight_bit:
        raise RecipeError(
            say(
                "{recipe}: the normalisation of ImageNet is for 8-bit images, but these have values in "
                '{unit} of another kind. Say normalisation = "data".',
                recipe=recipe.source,
                unit=spec.value_unit,
            )
        )
