"""Insertion and deletion: how the score falls as the hottest cells are covered, and rises as they are shown.

Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, arXiv
1806.07421, section 4.2. Deletion covers with the mean of the training images (their "constant grey"); insertion
starts from the blurred image. Here whole cells of the map's grid are covered, for every order alike: single pixels in
random order would be another kind of damage than the patches that a map covers. The Gaussian's SD is a twentieth of
the image's shorter side, more than theirs of 5 of 224 px, since what is still seen through a blur cannot be inserted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the cells at which the score is measured."""

_BLUR = 1 / 20  # SD in shares of the image's shorter side

Score = Callable[[Tensor, Sequence[int]], NDArray[np.float64]]


def order(maps: NDArray[np.floating], seed: int) -> NDArray[np.int64]:
    """Place of each cell in falling order of heat, from 0: (N, h, w). Equal cells stand in random order."""
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    chance = np.random.default_rng(seed).random(flat.shape)
    sorted_ = np.lexsort((chance, -flat), axis=1)
    places = np.empty(flat.shape, np.int64)
    np.put_along_axis(places, sorted_, np.arange(flat.shape[1])[None], 1)
    return places.reshape(maps.shape)


def random_order(count: int, grid: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """A random order of the cells for each of `count` images."""
    return order(np.zeros((count, *grid)), seed)


def steps(grid: tuple[int, int]) -> NDArray[np.int64]:
    """Numbers of cells at which the score is measured, from none to all."""
    cells = grid[0] * grid[1]
    return np.unique(np.rint(np.array(SHARES) * cells).astype(np.int64))


def curve(
    score: Score,
    covered: Tensor,
    open_: Tensor,
    places: NDArray[np.int64],
    classes: Sequence[int],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Score of each image's class as its cells are exchanged one after the other.

    Parameters
    ----------
    score:
        Of images and their classes (N,).
    covered, open_:
        (N, C, H, W) what a cell shows once its turn has come, and before. Deletion: grey and the image;
        insertion: the image and the blurred image.
    places:
        (N, h, w) of `order`.
    ends:
        (N,) scores with no cell and with all cells exchanged, which are the same for every order.

    Returns
    -------
    array
        (N, S) at the S `steps`.
    """
    shown = torch.from_numpy(places.astype(np.float32))[:, None].to(open_.device)
    turn = F.interpolate(shown, open_.shape[-2:], mode="nearest")
    inner = [
        score(torch.where(turn < count, covered, open_), classes)
        for count in steps((places.shape[1], places.shape[2]))[1:-1].tolist()
    ]
    return np.stack([ends[0], *inner, ends[1]], 1)


def area(curves: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Area under each curve (N,) over the share of the cells, by trapezoids: the mean score on the way."""
    counts = steps(grid)
    return np.asarray(np.trapezoid(curves, counts / counts[-1], axis=-1), np.float64)


def blurred(images: Tensor) -> Tensor:
    """Images (N, C, H, W) behind a Gaussian blur."""
    from torchvision.transforms.v2.functional import gaussian_blur

    sd = _BLUR * min(images.shape[-2:])
    side = 2 * math.ceil(3 * sd) + 1
    found: Tensor = gaussian_blur(images, [side, side], [sd, sd])
    return found
