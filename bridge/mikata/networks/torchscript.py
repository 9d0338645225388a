"""The tensors of a TorchScript file, without running it.

``torch.jit.load`` runs the code of ``__setstate__`` methods in the file, which may write files, so it is
not for files of unknown origin. A TorchScript file is a zip: ``data.pkl`` holds the tree of modules and
their tensors, ``data/`` the tensors' bytes. Only these are read here, by an unpickler that knows tensors
and plain containers and refuses everything else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(archive: zipfile.ZipFile) -> bool:
    """Whether a zip that torch wrote is TorchScript: a plain file of weights has no ``constants.pkl``."""
    return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_torchscript(file: BinaryIO) -> dict[str, Tensor]:
    """Return the parameters and buffers of a TorchScript file under their dotted names, on the CPU.

    Buffers that a state dict would leave out are among them, since TorchScript does not tell them apart.

    Raises
    ------
    ValueError, pickle.UnpicklingError, KeyError, zipfile.BadZipFile, RuntimeError, EOFError
        If the file is damaged, or holds anything but modules with tensors and plain values.
    """
    found: dict[str, Tensor] = {}
    _collect(read_modules(file)[0], "", found, 0)
    return found


def read_modules(file: BinaryIO) -> tuple[ScriptedModule, tuple[Any, ...]]:
    """Return the tree of modules, and the constants that its code names (``CONSTANTS.c0`` and so on).

    Raises
    ------
    ValueError, pickle.UnpicklingError, KeyError, zipfile.BadZipFile, RuntimeError, EOFError
        As :func:`read_torchscript`.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        tree = next((name for name in names if PurePosixPath(name).name == "data.pkl"), None)
        if tree is None:
            raise ValueError("no data.pkl")
        root = tree.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("big-endian")
        with archive.open(tree) as pickled:
            top = _Reader(pickled, archive, f"{root}data/").load()
        constants: Any = ()
        if f"{root}constants.pkl" in names:
            with archive.open(f"{root}constants.pkl") as pickled:
                constants = _Reader(pickled, archive, f"{root}constants/").load()
    if not isinstance(top, ScriptedModule):
        raise pickle.UnpicklingError("no module")
    return top, tuple(constants)


class ScriptedModule:
    """A scripted module: its attributes, and none of its code.

    Attributes
    ----------
    kind:
        Dotted name of its class, such as ``__torch__.torch.nn.modules.conv.Conv2d``: tells which code is its own.
    attributes:
        Tensors, modules and plain values by name.
    """

    kind = ""
    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


_DEEPEST = 64  # modules within modules: a tree that holds itself must end
_MOST_NAMES = 1_000_000  # of tensors: one module may stand in many places, and so may those in it


def _collect(module: ScriptedModule, prefix: str, found: dict[str, Tensor], depth: int) -> None:
    if depth > _DEEPEST or len(found) > _MOST_NAMES:
        raise pickle.UnpicklingError("modules within themselves")
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, ScriptedModule):
            _collect(value, f"{prefix}{name}.", found, depth + 1)


def _same(value: Any, *_: Any) -> Any:
    return value


class _Reader(pickle.Unpickler):  # noqa: S301  # find_class lets nothing through that could do harm
    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type("ScriptedModule", (ScriptedModule,), {"kind": f"{module}.{name}"})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "build_intlist"): _same,
            ("torch.jit._pickle", "build_doublelist"): _same,
            ("torch.jit._pickle", "build_boollist"): _same,
            ("torch.jit._pickle", "build_tensorlist"): _same,
            ("torch.jit._pickle", "restore_type_tag"): _same,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("no storage")
        if key not in self._storages:
            data = self._archive.read(f"{self._folder}{key}")
            if len(data) != count * dtype.itemsize:
                raise pickle.UnpicklingError("a storage of another size")
            # a copy, since a view of bytes must not be written to
            self._storages[key] = (
                torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]

    @staticmethod
    def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        view = torch.as_strided(storage, tuple(size), tuple(stride), offset)
        # a stride of 0 could make a huge tensor of one number
        if view.numel() > storage.numel():
            raise pickle.UnpicklingError("a tensor larger than its storage")
        return view
