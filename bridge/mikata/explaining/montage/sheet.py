"""The sheet of a montage: tiles in rows, captions, a scale of the heat and what it all is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from mikata.errors import ParameterError
from mikata.explanation.display import lut as table_of
from mikata.language import say

LARGEST = 150_000_000
"""Pixels of a montage: 450 MB, which most programs still open."""

# the paper shows beside images that are not square: black would look like a part of a film
_PAPER, _INK, _WRONG = (255, 255, 255), (0, 0, 0), (170, 0, 0)


@dataclass(frozen=True, eq=False)
class Tile:
    """A case as it is drawn.

    Attributes
    ----------
    pictures:
        Original, heat and contours, each (h, w, 3), no side longer than a tile's.
    caption:
        What is written under them.
    wrong:
        Whether the caption is written in the colour of errors.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    caption: str
    wrong: bool = False


@dataclass(frozen=True, eq=False)
class Column:
    """Cases under one heading."""

    heading: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Legend:
    """What stands around the tiles.

    Attributes
    ----------
    titles:
        Of the three pictures.
    lut, maximum:
        Of the scale; without heat (0) there is none.
    scale:
        What the scale is of.
    lines:
        Sentences below.
    """

    titles: tuple[str, ...]
    lut: str
    maximum: float
    scale: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Where things are, in px.

    Attributes
    ----------
    tile:
        Width of a tile.
    tile_height:
        Of the highest picture.
    columns:
        For each `Column` how many cases stand beside each other.
    rows:
        Of cases.
    letters:
        Height of the letters.
    caption_lines:
        Room for each caption.
    """

    tile: int
    tile_height: int
    columns: tuple[int, ...]
    rows: int
    letters: int
    caption_lines: int

    @property
    def gap(self) -> int:
        """Between tiles of a case; between cases four of it, between columns eight."""
        return max(2, self.tile // 64)

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return math.ceil(1.35 * self.letters)

    @property
    def case_width(self) -> int:
        """Three tiles."""
        return 3 * self.tile + 2 * self.gap

    @property
    def case_height(self) -> int:
        """Tiles, caption and the space below."""
        return self.tile_height + self.gap + self.caption_lines * self.line + 3 * self.gap

    @property
    def margin(self) -> int:
        """Around everything."""
        return 4 * self.gap

    @property
    def head(self) -> int:
        """Height of the headings and of the titles of the pictures."""
        return self.margin + 2 * self.line + self.gap

    def column_left(self, column: int) -> int:
        """Where a column begins."""
        left = self.margin
        for count in self.columns[:column]:
            left += count * self.case_width + (count - 1) * 4 * self.gap + 8 * self.gap
        return left

    @property
    def width(self) -> int:
        """Of the sheet."""
        return self.column_left(len(self.columns)) - 8 * self.gap + self.margin

    def corner(self, column: int, number: int, picture: int) -> tuple[int, int]:
        """Row and column in px of the upper left corner of a tile; `number` counts the column's cases from 0."""
        row, beside = divmod(number, self.columns[column])
        left = self.column_left(column) + beside * (self.case_width + 4 * self.gap)
        return self.head + row * self.case_height, left + picture * (self.tile + self.gap)


def layout(columns: Sequence[Column], tile: int, beside: int, font_path: Path) -> Layout:
    """Arrange the cases: `beside` of them in a row, shared by the columns, at least one each.

    Raises
    ------
    ParameterError
        If the sheet would be larger than `LARGEST`.
    """
    each = max(1, beside // len(columns))
    most = max(len(column.tiles) for column in columns)
    counts = tuple(min(each, max(1, most)) for _ in columns)
    rows = math.ceil(most / counts[0])
    letters = max(9, round(tile / 15))
    high = max(picture.shape[0] for column in columns for one in column.tiles for picture in one.pictures)
    plain = Layout(tile, high, counts, rows, letters, 1)
    font = ImageFont.truetype(font_path, letters)
    lines = max(
        (len(wrapped(one.caption, font, plain.case_width)) for column in columns for one in column.tiles),
        default=1,
    )
    made = Layout(tile, high, counts, rows, letters, lines)
    height = made.head + rows * made.case_height
    if made.width * height > LARGEST:
        raise ParameterError(
            say(
                "The montage would be {width} x {height} px: take a smaller tile_px or limit.",
                width=made.width,
                height=height,
            )
        )
    return made


def wrapped(words: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines no wider than `width` px, broken at spaces, or anywhere where there are none."""
    lines: list[str] = []
    line = ""
    for word in words.split(" "):
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def sheet(
    columns: Sequence[Column], legend: Legend, *, tile: int, beside: int, font_path: Path
) -> tuple[NDArray[np.uint8], Layout]:
    """Draw a montage.

    Parameters
    ----------
    columns:
        One, or several beside each other.
    tile:
        Side of a tile in px.
    beside:
        Cases in a row.
    font_path:
        A font file that has the letters of all words.

    Returns
    -------
    array, Layout
        (height, width, 3), and where the tiles are in it.

    Raises
    ------
    ParameterError
        If it would be larger than `LARGEST`.
    """
    plan = layout(columns, tile, beside, font_path)
    font = ImageFont.truetype(font_path, plan.letters)
    room = plan.width - 2 * plan.margin
    bar = plan.letters
    lines = [part for line in legend.lines for part in wrapped(line, font, room)]
    scale_words = wrapped(legend.scale, font, room) if legend.maximum > 0 else []
    foot = len(scale_words) * plan.line + (bar + plan.line + 2 * plan.gap if scale_words else 0)
    tiles_end = plan.head + plan.rows * plan.case_height
    height = tiles_end + foot + len(lines) * plan.line + plan.margin
    canvas = Pillow.new("RGB", (plan.width, height), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for at, column in enumerate(columns):
        pen.text((plan.column_left(at), plan.margin), column.heading, _INK, font)
        for number in range(min(plan.columns[at], len(column.tiles))):
            for picture, title in enumerate(legend.titles):
                _, left = plan.corner(at, number, picture)
                pen.text((left, plan.margin + plan.line), title, _INK, font)
        for number, one in enumerate(column.tiles):
            top, left = plan.corner(at, number, 0)
            top += one.pictures[0].shape[0] + plan.gap  # right under the picture, though it be less high
            for line, words in enumerate(wrapped(one.caption, font, plan.case_width)):
                ink = _WRONG if one.wrong else _INK
                pen.text((left, top + line * plan.line), words, ink, font)
    top = tiles_end
    for words in scale_words:
        pen.text((plan.margin, top), words, _INK, font)
        top += plan.line
    bar_top, bar_width = top + plan.gap, min(room, 2 * tile)
    if scale_words:
        upper = f"{legend.maximum:.3g}"
        top = bar_top + bar
        pen.text((plan.margin, top), "0", _INK, font)
        pen.text((plan.margin + bar_width - font.getlength(upper), top), upper, _INK, font)
        top += plan.line + plan.gap
    for words in lines:
        pen.text((plan.margin, top), words, _INK, font)
        top += plan.line
    pixels = np.array(canvas)
    if scale_words:
        ramp = table_of(legend.lut)[np.rint(np.linspace(0, 255, bar_width)).astype(np.intp)]
        pixels[bar_top : bar_top + bar, plan.margin : plan.margin + bar_width] = ramp
    for at, column in enumerate(columns):
        for number, one in enumerate(column.tiles):
            for picture, content in enumerate(one.pictures):
                y, x = plan.corner(at, number, picture)
                rows, width = content.shape[:2]
                pixels[y : y + rows, x : x + width] = content
    return pixels, plan
