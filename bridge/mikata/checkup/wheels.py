"""Which build of torch suits a driver and a GPU, and the command that installs it.

What is assumed here stands in the tables below. Where they do not reach, `choose` gives nothing, and the user is
sent to PyTorch's own page rather than to a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Version = tuple[int, int]

PAGE = "https://pytorch.org/get-started/locally/"
_INDEX = "https://download.pytorch.org/whl"

_RELEASES: dict[Version, tuple[str, tuple[Version, ...]]] = {
    (2, 9): ("0.24", ((12, 6), (12, 8), (13, 0))),
    (2, 10): ("0.25", ((12, 6), (12, 8), (13, 0))),
    (2, 11): ("0.26", ((12, 6), (12, 8), (13, 0))),
    (2, 12): ("0.27", ((12, 6), (13, 0), (13, 2))),
    (2, 13): ("0.28", ((12, 6), (13, 0), (13, 2))),
    (2, 14): ("0.29", ((12, 6), (13, 0), (13, 2))),
    (2, 15): ("0.29", ((13, 0), (13, 2))),
}
"""Of each torch: the torchvision beside it, and the CUDA versions of its wheels for Linux and Windows.

Source: "Release Compatibility Matrix" in RELEASE.md of pytorch/pytorch, up to 2.14; for 2.15 its issue 190385
(no CUDA 12.6 any more).
"""

_TURING_ON = (75, 80, 86, 90, 100, 120)
_ARM_13 = (80, 90, 100, 110, 120)
_ARCHITECTURES: dict[str, dict[Version, tuple[int, ...]]] = {
    "x86": {
        (12, 6): (50, 60, 70, 75, 80, 86, 90),
        (12, 8): _TURING_ON,  # 2.9 and 2.10 also have 70, which 12.6 has too
        (13, 0): _TURING_ON,
        (13, 2): _TURING_ON,
    },
    "arm": {(12, 6): (80, 90), (12, 8): (80, 90, 100, 120), (13, 0): _ARM_13, (13, 2): _ARM_13},
}
"""For which compute capabilities (times ten) those wheels hold code.

Source: "PyTorch CUDA Support Matrix" in RELEASE.md of pytorch/pytorch, releases 2.9 to 2.12 (pull requests 164471,
175253, 182849), and ``torch.cuda.get_arch_list()`` of 2.15. PTX, which only some Linux wheels hold, is left out.
"""

_PLATFORMS = {
    ("Linux", "x86_64"): "x86",
    ("Windows", "AMD64"): "x86",
    ("Linux", "aarch64"): "arm",
}

_DRIVERS = {13: 580, 12: 525, 11: 450}
"""Oldest driver for each major version of CUDA.

Source: "Minor Version Compatibility" in NVIDIA's CUDA Compatibility guide: within a major version a driver from
this number on runs builds of every minor version, and newer drivers run builds of older CUDA.
"""


def torch_index(build: str) -> str:
    """Address of the index that holds PyTorch's own builds of a kind: ``cpu``, or CUDA's version as ``cu126``."""
    return f"{_INDEX}/{build}"


@dataclass(frozen=True)
class Wheel:
    """A build to install: what pip is to be given, and where it lies."""

    requirements: tuple[str, ...]
    cuda: Version

    @property
    def index(self) -> str:
        """Address of the index that holds it."""
        return torch_index(f"cu{self.cuda[0]}{self.cuda[1]}")

    def command(self, executable: str, *, pip: bool = True) -> str:
        """What to type; by uv where the environment has no pip of its own (as uv makes them)."""
        python = f'"{executable}"' if re.search(r"[^\w./\\:~-]", executable) else executable
        start = f"{python} -m pip install" if pip else f"uv pip install --python {python}"
        return f"{start} {' '.join(self.requirements)} --index-url {self.index}"


def covers(capability: Version, architectures: Iterable[str]) -> bool:
    """Whether code for these architectures, as ``torch.cuda.get_arch_list`` names them, runs on a GPU.

    Machine code (``sm_86``) runs on GPUs of the same major version and the same or a higher minor one,
    portable code (``compute_90``) on every newer GPU; with an ``a`` at its end either runs on that one only.
    """
    for name in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if not found:
            continue
        kind, major, minor, suffix = found.groups()
        built = int(major), int(minor)
        if suffix == "a":
            fits = built == capability
        elif kind == "compute" and not suffix:
            fits = built <= capability
        else:
            fits = built[0] == capability[0] and built[1] <= capability[1]
        if fits:
            return True
    return False


def oldest_driver(cuda_major: int) -> int | None:
    """The driver that builds of a CUDA version need at least; None where that is not known."""
    return _DRIVERS.get(cuda_major)


def cuda_of_driver(version: str) -> Version | None:
    """What a driver supports at least, by its own version."""
    found = re.match(r"\d+", version)
    if not found:
        return None
    return next(((cuda, 0) for cuda, oldest in _DRIVERS.items() if int(found.group()) >= oldest), None)


def choose(
    torch: str,
    torchvision: str,
    driver_cuda: Version | None,
    capabilities: Sequence[Version],
    platform: tuple[str, str],
) -> Wheel | None:
    """The build for a driver and GPUs: of the installed torch's version if there is one, else of the nearest.

    Parameters
    ----------
    torch, torchvision:
        The installed versions.
    driver_cuda:
        The newest CUDA that the driver supports.
    capabilities:
        Of the GPUs that must be served.
    platform:
        System and machine, as Python's `platform` names them.

    Returns
    -------
    Wheel or None
        None if there is no such build, or the tables say nothing of it.
    """
    installed = re.fullmatch(r"((\d+)\.(\d+)\.\d+)(?:\+\w+)?", torch)
    built = _ARCHITECTURES.get(_PLATFORMS.get(platform, ""))
    if not installed or not built or driver_cuda is None or not capabilities:
        return None
    release = int(installed.group(2)), int(installed.group(3))
    if release not in _RELEASES:
        return None
    for other in sorted(_RELEASES, key=lambda r: (abs(r[1] - release[1]), -r[1])):
        vision, builds = _RELEASES[other]
        served = [b for b in builds if all(covers(c, [f"sm_{n}" for n in built[b]]) for c in capabilities)]
        cuda = _best(served, driver_cuda)
        if cuda is None:
            continue
        if other != release:
            # quotes, since some shells look for files where there is a star
            return Wheel((f'"torch=={other[0]}.{other[1]}.*"', f'"torchvision=={vision}.*"'), cuda)
        # with the build's name: pip takes a build of the same version for good enough otherwise
        tag = f"+cu{cuda[0]}{cuda[1]}"
        beside = torchvision.partition("+")[0]
        return Wheel((f"torch=={installed.group(1)}{tag}", f"torchvision=={beside}{tag}"), cuda)
    return None


def _best(builds: list[Version], driver: Version) -> Version | None:
    """The newest build that the driver knows by itself, else the oldest of its major version."""
    known = [b for b in builds if b <= driver]
    related = [b for b in builds if b[0] == driver[0]]
    return max(known) if known else min(related) if related else None
