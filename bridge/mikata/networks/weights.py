"""Weights read from disk, never running code that may hide in a file."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torchvision import models

from mikata.architecture import SMALL_CNN, first_convolution
from mikata.errors import NetworkError
from mikata.language import say

_GREY_LEVELS = 255.0

# What torch and zipfile are known to raise on damaged files (tried by flipping and cutting bytes)
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, RuntimeError, EOFError, ValueError,
    LookupError, AttributeError, AssertionError, TypeError, NotImplementedError, ImportError, OverflowError,
)  # fmt: skip


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Raises
    ------
    NetworkError
        If the file is missing, damaged, or holds something else than named tensors.
    """
    try:
        with path.open("rb") as file:
            return load_state(file, str(path))
    except FileNotFoundError as error:
        raise NetworkError(say("The weights {path} do not exist.", path=path)) from error
    except OSError as error:
        raise NetworkError(
            say("The weights {path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error


def load_state(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """Read a state dict from an open file; `name` is for messages, errors as in :func:`read_state`."""
    _refuse_bomb(file, name)
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise NetworkError(
            say(
                "The weights {name} cannot be read: the file is damaged, or holds more than named tensors.",
                name=name,
            )
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise NetworkError(
            say("The weights {name} are not a state dict: named tensors are expected.", name=name)
        )
    return state


def _refuse_bomb(file: BinaryIO, name: str) -> None:
    """A file of weights is a zip that is not compressed; one that grows would fill the memory."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                grown = sum(member.file_size for member in archive.infolist())
        except _DAMAGE as error:
            raise NetworkError(
                say("The weights {name} cannot be read: the file is damaged.", name=name)
            ) from error
        if grown > size:
            raise NetworkError(
                say(
                    "The weights {name} are refused: {size} bytes that would grow to {grown}. "
                    "Weights are not compressed inside; save them anew with torch.save.",
                    name=name,
                    size=size,
                    grown=grown,
                )
            )
    file.seek(0)


def imagenet_normalisation(name: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, one a channel, for 8-bit images (0..255) of ImageNet weights.

    They are torchvision's own for these weights, times 255; their average over the colours where
    `channels` is not 3.

    Raises
    ------
    NetworkError
        If the network has no ImageNet weights.
    """
    transform = _imagenet_weights(name).transforms()
    mean = [value * _GREY_LEVELS for value in transform.mean]
    std = [value * _GREY_LEVELS for value in transform.std]
    if name in ("inception_v3", "googlenet"):
        # torchvision undoes its own normalisation inside these two and takes 0.5 and 0.5 instead
        mean = std = [0.5 * _GREY_LEVELS] * 3
    if channels == 3:
        return mean, std
    return [sum(mean) / 3] * channels, [sum(std) / 3] * channels


def _imagenet_weights(name: str) -> Any:
    if name == SMALL_CNN:
        raise NetworkError(say("small_cnn has no ImageNet weights: train it from random weights."))
    return models.get_model_weights(name).DEFAULT


def imagenet_state(name: str, channels: int) -> Mapping[str, Tensor]:
    """Torchvision's ImageNet weights of the plain network, the first convolution made for `channels`.

    Raises
    ------
    NetworkError
        If the network has none, or they are neither on this computer nor can be fetched.
    """
    weights = _imagenet_weights(name)
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
    network = models.get_model(name, weights=weights)
    # the auxiliary head that inception's weights bring is one that `Classifier` leaves out
    state: dict[str, Tensor] = {
        key: value for key, value in network.state_dict().items() if not key.startswith("AuxLogits.")
    }
    if channels != 3:
        key = first_convolution(network) + ".weight"
        state[key] = state[key].sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    return state
