"""A real Fiji, its own menu scripts, Python in a process of its own: the results are those of the in-process route."""

from __future__ import annotations

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

import fijis
from labelled import write_folders
from mikata import images, regions
from mikata.imagej import installing, scripts
from packages import write_package
from test_imagej_programs import run as run_program


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fiji") / "山田 太郎 (test)"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def fiji(hard: Path) -> fijis.Fiji:
    root = hard / "Fiji.app"
    shutil.copytree(fijis.folder(), root)
    subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
    installing.install(root, "en")
    return fijis.Fiji(root)


@pytest.fixture(scope="module")
def model(hard: Path) -> Path:
    return write_package(hard / "モデル")


def found(output: str) -> dict[str, str]:
    """The findings that a program has printed."""
    return dict(re.findall(r"^FOUND ([^:]+): (.*)$", output, re.MULTILINE))


def real_images(shared: Path, folder: Path) -> list[Path]:
    """A film with its header, a colour photograph, a calibrated stack with overlay and selection."""
    film = shared / "data" / "dicom" / "CT_small.dcm"  # ImageJ itself opens it
    colour = next((shared / "data" / "blood-cells").rglob("*.jpg"))
    photograph = images.read(next((shared / "data" / "cxr-view").rglob("*.png")))
    plane = photograph.array if photograph.array.ndim == 2 else photograph.array[..., 0]
    plane = plane[:300, :280].astype(np.uint16)
    stack = photograph.replace(
        array=np.stack([plane, plane[::-1], plane * 2]),
        axes="ZYX",
        title="films",
        pixel_size=(0.2, 0.2, 3.0),
        unit="mm",
        mode="",
        luts=(),
        display_ranges=((0.0, 300.0),),
        overlay=(regions.rectangle(20, 30, 40, 50, name="右肺"), regions.text(60, 60, "左", size=14)),
        roi=regions.rectangle(5, 6, 70, 80),
    )
    path = images.write_tiff(folder / "films.tif", stack)
    return [film, colour, path]


@pytest.mark.slow
@pytest.mark.alone
def test_the_same_as_in_process(shared: Path, fiji: fijis.Fiji, hard: Path) -> None:
    files = real_images(shared, hard)
    models = [
        write_package(hard / "HU", value_unit="HU", value_range=(-2000.0, 3000.0)),
        write_package(hard / "colour", channels=3),
        write_package(hard / "grey", value_range=(0.0, 600.0)),
    ]
    argument = ";".join(["|".join(map(str, files)), "|".join(map(str, models))])
    macro = fijis.PROGRAMS / "compare.ijm"
    ours, theirs = hard / "in process", hard / "in Fiji"
    for folder in (ours, theirs):
        folder.mkdir()
    output = fiji.macro(macro, f"{argument};{theirs}")
    assert (theirs / "results.csv").exists(), output
    done = subprocess.run(
        [sys.executable, "-m", "mikata", "macro", str(macro), "--arg", f"{argument};{ours}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file in sorted(path.name for path in ours.iterdir()):
        assert (theirs / file).exists(), f"{file}: {output}"
        if file.endswith(".tif"):
            one, other = images.read(ours / file), images.read(theirs / file)
            assert np.array_equal(one.array, other.array), file
            assert one.overlay == other.overlay, file
            assert one.roi == other.roi
            assert [np.array_equal(a, b) for a, b in zip(one.luts, other.luts, strict=True)].count(False) == 0
            same = (
                "axes",
                "pixel_size",
                "unit",
                "calibration",
                "value_unit",
                "display_ranges",
                "mode",
                "info",
            )
            assert [getattr(one, n) for n in same] == [getattr(other, n) for n in same], file
            with tifffile.TiffFile(ours / file) as a, tifffile.TiffFile(theirs / file) as b:
                assert a.imagej_metadata is not None
                assert b.imagej_metadata is not None
                assert a.imagej_metadata.get("Labels") == b.imagej_metadata.get("Labels")
                assert a.imagej_metadata.get("Info") == b.imagej_metadata.get("Info")
    with (ours / "results.csv").open() as a, (theirs / "results.csv").open() as b:
        assert list(csv.reader(a)) == list(csv.reader(b))
    assert fijis.left_in_shared_memory() == []


@pytest.mark.slow
@pytest.mark.alone
def test_a_macro_stops_with_the_reason(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    image = hard / "写真.tif"
    tifffile.imwrite(image, np.zeros((40, 40), np.uint8) + np.arange(40, dtype=np.uint8))
    predict = f"open('{image}'); run('Predict Images...', 'model=[{model}] OPTIONS');"
    cases = {
        f"run('Predict Images...', 'model=[{model}]');": "Predict Images: there is no image open",
        predict.replace("OPTIONS", "epochs=3"): "unknown key 'epochs'",
        predict.replace("OPTIONS", "batch=abc"): "batch is 'abc'; it must be a whole number from 1 to 4096",
        f"open('{image}'); run('Predict Images...');": "Predict Images: model is missing",
        predict.replace("OPTIONS", "images=[/no/where]"): "does not exist",
        predict.replace("OPTIONS", "batch=&size"): "no variable 'size'",
    }
    output = fiji.script("errors", *cases)
    parts = output.split("MACRO ")[1:]
    assert len(parts) == len(cases), output
    for part, words in zip(parts, cases.values(), strict=True):
        said = " ".join(part.split())
        assert words in said
        assert "Macro Error: " in said
        assert "in line 1" in said
    assert "goes on" not in output.splitlines()


@pytest.mark.slow
@pytest.mark.alone
def test_fiji_and_python_apart(fiji: fijis.Fiji, model: Path) -> None:
    """A menu of another version, and a Python that is gone: said in Fiji; then all is well again."""
    menu = fiji.root / "scripts" / "Plugins" / "Mikata" / scripts.MENU
    before = menu.read_text()
    macro = f"run('Predict Images...', 'model=[{model}] images=[{model / 'cover.png'}]');"
    try:
        menu.write_text(before.replace(scripts.fingerprint(), "0.0.1-other"))
        assert "out of step" in fiji.script("errors", macro)
        menu.write_text(before.replace(sys.executable, sys.executable + "-gone"))
        output = " ".join(fiji.script("errors", macro).split())
        assert "not at" in output
        assert f'mikata fiji install --fiji "{fiji.root}"' in output
    finally:
        menu.write_text(before)


@pytest.mark.slow
@pytest.mark.alone
def test_a_day_in_one_fiji(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    data = write_folders(hard / "写真集")
    image = hard / "写真 (1).tif"
    tifffile.imwrite(image, np.tile(np.arange(96, dtype=np.uint8), (96, 1)))
    output = fiji.script("session", data, model, image, hard, timeout=600)
    seen = found(output)
    assert seen["rows"] == "1", output
    assert seen["killed ends"] == "true"
    assert ast.literal_eval(
        seen["checkpoint after kill"].replace("[", "['").replace("]", "']").replace(", ", "', '")
    )
    assert seen["rows after kill"] == "1"
    assert seen["another process"] == "true"
    assert seen["cancelled ends"] == "true"
    assert seen["package after cancel"] == "true"
    assert seen["rows after cancel"] == "1"
    assert int(seen["deaf ends in seconds"]) < 60
    assert seen["deaf is gone"] == "true"
    assert seen["maps"] in ("[HashMap]", "[LinkedHashMap]")  # safe to read by several threads
    assert seen["rows of two at once"] == "2", output
    assert "was closed while the command worked" in output
    for when in ("after kill", "after cancel", "after deaf", "at the end"):
        assert seen[f"shared memory {when}"] == "[]", when
    assert fijis.left_in_shared_memory() == []
    assert "was killed" in output
    until = time.monotonic() + 30
    while _runs(int(seen["process"])):  # it ends once it hears that Fiji is gone
        assert time.monotonic() < until
        time.sleep(0.1)


def _runs(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_started_from_python(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    """Under pyimagej the same scripts are answered in process, without a second Python."""
    image = hard / "three.tif"
    tifffile.imwrite(image, np.tile(np.arange(72, dtype=np.uint8), (64, 1)))
    run_program("fiji_menu", fiji.root, model, image, status=5)


@pytest.mark.slow
@pytest.mark.alone
def test_on_the_command_line(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    """`--headless --run` gives a script's parameters by name."""
    image = hard / "one.tif"
    tifffile.imwrite(image, np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    script = fiji.root / "scripts" / "Plugins" / "Mikata" / "Predict" / "Predict_Images....groovy"
    out = hard / "by run"
    given = f'model="{model}",images="{image}",out="{out}"'
    output = fiji.run("--run", script, given)
    assert (out / "Predict.csv").exists(), output
    output = fiji.run("--run", script, f'images="{image}"')
    assert "model is missing" in output


@pytest.mark.slow
@pytest.mark.alone
def test_memory_stays(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    image = hard / "many.tif"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 255, (512, 512), np.uint8))
    output = fiji.script("memory", model, image, 300, timeout=900)
    calls = re.findall(r"CALLS (\d+) fiji (\d+) heap (\d+) python (\d+)", output)
    assert [int(n) for n, *_ in calls] == [50, 100, 150, 200, 250, 300], output
    print(output)
    python = [int(p) for *_, p in calls]
    resident = [int(f) for _, f, _, _ in calls]
    assert python[-1] - python[1] < 40, calls
    assert resident[-1] - resident[1] < 120, calls
    assert "SHARED []" in output


@pytest.mark.slow
@pytest.mark.alone
def test_with_windows(fiji: fijis.Fiji, model: Path, hard: Path) -> None:
    image = hard / "brick.tif"
    tifffile.imwrite(image, np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    pictures = hard / "pictures"
    pictures.mkdir()
    macro = hard / "windows.ijm"
    inside = fiji.root / "scripts" / "Plugins" / "Windows_Test.groovy"
    shutil.copyfile(fijis.PROGRAMS / "windows.groovy", inside)
    macro.write_text('run("Windows Test");')
    os.environ["ARGUMENTS"] = "\n".join([str(model), str(image), str(pictures)])
    try:
        output = fiji.run("-macro", macro, headless=False, timeout=400)
    finally:
        inside.unlink()
    seen = found(output)
    assert {"end", "doctor"} <= seen.keys(), output
    assert seen["menu"] == "[Grad-CAM Heat Map..., Mikata Doctor..., Predict Images..., Train Network...]", (
        output
    )
    assert seen["kept"] == "[true, -1]", output
    assert seen["images"] == "[brick heat, brick.tif]", output
    assert seen["overlay"] == "true"
    assert seen["recorded"] == f'[run("Grad-CAM Heat Map...", "model=[{model}]");]'
    assert seen["results"] == "1"
    assert seen["remembered"] == "true"
    assert seen["macro without dialog"] == "true"
    assert seen["macro error"] == "true"
    assert seen["macro stopped"] == "true"
    assert seen["doctor"] == "true"
    for name in ("dialog", "wrong", "result", "macro error", "doctor"):
        assert (pictures / f"{name}.png").stat().st_size > 5000
