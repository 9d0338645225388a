"""The files of a package, read from its folder or zip without unpacking or running anything."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml  # type: ignore[import-untyped]

from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.package_safety import (
    LARGEST_DESCRIPTION,
    LARGEST_PACKAGE,
    is_outside,
    refuse_unsafe_zip,
    refuse_yaml_bomb,
)

DESCRIPTION_FILE = "rdf.yaml"
DESCRIPTION_FILES = (DESCRIPTION_FILE, "bioimageio.yaml", "model.yaml")
"""What other programs name the description."""


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
    whole:
        A zip's SHA-256, of the very file that is open, which may by now be another than the one of its name; of a folder
        empty.
    """

    path: Path
    names: frozenset[str]
    open: Callable[[str], IO[bytes]]
    size: Callable[[str], int]
    whole: Callable[[], str] = str

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, which may lie in a folder of the package."""
        inside = self.path.is_dir() and not is_outside(name) and (self.path / name).is_file()
        return name in self.names or inside

    def read(self, name: str, largest: int = LARGEST_PACKAGE) -> bytes:
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
    with _handle(path) as file:
        yield _zipped(path, file)


@contextmanager
def _handle(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise PackageError(
            say("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    with file:
        yield file


def _zipped(path: Path, file: IO[bytes]) -> Files:
    """The files of a zip that is open, and stays so until its handle is closed."""
    if not zipfile.is_zipfile(file):
        raise PackageError(
            say(
                "{path} is no package: a folder or a zip with an {description} is expected.",
                path=path,
                description=DESCRIPTION_FILE,
            )
        )
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise PackageError(
            say("{path} is damaged and cannot be opened as a zip ({error}).", path=path, error=error)
        ) from error
    refuse_unsafe_zip(path, archive)

    def whole() -> str:
        digest = hashlib.sha256()
        file.seek(0)  # the archive looks for its place anew each time
        while block := file.read(2**20):
            digest.update(block)
        return digest.hexdigest()

    return Files(
        path,
        frozenset(archive.namelist()),
        archive.open,
        lambda name: archive.getinfo(name).file_size,
        whole,
    )


def read_description(source: Files, names: Sequence[str] = (DESCRIPTION_FILE,)) -> Mapping[str, Any]:
    """The description of a model, as plain values; `names` are those its file may have.

    Raises
    ------
    PackageError
        If it is missing, damaged, of something else than a model, or made to fill the memory.
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
        text = source.read(file, LARGEST_DESCRIPTION).decode("utf-8")
        refuse_yaml_bomb(source.path, file, text)
        description = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PackageError(
            say("{path}: {file} is damaged and cannot be read.", path=source.path, file=file)
        ) from error
    if not isinstance(description, dict) or description.get("type") != "model":
        raise PackageError(say("{path}: {file} does not describe a model.", path=source.path, file=file))
    return description
