"""What a user states of a file of weights, in a TOML file beside it: ``weights.pt`` and ``weights.pt.toml``.

::

    mean = [123.7, 116.3, 103.5]   # one number a channel, or one for all; for the values that images have
    std = [58.4, 57.1, 57.4]       # (0 to 255 for 8-bit images)
    size = [224, 224]              # height and width in px
    channels = 3
    source = "where the weights, and these figures, come from"

Every key may be left out; ``mean`` and ``std`` go together.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.sources import Normalisation

_KEYS = ("mean", "std", "size", "channels", "source")


@dataclass(frozen=True)
class Stated:
    """What the file says; None or empty where it says nothing."""

    normalisation: Normalisation | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    source: str = ""


def sidecar_of(path: Path) -> Path:
    """The name of the TOML file beside a file of weights."""
    return path.with_name(path.name + ".toml")


def read_sidecar(path: Path) -> Stated:
    """Read what is stated of the weights at `path`; nothing where there is no such TOML file.

    Raises
    ------
    NetworkError
        If the TOML file cannot be read, or a key or value is wrong; the message names it.
    """
    file = sidecar_of(path)
    try:
        found = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return Stated()
    except OSError as error:
        raise NetworkError(
            say("{file} cannot be read: {reason}.", file=file, reason=error.strerror or error)
        ) from error
    except UnicodeDecodeError as error:
        raise NetworkError(say("{file} is not UTF-8 text. Save it as UTF-8.", file=file)) from error
    except tomllib.TOMLDecodeError as error:
        raise NetworkError(say("{file} is not valid TOML: {error}.", file=file, error=error)) from error
    _refuse_unknown(file, found)
    channels = found.get("channels")
    if channels is not None and not _whole(channels, 1, 10_000):
        raise _wrong(file, "channels", say("a whole number from 1"))
    source = found.get("source", "")
    if not isinstance(source, str):
        raise _wrong(file, "source", say("a text in quotes"))
    size = found.get("size")
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(_whole(side, 1, 100_000) for side in size)
    ):
        raise _wrong(file, "size", say("[height, width] in px"))
    return Stated(
        _normalisation(file, found, channels), None if size is None else (size[0], size[1]), channels, source
    )


def _normalisation(file: Path, found: Mapping[str, Any], channels: int | None) -> Normalisation | None:
    if "mean" not in found and "std" not in found:
        return None
    if "mean" not in found or "std" not in found:
        raise NetworkError(say("{file}: mean and std go together, but only one of them is there.", file=file))
    mean, std = (_numbers(file, key, found[key], channels) for key in ("mean", "std"))
    if len(mean) != len(std):
        raise NetworkError(
            say(
                "{file}: mean has {means} numbers and std {stds}: one number a channel is needed in both.",
                file=file,
                means=len(mean),
                stds=len(std),
            )
        )
    if min(std) <= 0:
        raise _wrong(file, "std", say("above 0"))
    return Normalisation(mean, std)


def _numbers(file: Path, key: str, value: Any, channels: int | None) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value] * (channels or 1)
    good = values and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if not good:
        raise _wrong(file, key, say("a number, or a list with one number a channel"))
    if channels is not None and len(values) != channels:
        raise _wrong(file, key, say("one number for each of the {channels} channels", channels=channels))
    return tuple(float(v) for v in values)


def _refuse_unknown(file: Path, found: Mapping[str, Any]) -> None:
    for key in found:
        if key in _KEYS:
            continue
        close = difflib.get_close_matches(key, _KEYS, 1)
        if close:
            raise NetworkError(
                say(
                    "{file}: the key '{key}' is unknown; did you mean '{meant}'?",
                    file=file,
                    key=key,
                    meant=close[0],
                )
            )
        raise NetworkError(
            say(
                "{file}: the key '{key}' is unknown; known are {known}.",
                file=file,
                key=key,
                known=", ".join(_KEYS),
            )
        )


def _wrong(file: Path, key: str, wanted: str) -> NetworkError:
    return NetworkError(say("{file}: {key} must be {wanted}.", file=file, key=key, wanted=wanted))


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
