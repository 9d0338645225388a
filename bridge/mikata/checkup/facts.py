"""What torch, the driver and the system say about devices; nothing here judges.

Everything that may be missing or broken on a user's machine is caught and kept in its own words.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mikata.checkup.rows import words
from mikata.checkup.wheels import Version

_SECONDS = 20  # for nvidia-smi, which takes seconds to wake a sleeping GPU and for ever with a broken driver
_FIELDS = ("name", "driver_version", "memory.total", "compute_cap")


@dataclass(frozen=True)
class Gpu:
    """One GPU; `capability` is NVIDIA's compute capability, None where it is not said."""

    name: str
    capability: Version | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says.

    Attributes
    ----------
    found:
        Whether there is an nvidia-smi.
    error:
        Its words where it failed.
    version:
        The driver's version.
    cuda:
        The newest CUDA that the driver supports.
    gpus:
        All NVIDIA GPUs of the machine, hidden ones too.
    """

    found: bool = False
    error: str = ""
    version: str = ""
    cuda: Version | None = None
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Torch:
    """What torch says.

    Attributes
    ----------
    version, vision:
        Of torch and torchvision; empty where they are missing.
    error:
        Why torch cannot be imported.
    cuda, hip:
        The CUDA or ROCm it is built for, or empty.
    architectures:
        GPUs for which it holds code, as ``sm_86``.
    available:
        What ``torch.cuda.is_available`` says.
    gpu:
        The GPU that it would use.
    refusal:
        Its words when asked to start CUDA in vain.
    failure:
        What went wrong with a small computation on the GPU; empty if nothing did.
    mps:
        Whether it could use Apple's GPU.
    """

    version: str = ""
    vision: str = ""
    error: str = ""
    cuda: str = ""
    hip: str = ""
    architectures: tuple[str, ...] = ()
    available: bool = False
    gpu: Gpu | None = None
    refusal: str = ""
    failure: str = ""
    mps: bool = False


@dataclass(frozen=True)
class Facts:
    """All that is known about devices.

    Attributes
    ----------
    visible:
        The environment variable CUDA_VISIBLE_DEVICES, or None.
    nvidia_card, amd_driver:
        Whether Linux sees an NVIDIA card on its bus, and a ROCm driver for an AMD GPU; False elsewhere.
    pip:
        Whether this Python has pip.
    """

    torch: Torch
    driver: Driver
    system: str = field(default_factory=platform.system)
    machine: str = field(default_factory=platform.machine)
    executable: str = sys.executable
    visible: str | None = None
    nvidia_card: bool = False
    amd_driver: bool = False
    pip: bool = True


def gather() -> Facts:
    """Ask torch, the driver and the system."""
    return Facts(
        ask_torch(),
        ask_driver(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        nvidia_card=_nvidia_card(),
        amd_driver=Path("/dev/kfd").exists(),
        pip=importlib.util.find_spec("pip") is not None,
    )


def installed(name: str) -> str:
    """A library's version, empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def ask_torch() -> Torch:
    """Import torch, and compute a little where it sees a GPU."""
    vision = installed("torchvision")
    try:
        import torch
    except Exception as error:  # a library that it needs is missing or broken, and says so in many ways
        return Torch(installed("torch"), vision, error=words(error))
    refusal = failure = ""
    gpu = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of here is in the verdict
        available = torch.cuda.is_available()
        if available:
            try:
                seen = torch.cuda.get_device_properties(0)
                gpu = Gpu(seen.name, (seen.major, seen.minor), seen.total_memory / 2**30)
                failure = _compute()
            except Exception as error:  # the driver's errors come as many kinds
                failure = words(error)
        elif torch.version.cuda or torch.version.hip:
            try:
                torch.zeros(1, device="cuda")
            except Exception as error:
                refusal = words(error)
    return Torch(
        version=str(torch.__version__),
        vision=vision,
        cuda=torch.version.cuda or "",
        hip=torch.version.hip or "",
        architectures=_architectures(),
        available=available,
        gpu=gpu,
        refusal=refusal,
        failure=failure,
        mps=torch.backends.mps.is_available(),
    )


def _architectures() -> tuple[str, ...]:
    import torch

    # torch.cuda.get_arch_list says nothing where no GPU is seen
    flags = torch._C._cuda_getArchFlags() if torch.version.cuda and torch.cuda._is_compiled() else None
    return tuple(flags.split()) if flags else ()


def _compute() -> str:
    """A convolution on the GPU, since that is what the work consists of; what is wrong with its result."""
    import torch

    image, kernel = torch.ones(1, 1, 8, 8, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda")
    total = float(torch.nn.functional.conv2d(image, kernel).sum().item())
    return "" if total == 324 else f"a convolution gives {total} instead of 324"


def ask_driver() -> Driver:
    """Ask nvidia-smi, which comes with NVIDIA's driver."""
    program = _nvidia_smi()
    if program is None:
        return Driver()
    try:
        fields: tuple[str, ...] = _FIELDS
        listed = _run(program, fields)
        if listed.returncode and "compute_cap" in listed.stdout + listed.stderr:  # drivers before 2021
            fields = _FIELDS[:-1]
            listed = _run(program, fields)
        if listed.returncode:
            return Driver(True, words(listed.stdout.strip() or listed.stderr.strip() or listed.returncode))
        rows = [row for row in csv.reader(listed.stdout.splitlines(), skipinitialspace=True) if row]
        gpus = tuple(_gpu(row) for row in rows if len(row) == len(fields))
        head = _run(program).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Driver(True, words(error))
    # "CUDA Version: 12.4", and since the drivers of 2026 "CUDA UMD Version: 13.3"
    found = re.search(r"CUDA(?: \w+)? Version:\s*(\d+)\.(\d+)", head)
    cuda = (int(found.group(1)), int(found.group(2))) if found else None
    return Driver(True, "", rows[0][1] if gpus else "", cuda, gpus)


def _gpu(row: list[str]) -> Gpu:
    name, _, memory, *rest = row  # values that a GPU does not know are "[N/A]"
    size = re.match(r"(\d+) MiB", memory)
    capability = re.fullmatch(r"(\d+)\.(\d+)", rest[0]) if rest else None
    return Gpu(
        name,
        (int(capability.group(1)), int(capability.group(2))) if capability else None,
        int(size.group(1)) / 1024 if size else None,
    )


def _nvidia_smi() -> str | None:
    folders = [
        Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32",
        Path(os.environ.get("PROGRAMFILES", r"C:\Program Files")) / "NVIDIA Corporation" / "NVSMI",
    ]
    if os.name != "nt":
        folders = [
            Path("/usr/bin"),
            Path("/usr/local/bin"),
            Path("/usr/lib/wsl/lib"),
        ]  # the last: Windows' Linux
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=os.pathsep.join(map(str, folders)))


def _run(program: str, fields: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    query = [f"--query-gpu={','.join(fields)}", "--format=csv,noheader"] if fields else []
    return subprocess.run(  # noqa: S603 the driver's own program, with constant words
        [program, *query],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no black window over Fiji
    )


def _nvidia_card() -> bool:
    """Whether Linux sees a display device of NVIDIA on its bus, driver or not."""
    for vendor in Path("/sys/bus/pci/devices").glob("*/vendor"):
        try:
            if vendor.read_text().strip() == "0x10de":
                kind = (vendor.parent / "class").read_text().strip()
                if kind.startswith("0x03"):
                    return True
        except OSError:
            continue
    return False
