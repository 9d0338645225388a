"""Areas that a human or a reference has drawn: ROI sets, overlays, masks and label images, as one mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_SUBTYPE

from mikata import regions
from mikata.errors import ImageError, RegionError
from mikata.images import looks_like_image, read
from mikata.language import say
from mikata.types import Image, Region

OWN = "overlap: "
"""Start of the names of regions that this module's command draws; they are never read as somebody's."""

_ROI_ENDINGS = (".zip", ".roi")


@dataclass(frozen=True, eq=False)
class Area:
    """A mask, and what was left out to make it.

    Attributes
    ----------
    mask:
        (H, W) of the image: everything that lies in any region.
    cut:
        How many regions reach beyond the image; what lies outside does not count.
    """

    mask: NDArray[np.bool_]
    cut: int = 0


def file_for(place: Path, image: str, single: bool, what: str, endings: tuple[str, ...] = ("",)) -> Path:
    """The file in a folder (or the file itself) that belongs to an image, by its name.

    Parameters
    ----------
    place:
        A folder with a file for each image, named as it (with one of `endings`); or one file, for one image.
    single:
        Whether there is one image only.

    Raises
    ------
    RegionError
        If there is none, or more than one.
    """
    if place.is_file():
        if single:
            return place
        raise RegionError(
            say(
                "{what} is the file {path}, but there are several images. Give a folder with a file for each image, named "
                "as the image.",
                what=what,
                path=place,
            )
        )
    stems = {f"{image}{ending}".casefold() for ending in endings}
    found = sorted(
        path
        for path in place.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.stem.casefold() in stems
        and (path.suffix.lower() in _ROI_ENDINGS or looks_like_image(path))
    )
    if not found:
        raise RegionError(
            say(
                "{what}: the folder {folder} has no file for the image {image}. It must be named as the image.",
                what=what,
                folder=place,
                image=image,
            )
        )
    if len(found) > 1:
        raise RegionError(
            say(
                "{what}: the folder {folder} has several files for the image {image}: {files}. Keep one.",
                what=what,
                folder=place,
                image=image,
                files=", ".join(path.name for path in found),
            )
        )
    return found[0]


def area(path: Path, shape: tuple[int, int]) -> Area:
    """The mask of an image's regions out of a file.

    A ``.roi``, a ``.zip`` of ROIs, or a TIFF with an overlay or a selection: every region with an area but pictures
    and what Mikata itself has drawn (heat, contours). Any other image is taken as a mask or label image, of which
    everything that is not 0 counts.

    Parameters
    ----------
    shape:
        (height, width) of the image that they are of.

    Raises
    ------
    RegionError
        If there is none, one has no area or lies outside the image, or a mask has another size, several planes,
        fractions, or no background.
    """
    if path.suffix.lower() in _ROI_ENDINGS:
        return _of_regions(path, regions.read(path), shape)
    try:
        image = read(path)
    except ImageError as error:
        raise RegionError(str(error)) from error
    drawn = [region for region in (*image.overlay, *((image.roi,) if image.roi else ())) if _theirs(region)]
    if drawn:
        if (image.size("Y"), image.size("X")) != shape:
            raise _another_size(path, (image.size("Y"), image.size("X")), shape)
        return _of_regions(path, tuple(drawn), shape)
    return Area(_of_pixels(path, image, shape))


def _theirs(region: Region) -> bool:
    """Whether a region is not one that Mikata has drawn."""
    if region.name.startswith(("heat", OWN)):
        return False
    return bool(regions.to_roi(region).subtype != ROI_SUBTYPE.IMAGE)


def _of_regions(path: Path, found: tuple[Region, ...], shape: tuple[int, int]) -> Area:
    found = tuple(region for region in found if _theirs(region))
    if not found:
        raise RegionError(say("{path} holds no regions.", path=path))
    mask = np.zeros(shape, bool)
    cut = 0
    # once more with a margin that shows what lies outside
    margin = max(shape)
    for region in found:
        try:
            inside = regions.mask(region, shape)
        except RegionError as error:
            raise RegionError(f"{path}: {error}") from error
        if not inside.any():
            raise RegionError(
                say(
                    "{path}: the region '{region}' lies outside the image of {width} x {height} px, or is empty. Are these "
                    "the regions of this image?",
                    path=path,
                    region=region.name,
                    width=shape[1],
                    height=shape[0],
                )
            )
        roi = regions.to_roi(region)
        beyond = roi.left < 0 or roi.top < 0 or roi.right > shape[1] or roi.bottom > shape[0]
        if beyond:
            larger = regions.mask(region, (shape[0] + margin, shape[1] + margin))
            cut += bool(roi.left < 0 or roi.top < 0 or larger.sum() > inside.sum())
        mask |= inside
    return Area(mask, cut)


def _of_pixels(path: Path, image: Image, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if image.is_colour or image.array.squeeze().ndim != 2:
        raise RegionError(
            say(
                "{path} is in colour or has several planes: regions are a ROI set, or a mask or label image of one plane.",
                path=path,
            )
        )
    values = image.array.squeeze()
    if values.shape != shape:
        raise _another_size(path, values.shape, shape)
    if values.dtype.kind == "f" and not (
        np.isfinite(values).all() and np.array_equal(values, np.rint(values)) and values.min() >= 0
    ):
        raise RegionError(
            say(
                "{path} holds values that are no labels (fractions, negative numbers or NaN): a mask has 0 outside and "
                "whole numbers inside.",
                path=path,
            )
        )
    inside = np.asarray(values != 0)
    if inside.all():
        raise RegionError(
            say(
                "{path} has no pixel of value 0, so that the region would be the whole image. Is it a mask? 0 must be "
                "outside.",
                path=path,
            )
        )
    return inside


def _another_size(path: Path, found: tuple[int, ...], shape: tuple[int, int]) -> RegionError:
    return RegionError(
        say(
            "{path} is {found_width} x {found_height} px, but its image is {width} x {height} px.",
            path=path,
            found_width=found[1],
            found_height=found[0],
            width=shape[1],
            height=shape[0],
        )
    )
