"""Name -> network, with random weights, torchvision's ImageNet weights, or weights from a file or package."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision import models

from mikata.architecture import SMALL_CNN, Classifier
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.package import Model, read_package
from mikata.networks.weights import imagenet_normalisation, imagenet_state, read_state

_SHOWN = 6  # so that a list of keys in a message stays readable


@functools.cache
def names() -> list[str]:
    """Names of all networks: ``small_cnn`` first, then torchvision's classification models."""
    return [SMALL_CNN, *models.list_models(module=models)]


def build(
    name: str,
    *,
    classes: int,
    channels: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    weights: Literal["none", "imagenet"] | Path | Model = "none",
    keep_normalisation: bool = False,
) -> Classifier:
    """Return a classifier in evaluation mode.

    Parameters
    ----------
    name:
        One of :func:`names`.
    classes, channels:
        Number of classes (at least 2) and of input channels (at least 1).
    mean, std:
        One number a channel, in the unit of the images: the network sees ``(x - mean) / std``. None
        takes what belongs to the weights: :func:`imagenet_normalisation`, or the package's own.
    size:
        Height and width in px to which the network itself scales other images; None: it takes them as they are.
    weights:
        ``none``: random; ``imagenet``: torchvision's newest for this network; a package of Mikata's or its
        path, or the path of a state dict (``.pt``, ``.pth``), where only the head may differ in shape.
        ImageNet's first convolution is summed over the colours where `channels` is not 3, which on a
        grey image equals the network on the same image with three equal channels.
    keep_normalisation:
        Whether a normalisation that a package or state dict carries goes before `mean` and `std`.

    Raises
    ------
    NetworkError
        If the network is unknown, a number is out of range, or the weights are missing or do not fit.
    PackageError
        If `weights` is a package that is corrupt or foreign.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), 3)
        if close:
            meant = say(" or ").join(close)
            raise NetworkError(
                say("There is no network named '{name}'. Did you mean {meant}?", name=name, meant=meant)
            )
        raise NetworkError(
            say("There is no network named '{name}'. Use small_cnn or, say, resnet18.", name=name)
        )
    state: Mapping[str, Tensor] | None = None
    if isinstance(weights, Model):
        state, own = _weights_of_package(weights, name)
    elif isinstance(weights, Path):
        state, own = _weights_of_path(weights, name)
    elif weights == "imagenet":
        state, own = imagenet_state(name, channels), imagenet_normalisation(name, channels)
    elif weights == "none":
        own = None
    else:
        raise NetworkError(
            say(
                "The weights '{weights}' are unknown: use none, imagenet, or the path of a file.",
                weights=weights,
            )
        )
    if own is not None and len(own[0]) == channels and keep_normalisation and weights != "imagenet":
        mean, std = own
    if mean is None or std is None:
        if mean is not std or own is None:
            raise NetworkError(
                say("{name} needs mean and std of the images' values, one number a channel.", name=name)
            )
        mean, std = own
    try:
        classifier = Classifier(name, classes, channels, mean, std, size)
    except ValueError as error:
        raise NetworkError(
            say("The network {name} cannot be built: {error}.", name=name, error=error)
        ) from error
    if state is not None:
        source = str(weights.path if isinstance(weights, Model) else weights)
        _load(classifier.network, state, source, name)
    return classifier.eval()


def input_size(name: str) -> int:
    """Side in px of the images that a network was made for: torchvision's crop, or 64 for small_cnn."""
    if name == SMALL_CNN:
        return 64
    return int(models.get_model_weights(name).DEFAULT.transforms().crop_size[0])


def head(network: nn.Module) -> str:
    """Dotted name of the layer that gives one score a class: the last linear layer or convolution."""
    return [
        str(name) for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]


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


_Weights = tuple[Mapping[str, Tensor], tuple[list[float], list[float]] | None]
"""Weights of a plain network, and the normalisation that belongs to them where it is known."""


def is_package(path: Path) -> bool:
    """Whether a path of weights names a package, and not a state dict."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def _weights_of_package(package: Model, name: str) -> _Weights:
    configuration = package.classifier.configuration
    if configuration["network"] != name:
        raise NetworkError(
            say(
                "The package {package} holds a {network}, not a {name}.",
                package=package.path,
                network=configuration["network"],
                name=name,
            )
        )
    return package.classifier.network.state_dict(), (configuration["mean"], configuration["std"])


def _weights_of_path(path: Path, name: str) -> _Weights:
    if is_package(path):
        return _weights_of_package(read_package(path), name)
    state = read_state(path)
    inner = {
        key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")
    }
    if not inner:
        return state, None
    if "normalise.mean" not in state or "normalise.std" not in state:
        return inner, None
    return inner, (state["normalise.mean"].flatten().tolist(), state["normalise.std"].flatten().tolist())


def _load(network: nn.Module, state: Mapping[str, Tensor], source: str, name: str) -> None:
    """Load everything that is not the head, and the head too where it fits."""
    own = network.state_dict()
    heads = {key for key in own if key.rpartition(".")[0] == head(network)}
    missing = sorted(own.keys() - state.keys() - heads)
    foreign = sorted(state.keys() - own.keys())
    unlike = [key for key in own if key in state and own[key].shape != state[key].shape]
    wrong = [key for key in unlike if key not in heads]
    if missing or foreign or wrong:
        parts = [say("{keys} missing", keys=_some(missing))] if missing else []
        parts += [say("{keys} unknown", keys=_some(foreign))] if foreign else []
        if wrong:
            shapes = [
                say(
                    "{key} {found} instead of {expected}",
                    key=key,
                    found=tuple(state[key].shape),
                    expected=tuple(own[key].shape),
                )
                for key in wrong
            ]
            parts.append(say("of another shape {keys}", keys=_some(shapes)))
        raise NetworkError(
            say(
                "The weights {source} do not fit {name}: {reasons}.",
                source=source,
                name=name,
                reasons="; ".join(parts),
            )
        )
    # a head for other classes starts from random weights, both its tensors together
    taken = own.keys() - heads if heads & set(unlike) or heads - state.keys() else own.keys()
    # into the network's own state dict, which also carries the versions of its layers
    own.update({key: state[key] for key in taken})
    network.load_state_dict(own)


def _some(keys: Sequence[str]) -> str:
    listed = ", ".join(keys[:_SHOWN])
    if len(keys) <= _SHOWN:
        return listed
    return say("{listed} and {count} more", listed=listed, count=len(keys) - _SHOWN)
