"""Whether a folder of wheels holds all that is needed on the target, by the wheels' own metadata."""

from __future__ import annotations

import email
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from mikata.language import say
from mikata.offline.errors import CollectError


@dataclass(frozen=True)
class Wheel:
    """A wheel's file, its name in the one spelling that compares, its version and what it asks for."""

    path: Path
    name: str
    version: Version
    requires: tuple[Requirement, ...]


@dataclass(frozen=True)
class Closure:
    """The wheels that are needed on the target, and the requirements that none of them meets."""

    needed: frozenset[str]
    missing: tuple[Requirement, ...]


def read(path: Path) -> Wheel:
    """Read a wheel's metadata.

    Raises
    ------
    CollectError
        If the file is no wheel.
    """
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as content:
            (place,) = (
                n for n in content.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1
            )
            headers = email.message_from_bytes(content.read(place))
        requires = tuple(Requirement(text) for text in headers.get_all("Requires-Dist", []))
    except (InvalidWheelFilename, InvalidRequirement, zipfile.BadZipFile, ValueError, OSError) as error:
        raise CollectError(
            say("{path} is not a readable wheel ({reason}). Fetch it again.", path=path, reason=error)
        ) from error
    return Wheel(path, name, version, requires)


def read_all(folder: Path) -> dict[str, Wheel]:
    """The wheels of a folder by name.

    Raises
    ------
    CollectError
        If one is unreadable, or two are of the same package.
    """
    found: dict[str, Wheel] = {}
    for path in sorted(folder.glob("*.whl")):
        wheel = read(path)
        if wheel.name in found:
            raise CollectError(
                say(
                    "There are two wheels of the same package: {one} and {other}.",
                    one=found[wheel.name].path.name,
                    other=path.name,
                )
            )
        found[wheel.name] = wheel
    return found


def follow(
    wheels: Mapping[str, Wheel], roots: Iterable[str], environments: Iterable[Mapping[str, str]]
) -> Closure:
    """Follow the requirements of packages through the wheels.

    Parameters
    ----------
    wheels:
        All wheels that there are, by name.
    roots:
        The packages that are to be installed.
    environments:
        Values of the environment markers; a requirement counts if it does in one of them.
    """
    known = [dict(environment) for environment in environments]
    todo, seen = [(str(root), "") for root in roots], set[tuple[str, str]]()
    missing: dict[str, Requirement] = {}
    while todo:
        step = todo.pop()
        if step in seen:
            continue
        seen.add(step)
        name, extra = step
        for requirement in wheels[name].requires:
            marker = requirement.marker
            if marker and not any(marker.evaluate(values | {"extra": extra}) for values in known):
                continue
            wanted = canonicalize_name(requirement.name)
            wheel = wheels.get(wanted)
            if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
                missing[str(requirement)] = requirement
            else:
                todo += [(wanted, ""), *((wanted, more) for more in requirement.extras)]
    return Closure(frozenset(name for name, _ in seen), tuple(missing.values()))
