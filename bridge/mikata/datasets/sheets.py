"""Tables as spreadsheets write them: encodings, separators, spellings of headers and files."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from mikata.errors import DataError
from mikata.language import say


def sheet_lines(path: Path) -> list[list[str]]:
    """All lines of a CSV, cells as they are written; the header is the first, and may be missing.

    UTF-8 with or without byte order mark, UTF-16 with one (Excel's "Unicode text"), and CP932
    (Japanese Excel) are read; cells are separated by commas, tabs or semicolons.

    Raises
    ------
    DataError
        If the file cannot be read, or is no such table.
    """
    text = _decode(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(
            say(
                "{path}, line {line}: it cannot be read as a table ({reason}). A quotation mark may be "
                "open or stand inside a cell: save the table anew from the spreadsheet.",
                path=path,
                line=reader.line_num,
                reason=error,
            )
        ) from error


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            say("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error)
        ) from error
    codes = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp932")
    for code in codes:
        try:
            text = data.decode(code)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise DataError(
        say("{path} is not a text table: save it from the spreadsheet as 'CSV UTF-8'.", path=path)
    )


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",\t;", key=header.count)


def one_width(cell: str) -> str:
    """A cell with its full-width letters and digits made plain, without spaces around it."""
    return unicodedata.normalize("NFKC", cell).strip()


def column_name(cell: str) -> str:
    """A header's cell as it is compared: case, spaces and full-width letters do not matter."""
    return "_".join(unicodedata.normalize("NFKC", cell).casefold().split())


def located(folder: Path, text: str) -> Path:
    """The file a cell names; the first spelling that exists, else the one written.

    A table from Windows has backslashes, and names that went through a Mac have their accents and
    sound marks as separate characters, in the table or on the disk.
    """
    for candidate in _spellings(folder, text):
        if candidate.exists():
            return candidate
    return folder / text


def _spellings(folder: Path, text: str) -> Iterator[Path]:
    for written in dict.fromkeys((text, PureWindowsPath(text).as_posix())):
        for form in (None, "NFC", "NFD"):
            yield folder / (unicodedata.normalize(form, written) if form else written)
