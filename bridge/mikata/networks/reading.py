"""A path -> a source of weights: a package of Mikata's or another program's, or a file of named tensors."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.foreign import read_foreign
from mikata.networks.package import TRAINING_FILE, Model, read_package
from mikata.networks.package_files import opened
from mikata.networks.sidecar import read_sidecar, sidecar_of
from mikata.networks.sources import Normalisation, Source, own_normalisation, without_normalisation
from mikata.networks.weights import read_state


def is_package(path: Path) -> bool:
    """Whether a path of weights names a package, and not a state dict."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def read_source(path: Path) -> Source:
    """Read weights, and what is known of them, from a path.

    Parameters
    ----------
    path:
        A BioImage.IO package (folder or ``.zip``) of Mikata's or another program's, format 0.4 or 0.5; or a
        file of named tensors: torch's (``.pt``, ``.pth``, ``.ckpt``), ``.safetensors``, or TorchScript, whose
        preprocessing may be stated in a TOML file beside it (`mikata.networks.sidecar`).

    Raises
    ------
    NetworkError, PackageError
        If it is missing, damaged, unsafe, or contradicts what is stated beside it.
    """
    if not is_package(path):
        return _file(path)
    model = read_own(path)
    return read_foreign(path) if model is None else source_of(model)


def read_own(path: Path) -> Model | None:
    """The classifier of a package of Mikata's; None where the path is something else.

    Raises
    ------
    PackageError
        If a package is missing, damaged or unsafe.
    """
    if not is_package(path):
        return None
    with opened(path) as files:
        ours = files.has(TRAINING_FILE)
    return read_package(path) if ours else None


def source_of(package: Model) -> Source:
    """A package of Mikata's as a source of weights."""
    configuration = package.classifier.configuration
    mean, std = tuple(configuration["mean"]), tuple(configuration["std"])
    return Source(
        label=str(package.path),
        state=package.classifier.network.state_dict(),
        name=package.path.name,
        kind="package",
        network=configuration["network"],
        normalisation=Normalisation(mean, std, package.value_unit, package.value_range),
        size=package.size,
        sha256=package.weights_sha256,
    )


def _file(path: Path) -> Source:
    state = read_state(path)
    stated = read_sidecar(path)
    try:
        own = own_normalisation(state)
    except ValueError as error:
        raise NetworkError(
            say("The weights {path} hold a normalisation that is none: {reason}.", path=path, reason=error)
        ) from error
    if own is not None and stated.normalisation is not None and not _same(own, stated.normalisation):
        raise NetworkError(
            say(
                "The weights {path} hold another normalisation than {sidecar} states. Take mean and std out of that "
                "file.",
                path=path,
                sidecar=sidecar_of(path).name,
            )
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        label=str(path),
        state=state if own is None else without_normalisation(state),
        name=path.name,
        kind="file",
        normalisation=own or stated.normalisation,
        no_normalisation=say(
            "The weights {path} do not say what was subtracted and divided by before their network. If their "
            "publisher states it, write it into a file {sidecar} beside them, one number a channel for the values "
            "that your images have: mean = [123.7, 116.3, 103.5] and std = [58.4, 57.1, 57.4]. Else say "
            'normalisation = "data" or "imagenet" in the recipe.',
            path=path,
            sidecar=sidecar_of(path).name,
        ),
        size=stated.size,
        sha256=sha256,
        stated_source=stated.source,
    )


def _same(one: Normalisation, other: Normalisation) -> bool:
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=False)
    return len(one.mean) == len(other.mean) and all(math.isclose(a, b, rel_tol=1e-5) for a, b in pairs)
