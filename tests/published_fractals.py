"""FractalDB's rule written down plainly, as its published code does it: what ours is measured against.

Written anew from a reading of hirokatsukataoka16/FractalDB-Pretrained-ResNet-PyTorch (MIT, commit ffc4bf2): a Python
loop over the points, NumPy and Pillow for each of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def candidate(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A system as the search draws it: maps (n, 6) and probabilities (n,)."""
    maps = rng.uniform(-1, 1, (int(rng.integers(2, 8)), 6))
    areas = np.abs(maps[:, 0] * maps[:, 3] - maps[:, 1] * maps[:, 2])
    return maps, areas / areas.sum()


def play(
    maps: Sequence[Sequence[float]], probabilities: Sequence[float], count: int, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """One chain of `count` points from (0, 0), the start included."""
    shares = np.cumsum(probabilities).tolist()
    rows = [[float(value) for value in row] for row in maps]
    drawn = rng.random(count)
    x = y = 0.0
    xs, ys = [x], [y]
    for step in range(count - 1):
        for number in range(len(shares)):
            if drawn[step] <= shares[number]:
                break
        a, b, c, d, e, f = rows[number]
        x, y = x * a + y * b + e, x * c + y * d + f
        xs.append(x)
        ys.append(y)
    return xs, ys


def pixels(
    xs: list[float], ys: list[float], size: int, padding: int = 6
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Columns and rows (upwards) of points: their box stretched over the picture."""
    result = []
    for values in (np.array(xs), np.array(ys)):
        if np.isnan(values).any():  # run away: what is left, less the hundred before, is drawn
            end = max(0, int(np.flatnonzero(np.isnan(values))[0]) - 100)
            values = values[:end]
        values = values - values.min()
        with np.errstate(all="ignore"):
            result.append(np.uint16(values / np.ptp(values) * float(size - 2 * padding) + padding))
    count = min(map(len, result))
    return result[0][:count], result[1][:count]


def points_picture(columns: NDArray[np.uint16], rows: NDArray[np.uint16], size: int) -> NDArray[np.uint8]:
    """One pixel a point; (size, size, 3)."""
    image = np.array(Image.new("RGB", (size, size)))
    for i in range(len(columns)):
        image[rows[i], columns[i], :] = 127, 127, 127
    return image[::-1]


def patches_picture(
    columns: NDArray[np.uint16], rows: NDArray[np.uint16], size: int, rng: random.Random
) -> NDArray[np.uint8]:
    """A random 3 x 3 patch a point, pasted over what was there; (size, size, 3)."""
    image = Image.new("RGB", (size, size))
    for i in range(len(columns)):
        mask = f"{rng.randrange(1, 512):09b}"
        colour, patch = np.array([127, 127, 127]), np.zeros((3, 3, 3), np.uint8)
        for row in range(3):
            for column in range(3):
                patch[row, column, :] = colour * int(mask[3 * row + column])
        image.paste(Image.fromarray(patch), (int(columns[i]) + 1, int(rows[i]) + 1))
    return np.asarray(image)[::-1]
