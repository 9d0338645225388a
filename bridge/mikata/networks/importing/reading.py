"""A package of any program, read: its description and files, wherever they lie; nothing is unpacked or run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.package_files import (
    DESCRIPTION_FILE,
    DESCRIPTION_FILES,
    Files,
    opened,
    read_description,
)
from mikata.networks.package_safety import is_outside, refuse_unsafe_folder

_FORMATS = ("0.4.", "0.5.")


@dataclass(frozen=True, eq=False)
class Package:
    """An open package.

    Attributes
    ----------
    path:
        Its folder or zip.
    description:
        The whole ``rdf.yaml`` in plain values.
    described_by:
        Path of the description inside the package, as it was found.
    files:
        Its files, named from where the description lies.
    """

    path: Path
    description: Mapping[str, Any]
    described_by: str
    files: Files

    @property
    def old(self) -> bool:
        """Whether it is of format 0.4."""
        return str(self.description["format_version"]).startswith("0.4.")

    @property
    def weights(self) -> Mapping[str, Mapping[str, Any]]:
        """The entries of the weight formats that are stated."""
        found = self.description.get("weights")
        entries = found.items() if isinstance(found, Mapping) else ()
        return {str(kind): entry for kind, entry in entries if isinstance(entry, Mapping)}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The field ``config``, None where there is none."""
        found = self.description.get("config")
        return found if isinstance(found, Mapping) else None

    def source(self, entry: Any) -> str:
        """The file that a field names (text, or a map with ``source``), empty where it names none."""
        while isinstance(entry, Mapping):
            entry = entry.get("source")
        if not isinstance(entry, str) or not entry:
            return ""
        return entry if "://" in entry else str(PurePosixPath(entry))

    def has(self, name: str) -> bool:
        """Whether the package holds a file."""
        return bool(name) and "://" not in name and self.files.has(name)

    def array(self, name: str) -> NDArray[Any] | None:
        """A test tensor, None where it is missing or no numbers in NumPy's format."""
        if not self.has(name):
            return None
        try:
            found = np.load(io.BytesIO(self.files.read(name)), allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError, MemoryError, zipfile.BadZipFile):
            return None
        return found if isinstance(found, np.ndarray) and found.dtype.kind in "fiub" else None


@contextmanager
def opened_package(path: Path) -> Iterator[Package]:
    """Open a package in a block, also one whose description has another name or lies a folder deeper.

    Raises
    ------
    PackageError
        If there is none, or it is damaged, unsafe (files or links that leave it, bombs), of another format than 0.4 and
        0.5, or one of its files does not match the checksum that the description states.
    """
    with opened(path) as files:
        inner = _place(files)
        if inner:
            files = _inside(files, inner)
        name = next((name for name in DESCRIPTION_FILES if files.has(name)), DESCRIPTION_FILE)
        if files.has(name) and path.is_dir():  # else it is any folder, which may be a large one
            refuse_unsafe_folder(path)
        description = read_description(files, DESCRIPTION_FILES)
        version = str(description.get("format_version", ""))
        if not version.startswith(_FORMATS):
            raise PackageError(
                say(
                    "{path} has the format {version}: packages of BioImage.IO 0.4 and 0.5 can be read.",
                    path=path,
                    version=version or "?",
                )
            )
        package = Package(path, description, f"{inner}{name}", files)
        for _, entry in named_files(description):
            _refuse_outside(package, package.source(entry))
        _refuse_other_content(package)
        yield package


def named_files(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a description that names a file, with the field's dotted place."""
    if isinstance(value, Mapping):
        if isinstance(value.get("source"), str):
            yield place, value
        for key, item in value.items():
            at = f"{place}.{key}".lstrip(".")
            if (
                key == "architecture" and isinstance(item, str) and ":" in item
            ):  # format 0.4: file.py:callable
                yield at, {"source": item.rpartition(":")[0], "sha256": value.get("architecture_sha256")}
            elif key in ("documentation", "cover", "test_tensor", "sample_tensor") and isinstance(item, str):
                yield at, item
            elif key in ("covers", "test_inputs", "test_outputs", "sample_inputs", "sample_outputs"):
                for n, one in enumerate(item if isinstance(item, Sequence) else ()):
                    yield f"{at}[{n}]", one
            elif key not in ("config", "kwargs", "parent"):
                yield from named_files(item, at)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for n, item in enumerate(value):
            yield from named_files(item, f"{place}[{n}]")


def _place(files: Files) -> str:
    """The one folder inside that has a description, where the top level has none."""
    if any(files.has(name) for name in DESCRIPTION_FILES):
        return ""
    if files.path.is_dir():
        found = {
            entry.name
            for entry in files.path.iterdir()
            if entry.is_dir() and any((entry / name).is_file() for name in DESCRIPTION_FILES)
        }
    else:
        found = {
            str(PurePosixPath(name).parent)
            for name in files.names
            if PurePosixPath(name).name in DESCRIPTION_FILES
        }
    return f"{found.pop()}/" if len(found) == 1 else ""


def _inside(files: Files, inner: str) -> Files:
    if files.path.is_dir():
        folder = files.path / inner
        return Files(
            folder,
            frozenset(entry.name for entry in folder.iterdir() if entry.is_file()),
            open=lambda name: (folder / name).open("rb"),
            size=lambda name: (folder / name).stat().st_size,
        )
    names = frozenset(
        name.removeprefix(inner) for name in files.names if name.startswith(inner) and name != inner
    )
    return replace(
        files,
        names=names,
        open=lambda name: files.open(inner + name),
        size=lambda name: files.size(inner + name),
    )


def _refuse_outside(package: Package, name: str) -> None:
    if not name or "://" in name:
        return
    if is_outside(name):
        raise PackageError(
            say(
                "{path} is refused: its file '{file}' would land outside of the package.",
                path=package.path,
                file=name,
            )
        )


def _refuse_other_content(package: Package) -> None:
    for _, entry in named_files(package.description):
        stated = entry.get("sha256") if isinstance(entry, Mapping) else None
        name = package.source(entry)
        if not isinstance(stated, str) or not package.has(name):
            continue
        if hashlib.sha256(package.files.read(name)).hexdigest() != stated.lower():
            raise PackageError(
                say(
                    "{path}: {file} does not match its checksum in {description}: the file is cut "
                    "off or was changed. Copy or download the package again.",
                    path=package.path,
                    file=name,
                    description=package.described_by,
                )
            )
