"""Which images of a table have a certain value in a column, such as a part of the data without a known flaw."""

from __future__ import annotations

from pathlib import Path

from mikata.datasets.sheets import column_name, located, one_width, sheet_lines
from mikata.errors import DataError, ParameterError
from mikata.language import say


def files_where(path: Path, condition: str) -> frozenset[Path]:
    """Files of the rows of a table (CSV, with a column ``file``) that meet ``column=value``.

    The column may be any. Case, spaces and width do not matter in its name, nor width and outer spaces in the value.

    Raises
    ------
    ParameterError
        If the condition is not of that form.
    DataError
        If there is no such column, or no row has the value.
    """
    column, sign, value = (part.strip() for part in condition.partition("="))
    if not (column and sign and value):
        raise ParameterError(
            say(
                "subset is a column of the table and its value, such as origin_balanced=1, not '{text}'.",
                text=condition,
            )
        )
    lines = sheet_lines(path)
    names = [column_name(cell) for cell in lines[0]]
    if column_name(column) not in names:
        raise DataError(
            say(
                "{path} has no column '{name}' for the subset; it has {columns}.",
                path=path,
                name=column,
                columns=", ".join(cell.strip() for cell in lines[0]),
            )
        )
    at, file_at = names.index(column_name(column)), names.index("file")
    cells = [
        (line[file_at].strip(), one_width(line[at])) for line in lines[1:] if len(line) > max(at, file_at)
    ]
    found = frozenset(located(path.parent, file) for file, cell in cells if cell == one_width(value))
    if not found:
        raise DataError(
            say(
                "No row of {path} has {value} in the column '{name}'; it has {values}.",
                path=path,
                value=value,
                name=column,
                values=", ".join(sorted({cell for _, cell in cells if cell})[:6]),
            )
        )
    return found
