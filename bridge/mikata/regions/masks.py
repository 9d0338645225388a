"""Which pixels a region holds: the same ones as in ImageJ.

The rules are those of ``ij.process.PolygonFiller``, ``ij.gui.OvalRoi.getMask``, ``ij.gui.ShapeRoi``,
``ij.gui.EllipseRoi``, ``ij.gui.RotatedRectRoi`` and ``ij.gui.PointRoi`` of ImageJ 1.54p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import roifile
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

from mikata.errors import RegionError
from mikata.language import say
from mikata.regions.curves import flattened, rounded_rectangle
from mikata.regions.files import to_roi
from mikata.types import Region

_ELLIPSE_CORNERS = 72


def mask(region: Region, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a region in an image of (height, width), as ImageJ's own mask.

    Works for areas (rectangle, also rounded and turned; oval and ellipse; polygon, freehand, traced;
    composite), points (their pixels) and pictures (their rectangle).

    Raises
    ------
    RegionError
        If the region has no area (lines, angles, text), is smoothed by a spline, or is damaged.
    """
    roi = to_roi(region)
    if roi.multi_coordinates is not None:
        outlines = flattened(roi.multi_coordinates)
        return _filled(outlines, _outer_box(outlines), shape)
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise RegionError(
            say(
                "The region '{region}' is smoothed by a spline; in ImageJ, use Edit > Selection > "
                "Interpolate to turn it into points.",
                region=region.name,
            )
        )
    fill = _FILLS.get((roi.roitype, roi.subtype)) or _FILLS.get((roi.roitype, None))
    if fill is None or roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW):
        kind = (roi.subtype if roi.subtype > 0 else roi.roitype).name.lower()
        raise RegionError(say("The region '{region}' ({kind}) has no area.", region=region.name, kind=kind))
    return fill(roi, shape)


def _box(roi: roifile.ImagejRoi) -> tuple[int, int, int, int]:
    """x, y, width, height as `ij.gui.Roi` rounds them: the start cut off, the size rounded up."""
    if roi.subpixelrect:
        x, y = int(roi.xd), int(roi.yd)
        return x, y, int(np.ceil(np.float32(roi.widthd))), int(np.ceil(np.float32(roi.heightd)))
    return roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top


def _rectangle(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    x, y, width, height = _box(roi)
    if roi.subtype == ROI_SUBTYPE.UNDEFINED and roi.rounded_rect_arc_size > 0:
        outlines = rounded_rectangle(x, y, width, height, roi.rounded_rect_arc_size)
        return _filled(outlines, (x, y, width, height), shape)
    return _placed((x, y, width, height), shape, lambda rows, columns: True)


def _oval(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    x, y, width, height = _box(roi)
    a, b = width / 2, height / 2
    across = np.square(np.arange(width) - (a - 0.5)) / (a * a)
    down = np.square(np.arange(height) - (b - 0.5)) / (b * b)
    return _placed(
        (x, y, width, height), shape, lambda rows, columns: across[None, columns] + down[rows, None] <= 1.0
    )


def _polygon(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if roi.n_coordinates < 1:
        raise RegionError(say("The region '{region}' has no points.", region=roi.name))
    if roi.subpixel_coordinates is not None:
        outline = roi.subpixel_coordinates.astype(np.float32)
        low = outline.min(axis=0)
        box = _outer_box([outline])
        # ImageJ moves float32 points to start at 0 and adds the start back in double precision
        return _filled([outline - low], box, shape, offset=low.astype(np.float64) - box[:2])
    outline = np.asarray(roi.coordinates(), np.float64)
    low = outline.min(axis=0).astype(int)
    size = outline.max(axis=0).astype(int) - low
    return _filled([outline - low], (*low, *size), shape, offset=np.zeros(2))


def _ellipse(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    ratio = min(max(_parameter(roi), 0.0), 1.0)
    dx, dy = float(roi.x2) - roi.x1, float(roi.y2) - roi.y1
    major = np.sqrt(dx * dx + dy * dy)
    turn = np.arctan2(dy, dx) * 180.0 / np.pi
    around = np.arange(_ELLIPSE_CORNERS) * 360.0 / _ELLIPSE_CORNERS / 180.0 * np.pi
    along, across = np.cos(around) * major / 2.0, np.sin(around) * (major * ratio) / 2.0
    angle = np.arctan2(across, along) + turn / 180.0 * np.pi
    radius = np.sqrt(along * along + across * across)
    outline = np.stack(
        [(roi.x1 + roi.x2) / 2.0 + np.cos(angle) * radius, (roi.y1 + roi.y2) / 2.0 + np.sin(angle) * radius],
        axis=1,
    ).astype(np.float32)
    return _relative(outline, shape)


def _turned_rectangle(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    dx, dy = float(roi.x2) - roi.x1, float(roi.y2) - roi.y1
    length = np.sqrt(dx * dx + dy * dy)
    if length == 0:
        raise RegionError(say("The region '{region}' has no area.", region=roi.name))
    half = 0.5 * _parameter(roi) * np.array([dy, -dx]) / length
    first, last = np.array([roi.x1, roi.y1]), np.array([roi.x2, roi.y2])
    corners = [first + half, last + half, last - half, first - half]
    return _relative(np.array(corners).astype(np.float32), shape)


def _relative(outline: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """ImageJ's box of such a polygon: the start rounded down, the size to the nearest."""
    low = np.floor(outline.min(axis=0)).astype(int)
    size = (outline.max(axis=0) - low + 0.5).astype(int)
    relative = (outline - low.astype(np.float32)).astype(np.float32)
    return _filled([relative], (*low, *size), shape, offset=np.zeros(2))


def _parameter(roi: roifile.ImagejRoi) -> float:
    """The float32 that lies over the arrow's and corner's fields."""
    data = bytes([roi.arrow_style_or_aspect_ratio, roi.arrow_head_size])
    data += roi.rounded_rect_arc_size.to_bytes(2, "big", signed=True)
    return float(np.frombuffer(data, ">f4")[0])


def _spots(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> NDArray[np.bool_]:
    # Java rounds halves up
    xy = np.floor(np.asarray(roi.coordinates(), np.float64) + 0.5).astype(int)
    result = np.zeros(shape, bool)
    here = xy[((xy >= 0) & (xy < [shape[1], shape[0]])).all(axis=1)]
    result[here[:, 1], here[:, 0]] = True
    return result


Fill = Callable[[roifile.ImagejRoi, tuple[int, int]], NDArray[np.bool_]]
_FILLS: dict[tuple[ROI_TYPE, ROI_SUBTYPE | None], Fill] = {
    (ROI_TYPE.RECT, None): _rectangle,
    (ROI_TYPE.OVAL, None): _oval,
    (ROI_TYPE.POLYGON, None): _polygon,
    (ROI_TYPE.FREEHAND, None): _polygon,
    (ROI_TYPE.TRACED, None): _polygon,
    (ROI_TYPE.FREEHAND, ROI_SUBTYPE.ELLIPSE): _ellipse,
    (ROI_TYPE.FREEHAND, ROI_SUBTYPE.ROTATED_RECT): _turned_rectangle,
    (ROI_TYPE.POINT, None): _spots,
}


# ---------------------------------------------------------------- filling


def _outer_box(outlines: list[NDArray[np.float32]]) -> tuple[int, int, int, int]:
    every = np.concatenate(outlines)
    low, high = np.floor(every.min(axis=0)).astype(int), np.ceil(every.max(axis=0)).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _filled(
    outlines: Sequence[NDArray[np.floating]],
    box: tuple[int, int, int, int],
    shape: tuple[int, int],
    *,
    offset: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Fill closed outlines by the even-odd rule within a box, and lay it into an image.

    `offset` is added to the outlines to make them relative to the box; without it they are
    absolute. A pixel is inside if the row's middle line enters the outline at or left of the
    pixel's middle, with ImageJ's 1e-8 to the right for crossings that are exactly there.
    """
    x, y, width, height = box
    if offset is None:
        corner = np.array([x, y], np.float32)
        outlines = [outline - corner for outline in outlines]
        offset = np.zeros(2)
    rows, columns = _crossings(outlines, offset, width, height)

    def inside(seen_rows: slice, seen_columns: slice) -> NDArray[np.bool_]:
        # only what is in the image: a region may be 65535 pixels wide
        top, bottom, left, right = seen_rows.start, seen_rows.stop, seen_columns.start, seen_columns.stop
        here = (rows >= top) & (rows < bottom)
        # what is entered left of the image is inside from its first column on
        place = (rows[here] - top) * (right - left + 1) + np.clip(columns[here], left, right) - left
        toggles = np.bincount(place, minlength=(bottom - top) * (right - left + 1))
        odd = (toggles & 1).astype(np.uint8).reshape(bottom - top, right - left + 1)
        return np.bitwise_xor.accumulate(odd, axis=1)[:, :-1].astype(bool)

    return _placed(box, shape, inside)


def _crossings(
    outlines: Sequence[NDArray[np.floating]],
    offset: NDArray[np.float64],
    width: int,
    height: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row, and first column right of each crossing of an outline with the middle of a row."""
    starts = np.concatenate(outlines).astype(np.float64) + offset
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines]).astype(np.float64) + offset
    first, last = np.floor(starts[:, 1] + 0.5).astype(np.int64), np.floor(ends[:, 1] + 0.5).astype(np.int64)
    crossing = first != last
    starts, ends, first, last = starts[crossing], ends[crossing], first[crossing], last[crossing]
    upward = first > last
    starts[upward], ends[upward] = ends[upward], starts[upward]
    first[upward], last[upward] = last[upward], first[upward]
    slope = (ends[:, 0] - starts[:, 0]) / (ends[:, 1] - starts[:, 1])
    # the order of these operations is ImageJ's: its rounding errors are ours
    x = starts[:, 0] + (first - starts[:, 1] + 0.5) * slope + 1e-8
    above = first < 0
    x[above] += slope[above] * -first[above]
    first[above] = 0
    lengths = np.minimum(last, height) - first

    rows, columns = [], []
    straight = (slope == 0) & (lengths > 0)
    counts = lengths[straight]
    if counts.size:
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows.append(np.repeat(first[straight], counts) + within)
        columns.append(np.repeat(_column(x[straight], width), counts))
    order = np.argsort(-lengths[slope != 0], kind="stable")
    x, slope, first, lengths = (values[slope != 0][order] for values in (x, slope, first, lengths))
    active = int(np.count_nonzero(lengths > 0))
    step = 0
    while active:
        rows.append(first[:active] + step)
        columns.append(_column(x[:active], width))
        x[:active] += slope[:active]
        step += 1
        while active and lengths[active - 1] <= step:
            active -= 1
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(rows), np.concatenate(columns)


def _column(x: NDArray[np.float64], width: int) -> NDArray[np.int64]:
    return np.clip(np.trunc(x + 0.5), 0, width).astype(np.int64)


def _placed(
    box: tuple[int, int, int, int],
    shape: tuple[int, int],
    inside: Callable[[slice, slice], NDArray[np.bool_] | bool],
) -> NDArray[np.bool_]:
    """An empty image with the seen part of a box filled; `inside` gets its rows and columns in the box."""
    x, y, width, height = box
    result = np.zeros(shape, bool)
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, shape[0]), min(x + width, shape[1])
    if top < bottom and left < right:
        result[top:bottom, left:right] = inside(slice(top - y, bottom - y), slice(left - x, right - x))
    return result
