"""A saved result in ImageJ's window: its overlay, as roifile reads it; arguments: TIFF, picture of the screen."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import roifile

import mikata.imagej

path, screenshot = map(Path, sys.argv[1:])
by_roifile = roifile.ImagejRoi.fromfile(path)
assert isinstance(by_roifile, list)

ij = mikata.imagej.start(headless=False)
imp = ij.show(ij.open(path))
by_imagej = imp.getOverlay().toArray()
assert len(by_imagej) == len(by_roifile) > 0
for java, python in zip(by_imagej, by_roifile, strict=True):
    box = java.getBounds()
    if python.subtype == roifile.ROI_SUBTYPE.IMAGE:
        # ImageJ forgets the names of image ROIs; what it draws is what counts
        assert str(java.getClass().getSimpleName()) == "ImageRoi"
        assert (int(box.width), int(box.height)) == python.image.shape[1::-1]
        assert abs(java.getOpacity() - python.image_opacity / 255) < 1 / 255
    else:
        assert str(java.getName()) == python.name
        if python.subtype == roifile.ROI_SUBTYPE.TEXT:
            assert str(java.getText()).strip() == python.text.strip()
            continue  # ImageJ measures words with the fonts it has
        wanted = (python.left, python.top, python.right, python.bottom)
        assert (int(box.x), int(box.y), int(box.x + box.width), int(box.y + box.height)) == wanted
    assert (int(box.x), int(box.y)) == (python.left, python.top)
    colour = java.getStrokeColor()
    if colour is not None and any(python.stroke_color):
        argb = int(colour.getRGB()) & 0xFFFFFFFF
        assert argb.to_bytes(4, "big") == python.stroke_color
time.sleep(1)  # the window manager draws
subprocess.run(["import", "-window", "root", str(screenshot)], check=True)
print(f"same {len(by_roifile)} regions")
