"""Japanese paths in ImageJ where the locale is C and says nothing of them; argument: a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import mikata.imagej
from mikata.imagej.java import jclass
from mikata.types import Image

ij = mikata.imagej.start()
folder = Path(sys.argv[1])
file = folder / "画像 (1).tif"
array = np.arange(12, dtype=np.uint16).reshape(3, 4)
ij.show(Image(array, "YX", title="題", slice_labels=("札",)))
ij.run_macro('saveAs("Tiff", getArgument());', str(file))
assert file.is_file(), sorted(folder.iterdir())
assert np.array_equal(ij.from_java(ij.open(file)).array, array)
assert [str(name) for name in jclass("java.io.File")(str(folder)).list()] == [file.name]
print(ij.run_macro('print("日本語"); return File.getName(getArgument());', str(file)))
