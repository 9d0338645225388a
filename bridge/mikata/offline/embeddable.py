"""The embeddable package of Python for Windows, as python.org gives it: checked, unpacked, told of its packages."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from pathlib import Path

from mikata.language import say
from mikata.offline.errors import CollectError
from mikata.offline.target import PYTHONS, Target
from mikata.offline.unpacking import SITE, check_name, is_link

_MOST_BYTES = 200_000_000
_MOST_ENTRIES = 2_000
"""Ten times and more of what Python 3.11 to 3.13 have."""

_AMD64 = 0x8664


def read(path: Path) -> Target:
    """Check the package and tell its Python version.

    Raises
    ------
    CollectError
        If it is not a package for 64-bit Windows that Mikata can use.
    """
    try:
        with zipfile.ZipFile(path) as content:
            entries = content.infolist()
            _check(path, entries)
            version = _version(path, {entry.filename.lower() for entry in entries})
            machine = _machine(content.read(_entry(entries, "python.exe")))
            if damaged := content.testzip():
                raise zipfile.BadZipFile(damaged)
    except FileNotFoundError as error:
        raise CollectError(say("There is no file {path}.", path=path)) from error
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        # RuntimeError: asks for a password
        raise CollectError(
            say(
                "{path} is not a readable zip ({reason}). Give python.org's embeddable package, such as "
                "python-3.12.10-embed-amd64.zip.",
                path=path,
                reason=error,
            )
        ) from error
    if machine != _AMD64:
        raise CollectError(
            say(
                "{path} is not for 64-bit Windows on Intel or AMD. Give the embeddable package whose name ends "
                "in embed-amd64.zip.",
                path=path,
            )
        )
    return Target("windows", version)


def unpack(path: Path, target: Target, folder: Path) -> dict[str, str]:
    """Unpack a checked package and let it find its packages; what was written, by path in small letters."""
    written = {}
    with zipfile.ZipFile(path) as content:
        for entry in content.infolist():
            if entry.is_dir():
                continue
            place = check_name(path, entry.filename)
            data = content.read(entry)
            if place.name.lower() == _search_path(target):
                data = with_packages(data.decode("utf-8-sig")).encode("utf-8")
            out = folder / place
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(data)
            written[str(place).lower()] = hashlib.sha256(data).hexdigest()
    return written


def with_packages(search_path: str) -> str:
    """The text of a ._pth file, with the packages' folder and `site`, which reads the .pth files there."""
    lines = [line.strip() for line in search_path.splitlines()]
    kept = [line for line in lines if line and not line.startswith("#")]
    site = SITE.replace("/", "\\")
    kept = [
        line for line in kept if line.replace("/", "\\").lower() != site.lower() and line != "import site"
    ]
    return "\r\n".join([*kept, site, "import site", ""])


def _search_path(target: Target) -> str:
    return f"python{target.python.replace('.', '')}._pth"


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = set()
    for entry in entries:
        name = str(check_name(path, entry.filename)).lower()
        if is_link(entry) or name in names:
            raise CollectError(
                say(
                    "{path} holds the entry {name!r} twice or as a link. It is not what it should be: fetch it "
                    "again from python.org.",
                    path=path,
                    name=entry.filename,
                )
            )
        names.add(name)
    total = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_ENTRIES or total > _MOST_BYTES:
        raise CollectError(
            say(
                "{path} is too large for python.org's embeddable package: {entries} entries, {size:.0f} MB. "
                "Give one such as python-3.12.10-embed-amd64.zip.",
                path=path,
                entries=len(entries),
                size=total / 1e6,
            )
        )


def _version(path: Path, names: set[str]) -> str:
    lists = [found for name in names if (found := re.fullmatch(r"python3(\d+)\._pth", name))]
    if "python.exe" not in names or len(lists) != 1 or f"python3{lists[0][1]}.dll" not in names:
        raise CollectError(
            say(
                "{path} is not python.org's embeddable package: python.exe, python3XX.dll and python3XX._pth "
                "must be in it, and in no folder. Give one such as python-3.12.10-embed-amd64.zip.",
                path=path,
            )
        )
    version = f"3.{lists[0][1]}"
    if version not in PYTHONS:
        raise CollectError(
            say(
                "{path} holds Python {python}; Mikata runs on 3.11, 3.12 and 3.13.", path=path, python=version
            )
        )
    return version


def _entry(entries: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    return next(entry for entry in entries if entry.filename.lower() == name)


def _machine(program: bytes) -> int | None:
    """The processor that a Windows program is for, out of its header."""
    if program[:2] != b"MZ" or len(program) < 64:
        return None
    (start,) = struct.unpack_from("<I", program, 60)
    if program[start : start + 4] != b"PE\0\0" or len(program) < start + 6:
        return None
    return int(struct.unpack_from("<H", program, start + 4)[0])
