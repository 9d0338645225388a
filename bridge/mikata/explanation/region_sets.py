"""Regions of one image as pixels: of ROIs and of label images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mikata import regions as rois
from mikata.errors import RegionError
from mikata.language import say
from mikata.types import Region

_HIGHEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Part:
    """A region's pixels: `inside` is (h, w), its first pixel at row `top` and column `left` of the image."""

    name: str
    top: int
    left: int
    inside: NDArray[np.bool_] = field(repr=False)

    @property
    def area_px(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.inside))

    def holds(self, places: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of the pixels (M, 2), as row and column, are in it: (M,)."""
        y, x = places[:, 0] - self.top, places[:, 1] - self.left
        height, width = self.inside.shape
        near = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        found = np.zeros(len(places), bool)
        found[near] = self.inside[y[near], x[near]]
        return found


@dataclass(frozen=True)
class Remarks:
    """What a reader must know of an image's regions; as in `RegionSet`."""

    overlapping_px: int
    partly_outside: tuple[str, ...]
    joined: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RegionSet:
    """All regions of an image of one size.

    Attributes
    ----------
    shape:
        Height and width of the image in px.
    parts:
        The regions, each with at least one pixel, names all different.
    partly_outside:
        Names of regions that reach over the image's border; the pixels beyond it do not count.
    joined:
        Names that several ROIs had, which are one region here.
    """

    shape: tuple[int, int]
    parts: tuple[Part, ...]
    partly_outside: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the regions, in their order."""
        return tuple(part.name for part in self.parts)

    @cached_property
    def overlapping_px(self) -> int:
        """Number of pixels that are in more than one region: where there are any, shares can exceed 1 together."""
        count = np.zeros(self.shape, np.uint16)
        for part in self.parts:
            height, width = part.inside.shape
            count[part.top : part.top + height, part.left : part.left + width] += part.inside
        return int(np.count_nonzero(count > 1))

    @property
    def remarks(self) -> Remarks:
        """What is worth saying, without the pixels."""
        return Remarks(self.overlapping_px, self.partly_outside, self.joined)

    def masks(self) -> NDArray[np.bool_]:
        """The regions as (R, height, width)."""
        found = np.zeros((len(self.parts), *self.shape), bool)
        for mask, part in zip(found, self.parts, strict=True):
            height, width = part.inside.shape
            mask[part.top : part.top + height, part.left : part.left + width] = part.inside
        return found


def from_masks(names: Sequence[str], masks: ArrayLike) -> RegionSet:
    """Regions of masks (R, height, width).

    Raises
    ------
    RegionError
        If a mask is empty, or names and masks do not fit.
    """
    array = np.asarray(masks, bool)
    if array.ndim != 3 or len(array) != len(names) or len(set(names)) != len(names):
        raise RegionError(
            say(
                "Masks are of shape (regions, height, width) with a name of its own for each, not {shape} with "
                "{count} names.",
                shape=array.shape,
                count=len(set(names)),
            )
        )
    return RegionSet(
        (int(array.shape[1]), int(array.shape[2])),
        tuple(_cropped(name, mask) for name, mask in zip(names, array, strict=True)),
    )


def from_regions(regions: Iterable[Region], shape: tuple[int, int], where: str) -> RegionSet:
    """Regions of ROIs, as ImageJ fills them; ROIs of one name are one region.

    A ROI without a name is called ``region 1`` and so on, by its place in the set.

    Parameters
    ----------
    where:
        The image, for messages.

    Raises
    ------
    RegionError
        If there is none, a ROI has no area, or lies wholly outside the image.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    outside: list[str] = []
    joined: list[str] = []
    for number, region in enumerate(regions, 1):
        name = region.name or f"region {number}"
        mask = rois.mask(region, shape)
        roi = rois.to_roi(region)
        box = {"left": roi.left, "top": roi.top, "right": roi.right, "bottom": roi.bottom}
        if not mask.any():
            raise RegionError(
                say(
                    "The region '{region}' lies outside {image}, which is {width} px wide and {height} px high: it goes "
                    "from {left} to {right} across and from {top} to {bottom} down, or has no pixel. Is it drawn on "
                    "another image?",
                    region=name,
                    image=where,
                    width=shape[1],
                    height=shape[0],
                    **box,
                )
            )
        if roi.left < 0 or roi.top < 0 or roi.right > shape[1] or roi.bottom > shape[0]:
            outside.append(name)
        if name in found:
            joined.append(name)
            found[name] |= mask
        else:
            found[name] = mask
    if not found:
        raise RegionError(say("There is no region for {image}.", image=where))
    parts = tuple(_cropped(name, mask) for name, mask in found.items())
    return RegionSet(shape, parts, tuple(dict.fromkeys(outside)), tuple(dict.fromkeys(joined)))


def from_labels(labels: ArrayLike, where: str) -> RegionSet:
    """Regions of a label image (height, width): one for each whole number from 1, called ``label 7``.

    Raises
    ------
    RegionError
        If the numbers are not whole, below 0 or above 2147483647, or all are 0; `where` names the file.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise RegionError(
            say(
                "{file}: labels are whole numbers of shape (height, width), not {kind} {shape}.",
                file=where,
                kind=array.dtype,
                shape=array.shape,
            )
        )
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise RegionError(say("{file}: labels are whole numbers; this image has others.", file=where))
    if array.size and (array.min() < 0 or array.max() > _HIGHEST):
        raise RegionError(
            say(
                "{file}: labels go from 0 to {limit}; this image has {lowest:g} to {highest:g}.",
                file=where,
                limit=_HIGHEST,
                lowest=array.min(),
                highest=array.max(),
            )
        )
    numbers, dense = np.unique(array.astype(np.int64), return_inverse=True)
    dense = dense.reshape(array.shape) + int(numbers.size > 0 and numbers[0] != 0)
    numbers = numbers[numbers != 0]
    if not numbers.size:
        raise RegionError(say("{file} holds no label: every pixel is 0.", file=where))
    parts = []
    for index, box in enumerate(ndimage.find_objects(dense), 1):
        parts.append(Part(f"label {numbers[index - 1]}", box[0].start, box[1].start, dense[box] == index))
    return RegionSet((int(array.shape[0]), int(array.shape[1])), tuple(parts))


def _cropped(name: str, mask: NDArray[np.bool_]) -> Part:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        raise RegionError(say("The region '{region}' has no pixel.", region=name))
    top, left = int(rows[0]), int(columns[0])
    return Part(name, top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())
