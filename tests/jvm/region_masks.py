"""Fills regions of every kind in ImageJ and in Python: the same pixels, and the same bytes back.

A program of its own: ``python region_masks.py [how many random regions]``. It prints what differs and
then returns 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import jpype
import numpy as np
from numpy.typing import NDArray

from mikata import regions
from mikata.imagej import java
from mikata.types import Region

SHAPE = (90, 110)


def imagej_mask(roi: object) -> NDArray[np.bool_]:
    """ImageJ's own mask, laid into an image of SHAPE."""
    box, inside = roi.getBounds(), roi.getMask()
    if inside is None:
        pixels = np.ones((box.height, box.width), bool)
    else:
        pixels = np.array(inside.getPixels()).reshape(inside.getHeight(), inside.getWidth()) != 0
    result = np.zeros(SHAPE, bool)
    for (y, x), value in np.ndenumerate(pixels):
        if value and 0 <= y + box.y < SHAPE[0] and 0 <= x + box.x < SHAPE[1]:
            result[y + box.y, x + box.x] = True
    return result


def cases(count: int) -> Iterator[tuple[str, Region]]:
    """Random regions of all kinds with an area, some partly outside the image."""
    rng = np.random.default_rng(3)
    for number in range(count):
        x, y = rng.uniform(-30, 90, 2)
        width, height = rng.uniform(1, 60, 2)
        n = int(rng.integers(3, 12))
        corners = rng.uniform(-20, 120, (n, 2))
        whole = [int(v) for v in (x, y, width, height)]
        yield f"rectangle {number}", regions.rectangle(*whole)
        yield f"rectangle between pixels {number}", regions.rectangle(x, y, width, height)
        yield f"rounded rectangle {number}", regions.rectangle(*whole, corner=int(rng.integers(1, 30)))
        yield f"oval {number}", regions.oval(*whole)
        yield f"oval between pixels {number}", regions.oval(x, y, width, height)
        yield f"ellipse {number}", regions.ellipse(*corners[0], *corners[1], float(rng.uniform(0.1, 1)))
        yield f"turned rectangle {number}", regions.rotated_rectangle(*corners[0], *corners[1], width)
        for kind in (regions.polygon, regions.freehand, regions.traced):
            yield f"{kind.__name__} {number}", kind(corners.astype(int))
            yield f"{kind.__name__} between pixels {number}", kind(corners)
        yield f"points {number}", regions.points(corners)
        yield f"whole points {number}", regions.points(corners.astype(int))
        blobs = rng.random(SHAPE) < rng.choice([0.02, 0.5, 0.98])
        yield f"contours {number}", regions.contours(blobs)
        yield (
            f"composite {number}",
            regions.composite([corners, rng.uniform(0, 90, (5, 2)), regions.rectangle(*whole)]),
        )
        parts = regions.to_roi(regions.composite([corners]))
        curve = [0, 10, 10, 2, *corners[0], *corners[1], 3, *corners[2], *corners[0], 20, 30, 4]
        parts.multi_coordinates = np.array(curve, np.float32)
        parts.shape_roi_size = len(curve)
        yield f"curved composite {number}", regions.from_roi(parts)


def main(count: int) -> int:
    java.start_jvm(headless=True)
    jpype.JClass("net.imagej.patcher.LegacyInjector").preinit()
    decoder = jpype.JClass("ij.io.RoiDecoder")
    encoder = jpype.JClass("ij.io.RoiEncoder")
    wrong = total = 0
    for name, region in cases(count):
        total += 1
        roi = decoder.openFromByteArray(jpype.JArray(jpype.JByte)(region.data))
        theirs, ours = imagej_mask(roi), regions.mask(region, SHAPE)
        again = regions.from_bytes(bytes(encoder.saveAsByteArray(roi)))
        if not np.array_equal(theirs, ours):
            wrong += 1
            print(f"{name}: {int((theirs != ours).sum())} of {int(theirs.sum())} pixels differ")
        elif not np.array_equal(regions.mask(again, SHAPE), ours):
            wrong += 1
            print(f"{name}: ImageJ's own bytes of it are filled differently")
    print(f"{total - wrong} of {total} regions hold the same pixels in ImageJ and in Python")
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    status = main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    sys.stdout.flush()
    # The answer is out. On a busy machine JPype 1.7.1 now and then aborts (134) while Python ends.
    os._exit(status)
