"""Mikata in a user's Fiji: its menu scripts and a file that names this Python, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from mikata.errors import ImageJError, OutputError
from mikata.imagej import scripts
from mikata.imagej.fiji import is_fiji
from mikata.language import LANGUAGES, say, speaking
from mikata.outputs import written_folder

_PLACE = Path("scripts") / "Plugins" / "Mikata"
_OLDEST_APPOSE = (0, 9)
_OLDEST_JAVA = 11


@dataclass(frozen=True)
class Installed:
    """What a Fiji says of the Mikata in it; `fits` where it is this one, from this Python."""

    version: str
    python: str
    language: str
    fingerprint: str

    @property
    def fits(self) -> bool:
        """Whether menu and Python belong together, and are these."""
        return self.fingerprint == scripts.fingerprint() and self.is_this_python

    @property
    def is_this_python(self) -> bool:
        """Whether it names the environment that runs now (python, python3 and python3.12 are one there)."""
        return Path(self.python).parent == Path(sys.executable).parent


def install(fiji: Path, language: str) -> Path:
    """Put the menu into a Fiji; the folder that was written.

    An earlier Mikata there is replaced in one step. Files of the user's own in its folder are kept.

    Parameters
    ----------
    fiji:
        The folder that holds Fiji's ``jars``; on a Mac also the application, on any system also the launcher.
    language:
        One of `mikata.language.LANGUAGES`: of dialogs, messages and reports.

    Raises
    ------
    ImageJError
        If it is no Fiji, or one that is too old.
    OutputError
        If it cannot be written.
    """
    if language not in LANGUAGES:
        raise ImageJError(
            say("The language must be one of {known}, not {name}.", known=", ".join(LANGUAGES), name=language)
        )
    root = find(fiji)
    refuse_old(root)
    place = root / _PLACE
    own = _own_files(place)
    if taken := [file for file in own if file.relative_to(place).as_posix() in scripts.scripts()]:
        raise OutputError(
            say(
                "{file} has the name of a command of Mikata's, but was not written by it. Rename or move it.",
                file=taken[0],
            )
        )
    with written_folder(place) as folder, speaking(language):
        for name, text in scripts.scripts().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        shutil.copyfile(scripts.folder() / scripts.SUPPORT, folder / scripts.SUPPORT)
        (folder / scripts.MENU).write_text(scripts.menu(language), encoding="ascii", newline="\n")
        for file in own:
            target = folder / file.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    return place


def uninstall(fiji: Path) -> list[Path]:
    """Take the menu out of a Fiji; what stays in its folder because it is not Mikata's.

    Raises
    ------
    ImageJError
        If it is no Fiji, or has no Mikata in it.
    OutputError
        If something cannot be deleted.
    """
    place = find(fiji) / _PLACE
    if not (place / scripts.MENU).is_file():
        raise ImageJError(say("There is no Mikata in the Fiji at {folder}.", folder=place.parents[2]))
    kept = _own_files(place)
    try:
        if not kept:
            shutil.rmtree(place)
        else:
            for file in [f for f in place.rglob("*") if f.is_file() and f not in kept]:
                file.unlink()
            for inner in sorted((f for f in place.rglob("*") if f.is_dir()), reverse=True):
                if not any(inner.iterdir()):
                    inner.rmdir()
    except OSError as error:
        raise OutputError(
            say("{path} cannot be deleted: {reason}.", path=place, reason=error.strerror or error)
        ) from error
    return kept


def _own_files(place: Path) -> list[Path]:
    """Files in Mikata's folder that Mikata has not put there."""
    if not place.is_dir():
        return []
    return [
        file
        for file in place.rglob("*")
        if file.is_file()
        and file.relative_to(place).as_posix() not in (scripts.SUPPORT, scripts.MENU)
        and not (file.suffix == ".groovy" and scripts.is_generated(file))
    ]


def installed(fiji: Path) -> Installed | None:
    """What is in a Fiji; None where there is no Mikata.

    Raises
    ------
    ImageJError
        If it is no Fiji, or the file that should say it is damaged.
    """
    file = find(fiji) / _PLACE / scripts.MENU
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text("utf-8"))
        return Installed(said["version"], said["python"], said["language"], said["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageJError(
            say("{file} is damaged: install Mikata into this Fiji once more.", file=file)
        ) from error


def status(fiji: Path) -> tuple[str, bool]:
    """How a Fiji and this Python stand to each other, in a sentence, and whether all is well.

    Raises
    ------
    ImageJError
        As `installed`.
    """
    root, found = find(fiji), installed(fiji)
    if found is None:
        return (
            say(
                'The Fiji at {folder} has no Mikata. To put it in, type: mikata fiji install --fiji "{folder}"',
                folder=root,
            ),
            False,
        )
    facts = {"folder": root, "version": found.version, "python": found.python, "language": found.language}
    if found.fits:
        return say(
            "The Fiji at {folder} has Mikata {version} ({language}), with the Python at {python}.", **facts
        ), True
    if not Path(found.python).is_file():
        return say(
            "The Fiji at {folder} has Mikata {version}, but there is no Python at {python} any more. Install anew.",
            **facts,
        ), False
    if not found.is_this_python:
        return say(
            "The Fiji at {folder} has Mikata {version}, with another Python than this one: {python}.", **facts
        ), False
    return (
        say(
            "Fiji and Python are out of step: the Fiji at {folder} has a menu of Mikata {version} that is not this one's. Install anew.",
            **facts,
        ),
        False,
    )


def find(given: Path) -> Path:
    """The folder with Fiji's jars, from whatever a user names: it, the Mac's application, or the launcher.

    Raises
    ------
    ImageJError
        If there is no Fiji.
    """
    given = given.expanduser().resolve()
    places = [given]
    if given.is_file() or given.suffix == ".app":
        places += [given.parent, *given.parents[1:4]]  # Fiji/Fiji.app/Contents/MacOS/launcher
    for place in places:
        if is_fiji(place):
            return place
    if not given.exists():
        raise ImageJError(say("There is no folder {folder}.", folder=given))
    for inside in (given / "Fiji.app", given / "Fiji"):
        if is_fiji(inside):
            raise ImageJError(
                say(
                    "{folder} is no Fiji, but there is one in it. Do you mean {inside}?",
                    folder=given,
                    inside=inside,
                )
            )
    raise ImageJError(
        say(
            "{folder} is no Fiji: it has no ij and imagej-legacy among its jars. Name the folder in which Fiji's "
            "folder 'jars' is.",
            folder=given,
        )
    )


def refuse_old(root: Path) -> None:
    """Raise `ImageJError` where a Fiji lacks what the menu needs."""
    missing = [
        name for name in ("groovy", "scijava-common") if not any((root / "jars").glob(f"{name}-*.jar"))
    ]
    versions = [_version(jar.name) for jar in (root / "jars").glob("appose-*.jar")]
    java = _java_of(root)
    reasons = []
    if missing:
        reasons.append(say("{names} is missing", names=", ".join(missing)))
    if not versions or max(versions) < _OLDEST_APPOSE:
        reasons.append(say("it has no Appose 0.9 or newer"))
    if java is not None and java < _OLDEST_JAVA:
        reasons.append(say("its Java is version {version}", version=java))
    if reasons:
        raise ImageJError(
            say(
                "The Fiji at {folder} is too old ({reasons}). Mikata's menu needs a Fiji of 2025 or newer, with Java "
                "{java} or newer and Appose: use Help > Update... in it, or a new one. Without the menu, "
                "'mikata imagej --fiji DIR' works with it.",
                folder=root,
                reasons=", ".join(reasons),
                java=_OLDEST_JAVA,
            )
        )


def _version(name: str) -> tuple[int, ...]:
    found = re.search(r"-(\d+)\.(\d+)", name)
    return (int(found[1]), int(found[2])) if found else (0,)


def _java_of(root: Path) -> int | None:
    """Major version of the Java that comes with a Fiji; None where it brings none."""
    found = []
    for file in (root / "java").glob("*/**/release"):
        said = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', file.read_text("utf-8", errors="replace"))
        if said:
            found.append(int(said[1]))
    return max(found, default=None)
