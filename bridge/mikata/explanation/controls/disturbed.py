"""Maps of an image that was moved by a few pixels or made a little noisier: what does not matter should not change them.

Reproducibility under changes that a reader would not see is one of the criteria of Arun et al., "Assessing the
Trustworthiness of Saliency Maps for Localizing Abnormalities in Medical Imaging", 2021, doi 10.1148/ryai.2021200267.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mikata.explanation.controls.explainer import pooled

NOISE_SD = 0.05
"""SD of the added noise in shares of the image's own."""

NOISES = 2
_MOST_PX = 3


def shift_px(size: tuple[int, int]) -> int:
    """By how many px images of this size are moved: 3, of small ones a thirty-second of the shorter side."""
    return max(1, min(_MOST_PX, min(size) // 32))


def shifts(size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Down and right in px: one move to each side."""
    by = shift_px(size)
    return (by, 0), (-by, 0), (0, by), (0, -by)


def moved(images: Tensor, shift: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) moved down and right; what comes in repeats the border."""
    down, right = shift
    height, width = images.shape[-2:]
    padding = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    padded = F.pad(images, padding, mode="replicate")
    top, left = max(-down, 0), max(-right, 0)
    return padded[..., top : top + height, left : left + width]


def noisy(images: Tensor, seed: int) -> Tensor:
    """Images with normal noise, whose SD is `NOISE_SD` of each image's own."""
    made = np.random.default_rng(seed).standard_normal(tuple(images.shape), np.float32)
    spread = images.flatten(1).std(1)[:, None, None, None]
    return images + NOISE_SD * spread * torch.from_numpy(made).to(images)


def moved_back(
    maps: NDArray[np.floating],
    others: NDArray[np.floating],
    shift: tuple[int, int],
    size: tuple[int, int],
    grid: Sequence[int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maps of images and of the moved images, of what both show, at the same place.

    A shift is less than a cell: both maps are brought to the input's size (bilinear), the second moved back, and the
    part that both show is averaged to `grid` cells.

    Parameters
    ----------
    maps, others:
        (N, h, w) of the images and of the moved ones.
    size:
        Height and width of the images in px.

    Returns
    -------
    array, array
        (N, *grid) each.
    """
    down, right = shift
    height, width = size
    first, second = _full(maps, size), _full(others, size)
    rows = slice(max(down, 0), height + min(down, 0))
    columns = slice(max(right, 0), width + min(right, 0))
    back_rows = slice(max(-down, 0), height + min(-down, 0))
    back_columns = slice(max(-right, 0), width + min(-right, 0))
    wanted = int(grid[0]), int(grid[1])
    return (
        pooled(first[:, back_rows, back_columns], wanted),
        pooled(second[:, rows, columns], wanted),
    )


def _full(maps: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    grid = torch.from_numpy(np.ascontiguousarray(maps, np.float64))[:, None]
    full = F.interpolate(grid, size, mode="bilinear", align_corners=False)
    return np.asarray(full[:, 0].numpy(), np.float64)
