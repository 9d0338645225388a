"""How a network's grid lies over an image, as two small matrices.

A heat map has one value a cell; `torch.nn.functional.interpolate` (bilinear, cells' centres in place) brings it to
the image's pixels. That is linear in rows and in columns, ``full = rows @ grid @ columns.T``, so that sums over
pixels can be taken on the grid without ever making the full map: the sum inside a mask M is the sum of
``(rows.T @ M @ columns) * grid``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


def spreading(cells: int, pixels: int, per_pixel: float) -> NDArray[np.float64]:
    """How much of each cell every pixel of one axis shows, as torch's bilinear interpolation has it.

    Where cells are smaller than pixels (maps of every pixel of a network's input, over a smaller image), each pixel
    shows all cells that it covers, as with ``antialias=True``.

    Parameters
    ----------
    cells, pixels:
        Numbers along the axis, at least 1.
    per_pixel:
        Cells that one pixel is long: ``cells / pixels`` where the cells reach over all pixels.

    Returns
    -------
    array
        (pixels, cells), each row adds up to 1. Pixels beyond the outermost centres show the outermost cell.
    """
    if per_pixel > 1:
        centres = (np.arange(pixels) + 0.5) * per_pixel
        away = np.abs(np.arange(cells) + 0.5 - centres[:, None]) / per_pixel
        near = np.maximum(0.0, 1.0 - away)
        near[near.sum(1) == 0, -1] = 1.0  # beyond the last cell
        return np.asarray(near / near.sum(1, keepdims=True), np.float64)
    at = np.clip((np.arange(pixels) + 0.5) * per_pixel - 0.5, 0.0, cells - 1.0)
    first = np.floor(at).astype(np.intp)
    second = np.minimum(first + 1, cells - 1)
    weights = np.zeros((pixels, cells))
    rows = np.arange(pixels)
    np.add.at(weights, (rows, first), 1.0 - (at - first))
    np.add.at(weights, (rows, second), at - first)
    return weights


def corners(cells: int, pixels: int, per_pixel: float) -> NDArray[np.intp]:
    """Pixels of one axis among which every interpolated map has its largest values, in rising order.

    Between two centres a map is linear along the axis, so its maximum is at the first or the last pixel there.
    """
    if per_pixel > 1:
        return np.arange(pixels, dtype=np.intp)
    at = np.clip((np.arange(pixels) + 0.5) * per_pixel - 0.5, 0.0, cells - 1.0)
    between = np.floor(at)
    changes = np.flatnonzero(np.diff(between))
    return np.unique(np.concatenate([[0, pixels - 1], changes, changes + 1])).astype(np.intp)


@dataclass(frozen=True)
class Cells:
    """A network's grid over an image.

    Attributes
    ----------
    grid:
        Rows and columns of cells.
    image:
        Height and width of the image in px.
    covered:
        Height and width in image px that the grid reaches over: the image's own where it was scaled to the
        network's input; the input's where a small image was continued to the right and below.
    resolved_px:
        Height and width in image px of what a map resolves where that is not a cell: a window that was hidden, say.
    """

    grid: tuple[int, int]
    image: tuple[int, int]
    covered: tuple[int, int]
    resolved_px: tuple[float, float] | None = None

    @property
    def cell_px(self) -> tuple[float, float]:
        """Height and width of what a map resolves in px of the image: one cell, unless `resolved_px` is known."""
        if self.resolved_px is not None:
            return self.resolved_px
        return self.covered[0] / self.grid[0], self.covered[1] / self.grid[1]

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """(height, grid rows) of `spreading`."""
        return spreading(self.grid[0], self.image[0], self.grid[0] / self.covered[0])

    @cached_property
    def columns(self) -> NDArray[np.float64]:
        """(width, grid columns) of `spreading`."""
        return spreading(self.grid[1], self.image[1], self.grid[1] / self.covered[1])

    @cached_property
    def _corners(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.float64]], ...]:
        """For rows and columns the `corners`, and what of `rows` or `columns` belongs to them."""
        found = []
        for axis, weights in enumerate((self.rows, self.columns)):
            at = corners(self.grid[axis], self.image[axis], self.grid[axis] / self.covered[axis])
            found.append((at, weights[at]))
        return tuple(found)

    def full(self, grids: NDArray[np.floating]) -> NDArray[np.float64]:
        """Maps (..., height, width) at the image's size, of grids (..., h, w)."""
        return np.asarray(self.rows @ grids @ self.columns.T, np.float64)

    def interpolated(self, grids: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (K, height, width) of grids (K, h, w), by torch in single precision: what heat images hold."""
        maps = torch.from_numpy(grids)[:, None]
        if grids.shape[1:] != self.covered:
            # a map of every pixel that gets smaller: each pixel counts
            smaller = grids.shape[1] > self.covered[0] or grids.shape[2] > self.covered[1]
            maps = F.interpolate(maps, self.covered, mode="bilinear", align_corners=False, antialias=smaller)
        # a small image was continued at its lower and right border
        return np.asarray(maps[:, 0, : self.image[0], : self.image[1]].numpy(), np.float32)

    def scaled(self, grids: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
        """Maps at another size (..., height, width): what `full` shows, seen at that size."""
        rows, columns = (
            spreading(cells, pixels, cells / covered * own / pixels)
            for cells, covered, own, pixels in zip(self.grid, self.covered, self.image, size, strict=True)
        )
        return np.asarray(rows @ grids @ columns.T, np.float64)

    def peaks(self, grids: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Where each full map is largest, (M, 2) as row and column from 0, and its value there (M,).

        Of several largest pixels the first, by rows. `grids` is (M, h, w).
        """
        (y, rows), (x, columns) = self._corners
        values = (rows @ grids @ columns.T).reshape(len(grids), -1)
        at = values.argmax(1)
        return np.stack([y[at // len(x)], x[at % len(x)]], 1), values[np.arange(len(grids)), at]
