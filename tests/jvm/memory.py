"""200 round trips and 200 macros leave memory where it was; prints the resident size in MB."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import scyjava

import mikata.imagej
from mikata.types import Image

ij = mikata.imagej.start()
image = Image(np.random.default_rng(0).random((8, 512, 512), np.float32), "ZYX")  # 8 MB


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def once() -> None:
    """There and back, shown, worked on by a macro, closed."""
    ij.show(image)
    ij.run_macro('run("Invert", "stack"); run("Duplicate...", "title=copy duplicate");')
    back = ij.from_java(ij.current())
    assert back.array.shape == image.array.shape
    ij.close_all()


sizes, used = [], []
for number in range(200):
    once()
    if number % 20 == 19:
        scyjava.gc()
        sizes.append(resident_mb())
        used.append(scyjava.memory_used() / 2**20)
        print(f"{number + 1}: {sizes[-1]:.0f} MB resident, {used[-1]:.1f} MB of Java objects", flush=True)
assert used[-1] < used[1] + 2, used
assert sizes[-1] < sizes[1] * 1.1 + 20, sizes
assert ij.current() is None
