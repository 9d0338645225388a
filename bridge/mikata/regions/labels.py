"""Label images to regions and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mikata.errors import RegionError
from mikata.language import say
from mikata.regions.files import to_roi
from mikata.regions.masks import mask
from mikata.regions.outlines import contours
from mikata.types import Region

_PROPERTY = "label"
_HIGHEST = 2**31 - 1


def from_labels(labels: ArrayLike, **look: Any) -> tuple[Region, ...]:
    """The outline of each label of an image, exactly along its pixels' edges.

    Parameters
    ----------
    labels:
        Whole numbers (H, W); 0 is background. A label may have holes and several parts.
    **look:
        Colours, width and position as in `rectangle`; the name is given here.

    Returns
    -------
    tuple of Region
        In rising order of their labels, named "label 7", with the number as the property ``label``,
        which `to_labels` reads and ImageJ keeps even if the region is renamed.

    Raises
    ------
    RegionError
        If the numbers are not whole, negative, or above 2147483647.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise RegionError(
            say(
                "Labels are whole numbers of shape (height, width), not {kind} {shape}.",
                kind=array.dtype,
                shape=array.shape,
            )
        )
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise RegionError(say("Labels are whole numbers; this image has others."))
    if array.size == 0:
        return ()
    if array.min() < 0 or array.max() > _HIGHEST:
        raise RegionError(
            say(
                "Labels go from 0 to {limit}; this image has {lowest} to {highest}.",
                limit=_HIGHEST,
                lowest=array.min(),
                highest=array.max(),
            )
        )
    numbers, dense = np.unique(array.astype(np.int64), return_inverse=True)
    dense = dense.reshape(array.shape)
    if numbers[0] != 0:
        dense = dense + 1
        numbers = np.concatenate([[0], numbers])
    regions = []
    for index, box in enumerate(ndimage.find_objects(dense), 1):
        number = int(numbers[index])
        outline = contours(
            dense[box] == index,
            offset=(box[1].start, box[0].start),
            name=f"label {number}",
            properties={_PROPERTY: str(number)},
            **look,
        )
        regions.append(outline)
    return tuple(regions)


def to_labels(regions: Iterable[Region], shape: tuple[int, int]) -> NDArray[np.int32]:
    """A label image (H, W) of regions with an area.

    A region's number is its property ``label``, or in its name "label 7", or else the
    lowest number that no other region has, in their order. Later regions lie over earlier ones.

    Raises
    ------
    RegionError
        If a region has no area (lines, text) or a number above 2147483647.
    """
    regions = tuple(regions)
    numbers = [_number(region) for region in regions]
    used = {number for number in numbers if number is not None}
    result = np.zeros(shape, np.int32)
    free = 0
    for region, number in zip(regions, numbers, strict=True):
        if number is None:
            free += 1
            while free in used:
                free += 1
            number = free
        if not 0 < number <= _HIGHEST:
            raise RegionError(
                say(
                    "The region '{region}' has the label {number}; labels go from 1 to {limit}.",
                    region=region.name,
                    number=number,
                    limit=_HIGHEST,
                )
            )
        result[mask(region, shape)] = number
    return result


def _number(region: Region) -> int | None:
    for text, pattern in (
        (to_roi(region).props, rf"(?m)^{_PROPERTY}: *(\d+) *$"),
        (region.name, r"(?i)^label (\d+)$"),
    ):
        found = re.search(pattern, text)
        if found:
            return int(found[1])
    return None
