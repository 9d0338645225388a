"""Archives unpacked without trust in the names they hold; wheels laid out as an installer does it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from mikata.language import say
from mikata.offline.closure import Wheel
from mikata.offline.errors import CollectError

SITE = "Lib/site-packages"

_LEFT_OUT = ("torch/include/",)
"""C++ headers, a third of all files and needed by compilers alone: on a memory stick each file takes time."""


# Windows takes con.txt in any folder for the console
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)", re.IGNORECASE)


def check_name(archive: Path, name: str) -> PurePosixPath:
    """An entry's path, which stays in the folder it is unpacked to, on Windows too.

    Raises
    ------
    CollectError
        If it does not.
    """
    path = PurePosixPath(name)
    there = PureWindowsPath(name)
    strange = any(ord(c) < 32 or c in '<>:"|?*\\' for c in name)
    reserved = any(_DEVICE.match(part) for part in path.parts)
    if strange or reserved or not path.parts or there.drive or there.root or ".." in path.parts:
        raise CollectError(
            say(
                "{archive} holds an entry with a path that leads elsewhere or cannot be on Windows ({name!r}). "
                "It is not what it should be: fetch it again from its maker.",
                archive=archive,
                name=name,
            )
        )
    return path


def is_link(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a link, which could lead anywhere."""
    return stat.S_ISLNK(entry.external_attr >> 16)


def install(wheel: Wheel, python: Path, taken: dict[str, str]) -> None:
    """Lay out a wheel for a Windows Python in a folder.

    Parameters
    ----------
    wheel:
        For the target; its checksums are compared.
    python:
        The folder with python.exe.
    taken:
        What was written before, by its path in small letters: whose it is. Is added to.

    Raises
    ------
    CollectError
        If the wheel is damaged, or wants to replace another's file.
    """
    with zipfile.ZipFile(wheel.path) as content:
        record, info = _record(wheel, content)
        written: list[tuple[str, str, str]] = []
        for entry in content.infolist():
            if entry.is_dir():
                continue
            name = str(check_name(wheel.path, entry.filename))
            data = content.read(entry)
            expected = record.get(entry.filename)
            if is_link(entry) or (expected and expected != _digest(data, expected[0])):
                raise _damaged(wheel, entry.filename)
            if expected is None and name not in (
                f"{info}/RECORD",
                f"{info}/RECORD.jws",
                f"{info}/RECORD.p7s",
            ):
                raise _damaged(wheel, entry.filename)
            place = _place(name)
            if name == f"{info}/RECORD" or place is None or place.startswith(_LEFT_OUT):
                continue
            _write(wheel, python, place, data, taken)
            written.append((place, f"sha256={_digest(data, 'sha256')[1]}", str(len(data))))
        listing = io.StringIO()
        csv.writer(listing, lineterminator="\n").writerows([*written, (f"{info}/RECORD", "", "")])
        _write(wheel, python, f"{info}/RECORD", listing.getvalue().encode(), taken)


def _record(wheel: Wheel, content: zipfile.ZipFile) -> tuple[dict[str, tuple[str, str]], str]:
    """Checksums by entry, and the folder of the wheel's metadata."""
    (place,) = (n for n in content.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
    info = place.removesuffix("/METADATA")
    try:
        rows = list(csv.reader(io.StringIO(content.read(f"{info}/RECORD").decode())))
    except (KeyError, UnicodeDecodeError) as error:
        raise _damaged(wheel, f"{info}/RECORD") from error
    found = {}
    for row in rows:
        if len(row) == 3 and "=" in row[1]:
            algorithm, _, value = row[1].partition("=")
            found[row[0]] = (algorithm, value)
    return found, info


def _place(name: str) -> str | None:
    """Where an entry goes, from site-packages; None for what a stick has no use for."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    if kind in ("purelib", "platlib"):
        return rest
    if kind == "data":
        return f"../../{rest}"
    return None  # start scripts name the Python they were made for; headers are for compilers


def _write(wheel: Wheel, python: Path, place: str, data: bytes, taken: dict[str, str]) -> None:
    inside = PurePosixPath(place.removeprefix("../../") if place.startswith("../../") else f"{SITE}/{place}")
    # Windows does not tell Python.exe from python.exe
    key, digest = str(inside).lower(), hashlib.sha256(data).hexdigest()
    if taken.setdefault(key, digest) != digest:
        raise CollectError(
            say(
                "{wheel} would replace {path}, which is another package's or Python's own.",
                wheel=wheel.path.name,
                path=inside,
            )
        )
    path = python / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _digest(data: bytes, algorithm: str) -> tuple[str, str]:
    value = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode("ascii")
    return algorithm, value


def _damaged(wheel: Wheel, name: str) -> CollectError:
    return CollectError(
        say(
            "{wheel} is damaged: {name} is not what the wheel's own list says. Fetch it again.",
            wheel=wheel.path.name,
            name=name,
        )
    )
