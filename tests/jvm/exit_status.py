"""Ends in the way its argument says, with ImageJ's pool threads alive; the test checks the status."""

from __future__ import annotations

import sys

import numpy as np

import mikata.imagej
from mikata.types import Image

ij = mikata.imagej.start()
ij.run_macro('newImage("a", "32-bit", 400, 400, 1); run("Gaussian Blur...", "sigma=4");')
for _ in range(20):
    ij.from_java(ij.to_java(Image(np.zeros((300, 300), np.float32), "YX")))
if sys.argv[1] == "raise":
    raise ValueError("as asked")
if sys.argv[1] == "java":
    from mikata.imagej.java import jclass

    jclass("java.lang.Integer").parseInt("x")
sys.exit(int(sys.argv[1]))
