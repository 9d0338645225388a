"""Image -> ImagePlus -> Image is exact for every kind of image (hypothesis, one JVM)."""

from __future__ import annotations

import jpype
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mikata.imagej
from mikata.imagej import convert
from mikata.imagej.java import jclass
from mikata.types import Image, ValueCalibration

ij = mikata.imagej.start()

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
NUMBER = st.floats(1e-6, 1e6)
UNITS = ("pixel", "mm", "µm", "inch", "nm")


@st.composite
def _rois(draw):
    """Regions of ImageJ's own making: each kind, with name, colour, position and group."""
    java = jclass
    x, y = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    floats = jpype.JArray(jpype.JFloat)
    kind = draw(st.sampled_from(["rectangle", "oval", "line", "polygon", "freehand", "points", "composite"]))
    xs, ys = [float(x), x + 9.0, x + 4.0], [float(y), y + 2.0, y + 8.0]
    if kind == "rectangle":
        roi = java("ij.gui.Roi")(x, y, 5, 7)
    elif kind == "oval":
        roi = java("ij.gui.OvalRoi")(x, y, 6, 4)
    elif kind == "line":
        roi = java("ij.gui.Line")(float(x), float(y), x + 5.5, y + 3.25)
    elif kind == "points":
        roi = java("ij.gui.PointRoi")(floats(xs), floats(ys))
    elif kind == "composite":
        one, two = (java("ij.gui.ShapeRoi")(java("ij.gui.Roi")(x, y, n, n)) for n in (9, 3))
        roi = one.not_(two)
    else:
        polygon = java("ij.gui.PolygonRoi")
        roi = polygon(floats(xs), floats(ys), polygon.POLYGON if kind == "polygon" else polygon.FREEROI)
    roi.setName(draw(TEXT.filter(bool)))
    roi.setStrokeColor(java("java.awt.Color")(draw(st.integers(0, 255)), 20, 200))
    roi.setGroup(draw(st.integers(0, 255)))
    if draw(st.booleans()):
        roi.setPosition(draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    return convert.from_roi(roi)


@st.composite
def images(draw):
    kind = draw(st.sampled_from(["uint8", "uint16", "float32", "rgb"]))
    sizes = {axis: draw(st.integers(1, 3)) for axis in "TZC"}
    if kind == "rgb":
        sizes["C"] = 1
    axes = "".join(a for a in "TZC" if sizes[a] > 1) + "YX" + ("S" if kind == "rgb" else "")
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    shape = (*(sizes[a] for a in "TZC" if sizes[a] > 1), height, width, *((3,) if kind == "rgb" else ()))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "float32":
        array = rng.normal(0, 1e3, shape).astype(np.float32)
        if draw(st.booleans()):
            array.flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e-40, -0.0]))
    else:
        dtype = "uint8" if kind == "rgb" else kind
        array = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if draw(st.booleans()):  # an array that does not lie in memory as it is read
        array = array[..., ::-1, :] if kind == "rgb" else array[..., ::-1]
    channels = sizes["C"]
    mode = draw(st.sampled_from(["composite", "color", "grayscale"])) if channels > 1 else ""
    shown = channels if mode else 1
    luts, ranges = (), ()
    if kind != "rgb":
        if draw(st.booleans()):
            luts = tuple(rng.integers(0, 255, (3, 256), np.uint8) for _ in range(shown))
        if draw(st.booleans()):
            top = 200 if kind == "uint8" else 60000
            ranges = tuple(
                tuple(map(float, sorted(rng.integers(1, top, 2) + np.array([0, 1])))) for _ in range(shown)
            )
    planes = sizes["T"] * sizes["Z"] * sizes["C"]
    calibration = None
    if kind in ("uint8", "uint16") and draw(st.booleans()):
        calibration = draw(
            st.sampled_from(
                [
                    ValueCalibration((-1024.0, 1.0), "HU"),
                    ValueCalibration((0.5, 0.1), "Bq/mL"),
                    ValueCalibration((0.0, 1.0, 0.25), "a.u.", 1),
                    ValueCalibration((1.0, 2.0, 3.0, 4.0, 5.0), "x", 3),
                    *([ValueCalibration((-32768.0, 1.0))] if kind == "uint16" else []),
                ]
            )
        )
    return Image(
        array,
        axes,
        title=draw(TEXT),
        pixel_size=(draw(NUMBER), draw(NUMBER), draw(NUMBER)),
        unit=draw(st.sampled_from(UNITS)),
        frame_interval_s=draw(st.sampled_from([0.0, 0.5, 3600.0])),
        calibration=calibration,
        value_unit=draw(st.sampled_from(["grey", "HU"])) if calibration is None and kind != "rgb" else "grey",
        luts=luts,
        display_ranges=ranges,
        mode=mode,
        slice_labels=draw(st.one_of(st.just(()), st.tuples(*[TEXT] * planes).filter(any))),
        overlay=draw(st.lists(_rois(), max_size=2).map(tuple)),
        roi=draw(st.one_of(st.none(), _rois())),
        info=draw(TEXT),
    )


def check(image: Image, back: Image) -> None:
    assert back.array.dtype == image.array.dtype
    assert back.array.shape == image.array.shape
    assert back.array.tobytes() == np.ascontiguousarray(image.array).tobytes()  # NaN and -0.0 too
    for name in ("axes", "title", "pixel_size", "unit", "frame_interval_s", "calibration", "value_unit"):
        assert getattr(back, name) == getattr(image, name), name
    for name in ("mode", "slice_labels", "info"):
        assert getattr(back, name) == getattr(image, name), name
    assert len(back.luts) == len(image.luts)
    assert all(np.array_equal(a, b) for a, b in zip(back.luts, image.luts, strict=True))
    if image.display_ranges:
        assert back.display_ranges == image.display_ranges
    assert [(r.data, r.name) for r in back.overlay] == [(r.data, r.name) for r in image.overlay]
    assert (back.roi is None) == (image.roi is None)
    if image.roi is not None:
        assert back.roi is not None
        assert (back.roi.name, len(back.roi.data)) == (image.roi.name, len(image.roi.data))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(images())
def test_round_trip(image: Image) -> None:
    before = image.array.tobytes()
    imp = ij.to_java(image)
    check(image, ij.from_java(imp, keep_metadata=True))
    assert ij.from_java(imp).info == ""
    assert image.array.tobytes() == before


test_round_trip()
print("150 images exact")
