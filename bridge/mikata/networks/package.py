"""Packages that Mikata trained -> networks. No code of a package is ever run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mikata.architecture import Classifier
from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.package_files import DESCRIPTION_FILE as DESCRIPTION_FILE
from mikata.networks.package_files import Files, opened, read_description
from mikata.networks.weights import load_state

MIKATA_FORMAT = 1
"""Version of the fields of ``training.json`` that this module reads."""

TRAINING_FILE = "training.json"

_LARGEST_RECORD = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier and what it takes.

    Attributes
    ----------
    classifier:
        The network in evaluation mode, on the CPU.
    classes:
        Names, in the order of the network's outputs; none where it gives a value.
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

    @property
    def values(self) -> bool:
        """Whether it gives a value (in ``classifier.unit``) instead of classes."""
        return self.classifier.target is not None


def read_package(path: Path) -> Model:
    """Read a package that Mikata trained, from its folder or zip.

    Only ``training.json`` and the state dict are used: the network is built from Mikata's own code and
    takes the weights as plain tensors.

    Raises
    ------
    PackageError
        If it is missing, damaged, unsafe, of a newer Mikata, or made by another tool.
    """
    with opened(path) as source:
        description = read_description(source)
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
    classes = () if "target" in configuration else fields.classes(configuration["classes"])
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


def _record(source: Files) -> dict[str, Any]:
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


def _state_file(source: Files, description: Mapping[str, Any]) -> tuple[str, str]:
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
            or set(found) not in ({*keys, "size"}, {*keys, "size", "target", "unit"})
            or not _is_target(found)
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


def _is_target(configuration: Mapping[str, Any]) -> bool:
    """Whether mean, standard deviation and unit of a value, where they are there, are such."""
    if "target" not in configuration:
        return True
    target, unit = configuration["target"], configuration["unit"]
    return isinstance(unit, str) and isinstance(target, list) and all(map(_is_number, target))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
