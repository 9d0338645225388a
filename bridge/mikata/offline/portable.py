"""`mikata portable`: one folder for a Windows PC without Python, administrator or network."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from mikata.language import say
from mikata.offline import embeddable, own_wheel, pip_process, unpacking, wheels
from mikata.offline import folder as parts
from mikata.outputs import written_folder
from mikata.types import SILENT, Progress, Result

_ABOUT = "portable.json"
_STARTERS = ("Mikata.bat", "Mikata to Fiji.bat")
_MADE = ("python", _ABOUT, *_STARTERS, parts.JARS, parts.SCRIPTS, parts.SUMS, parts.README, parts.TEXTS)

# Microsoft's C++ libraries, which torch, JPype and imagecodecs load and python.org's package has not all of.
# Installing them takes an administrator; beside python.exe they are found.
_RUNTIME = "msvc-runtime"


def portable(folder: Path, *, python: Path, overwrite: bool = False, progress: Progress = SILENT) -> Result:
    """Lay out a folder that runs Mikata on Windows from a memory stick.

    Parameters
    ----------
    folder:
        Is made; complete or not at all.
    python:
        The embeddable package of Python 3.11, 3.12 or 3.13 for 64-bit Windows, as python.org gives it.
    overwrite:
        Whether an earlier portable folder may be replaced.
    progress:
        Told about each step.

    Raises
    ------
    OutputError
        If the folder is there or cannot be written.
    CollectError, ImageJError
        If something cannot be had, or `python` is not that package.
    """
    folder, python = folder.expanduser().absolute(), python.expanduser()
    parts.refuse(folder, _MADE, overwrite=overwrite)
    chosen = embeddable.read(python)
    pip_process.require()
    with written_folder(folder) as work:
        parts.add_imagej(work, progress)
        taken = embeddable.unpack(python, chosen, work / "python")
        with tempfile.TemporaryDirectory(prefix=".wheels-", dir=work) as aside:
            (store := Path(aside) / "wheels").mkdir()
            own = own_wheel.make(Path(aside), progress)
            found = wheels.fetch(own, chosen, "cpu", store, also=(_RUNTIME,), progress=progress)
            for number, wheel in enumerate(found):
                progress.step(say("Unpack, {name}", name=wheel.name), number, len(found))
                unpacking.install(wheel, work / "python", taken)
        version = next(str(wheel.version) for wheel in found if wheel.name == "mikata")
        about = {
            "mikata": version,
            "python": chosen.python,
            "wheels": {wheel.name: str(wheel.version) for wheel in found},
        }
        (work / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")
        for name in (*_STARTERS, f"{parts.TEXTS}/which-fiji.txt", f"{parts.TEXTS}/no-fiji.txt"):
            parts.add_text(work, name, {}, windows=True)
        values = {"version": version, "python": chosen.python}
        parts.add_text(work, "portable.txt", values, parts.README, windows=True)
        total = parts.add_sums(work, progress)
    message = say(
        "Mikata with Python {python}, {count} packages and ImageJ: {size:.0f} MB. Copy the folder to a memory "
        "stick; {starter} starts it on Windows.",
        python=chosen.python,
        count=len(found),
        size=total / 1e6,
        starter=_STARTERS[0],
    )
    return Result(message, files=(folder,))
