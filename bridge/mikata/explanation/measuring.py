"""How much heat lies in which region: shares, means, peaks and centres of heat maps.

All figures are sums over the pixels of the image at full resolution. `measure` takes them from full maps; a `Ruler`
takes the same sums from the network's grid, which is some hundred times faster (see `mikata.explanation.cells`).

Sources: the share of heat inside a region is the energy-based pointing game of Wang et al., "Score-CAM:
Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR Workshops 2020, arXiv 1910.01279,
equation 5. The pointing game asks whether the pixel with the most heat lies inside: Zhang et al., "Top-down Neural
Attention by Excitation Backprop", ECCV 2016, arXiv 1608.00507; their tolerance of 15 px around the object is not
granted here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata.errors import ImageError, RegionError
from mikata.explanation.cells import Cells
from mikata.explanation.region_sets import RegionSet
from mikata.language import say

LEAST_CELLS = 2.0
"""Regions of fewer cells of the network's grid are flagged: their heat is mostly their neighbours', interpolated."""


@dataclass(frozen=True, eq=False)
class Measures:
    """Figures of M heat maps in R regions. Only positive heat counts.

    Attributes
    ----------
    total:
        (M,) sum of heat over all pixels; 0 for a map without heat.
    share:
        (M, R) heat inside over all heat, 0 to 1; NaN for a map without heat.
    mean:
        (M, R) mean heat of the region's pixels, in the map's unit.
    peak:
        (M, 2) row and column of the pixel with the most heat, from 0 (the first of several); -1 without heat.
    inside:
        (M, R) whether the peak is in the region, the pointing game; False without heat.
    centre:
        (M, 2) energy-weighted centre as row and column: the mean of the pixels' places weighted by heat; NaN without
        heat.
    area_px:
        (R,) number of pixels of each region.
    area_share:
        (R,) of the image, 0 to 1: what heat without any preference would give as `share`.
    """

    total: NDArray[np.float64]
    share: NDArray[np.float64]
    mean: NDArray[np.float64]
    peak: NDArray[np.intp]
    inside: NDArray[np.bool_]
    centre: NDArray[np.float64]
    area_px: NDArray[np.int64]
    area_share: NDArray[np.float64]


def measure(heat: ArrayLike, regions: RegionSet) -> Measures:
    """Measure full heat maps.

    Parameters
    ----------
    heat:
        (M, height, width) of the image's size, finite; negative values count as none.
    regions:
        Of an image of that size.

    Raises
    ------
    ImageError
        If a map holds NaN or infinity.
    RegionError
        If maps and regions differ in size.
    """
    maps = np.asarray(heat, np.float64)
    if maps.ndim != 3 or maps.shape[1:] != regions.shape:
        raise RegionError(
            say(
                "The heat maps are {heat}; the regions are for an image of {height} x {width} px.",
                heat=" x ".join(map(str, maps.shape)),
                height=regions.shape[0],
                width=regions.shape[1],
            )
        )
    _refuse_odd(maps)
    maps = np.maximum(maps, 0.0)
    height, width = regions.shape
    total = maps.sum((1, 2))
    sums = np.empty((len(maps), len(regions.parts)))
    for column, part in enumerate(regions.parts):
        rows, columns = part.inside.shape
        there = maps[:, part.top : part.top + rows, part.left : part.left + columns]
        sums[:, column] = there[:, part.inside].sum(1)
    flat = maps.reshape(len(maps), -1)
    at = flat.argmax(1)
    peaks = np.stack([at // width, at % width], 1)
    moments = np.stack([maps.sum(2) @ np.arange(height), maps.sum(1) @ np.arange(width)], 1)
    return _measures(regions, total, sums, peaks, moments)


class Ruler:
    """Regions brought onto a network's grid once, to measure any number of maps of one size.

    Parameters
    ----------
    regions:
        Of an image of the size that `cells` names.
    cells:
        How the grid lies over the image.

    Raises
    ------
    RegionError
        If the two are of different sizes.
    """

    def __init__(self, regions: RegionSet, cells: Cells) -> None:
        if regions.shape != cells.image:
            raise RegionError(
                say(
                    "The heat maps are {heat}; the regions are for an image of {height} x {width} px.",
                    heat=" x ".join(map(str, cells.image)),
                    height=regions.shape[0],
                    width=regions.shape[1],
                )
            )
        self.regions = regions
        self.cells = cells
        rows, columns = cells.rows, cells.columns
        pulled = [
            rows[p.top : p.top + p.inside.shape[0]].T
            @ p.inside.astype(np.float64)
            @ columns[p.left : p.left + p.inside.shape[1]]
            for p in regions.parts
        ]
        all_rows, all_columns = rows.sum(0), columns.sum(0)
        whole = np.outer(all_rows, all_columns)
        down = np.outer(np.arange(len(rows)) @ rows, all_columns)
        across = np.outer(all_rows, np.arange(len(columns)) @ columns)
        self._weights = np.stack([whole, down, across, *pulled]).reshape(3 + len(pulled), -1).T
        self._area = np.array([part.area_px for part in regions.parts], np.int64)

    @property
    def area_cells(self) -> NDArray[np.float64]:
        """(R,) area of each region in cells of the grid."""
        height, width = self.cells.cell_px
        return np.asarray(self._area / (height * width), np.float64)

    def measure(self, grids: ArrayLike) -> Measures:
        """Measure maps (M, h, w) on the grid; the same figures as `measure` of the full maps.

        Raises
        ------
        ImageError
            If a map holds NaN or infinity.
        """
        array = np.asarray(grids, np.float64)
        _refuse_odd(array)
        if (array < 0).any():  # the positive part of a sum is not the sum of positive parts
            return measure(self.cells.full(array), self.regions)
        sums = array.reshape(len(array), -1) @ self._weights
        peaks, _ = self.cells.peaks(array)
        return _measures(self.regions, sums[:, 0], sums[:, 3:], peaks, sums[:, 1:3], self._area)


def _refuse_odd(maps: NDArray[np.float64]) -> None:
    if not np.isfinite(maps).all():
        raise ImageError(say("The heat map holds values that are not numbers (NaN) or infinite."))


def _measures(
    regions: RegionSet,
    total: NDArray[np.float64],
    sums: NDArray[np.float64],
    peaks: NDArray[np.intp],
    moments: NDArray[np.float64],
    area: NDArray[np.int64] | None = None,
) -> Measures:
    if area is None:
        area = np.array([part.area_px for part in regions.parts], np.int64)
    heated = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        # rounding must not leave a share a hair above 1
        share = np.where(heated[:, None], np.minimum(sums / total[:, None], 1.0), np.nan)
        centre = np.where(heated[:, None], moments / total[:, None], np.nan)
    inside = np.zeros(sums.shape, bool)
    for column, part in enumerate(regions.parts):
        inside[:, column] = part.holds(peaks)
    return Measures(
        total,
        share,
        sums / area,
        np.where(heated[:, None], peaks, -1),
        inside & heated[:, None],
        centre,
        area,
        area / (regions.shape[0] * regions.shape[1]),
    )
