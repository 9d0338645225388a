"""Writing results: every file complete or not there at all, none replaced unasked.

Tables are CSV in UTF-8 with a byte order mark, which is what Excel needs to show names in Japanese.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mikata.errors import OutputError
from mikata.language import say
from mikata.types import Table


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    Raises
    ------
    OutputError
        If the disk is full or the folder cannot be written; `path` is then as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(
            say("{path} cannot be written: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o666 & ~_umask())  # mkstemp makes files private; results are ordinary files
        beside.replace(path)
    except OSError as error:
        raise OutputError(
            say("{path} cannot be written: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def probe(folder: Path) -> None:
    """Raise `OutputError` at once where a long run would find out at its end that nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".mikata-", dir=folder)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise OutputError(
            say(
                "The folder {folder} cannot be written: {reason}.",
                folder=folder,
                reason=error.strerror or error,
            )
        ) from error


@contextmanager
def written_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends without an error.

    Raises
    ------
    OutputError
        If it cannot be written; `folder` is then as it was.
    """
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.parent))
        yield beside
        beside.chmod(0o777 & ~_umask())  # mkdtemp makes folders private; results are ordinary ones
        _take_place(beside, folder)
    except OSError as error:
        raise OutputError(
            say("{folder} cannot be written: {reason}.", folder=folder, reason=error.strerror or error)
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def written_pair(folder: Path, file: Path) -> Iterator[tuple[Path, Path]]:
    """A temporary folder and file that take the places of `folder` and `file` together when the block ends without an error.

    Parameters
    ----------
    folder, file:
        In the same folder.

    Raises
    ------
    OutputError
        If one of them cannot be written; both are then as they were.
    """
    aside: Path | None = None
    lost = False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.parent))
        made = aside / "new"
        made.mkdir()
        made_file = aside / f"new{file.suffix}"
        yield made, made_file
        places = ((folder, made, aside / "old"), (file, made_file, aside / f"old{file.suffix}"))
        moves = [move for at, new, old in places for move in ((at, old), (new, at))]
        done: list[tuple[Path, Path]] = []
        try:
            for come, go in moves:
                if come.exists():  # nothing need be there before
                    come.replace(go)
                    done.append((come, go))
        except BaseException:  # also where Ctrl-C came between two moves
            lost = True
            for come, go in reversed(done):
                go.replace(come)
            lost = False
            raise
    except OSError as error:
        raise OutputError(
            say("{folder} cannot be written: {reason}.", folder=folder, reason=error.strerror or error)
        ) from error
    finally:
        if aside is not None and not lost:  # else what was there before is in it
            shutil.rmtree(aside, ignore_errors=True)


def _take_place(beside: Path, folder: Path) -> None:
    """Put a folder where another may be; that one is deleted only once the new one is there."""
    if not folder.exists():
        beside.replace(folder)
        return
    # a folder cannot be replaced in one step: the old one is kept aside meanwhile
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-old-", dir=folder.parent))
    old = aside / folder.name
    try:
        folder.replace(old)
        beside.replace(folder)
    finally:  # also where Ctrl-C came between the two
        if old.exists() and not folder.exists():
            old.replace(folder)
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def first_few(words: Sequence[str], most: int = 5) -> str:
    """The first of many words, and how many more there are, for messages that must stay readable."""
    more = say("; and {count} more", count=len(words) - most) if len(words) > most else ""
    return "; ".join(words[:most]) + more


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text, whole or not at all."""
    with written(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_csv(path: Path, table: Table) -> Path:
    """Write a table as CSV: UTF-8 with a byte order mark, numbers with a decimal point."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows([["" if cell is None else cell for cell in row] for row in table.rows])
    with written(path) as beside:
        beside.write_text(buffer.getvalue(), encoding="utf-8-sig", newline="")
    return path


class ResultFolder:
    """A folder that takes a command's results; it never replaces a file unasked.

    Parameters
    ----------
    folder:
        Made when it is not there.
    overwrite:
        Whether files of the same names may be replaced.
    protected:
        Files that are never replaced: what the command works on.

    Raises
    ------
    OutputError
        If it is not a folder, cannot be made or cannot be written.
    """

    def __init__(self, folder: Path, overwrite: bool, protected: Iterable[Path | None] = ()) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self._taken: set[str] = set()
        # by the file and not its name: one file has many paths
        self._protected = {_identity(path) for path in protected if path is not None and path.exists()}
        if folder.exists() and not folder.is_dir():
            raise OutputError(say("{folder} is a file; give a folder for the results.", folder=folder))
        probe(folder)

    def path(self, name: str) -> Path:
        """Where a file of that name goes."""
        path = self.folder / name
        if path.exists() and _identity(path) in self._protected:
            raise OutputError(
                say("{path} is one of the images that were given. Choose another folder.", path=path)
            )
        if path.exists() and not self.overwrite:
            raise OutputError(
                say(
                    "{path} is already there. Choose another folder, or let the command overwrite it.",
                    path=path,
                )
            )
        return path

    def reserve(self, names: Iterable[str]) -> None:
        """Refuse at once if any of these files is there and may not be replaced."""
        for name in names:
            self.path(name)

    def clear(self, names: Iterable[str], kept: Iterable[Path]) -> None:
        """Remove those of the `names` that an earlier run has left and this one has not written: they are of other data.

        Only where files may be replaced.
        """
        if not self.overwrite:
            return
        written = {path.name for path in kept}
        for name in names:
            if name not in written:
                (self.folder / name).unlink(missing_ok=True)

    def unique(self, stem: str) -> str:
        """`stem` made safe as a file's name, numbered if an image of that name was there before."""
        safe = "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in stem).strip(" .") or "image"
        name, number = safe, 2
        while name.casefold() in self._taken:
            name, number = f"{safe} ({number})", number + 1
        self._taken.add(name.casefold())
        return name

    def write_table(self, name: str, table: Table) -> Path:
        """Write a table into the folder."""
        return write_csv(self.path(name), table)
