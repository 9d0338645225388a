"""All wheels that a target needs, fetched by pip and checked against their own metadata."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mikata.errors import ParameterError
from mikata.language import say
from mikata.offline import closure, pip_process
from mikata.offline.closure import Wheel
from mikata.offline.errors import CollectError
from mikata.offline.target import Target
from mikata.types import Progress

REGISTRY = "registry"
"""`compute` for whatever build of torch pip's index has; on Linux that is one for CUDA."""

_BUILDS = ("torch", "torchvision")
_LATEST_PATCH = 99
_MOST_ROUNDS = 5


def check_compute(compute: str, target: Target) -> str:
    """`compute` as it is meant: ``cpu``, ``registry``, or CUDA's version such as ``cu126``.

    Raises
    ------
    ParameterError
        If there is no such build for the target.
    """
    chosen = compute.strip().lower()
    if not re.fullmatch(rf"cpu|{REGISTRY}|cu\d{{3}}", chosen):
        raise ParameterError(
            say(
                "compute is {compute!r}; it must be cpu, registry, or CUDA's version such as cu126.",
                compute=compute,
            )
        )
    if chosen.startswith("cu") and target.system == "macos-arm":
        raise ParameterError(
            say("compute is {compute!r}, but there is no CUDA for macOS; give cpu.", compute=compute)
        )
    return chosen


def index(compute: str, target: Target) -> str | None:
    """The index with PyTorch's own builds, where pip's index has another build than the one asked for."""
    # for Windows and macOS pip's index has the build without CUDA, for Linux the one with it
    if compute == REGISTRY or (compute == "cpu" and target.system != "linux"):
        return None
    from mikata.checkup import torch_index

    return torch_index(compute)


def fetch(
    own: Path, target: Target, compute: str, folder: Path, *, also: Sequence[str] = (), progress: Progress
) -> list[Wheel]:
    """Fetch the wheels that Mikata's own needs on the target, and that one, into a folder.

    Parameters
    ----------
    own:
        Mikata's own wheel.
    target, compute:
        What they are for; see `check_compute`.
    folder:
        Is made, and holds these wheels alone afterwards.
    also:
        Further requirements.

    Raises
    ------
    CollectError
        If one cannot be had.
    Cancelled
        If the user stopped it.
    """
    progress.step(say("Choose and fetch wheels"))
    with tempfile.TemporaryDirectory(prefix=".torch-", dir=folder.parent) as workshop:
        torch = Path(workshop)
        source = index(compute, target)
        options = []
        if source:
            pinned = _fetch_torch(own, target, compute, source, torch, progress)
            options = ["--find-links", str(torch), "--extra-index-url", source, pinned]
        wanted = [str(own), *options, *also]
        needed = _complete(wanted, own, target, folder, also, progress)
    for wheel in needed:
        if source and wheel.name in _BUILDS and wheel.version.local != compute:
            raise _other_build(wheel, compute, source)
    return needed


def _complete(
    wanted: list[str], own: Path, target: Target, folder: Path, also: Sequence[str], progress: Progress
) -> list[Wheel]:
    """Fetch until no wheel asks for one that is not there."""
    # requirements may differ between the releases of one Python version; which one waits there is not known
    environments = [target.environment(), target.environment(_LATEST_PATCH)]
    roots = [closure.read(own).name, *(canonicalize_name(Requirement(text).name) for text in also)]
    missing: dict[str, Requirement] = {}
    for _ in range(_MOST_ROUNDS):
        for stale in folder.glob("*.whl"):
            stale.unlink()
        # a requirement that only counts in the other release is asked for without its marker
        more = [f"{r.name}{_extras(r)}{r.specifier}" for r in missing.values()]
        pip_process.download([*wanted, *more], target, folder, progress)
        wheels = closure.read_all(folder)
        followed = closure.follow(wheels, roots, environments)
        if not followed.missing:
            for name in wheels.keys() - followed.needed:
                wheels[name].path.unlink()
            return [wheels[name] for name in sorted(followed.needed)]
        missing |= {str(requirement): requirement for requirement in followed.missing}
    raise CollectError(
        say(
            "pip fetched wheels for {target} that lack what they need themselves: {names}.",
            target=target.shown,
            names=", ".join(missing),
        )
    )


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _fetch_torch(
    own: Path, target: Target, compute: str, source: str, folder: Path, progress: Progress
) -> str:
    """Fetch torch from PyTorch's index alone, and pin it.

    Offered both, pip would take a newer one of its usual index, which is another build.
    """
    asked = next((r for r in closure.read(own).requires if canonicalize_name(r.name) == "torch"), None)
    words = ["--no-deps", f"torch{asked.specifier if asked else ''}"]
    try:
        pip_process.download(words, target, folder, progress, only=source)
    except CollectError as error:
        raise CollectError(
            say(
                "PyTorch's build {compute} for {target} could not be fetched from {index}: {reason} "
                "With compute registry pip's usual index is asked; what it has for Linux is a build for CUDA "
                "that, with CUDA's libraries, takes some 3 GB.",
                compute=compute,
                target=target.shown,
                index=source,
                reason=error,
            )
        ) from error
    (wheel,) = closure.read_all(folder).values()
    if wheel.version.local != compute:
        raise _other_build(wheel, compute, source)
    return f"torch=={wheel.version}"


def _other_build(wheel: Wheel, compute: str, source: str) -> CollectError:
    return CollectError(
        say(
            "{wheel} is not the build {compute} that was asked for; {index} has none that fits.",
            wheel=wheel.path.name,
            compute=compute,
            index=source,
        )
    )
