"""One picture of a system.

What the published code does (fractal_renderer/ifs_function.py, make_fractaldb.py, exe.sh): from the box as in the
search, dots of grey 127 on black, or of a colour that goes round the hues with the number of the point; a dot is
one pixel (``point``), or 3 x 3 pixels (``patch``), of which each is on or off by a number drawn from 1 to 511 anew
for every point, its upper left corner a pixel right of and above the point, later dots replacing earlier ones, off
pixels too. 1000 pictures a class: 25 rows of weights, 10 draws of the patches, 4 flips. 200,000 points at
362 pixels (exe.sh), or 100,000 at 512 (the defaults); 6 pixels of padding.

What is different here: each picture has an orbit of its own (there, one sequence of map numbers, seed 100, serves
all); weights with which a system runs away are left out for its class (there, such a picture is all but black); the
padding shrinks to 4 in pictures of less than 96 pixels.
"""

from __future__ import annotations

import colorsys
import functools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mikata.errors import ParameterError
from mikata.fractals.orbits import cells, orbit, thresholds
from mikata.fractals.streams import PICTURE, stream, uniform, words
from mikata.fractals.systems import WEIGHTS, System, check_seed
from mikata.language import say

GREY = 127
HUES = 128

Variation = Literal["weights", "perturbed"]
Dots = Literal["patch", "point"]

_SMALLEST, _LARGEST = 16, 16384
_MOST_POINTS = 10_000_000
_PERTURBATION = 0.2


@dataclass(frozen=True)
class Style:
    """How pictures are drawn.

    Attributes
    ----------
    size:
        Height and width in pixels, 16 to 16384.
    variation:
        How the pictures of a class differ. ``weights``, FractalDB's: picture i has the (i mod n)-th of the n rows
        of `WEIGHTS` that the system bears, and flip (i div n) mod 4 (none, top to bottom, left to right, both).
        ``perturbed``, for OFDB's one picture a class: picture 0 is the system itself, others show it stretched and
        sheared by the matrix 1 + E, E's four entries from U(-0.2, 0.2), and flipped at random.
    dots:
        ``patch``: 3 x 3 random pixels a point, or ``point``: one pixel.
    colour:
        Red, green and blue instead of grey.
    points:
        Points of the orbit, 1000 to 10 million.

    Raises
    ------
    ParameterError
        If one of them is out of its range.
    """

    size: tuple[int, int] = (224, 224)
    variation: Variation = "weights"
    dots: Dots = "patch"
    colour: bool = False
    points: int = 100_000

    def __post_init__(self) -> None:
        height, width = self.size
        if not (_SMALLEST <= height <= _LARGEST and _SMALLEST <= width <= _LARGEST):
            raise ParameterError(
                say(
                    "Formula pictures of {height} x {width} pixels cannot be drawn; each side must be from "
                    "{low} to {high}.",
                    height=height,
                    width=width,
                    low=_SMALLEST,
                    high=_LARGEST,
                )
            )
        for value, choices in ((self.variation, get_args(Variation)), (self.dots, get_args(Dots))):
            if value not in choices:
                raise ParameterError(
                    say(
                        "Formula pictures cannot be drawn as '{value}'; choose one of {choices}.",
                        value=value,
                        choices=", ".join(choices),
                    )
                )
        if not 1000 <= self.points <= _MOST_POINTS:
            raise ParameterError(
                say(
                    "A formula picture of {points} points cannot be drawn; give from {low} to {high}.",
                    points=self.points,
                    low=1000,
                    high=_MOST_POINTS,
                )
            )

    @property
    def padding(self) -> int:
        """Pixels left free on each side: the published 6, down to 4 in small pictures."""
        return max(4, min(6, min(self.size) // 16))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture's array: (height, width), with colour (height, width, 3)."""
        return (*self.size, 3) if self.colour else self.size


def picture(system: System, index: int, style: Style, seed: int) -> NDArray[np.uint8]:
    """Picture number `index` (from 0) of a class: a pure function of what is given.

    Returns
    -------
    (height, width) of 0 and 127, or (height, width, 3) with colour.

    Raises
    ------
    ParameterError
        If `index` or `seed` is negative.
    """
    check_seed(seed)
    if index < 0:
        raise ParameterError(say("There is no picture {index}: pictures count from 0.", index=index))
    source = stream(seed, PICTURE, system.number, index)
    maps = np.array(system.maps)
    cuts = thresholds(np.array(system.probabilities))
    row, flip, bend = 0, 0, None
    if style.variation == "weights":
        rows = system.variations
        row, flip = rows[index % len(rows)], index // len(rows) % 4
    elif index > 0:
        drawn = uniform(source, 5)
        flip = int(4 * drawn[0])
        bend = (np.eye(2) + _PERTURBATION * (2 * drawn[1:].reshape(2, 2) - 1)).astype(np.float32)
    points = orbit(maps * WEIGHTS[row], cuts, system.lead_ins[row], style.points, source)
    if bend is not None:
        # sums written out: a matrix product's last digit is another on another machine
        x, y = points
        points = np.stack([bend[0, 0] * x + bend[0, 1] * y, bend[1, 0] * x + bend[1, 1] * y])
    where = cells(points, style.size, style.padding)
    if style.dots == "point" and not style.colour:
        canvas = np.zeros(style.size, np.uint8)
        canvas.ravel()[where] = GREY
        return _turned(canvas, flip)
    if style.dots == "patch":
        masks = 1 + (words(source, style.points) * np.uint64(511) >> np.uint64(32)).astype(np.int32)
        drawn_by = _patches(where, style.size, masks)
    else:
        drawn_by = np.full(style.size, -1, np.int32)
        drawn_by.ravel()[where] = np.arange(style.points, dtype=np.int32)
    if style.colour:
        # the last row is black: for -1
        canvas = palette()[np.where(drawn_by < 0, HUES, drawn_by % HUES)]
    else:
        canvas = np.where(drawn_by < 0, np.uint8(0), np.uint8(GREY))
    return _turned(canvas, flip)


def _turned(canvas: NDArray[np.uint8], flip: int) -> NDArray[np.uint8]:
    """Flipped (1: top to bottom, 2: left to right); rows counted upwards until here."""
    return np.ascontiguousarray(canvas[:: 1 if flip & 1 else -1, :: -1 if flip & 2 else 1])


def _patches(where: NDArray[np.intp], size: tuple[int, int], masks: NDArray[np.int32]) -> NDArray[np.int32]:
    """Which point has drawn each pixel (height, width) with its patch of 3 x 3; -1 where none has, or it is off.

    Of all patches that cover a pixel the last counts. So for each of the nine places in a patch, the newest point
    whose patch has the pixel there is looked up, and the newest of the nine taken.
    """
    height, width = size
    newest = np.full(
        height * width, -16, np.int32
    )  # times 16, to have room for the place; below 0 with any place
    newest[where] = np.arange(0, 16 * len(where), 16, dtype=np.int32)
    newest = newest.reshape(size)
    best = np.full(size, -1, np.int32)
    for place in range(9):
        down, right = 1 + place // 3, 1 + place % 3
        covered = best[down:, right:]
        np.maximum(covered, newest[: height - down, : width - right] + np.int32(place), out=covered)
    point = best >> 4
    on = masks[point] >> (best & 15) & 1
    return np.where((best >= 0) & (on == 1), point, np.int32(-1))


@functools.cache
def palette() -> NDArray[np.uint8]:
    """The published colours (129, 3): 128 hues of saturation and value 0.75, blue first, and black."""
    hues = [
        [int(255 * part) for part in colorsys.hsv_to_rgb(i / HUES, 0.75, 0.75)[::-1]] for i in range(HUES)
    ]
    return np.array([*hues, [0, 0, 0]], np.uint8)
