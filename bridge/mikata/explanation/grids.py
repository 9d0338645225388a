"""Named grids of rectangles as regions: for films without drawn regions, the same for images of any size."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mikata.errors import RegionError
from mikata.explanation.region_sets import Part, RegionSet
from mikata.language import say

CHEST = "chest"
_MOST = 4096

_CHEST_ROWS = ("upper", "lower")
_CHEST_COLUMNS = ("right lung", "mediastinum", "left lung")


@dataclass(frozen=True)
class Grid:
    """`rows` x `columns` rectangles that fill the image; `chest` names them after a frontal chest film."""

    rows: int
    columns: int
    chest: bool = False

    def __str__(self) -> str:
        return f"{CHEST} {self.rows}x{self.columns}" if self.chest else f"{self.rows}x{self.columns}"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rectangles, row by row."""
        if self.chest:  # as a film is hung: the patient's right is on the image's left
            return tuple(f"{row} {column}" for row in _CHEST_ROWS for column in _CHEST_COLUMNS)
        return tuple(
            f"row {row} column {column}"
            for row in range(1, self.rows + 1)
            for column in range(1, self.columns + 1)
        )

    def over(self, shape: tuple[int, int], where: str) -> RegionSet:
        """The rectangles of an image of (height, width); every pixel is in exactly one of them.

        Where the size is no multiple, borders are rounded to whole pixels (halves up).

        Raises
        ------
        RegionError
            If the image has fewer pixels than the grid has rows or columns; `where` names the image.
        """
        if shape[0] < self.rows or shape[1] < self.columns:
            raise RegionError(
                say(
                    "{image} of {height} x {width} px is too small for the grid {grid}.",
                    image=where,
                    height=shape[0],
                    width=shape[1],
                    grid=self,
                )
            )
        down, across = (
            np.floor(np.arange(count + 1) * size / count + 0.5).astype(int)
            for count, size in zip((self.rows, self.columns), shape, strict=True)
        )
        boxes = [
            (down[r], down[r + 1], across[c], across[c + 1])
            for r in range(self.rows)
            for c in range(self.columns)
        ]
        return RegionSet(
            shape,
            tuple(
                Part(name, int(top), int(left), np.ones((bottom - top, right - left), bool))
                for name, (top, bottom, left, right) in zip(self.names, boxes, strict=True)
            ),
        )


def grid_of(text: str) -> Grid | None:
    """The grid that a text names: ``chest`` or ``chest 2x3``, ``3x3``, ``RxC``; None where it names none.

    Raises
    ------
    RegionError
        If it is a grid that cannot be: no rows, too many, or a chest of another division than 2 x 3.
    """
    found = re.fullmatch(r"(?i)\s*(chest)?[\s:_-]*(?:(\d+)\s*[x×]\s*(\d+))?\s*", text)
    if not found or not (found[1] or found[2]):
        return None
    if found[1]:
        if found[2] and (int(found[2]), int(found[3])) != (2, 3):
            raise RegionError(
                say(
                    "The chest grid has 2 rows and 3 columns (right lung, mediastinum, left lung), not "
                    "{rows}x{columns}. Write chest 2x3, or {rows}x{columns} alone for a grid without names.",
                    rows=found[2],
                    columns=found[3],
                )
            )
        return Grid(2, 3, chest=True)
    rows, columns = int(found[2]), int(found[3])
    if not (rows and columns) or rows * columns > _MOST:
        raise RegionError(
            say(
                "A grid has at least 1 row and 1 column and up to {most} cells, not {rows}x{columns}.",
                most=_MOST,
                rows=rows,
                columns=columns,
            )
        )
    return Grid(rows, columns)
