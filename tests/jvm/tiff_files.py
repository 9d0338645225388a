"""Images of every kind, written by Python, opened and saved by ImageJ, and read again: the same.

A program of its own: ``python tiff_files.py FOLDER``. It prints what differs and then returns 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jpype
import numpy as np

from mikata import images, regions
from mikata.imagej import java
from mikata.types import Image, ValueCalibration

RNG = np.random.default_rng(1)
FIRE = RNG.integers(0, 256, (3, 256)).astype(np.uint8)


LOOK = (
    "stroke_color", "fill_color", "position", "c_position", "z_position", "t_position", "group",
    "float_stroke_width", "roitype", "subtype", "text", "image_opacity",
)  # fmt: skip


def cases() -> Iterator[tuple[str, Image]]:
    """One image for each thing that ImageJ keeps."""
    overlay = (
        regions.rectangle(1, 2, 5, 6, name="矩形", stroke_color="#ff8000", stroke_width=2.5, position=2),
        regions.polygon([[1.5, 1], [9, 2], [4, 8]], name="𠮷", fill_color="#8000ff00"),
        regions.contours(RNG.random((12, 16)) < 0.5, name="spots", position=(1, 2, 1)),
        regions.text(1, 1, "CT 山田", name="words"),
        regions.points([[1, 1], [2.5, 3]], name="points", group=3),
        regions.image_region(
            RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8), 3, 4, opacity=0.5, name="heat"
        ),
    )
    sizes = {"pixel_size": (0.3, 1 / 3, 2.5), "unit": "µm"}
    uint8 = RNG.integers(0, 256, (12, 16)).astype(np.uint8)
    yield "8-bit", images.from_array(uint8, display_ranges=((10.0, 200.0),), luts=(FIRE,))
    yield (
        "16-bit",
        images.from_array(
            RNG.integers(0, 65536, (12, 16)).astype(np.uint16),
            display_ranges=((5.0, 60000.0),),
            luts=(FIRE,),
            **sizes,
        ),
    )
    yield (
        "signed 16-bit",
        images.from_array(RNG.integers(-3000, 3000, (12, 16)).astype(np.int16), value_unit="HU"),
    )
    yield (
        "calibrated 8-bit",
        images.from_array(
            uint8,
            calibration=ValueCalibration((1.5, -0.25, 1e-4), "Bq/mL", 1),
            unit="mm",
            pixel_size=(0.661468, 2, 1),
        ),
    )
    yield (
        "32-bit",
        images.from_array(
            RNG.normal(size=(12, 16)).astype(np.float32),
            value_unit="g/cm²",
            display_ranges=((-0.125, 1.5),),
            **sizes,
        ),
    )
    yield "colour", images.from_array(RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8), "YXS", **sizes)
    yield (
        "colour stack",
        images.from_array(
            RNG.integers(0, 256, (4, 12, 16, 3)).astype(np.uint8),
            "ZYXS",
            slice_labels=("a", "い", "", "d"),
            **sizes,
        ),
    )
    for mode in ("grayscale", "color", "composite"):
        yield (
            f"hyperstack {mode}",
            images.from_array(
                RNG.integers(0, 65536, (2, 3, 4, 12, 16)).astype(np.uint16),
                mode=mode,
                luts=tuple(RNG.integers(0, 256, (3, 256)).astype(np.uint8) for _ in range(4)),
                display_ranges=tuple((float(i), 1000.0 * (i + 1)) for i in range(4)),
                slice_labels=tuple(f"面 {i}" for i in range(24)),
                frame_interval_s=0.25,
                overlay=overlay,
                roi=regions.oval(2, 3, 5, 6, name="selected"),
                **sizes,
            ),
        )
    yield "slices", images.from_array(RNG.normal(size=(5, 12, 16)).astype(np.float32), "ZYX", overlay=overlay)
    yield (
        "frames",
        images.from_array(
            RNG.integers(0, 256, (5, 12, 16)).astype(np.uint8),
            "TYX",
            frame_interval_s=33.5,
            overlay=overlay[:1],
        ),
    )


def differences(one: Image, other: Image, *, ours: bool) -> list[str]:
    """Names of attributes that differ; ImageJ fills in some that were left open."""
    found = []
    if one.axes != other.axes or not np.array_equal(one.array, other.array):
        found.append(f"pixels ({one.axes} {other.axes})")
    # ImageJ saves fractions of a millionth, and no distance of slices where there is one
    known = 3 if ours or one.size("Z") * one.size("T") > 1 else 2
    if not np.allclose(one.pixel_size[:known], other.pixel_size[:known], rtol=1e-9 if ours else 1e-5, atol=0):
        found.append(f"pixel_size ({one.pixel_size} {other.pixel_size})")
    for name in ("unit", "frame_interval_s", "calibration", "value_unit", "mode", "slice_labels"):
        if name == "slice_labels" and not ours and one.array.ndim == 2:
            continue  # ImageJ labels the one slice with the file's name
        if getattr(one, name) != getattr(other, name):
            found.append(f"{name} ({getattr(one, name)} {getattr(other, name)})")
    if one.display_ranges and one.display_ranges != other.display_ranges:
        found.append(f"display_ranges ({one.display_ranges} {other.display_ranges})")
    # showing channels in grey, ImageJ has put their LUTs aside
    if (
        one.luts
        and (ours or one.mode != "grayscale")
        and (
            len(one.luts) != len(other.luts)
            or not all(np.array_equal(a, b) for a, b in zip(one.luts, other.luts, strict=True))
        )
    ):
        found.append("luts")
    # ImageJ forgets the names of pictures
    named = [a.name for a, b in zip(one.overlay, other.overlay, strict=False) if a.name != "heat" or ours]
    if len(one.overlay) != len(other.overlay) or named != [b.name for b in other.overlay if b.name]:
        found.append(f"overlay ({one.overlay} {other.overlay})")
    for a, b in zip(one.overlay, other.overlay, strict=False):
        first, second = regions.to_roi(a), regions.to_roi(b)
        for name in LOOK:
            mine, theirs = getattr(first, name), getattr(second, name)
            if name == "stroke_color" and (first.group or first.subtype > 0):
                continue  # ImageJ gives groups, words and pictures colours of its own
            if name == "image_opacity" and abs(mine - theirs) <= 1:
                continue  # ImageJ cuts 127.5 off where Python rounds
            if mine != theirs and not (name == "text" and mine == theirs.strip()):
                found.append(f"overlay {a.name}: {name} ({mine} {theirs})")
        if first.image is not None and not np.array_equal(first.image, second.image):
            found.append(f"overlay {a.name}: picture")
    if (one.roi is None) != (other.roi is None) or (one.roi and one.roi.name != other.roi.name):
        found.append(f"roi ({one.roi} {other.roi})")
    return found


def main(folder: Path) -> int:
    java.start_jvm(headless=True)
    jpype.JClass("net.imagej.patcher.LegacyInjector").preinit()
    ij = jpype.JClass("ij.IJ")
    wrong = 0
    for name, image in cases():
        path, saved = folder / f"{name}.tif", folder / f"{name} by ImageJ.tif"
        images.write_tiff(path, image)
        problems = [
            f"Python's file: {one}"
            for one in differences(image, images.read(path, keep_metadata=True), ours=True)
        ]
        opened = ij.openImage(str(path))
        if opened is None:
            problems.append("ImageJ does not open it")
        else:
            if opened.getProperty("Info") is not None:
                problems.append("ImageJ shows an Info")
            values = image.values() if not image.is_colour else None
            if values is not None:
                plane = np.asarray(values).reshape(-1, *values.shape[-2:])[0]
                table = opened.getCalibration().getCTable()
                processor = opened.getStack().getProcessor(1)
                processor.setCalibrationTable(table)
                theirs = [processor.getPixelValue(x, 5) for x in range(16)]
                if not np.allclose(theirs, plane[5], rtol=1e-6):
                    problems.append(f"ImageJ's calibrated values differ: {theirs[:3]} {plane[5][:3]}")
            jpype.JClass("ij.io.FileSaver")(opened).saveAsTiff(str(saved))
            problems += [
                f"ImageJ's file: {one}"
                for one in differences(image, images.read(saved, keep_metadata=True), ours=False)
            ]
        wrong += bool(problems)
        print(f"{name}: {'; '.join(problems) or 'the same'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    # The answer is out. On a busy machine JPype 1.7.1 now and then aborts (134) while Python ends.
    os._exit(status)
