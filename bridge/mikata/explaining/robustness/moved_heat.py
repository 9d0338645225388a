"""How far a heat map moves when its image changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata.explanation.cells import Cells


@dataclass(frozen=True)
class Movement:
    """Two heat maps of one image, compared.

    Attributes
    ----------
    kept:
        Share of the heat that stays where it was, 0 to 1: the sum over pixels of the smaller of both maps, each
        divided by its own sum (the histogram intersection of Swain and Ballard 1991, doi 10.1007/BF00130487).
    rank_correlation:
        Spearman's, over the cells of the network's grid, -1 to 1 (as Ghorbani et al. 2019, arXiv 1710.10547).
    shift_px:
        How far the energy-weighted centre moves, in px of the image (their third measure).

    Each is NaN where one of the maps has no heat; the correlation also where one is the same everywhere.
    """

    kept: float
    rank_correlation: float
    shift_px: float


def movement(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    grids: tuple[NDArray[np.floating], NDArray[np.floating]],
    cells: Cells,
) -> Movement:
    """Compare two maps.

    Parameters
    ----------
    before, after:
        (h, w), from 0 up, of one size.
    grids:
        The same before they were interpolated, on the network's grid.
    cells:
        How this grid lies over the image.
    """
    from scipy.stats import spearmanr

    first, second = (np.asarray(one, np.float64) for one in (before, after))
    total, total_after = float(first.sum()), float(second.sum())
    if total <= 0 or total_after <= 0:
        return Movement(math.nan, math.nan, math.nan)
    kept = float(np.minimum(first / total, second / total_after).sum())
    flat = [np.asarray(one, np.float64).ravel() for one in grids]
    varied = all(float(np.ptp(one)) > 0 for one in flat)
    correlation = float(spearmanr(*flat).statistic) if varied else math.nan
    shift = centre(grids[1], cells) - centre(grids[0], cells)
    return Movement(min(kept, 1.0), correlation, float(np.hypot(*shift)))


def centre(grid: NDArray[np.floating], cells: Cells) -> NDArray[np.float64]:
    """Energy-weighted centre of a map (h, w) as row and column in px of the image, as Heat by Region has it."""
    down, across = cells.rows.sum(0), cells.columns.sum(0)
    moments = np.arange(len(cells.rows)) @ cells.rows, np.arange(len(cells.columns)) @ cells.columns
    total = down @ grid @ across
    return np.asarray(np.array([moments[0] @ grid @ across, down @ grid @ moments[1]]) / total, np.float64)
