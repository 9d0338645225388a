"""Code that a package brings along, run where the user has consented, and else not."""

from __future__ import annotations

import hashlib
import inspect
import io
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

import torch

from mikata.language import say
from mikata.networks.importing.consents import Thing, consented
from mikata.networks.importing.libraries import architecture_file, arguments, built
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError, first_line

Trust = Literal["never", "consented", "now"]
"""Whether code of a package may run: never, where the user has consented to this very thing, or by the caller's word."""

_LARGEST_CODE = 2**22


def architecture_code(package: Package) -> Thing | None:
    """What a state dict's architecture would run of the package; None where it is no file of it."""
    entry = package.weights.get("pytorch_state_dict", {})
    file, _, _ = architecture_file(package, entry)
    if not package.has(file):
        return None
    return _architecture(package, entry, package.files.read(file, _LARGEST_CODE))


def script_code(package: Package) -> Thing | None:
    """TorchScript as torch would load it; None where there is none.

    It is run so only where it does more than is known to be harmless (`mikata.networks.importing.interpreter`).
    """
    file = package.source(package.weights.get("torchscript"))
    return _script(file, package.files.read(file)) if package.has(file) else None


def _architecture(package: Package, entry: Mapping[str, Any], data: bytes) -> Thing:
    file, name, _ = architecture_file(package, entry)
    return Thing("architecture", file, hashlib.sha256(data).hexdigest(), name, arguments(entry))


def _script(file: str, data: bytes) -> Thing:
    return Thing("torchscript", file, hashlib.sha256(data).hexdigest())


def package_network(package: Package, entry: Mapping[str, Any], *, code: Trust) -> torch.nn.Module:
    """The network that code of the package builds, without its weights; the bytes that were hashed are those run.

    Parameters
    ----------
    code:
        Whether it may run: see `Trust`.

    Raises
    ------
    NotRunError
        If nobody has consented, its checksum is another than stated, or the code fails.
    """
    file, name, stated = architecture_file(package, entry)
    if not package.has(file):
        raise NotRunError(say("the file {file} is not in the package", file=file or "-"))
    data = package.files.read(file, _LARGEST_CODE)
    thing = _architecture(package, entry, data)
    if stated and stated.lower() != thing.sha256:
        raise NotRunError(say("{file} does not match its checksum", file=file))
    if not _allowed(thing, code):
        raise NotRunError(
            say(
                "its network is built by code in the package, {file}, which is not run unless you consent: read that "
                "file, or let somebody read it, and then import the package with run_package_code. Its code can then "
                "do on this computer whatever you can, such as reading, changing and sending files",
                file=file,
            )
        )
    module = _module(file, data, thing.sha256)
    made = getattr(module, name, None)
    is_network = (inspect.isclass(made) and issubclass(made, torch.nn.Module)) or inspect.isfunction(made)
    # what it has imported from elsewhere may do anything, whoever has read the file
    if not is_network or made.__module__ != module.__name__:
        raise NotRunError(say("{library} has no network {name}", library=file, name=name))
    return built(made, name, file, thing.kwargs)


def loaded_script(package: Package, source: str, *, code: Trust) -> torch.nn.Module | None:
    """TorchScript as torch loads it, which runs code of the file; None where that is not allowed.

    Raises
    ------
    NotRunError
        If torch cannot load it.
    """
    data = package.files.read(source)
    if not _allowed(_script(source, data), code):
        return None
    try:
        network: torch.nn.Module = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise NotRunError(
            say("torch cannot load {file} ({reason})", file=source, reason=first_line(error))
        ) from error
    return network.eval()


def _allowed(thing: Thing, code: Trust) -> bool:
    return code == "now" or (code == "consented" and consented(thing))


def _module(file: str, data: bytes, sha256: str) -> ModuleType:
    name = f"mikata_consented_{sha256}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        exec(compile(data, file, "exec"), module.__dict__)  # noqa: S102  # the user has consented to this very content
    # the code of strangers raises what it likes, and may end the program
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise NotRunError(say("{file} fails ({reason})", file=file, reason=first_line(error))) from error
    return module
