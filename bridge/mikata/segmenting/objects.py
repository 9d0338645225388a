"""Connected pixels of a class as objects: found, parted where they touch, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mikata.tiling import CHANCES, PlaneValues, bands

_EIGHT = np.ones((3, 3), bool)
"""Pixels that touch by a corner are of one object, as in ImageJ's Analyze Particles and in `mikata.regions.contours`."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one plane; number n of the labels is place n - 1 of the rest.

    Attributes
    ----------
    labels:
        (M, H, W) int32: numbers from 1, 0 outside; M is more than 1 where objects of several channels may overlap.
    layers:
        Which of the M each is in.
    classes:
        Number of the output that each belongs to.
    """

    labels: NDArray[np.int32]
    layers: NDArray[np.int64]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class Measured:
    """Of each object: px, centre in px as ImageJ has it, mean value of each channel, mean probability (0 to 1).

    ImageJ's coordinates are those of pixel edges: the centre of the first pixel is (0.5, 0.5).
    """

    areas: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    means: NDArray[np.float64]
    chances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parting:
    """From what touching objects are parted.

    Attributes
    ----------
    seeds:
        (H, W) bool: inside of an object, apart from those of its neighbours.
    height:
        (H, W) float32 that rises from the seeds towards where two objects meet.
    """

    seeds: NDArray[np.bool_]
    height: NDArray[np.float32]


def find(
    classes: NDArray[Any], outputs: Sequence[Sequence[int]], least_px: int, parting: Parting | None = None
) -> Objects:
    """The objects of a plane.

    Parameters
    ----------
    classes:
        (M, H, W) number of each pixel's class; 0 is background.
    outputs:
        For each of the M which numbers are to be found, 1 and up, each with its own objects.
    least_px:
        Objects of fewer px are left out, and their pixels become 0 in `classes`.
    parting:
        How touching objects are parted: from each one's seeds on by a watershed over the height. Objects with fewer
        than two seeds stay as they are.

    Returns
    -------
    Objects
        Numbered by layer and class, and within these from top to bottom.
    """
    labels = np.zeros(classes.shape, np.int32)
    layers: list[int] = []
    kinds: list[int] = []
    for layer, wanted in enumerate(outputs):
        for kind in wanted:
            own, count = ndimage.label(classes[layer] == kind, _EIGHT, output=np.int32)
            if parting is not None:
                count = _part(own, count, parting)
            kept = _renumbered(own, count, least_px, len(kinds), parted=parting is not None)
            for rows in bands(own.shape[0]):
                band = own[rows]
                inside = band > 0
                new = kept[band]
                labels[layer, rows][inside] = new[inside]
                if least_px > 1:
                    classes[layer, rows][inside & (new == 0)] = 0
            more = int(kept.max(initial=0)) - len(kinds) if kept.any() else 0
            layers += [layer] * more
            kinds += [kind] * more
    return Objects(labels, np.array(layers, np.int64), np.array(kinds, np.int64))


def _renumbered(
    labels: NDArray[np.int32], count: int, least_px: int, before: int, *, parted: bool
) -> NDArray[np.int32]:
    """For each number the new one, from `before` + 1 on; 0 for those that are too small.

    In the order of their first pixels, which connected pixels have from the start, but not those that were `parted`.
    """
    areas = np.zeros(count + 1, np.int64)
    for rows in bands(labels.shape[0]):
        areas += np.bincount(labels[rows].ravel(), minlength=count + 1)
    stay = areas >= max(1, least_px)
    stay[0] = False
    if not parted:
        return np.where(stay, np.cumsum(stay) + before, 0).astype(np.int32)
    first = np.full(count + 1, labels.size, np.int64)
    for rows in reversed(list(bands(labels.shape[0]))):
        band = labels[rows].ravel()
        # of several values for a number the last counts, which backwards is the first pixel
        first[band[::-1]] = np.arange(band.size - 1, -1, -1) + rows.start * labels.shape[1]
    order = np.flatnonzero(stay)[np.argsort(first[stay])]
    numbers = np.zeros(count + 1, np.int32)
    numbers[order] = np.arange(1, len(order) + 1) + before
    return numbers


def _part(labels: NDArray[np.int32], count: int, parting: Parting) -> int:
    """Part each object that has several seeds, in place; gives how many there are then."""
    from skimage.segmentation import watershed

    for number, box in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[box] == number
        marks, seeds = ndimage.label(parting.seeds[box] & inside, _EIGHT)
        if seeds < 2:
            continue
        parts = watershed(parting.height[box], marks, mask=inside, connectivity=_EIGHT)  # type: ignore[no-untyped-call]
        view = labels[box]
        others = inside & (parts > 1)
        view[others] = count + parts[others] - 1
        count += seeds - 1
    return count


def measure(found: Objects, plane: PlaneValues, chances: NDArray[np.uint16], scale: int) -> Measured:
    """Measure the objects of a plane, some rows at a time.

    Parameters
    ----------
    found:
        Its objects.
    plane:
        Its values.
    chances:
        (M, H, W) probability of each pixel in steps of 1 / `CHANCES`.
    scale:
        px of the labels a px of the values.
    """
    count = len(found)
    areas = np.zeros(count, np.int64)
    x, y, chance = (np.zeros(count) for _ in range(3))
    means: NDArray[np.float64] | None = None
    height = found.labels.shape[1]
    for rows in bands(height):
        source = slice(rows.start // scale, -(-rows.stop // scale))
        values = plane.values(source)
        if means is None:
            means = np.zeros((count, len(values)))
        for layer in range(len(found.labels)):
            band = found.labels[layer, rows]
            down, across = np.nonzero(band)
            if not len(down):
                continue
            number = band[down, across] - 1
            areas += np.bincount(number, minlength=count)
            y += np.bincount(number, down + rows.start, count)
            x += np.bincount(number, across, count)
            chance += np.bincount(number, chances[layer, rows][down, across], count)
            place = (down + rows.start) // scale - source.start, across // scale
            for channel, plain in enumerate(values):
                means[:, channel] += np.bincount(number, plain[place], count)
    if means is None:
        means = np.zeros((count, 1))
    some = np.maximum(areas, 1)
    return Measured(areas, x / some + 0.5, y / some + 0.5, means / some[:, None], chance / some / CHANCES)
