"""Mikata's own wheel, out of what runs here: the source tree built, or the installed files packed again."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from mikata.language import say
from mikata.offline import pip_process
from mikata.offline.errors import CollectError
from mikata.types import Progress

# Written by the one who installs, not by the one who makes the wheel.
_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}


def make(folder: Path, progress: Progress) -> Path:
    """Make the wheel of the running Mikata in a folder.

    Raises
    ------
    CollectError
        If it cannot be made.
    """
    try:
        installed = distribution("mikata")
    except PackageNotFoundError as error:
        raise CollectError(
            say(
                "Mikata runs here without being installed, so its wheel cannot be made. Install it with pip first."
            )
        ) from error
    progress.step(say("Make Mikata's own wheel"))
    source = _source(installed)
    return repack(installed, folder) if source is None else _build(source, folder, progress)


def _source(installed: Distribution) -> Path | None:
    """The source tree of an editable install."""
    said = json.loads(installed.read_text("direct_url.json") or "{}")
    if not said.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlparse(said["url"]).path))


def _build(source: Path, folder: Path, progress: Progress) -> Path:
    if not (source / "pyproject.toml").is_file():
        raise CollectError(
            say(
                "Mikata was installed from {folder}, which is not there any more. Install it again.",
                folder=source,
            )
        )
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip_process.build(["--no-deps", *isolation, str(source)], folder, progress)
    return next(folder.glob("mikata-*.whl"))


def repack(installed: Distribution, folder: Path) -> Path:
    """The wheel that an installed package came from, by its list of files.

    Raises
    ------
    CollectError
        If files are missing or not as they were installed.
    """
    name = installed.metadata["Name"]
    content: dict[str, bytes] = {}
    for file in installed.files or ():
        if file.is_absolute() or file.parts[0] == ".." or "__pycache__" in file.parts:
            continue  # start scripts and compiled files: made anew where the wheel is installed
        if file.parent.suffix == ".dist-info" and file.name in _INSTALLERS:
            continue
        try:
            data = file.read_binary()
        except OSError as error:
            raise _damaged(name, str(file)) from error
        if file.hash and file.hash.value != _digest(data, file.hash.mode):
            raise _damaged(name, str(file))
        content[file.as_posix()] = data
    place = next((n.removesuffix("/WHEEL") for n in content if n.endswith(".dist-info/WHEEL")), None)
    if place is None:
        raise _damaged(name, "WHEEL")
    path = folder / f"{place.removesuffix('.dist-info')}-{_tag(content[f'{place}/WHEEL'].decode())}.whl"
    record = [f"{n},sha256={_digest(data, 'sha256')},{len(data)}" for n, data in content.items()]
    record.append(f"{place}/RECORD,,")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for n, data in content.items():
            packed.writestr(n, data)
        packed.writestr(f"{place}/RECORD", "\n".join(record) + "\n")
    return path


def _digest(data: bytes, algorithm: str) -> str:
    """A checksum as wheels write it."""
    return base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode("ascii")


def _tag(wheel: str) -> str:
    """``py3-none-any`` out of the lines of a WHEEL file, of which there may be one for each platform."""
    tags = [
        line.removeprefix("Tag:").strip().split("-") for line in wheel.splitlines() if line.startswith("Tag:")
    ]
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))


def _damaged(name: str, file: str) -> CollectError:
    return CollectError(
        say(
            "The installed {name} is not as it was installed ({file} is missing or changed), so no wheel is made "
            "of it. Install it again.",
            name=name,
            file=file,
        )
    )
