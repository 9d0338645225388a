"""The menu and the dialog in ImageJ's own window, on a screen that nobody sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from skimage import data

from mikata import images
from packages import write_package
from screens import on_a_screen

PROGRAM = Path(__file__).parent / "jvm" / "dialog.py"


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="xvfb-run is not installed, so there is no screen")
def test_the_recorder_writes_what_the_dialog_ran(hard_path: Path) -> None:
    package = write_package(hard_path / "model a")
    image = hard_path / "れんが.tif"
    images.write_tiff(image, images.from_array(data.brick()[:128, :128], "YX"))
    done = subprocess.run(
        [*on_a_screen(), sys.executable, str(PROGRAM), str(package), str(image)],
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    found = json.loads(line.removeprefix("FOUND "))
    assert found["menu"] == {
        "Learn": [
            "Train Network...",
            "Train Segmentation...",
            "Train Detection...",
            "Train Ensemble...",
            "Derive Recipe...",
            "Compare Recipes...",
            "Search Settings...",
            "Formula Pictures...",
        ],
        "Predict": ["Predict Images...", "Segment Images...", "Detect Objects..."],
        "Explain": [
            "Grad-CAM Heat Map...",
            "Heat Montage...",
            "Heat by Region...",
            "Reader Agreement...",
            "Overlap of Regions...",
            "Test Robustness...",
        ],
        "Package": ["Export Package...", "Check Package...", "Import Package..."],
        "Help": ["Mikata Doctor..."],
    }
    assert found["told"] == "Grad-CAM Heat Map"
    assert found["kept"] == [str(package), "500"]
    assert found["overlay"] > 3
    recorded = next(line for line in found["recorded"].splitlines() if "Grad-CAM" in line)
    assert recorded == f'run("Grad-CAM Heat Map...", "model=[{package}] target=all opacity_percent=70");'
