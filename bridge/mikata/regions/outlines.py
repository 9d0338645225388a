"""The exact outline of a mask, along its pixels' edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata.errors import RegionError
from mikata.language import say
from mikata.regions import shapes
from mikata.types import Region

_MOST_CORNERS = 65535
"""Of a polygon in ImageJ's format; larger outlines become composites, as ImageJ itself does."""


def contours(mask: ArrayLike, *, offset: tuple[int, int] = (0, 0), **look: Any) -> Region:
    """The outline of a mask: filled again (`mikata.regions.mask`), it is the mask.

    Parameters
    ----------
    mask:
        Booleans (H, W). Pixels that touch by a corner belong to one part.
    offset:
        (x, y) of the mask's first pixel in the image.
    **look:
        As in `rectangle`.

    Returns
    -------
    Region
        A traced polygon where there is one outline; a composite of all outlines where
        there are holes or several parts.

    Raises
    ------
    RegionError
        If the mask is empty or not (H, W).
    """
    inside = np.asarray(mask)
    if inside.ndim != 2:
        raise RegionError(say("A mask has the shape (height, width), not {shape}.", shape=inside.shape))
    outlines = _outlines(inside.astype(bool, copy=False))
    if not outlines:
        raise RegionError(say("The mask is empty: there is nothing to outline."))
    moved = [outline + np.asarray(offset) for outline in outlines]
    if len(moved) == 1 and len(moved[0]) <= _MOST_CORNERS:
        return shapes.traced(moved[0], **look)
    for outline in moved:
        if outline.min() < shapes.LOWEST or outline.max() > shapes.HIGHEST:
            raise RegionError(say("The mask is outside the range of ImageJ's coordinates, -5000 to 60535."))
    return shapes.shape(moved, **look)


def _outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed corner lists (N, 2) of (x, y), inside on the right hand.

    Edges between inside and outside are gathered into straight runs; the end of each horizontal run
    is the start of one vertical run and the other way round. Where two pixels touch by a corner
    only, two runs end and two start; there the walk turns left, which keeps the two in one outline.
    """
    padded = np.pad(inside, 1).astype(np.int8)
    across = np.diff(padded, axis=0)[:, 1:-1]  # (H+1, W): +1 where inside begins below the edge
    down = np.diff(padded, axis=1)[1:-1, :]  # (H, W+1): +1 where inside begins right of the edge
    row, begin, end, way = _runs(across)
    # +1: inside below, so walked to the right
    h_start = (np.where(way > 0, begin, end), row)
    h_end = (np.where(way > 0, end, begin), row)
    column, v_begin, v_end, v_way = _runs(np.ascontiguousarray(down.T))
    # +1: inside to the right, so walked up
    v_start = (column, np.where(v_way > 0, v_end, v_begin))
    v_finish = (column, np.where(v_way > 0, v_begin, v_end))

    after_h = np.empty(len(row), np.int64)
    after_h[np.lexsort((way, *h_end))] = np.lexsort((v_way, *v_start))
    after_v = np.empty(len(row), np.int64)
    after_v[np.lexsort((v_way, *v_finish))] = np.lexsort((-way, *h_start))
    following = after_v[after_h]

    corners = np.stack([np.stack(h_start, axis=1), np.stack(h_end, axis=1)], axis=1)  # (runs, 2, xy)
    return [corners[cycle].reshape(-1, 2) for cycle in _cycles(following)]


def _runs(
    edges: NDArray[np.int8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of equal non-zero values in the rows: row, first column, column after the last, value."""
    changes = np.diff(edges, axis=1, prepend=np.int8(0), append=np.int8(0))
    padded = np.pad(edges, ((0, 0), (0, 1)))
    starts = np.nonzero((changes != 0) & (padded != 0))
    before = np.pad(edges, ((0, 0), (1, 0)))
    ends = np.nonzero((changes != 0) & (before != 0))
    return starts[0], starts[1], ends[1], padded[starts].astype(np.int64)


def _cycles(following: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    steps: list[int] = following.tolist()
    seen = bytearray(len(steps))
    cycles = []
    for first in range(len(steps)):
        if seen[first]:
            continue
        cycle = []
        current = first
        while not seen[current]:
            seen[current] = 1
            cycle.append(current)
            current = steps[current]
        cycles.append(np.array(cycle))
    return cycles
