"""What no honest package has, refused before anything of it is unpacked, copied or run.

Names are judged as Windows would take them, wherever Mikata runs, since packages travel.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from mikata.errors import PackageError
from mikata.language import say

LARGEST_DESCRIPTION = 2**20
"""Bytes of a description: YAML is slow to read, and the largest known has some 30 thousand."""

LARGEST_PACKAGE = 4 * 2**30
"""Bytes of all files together, unpacked."""

MOST_FILES = 10_000
"""Files and folders of a package; the largest known has some dozens."""

_SUSPICIOUS_RATIO = 100  # weights hardly shrink; only a bomb does so by more
_SUSPICIOUS_SIZE = 2**20  # bytes: small files of one value shrink by as much
_SUSPICIOUS_TOTAL = 64 * 2**20
_MOST_VALUES = 100_000  # of a description with its aliases written out; the largest known has a few thousand
_LONGEST_NUMBER = 1000  # characters: YAML reckons numbers of any length, which takes longer than anyone waits

_DEEPEST = 200  # brackets within brackets
_LONGEST_NAME = (
    1000  # characters: no system takes more, and comparing names takes the square of their folders
)
_MOST_PARTS = 32

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{n}{d}" for n in ("com", "lpt") for d in "0123456789¹²³"]
)
_FORBIDDEN = frozenset('<>"|?*')


def refuse_unsafe_zip(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a zip with names that leave it or that Windows does not take, links, encrypted files, or one that grows.

    Raises
    ------
    PackageError
        With the file and the reason.
    """
    members = archive.infolist()
    _refuse_many(path, len(members))
    refuse_unsafe_names(path, [member.filename for member in members])
    total = packed = 0
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind == stat.S_IFLNK:
            raise PackageError(
                say("{path} is refused: its file '{file}' is a link.", path=path, file=member.filename)
            )
        # zips of Windows programs have no kind at all
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PackageError(
                say("{path} is refused: its file '{file}' is a device.", path=path, file=member.filename)
            )
        if member.flag_bits & 1:
            raise PackageError(
                say("{path} is refused: its file '{file}' is encrypted.", path=path, file=member.filename)
            )
        total += member.file_size
        packed += member.compress_size
        grows = member.file_size > _SUSPICIOUS_SIZE and member.file_size > _SUSPICIOUS_RATIO * max(
            1, member.compress_size
        )
        all_grow = total > _SUSPICIOUS_TOTAL and total > _SUSPICIOUS_RATIO * max(1, packed)
        if total > LARGEST_PACKAGE or grows or all_grow:
            raise PackageError(
                say(
                    "{path} is refused: '{file}' would grow to {size:.0f} MB ({total:.0f} MB up to it) when "
                    "unpacked.",
                    path=path,
                    file=member.filename,
                    size=member.file_size / 2**20,
                    total=total / 2**20,
                )
            )


def refuse_unsafe_folder(path: Path) -> tuple[str, ...]:
    """Refuse a folder with links, devices, names that Windows does not take, or too much in it.

    Returns
    -------
    tuple
        Its files' paths from `path` on, with ``/``, in order.

    Raises
    ------
    PackageError
        With the file and the reason.
    """
    files: list[str] = []
    count = total = 0
    for folder, folders, names in os.walk(path):
        inside = Path(folder).relative_to(path)
        count += len(folders) + len(names)
        _refuse_many(path, count)
        for name in (*folders, *names):
            found = (Path(folder) / name).lstat()
            if stat.S_ISLNK(found.st_mode):
                raise PackageError(
                    say("{path} is refused: its file '{file}' is a link.", path=path, file=name)
                )
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
                raise PackageError(
                    say("{path} is refused: its file '{file}' is a device.", path=path, file=name)
                )
            if name in names:
                total += found.st_size
                files.append((inside / name).as_posix())
    if total > LARGEST_PACKAGE:
        raise PackageError(say("{path} is refused: it has {total:.0f} MB.", path=path, total=total / 2**20))
    refuse_unsafe_names(path, files)
    return tuple(sorted(files))


def refuse_unsafe_names(path: Path, names: Iterable[str]) -> None:
    """Refuse names that lead out of a package, that Windows does not take, or that some system takes for one.

    Raises
    ------
    PackageError
        With the name and the reason.
    """
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        if len(name) > _LONGEST_NAME or name.count("/") >= _MOST_PARTS:
            raise PackageError(
                say(
                    "{path} is refused: its file '{file}...' has a name of {count} characters in {parts} parts.",
                    path=path,
                    file=name[:80],
                    count=len(name),
                    parts=name.count("/") + 1,
                )
            )
        # a/./b and a//b are other names of a/b
        if any(part in ("", ".") for part in name.removesuffix("/").split("/")) and not name.startswith("/"):
            raise PackageError(
                say(
                    "{path} is refused: its file '{file}' has a name that stands for another.",
                    path=path,
                    file=name,
                )
            )
        if is_outside(name):
            raise PackageError(
                say(
                    "{path} is refused: its file '{file}' would land outside of the package.",
                    path=path,
                    file=name,
                )
            )
        if not all(map(_is_portable, PurePosixPath(name).parts)):
            raise PackageError(
                say("{path} is refused: Windows cannot hold a file named '{file}'.", path=path, file=name)
            )
        # Windows and macOS take names of another case or composition for the same
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).rstrip("/")
        parents = {str(parent) for parent in PurePosixPath(key).parents} - {"."}
        is_folder = name.endswith("/")
        if key in files or (not is_folder and key in folders) or parents & files:
            raise PackageError(
                say("{path} is refused: it has two files named '{file}'.", path=path, file=name)
            )
        folders |= parents | ({key} if is_folder else set())
        files |= set() if is_folder else {key}


def is_outside(name: str) -> bool:
    """Whether a file's name in a package leads out of it: absolute, with a drive, or over ``..``."""
    return (
        name.startswith(("/", "\\"))
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or ":" in name
        or "\\" in name
    )


def _is_portable(part: str) -> bool:
    device = part.split(".")[0].rstrip(" ").casefold() in _DEVICES
    odd = any(character in _FORBIDDEN or ord(character) < 32 for character in part)
    return (
        not device
        and not odd
        and not part.endswith((".", " "))
        and len(part.encode("utf-8", "replace")) <= 255
    )


def _refuse_many(path: Path, count: int) -> None:
    if count > MOST_FILES:
        raise PackageError(
            say("{path} is refused: it has more than {most} files.", path=path, most=MOST_FILES)
        )


def refuse_yaml_bomb(path: Path, file: str, text: str) -> None:
    """Refuse YAML whose aliases name one another, and so stand for more values than any memory holds.

    Raises
    ------
    PackageError
        If so, or if it is damaged, too deeply nested, or has a number that takes too long to read.
    """
    try:
        _refuse_nesting(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        count, longest = _written_out(root)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PackageError(
            say("{path}: {file} is damaged and cannot be read.", path=path, file=file)
        ) from error
    if longest > _LONGEST_NUMBER:
        raise PackageError(
            say(
                "{path} is refused: its {file} has a number of {count} digits.",
                path=path,
                file=file,
                count=longest,
            )
        )
    if count > _MOST_VALUES:
        raise PackageError(
            say(
                "{path} is refused: its {file} would grow to more than {count} values.",
                path=path,
                file=file,
                count=_MOST_VALUES,
            )
        )


def _refuse_nesting(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST:  # the reader would take seconds until it gives up
            raise ValueError("too many brackets")


def _written_out(root: Any) -> tuple[int, int]:
    """Values of a YAML tree with its aliases written out, and the length of its longest number.

    More values than `_MOST_VALUES` for a tree that holds itself.
    """
    known: dict[int, int] = {}
    open_nodes: set[int] = set()
    longest = 0

    def count(node: Any) -> int:
        nonlocal longest
        key = id(node)
        if key in open_nodes:
            return _MOST_VALUES + 1
        if key not in known:
            open_nodes.add(key)
            below = getattr(node, "value", ())
            inner = 0
            if isinstance(below, list):
                for item in below:
                    inner += sum(map(count, item)) if isinstance(item, tuple) else count(item)
            elif node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
                longest = max(longest, len(below))
            open_nodes.discard(key)
            known[key] = min(1 + inner, 10 * _MOST_VALUES)
        return known[key]

    return (count(root) if root is not None else 0), longest
