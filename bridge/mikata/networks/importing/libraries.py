"""Architectures of a state dict that are no code of the package: a library's, by name, or Mikata's own, by its hash."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from mikata import architecture
from mikata.language import say
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError, first_line

LIBRARIES = ("torchvision.models", "timm", "monai.networks.nets", "segmentation_models_pytorch")
"""Libraries whose networks are built by name: classes of networks, and the builders that a library lists as such.

Other functions of theirs write, load or fetch files, some under names that do not tell.
"""

_DOWNLOADING = (
    "pretrained",
    "weights",
    "encoder_weights",
    "weights_backbone",
    "checkpoint_path",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "cache_dir",
    "progress",
    "model_dir",
)

_OWN: tuple[ModuleType, ...] = (architecture,)


def library_of(entry: Mapping[str, Any]) -> str:
    """The library that a state dict's architecture comes from, empty where it is code of the package."""
    place, _ = _named(entry)
    return next((name for name in LIBRARIES if place == name or place.startswith(f"{name}.")), "")


def library_network(entry: Mapping[str, Any]) -> torch.nn.Module:
    """The network that a state dict's entry names, of a library in `LIBRARIES`, without its weights.

    Raises
    ------
    NotRunError
        If it is none of these, no network, the library is not installed, or an argument is no plain value or would
        download.
    """
    place, name = _named(entry)
    library = library_of(entry)
    if not library:
        raise NotRunError(
            say("its architecture is code of the package or of an unknown library, which is not run")
        )
    kwargs = arguments(entry)
    if not all(_harmless(str(k), v) for k, v in kwargs.items()):
        raise NotRunError(say("its architecture has arguments that would download or are no plain values"))
    if importlib.util.find_spec(library.partition(".")[0]) is None:
        raise NotRunError(say("{library} is not installed", library=library.partition(".")[0]))
    try:
        made = getattr(importlib.import_module(place), name, None)
    except (ImportError, ValueError) as error:
        raise NotRunError(
            say(
                "{library} cannot build {name} ({reason})", library=place, name=name, reason=first_line(error)
            )
        ) from error
    if not _is_network(made, library, kwargs):
        raise NotRunError(say("{library} has no network {name}", library=place, name=name))
    return built(made, name, place, _without_downloads(made, kwargs))


def _is_network(made: Any, library: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether it is a class of networks of a library, or one of its registered builders."""
    if inspect.isclass(made):
        # classes that look a network up by name in another library would take any function there
        takes_names = library.startswith("monai") and {"model_name", "backbone"} & set(kwargs)
        return issubclass(made, torch.nn.Module) and _within(made.__module__, library) and not takes_names
    if not inspect.isfunction(made):
        return False
    match library:
        case "torchvision.models":
            return made in _torchvision_builders()
        case "timm":
            return _is_of_timm(made, kwargs)
        case "segmentation_models_pytorch":
            import segmentation_models_pytorch

            return made is segmentation_models_pytorch.create_model
    return False


@lru_cache(maxsize=1)
def _torchvision_builders() -> frozenset[Any]:
    from torchvision.models import get_model_builder, list_models

    return frozenset(get_model_builder(name) for name in list_models() if not name.startswith("quantized_"))


def _is_of_timm(made: Any, kwargs: Mapping[str, Any]) -> bool:
    import timm

    if made is timm.create_model:
        name = str(kwargs.get("model_name", "")).partition(".")[0]  # after the dot: whose weights
        return timm.is_model(name)
    return timm.is_model(made.__name__) and made is timm.model_entrypoint(made.__name__)


def _without_downloads(made: Any, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments, and those that would download by default switched off: the weights come from the package."""
    defaults = inspect.signature(made).parameters
    off = {
        key: False if defaults[key].default is True else None
        for key in _DOWNLOADING
        if key in defaults
        and key not in kwargs
        and defaults[key].default not in (None, False, inspect.Parameter.empty)
    }
    return {**kwargs, **off}


def built(made: Any, name: str, place: str, kwargs: Mapping[str, Any]) -> torch.nn.Module:
    """What a callable makes of its arguments, if that is a network.

    Parameters
    ----------
    made, name, place:
        The callable, its name and where it is from, for messages.

    Raises
    ------
    NotRunError
        If it fails or makes something else.
    """
    try:
        network = made(**kwargs)
    # a callable raises what it likes on arguments that do not suit it
    except Exception as error:
        raise NotRunError(
            say(
                "{library} cannot build {name} ({reason})", library=place, name=name, reason=first_line(error)
            )
        ) from error
    if not isinstance(network, torch.nn.Module):
        raise NotRunError(say("{library} has no network {name}", library=place, name=name))
    return network


def own_network(package: Package, entry: Mapping[str, Any]) -> torch.nn.Module | None:
    """The network, without its weights, where the architecture's file is Mikata's own to the letter; else None.

    It is then built by this Mikata's code, and the file is not run.
    """
    file, name, _ = architecture_file(package, entry)
    if not file or not package.has(file):
        return None
    module = _own_modules().get(hashlib.sha256(package.files.read(file)).hexdigest())
    made = getattr(module, name, None)
    if module is None or not (inspect.isclass(made) and issubclass(made, torch.nn.Module)):
        return None
    if made.__module__ != module.__name__:
        return None
    return built(made, name, file, arguments(entry))


@lru_cache(maxsize=1)
def _own_modules() -> dict[str, ModuleType]:
    return {
        hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest(): module
        for module in _OWN
        if Path(str(module.__file__)).is_file()
    }


def architecture_file(package: Package, entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """File of the package that holds a state dict's architecture, the callable in it, and the stated checksum.

    All empty where it is not in a file; the checksum where none is stated.
    """
    stated = entry.get("architecture")
    if isinstance(stated, Mapping) and stated.get("source"):
        sha256 = stated.get("sha256")
        return (
            package.source(stated),
            str(stated.get("callable") or ""),
            sha256 if isinstance(sha256, str) else "",
        )
    if isinstance(stated, str) and ":" in stated:  # format 0.4: file.py:callable
        file, _, name = stated.rpartition(":")
        sha256 = entry.get("architecture_sha256")
        return package.source(file), name, sha256 if isinstance(sha256, str) else ""
    return "", "", ""


def arguments(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a state dict's architecture, in both formats."""
    stated = entry.get("architecture")
    kwargs = (stated.get("kwargs") if isinstance(stated, Mapping) else entry.get("kwargs")) or {}
    if not isinstance(kwargs, Mapping):
        raise NotRunError(say("its architecture has arguments that would download or are no plain values"))
    return {str(key): value for key, value in kwargs.items()}


def _named(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Module and name of the callable; the module is empty where a file of the package has it."""
    stated = entry.get("architecture")
    if isinstance(stated, Mapping):
        return str(stated.get("import_from") or ""), str(stated.get("callable") or "")
    if isinstance(stated, str) and ":" not in stated and "/" not in stated:  # format 0.4: module.callable
        module, _, name = stated.rpartition(".")
        return module, name
    return "", ""


def _within(module: str, library: str) -> bool:
    return module == library or module.startswith(f"{library}.")


def _harmless(key: str, value: Any) -> bool:
    if key in _DOWNLOADING:
        return value in (None, False)
    if isinstance(value, list | tuple):
        return all(_harmless("", item) for item in value)
    if isinstance(value, str):
        return len(value) < 100 and not set(value) & set(":/\\")
    return value is None or (isinstance(value, bool | int | float) and abs(value) < 1e6)
