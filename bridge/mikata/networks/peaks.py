"""Points where a network sees the centre of something: local maxima of its heat maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SCORE, APART = "score", "apart_px"
"""Names of the settings that a network for detection comes with: the parameters `least` and `apart_px` of `peaks`."""

DEFAULTS: dict[str, float] = {SCORE: 0.3, APART: 1.0}
"""Their values where none were chosen."""

_BAND = 256  # rows worked on together: a whole plane at once would take much memory


@dataclass(frozen=True)
class Point:
    """One place: its class (number of the output), score (0 to 1), and centre, height and width in px.

    `x` and `y` are ImageJ's: (0.5, 0.5) is the centre of the first pixel. A size of 0 is not known.
    """

    kind: int
    score: float
    x: float
    y: float
    width: float
    height: float


def peaks(
    values: NDArray[np.float32], classes: int, least: float, *, apart_px: int = 1, cell: float = 1.0
) -> list[Point]:
    """Local maxima of heat maps (Zhou et al. 2019, "Objects as Points", arXiv 1904.07850, section 4).

    Parameters
    ----------
    values:
        (K, H, W): a heat map (0 to 1) of each class, and then height and width where the network gives them.
    classes:
        How many of the channels are heat maps.
    least:
        Score from which a maximum counts.
    apart_px:
        Of maxima of a class within this many px in x and y the highest counts; at least 1.
    cell:
        px of the image a px of the values.

    Returns
    -------
    list of Point
        By class, the highest score first. Of equal neighbours the one further up, then further left.
    """
    found: list[Point] = []
    sized = len(values) >= classes + 2
    height = values.shape[1]
    for kind in range(classes):
        heat = values[kind]
        candidates: list[tuple[float, int, int]] = []
        for start in range(0, height, _BAND):
            stop = min(start + _BAND, height)
            low, high = max(0, start - 1), min(height, stop + 1)
            part = heat[low:high]
            top = (part == ndimage.maximum_filter(part, size=3, mode="nearest")) & (part >= least)
            down, across = np.nonzero(top[start - low : stop - low])
            down = down + start
            candidates += zip(heat[down, across].tolist(), down.tolist(), across.tolist(), strict=True)
        for score, y, x in _apart(candidates, max(1, apart_px)):
            tall, wide = values[classes : classes + 2, y, x] if sized else (0.0, 0.0)
            found.append(
                Point(
                    kind,
                    score,
                    (x + 0.5) * cell,
                    (y + 0.5) * cell,
                    max(0.0, float(wide)),
                    max(0.0, float(tall)),
                )
            )
    return found


def _apart(candidates: list[tuple[float, int, int]], apart: int) -> list[tuple[float, int, int]]:
    """The highest first, each only where no higher one is near; a grid tells what is near."""
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    chosen = []
    for score, y, x in sorted(candidates, key=lambda one: (-one[0], one[1], one[2])):
        row, column = y // (apart + 1), x // (apart + 1)
        near = any(
            abs(y - other_y) <= apart and abs(x - other_x) <= apart
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            for other_y, other_x in taken.get((row + down, column + right), ())
        )
        if near:
            continue
        taken.setdefault((row, column), []).append((y, x))
        chosen.append((score, y, x))
    return chosen
