"""NumPy to ImagePlus and back, in units of one memcpy of a warm 64 MB float image; median of 20.

Goal: at most 4 each way, in Mikata's own Java. With a Fiji.app folder as argument: in that Fiji.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import mikata.imagej
from mikata.types import Image

started = time.perf_counter()
ij = mikata.imagej.start(fiji=sys.argv[1] if len(sys.argv) > 1 else None)
print(f"start: {time.perf_counter() - started:.1f} s")

array = np.random.default_rng(0).random((4096, 4096), np.float32)
target = np.zeros_like(array)  # touched, so that the copy below meets no new page
image = Image(array, "YX")
imp = ij.to_java(image)


def seconds(work: Callable[[], object]) -> float:
    """Time of one call; what it returns is released only afterwards."""
    start = time.perf_counter()
    result = work()
    spent = time.perf_counter() - start
    del result
    return spent


times: dict[str, list[float]] = {"memcpy": [], "to": [], "back": []}
for number in range(23):  # in turns, so that a busy machine slows all three alike
    row = (
        seconds(lambda: np.copyto(target, array)),
        seconds(lambda: ij.to_java(image)),
        seconds(lambda: ij.from_java(imp)),
    )
    if number >= 3:  # the first rounds compile Java and touch its heap
        for name, spent in zip(times, row, strict=True):
            times[name].append(spent)
median = {name: statistics.median(values) for name, values in times.items()}
print(f"memcpy of 64 MB: {median['memcpy'] * 1e3:.1f} ms")
print(f"NumPy to ImagePlus: {median['to'] / median['memcpy']:.2f} memcpy (goal 4)")
print(f"ImagePlus to NumPy: {median['back'] / median['memcpy']:.2f} memcpy (goal 4)")
