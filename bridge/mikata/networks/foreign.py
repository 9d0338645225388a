"""Packages of other programs as sources of weights. No code of a package is ever run.

Formats 0.4 and 0.5 of BioImage.IO are read: the tensors of its ``pytorch_state_dict`` or ``torchscript``
weights, and the preprocessing that its description states, where mean and standard deviation can hold it.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.package_files import DESCRIPTION_FILES, Files, opened, read_description
from mikata.networks.sources import EIGHT_BIT, Normalisation, Source, own_normalisation, without_normalisation
from mikata.networks.weights import load_state

_FORMATS = ("0.4.", "0.5.")
_WEIGHTS = ("pytorch_state_dict", "torchscript")
_INNER = ("mean", "std", "pixel_mean", "pixel_std")  # what networks call a normalisation inside them
_RANGES = {"uint8": EIGHT_BIT, "uint16": (0.0, 65535.0)}


def read_foreign(path: Path) -> Source:
    """Read another program's package, from its folder or zip, as a source of weights.

    Raises
    ------
    PackageError
        If it is missing, damaged, unsafe, of an unknown format, or has no weights that can be read safely.
        A preprocessing that cannot be taken over is no error here: see `Source.no_normalisation`.
    """
    with opened(path) as files:
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
        name, stated = _weights_file(files, description)
        data = files.read(name)
    sha256 = hashlib.sha256(data).hexdigest()
    if stated and sha256 != stated.lower():
        raise PackageError(
            say(
                "{path}: {file} does not match its checksum in {description}: the file is cut "
                "off or was changed. Copy or download the package again.",
                path=path,
                file=name,
                description=DESCRIPTION_FILES[0],
            )
        )
    try:
        state = load_state(io.BytesIO(data), say("{file} of {path}", file=name, path=path))
    except NetworkError as error:
        raise PackageError(str(error)) from error
    normalisation, size, problem = None, None, ""
    try:
        normalisation, size = _input(path, description, old=version.startswith("0.4."))
        normalisation = _with_inner(path, normalisation, state)
    except _Unheld as unheld:
        problem = str(unheld)
    return Source(
        label=str(path),
        state=without_normalisation(state),
        name=str(description.get("name") or path.name),
        kind="foreign package",
        normalisation=normalisation,
        no_normalisation=problem,
        size=size,
        sha256=sha256,
        id=_id(description),
        version=str(description.get("version") or ""),
    )


class _Unheld(Exception):
    """A preprocessing that one mean and one standard deviation a channel cannot hold; its words are for users."""


def _id(description: Mapping[str, Any]) -> str:
    config = description.get("config")
    inner = config.get("bioimageio") if isinstance(config, Mapping) else None
    nickname = inner.get("nickname") if isinstance(inner, Mapping) else None
    return str(description.get("id") or nickname or "")


def _weights_file(files: Files, description: Mapping[str, Any]) -> tuple[str, str]:
    """Name, as `Files` takes it, and stated checksum (or nothing) of the weights."""
    weights = description.get("weights")
    weights = weights if isinstance(weights, Mapping) else {}
    entry = next((weights[kind] for kind in _WEIGHTS if isinstance(weights.get(kind), Mapping)), None)
    if entry is None:
        raise PackageError(
            say(
                "{path} has its weights as {kinds} only; {known} can be read.",
                path=files.path,
                kinds=", ".join(str(kind) for kind in weights) or "-",
                known=", ".join(_WEIGHTS),
            )
        )
    source = entry.get("source")
    if isinstance(source, Mapping):  # a file with its checksum, as newer formats may write it
        entry, source = source, source.get("source")
    if not isinstance(source, str) or not source:
        raise PackageError(say("{path}: its description gives the weights no file.", path=files.path))
    if "://" in source:
        raise PackageError(
            say(
                "{path} holds no weights, only their address {address}. Download the whole package.",
                path=files.path,
                address=source,
            )
        )
    name = PurePosixPath(source)
    outside = name.is_absolute() or ".." in name.parts or "\\" in source or ":" in source
    if not outside and files.path.is_dir():
        outside = not (files.path / name).resolve().is_relative_to(files.path.resolve())
    if outside:
        raise PackageError(
            say(
                "{path} is refused: its file '{file}' would land outside of the package.",
                path=files.path,
                file=source,
            )
        )
    sha256 = entry.get("sha256")
    return str(name), sha256 if isinstance(sha256, str) else ""


def _input(
    path: Path, description: Mapping[str, Any], *, old: bool
) -> tuple[Normalisation, tuple[int, int] | None]:
    """Normalisation, and height and width in px where the network has one size."""
    inputs = description.get("inputs")
    if not isinstance(inputs, Sequence) or len(inputs) != 1 or not isinstance(inputs[0], Mapping):
        raise _unheld(path, say("it has {count} inputs", count=len(inputs or ())))
    found = inputs[0]
    channels, size = _old_axes(found) if old else _axes(found)
    gain, offset = [1.0], [0.0]  # the network sees gain * x + offset
    for step in found.get("preprocessing") or ():
        gains, offsets = _step(path, step, channels, gain == [1.0] and offset == [0.0], old=old)
        count = max(len(gain), len(gains))
        if {len(gain), len(gains)} - {1, count}:
            raise _unheld(path, say("steps for different numbers of channels"))
        gain, gains, offset, offsets = (
            values * count if len(values) == 1 else values for values in (gain, gains, offset, offsets)
        )
        offset = [g * o + more for g, o, more in zip(gains, offset, offsets, strict=True)]
        gain = [g * own for g, own in zip(gains, gain, strict=True)]
    if not all(0 < value < math.inf for value in gain) or not all(map(math.isfinite, offset)):
        raise _unheld(path, say("a scaling by 0 or less"))
    if len(gain) == 1 and channels:
        gain, offset = gain * channels, offset * channels
    mean = tuple(-o / g for g, o in zip(gain, offset, strict=True))
    unit, value_range = _values(found, old=old)
    return Normalisation(mean, tuple(1 / g for g in gain), unit, value_range), size


def _with_inner(path: Path, stated: Normalisation, state: Mapping[str, Tensor]) -> Normalisation:
    """The normalisation where a network also normalises by itself, which its description does not say."""
    inner = [key for key in state if key.rpartition(".")[2] in _INNER]
    if not inner:
        return stated
    untouched = set(stated.mean) == {0.0} and set(stated.std) == {1.0}
    try:
        own = own_normalisation(state)  # a package of Mikata's without its record
    except ValueError:
        own = None
    if own is None or not untouched:
        raise _unheld(
            path, say("the network itself normalises, with {keys}", keys=", ".join(sorted(inner)[:4]))
        )
    return Normalisation(own.mean, own.std, stated.unit, stated.value_range)


def _step(
    path: Path, step: Any, channels: int | None, untouched: bool, *, old: bool
) -> tuple[list[float], list[float]]:
    """One step of a preprocessing as gain and offset, one number a channel or one for all."""
    step = step if isinstance(step, Mapping) else {}
    name = str(step.get("name" if old else "id"))
    kwargs = step.get("kwargs")
    kwargs = kwargs if isinstance(kwargs, Mapping) else {}
    axis = kwargs.get("axis")
    if name == "ensure_dtype":
        # to whole numbers is the identity only where nothing has been scaled yet
        if untouched or str(kwargs.get("dtype", "")).startswith("float"):
            return [1.0], [0.0]
        raise _unheld(path, name)
    if not old and axis not in (None, "channel", "c"):
        raise _unheld(path, f"{name} ({axis})")
    fixed = name == "fixed_zero_mean_unit_variance" or (
        old and name == "zero_mean_unit_variance" and kwargs.get("mode", "fixed") == "fixed"
    )
    if name == "scale_linear":
        pair = _numbers(kwargs.get("gain", 1.0)), _numbers(kwargs.get("offset", 0.0))
    elif fixed:
        pair = _numbers(kwargs.get("mean")), _numbers(kwargs.get("std"))
    else:
        mode = kwargs.get("mode")
        raise _unheld(path, f"{name} ({mode})" if mode else name)
    first, second = pair
    count = max(len(first), len(second))
    if not first or not second or {len(first), len(second), count} - {1, count}:
        raise _unheld(path, name)
    if count > 1 and channels and count != channels:
        raise _unheld(
            path, say("{step} for {count} channels of {channels}", step=name, count=count, channels=channels)
        )
    first, second = (values * count if len(values) == 1 else values for values in pair)
    if name == "scale_linear":
        return first, second
    if min(second) <= 0:
        raise _unheld(path, name)
    return [1 / s for s in second], [-m / s for m, s in zip(first, second, strict=True)]


def _numbers(value: Any) -> list[float]:
    """One or more finite numbers; an empty list where they are none."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    return [float(v) for v in values] if good else []


def _axes(found: Mapping[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    """Number of channels, and height and width, of a 0.5 input; None where they are not fixed."""
    lengths: dict[str, Any] = {}
    for axis in found.get("axes") or ():
        if isinstance(axis, Mapping) and axis.get("type") == "channel":
            names = axis.get("channel_names")
            lengths["c"] = len(names) if isinstance(names, list) else None
        elif isinstance(axis, Mapping):
            lengths[str(axis.get("id") or axis.get("type"))] = axis.get("size")
    return lengths.get("c"), _size(lengths)


def _old_axes(found: Mapping[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    axes, shape = str(found.get("axes", "")), found.get("shape")
    if isinstance(shape, Mapping):  # smallest shape and step, equal at the channels
        channels = dict(zip(axes, shape.get("min") or (), strict=False)).get("c")
        return (channels if isinstance(channels, int) else None), None
    lengths = dict(zip(axes, shape if isinstance(shape, list) else (), strict=False))
    channels = lengths.get("c")
    return (channels if isinstance(channels, int) else None), _size(lengths)


def _size(lengths: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = lengths.get("y"), lengths.get("x")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _values(found: Mapping[str, Any], *, old: bool) -> tuple[str, tuple[float, float] | None]:
    """Unit (empty: not stated) and range (None: not stated) of an input's values."""
    data = {"type": found.get("data_type"), "range": found.get("data_range")} if old else found.get("data")
    if not isinstance(data, Mapping):
        return "", None
    unit = data.get("unit")
    unit = "" if not isinstance(unit, str) or unit == "arbitrary unit" else unit
    ends = data.get("range")
    stated = _numbers(ends) if isinstance(ends, list) and len(ends) == 2 else []
    if stated:
        return unit, (stated[0], stated[1])
    return unit, _RANGES.get(str(data.get("type")))


def _unheld(path: Path, what: str) -> _Unheld:
    return _Unheld(
        say(
            "{path} prepares each image before its network in a way that one mean and one standard deviation a "
            'channel cannot hold: {what}. Say normalisation = "data" or "imagenet" in the recipe.',
            path=path,
            what=what,
        )
    )
