"""Weights read from disk, never running code that may hide in a file."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.torchscript import is_torchscript, read_torchscript

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
)  # what lightning, and other training programs, name it

# What torch and zipfile are known to raise on damaged files (tried by flipping and cutting bytes)
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, RuntimeError, EOFError, ValueError,
    LookupError, AttributeError, AssertionError, TypeError, NotImplementedError, ImportError, OverflowError,
)  # fmt: skip


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: a file of torch's (``.pt``, ``.pth``, ``.ckpt``), safetensors, or TorchScript's tensors.

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
    try:
        state = _read(file, name)
    except _DAMAGE as error:
        raise NetworkError(
            say(
                "The weights {name} cannot be read: the file is damaged, or holds more than named tensors.",
                name=name,
            )
        ) from error
    if isinstance(state, dict):
        state = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), state)
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise NetworkError(
            say("The weights {name} are not a state dict: named tensors are expected.", name=name)
        )
    broken = [
        key for key, value in state.items() if value.dtype in _FLOATS and not bool(value.isfinite().all())
    ]
    if broken:
        raise NetworkError(
            say(
                "The weights {name} hold values that are no numbers (NaN or infinite), in {key}: their training "
                "had failed. Use others.",
                name=name,
                key=broken[0],
            )
        )
    return state


def _read(file: BinaryIO, name: str) -> Any:
    if _is_safetensors(file):
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(file.read())
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    scripted = _refuse_bomb(file, name)
    return read_torchscript(file) if scripted else torch.load(file, map_location="cpu", weights_only=True)


def _is_safetensors(file: BinaryIO) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, and that header's brace."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _refuse_bomb(file: BinaryIO, name: str) -> bool:
    """A file of weights is a zip that is not compressed; one that grows would fill the memory.

    Only the code in TorchScript is compressed, and that is not read. Returns whether it is TorchScript.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    scripted = False
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                scripted = is_torchscript(archive)
                members = [m for m in archive.infolist() if not (scripted and "/code/" in m.filename)]
                grown = sum(member.file_size for member in members)
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
    return scripted
