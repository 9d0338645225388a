"""Packages that Mikata trained -> networks. No code of a package is ever run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from mikata.architecture import Classifier, Detector, Segmenter
from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.package_files import DESCRIPTION_FILE as DESCRIPTION_FILE
from mikata.networks.package_files import Files, opened, read_description
from mikata.networks.peaks import APART, SCORE
from mikata.networks.pixelwise import SIZES, Meaning, PixelNetwork, Sides, unchanged
from mikata.networks.weights import load_state

MIKATA_FORMAT = 1
"""Version of the fields of ``training.json`` that this module reads."""

TRAINING_FILE = "training.json"

KIND, SEGMENTATION, DETECTION = "kind", "segmentation", "detection"
"""Field of ``training.json`` that says what the network is for, and its values; a classifier's has none."""

PARTED_BY = ("boundary", "distance")
"""What a channel may hold from which touching objects are parted."""

_Network = TypeVar("_Network", Classifier, Segmenter, Detector)

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
    record, data, state_file, sha256 = _contents(path)
    kind = kind_of_record(record, path)
    if kind == DETECTION:
        raise PackageError(
            say(
                "{path} holds a network for detection, which says where things are; this needs a classifier, which says what "
                "the whole image is. Use Detect Objects for it.",
                path=path,
            )
        )
    if kind == SEGMENTATION:
        raise PackageError(
            say(
                "{path} holds a network for segmentation, which says of every pixel what it is; this needs a classifier, "
                "which says it of the whole image. Use Segment Images for it.",
                path=path,
            )
        )
    fields = _Fields(record, f"{path}: {TRAINING_FILE}")
    configuration = fields.configuration()
    classes = () if "target" in configuration else fields.classes(configuration["classes"])
    classifier = _rebuilt(Classifier, configuration, data, state_file, path)
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


def read_pixel_network(path: Path) -> PixelNetwork:
    """Read a package of a network for segmentation or detection that Mikata trained, from its folder or zip.

    As with :func:`read_package` none of its code is run. The network is on the CPU and has all that makes probabilities
    and sizes of its scores inside; images are in the unit of the training images.

    Raises
    ------
    PackageError
        If it is missing, damaged, unsafe, of a newer Mikata, made by another tool, or a classifier.
    """
    record, data, state_file, _ = _contents(path)
    kind = kind_of_record(record, path)
    if kind == "classifier":
        raise PackageError(
            say(
                "{path} holds a classifier, which says what a whole image is; this needs a network for segmentation, "
                "which says it of every pixel.",
                path=path,
            )
        )
    fields = _Fields(record, f"{path}: {TRAINING_FILE}")
    network: Segmenter | Detector
    meaning: Meaning
    settings: dict[str, float] | None
    if kind == DETECTION:
        configuration = fields.detector_configuration()
        network, meaning = _rebuilt(Detector, configuration, data, state_file, path), "points"
        outputs, settings = fields.detections(configuration["classes"]), fields.point_settings()
    else:
        configuration = fields.pixel_configuration()
        network = _rebuilt(Segmenter, configuration, data, state_file, path)
        meaning = "instances" if fields.record.get("instances") in PARTED_BY else "classes"
        outputs = fields.outputs(configuration["classes"] + configuration["distance"])
        settings = fields.settings()
    step = fields.positive("step")
    return PixelNetwork(
        path=path,
        channels=configuration["channels"],
        before=unchanged,
        network=network.eval(),
        after=unchanged,
        height=Sides(step, step),
        width=Sides(step, step),
        halo=fields.halo(),
        stride=step,
        scale=1,
        outputs=outputs,
        meaning=meaning,
        value_unit=fields.value_unit(),
        value_range=fields.value_range(),
        settings=settings,
    )


def is_pixelwise(path: Path) -> bool:
    """Whether a package that Mikata trained holds a network from images to images, and no classifier.

    Raises
    ------
    PackageError
        As of :func:`read_package`.
    """
    with opened(path) as source:
        read_description(source)
        return kind_of_record(_record(source), path) != "classifier"


def kind_of_record(
    record: Mapping[str, Any], path: Path
) -> Literal["classifier", "segmentation", "detection"]:
    """What the network of a training record is for.

    Raises
    ------
    PackageError
        If this Mikata does not know its kind.
    """
    match record.get(KIND):
        case None:
            return "classifier"
        case "segmentation":
            return "segmentation"
        case "detection":
            return "detection"
        case other:
            raise PackageError(
                say(
                    "{path}: {file} tells of a network of the kind {kind!r}, which this Mikata does not know. Update Mikata.",
                    path=path,
                    file=TRAINING_FILE,
                    kind=other,
                )
            )


def record_of(path: Path) -> dict[str, Any]:
    """The training record of a package that Mikata trained.

    Raises
    ------
    PackageError
        As of :func:`read_package`.
    """
    with opened(path) as source:
        return _record(source)


def _contents(path: Path) -> tuple[dict[str, Any], bytes, str, str]:
    """Training record, and content, name and checksum of the state dict."""
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
    return record, data, state_file, sha256


def _rebuilt(
    kind: type[_Network], configuration: dict[str, Any], data: bytes, state_file: str, path: Path
) -> _Network:
    """The network with its weights."""
    try:
        network = kind(**configuration)
        state = load_state(io.BytesIO(data), say("{file} of {path}", file=state_file, path=path))
    except (ValueError, NetworkError) as error:
        raise PackageError(
            say(
                "{path}: its network cannot be rebuilt: {reason}.", path=path, reason=str(error).rstrip(".。")
            )
        ) from error
    try:
        network.load_state_dict(state)
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
    return network


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

    def pixel_configuration(self) -> dict[str, Any]:
        """Of a `Segmenter`."""
        found = self.record.get("configuration")
        keys = {"network": str, "classes": int, "channels": int, "mean": list, "std": list, "distance": bool}
        if (
            not isinstance(found, dict)
            or set(found) != set(keys)
            or any(type(found[key]) is not kind for key, kind in keys.items())
            or not all(_is_number(value) for key in ("mean", "std") for value in found[key])
            or not 1 <= found["channels"] <= 10_000
            or not 2 <= found["classes"] <= 10_000
        ):
            raise self._wrong("configuration")
        return dict(found)

    def detector_configuration(self) -> dict[str, Any]:
        """Of a `Detector`."""
        found = self.record.get("configuration")
        keys = {"network": str, "classes": int, "channels": int, "mean": list, "std": list, "shrink": int}
        if (
            not isinstance(found, dict)
            or set(found) != {*keys, "typical_px"}
            or any(type(found[key]) is not kind for key, kind in keys.items())
            or not all(_is_number(value) for value in (*found["mean"], *found["std"], found["typical_px"]))
            or not 1 <= found["channels"] <= 10_000
            or not 1 <= found["classes"] <= 10_000
        ):
            raise self._wrong("configuration")
        return dict(found)

    def detections(self, classes: int) -> tuple[str, ...]:
        """Names of the channels of a network for detection."""
        found = self.outputs(classes + len(SIZES))
        if found[classes:] != SIZES:
            raise self._wrong("outputs")
        return found

    def outputs(self, count: int) -> tuple[str, ...]:
        """Names of the output's channels."""
        return self._names("outputs", count)

    def positive(self, key: str) -> int:
        """A whole number from 1."""
        found = self.record.get(key)
        if type(found) is not int or not 1 <= found <= 100_000:
            raise self._wrong(key)
        return found

    def halo(self) -> int | None:
        found = self.record.get("halo")
        if found is not None and (type(found) is not int or not 0 <= found <= 100_000):
            raise self._wrong("halo")
        return found

    def settings(self) -> dict[str, float] | None:
        found = self.record.get("settings")
        if found is None:
            return None
        if not isinstance(found, dict) or not all(
            isinstance(k, str) and _is_number(v) for k, v in found.items()
        ):
            raise self._wrong("settings")
        return {key: float(value) for key, value in found.items()}

    def point_settings(self) -> dict[str, float]:
        """With which points are made of heat maps."""
        found = self.settings() or {}
        if set(found) != {SCORE, APART} or not 0 < found[SCORE] <= 1 or not 1 <= found[APART] <= 100_000:
            raise self._wrong("settings")
        return found

    def classes(self, count: int) -> tuple[str, ...]:
        return self._names("classes", count)

    def _names(self, key: str, count: int) -> tuple[str, ...]:
        found = self.record.get(key)
        if (
            not isinstance(found, list)
            or not all(isinstance(name, str) and name for name in found)
            or not len(found) == len(set(found)) == count
        ):
            raise self._wrong(key)
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
