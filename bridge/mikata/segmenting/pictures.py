"""Labels, objects and points as ImageJ shows them: images with colours, and ROIs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mikata import regions
from mikata.networks.peaks import Point
from mikata.segmenting.asked import Menu
from mikata.segmenting.objects import Measured, Objects
from mikata.types import Image, Region

_GOLDEN = (5**0.5 - 1) / 2
_GROUPS = 255  # of ImageJ

Position = int | tuple[int, int, int]


def label_colours() -> NDArray[np.uint8]:
    """(3, 256) red, green, blue: 0 is black, and neighbouring numbers have colours far apart (hues by golden section)."""
    table = np.zeros((3, 256), np.uint8)
    for number in range(1, 256):
        hue = (number - 1) * _GOLDEN % 1
        colour = colorsys.hsv_to_rgb(hue, (1.0, 0.6, 0.8)[number % 3], (1.0, 0.95, 0.75)[number % 3])
        table[:, number] = [round(255 * part) for part in colour]
    return table


def colour_of(number: int) -> str:
    """A label's colour as ``#rrggbb``; numbers above 255 begin anew."""
    red, green, blue = label_colours()[:, (number - 1) % 255 + 1]
    return f"#{red:02x}{green:02x}{blue:02x}"


_BY = "by"
"""Property of all ROIs that these commands make: which of them."""


def position(image: Image | tuple[int, int, int], z: int, t: int) -> Position:
    """Where ImageJ shows a ROI of a plane of an image, or of one of so many slices, frames and channels.

    0 everywhere, a stack position, or (any channel, slice, frame).
    """
    if isinstance(image, Image):
        image = image.size("Z"), image.size("T"), image.size("C")
    depth, frames, channels = image
    if depth * frames == 1:
        return 0
    if channels == 1 and 1 in (depth, frames):
        return max(z, t)
    return 0, z, t


def outlines(
    found: Objects,
    measured: Measured,
    names: Sequence[str],
    where: Position,
    *,
    background: bool,
    menu: Menu = "Segment Images",
) -> list[Region]:
    """The outline of each object, exactly along its pixels' edges: "name number", class and probability beside it.

    Its group is the number of its class from 1, as in the masks that a network learns from; `background` says whether the
    first of the names is that of no class.
    """
    result: list[Region] = []
    for layer in range(len(found.labels)):
        for index, box in enumerate(ndimage.find_objects(found.labels[layer])):
            if box is None:
                continue
            number, kind = index + 1, int(found.classes[index])
            result.append(
                regions.contours(
                    found.labels[layer][box] == number,
                    offset=(box[1].start, box[0].start),
                    name=f"{names[kind]} {number}",
                    group=min(kind + (0 if background else 1), _GROUPS),
                    stroke_color=colour_of(kind + 1),
                    position=where,
                    properties={
                        "label": str(number),
                        "class": names[kind],
                        "probability": f"{measured.chances[index]:.4f}",
                        _BY: menu,
                    },
                )
            )
    return result


def marks(
    found: Sequence[Point],
    names: Sequence[str],
    where: Position,
    boxes: bool,
    menu: Menu = "Segment Images",
) -> list[Region]:
    """A point for each place, or a box of its size where the size is known; named by class and score."""
    result = []
    for number, one in enumerate(found, 1):
        look: dict[str, Any] = {
            "name": f"{names[one.kind]} {number} ({one.score:.2f})",
            "group": min(one.kind + 1, _GROUPS),
            "stroke_color": colour_of(one.kind + 1),
            "position": where,
            "properties": {"class": names[one.kind], "score": f"{one.score:.4f}", _BY: menu},
        }
        if boxes and one.width > 0 and one.height > 0:
            made = regions.rectangle(
                one.x - one.width / 2, one.y - one.height / 2, one.width, one.height, **look
            )
        else:  # a whole number is the centre of a pixel
            made = regions.points([(one.x - 0.5, one.y - 0.5)], **look)
        result.append(made)
    return result


def without_earlier(overlay: Sequence[Region]) -> tuple[Region, ...]:
    """An overlay without what an earlier run has drawn, which a person would count and measure with the new."""
    lines = {f"{_BY}: {menu}" for menu in get_args(Menu)}
    return tuple(one for one in overlay if lines.isdisjoint((regions.to_roi(one).props or "").splitlines()))


def scaled(image: Image, array: NDArray[Any], scale: int, title: str, channels: int, **more: Any) -> Image:
    """An image of (T, Z, `channels`, H, W) made of another, with its sizes; a pixel is `scale` times smaller."""
    drop = tuple(axis for axis in range(3) if array.shape[axis] == 1)
    axes = "".join(letter for index, letter in enumerate("TZCYX") if index not in drop)
    x, y, z = image.pixel_size
    return Image(
        array.squeeze(drop),
        axes,
        title,
        pixel_size=(x / scale, y / scale, z),
        unit=image.unit,
        frame_interval_s=image.frame_interval_s,
        luts=tuple(more.pop("luts", ())) * (channels if channels > 1 else 1),
        display_ranges=tuple(more.pop("display_ranges", ())) * (channels if channels > 1 else 1),
        **more,
    )
