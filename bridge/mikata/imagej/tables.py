"""`Table` and `Plot` to ImageJ's Results table and plots, and tables back."""

from __future__ import annotations

import math
from typing import Any

import jpype
import numpy as np

from mikata.imagej.java import jclass
from mikata.types import Plot, Table


def to_results(table: Table, *, headless: bool) -> Any:
    """Put a table's rows into ImageJ's Results table, or into a table of their own.

    Headless the rows still go to the system's table, so that a macro's ``nResults`` and
    ``getResult`` find them (a table with a title of its own has no place without a window).

    Parameters
    ----------
    table:
        Cells are numbers, text, booleans (1 or 0) or None (empty).
    headless:
        Whether ImageJ has no windows.

    Returns
    -------
    ij.measure.ResultsTable
        The table that holds the rows.
    """
    results = jclass("ij.measure.ResultsTable")
    system = table.append or headless
    target = results.getResultsTable() if system else results()
    before = {name: _is_text(target, name) for name in _headings(target)}
    earlier = int(target.size())
    for row in table.rows:
        target.incrementCounter()
        for column, cell in zip(table.columns, row, strict=True):
            if column == "Label":  # ImageJ keeps the rows' names beside the columns
                target.addLabel("" if cell is None else str(cell))
            else:
                target.addValue(column, _cell(cell))
    # ImageJ shows 0 where a row has no value in a column of other rows, and 0 is a figure
    for name in before.keys() - set(table.columns):
        _empty(target, name, range(earlier, int(target.size())), text=before[name])
    for name in set(table.columns) - before.keys() - {"Label"}:
        _empty(target, name, range(earlier), text=_is_text(target, name))
    if not headless:
        target.show("Results" if system else table.title)
    return target


def _headings(target: Any) -> list[str]:
    # without rows ImageJ still names the columns of the table that was there before
    return [str(name) for name in target.getHeadings() if str(name) != "Label"] if int(target.size()) else []


def _is_text(target: Any, column: str) -> bool:
    return any(cell.getString() is not None for cell in target.getColumnAsVariables(column) or ())


def _empty(target: Any, column: str, rows: range, *, text: bool) -> None:
    for row in rows:
        target.setValue(column, row, jpype.JString("") if text else jpype.JDouble(math.nan))


def _cell(cell: Any) -> Any:
    if cell is None:
        return jpype.JString("")
    if isinstance(cell, (bool, np.bool_, int, float, np.integer, np.floating)):
        return jpype.JDouble(float(cell))
    return jpype.JString(str(cell))


def from_results(results: Any | None = None, title: str = "Results") -> Table:
    """A `Table` of ImageJ's table; None: the system's Results table.

    Numbers come back as float (NaN where there is none), text as str, empty text as None.
    """
    source = jclass("ij.measure.ResultsTable").getResultsTable() if results is None else results
    count = int(source.size())
    columns = [str(c) for c in source.getHeadings()] if count else []
    cells = [_column(source, column, count) for column in columns]
    return Table(title, tuple(columns), tuple(zip(*cells, strict=True)))


def _column(source: Any, column: str, count: int) -> list[Any]:
    if column == "Label":
        labels = [source.getLabel(row) for row in range(count)]
        return [None if label is None else str(label) for label in labels]
    cells: list[Any] = []
    for variable in source.getColumnAsVariables(column):
        text = variable.getString()
        cells.append(float(variable.getValue()) if text is None else str(text) or None)
    return cells


def to_plot(plot: Plot) -> Any:
    """ImageJ's Plot of lines, with a legend where there are several."""
    made = jclass("ij.gui.Plot")(plot.title, plot.x_label, plot.y_label)
    colours = ("blue", "red", "#009900", "magenta", "orange", "cyan", "black", "gray")
    for number, (_, xs, ys) in enumerate(plot.series):
        made.setColor(colours[number % len(colours)])
        made.setLineWidth(2)
        made.add("line", _doubles(xs), _doubles(ys))
    made.setColor("black")
    if len(plot.series) > 1:
        made.addLegend("\n".join(name for name, _, _ in plot.series))
    if any(math.isfinite(y) for _, _, ys in plot.series for y in ys):
        made.setLimitsToFit(True)
    return made


def _doubles(values: tuple[float, ...]) -> Any:
    return jpype.JArray(jpype.JDouble)([float(v) for v in values])
