"""`mikata wheelhouse`: all that a machine with Python needs to install Mikata without a network."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from mikata.language import say
from mikata.offline import folder as parts
from mikata.offline import own_wheel, pip_process, target, wheels
from mikata.outputs import written_folder
from mikata.types import SILENT, Progress, Result

_WHEELS = "wheels"
_ABOUT = "wheelhouse.json"
_INSTALLERS = ("install.bat", "install.sh")
_MADE = (
    _WHEELS, _ABOUT, "install.py", *_INSTALLERS,
    parts.JARS, parts.SCRIPTS, parts.SUMS, parts.README, parts.TEXTS,
)  # fmt: skip

_MACHINES = {
    "linux": ("a 64-bit PC (x86-64) with glibc 2.28 or newer", "glibc 2.28 以降の 64 ビット PC（x86-64）"),
    "macos-arm": (
        "a Mac with Apple's own processor and macOS 14 or newer",
        "macOS 14 以降の Apple シリコン搭載 Mac",
    ),
}


def wheelhouse(
    folder: Path,
    *,
    system: str = "",
    python: str = "",
    compute: str = "cpu",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Collect what a machine with Python but without a network needs to install Mikata.

    Parameters
    ----------
    folder:
        Is made; complete or not at all.
    system:
        ``windows``, ``linux`` (x86-64) or ``macos-arm``; this machine's if empty.
    python:
        ``3.11``, ``3.12`` or ``3.13``; the running one's if empty.
    compute:
        PyTorch's build: ``cpu``; CUDA's version such as ``cu126``; or ``registry``, whatever pip's index has.
    overwrite:
        Whether an earlier wheelhouse may be replaced.
    progress:
        Told about each step.

    Raises
    ------
    ParameterError
        If there are no wheels of that kind.
    OutputError
        If the folder is there or cannot be written.
    CollectError, ImageJError
        If something cannot be had.
    """
    chosen = target.choose(system, python)
    compute = wheels.check_compute(compute, chosen)
    folder = folder.expanduser().absolute()
    parts.refuse(folder, _MADE, overwrite=overwrite)
    pip_process.require()
    with written_folder(folder) as work:
        parts.add_imagej(work, progress)
        (work / _WHEELS).mkdir()
        with tempfile.TemporaryDirectory(prefix=".own-", dir=work) as aside:
            own = own_wheel.make(Path(aside), progress)
            found = wheels.fetch(own, chosen, compute, work / _WHEELS, progress=progress)
        version = next(str(wheel.version) for wheel in found if wheel.name == "mikata")
        about = {
            "mikata": version,
            "system": chosen.system,
            "python": chosen.python,
            "compute": compute,
            "wheels": {wheel.name: str(wheel.version) for wheel in found},
        }
        (work / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")
        _add_installer(work, chosen, version, compute)
        total = parts.add_sums(work, progress)
    message = say(
        "{count} wheels for {target} ({compute}) and ImageJ: {size:.0f} MB. Copy the folder to the machine and "
        "run {installer} there.",
        count=len(found),
        target=chosen.shown,
        compute=compute,
        size=total / 1e6,
        installer=_installer(chosen),
    )
    return Result(message, files=(folder,))


def _installer(chosen: target.Target) -> str:
    return _INSTALLERS[0] if chosen.system == "windows" else _INSTALLERS[1]


def _add_installer(work: Path, chosen: target.Target, version: str, compute: str) -> None:
    windows = chosen.system == "windows"
    values = {
        "version": version,
        "compute": compute,
        "python": chosen.python,
        "numbers": chosen.python.replace(".", ", "),
        "shown": chosen.shown,
    }
    if not windows:
        values["machine"], values["machine_ja"] = _MACHINES[chosen.system]
    for name in ("install.py", _installer(chosen), f"{parts.TEXTS}/no-python.txt"):
        parts.add_text(work, name, values, windows=windows)
    readme = "wheelhouse-windows.txt" if windows else "wheelhouse-unix.txt"
    parts.add_text(work, readme, values, parts.README, windows=windows)
