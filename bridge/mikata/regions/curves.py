"""Curved outlines to polygons, as Java flattens them before ImageJ fills them.

The halving rule is that of ``java.awt.geom.FlatteningPathIterator``; roifile reads no curves.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mikata.errors import RegionError
from mikata.language import say

_FLATNESS = 0.01  # ij.gui.ShapeRoi.FILL_FLATNESS, in pixels
_MOST_HALVINGS = 10

_MOVE, _LINE, _QUADRATIC, _CUBIC, _CLOSE = range(5)
_NUMBERS = {_MOVE: 2, _LINE: 2, _QUADRATIC: 4, _CUBIC: 6, _CLOSE: 0}

_HANDLE = (1 - 4 / 3 * (math.sqrt(2) - 1)) / 2
"""Distance of a quarter circle's control points from the corner, in diameters."""

Point = tuple[float, float]


def flattened(path: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Closed outlines (N, 2) of a composite ROI's path of commands and coordinates.

    Raises
    ------
    RegionError
        If a command is unknown, the path is cut off or has no point.
    """
    numbers = path.tolist()
    outlines: list[list[Point]] = []
    current: list[Point] = []
    index = 0
    while index < len(numbers):
        command = int(numbers[index])
        count = _NUMBERS.get(command)
        if count is None or index + 1 + count > len(numbers):
            raise RegionError(
                say(
                    "A composite region has a damaged path at number {index} of {count}.",
                    index=index,
                    count=len(numbers),
                )
            )
        values = numbers[index + 1 : index + 1 + count]
        points = list(zip(values[::2], values[1::2], strict=True))
        index += 1 + count
        if command in (_MOVE, _CLOSE):
            if current:
                outlines.append(current)
            current = points
        elif command == _LINE:
            current.extend(points)
        elif current:
            current.extend(_halved([current[-1], *points], 0))
        else:
            raise RegionError(say("A composite region has a curve that starts nowhere."))
    if current:
        outlines.append(current)
    if not outlines:
        raise RegionError(say("A composite region has no points."))
    return [np.array(outline, np.float32) for outline in outlines]


def rounded_rectangle(
    x: float, y: float, width: float, height: float, arc: float
) -> list[NDArray[np.float32]]:
    """The outline of a rectangle whose corners are quarter ellipses of the diameter `arc`."""
    across, down = min(width, arc), min(height, arc)
    right, bottom = x + width, y + height
    path: list[float] = [_MOVE, x, y + down / 2]
    for corner, enter, leave in (
        ((x, bottom), (0, -1), (1, 0)),
        ((right, bottom), (-1, 0), (0, -1)),
        ((right, y), (0, 1), (-1, 0)),
        ((x, y), (1, 0), (0, 1)),
    ):
        path += [_LINE, *_beside(corner, enter, across / 2, down / 2), _CUBIC]
        path += _beside(corner, enter, across * _HANDLE, down * _HANDLE)
        path += _beside(corner, leave, across * _HANDLE, down * _HANDLE)
        path += _beside(corner, leave, across / 2, down / 2)
    return flattened(np.array([*path, _CLOSE], np.float32))


def _beside(corner: Point, way: Point, across: float, down: float) -> list[float]:
    return [corner[0] + way[0] * across, corner[1] + way[1] * down]


def _halved(points: list[Point], level: int) -> list[Point]:
    """The end points of a Bézier curve's pieces that are straight enough."""
    if level == _MOST_HALVINGS or max(
        _distance_squared(point, points[0], points[-1]) for point in points[1:-1]
    ) < (_FLATNESS**2):
        return [points[-1]]
    left, right, row = [points[0]], [points[-1]], points
    while len(row) > 1:  # de Casteljau
        row = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in pairwise(row)]
        left.append(row[0])
        right.append(row[-1])
    return _halved(left, level + 1) + _halved(right[::-1], level + 1)


def _distance_squared(point: Point, start: Point, end: Point) -> float:
    """Of a point from a piece of a line."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / length if length else 0.0
    along = min(max(along, 0.0), 1.0)
    return (point[0] - start[0] - along * dx) ** 2 + (point[1] - start[1] - along * dy) ** 2
