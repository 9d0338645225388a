"""Packages that Mikata trained -> networks. No code of a package is ever run."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import yaml  # type: ignore[import-untyped]

from mikata.architecture import Classifier
from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.weights import load_state

MIKATA_FORMAT = 1
"""Version of the fields of ``training.json`` that this module reads."""

DESCRIPTION_FILE = "rdf.yaml"
TRAINING_FILE = "training.json"

_LARGEST_DESCRIPTION = 2**20  # bytes: YAML is slow to read
_LARGEST_RECORD = 16 * 2**20
_LARGEST_PACKAGE = 4 * 2**30  # bytes, unpacked
_SUSPICIOUS_RATIO = 100  # weights hardly shrink; only a bomb does so by more


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier and what it takes.

    Attributes
    ----------
    classifier:
        The network in evaluation mode, on the CPU.
    classes:
        Names, in the order of the network's outputs.
    channels:
        Number of input channels.
    size:
        Height and width in px: the size itself with ``resize``, the smallest one with ``native``.
    fit:
        ``resize``: images are scaled to `size`; ``native``: they keep their own scale.
    value_unit:
        Unit of the training images' values, such as ``HU``; ``grey`` when nothing is known.
    value_range:
        Smallest and largest value of the training images.
    weights_sha256:
        Checksum of the state dict's file: tells which weights these are.
    record:
        The whole ``training.json``.
    path:
        The package's folder or zip.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    fit: Literal["resize", "native"]
    value_unit: str
    value_range: tuple[float, float]
    weights_sha256: str
    record: dict[str, Any] = field(repr=False)
    path: Path


def read_package(path: Path) -> Model:
    """Read a package that Mikata trained, from its folder or zip.

    Only ``training.json`` and the state dict are used: the network is built from Mikata's own code and
    takes the weights as plain tensors.

    Raises
    ------
    PackageError
        If it is missing, damaged, unsafe, of a newer Mikata, or made by another tool.
    """
    with _opened(path) as source:
        description = _description(source)
        record = _record(source)
        state_file, sha256 = _state_file(source, description)
        data = source.read(state_file)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PackageError(
                say(
                    "{path}: {file} does not match its checksum in {description}: the file is cut "
                    "off or was changed. Copy or download the package again.",
                    path=path,
                    file=state_file,
                    description=DESCRIPTION_FILE,
                )
            )
    fields = _Fields(record, f"{path}: {TRAINING_FILE}")
    configuration = fields.configuration()
    classes = fields.classes(configuration["classes"])
    try:
        classifier = Classifier(**configuration)
        state = load_state(io.BytesIO(data), say("{file} of {path}", file=state_file, path=path))
    except (ValueError, NetworkError) as error:
        raise PackageError(
            say(
                "{path}: its network cannot be rebuilt: {reason}.", path=path, reason=str(error).rstrip(".。")
            )
        ) from error
    try:
        classifier.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise PackageError(
            say(
                "{path}: {file} does not fit the network {network} of {record}.",
                path=path,
                file=state_file,
                network=configuration["network"],
                record=TRAINING_FILE,
            )
        ) from error
    return Model(
        classifier=classifier.eval(),
        classes=classes,
        channels=configuration["channels"],
        size=fields.size(),
        fit=fields.fit(),
        value_unit=fields.value_unit(),
        value_range=fields.value_range(),
        weights_sha256=sha256,
        record=record,
        path=path,
    )


@dataclass(frozen=True)
class _Source:
    """The files of a package, whether in a folder or a zip."""

    path: Path
    names: frozenset[str]
    open: Callable[[str], IO[bytes]]
    size: Callable[[str], int]

    def has(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str, largest: int = _LARGEST_PACKAGE) -> bytes:
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
def _opened(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        try:
            names = frozenset(entry.name for entry in path.iterdir() if entry.is_file())
        except OSError as error:
            raise PackageError(
                say("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
            ) from error
        yield _Source(
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
        yield _Source(
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


def _description(source: _Source) -> Mapping[str, Any]:
    if not source.has(DESCRIPTION_FILE):
        raise PackageError(
            say(
                "{path} is no BioImage.IO package: {description} is missing at its top level.",
                path=source.path,
                description=DESCRIPTION_FILE,
            )
        )
    try:
        description = yaml.safe_load(source.read(DESCRIPTION_FILE, _LARGEST_DESCRIPTION).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PackageError(
            say("{path}: {file} is damaged and cannot be read.", path=source.path, file=DESCRIPTION_FILE)
        ) from error
    if not isinstance(description, dict) or description.get("type") != "model":
        raise PackageError(
            say("{path}: {file} does not describe a model.", path=source.path, file=DESCRIPTION_FILE)
        )
    return description


def _record(source: _Source) -> dict[str, Any]:
    if not source.has(TRAINING_FILE):
        raise PackageError(
            say(
                "{path} was made by another tool; Mikata can use packages that it trained itself for now "
                "({file} is missing).",
                path=source.path,
                file=TRAINING_FILE,
            )
        )
    try:
        record = json.loads(source.read(TRAINING_FILE, _LARGEST_RECORD).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PackageError(
            say("{path}: {file} is damaged and cannot be read.", path=source.path, file=TRAINING_FILE)
        ) from error
    if not isinstance(record, dict) or "mikata_format" not in record:
        raise PackageError(
            say(
                "{path} was made by another tool; Mikata can use packages that it trained itself for now "
                "({file} lacks mikata_format).",
                path=source.path,
                file=TRAINING_FILE,
            )
        )
    version = record["mikata_format"]
    if type(version) is not int or version < 1:
        raise PackageError(
            say(
                "{path}: {file} has the unknown mikata_format {version!r}.",
                path=source.path,
                file=TRAINING_FILE,
                version=version,
            )
        )
    if version > MIKATA_FORMAT:
        raise PackageError(
            say(
                "{path} was written by a newer Mikata (format {version}, this one reads up to {known}). "
                "Update Mikata.",
                path=source.path,
                version=version,
                known=MIKATA_FORMAT,
            )
        )
    return record


def _state_file(source: _Source, description: Mapping[str, Any]) -> tuple[str, str]:
    """Name and checksum of the state dict."""
    weights = description.get("weights")
    entry = weights.get("pytorch_state_dict") if isinstance(weights, dict) else None
    if not isinstance(entry, dict):
        raise PackageError(
            say(
                "{path}: {file} names no pytorch_state_dict weights.", path=source.path, file=DESCRIPTION_FILE
            )
        )
    name, sha256 = entry.get("source"), entry.get("sha256")
    if not isinstance(name, str) or not isinstance(sha256, str):
        raise PackageError(
            say(
                "{path}: {file} gives the weights no file or no sha256.",
                path=source.path,
                file=DESCRIPTION_FILE,
            )
        )
    if PurePosixPath(name).name != name or "\\" in name or ":" in name:
        raise PackageError(
            say(
                "{path}: the weights '{file}' must lie at the package's top level.",
                path=source.path,
                file=name,
            )
        )
    return name, sha256


@dataclass(frozen=True)
class _Fields:
    """The fields of a record that Mikata needs, each checked."""

    record: Mapping[str, Any]
    name: str

    def _wrong(self, key: str) -> PackageError:
        return PackageError(say("{file} is damaged: '{key}' is missing or wrong.", file=self.name, key=key))

    def configuration(self) -> dict[str, Any]:
        found = self.record.get("configuration")
        keys = {"network": str, "classes": int, "channels": int, "mean": list, "std": list}
        if (
            not isinstance(found, dict)
            or set(found) != {*keys, "size"}
            or any(type(found[key]) is not kind for key, kind in keys.items())
            or (found["size"] is not None and found["size"] != list(self.size()))
            or not all(_is_number(value) for key in ("mean", "std") for value in found[key])
        ):
            raise self._wrong("configuration")
        # more channels than any image has would only serve to fill the memory; classes are names in a list
        if not 1 <= found["channels"] <= 10_000:
            raise self._wrong("configuration")
        return dict(found)

    def classes(self, count: int) -> tuple[str, ...]:
        found = self.record.get("classes")
        if (
            not isinstance(found, list)
            or not all(isinstance(name, str) and name for name in found)
            or not len(found) == len(set(found)) == count
        ):
            raise self._wrong("classes")
        return tuple(found)

    def size(self) -> tuple[int, int]:
        found = self.record.get("size")
        if (
            not isinstance(found, list)
            or len(found) != 2
            or not all(type(side) is int and 1 <= side <= 100_000 for side in found)
        ):
            raise self._wrong("size")
        return found[0], found[1]

    def fit(self) -> Literal["resize", "native"]:
        found = self.record.get("fit")
        if found == "resize":
            return "resize"
        if found == "native":
            return "native"
        raise self._wrong("fit")

    def value_unit(self) -> str:
        found = self.record.get("value_unit")
        if not isinstance(found, str):
            raise self._wrong("value_unit")
        return found

    def value_range(self) -> tuple[float, float]:
        found = self.record.get("value_range")
        if (
            not isinstance(found, list)
            or len(found) != 2
            or not all(_is_number(value) for value in found)
            or found[0] > found[1]
        ):
            raise self._wrong("value_range")
        return float(found[0]), float(found[1])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
