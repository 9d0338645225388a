"""Regions made from coordinates.

Coordinates are those of pixel edges, as ImageJ's: (0, 0) is the upper left corner of the first pixel,
x to the right, y down. The bytes are of version 228, which ImageJ 1.54p itself writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import roifile
from numpy.typing import ArrayLike, NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

from mikata.errors import RegionError
from mikata.language import say
from mikata.regions.files import from_roi, to_roi
from mikata.types import Region

VERSION = 228
LOWEST, HIGHEST = -5000, 60535
"""Range of whole coordinates in ImageJ's format."""

Position = int | tuple[int, int, int]


def rectangle(x: float, y: float, width: float, height: float, *, corner: int = 0, **look: Any) -> Region:
    """A rectangle with its upper left corner at (`x`, `y`); `corner` rounds its corners by that diameter.

    Parameters that all builders share (`look`):

    name : str
        The region's name.
    stroke_color, fill_color : str
        ``#rrggbb``, or ``#aarrggbb`` with the opacity first.
    stroke_width : float
        In pixels; 0 is ImageJ's default.
    position : int or (int, int, int)
        Slice of a stack, or (channel, slice, frame) of a hyperstack, from 1; 0 stands for all.
    group : int
        0 to 255. From a file ImageJ draws a group's ROIs in the group's own colour, whatever `stroke_color`
        is.
    properties : dict of str to str
        Words that ImageJ keeps with the region.

    Raises
    ------
    RegionError
        If a coordinate is not finite or outside -5000..60535, or a colour, position or group is not
        as described. All builders raise it.
    """
    roi = _box(ROI_TYPE.RECT, x, y, width, height)
    roi.arrow_head_size, roi.rounded_rect_arc_size = 0, int(corner)
    return finished(roi, **look)


def oval(x: float, y: float, width: float, height: float, **look: Any) -> Region:
    """An upright oval that fills the rectangle with its upper left corner at (`x`, `y`)."""
    return finished(_box(ROI_TYPE.OVAL, x, y, width, height), **look)


def ellipse(x1: float, y1: float, x2: float, y2: float, aspect_ratio: float, **look: Any) -> Region:
    """A turned ellipse with its long axis from (`x1`, `y1`) to (`x2`, `y2`), `aspect_ratio` 0 to 1."""
    if not 0 < aspect_ratio <= 1:
        raise RegionError(
            say(
                "An ellipse's aspect ratio is above 0 and up to 1, not {aspect_ratio}.",
                aspect_ratio=aspect_ratio,
            )
        )
    return finished(_turned(ROI_SUBTYPE.ELLIPSE, x1, y1, x2, y2, aspect_ratio, aspect_ratio), **look)


def rotated_rectangle(x1: float, y1: float, x2: float, y2: float, width: float, **look: Any) -> Region:
    """A turned rectangle along the line from (`x1`, `y1`) to (`x2`, `y2`), `width` pixels wide."""
    if not width > 0:
        raise RegionError(say("A rectangle's width is above 0, not {width}.", width=width))
    length = max(float(np.hypot(x2 - x1, y2 - y1)), 1e-9)
    return finished(_turned(ROI_SUBTYPE.ROTATED_RECT, x1, y1, x2, y2, width / length, width), **look)


def line(x1: float, y1: float, x2: float, y2: float, **look: Any) -> Region:
    """A straight line."""
    return finished(_straight(x1, y1, x2, y2), **look)


def arrow(x1: float, y1: float, x2: float, y2: float, *, head_size: int = 10, **look: Any) -> Region:
    """An arrow pointing at (`x2`, `y2`)."""
    roi = _straight(x1, y1, x2, y2)
    roi.subtype = ROI_SUBTYPE.ARROW
    roi.arrow_head_size = int(head_size)
    return finished(roi, **look)


def polygon(xy: ArrayLike, **look: Any) -> Region:
    """A polygon of corners (N, 2), N >= 3; whole numbers stay whole, others are kept as float32."""
    return finished(_points(ROI_TYPE.POLYGON, xy, 3), **look)


def freehand(xy: ArrayLike, **look: Any) -> Region:
    """An area drawn by hand: a polygon of points (N, 2), N >= 3."""
    return finished(_points(ROI_TYPE.FREEHAND, xy, 3), **look)


def traced(xy: ArrayLike, **look: Any) -> Region:
    """An area traced along pixel edges, as ImageJ's wand does: corners (N, 2), N >= 3."""
    return finished(_points(ROI_TYPE.TRACED, xy, 3), **look)


def polyline(xy: ArrayLike, **look: Any) -> Region:
    """A line through points (N, 2), N >= 2."""
    return finished(_points(ROI_TYPE.POLYLINE, xy, 2), **look)


def freeline(xy: ArrayLike, **look: Any) -> Region:
    """A line drawn by hand through points (N, 2), N >= 2."""
    return finished(_points(ROI_TYPE.FREELINE, xy, 2), **look)


def angle(xy: ArrayLike, **look: Any) -> Region:
    """An angle: three points (3, 2), its corner in the middle."""
    roi = _points(ROI_TYPE.ANGLE, xy, 3)
    if roi.n_coordinates != 3:
        raise RegionError(say("An angle has 3 points, not {count}.", count=roi.n_coordinates))
    return finished(roi, **look)


def points(xy: ArrayLike, *, size: int = 3, **look: Any) -> Region:
    """A set of points (N, 2), N >= 1; a whole number is the centre of its pixel; `size` 1 to 25 px."""
    roi = _points(ROI_TYPE.POINT, xy, 1)
    roi.stroke_width = int(size)
    width = look.pop("stroke_width", 0)
    if width:
        raise RegionError(say("Points have a size, not a stroke width."))
    return finished(roi, **look)


def text(x: float, y: float, words: str, *, size: int = 18, font: str = "SansSerif", **look: Any) -> Region:
    """Words written with their upper left corner at (`x`, `y`), `size` in points."""
    if not words:
        raise RegionError(say("A text region has words."))
    lines = words.splitlines() or [words]
    # ImageJ measures the words again with the font it has; this is a likely size until then
    width = max(len(one) for one in lines) * size * 0.6 + 2
    roi = _box(ROI_TYPE.RECT, int(x), int(y), int(np.ceil(width)), int(np.ceil(size * 1.3 * len(lines))))
    roi.subtype = ROI_SUBTYPE.TEXT
    roi.text, roi.text_name, roi.text_size = words, font, int(size)
    return finished(roi, **look)


def composite(parts: Sequence[Region | ArrayLike], **look: Any) -> Region:
    """An area of several closed outlines; where two overlap is a hole (the even-odd rule).

    Parameters
    ----------
    parts:
        Polygon-like regions, rectangles or composites, or corners (N, 2).
    """
    outlines: list[NDArray[np.float32]] = []
    for part in parts:
        if isinstance(part, Region):
            outlines.extend(_outlines(part))
        else:
            outlines.append(_checked(part, 3).astype(np.float32))
    if not outlines:
        raise RegionError(say("A composite region has at least one outline."))
    return shape(outlines, **look)


def shape(outlines: Sequence[NDArray[Any]], **look: Any) -> Region:
    """A composite of closed outlines (N, 2): ImageJ's path of move (0), line (1) and close (4)."""
    commands = []
    for outline in outlines:
        path = np.empty((len(outline), 3), np.float32)
        path[:, 0] = 1
        path[0, 0] = 0
        path[:, 1:] = outline
        commands.append(np.append(path.ravel(), np.float32(4)))
    every = np.concatenate([np.asarray(outline, np.float64) for outline in outlines])
    roi = _blank(ROI_TYPE.RECT)
    roi.multi_coordinates = np.concatenate(commands)
    roi.shape_roi_size = int(roi.multi_coordinates.size)
    _bound(roi, every)
    return finished(roi, **look)


# ---------------------------------------------------------------- parts


def _blank(kind: ROI_TYPE) -> roifile.ImagejRoi:
    return roifile.ImagejRoi(roitype=kind, version=VERSION, options=ROI_OPTIONS.SCALE_STROKE_WIDTH)


def _checked(xy: ArrayLike, least: int) -> NDArray[Any]:
    array = np.asarray(xy)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least or array.dtype.kind not in "iuf":
        raise RegionError(
            say(
                "Points are an array of shape (N, 2) with N >= {least}, not {shape}.",
                least=least,
                shape=array.shape,
            )
        )
    if not np.isfinite(array).all() or array.min() < LOWEST or array.max() > HIGHEST:
        raise RegionError(
            say(
                "A point of a region is outside ImageJ's range, {lowest} to {highest}.",
                lowest=LOWEST,
                highest=HIGHEST,
            )
        )
    return array


def _bound(roi: roifile.ImagejRoi, xy: NDArray[Any]) -> None:
    low, high = np.floor(xy.min(axis=0)), np.ceil(xy.max(axis=0))
    roi.left, roi.top = int(low[0]), int(low[1])
    roi.right, roi.bottom = int(high[0]), int(high[1])


def _box(kind: ROI_TYPE, x: float, y: float, width: float, height: float) -> roifile.ImagejRoi:
    if not (width > 0 and height > 0):
        raise RegionError(
            say("A region of {width} x {height} pixels has no area.", width=width, height=height)
        )
    ends = np.array([[x, y], [x + width, y + height]], np.float64)
    _checked(ends, 2)
    roi = _blank(kind)
    _bound(roi, ends)
    if not (ends == np.floor(ends)).all():
        roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.xd, roi.yd, roi.widthd, roi.heightd = float(x), float(y), float(width), float(height)
    return roi


def _straight(x1: float, y1: float, x2: float, y2: float) -> roifile.ImagejRoi:
    ends = np.array([[x1, y1], [x2, y2]], np.float64)
    _checked(ends, 2)
    roi = _blank(ROI_TYPE.LINE)
    roi.x1, roi.y1, roi.x2, roi.y2 = float(x1), float(y1), float(x2), float(y2)
    _bound(roi, ends)
    return roi


def _turned(
    kind: ROI_SUBTYPE, x1: float, y1: float, x2: float, y2: float, relative: float, parameter: float
) -> roifile.ImagejRoi:
    """Ellipse or rectangle about a line: ImageJ draws them from the line's ends and one number."""
    along = np.array([x2 - x1, y2 - y1], np.float64)
    across = np.array([-along[1], along[0]]) * relative / 2
    ends = np.array([[x1, y1], [x2, y2]], np.float64)
    corners = np.concatenate([ends + across, ends[::-1] - across])
    roi = _points(ROI_TYPE.FREEHAND, corners, 4)
    roi.subtype = kind
    roi.x1, roi.y1, roi.x2, roi.y2 = float(x1), float(y1), float(x2), float(y2)
    packed = np.array(parameter, ">f4").tobytes()  # shares its four bytes with arrow and corner fields
    roi.arrow_style_or_aspect_ratio, roi.arrow_head_size = packed[0], packed[1]
    roi.rounded_rect_arc_size = int.from_bytes(packed[2:], "big", signed=True)
    return roi


def _points(kind: ROI_TYPE, xy: ArrayLike, least: int) -> roifile.ImagejRoi:
    array = _checked(xy, least)
    whole = np.floor(array).astype(np.int64)
    roi = _blank(kind)
    _bound(roi, whole if (whole == array).all() else np.concatenate([whole, np.ceil(array)]))
    if len(array) > 65535 and kind != ROI_TYPE.POINT:
        if kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
            raise RegionError(say("ImageJ's polygons have up to 65535 points; make it a composite."))
        raise RegionError(say("ImageJ's lines have up to 65535 points."))
    roi.integer_coordinates = (whole - [roi.left, roi.top]).astype(np.int32)
    roi.n_coordinates = len(array)
    if not (whole == array).all():
        roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = array.astype(np.float32)
    return roi


def _outlines(part: Region) -> list[NDArray[np.float32]]:
    roi = to_roi(part)
    if roi.multi_coordinates is not None:
        outlines = roi.path2coords(roi.multi_coordinates)
        return [one[:-1] if len(one) > 3 and (one[0] == one[-1]).all() else one for one in outlines]
    if (
        roi.roitype == ROI_TYPE.RECT
        and roi.subtype == ROI_SUBTYPE.UNDEFINED
        and not roi.rounded_rect_arc_size
    ):
        x0, y0, x1, y1 = roi.left, roi.top, roi.right, roi.bottom
        return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)]
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED) and not roi.subtype:
        return [np.asarray(roi.coordinates(), np.float32)]
    raise RegionError(
        say("The region '{region}' is no polygon; trace its mask with contours first.", region=part.name)
    )


def finished(
    roi: roifile.ImagejRoi,
    *,
    name: str = "",
    stroke_color: str = "",
    fill_color: str = "",
    stroke_width: float = 0.0,
    position: Position = 0,
    group: int = 0,
    properties: dict[str, str] | None = None,
) -> Region:
    """A roifile ROI with the look that all builders share, as a region."""
    roi.name = name
    if stroke_color:
        roi.stroke_color = _argb(stroke_color)
    if fill_color:
        roi.fill_color = _argb(fill_color)
    if stroke_width < 0:
        raise RegionError(
            say("A stroke's width is 0 or more, not {stroke_width}.", stroke_width=stroke_width)
        )
    if stroke_width:
        roi.stroke_width, roi.float_stroke_width = int(stroke_width), float(stroke_width)
    place = (position,) if isinstance(position, (int, np.integer)) else tuple(position)
    if len(place) not in (1, 3) or any(int(p) != p or p < 0 for p in place):
        raise RegionError(
            say(
                "A position is a slice or (channel, slice, frame), from 1, not {position}.", position=position
            )
        )
    if len(place) == 1:
        roi.position = int(place[0])
    else:
        roi.c_position, roi.z_position, roi.t_position = (int(p) for p in place)
    if not 0 <= group <= 255:
        raise RegionError(say("A group is a number from 0 to 255, not {group}.", group=group))
    roi.group = int(group)
    roi.props = "".join(f"{key}: {value}\n" for key, value in (properties or {}).items())
    return from_roi(roi)


def _argb(colour: str) -> bytes:
    found = re.fullmatch(r"#([0-9a-fA-F]{2})?([0-9a-fA-F]{6})", colour)
    if not found:
        raise RegionError(say("A colour is #rrggbb or #aarrggbb, not '{colour}'.", colour=colour))
    return bytes.fromhex((found[1] or "ff") + found[2])
