"""What a user gets: the wheel, in an empty folder, on a machine without Java, runs the main job."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import roifile

from deepimagej import run_in_deepimagej
from mikata import demo, images
from mikata.networks import read_package
from test_imagej_programs import run as run_program
from test_macros import without_java

SOURCE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_what_runs_need(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    home = SOURCE / "bioimage_models"
    shipped = {f"mikata/_data/bioimage_models/{p.relative_to(home).as_posix()}" for p in home.rglob("*.*")}
    assert any(name.endswith("recipes/default.toml") for name in shipped)
    assert any(name.endswith("textures/rdf.yaml") for name in shipped)
    assert shipped < names
    assert {
        "mikata/_data/fiji_scripts/examples/grad_cam.ijm",
        "mikata/py.typed",
        "mikata/architecture.py",
        "mikata/_data/fiji_scripts/Plugins/Mikata/Mikata.support",
        "mikata/locale/ja/LC_MESSAGES/mikata.mo",
        "mikata/offline/files/install.py",
    } < names
    assert not [n for n in names if n.startswith(("tests", "bridge"))]


@pytest.fixture(scope="module")
def made(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the demo, run by the installed wheel in an empty folder."""
    site = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(words, check=True, capture_output=True)
    empty = tmp_path_factory.mktemp("山田 太郎 (test)")
    env = without_java() | {"PYTHONPATH": str(site), "PYTHONUTF8": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import mikata; print(mikata.__file__)"],
        cwd=empty, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(site) in where.stdout
    done = subprocess.run(
        [sys.executable, "-m", "mikata", "demo"],
        cwd=empty, env=env, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [p.name for p in empty.iterdir()] == ["demo"]
    for line in done.stdout.splitlines()[-8:]:
        path = Path(line.split(":", 1)[1].strip())
        assert path.exists(), line
    return empty / "demo"


@pytest.mark.slow
@pytest.mark.alone
def test_the_demo_keeps_its_promises(made: Path) -> None:
    record = json.loads((made / "textures" / "training.json").read_text(encoding="utf-8"))
    accuracy = record["evaluation"]["accuracy"]
    assert accuracy["value"] >= demo.GOAL_ACCURACY
    assert (accuracy["n"], accuracy["method"]) == (72, "Wilson")
    _, truth = demo.make_mosaic({name: demo.photograph(name) for name in demo.CLASSES})
    heat = images.read(made / "mosaic heat.tif")
    assert heat.array.dtype == np.float32
    assert heat.array.shape == (3, *truth.shape)
    for share in demo.heat_shares(heat.array, truth):
        assert share.share >= demo.GOAL_HEAT, share
    assert read_package(made / "textures.zip").classes == demo.CLASSES


@pytest.mark.slow
@pytest.mark.alone
def test_the_overlay_is_in_the_tiff(made: Path) -> None:
    regions = roifile.ImagejRoi.fromfile(made / "mosaic with heat.tif")
    assert isinstance(regions, list)
    names = [r.name for r in regions]
    for name in demo.CLASSES:
        assert f"heat >= 50 % of maximum ({name})" in names
    assert any(r.subtype == roifile.ROI_SUBTYPE.IMAGE for r in regions)


@pytest.mark.slow
@pytest.mark.alone
def test_imagej_shows_the_overlay_that_roifile_reads(made: Path, tmp_path: Path) -> None:
    picture = tmp_path / "screen.png"
    assert " regions" in run_program("opened", made / "mosaic with heat.tif", picture, screen=True)
    screen = images.read(picture).array.astype(int)
    # colours on an ImageJ of grey windows and a grey photograph: the heat is on the screen
    assert (np.ptp(screen, axis=-1) > 60).sum() > 10_000


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.shared
def test_deepimagej_runs_the_demos_package(made: Path, shared: Path) -> None:
    run_in_deepimagej(shared, made / "textures.zip")


@pytest.mark.slow
@pytest.mark.alone
def test_the_table_opens_in_excel(made: Path) -> None:
    data = (made / "Grad-CAM.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    assert [r["class"] for r in rows] == list(demo.CLASSES)
    assert sum(float(r["probability"]) for r in rows) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
@pytest.mark.alone
def test_everything_says_what_it_is_not_for(made: Path) -> None:
    for name in ("report.html", "textures/README.md", "textures/training.json", "grad_cam.ijm"):
        text = (made / name).read_text(encoding="utf-8")
        assert "research use, not for diagnosis" in text.lower(), name
        assert os.fspath(made.parent) not in text


@pytest.mark.slow
@pytest.mark.alone
def test_a_second_demo_replaces_nothing_unasked(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mikata", "demo", "--out", str(made)],
        capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is already there" in done.stderr
