"""The menu scripts where there is no Fiji: real Groovy and a real Appose from Maven, not SciJava."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from mikata.imagej import installing, scripts
from packages import write_package
from test_imagej_programs import run
from test_installing import make_fiji


def test_in_plain_groovy(hard_path: Path) -> None:
    place = installing.install(make_fiji(hard_path / "Fiji.app"), "en")
    image = hard_path / "写真.tif"
    tifffile.imwrite(image, np.tile(np.arange(80, dtype=np.uint8), (64, 1)))
    output = run("plain_groovy", place, write_package(hard_path / "モデル"), image, status=5)
    assert output.count("parsed") == len(scripts.scripts())
