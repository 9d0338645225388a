"""Image -> ImagePlus -> Image is exact for every kind of image (hypothesis, one JVM)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rois
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mikata.imagej
from mikata import regions
from mikata.imagej.java import jclass
from mikata.images import read, write_tiff
from mikata.types import Image, ValueCalibration

ij = mikata.imagej.start()

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
NUMBER = st.floats(1e-6, 1e6)
UNITS = ("pixel", "mm", "µm", "inch", "nm")


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
        overlay=draw(st.lists(rois.rois(), max_size=2).map(tuple)),
        roi=draw(st.one_of(st.none(), rois.rois())),
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
    assert len(back.overlay) == len(image.overlay)
    for one, other in zip(image.overlay, back.overlay, strict=True):
        assert rois.differences(one, other) == []
    assert (back.roi is None) == (image.roi is None)
    if image.roi is not None:
        assert back.roi is not None
        assert rois.differences(image.roi, back.roi) == []


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(images())
def test_round_trip(image: Image) -> None:
    before = image.array.tobytes()
    imp = ij.to_java(image)
    check(image, ij.from_java(imp, keep_metadata=True))
    assert (ij.from_java(imp).info, ij.from_java(imp).slice_labels) == ("", ())
    assert image.array.tobytes() == before


def check_kind(maker: Any, kind: str) -> None:
    """Java to Python to Java and back, and through a TIFF of either; nothing drifts when it is repeated."""

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def one_kind(data: st.DataObject) -> None:
        region = maker(data.draw, kind)
        first = rois.through_imagej(region)
        assert rois.differences(region, first, rois.LOOK if maker is rois.mikatas else None) == []
        second = rois.through_imagej(first)
        assert rois.differences(first, second) == []
        # roifile writes what it reads
        assert rois.differences(region, regions.from_roi(regions.to_roi(region))) == []

    one_kind()


def check_labels() -> None:
    """Whether and how an overlay is labelled survives live, in Mikata's TIFF and in ImageJ's."""

    def look(imp: Any) -> tuple[Any, ...]:
        overlay = imp.getOverlay()
        font = overlay.getLabelFont()
        return (
            bool(overlay.getDrawLabels()), bool(overlay.getDrawNames()), bool(overlay.getDrawBackgrounds()),
            str(overlay.getLabelColor()), None if font is None else (int(font.getSize()), bool(font.isBold())),
        )  # fmt: skip

    for labels, names in ((True, False), (True, True), (False, False)):
        imp = jclass("ij.IJ").createImage("a", "8-bit ramp", 32, 32, 1)
        overlay = jclass("ij.gui.Overlay")()
        for number in range(2):
            overlay.add(jclass("ij.gui.Roi")(number, 1, 5, 5))
        overlay.drawLabels(labels)
        overlay.drawNames(names)
        overlay.drawBackgrounds(labels)
        if labels:
            overlay.setLabelColor(jclass("java.awt.Color").red)
            overlay.setLabelFont(jclass("java.awt.Font")("SansSerif", 1, 17))
        imp.setOverlay(overlay)
        expected, image = look(imp), ij.from_java(imp)
        mark = overlay.get(0).getPrototypeOverlay()
        assert not bool(mark.getDrawNames()), "the user's ROIs are as they were"
        assert look(ij.to_java(image)) == expected
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Path(folder, "a.tif"), Path(folder, "b.tif")
            write_tiff(ours, image)
            assert look(ij.open(ours)) == expected
            assert jclass("ij.io.FileSaver")(imp).saveAsTiff(str(theirs))
            assert look(ij.to_java(read(theirs))) == expected
            assert look(ij.open(write_tiff(ours, read(theirs)))) == expected


def check_channels() -> None:
    """Every image of channels has a mode, and a LUT and a range for each, live and in files."""
    imp = jclass("ij.IJ").createImage("a", "16-bit ramp", 8, 8, 4)
    imp.setDimensions(2, 2, 1)
    imp.getProcessor().setMinAndMax(3, 99)
    image = ij.from_java(imp)
    assert (image.axes, image.mode, image.display_ranges) == ("ZCYX", "grayscale", ((3.0, 99.0),) * 2)
    ranges = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    plain = Image(np.zeros((3, 8, 8), np.uint16), "CYX", display_ranges=ranges)
    with tempfile.TemporaryDirectory() as folder:
        assert read(write_tiff(Path(folder, "a.tif"), image)).display_ranges == image.display_ranges
        for again in (ij.from_java(ij.to_java(plain)), read(write_tiff(Path(folder, "b.tif"), plain))):
            assert (again.mode, again.display_ranges) == (plain.mode, ranges)


def check_units() -> None:
    """Sizes along y and z in units of their own come in the unit of x."""
    imp = jclass("ij.IJ").createImage("a", "8-bit ramp", 8, 8, 4)
    calibration = imp.getCalibration()
    calibration.setXUnit("um")
    calibration.setYUnit("mm")
    calibration.setZUnit("nm")
    calibration.pixelWidth, calibration.pixelHeight, calibration.pixelDepth = 0.5, 0.25, 2000.0
    with tempfile.TemporaryDirectory() as folder:
        assert jclass("ij.io.FileSaver")(imp).saveAsTiff(str(Path(folder, "a.tif")))
        for image in (ij.from_java(imp), read(Path(folder, "a.tif"))):
            assert image.unit == "µm"
            assert np.allclose(image.pixel_size, (0.5, 250.0, 2.0))


test_round_trip()
for kind in rois.IMAGEJ:
    check_kind(rois.imagejs, kind)
for kind in rois.MIKATA:
    check_kind(rois.mikatas, kind)
check_labels()
check_channels()
check_units()
print(f"150 images exact, {len(rois.IMAGEJ)} kinds of ROI")
