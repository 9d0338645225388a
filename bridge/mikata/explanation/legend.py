"""What stands beside heat in an overlay: the scale of its colours, and a label of what it is of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mikata import regions
from mikata.errors import ParameterError
from mikata.explanation.display import Position
from mikata.explanation.display import lut as table_of
from mikata.language import say
from mikata.types import Region


def colour_bar(
    width: int,
    height: int,
    *,
    lut: str = "Fire",
    maximum: float,
    label: str = "heat",
    position: Position = 0,
) -> tuple[Region, ...]:
    """Draw the scale of the heat into the lower right corner of an image.

    Parameters
    ----------
    width, height:
        Of the image, in pixels. The bar takes about a third of the height; on images of some 40 px and
        less the words are too small to read without zooming in.
    lut:
        One of `LUTS`.
    maximum:
        The heat at the upper end.
    label:
        What is measured, written above the bar; left out where it does not fit.
    position:
        Where in a stack it shows.

    Returns
    -------
    tuple of Region
        A dark ground, the bar, and the words.

    Raises
    ------
    ParameterError
        If the LUT is unknown, or `maximum` is not a number above 0.
    """
    table = table_of(lut)
    if not (math.isfinite(maximum) and maximum > 0):
        raise ParameterError(
            say("A colour bar's maximum must be a number above 0, not {maximum:g}.", maximum=maximum)
        )
    upper = f"{maximum:.3g}"
    # Widths in units of the font's size: a digit or letter of a sans-serif font takes .62 at most
    # on average, the bar .8, a gap .3, the margins .4 each.
    numbers = 0.62 * len(upper) + 0.8 + 0.3 + 0.8
    size = max(round(0.032 * min(width, height)), 6)  # small images are looked at zoomed in
    size = max(4, min(size, int(width / numbers), int(height / 4)))
    heading = label if 0.62 * len(label) + 0.8 <= max(1.1 * numbers, width / size / 2) else ""
    line = 1.3 * size  # ascent, descent and leading
    tall = max(2, min(round(0.3 * height), height - math.ceil((1.8 if heading else 0.8) * line)))
    pad = max(1, round(0.4 * size))
    wide = math.ceil(max(numbers, 0.62 * len(heading) + 0.8 if heading else 0) * size)
    left, top = max(0, width - wide), max(0, height - tall - 2 * pad - (math.ceil(line) if heading else 0))
    bar_top = height - pad - tall
    bar_width = max(2, round(0.8 * size))
    ramp = np.maximum(table[np.rint(np.linspace(255, 0, tall)).astype(np.intp)], 2).astype(np.uint8)
    beside = left + pad + bar_width + round(0.3 * size)
    look: dict[str, Any] = {"stroke_color": "#ffffff", "position": position}
    words = [
        regions.text(beside, bar_top, upper, size=size, name="heat scale maximum", **look),
        regions.text(beside, height - pad - math.ceil(line), "0", size=size, name="heat scale 0", **look),
    ]
    if heading:
        words.append(regions.text(left + pad, top, heading, size=size, name="heat scale label", **look))
    return (
        regions.rectangle(
            left,
            top,
            width - left,
            height - top,
            name="heat scale ground",
            fill_color="#a0000000",
            position=position,
        ),
        regions.image_region(
            np.repeat(ramp[:, None], bar_width, 1), left + pad, bar_top, name="heat scale", position=position
        ),
        *words,
    )


def heat_label(words: str, width: int, height: int, *, position: Position = 0) -> tuple[Region, ...]:
    """Write what a heat map is of into the upper left corner of an image.

    Parameters
    ----------
    words:
        Lines of text. The letters get smaller, down to 4 points, until the longest line fits.
    width, height:
        Of the image, in pixels.
    position:
        Where in a stack it shows.

    Returns
    -------
    tuple of Region
        A text on a dark ground, named "heat label".
    """
    lines = words.splitlines()
    longest = max(map(len, lines))
    size = max(round(0.032 * min(width, height)), 6)
    # as in `colour_bar`: letters .62 wide, a line 1.3 high; at most a quarter of the height
    size = max(4, min(size, int((width - 2) / (0.62 * longest)), int(height / 4 / (1.3 * len(lines)))))
    return (
        regions.text(
            0,
            0,
            words,
            size=size,
            name="heat label",
            stroke_color="#ffffff",
            fill_color="#a0000000",
            position=position,
        ),
    )
