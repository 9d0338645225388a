"""The first picture of each class side by side, for a look at what was drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mikata.fractals.drawing import Style, picture
from mikata.fractals.systems import System
from mikata.language import say
from mikata.types import Image

MOST = 25

_TILE = 224


def montage(systems: Sequence[System], style: Style, seed: int) -> Image:
    """Picture 0 of each of the first 25 systems, five in a row.

    Pictures of more than 224 pixels are drawn anew at 224 for it.
    """
    from mikata.images import from_array  # brings all file formats, which drawing processes do not need

    shown = systems[:MOST]
    height, width = (min(side, _TILE) for side in style.size)
    small = replace(style, size=(height, width))
    columns = min(5, len(shown))
    rows = math.ceil(len(shown) / columns)
    canvas = np.zeros((rows * height, columns * width, *small.shape[2:]), np.uint8)
    for place, system in enumerate(shown):
        top, left = place // columns * height, place % columns * width
        canvas[top : top + height, left : left + width] = picture(system, 0, small, seed)
    return from_array(canvas, "YXS" if style.colour else "YX", title=say("Formula pictures"))
