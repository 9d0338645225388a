"""Files are the same to ImageJ and to Mikata: TIFF written by one, read by the other; argument: a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import mikata.imagej
from mikata import images
from mikata.imagej import rois
from mikata.imagej.java import jclass
from mikata.types import Image, ValueCalibration

ij = mikata.imagej.start()
folder = Path(sys.argv[1], "山田 (test)")
folder.mkdir()
rng = np.random.default_rng(0)


def make(axes: str, shape: tuple[int, ...], kind: str, **given: object) -> Image:
    """A random image with everything a TIFF of ImageJ can hold."""
    array = (
        rng.integers(0, 255, shape, np.uint8) if kind == "uint8" else (rng.random(shape) * 6e4).astype(kind)
    )
    planes = int(np.prod(shape[: axes.index("Y")]))
    # Latin 1: of other characters in labels ImageJ loses half when it reads its own files
    labels = tuple(f"côté {n}" for n in range(planes)) if planes > 1 else ()
    roi = jclass("ij.gui.OvalRoi")(1, 1, 4, 3)
    roi.setName("細胞 1")
    roi.setStrokeColor(jclass("java.awt.Color").cyan)
    region = rois.from_roi(roi)
    return Image(
        array,
        axes,
        "画",
        (0.5, 0.25, 2.0 if planes > 1 else 1.0),
        "mm",
        slice_labels=labels,
        overlay=(region, region),
        **given,
    )  # type: ignore[arg-type]


def luts(count: int) -> tuple[np.ndarray, ...]:
    return tuple(rng.integers(0, 255, (3, 256), np.uint8) for _ in range(count))


SIGNED = ValueCalibration((-32768.0, 1.0), "HU")
CASES = [
    make("YX", (6, 9), "uint8"),
    make("YX", (6, 9), "uint8", luts=luts(1)),
    make("YX", (6, 9), "uint16", calibration=SIGNED, display_ranges=((32768.0, 34000.0),)),
    make("YX", (6, 9), "float32", display_ranges=((10.0, 500.0),)),
    make("ZYX", (3, 6, 9), "float32"),
    make("YXS", (6, 9, 3), "uint8"),
    make("ZYXS", (2, 6, 9, 3), "uint8"),
    make("CYX", (3, 6, 9), "uint8", mode="color", luts=luts(3)),
    make(
        "TZCYX",
        (2, 3, 2, 6, 9),
        "uint16",
        mode="composite",
        luts=luts(2),
        display_ranges=((0.0, 9e3), (5.0, 6e4)),
    ),
]


def same(image: Image, other: Image, what: str) -> None:
    assert other.axes == image.axes, (what, image.axes, other.axes)
    assert other.array.dtype == image.array.dtype, what
    assert np.array_equal(other.array, image.array), what
    for name in ("pixel_size", "unit", "calibration", "mode", "slice_labels"):
        assert getattr(other, name) == getattr(image, name), (
            what,
            name,
            getattr(image, name),
            getattr(other, name),
        )
    if image.display_ranges:
        assert other.display_ranges == image.display_ranges, (what, other.display_ranges)
    assert [r.name for r in other.overlay] == [r.name for r in image.overlay], what
    assert len(other.luts) == len(image.luts), (what, len(other.luts))
    assert all(np.array_equal(a, b) for a, b in zip(other.luts, image.luts, strict=True)), what


for number, image in enumerate(CASES):
    kind = f"{image.axes} {image.array.dtype}"
    by_imagej = folder / f"ij {number}.tif"
    saver = jclass("ij.io.FileSaver")(ij.to_java(image))
    assert saver.saveAsTiff(str(by_imagej))
    same(image, ij.from_java(ij.open(by_imagej), keep_metadata=True), f"ImageJ's file in ImageJ: {kind}")
    same(image, images.read(by_imagej, keep_metadata=True), f"ImageJ's file in Mikata: {kind}")
    by_mikata = images.write_tiff(folder / f"mikata {number}.tif", image)
    same(image, images.read(by_mikata, keep_metadata=True), f"Mikata's file in Mikata: {kind}")
    same(image, ij.from_java(ij.open(by_mikata), keep_metadata=True), f"Mikata's file in ImageJ: {kind}")
print(f"{len(CASES)} kinds, four ways")
