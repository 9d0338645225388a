"""200 runs of the main job's macro leave memory where it was; prints the resident size in MB.

python memory.py IMAGE PACKAGE: opens the image, explains it, saves the result, reads it back, closes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import scyjava

import mikata.imagej
from mikata.types import Image

picture, package = sys.argv[1:]
ij = mikata.imagej.start()
image = Image(np.random.default_rng(0).random((8, 512, 512), np.float32), "ZYX")  # 8 MB
folder = tempfile.TemporaryDirectory()
saved = Path(folder.name) / "with heat.tif"
MACRO = f"""
open("{Path(picture).as_posix()}");
id = getImageID();
run("Grad-CAM Heat Map...", "model=[{package}] target=all");
selectImage(id);
saveAs("Tiff", "{saved.as_posix()}");
run("Clear Results");
return "" + Overlay.size;
"""


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def once() -> None:
    """The main job by macro; then a stack there, worked on, and back."""
    assert int(ij.run_macro(MACRO)) > 0
    ij.show(image)
    ij.run_macro('run("Invert", "stack"); run("Duplicate...", "title=copy duplicate");')
    assert ij.from_java(ij.current()).array.shape == image.array.shape
    ij.close_all()


sizes, used, pixels = [], [], set()
for number in range(200):
    once()
    pixels.add(saved.read_bytes())
    if number % 20 == 19:
        scyjava.gc()
        sizes.append(resident_mb())
        used.append(scyjava.memory_used() / 2**20)
        print(f"{number + 1}: {sizes[-1]:.0f} MB resident, {used[-1]:.1f} MB of Java objects", flush=True)
assert len(pixels) == 1, "the same macro gave different files"
assert used[-1] < used[1] + 2, used
assert sizes[-1] < sizes[1] * 1.1 + 20, sizes
assert ij.current() is None
