"""What both folders share: ImageJ, the scripts for Fiji, texts from templates, the list of checksums."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template

from mikata.errors import OutputError
from mikata.language import say
from mikata.offline.errors import CollectError
from mikata.types import Progress

SUMS = "SHA256SUMS"
JARS = "jars"
SCRIPTS = "fiji_scripts"
README = "README.txt"
TEXTS = "texts"

_TEMPLATES = Path(__file__).parent / "files"


def refuse(folder: Path, made: Iterable[str], *, overwrite: bool) -> None:
    """Raise `OutputError` if a folder is there that may not be replaced.

    Parameters
    ----------
    folder:
        Where the result is to be.
    made:
        Names of what an earlier result holds; with anything else the folder is never replaced.
    overwrite:
        Whether an earlier result may be.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(say("{folder} is a file; give a folder.", folder=folder))
    there = {item.name for item in folder.iterdir()}
    if there and not overwrite:
        raise OutputError(
            say("{folder} is already there. Choose another folder, or let it be overwritten.", folder=folder)
        )
    if others := sorted(there - set(made)):
        raise OutputError(
            say(
                "{folder} holds other things than an earlier result ({names}), which replacing it would lose. "
                "Choose another folder.",
                folder=folder,
                names=", ".join(others[:5]),
            )
        )


def add_imagej(work: Path, progress: Progress) -> None:
    """Copy ImageJ's jars, checked, and the scripts for Fiji."""
    progress.step(say("Copy ImageJ"))
    from mikata.imagej.java import jars

    (work / JARS).mkdir()
    for jar in jars():
        shutil.copyfile(jar, work / JARS / jar.name)
    package = Path(__file__).parents[1]
    # the wheel carries them; in the source tree they have a place of their own
    scripts = next(
        (p for p in (package / "_data" / SCRIPTS, package.parents[1] / SCRIPTS) if p.is_dir()), None
    )
    if scripts is None:
        raise CollectError(
            say("The scripts for Fiji are missing from {folder}. Install Mikata again.", folder=package)
        )
    shutil.copytree(scripts, work / SCRIPTS, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


class _Text(Template):
    """A dollar sign means something in shell scripts."""

    delimiter = "@@"


def add_text(
    work: Path, template: str, values: Mapping[str, str], name: str = "", *, windows: bool = False
) -> None:
    """Write a text from its template, in the form that its readers on the target need."""
    text = _Text((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
    path = work / (name or template)
    path.parent.mkdir(exist_ok=True)
    # Windows: cmd needs CR LF to find its labels; a byte order mark tells an older Notepad that this is UTF-8,
    # and is a strange character in texts that cmd types
    encoding = "utf-8-sig" if windows and path.name == README else "utf-8"
    path.write_text(text, encoding=encoding, newline="\r\n" if windows else "\n")
    if path.suffix == ".sh":
        path.chmod(0o755)


def add_sums(work: Path, progress: Progress) -> int:
    """Write the checksums of all files, as sha256sum does; their size together."""
    paths = sorted(
        (path for path in work.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(work).as_posix(),
    )
    lines, total = [], 0
    for number, path in enumerate(paths):
        if number % 50 == 0:
            progress.step(say("Compute checksums"), number, len(paths))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(work).as_posix()}\n")
        total += path.stat().st_size
    (work / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")
    return total
