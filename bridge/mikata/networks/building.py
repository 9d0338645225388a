"""Name -> network, with random weights, published ones, or weights from a file or package."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torchvision import models

from mikata.architecture import SMALL_CNN, TIMM, VGG16_FLAT, Classifier
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.fit import Fit, take
from mikata.networks.package import Model
from mikata.networks.published import input_size, published
from mikata.networks.reading import read_source, source_of
from mikata.networks.sources import Source
from mikata.networks.timm_zoo import is_timm, plain_name, refuse_unknown_tag, timm_names

Weights = Literal["none", "imagenet"] | Path | Model | Source
"""Where weights come from: nowhere (random), those published for the network, a path, or what was read."""


def names(like: str = "") -> list[str]:
    """Names of networks: ``small_cnn`` first, then torchvision's classification models.

    Where `like` begins with ``timm:``, timm's follow, each after ``timm:`` and without the tags of its
    weights; timm is imported only then.
    """
    return [*_own_names(), *timm_names()] if is_timm(like) else list(_own_names())


@functools.cache
def _own_names() -> tuple[str, ...]:
    return (SMALL_CNN, VGG16_FLAT, *models.list_models(module=models))


def build(
    name: str,
    *,
    classes: int,
    channels: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    weights: Weights = "none",
    keep_normalisation: bool = False,
    new_head: bool = False,
) -> Classifier:
    """Return a classifier in evaluation mode.

    Parameters
    ----------
    name:
        One of :func:`names`; timm's with or without the tag of its weights (``timm:resnet18.a1_in1k``).
    classes, channels:
        Number of classes (at least 2) and of input channels (at least 1).
    mean, std:
        One number a channel, in the unit of the images: the network sees ``(x - mean) / std``. None
        takes what belongs to the weights: what their publisher, package or TOML file states.
    size:
        Height and width in px to which the network itself scales other images; None: it takes them as they are.
    weights:
        ``none``: random; ``imagenet``: torchvision's newest for this network, or timm's of the name's tag
        (its default where there is none), whatever they were trained on; a `Source`; a package of
        Mikata's; or a path as :func:`mikata.networks.read_source` takes. Only the head and the number of
        channels of the first convolution may differ: see :func:`mikata.networks.take`.
    keep_normalisation:
        Whether a normalisation that a package, file or `Source` carries goes before `mean` and `std`.
    new_head:
        Whether the head starts anew even where the weights' own would fit.

    Raises
    ------
    NetworkError
        If the network is unknown, a number is out of range, or the weights are missing or do not fit.
    PackageError
        If `weights` is a package that is corrupt.
    """
    return build_with_fit(
        name,
        classes=classes,
        channels=channels,
        mean=mean,
        std=std,
        size=size,
        weights=weights,
        keep_normalisation=keep_normalisation,
        new_head=new_head,
    )[0]


def build_with_fit(
    name: str,
    *,
    classes: int,
    channels: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    weights: Weights = "none",
    keep_normalisation: bool = False,
    new_head: bool = False,
    target: tuple[float, float] | None = None,
    unit: str = "",
) -> tuple[Classifier, Fit]:
    """Like :func:`build`, with what of the weights was taken, adapted and left out.

    `target` and `unit` are those of a `Classifier` that gives a value.
    """
    _refuse_unknown(name)
    source = _source(name, weights)
    own = None if source is None else source.normalisation
    published_ones = source is not None and source.kind in ("torchvision", "timm")
    if own is not None and (mean is None or (keep_normalisation and not published_ones)):
        if std is not None and mean is None:
            raise NetworkError(_needs_both(name))
        adapted = own.for_channels(channels)
        mean, std = adapted.mean, adapted.std
    if mean is None or std is None:
        if mean is None and std is None and source is not None and source.no_normalisation:
            raise NetworkError(source.no_normalisation)
        raise NetworkError(_needs_both(name))
    try:
        classifier = Classifier(name, classes, channels, mean, std, size, target, unit)
    except ValueError as error:
        raise NetworkError(
            say("The network {name} cannot be built: {error}.", name=name, error=error)
        ) from error
    fit = Fit()
    if source is not None:
        fit = take(
            classifier.network,
            source.state,
            channels=channels,
            source=source.label,
            name=name,
            new_head=new_head,
        )
    return classifier.eval(), fit


def _needs_both(name: str) -> str:
    return say("{name} needs mean and std of the images' values, one number a channel.", name=name)


def _refuse_unknown(name: str) -> None:
    known = names(name)
    if plain_name(name) in known:
        if is_timm(name):
            refuse_unknown_tag(name)
        return
    close = difflib.get_close_matches(plain_name(name), known, 3)
    if close:
        meant = say(" or ").join(close)
        raise NetworkError(
            say("There is no network named '{name}'. Did you mean {meant}?", name=name, meant=meant)
        )
    raise NetworkError(
        say(
            "There is no network named '{name}'. Use small_cnn or, say, resnet18; timm's networks are written "
            "with {prefix} before their names, such as {prefix}convnext_tiny.",
            name=name,
            prefix=TIMM,
        )
    )


def _source(name: str, weights: Weights) -> Source | None:
    if isinstance(weights, Model):
        source = source_of(weights)
    elif isinstance(weights, Path):
        source = read_source(weights)
    elif isinstance(weights, Source):
        source = weights
    elif weights == "imagenet":
        return published(name)
    elif weights == "none":
        return None
    else:
        raise NetworkError(
            say(
                "The weights '{weights}' are unknown: use none, imagenet, or the path of a file.",
                weights=weights,
            )
        )
    if source.network and plain_name(source.network) != plain_name(name):
        raise NetworkError(
            say(
                "The package {package} holds a {network}, not a {name}.",
                package=source.label,
                network=source.network,
                name=name,
            )
        )
    return source


def check_size(classifier: Classifier, size: tuple[int, int]) -> None:
    """Try a network on an image of this height and width (px).

    Raises
    ------
    NetworkError
        If the network cannot take it: it is too small, or the network has one size only.
    """
    name = classifier.configuration["network"]
    was_training = classifier.training
    device = classifier.normalise.mean.device
    classifier.eval()
    try:
        with torch.inference_mode():
            classifier(torch.zeros(1, classifier.configuration["channels"], *size, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        side = input_size(name)
        reason = str(error).splitlines()[0].rstrip(".!")
        raise NetworkError(
            say(
                "{name} cannot take images of {width} x {height} px ({reason}). "
                "It is made for {side} x {side} px: choose this size.",
                name=name,
                width=size[1],
                height=size[0],
                reason=reason,
                side=side,
            )
        ) from error
    finally:
        classifier.train(was_training)
