"""Published weights of torchvision and timm, each with the preprocessing that its publishers state."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import models

from mikata.architecture import SMALL_CNN, VGG16_FLAT
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.sources import EIGHT_BIT, Normalisation, Source
from mikata.networks.timm_zoo import is_timm, timm_settings, timm_weights, weights_name

_GREY_LEVELS = 255.0


@dataclass(frozen=True)
class Preprocessing:
    """What published weights were made for.

    Attributes
    ----------
    weights:
        Their name, such as ``IMAGENET1K_V1`` or ``resnet18.a1_in1k``.
    normalisation:
        For 8-bit images (0 to 255).
    size:
        Height and width in px.
    fixed:
        Whether the network is said to take images of this size only; `check_size` tries it.
    """

    weights: str
    normalisation: Normalisation
    size: tuple[int, int]
    fixed: bool


def preprocessing(name: str) -> Preprocessing:
    """The preprocessing of a network's published weights: torchvision's newest, or timm's of the name's tag.

    Mean and standard deviation are the publishers' own for values of 0 to 1, times 255.

    Raises
    ------
    NetworkError
        If the network has no published weights.
    """
    if is_timm(name):
        settings = timm_settings(name)
        if not settings.has_weights:
            raise NetworkError(
                say(
                    "{name} has no published weights: train it from random weights, or name another.",
                    name=name,
                )
            )
        _, height, width = settings.input_size
        mean, std, weights = settings.mean, settings.std, weights_name(settings)
        fixed = bool(settings.fixed_input_size)
    else:
        found = _torchvision(name)
        transform = found.transforms()
        mean, std, weights = transform.mean, transform.std, found.name
        if name in ("inception_v3", "googlenet"):
            # torchvision undoes its own normalisation inside these two and takes 0.5 and 0.5 instead
            mean = std = (0.5, 0.5, 0.5)
        height = width = int(transform.crop_size[0])
        fixed = name.startswith(("vit_", "maxvit"))
    grey_levels = [tuple(float(value) * _GREY_LEVELS for value in values) for values in (mean, std)]
    return Preprocessing(
        weights, Normalisation(grey_levels[0], grey_levels[1], "grey", EIGHT_BIT), (height, width), fixed
    )


def imagenet_normalisation(name: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, one a channel, for 8-bit images (0..255) of a network's published weights.

    They are torchvision's or timm's own for these weights, times 255; their average over the colours where
    `channels` is not 3.

    Raises
    ------
    NetworkError
        If the network has no published weights.
    """
    found = preprocessing(name).normalisation.for_channels(channels)
    return list(found.mean), list(found.std)


def input_size(name: str) -> int:
    """Side in px of the images that a network was made for: 64 for small_cnn, else as its publishers say.

    The larger side where theirs are not the same.
    """
    if name == SMALL_CNN:
        return 64
    if is_timm(name):
        return int(max(timm_settings(name).input_size[1:]))
    if name == VGG16_FLAT:
        return 500
    return int(models.get_model_weights(name).DEFAULT.transforms().crop_size[0])


def published(name: str) -> Source:
    """Published weights of a plain network, with their own head and for colours.

    Raises
    ------
    NetworkError
        If the network has none, or they are neither on this computer nor can be fetched, or are damaged.
    """
    state: Mapping[str, Tensor]
    found = preprocessing(name)
    if is_timm(name):
        state, file = timm_weights(name)
    else:
        state, file = _torchvision_state(name)
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Source(
        label=say("{weights} of {name}", weights=found.weights, name=name),
        state=state,
        name=found.weights if is_timm(name) else f"{name} {found.weights}",
        kind="timm" if is_timm(name) else "torchvision",
        network=name,
        normalisation=found.normalisation,
        size=found.size,
        sha256=sha256,
    )


def _torchvision(name: str) -> Any:
    if name == SMALL_CNN:
        raise NetworkError(say("small_cnn has no ImageNet weights: train it from random weights."))
    return models.get_model_weights(_trunk(name)).DEFAULT


def _trunk(name: str) -> str:
    """The network whose published weights one with a head of our own takes."""
    return "vgg16" if name == VGG16_FLAT else name


def _torchvision_state(name: str) -> tuple[Mapping[str, Tensor], Path]:
    weights = _torchvision(name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(weights.url).name
    try:
        # Read as plain tensors first: torchvision itself would unpickle whatever lies in its cache
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:
        raise NetworkError(
            say(
                "The ImageNet weights of {name} are not on this computer and could not be fetched "
                "({reason}). Copy the file {file} from a computer with internet ({address}) into the folder "
                "{folder}, or train from random weights.",
                name=name,
                reason=getattr(error, "reason", None) or error,
                file=file.name,
                address=weights.url,
                folder=folder,
            )
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise NetworkError(
            say(
                "The ImageNet weights {file} are damaged. Delete the file, and fetch or copy it again.",
                file=file,
            )
        ) from error
    network = models.get_model(_trunk(name), weights=weights)
    # the auxiliary head that inception's weights bring is one that `Classifier` leaves out
    other = ("AuxLogits.", "classifier.") if name == VGG16_FLAT else ("AuxLogits.",)
    state = {key: value for key, value in network.state_dict().items() if not key.startswith(other)}
    return state, file
