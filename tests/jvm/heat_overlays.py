"""Shows heat overlays in ImageJ: its flattened picture is the one that `render` gives without it.

A program of its own: ``python heat_overlays.py``. It prints what differs and then returns 1.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import jpype
import numpy as np
from numpy.typing import NDArray

from mikata.explanation import display
from mikata.imagej import java
from mikata.images import write_tiff
from mikata.types import Image

CASES = [("Fire", 60.0), ("Fire", 100.0), ("Turbo", 35.0), ("Viridis", 50.0), ("Grays", 80.0)]
SIZE = (90, 131)


def hills() -> NDArray[np.float32]:
    """Two hills, one partly outside the image, and flat ground between."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    y, x = y / SIZE[0], x / SIZE[1]
    first = np.exp(-((y - 0.3) ** 2 + (x - 0.7) ** 2) / 0.045)
    second = 0.6 * np.exp(-((y - 0.95) ** 2 + (x - 0.1) ** 2) / 0.08)
    return np.asarray(first + second, np.float32)


def pixels(imp: Any) -> NDArray[np.uint8]:
    """A colour image's pixels (H, W, 3)."""
    packed = np.array(imp.getProcessor().getPixels(), np.int64).reshape(imp.getHeight(), imp.getWidth())
    return np.stack([packed >> 16, packed >> 8, packed], 2).astype(np.uint8)


def differences(folder: Path) -> list[str]:
    """What ImageJ shows otherwise than `render`, as written and after ImageJ has saved it again."""
    imagej = jpype.JClass("ij.IJ")
    background = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), np.uint8)
    heat = hills()
    wrong = []
    for name, opacity in CASES:
        overlay = display.heat_overlay(heat, lut=name, opacity_percent=opacity, maximum=1.0)
        expected = display.render(background, heat, lut=name, opacity_percent=opacity, maximum=1.0)
        path = write_tiff(folder / f"{name} {opacity:g} 山田.tif", Image(background, "YXS", overlay=overlay))
        for step in ("as written", "saved by ImageJ"):
            imp = imagej.openImage(str(path))
            if imp.getOverlay() is None or imp.getOverlay().size() != len(overlay):
                wrong.append(f"{name} {opacity:g} %, {step}: the overlay is not the one written")
                break
            worst = int(np.abs(pixels(imp.flatten()).astype(int) - expected).max())
            if worst:
                wrong.append(f"{name} {opacity:g} %, {step}: differs by up to {worst} grey levels")
            path = folder / f"{name} {opacity:g} again.tif"
            imagej.saveAsTiff(imp, str(path))
    lut = jpype.JClass("ij.plugin.LutLoader").getLut("fire")
    numbers = [jpype.JInt(i) for i in range(256)]
    table = np.array([[lut.getRed(i), lut.getGreen(i), lut.getBlue(i)] for i in numbers])
    if not np.array_equal(table, display.lut("Fire")):
        wrong.append("Fire is not ImageJ's Fire")
    return wrong


def main() -> int:
    """Compare, print, and say by the exit code whether all is right."""
    java.start_jvm(headless=True)
    jpype.JClass("net.imagej.patcher.LegacyInjector").preinit()
    with tempfile.TemporaryDirectory() as folder:
        wrong = differences(Path(folder))
    for line in wrong:
        print(line)
    print(f"heat overlays: {len(CASES)} kinds, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
