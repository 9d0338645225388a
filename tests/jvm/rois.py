"""ROIs of every kind, made by ImageJ and by Mikata, and what they are made of (for round_trips.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jpype
import numpy as np
from hypothesis import strategies as st
from roifile import ROI_OPTIONS, ROI_SUBTYPE

from mikata import regions
from mikata.imagej.java import jclass
from mikata.imagej.rois import from_roi, to_roi
from mikata.types import Region

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
WHOLE = st.integers(0, 40)
HALF = st.integers(0, 160).map(lambda n: n / 4)  # quarters of pixels are exact in 32 bits
LENGTH = st.integers(1, 160).map(lambda n: n / 4)
COLOURS = st.one_of(st.none(), st.tuples(*[st.integers(0, 255)] * 3, st.integers(1, 255)))

Made = Callable[[Any], Any]


def _floats(values: Any) -> Any:
    return jpype.JArray(jpype.JFloat)([float(value) for value in values])


def _ints(values: Any) -> Any:
    return jpype.JArray(jpype.JInt)([int(value) for value in values])


def _points(draw: Any, least: int, most: int = 8) -> tuple[list[float], list[float]]:
    """Corners that are not all on one spot, of which ImageJ makes nothing."""
    kind = draw(st.sampled_from([WHOLE, HALF]))
    pairs = draw(st.lists(st.tuples(kind, kind), min_size=least, max_size=most, unique=True))
    return [x for x, _ in pairs], [y for _, y in pairs]


def _polygon(draw: Any, kind: str) -> Any:
    polygon = jclass("ij.gui.PolygonRoi")
    xs, ys = _points(draw, *((3, 3) if kind == "ANGLE" else (3, 8)))
    if all(x == int(x) for x in [*xs, *ys]):
        return polygon(_ints(xs), _ints(ys), len(xs), getattr(polygon, kind))
    return polygon(_floats(xs), _floats(ys), getattr(polygon, kind))


def _spline(draw: Any) -> Any:
    roi = _polygon(draw, "POLYGON")
    roi.fitSpline()
    return roi


def _rounded(draw: Any) -> Any:
    roi = jclass("ij.gui.Roi")(draw(WHOLE), draw(WHOLE), draw(WHOLE) + 9, draw(WHOLE) + 9)
    roi.setCornerDiameter(draw(st.integers(1, 9)))
    return roi


def _arrow(draw: Any) -> Any:
    roi = jclass("ij.gui.Arrow")(draw(HALF), draw(HALF), draw(HALF) + 50, draw(HALF))
    roi.setHeadSize(float(draw(st.integers(1, 30))))
    roi.setDoubleHeaded(draw(st.booleans()))
    roi.setOutline(draw(st.booleans()))
    roi.setStyle(draw(st.integers(0, 4)))
    return roi


def _point_set(draw: Any) -> Any:
    xs, ys = _points(draw, 1)
    roi = jclass("ij.gui.PointRoi")(_floats(xs), _floats(ys), len(xs))
    roi.setPointType(draw(st.integers(0, 3)))
    roi.setSize(draw(st.integers(1, 7)))
    if draw(st.booleans()):
        roi.setCounter(draw(st.integers(1, 3)))
        roi.addPoint(draw(HALF) + 50, draw(HALF))
    return roi


def _composite(draw: Any) -> Any:
    shape = jclass("ij.gui.ShapeRoi")
    outer = shape(jclass("ij.gui.OvalRoi")(draw(WHOLE), draw(WHOLE), 30, draw(WHOLE) + 9))
    inner = shape(jclass("ij.gui.Roi")(draw(WHOLE), draw(WHOLE), draw(WHOLE) + 3, 17))
    return draw(st.sampled_from([outer.or_, outer.xor]))(inner)


def _text(draw: Any) -> Any:
    font = jclass("java.awt.Font")("SansSerif", draw(st.integers(0, 3)), draw(st.integers(8, 30)))
    words = draw(st.lists(TEXT.map(str.strip).filter(bool), min_size=1, max_size=2))
    roi = jclass("ij.gui.TextRoi")(draw(WHOLE), draw(WHOLE), "\n".join(words), font)
    roi.setJustification(draw(st.integers(0, 2)))
    roi.setAngle(float(draw(st.integers(-90, 90))))
    return roi


def _picture(draw: Any) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rgb = rng.integers(0, 2**24, (draw(WHOLE) + 1) * 5)
    ip = jclass("ij.process.ColorProcessor")(len(rgb) // 5, 5, _ints(rgb))
    roi = jclass("ij.gui.ImageRoi")(draw(WHOLE), draw(WHOLE), ip)
    roi.setOpacity(draw(st.floats(0, 1)))
    roi.setZeroTransparent(draw(st.booleans()))
    return roi


IMAGEJ: dict[str, Made] = {
    "rectangle": lambda d: jclass("ij.gui.Roi")(d(WHOLE), d(WHOLE), d(WHOLE) + 1, d(WHOLE) + 1),
    "rectangle between pixels": lambda d: jclass("ij.gui.Roi")(d(HALF), d(HALF), d(LENGTH), d(LENGTH)),
    "rounded rectangle": _rounded,
    "rotated rectangle": lambda d: jclass("ij.gui.RotatedRectRoi")(d(HALF), d(HALF), d(HALF) + 50, d(HALF), d(LENGTH)),
    "oval": lambda d: jclass("ij.gui.OvalRoi")(d(WHOLE), d(WHOLE), d(WHOLE) + 1, d(WHOLE) + 1),
    "oval between pixels": lambda d: jclass("ij.gui.OvalRoi")(d(HALF), d(HALF), d(LENGTH), d(LENGTH)),
    "ellipse": lambda d: jclass("ij.gui.EllipseRoi")(
        d(HALF), d(HALF), d(HALF) + 50, d(HALF), d(st.sampled_from([0.25, 0.5, 1.0]))
    ),
    "polygon": lambda d: _polygon(d, "POLYGON"),
    "spline": _spline,
    "freehand": lambda d: _polygon(d, "FREEROI"),
    "traced": lambda d: _polygon(d, "TRACED_ROI"),
    "line": lambda d: jclass("ij.gui.Line")(d(HALF), d(HALF), d(HALF) + 50, d(HALF)),
    "arrow": _arrow,
    "polyline": lambda d: _polygon(d, "POLYLINE"),
    "freeline": lambda d: _polygon(d, "FREELINE"),
    "angle": lambda d: _polygon(d, "ANGLE"),
    "points": _point_set,
    "composite": _composite,
    "text": _text,
    "picture": _picture,
}  # fmt: skip


def _xy(draw: Any, least: int) -> list[tuple[float, float]]:
    return list(zip(*_points(draw, least), strict=True))


MIKATA: dict[str, Callable[..., Region]] = {
    "rectangle": lambda d, **k: regions.rectangle(d(HALF), d(HALF), d(LENGTH), d(LENGTH), **k),
    "rounded rectangle": lambda d, **k: regions.rectangle(
        d(WHOLE), d(WHOLE), d(WHOLE) + 9, 30, corner=d(st.integers(1, 9)), **k
    ),
    "rotated rectangle": lambda d, **k: regions.rotated_rectangle(d(HALF), d(HALF), d(HALF) + 50, d(HALF), d(LENGTH), **k),
    "oval": lambda d, **k: regions.oval(d(HALF), d(HALF), d(LENGTH), d(LENGTH), **k),
    "ellipse": lambda d, **k: regions.ellipse(d(HALF), d(HALF), d(HALF) + 50, d(HALF), 0.5, **k),
    "polygon": lambda d, **k: regions.polygon(_xy(d, 3), **k),
    "freehand": lambda d, **k: regions.freehand(_xy(d, 3), **k),
    "traced": lambda d, **k: regions.traced(_xy(d, 3), **k),
    "line": lambda d, **k: regions.line(d(HALF), d(HALF), d(HALF) + 50, d(HALF), **k),
    "arrow": lambda d, **k: regions.arrow(d(HALF), d(HALF), d(HALF) + 50, d(HALF), head_size=d(st.integers(1, 30)), **k),
    "polyline": lambda d, **k: regions.polyline(_xy(d, 2), **k),
    "freeline": lambda d, **k: regions.freeline(_xy(d, 2), **k),
    "angle": lambda d, **k: regions.angle(_xy(d, 3)[:3], **k),
    "points": lambda d, **k: regions.points(_xy(d, 1), **k),
    "composite": lambda d, **k: regions.composite([_xy(d, 3), regions.rectangle(1, 2, 9, 8)], **k),
    "text": lambda d, **k: regions.text(d(WHOLE), d(WHOLE), d(TEXT.map(str.strip).filter(bool)), **k),
}  # fmt: skip


def imagejs(draw: Any, kind: str) -> Region:
    """A region of ImageJ's own making, with all that it can carry."""
    roi = IMAGEJ[kind](draw)
    roi.setName(draw(TEXT.filter(bool)))
    colour = jclass("java.awt.Color")
    stroke, fill = draw(COLOURS), draw(COLOURS)
    if kind != "points" and draw(st.booleans()):
        roi.setStrokeWidth(draw(st.integers(1, 40)) / 4)
    roi.setGroup(draw(st.sampled_from([0, 0, 1, 255])))  # before the colours: it brings its own
    if stroke:
        roi.setStrokeColor(colour(*stroke))
    if fill:
        roi.setFillColor(colour(*fill))
    if draw(st.booleans()):
        roi.setProperty("score", draw(TEXT.filter(bool)))
    where = draw(st.sampled_from([(), (7,), (1, 2, 3), (0, 2, 0)]))
    if where:
        roi.setPosition(*where)
    return from_roi(roi)


def mikatas(draw: Any, kind: str) -> Region:
    """A region of Mikata's builders."""
    look: dict[str, Any] = {
        "name": draw(TEXT.filter(bool)),
        "position": draw(st.sampled_from([0, 7, (1, 2, 3)])),
    }
    if draw(st.booleans()):
        look |= {"stroke_color": "#80ff8000", "fill_color": "#40112233", "properties": {"a": "語"}}
    if kind != "points" and draw(st.booleans()):
        look["stroke_width"] = draw(st.integers(1, 40)) / 4
    return MIKATA[kind](draw, **look)


@st.composite
def rois(draw: Any) -> Region:
    """A region of any kind, in ImageJ's own bytes."""
    makers = [(imagejs, kind) for kind in IMAGEJ] + [(mikatas, kind) for kind in MIKATA]
    maker, kind = draw(st.sampled_from(makers))
    region = maker(draw, kind)
    return region if maker is imagejs else through_imagej(region)


def through_imagej(region: Region) -> Region:
    """A region read and written by ImageJ."""
    return from_roi(to_roi(region))


# What ImageJ 1.54p itself does not keep when it reads its own bytes.
LINE = {"stroke_width", "float_stroke_width"}
LOST = {
    # its box is measured again, in fractions of pixels; words have no outline
    ROI_SUBTYPE.TEXT: {"options", "xd", "yd", "widthd", "heightd"} | LINE,
    # pictures have no look of their own; they are packed anew, and compared as pixels below
    ROI_SUBTYPE.IMAGE: {"options", "stroke_color", "fill_color", "image_data", "image_size"} | LINE,
}
LOOK = {
    "name", "props", "group", "position", "c_position", "z_position", "t_position", "fill_color",
    "stroke_color", "roitype", "subtype", "float_stroke_width", "stroke_width",
}  # fmt: skip


def differences(one: Region, other: Region, only: set[str] | None = None) -> list[str]:
    """Fields of two regions that differ, but for what ImageJ itself loses or rounds."""
    first, second = regions.to_roi(one), regions.to_roi(other)
    found = [] if one.name == other.name else [f"name ({one.name!r} {other.name!r})"]
    names = {field.name for field in fields(first)} if only is None else only
    for name in sorted(names - LOST.get(first.subtype, set())):
        mine, theirs = getattr(first, name), getattr(second, name)
        if not (np.array_equal(mine, theirs) or _rounded_alike(first, name, mine, theirs)):
            found.append(f"{name} ({mine} {theirs})")
    if first.image is not None and not np.array_equal(first.image, second.image):
        found.append("picture")
    return found


def _rounded_alike(roi: Any, name: str, mine: Any, theirs: Any) -> bool:
    if mine is None or theirs is None or isinstance(mine, (str, bytes)):
        return False
    if name in LINE and not mine and roi.subtype == ROI_SUBTYPE.ARROW:
        return bool(theirs == 2)  # ImageJ's arrows are so wide where nothing is said
    if name == "counter_positions":  # points without places of their own take that of their ROI
        return not any(mine) and set(theirs) == {roi.position}
    if name == "image_opacity":  # 0 to 1 is cut to 255 steps, each time anew
        return abs(mine - theirs) <= 1
    if roi.options & ROI_OPTIONS.SPLINE_FIT and name in {"top", "left", "bottom", "right"}:
        return abs(mine - theirs) <= 1  # of the curve, whose points are float32
    if roi.options & ROI_OPTIONS.SPLINE_FIT or roi.subtype == ROI_SUBTYPE.ROTATED_RECT:
        # worked out from float32 numbers again: a hundred thousandth of a pixel, or the pixel beside
        step = 1 if name in {"integer_coordinates", "top", "left", "bottom", "right"} else 2e-5
        return np.shape(mine) == np.shape(theirs) and bool(np.allclose(mine, theirs, rtol=0, atol=step))
    return False
