"""Tables and plots to ImageJ and back, headless."""

from __future__ import annotations

import math

import mikata.imagej
from mikata.imagej import tables
from mikata.types import Plot, Table

ij = mikata.imagej.start()
table = Table(
    "Predictions",
    ("Label", "class", "probability", "size_mm", "note"),
    (
        ("画像 1", "brick", 0.123456789, 3, None),
        ("b", "grass, wet", math.nan, -0.5, "a\tb"),
        ("c", "x", 1, 2, ""),
    ),
)
tables.to_results(table, headless=True)
tables.to_results(Table("more", ("probability", "extra"), ((0.5, True),)), headless=True)
assert ij.run_macro(
    'return "" + nResults + " " + getResultString("class", 0) + " " + getResultLabel(0);'
) == ("4 brick 画像 1")
assert float(ij.run_macro('return d2s(getResult("probability", 0), 9);')) == 0.123456789
back = tables.from_results()
assert back.columns == (*table.columns, "extra"), back.columns
assert back.rows[0][:5] == ("画像 1", "brick", 0.123456789, 3.0, None), back.rows[0]
# no figure is invented where a row has none
assert math.isnan(back.rows[0][5]), back.rows[0]
assert (back.rows[3][0], back.rows[3][1], back.rows[3][4]) == (None, None, None), back.rows[3]
assert math.isnan(back.rows[3][3]), back.rows[3]
assert math.isnan(back.rows[1][2])
assert back.rows[1][3] == -0.5
assert (back.rows[3][2], back.rows[3][5]) == (0.5, 1.0), back.rows[3]
ij.run_macro('run("Clear Results");')
assert tables.from_results() == Table("Results", (), ())

for series in (
    (("loss", (1.0, 2.0), (3.0, 1.5)), ("other", (1.0, 2.0), (math.nan, 1.0))),
    (),
    (("no", (), ()),),
):
    plot = ij.show(tables.to_plot(Plot("損失", "epoch", "loss", series)))
    assert plot.getImagePlus().getWidth() > 100
assert ij.current() is not None
