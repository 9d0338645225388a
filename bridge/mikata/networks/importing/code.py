"""The code inside a TorchScript file, read as text: which operations it names, and its functions as syntax trees.

TorchScript writes its code as a subset of Python, so Python's own parser reads it. Nothing is run here.
"""

from __future__ import annotations

import ast
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.torchscript import ScriptedModule, is_torchscript, read_modules

_LARGEST_CODE = 4 * 2**20  # bytes of all code together; that of networks is well below one

_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, zlib.error, RuntimeError, EOFError, ValueError,
    LookupError, AttributeError, AssertionError, TypeError, NotImplementedError, OverflowError, SyntaxError,
    MemoryError,
)  # fmt: skip


class UnreadableError(Exception):
    """A TorchScript file, or code in it, that is not read or run; its words are a sentence for the user."""


class TooLargeError(UnreadableError):
    """A result that does not fit the memory, which a smaller input may mend."""


@dataclass(frozen=True, eq=False)
class Script:
    """A TorchScript file.

    Attributes
    ----------
    top:
        The tree of modules with their tensors.
    constants:
        What the code calls ``CONSTANTS.c0`` and so on.
    functions:
        Functions and methods by dotted name, such as ``__torch__.net.Small.forward``.
    operations:
        Dotted names of all operations that the code names: ``torch.relu``, ``ops.prim.NumToTensor``.
    training:
        Dotted names of modules that are in training mode.
    """

    top: ScriptedModule
    constants: tuple[Any, ...]
    functions: Mapping[str, ast.FunctionDef]
    operations: frozenset[str]
    training: tuple[str, ...]

    def tensors(self) -> Mapping[str, Tensor]:
        """Parameters, buffers and constants by dotted name."""
        found = {f"CONSTANTS.c{n}": c for n, c in enumerate(self.constants) if isinstance(c, Tensor)}
        for name, module in _modules(self.top):
            found |= {f"{name}{key}": v for key, v in module.attributes.items() if isinstance(v, Tensor)}
        return found

    def to(self, device: torch.device) -> Script:
        """The same with its tensors on a device."""
        known: dict[int, Any] = {}
        return replace(
            self,
            top=_moved(self.top, device, 0, known),
            constants=tuple(_moved(c, device, 0, known) for c in self.constants),
        )

    def devices(self) -> frozenset[str]:
        """The devices that the code names, such as ``cpu`` or ``cuda:0``."""
        return frozenset(
            str(node.args[0].value)
            for function in self.functions.values()
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and dotted(node.func) == "torch.device"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        )


def read_script(data: bytes) -> Script:
    """Read a TorchScript file's content.

    Raises
    ------
    UnreadableError
        If it is damaged, is none, or holds anything but modules with tensors and plain values.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if not is_torchscript(archive):
                raise UnreadableError(say("it is a file of plain weights and no TorchScript"))
            _refuse_growth(archive, len(data))
            functions = _functions(archive)
        top, constants = read_modules(io.BytesIO(data))
        modules = list(_modules(top))
    except RecursionError as error:
        raise UnreadableError(say("it is damaged or too deeply nested")) from error
    except _DAMAGE as error:
        raise UnreadableError(
            say("it is damaged, or holds more than modules with tensors ({reason})", reason=_first(error))
        ) from error
    operations = {
        name
        for function in functions.values()
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and (name := dotted(node.func)) is not None
        and name.startswith(("torch.", "ops."))
        and name != "torch.device"
    }
    # dropout and batch normalisation are the only layers that behave otherwise there
    training = tuple(
        name.rstrip(".")
        for name, module in modules
        if module.attributes.get("training") is True
        and any(word in module.kind for word in ("Dropout", "BatchNorm"))
    )
    return Script(top, constants, functions, frozenset(operations), training)


def dotted(node: ast.expr) -> str | None:
    """``a.b.c`` of an expression that is nothing but that."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _refuse_growth(archive: zipfile.ZipFile, size: int) -> None:
    code = sum(m.file_size for m in archive.infolist() if "/code/" in m.filename)
    other = sum(m.file_size for m in archive.infolist() if "/code/" not in m.filename)
    if code > 20 * _LARGEST_CODE or other > size:
        raise UnreadableError(say("{size} bytes of it would grow to {grown}", size=size, grown=code + other))


def _functions(archive: zipfile.ZipFile) -> dict[str, ast.FunctionDef]:
    found: dict[str, ast.FunctionDef] = {}
    total = 0
    for member in archive.infolist():
        _, separator, inner = member.filename.partition("/code/")
        if not separator or PurePosixPath(inner).suffix != ".py":
            continue
        total += member.file_size
        if total > _LARGEST_CODE:
            raise UnreadableError(say("its code is too large ({size} bytes)", size=total))
        place = inner.removesuffix(".py").replace("/", ".")
        for node in ast.parse(archive.read(member).decode("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found[f"{place}.{node.name}"] = node
            elif isinstance(node, ast.ClassDef):
                for inside in node.body:
                    if isinstance(inside, ast.FunctionDef):
                        found[f"{place}.{node.name}.{inside.name}"] = inside
    return found


_DEEPEST = 64


def _moved(value: Any, device: torch.device, depth: int, known: dict[int, Any]) -> Any:
    if depth > _DEEPEST:
        raise UnreadableError(say("it is damaged or too deeply nested"))
    if id(value) in known:  # one value may stand in many places, and so may those in it
        return known[id(value)]
    made: Any = value
    if isinstance(value, Tensor):
        made = value.to(device)
    elif isinstance(value, ScriptedModule):
        made = type(value)()
        made.attributes = {key: _moved(v, device, depth + 1, known) for key, v in value.attributes.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(_moved(item, device, depth + 1, known) for item in value)
    elif isinstance(value, dict):
        made = {key: _moved(item, device, depth + 1, known) for key, item in value.items()}
    known[id(value)] = made
    return made


_MOST_MODULES = 100_000  # by all their names: one module may stand in many places, and so may those in it


def _modules(module: ScriptedModule) -> list[tuple[str, ScriptedModule]]:
    found: list[tuple[str, ScriptedModule]] = []
    left = [("", module, 0)]
    while left:
        prefix, one, depth = left.pop()
        if depth > _DEEPEST or len(found) > _MOST_MODULES:
            raise UnreadableError(say("it is damaged or too deeply nested"))
        if not hasattr(one, "attributes"):
            raise UnreadableError(say("it holds a module without attributes"))
        found.append((prefix, one))
        inner = [(k, v) for k, v in one.attributes.items() if isinstance(v, ScriptedModule)]
        left += [(f"{prefix}{name}.", value, depth + 1) for name, value in reversed(inner)]
    return found
