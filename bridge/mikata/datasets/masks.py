"""What each pixel of an image is: label images, class images, binary masks, ImageJ's ROIs and overlays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mikata import regions
from mikata.errors import DataError, ImageError, RegionError
from mikata.images import read as read_image
from mikata.language import say
from mikata.regions import to_roi
from mikata.types import Region

Kind = Literal["auto", "objects", "classes", "binary"]
"""What the numbers of mask images are: those of objects, those of classes, or 0 and one other."""

ROI_ENDINGS = (".roi", ".zip")
_LOSSY = (".jpg", ".jpeg")
_MOST_CLASSES = 255
LAST_NUMBER = re.compile(r"[\s_.:#-]*\d+$")


@dataclass(frozen=True)
class Reading:
    """How masks are read.

    Attributes
    ----------
    kind:
        What the numbers of mask images are; ``auto`` settles it for a whole data set.
    names:
        Of the classes but the background, in the order of their numbers from 1.
    """

    kind: Kind
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Truth:
    """What each pixel is.

    Attributes
    ----------
    classes:
        Number of its class (H, W), uint8; 0 is background.
    objects:
        Number of its object (H, W), int32, from 1 without gaps; 0 is background.
    """

    classes: NDArray[np.uint8]
    objects: NDArray[np.int32]

    @property
    def digest(self) -> str:
        """SHA-256 of both and their shape."""
        found = hashlib.sha256(str(self.classes.shape).encode())
        found.update(self.classes.tobytes())
        found.update(self.objects.tobytes())
        return found.hexdigest()


def holds_regions(mask: Path, image: Path) -> bool:
    """Whether a mask is ROIs: a file of them, or the image's own overlay."""
    return mask.suffix.lower() in ROI_ENDINGS or mask == image


def numbers_of(mask: Path) -> NDArray[np.int64]:
    """The numbers (H, W) of a mask image.

    Raises
    ------
    DataError
        If it cannot be read, has several planes or colours, or numbers that are not whole or below 0.
    """
    if mask.suffix.lower() in _LOSSY:
        raise DataError(
            say(
                "{file} is a JPEG, which changes values: it cannot hold the numbers of a mask. Save the mask as TIFF or PNG "
                "where it was made.",
                file=mask,
            )
        )
    try:
        image = read_image(mask)
        stored: NDArray[Any] = image.array
        if image.is_colour:
            if not (stored == stored[..., :1]).all():
                raise DataError(
                    say(
                        "{file} is a mask in colour. Save it as a grey image whose values are the numbers of classes or "
                        "objects, 0 for background.",
                        file=mask,
                    )
                )
            stored = stored[..., 0]
        if stored.ndim != 2:
            raise DataError(
                say("{file} has several slices, frames or channels; a mask is one plane.", file=mask)
            )
    except (ImageError, OSError) as error:
        raise DataError(say("The mask {file} cannot be read: {reason}", file=mask, reason=error)) from error
    if (
        stored.dtype.kind == "f"
        and not (np.isfinite(stored) & (stored == np.floor(stored)) & (stored >= 0)).all()
    ):
        raise DataError(
            say(
                "{file} has values that are not whole numbers from 0: it is an image, but no mask. Is it in the wrong "
                "column or folder?",
                file=mask,
            )
        )
    return np.asarray(stored, np.int64)


def truth_of(mask: Path, image: Path, shape: tuple[int, int], reading: Reading) -> Truth:
    """What each pixel of an image of (height, width) is.

    Raises
    ------
    DataError
        If the mask cannot be read or does not suit the image or the classes; the message names its file.
    """
    if holds_regions(mask, image):
        return _of_regions(mask, shape, reading.names)
    numbers = numbers_of(mask)
    if numbers.shape != shape:
        raise DataError(
            say(
                "{file} is {width} x {height} px, but its image {image} is {image_width} x {image_height} px. A mask has "
                "the size of its image.",
                file=mask,
                image=image.name,
                width=numbers.shape[1],
                height=numbers.shape[0],
                image_width=shape[1],
                image_height=shape[0],
            )
        )
    if reading.kind == "binary":
        values = np.unique(numbers)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise DataError(
                say(
                    "{file} has the values {values}; a binary mask has 0 and one other.",
                    file=mask,
                    values=_listed(values),
                )
            )
        return _of_classes((numbers > 0).astype(np.uint8))
    if reading.kind == "classes":
        highest = int(numbers.max())
        if highest > len(reading.names):
            raise DataError(
                say(
                    "{file} has the value {value}, but the recipe names {count} class(es): {names}. Name all classes in the "
                    'order of their values, from 1, or say masks = "objects" where each object has its own number.',
                    file=mask,
                    value=highest,
                    count=len(reading.names),
                    names=", ".join(reading.names),
                )
            )
        return _of_classes(numbers.astype(np.uint8))
    _, dense = np.unique(np.concatenate([[0], numbers.ravel()]), return_inverse=True)
    objects = dense[1:].reshape(shape).astype(np.int32)
    return Truth((objects > 0).astype(np.uint8), objects)


def _of_classes(classes: NDArray[np.uint8]) -> Truth:
    """Objects are what hangs together in one class, corners included."""
    objects = np.zeros(classes.shape, np.int32)
    count = 0
    for number in np.unique(classes[classes > 0]):
        found, own = ndimage.label(classes == number, structure=np.ones((3, 3)))
        objects[found > 0] = found[found > 0] + count
        count += int(own)
    return Truth(classes, objects)


def _of_regions(file: Path, shape: tuple[int, int], names: tuple[str, ...]) -> Truth:
    """Each ROI is an object; later ones lie over earlier ones, as ImageJ draws them. An overlay stands for itself."""
    try:
        found = regions.read(file, selection=False)
    except RegionError as error:
        raise DataError(str(error)) from error
    classes, objects = np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
    for number, region in enumerate(found, 1):
        try:
            inside = regions.mask(region, shape)
        except RegionError as error:
            raise DataError(f"{file}: {error}") from error
        if not inside.any():
            raise DataError(
                say(
                    "{file}: the ROI '{region}' lies outside of its image of {width} x {height} px, or has no pixel. Does "
                    "it belong to another image?",
                    file=file,
                    region=region.name,
                    width=shape[1],
                    height=shape[0],
                )
            )
        classes[inside] = class_of(region, names, file)
        objects[inside] = number
    _, dense = np.unique(np.concatenate([[0], objects.ravel()]), return_inverse=True)
    return Truth(classes, dense[1:].reshape(shape).astype(np.int32))


def class_of(region: Region, names: tuple[str, ...], file: Path) -> int:
    """Number of a ROI's class from 1: by its name, with or without a number behind it, or by its group.

    Raises
    ------
    DataError
        If it is none of them.
    """
    if len(names) == 1:
        return 1
    plain = {name.casefold(): number for number, name in enumerate(names, 1)}
    for written in (region.name, LAST_NUMBER.sub("", region.name)):
        if written.strip().casefold() in plain:
            return plain[written.strip().casefold()]
    group = int(to_roi(region).group)
    if 1 <= group <= len(names):
        return group
    raise DataError(
        say(
            "{file}: the class of the ROI '{region}' is unknown. Name it after a class ({names}), or give it the group of "
            "its number from 1.",
            file=file,
            region=region.name,
            names=", ".join(names),
        )
    )


def settle(
    masks: Sequence[tuple[Path, Path]], kind: Kind, names: Sequence[str], *, parted: bool, path: Path
) -> Reading:
    """How the masks of a data set are read, the same for all.

    Parameters
    ----------
    masks:
        File of each mask, and of its image.
    kind, names:
        As the recipe says them.
    parted:
        Whether touching objects are to be told apart.
    path:
        Of the data set, for messages.

    Raises
    ------
    DataError
        If it is not clear what the numbers are.
    """
    named = tuple(names)
    if len(named) > _MOST_CLASSES:
        raise DataError(say("There can be at most {most} classes.", most=_MOST_CLASSES))
    if kind == "auto":
        kind = _kind_of(masks, named, parted, path)
    if not named and kind == "classes":
        raise DataError(
            say(
                '{path}: masks = "classes" needs the names of the classes, in the order of their values from 1: say '
                'names = ["..."] in the recipe.',
                path=path,
            )
        )
    if kind in ("objects", "binary") and len(named) > 1:
        images = [mask for mask, image in masks if not holds_regions(mask, image)]
        if images:
            raise DataError(
                say(
                    '{file}: masks = "{kind}" tells one class from the background, but the recipe names {count}.',
                    file=images[0],
                    kind=kind,
                    count=len(named),
                )
            )
    return Reading(kind, named or ("object",))


def _kind_of(masks: Sequence[tuple[Path, Path]], names: tuple[str, ...], parted: bool, path: Path) -> Kind:
    """What the numbers are, where the recipe does not say it.

    Masks of one value each are binary, whichever value that is: 1, 128, 255 or 65535, as different programs write it.
    """
    values: set[int] = set()
    most = pieces = 0
    for mask, image in masks:
        if not holds_regions(mask, image):
            numbers = numbers_of(mask)
            own = set(np.unique(numbers).tolist()) - {0}
            values |= own
            most = max(most, len(own))
            if parted and len(own) > 1:
                pieces += _in_pieces(numbers, len(own))
    if most <= 1 and not (names and len(names) > 1):
        return "binary"
    if len(names) > 1 or (names and not parted):
        return "classes"
    if parted and not pieces:
        return "objects"
    if parted:
        raise DataError(
            say(
                "{path}: {count} mask(s) have numbers of which most lie in several pieces, so they do not seem to be numbers "
                'of objects; the values are {values}. If they are nevertheless, say masks = "objects" in the recipe; if '
                "each mask is foreground and background, save it with two values.",
                path=path,
                count=pieces,
                values=_listed(sorted(values)),
            )
        )
    raise DataError(
        say(
            "{path}: the masks have {count} different values, such as {values}. Are they numbers of objects or of classes? "
            'Say masks = "objects" in the recipe, or name the classes: names = ["..."].',
            path=path,
            count=len(values) + 1,
            values=_listed([0, *sorted(values)]),
        )
    )


def _in_pieces(numbers: NDArray[np.int64], count: int) -> bool:
    """Whether of the `count` numbers of a mask more than half lie in several pieces, as objects do not."""
    from skimage.measure import label

    find: Any = label
    pieces = np.asarray(find(numbers, background=0, connectivity=2))
    whose = np.zeros(int(pieces.max()) + 1, np.int64)
    whose[pieces.ravel()] = numbers.ravel()
    each = np.unique(whose[1:], return_counts=True)[1]
    return int((each > 1).sum()) * 2 > count


def _listed(values: Any) -> str:
    shown = [str(int(value)) for value in values]
    return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")
