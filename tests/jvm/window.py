"""ImageJ's window opens, shows an image and its overlay, and closing it ends `wait`; argument: picture."""

from __future__ import annotations

import subprocess
import sys
import time

import jpype
import numpy as np

import mikata.imagej
from mikata.imagej import tables
from mikata.imagej.java import jclass
from mikata.types import Image, Plot, Table

ij = mikata.imagej.start(headless=False)
assert not ij.headless
window = jclass("ij.IJ").getInstance()
assert window.isVisible()
y, x = np.mgrid[:200, :300]
image = Image((np.sin(x / 20) * np.cos(y / 15)).astype(np.float32), "YX", title="波", unit="mm")
imp = ij.show(image)
assert imp.getWindow().isVisible()
ij.run_macro(
    'makeOval(40, 30, 90, 80); run("Add Selection...", "stroke=yellow width=3"); run("Select None");'
)
assert imp.getOverlay().size() == 1
tables.to_results(Table("x", ("Label", "p"), (("猫", 0.75),)), headless=False)
ij.show(
    tables.to_plot(Plot("損失", "epoch", "loss", (("a", (1, 2, 3), (3, 2, 1)), ("b", (1, 2, 3), (2, 2, 2)))))
)
# batch mode ends with the macro, as it does for macros started from the menu
ij.run_macro("setBatchMode(true);")
assert not jclass("ij.macro.Interpreter").isBatchMode()
assert np.array_equal(ij.from_java(imp).array, image.array)
time.sleep(1)  # the window manager draws
subprocess.run(["import", "-window", "root", sys.argv[1]], check=True)
ij.close_all()
closing = jclass("java.awt.event.WindowEvent").WINDOW_CLOSING
jpype.java.awt.Toolkit.getDefaultToolkit().getSystemEventQueue().postEvent(
    jclass("java.awt.event.WindowEvent")(window, closing)
)
ij.wait()
assert jclass("ij.IJ").getInstance() is None
print("closed")
