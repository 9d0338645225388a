"""Commands in ImageJ's macros: one text, one result, headless, with windows, in Fiji and from the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import roifile
from skimage import data

from conftest import missing, shared_folder
from mikata import images, regions
from mikata.types import Region
from packages import write_package
from screens import on_a_screen

README = Path(__file__).parents[1] / "README.md"
PROGRAM = Path(__file__).parent / "jvm" / "macro_commands.py"


def without_java() -> dict[str, str]:
    """The environment of a machine that has no Java."""
    keep = [p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "java").exists()]
    return {k: v for k, v in os.environ.items() if k != "JAVA_HOME"} | {"PATH": os.pathsep.join(keep)}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("山田 太郎 (test)")
    image = folder / "れんが (1).tif"
    images.write_tiff(
        image, images.from_array(data.brick()[:200, :260], "YX", pixel_size=(0.5, 0.5, 1.0), unit="mm")
    )
    write_scan(folder / "scan.dcm")
    return image, write_package(folder / "model (あ)")


def write_scan(path: Path) -> None:
    """A DICOM file of a photograph that names a patient."""
    pixels = data.brick()[:96, :96]
    scan = pydicom.Dataset()
    scan.SOPClassUID, scan.SOPInstanceUID = (
        pydicom.uid.SecondaryCaptureImageStorage,
        pydicom.uid.generate_uid(),
    )
    scan.PatientName, scan.PatientID, scan.Modality = "YAMADA^TARO", "ID-778899", "OT"
    scan.Rows, scan.Columns = pixels.shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation, scan.PixelRepresentation = 1, "MONOCHROME2", 0
    scan.BitsAllocated = scan.BitsStored = 8
    scan.HighBit = 7
    scan.PixelData = pixels.tobytes()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    scan.save_as(path, enforce_file_format=True)


def run(
    case: tuple[Path, Path], folder: Path, *options: str, before: list[str] | None = None
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    image, package = case
    words = [*(before or []), sys.executable, str(PROGRAM), str(image), str(package), str(folder), *options]
    env = os.environ if before else without_java()
    done = subprocess.run(
        words, capture_output=True, text=True, encoding="utf-8", env=env, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr + done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    return dict(json.loads(line.removeprefix("FOUND ")))


@pytest.fixture(scope="module")
def headless(case: tuple[Path, Path]) -> tuple[dict[str, Any], Path]:
    folder = case[0].parent / "headless"
    return run(case, folder), folder


def test_errors_are_pythons_own_sentences(headless: tuple[dict[str, Any], Path]) -> None:
    errors = headless[0]["errors"]
    expected = {
        "no image": "Grad-CAM Heat Map: there is no image open.",
        "unknown key": "unknown key 'targt' (did you mean 'target'?). Known keys: images, model, target",
        "unknown class": "has no class 'brik' (did you mean 'brick'?)",
        "unknown layer": "nowhere",
        "unknown lut": "lut is 'Fir' (did you mean Fire?)",
        "out of range": "opacity_percent is 101; it must be from 0 to 100.",
        "no model": "Grad-CAM Heat Map: model is missing.",
        "no package": "headless",
        "flag": "hide_colour_bar is 'yes'; it must be true or false.",
        "constant": "grey: the image is constant",
        "not a number": "1 of 4096 values are not numbers",
        "in colour": "rgb is in colour",
        "variable": "The macro has no variable 'nothing'",
        "command of ImageJ": "Unrecognized command",
    }
    assert set(errors) == set(expected)
    for name, words in expected.items():
        assert words in errors[name], name


def test_results_come_back_into_imagej(
    headless: tuple[dict[str, Any], Path], case: tuple[Path, Path]
) -> None:
    found, folder = headless
    rows, size = found["returned"].split()
    assert int(rows) == 3
    heat = images.read(folder / "heat.tif", keep_metadata=True)
    assert (heat.axes, heat.array.shape, heat.array.dtype.name) == ("CYX", (3, 200, 260), "float32")
    assert (heat.pixel_size[:2], heat.unit) == ((0.5, 0.5), "mm")
    assert heat.slice_labels == ("brick", "grass (wet)", "砂利")
    marked = images.read(folder / "overlay.tif")
    original = images.read(case[0])
    np.testing.assert_array_equal(marked.array, original.array)
    assert len(marked.overlay) == int(size)
    assert any(r.name.startswith("heat >= 50 % of maximum") for r in marked.overlay)
    row = dict(zip(found["columns"], found["rows"][0], strict=True))
    assert (row["cell_width_px"], row["cell_width"], row["unit"]) == (260 / 32, 260 / 64, "mm")
    assert row["heat_maximum"] == pytest.approx(float(heat.array[0].max()), rel=1e-6)
    before, after, windows = found["again"].split()
    assert before == after
    assert windows == "1"


def test_the_patients_name_stays_inside(headless: tuple[dict[str, Any], Path]) -> None:
    # ImageJ writes Info as UTF-16
    names = [n.encode(code) for n in ("YAMADA", "ID-778899") for code in ("ascii", "utf-16-le", "utf-16-be")]
    assert any(n in (headless[1] / "dicom keep_metadata.tif").read_bytes() for n in names), (
        "no header to strip"
    )
    for how in ("", "keep_metadata=false", "result=heat-map"):
        assert not any(n in (headless[1] / f"dicom {how}.tif").read_bytes() for n in names), how


def test_one_table_of_two_commands_invents_no_figures(headless: tuple[dict[str, Any], Path]) -> None:
    table = headless[0]["mixed"]
    assert table["probability"][0] == table["probability"][1] > 0
    for column in ("heat_mean", "heat_maximum", "peak_x_px", "layer", "class"):
        assert table[column][0] is None, column
        assert table[column][1] is not None, column
    assert table["predicted"][0] == table["predicted"][1]
    assert table["p(brick)"][0] > 0
    assert table["p(brick)"][1] is None


def test_images_by_name_and_left_empty(headless: tuple[dict[str, Any], Path]) -> None:
    assert headless[0]["several"] == ["れんが (1)", "れんが (1)", "scan"]


def essence(region: Region) -> tuple[object, ...]:
    """What a ROI shows. ImageJ stores the picture of an image ROI in a TIFF of its own making."""
    roi = regions.to_roi(region)
    pixels = None if roi.image is None else (roi.image.shape, roi.image.tobytes())
    points = None if roi.image is not None else roi.coordinates(multi=True)
    outline = None if points is None else [np.asarray(p).tolist() for p in points]
    box = (roi.left, roi.top, roi.right, roi.bottom)
    if roi.subtype == roifile.ROI_SUBTYPE.TEXT:  # ImageJ measures words with the fonts it has
        box, outline = box[:2], [roi.text.strip()]
    colour = (
        roi.stroke_color if pixels is None else None
    )  # ImageJ gives image ROIs a stroke that is never drawn
    return roi.name, roi.roitype, roi.position, box, roi.image_opacity, colour, pixels, outline


def same(first: Path, second: Path) -> None:
    for name in ("heat.tif", "overlay.tif"):
        a, b = images.read(first / name), images.read(second / name)
        np.testing.assert_array_equal(a.array, b.array)
        assert [regions.to_roi(r) for r in a.overlay] == [regions.to_roi(r) for r in b.overlay]


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="xvfb-run is not installed, so there is no screen")
def test_with_windows_the_same(headless: tuple[dict[str, Any], Path], case: tuple[Path, Path]) -> None:
    folder = case[0].parent / "gui"
    found = run(case, folder, "--gui", before=on_a_screen())
    assert "Predict Images: model is missing." in found["errors"]["no options"]
    assert "Predict Images: model is missing." in found["errors"]["empty options"]
    assert found["rows"] == headless[0]["rows"]
    same(headless[1], folder)


def test_in_fiji_the_same(headless: tuple[dict[str, Any], Path], case: tuple[Path, Path]) -> None:
    fiji = shared_folder() / "Fiji.app"
    if not fiji.is_dir():
        missing("there is no Fiji in the shared folder")
    copied = case[0].parent / "Fiji.app"
    shutil.copytree(fiji, copied)
    folder = case[0].parent / "fiji"
    found = run(case, folder, "--fiji", str(copied))
    assert found["rows"] == headless[0]["rows"]
    same(headless[1], folder)


def test_from_the_command_line_the_same(
    headless: tuple[dict[str, Any], Path], case: tuple[Path, Path]
) -> None:
    image, package = case
    folder = image.parent / "cli"
    words = ["grad-cam", str(image), "--model", str(package), "--target", "all", "--opacity-percent", "60"]
    words += ["--lut", "Inferno", "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mikata", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    reference = images.read(headless[1] / "heat.tif")
    np.testing.assert_array_equal(images.read(folder / f"{image.stem} heat.tif").array, reference.array)
    marked = images.read(folder / f"{image.stem} with heat.tif")
    wanted = images.read(headless[1] / "overlay.tif")
    assert list(map(essence, marked.overlay)) == list(map(essence, wanted.overlay))


def test_the_readmes_macro_saves_the_overlay(case: tuple[Path, Path], hard_path: Path) -> None:
    text = re.search(r"```\n(open\(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert text
    image, package = case
    macro = hard_path / "readme.ijm"
    target = hard_path / "with heat.tif"
    macro.write_text(
        text[1].replace("/data/patient 7/slice.tif", image.as_posix())
        .replace("/data/models/nodules", package.as_posix())
        .replace("target=malignant", "target=brick")
        .replace("/data/with heat.tif", target.as_posix()),
        encoding="utf-8",
    )  # fmt: skip
    done = mikata_macro(macro)
    assert done.returncode == 0, done.stderr
    saved = images.read(target)
    np.testing.assert_array_equal(saved.array, images.read(image).array)
    assert any(region.name.startswith("heat >= 50 %") for region in saved.overlay)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_fiji_is_used_that_was_named(hard_path: Path, by: str) -> None:
    macro = hard_path / "m.ijm"
    macro.write_text('return getTitle() + " in " + getVersion();', encoding="utf-8")
    image = images.write_tiff(hard_path / "絵.tif", images.from_array(data.brick()[:32, :32], "YX"))
    fiji = shared_folder() / "Fiji.app"
    if not fiji.is_dir():
        missing("there is no Fiji in the shared folder")
    shutil.copytree(fiji, hard_path / "Fiji.app")
    named = ["--fiji", str(hard_path / "Fiji.app")] if by == "option" else []
    variables = {"MIKATA_FIJI": str(hard_path / "Fiji.app")} if by == "variable" else {}
    done = mikata_macro(macro, "--image", str(image), *named, env=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("絵.tif in 2.")  # Fiji's version is ImageJ2's
    done = mikata_macro(macro, "--image", str(image), "--fiji", str(hard_path))
    assert done.returncode == 1
    assert "is no Fiji" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_in_a_macros_command(case: tuple[Path, Path], hard_path: Path) -> None:
    macro = hard_path / "long.ijm"
    stack = np.random.default_rng(0).integers(0, 256, (4000, 64, 64), np.uint8)
    image = images.write_tiff(hard_path / "stack.tif", images.from_array(stack, "ZYX"))
    macro.write_text(
        f'print("started"); run("Grad-CAM Heat Map...", "images=[{image.as_posix()}] model=[{case[1]}]");',
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "mikata", "macro", str(macro)]
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=without_java(),
        # a shell starts what runs in its background, and so perhaps these tests, with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert running.stdout
        assert running.stdout.readline().strip() == "started"
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert "mikata: stopped." in err
    assert "Traceback" not in err


def mikata_macro(
    macro: Path, *options: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mikata", "macro", str(macro), *options],
        capture_output=True, text=True, encoding="utf-8", check=False,
        env=without_java() | {"PYTHONUTF8": "1"} | (env or {}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "arg", "code", "words"),
    [
        ('return "got " + getArgument();', "あ b", 0, "got あ b"),
        (
            'run("Grad-CAM Heat Map...", "model=nowhere");',
            "",
            1,
            "Grad-CAM Heat Map: model is 'nowhere', which does not exist.",
        ),
        ("a = ;", "", 1, "line 1"),
        ('exit("enough");', "", 1, "enough"),
    ],
)
def test_mikata_macro(hard_path: Path, text: str, arg: str, code: int, words: str) -> None:
    macro = hard_path / "マクロ (1).ijm"
    macro.write_text(text, encoding="utf-8")
    done = mikata_macro(macro, "--arg", arg)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
