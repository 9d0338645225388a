"""Maps that know nothing of a network: edges, and a blob in the middle. What they do as well explains nothing.

Adebayo et al. (2018, doi 10.48550/arXiv.1810.03292) found methods whose maps an edge detector could have
drawn; what a photographer or a radiographer puts into the middle is found by a blob there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mikata.explanation.controls.explainer import pooled


def edges(images: Tensor, grid: tuple[int, int]) -> NDArray[np.float64]:
    """Mean Sobel magnitude in each cell (N, *grid) of images (N, C, H, W), of the mean of their channels."""
    from skimage.filters import sobel

    grey = images.detach().float().mean(1).double().cpu().numpy()
    return pooled(np.stack([sobel(one) for one in grey]), grid)  # type: ignore[no-untyped-call]


def centre(grid: tuple[int, int]) -> NDArray[np.float64]:
    """A Gaussian in the middle, (*grid), whose SD is a quarter of each side."""
    rows, columns = (np.exp(-0.5 * (((np.arange(cells) + 0.5) / cells - 0.5) / 0.25) ** 2) for cells in grid)
    return np.asarray(np.outer(rows, columns), np.float64)
