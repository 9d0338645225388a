"""How alike two heat maps are: Spearman's rank correlation and the structural similarity.

Both are what Adebayo et al. compare maps with ("Sanity Checks for Saliency Maps", NeurIPS 2018, doi
10.48550/arXiv.1810.03292). A map without any differences has no ranks, and its likeness to another is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_WINDOW = 7  # px of the windows of SSIM, as in Wang et al. 2004 and scikit-image


def ranks(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks of |map|, centred and of length 1: (N, cells) of maps (N, h, w). Rows of flat maps are NaN."""
    flat = np.abs(np.asarray(maps, np.float64)).reshape(len(maps), -1)
    found = rankdata(flat, axis=1)
    found -= found.mean(1, keepdims=True)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(length > 0, found / length, np.nan), np.float64)


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spearman's correlation of |map|, pair by pair (N,), of maps (N, h, w) each; -1 to 1."""
    return np.asarray((ranks(first) * ranks(second)).sum(1), np.float64)


def spearman_of_all(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spearman's correlation of |map| of each map with each: (N, N)."""
    ranked = ranks(maps)
    return np.asarray(ranked @ ranked.T, np.float64)


def ssim(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Structural similarity of |map|, pair by pair (N,), each map divided by its largest value.

    Wang et al. 2004, doi 10.1109/TIP.2003.819861, in windows of 7 x 7 cells, or the largest odd number that fits. NaN
    for grids with a side below 3 cells, and for a map that is 0 everywhere.
    """
    from skimage.metrics import structural_similarity

    side = min(_WINDOW, *first.shape[1:])
    side -= 1 - side % 2
    found = np.full(len(first), np.nan)
    for index, (one, other) in enumerate(zip(np.abs(first), np.abs(second), strict=True)):
        if side >= 3 and one.max() > 0 and other.max() > 0:
            found[index] = structural_similarity(  # type: ignore[no-untyped-call]
                one / one.max(), other / other.max(), win_size=side, data_range=1.0
            )
    return found


def ssim_of_all(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Structural similarity of each map with each: (N, N), NaN on the diagonal."""
    count = len(maps)
    found = np.full((count, count), np.nan)
    first, second = np.triu_indices(count, 1)
    values = ssim(maps[first], maps[second])
    found[first, second] = found[second, first] = values
    return found
