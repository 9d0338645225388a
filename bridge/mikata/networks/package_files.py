"""The files of a package, read from its folder or zip without unpacking or running anything."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml  # type: ignore[import-untyped]

from mikata.errors import PackageError
from mikata.language import say

DESCRIPTION_FILE = "rdf.yaml"
DESCRIPTION_FILES = (DESCRIPTION_FILE, "bioimageio.yaml", "model.yaml")
"""What other programs name the description."""

_LARGEST_DESCRIPTION = 2**20  # bytes: YAML is slow to read
_LARGEST_PACKAGE = 4 * 2**30  # bytes, unpacked
_SUSPICIOUS_RATIO = 100  # weights hardly shrink; only a bomb does so by more


@dataclass(frozen=True)
class Files:
    """The files of a package, whether in a folder or a zip.

    Attributes
    ----------
    path:
        The folder or zip.
    names:
        Of the files at a folder's top level, or of all in a zip.
    open, size:
        Content and length in bytes of a named file.
    """

    path: Path
    names: frozenset[str]
    open: Callable[[str], IO[bytes]]
    size: Callable[[str], int]

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, which may lie in a folder of the package."""
        return name in self.names or (self.path.is_dir() and (self.path / name).is_file())

    def read(self, name: str, largest: int = _LARGEST_PACKAGE) -> bytes:
        """A file's content, or `PackageError` where it is missing, damaged or larger than `largest` bytes."""
        if not self.has(name):
            raise PackageError(say("{path}: {file} is missing.", path=self.path, file=name))
        try:
            if self.size(name) > largest:
                raise PackageError(
                    say(
                        "{path}: {file} is too large ({size} bytes).",
                        path=self.path,
                        file=name,
                        size=self.size(name),
                    )
                )
            with self.open(name) as file:
                return file.read()
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
            raise PackageError(
                say("{path}: {file} is damaged ({error}).", path=self.path, file=name, error=error)
            ) from error
        except OSError as error:
            raise PackageError(
                say(
                    "{path}: {file} cannot be read: {reason}.",
                    path=self.path,
                    file=name,
                    reason=error.strerror or error,
                )
            ) from error


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """Open a package in a block.

    Raises
    ------
    PackageError
        If it is missing, damaged, or a zip that no honest program makes: files outside of it, links, bombs.
    """
    if path.is_dir():
        try:
            names = frozenset(entry.name for entry in path.iterdir() if entry.is_file())
        except OSError as error:
            raise PackageError(
                say("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
            ) from error
        yield Files(
            path,
            names,
            open=lambda name: (path / name).open("rb"),
            size=lambda name: (path / name).stat().st_size,
        )
        return
    if not path.exists():
        raise PackageError(say("There is no package {path}.", path=path))
    if not zipfile.is_zipfile(path):
        raise PackageError(
            say(
                "{path} is no package: a folder or a zip with an {description} is expected.",
                path=path,
                description=DESCRIPTION_FILE,
            )
        )
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise PackageError(
            say("{path} is damaged and cannot be opened as a zip ({error}).", path=path, error=error)
        ) from error
    with archive:
        _refuse_unsafe(path, archive)
        yield Files(
            path, frozenset(archive.namelist()), archive.open, lambda name: archive.getinfo(name).file_size
        )


def _refuse_unsafe(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what no honest package has, even though nothing is unpacked here."""
    total = 0
    seen: set[str] = set()
    for member in archive.infolist():
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or ":" in name:
            raise PackageError(
                say(
                    "{path} is refused: its file '{file}' would land outside of the package.",
                    path=path,
                    file=name,
                )
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise PackageError(say("{path} is refused: its file '{file}' is a link.", path=path, file=name))
        if member.flag_bits & 1:
            raise PackageError(
                say("{path} is refused: its file '{file}' is encrypted.", path=path, file=name)
            )
        if name.casefold() in seen:
            raise PackageError(
                say("{path} is refused: it has two files named '{file}'.", path=path, file=name)
            )
        seen.add(name.casefold())
        total += member.file_size
        large = member.file_size > 2**20
        if total > _LARGEST_PACKAGE or (
            large and member.file_size > _SUSPICIOUS_RATIO * max(1, member.compress_size)
        ):
            raise PackageError(
                say(
                    "{path} is refused: '{file}' would grow to {size:.0f} MB ({total:.0f} MB up to it) when "
                    "unpacked.",
                    path=path,
                    file=name,
                    size=member.file_size / 2**20,
                    total=total / 2**20,
                )
            )


def read_description(source: Files, names: Sequence[str] = (DESCRIPTION_FILE,)) -> Mapping[str, Any]:
    """The description of a model, as plain values; `names` are those its file may have.

    Raises
    ------
    PackageError
        If it is missing, damaged, or of something else than a model.
    """
    file = next((name for name in names if source.has(name)), None)
    if file is None:
        raise PackageError(
            say(
                "{path} is no BioImage.IO package: {description} is missing at its top level.",
                path=source.path,
                description=DESCRIPTION_FILE,
            )
        )
    try:
        description = yaml.safe_load(source.read(file, _LARGEST_DESCRIPTION).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PackageError(
            say("{path}: {file} is damaged and cannot be read.", path=source.path, file=file)
        ) from error
    if not isinstance(description, dict) or description.get("type") != "model":
        raise PackageError(say("{path}: {file} does not describe a model.", path=source.path, file=file))
    return description
