"""The chaos game, many chains at once.

The published code plays one chain of 100,000 points in a Python loop. Here some hundred chains advance together,
each step a few NumPy operations on all of them. Once a chain has forgotten its start, its points are distributed
as the single chain's are (both by the system's invariant measure), so the pictures are too; what a single chain
draws on its way there, the start (0, 0) included, is drawn here as well, from the first chain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

from mikata.fractals.streams import SETTLING, stream, words

MOST_STEPS = 500
"""A system that has not forgotten its start after so many steps is taken for one that never does."""

_FORGOTTEN = 1e-3
_TRIALS = 256  # chains from which the number of steps is found
_BLOCK = 32  # steps whose maps are drawn at once
_BALANCE = 200  # what a step costs whatever the chains, in chains' time


def thresholds(probabilities: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Where 32-bit numbers are cut into the maps' shares: (n,) probabilities give (n - 1,) thresholds."""
    cuts = np.floor(np.cumsum(probabilities)[:-1] * 2.0**32)
    return np.minimum(cuts, 2.0**32 - 1).astype(np.uint32)


def _chosen(source: PCG64, cuts: NDArray[np.uint32], count: int) -> NDArray[np.intp]:
    """Numbers of maps (count,), each drawn with its probability."""
    drawn = words(source, count)
    number = np.zeros(count, np.uint8)
    for cut in cuts:
        number += drawn >= cut
    return number.astype(np.intp)


def settled(maps: NDArray[np.float64], cuts: NDArray[np.uint32]) -> int | None:
    """Steps after which a chain has forgotten its start, or None if it has not within `MOST_STEPS`.

    A chain's distance from a chain that started as the invariant measure has it is at most |P| times the distance
    of their starts, P being the product of the linear parts drawn so far. All of 256 such products must have only
    entries below 1e-3. Since the picture's box holds both starts, even the slowest of the chains is then within half
    a pixel of 512, and every further step brings it nearer.

    Parameters
    ----------
    maps:
        (n, 6): a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f.
    cuts:
        From `thresholds`.
    """
    source = stream(0, SETTLING)
    linear = np.ascontiguousarray(maps[:, :4].T)
    product = np.zeros((2, 2, _TRIALS))  # row, column, chain
    product[0, 0] = product[1, 1] = 1
    after, half = np.empty_like(product), np.empty_like(product)
    for step in range(MOST_STEPS):
        row = step % _BLOCK
        if row == 0:
            chosen = _chosen(source, cuts, _BLOCK * _TRIALS)
            # for each step the first column of each chain's linear part, a and c, and the second, b and d
            first, second = (
                linear[pair].take(chosen, axis=1).reshape(2, 1, _BLOCK, _TRIALS) for pair in ([0, 2], [1, 3])
            )
        np.multiply(first[:, :, row], product[0], out=after)
        np.multiply(second[:, :, row], product[1], out=half)
        after += half
        product, after = after, product
        if step % 4 == 3:
            largest = max(product.max(), -product.min())
            if largest < _FORGOTTEN:
                return step + 1
            if largest > 1e12:  # runs away
                return None
    return None


def orbit(
    maps: NDArray[np.float64], cuts: NDArray[np.uint32], lead_in: int, count: int, source: PCG64
) -> NDArray[np.float32]:
    """Points of the chaos game from (0, 0): x and y, (2, count).

    Parameters
    ----------
    maps, cuts:
        As for `settled`.
    lead_in:
        What `settled` found.
    count:
        Number of points, the start included.
    source:
        Which maps are drawn.
    """
    # a step costs some time for each chain and some whatever their number; few chains, few lead-ins
    chains = min(1024, max(64, math.isqrt(_BALANCE * count // lead_in)))
    steps = lead_in + max(0, -(-(count - lead_in - 1) // chains))
    table = np.ascontiguousarray(maps.astype(np.float32).T)
    # in pieces that stay in the processor's cache, into memory used again and again
    drawn = np.empty((6, _BLOCK, chains), np.float32)
    part = np.empty(chains, np.float32)
    points = np.empty((2, 1 + lead_in + (steps - lead_in) * chains), np.float32)
    points[:, 0] = 0
    x, y = np.zeros((2, chains), np.float32)
    place = 1 + lead_in
    for start in range(0, steps, _BLOCK):
        chosen = _chosen(source, cuts, _BLOCK * chains).reshape(_BLOCK, chains)
        table.take(chosen, axis=1, out=drawn, mode="clip")
        for step, (a, b, c, d, e, f) in enumerate(zip(*drawn[:, : steps - start], strict=True), start):
            if step < lead_in:
                now_x, now_y = np.empty((2, chains), np.float32)
            else:
                now_x, now_y = points[:, place : place + chains]
                place += chains
            np.multiply(a, x, out=now_x)
            np.multiply(b, y, out=part)
            np.add(now_x, part, out=now_x)
            np.add(now_x, e, out=now_x)
            np.multiply(c, x, out=now_y)
            np.multiply(d, y, out=part)
            np.add(now_y, part, out=now_y)
            np.add(now_y, f, out=now_y)
            if step < lead_in:
                points[0, 1 + step], points[1, 1 + step] = now_x[0], now_y[0]
            x, y = now_x, now_y
    return points[:, :count]


def cells(points: NDArray[np.float32], size: tuple[int, int], padding: int) -> NDArray[np.intp]:
    """The pixels in which points lie: (N,) numbers of pixels, row by row, of a picture of `size` (height, width).

    As in the published code, the box of all points (the start included) is stretched, each axis by itself, over the
    picture without its padding. Rows count upwards.
    """
    low, high = points.min(axis=1), points.max(axis=1)
    inner = np.array([size[1], size[0]], np.float32) - np.float32(2 * padding)
    scaled = points - low[:, None]
    scaled *= (inner / (high - low))[:, None]
    scaled += np.float32(padding)
    column, row = scaled.astype(np.int32)
    return np.asarray(row * np.int32(size[1]) + column, np.intp)
