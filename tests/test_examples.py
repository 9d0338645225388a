"""Every example macro runs unchanged, in Mikata's own ImageJ and in a headless Fiji, and both give the same."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

import fijis
from labelled import write_folders, write_picture
from mikata import images, regions
from mikata.imagej import installing
from mikata.training import recipe as recipes
from mikata.types import Image, Region
from packages import CLASSES, write_package

EXAMPLES = Path(__file__).parents[1] / "fiji_scripts" / "examples"


@dataclass(frozen=True)
class Material:
    """What the macros are given."""

    folder: Path
    model: Path

    @property
    def image(self) -> Path:
        return self.folder / "れんが (1).tif"

    @property
    def stack(self) -> Path:
        return self.folder / "三枚.tif"

    @property
    def photographs(self) -> Path:
        return self.folder / "写真 [2]"

    @property
    def labelled(self) -> Path:
        return self.folder / "学習"

    @property
    def others(self) -> Path:
        return self.folder / "その他"

    @property
    def drawn(self) -> Path:
        return self.folder / "輪郭 あり"

    @property
    def undrawn(self) -> Path:
        return self.folder / "輪郭 なし"

    @property
    def recipe(self) -> Path:
        return self.folder / "段階 [2].toml"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """In a folder whose name breaks naive quoting."""
    folder = tmp_path_factory.mktemp("examples") / "山田 太郎 (test) [1]"
    folder.mkdir()
    made = Material(folder, write_package(folder / "モデル"))
    views = [data.brick()[:120, :140], data.grass()[:120, :140], data.gravel()[:120, :140]]
    images.write_tiff(made.image, images.from_array(views[0], "YX", pixel_size=(0.5, 0.5, 1.0), unit="mm"))
    stack = images.from_array(np.stack(views), "ZYX", pixel_size=(0.5, 0.5, 3.0), unit="mm")
    images.write_tiff(made.stack, stack)
    made.photographs.mkdir()
    for name, view in zip(("brick", "草", "gravel 3"), views, strict=True):
        images.write_tiff(made.photographs / f"{name}.tif", images.from_array(view, "YX"))
    write_folders(made.labelled, ("縦", "across"), count=12, size=(64, 64))
    for kind, name in enumerate(("縦", "across")):
        for number in range(3):
            write_picture(made.others / name / f"{number}.png", kind, 100 + number, size=(64, 64))
    write_folders(folder / "模様", ("up", "level", "slanting"), count=5, size=(32, 32), colour=True)
    made.recipe.write_text(STAGED, encoding="utf-8")
    random = np.random.default_rng(0)
    for folder, count in ((made.drawn, 12), (made.undrawn, 2)):
        folder.mkdir()
        for number in range(count):
            pixels, drawn = spots(random)
            overlay = drawn if folder == made.drawn else ()
            image = images.from_array(pixels, "YX", overlay=overlay)
            images.write_tiff(folder / f"spots {number}.tif", image)
    return made


def spots(random: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[Region, ...]]:
    """Nine bright discs on a dark ground (96, 96), and their outlines as a person would draw them."""
    pixels = random.normal(60, 10, (96, 96))
    drawn = []
    y, x = np.mgrid[:96, :96]
    for row, column in np.ndindex(3, 3):
        size = int(random.integers(12, 22))
        left, top = 32 * column + int(random.integers(0, 10)), 32 * row + int(random.integers(0, 10))
        radius = size / 2
        pixels[(x - left - radius + 0.5) ** 2 + (y - top - radius + 0.5) ** 2 <= radius**2] += 90
        drawn.append(regions.oval(left, top, size, size, name="spot"))
    return np.clip(pixels, 0, 255).astype(np.uint8), tuple(drawn)


STAGED = """
[[stage]]
name = "textures"
data = "模様"
size = [32, 32]
fit = "native"
epochs = 2

[[stage]]
name = "task"
epochs = 4
learning_rate = 0.003
"""


def grad_cam(material: Material, made: Path, said: list[str]) -> None:
    assert [line.split(":")[0] for line in said] == list(CLASSES)
    heat = images.read(made / "れんが (1) heat.tif")
    assert (heat.axes, heat.array.shape, heat.array.dtype.name) == ("CYX", (3, 120, 140), "float32")
    marked = images.read(made / "れんが (1) with heat.tif")
    np.testing.assert_array_equal(marked.array, images.read(material.image).array)
    assert any(region.name.startswith("heat >= 50 %") for region in marked.overlay)


def batch_folder(material: Material, made: Path, said: list[str]) -> None:
    rows = table(made / "Predict.csv")
    assert [row["image"] for row in rows] == ["brick", "gravel 3", "草"]
    expected = [f"{r['image']}: {r['predicted']}, probability {float(r['probability']):.3f}" for r in rows]
    assert said == expected
    assert [row["image"] for row in table(made / "Grad-CAM.csv")] == ["brick", "gravel 3", "草"]
    for name in ("brick", "gravel 3", "草"):
        assert (heat := images.read(made / f"{name} heat.tif").array).max() > 0
        marked = images.read(made / f"{name} with heat.tif")
        original = images.read(material.photographs / f"{name}.tif").array
        np.testing.assert_array_equal(marked.array, original)
        picture = images.read(made / f"{name} with heat.png")
        assert picture.array.shape == (*heat.shape, 3)
        assert np.ptp(picture.array.astype(int), axis=-1).max() > 60, "no colour of the heat in the picture"


def grad_cam_stack(material: Material, made: Path, said: list[str]) -> None:
    heat = images.read(made / "三枚 heat.tif")
    assert (heat.axes, heat.array.dtype.name, heat.pixel_size) == ("ZYX", "float32", (0.5, 0.5, 3.0))
    rows = table(made / "三枚 heat.csv")
    assert [int(row["slice"]) for row in rows] == [1, 2, 3]
    assert {row["class"] for row in rows} == {"brick"}
    means = heat.array.mean((1, 2))
    # ImageJ writes tables with four digits
    for column in ("measured_mean", "heat_mean"):
        assert [float(row[column]) for row in rows] == pytest.approx(means.tolist(), rel=1e-3, abs=0)
    for number, (line, mean) in enumerate(zip(said, means, strict=True), 1):
        assert line.startswith(f"slice {number}, frame 1: brick, probability ")
        assert float(line.rsplit(" ", 1)[1]) == pytest.approx(mean, rel=1e-3, abs=0)
    marked = images.read(made / "三枚 with heat.tif")
    np.testing.assert_array_equal(marked.array, images.read(material.stack).array)
    assert {1, 2, 3} <= {region.position for region in map(roi, marked.overlay)}


def train_then_predict(material: Material, made: Path, said: list[str]) -> None:
    assert (made / "model.zip").is_file()
    hits = []
    for name, line in zip(("across", "縦"), said[:2], strict=True):
        rows = table(made / "predicted" / name / "Predict.csv")
        assert [row["image"] for row in rows] == ["0", "1", "2"]
        hits.append(sum(row["predicted"] == name for row in rows))
        assert line == f"{name}: {hits[-1]} of 3 right ({hits[-1] / 3:.1%})".replace("%", " %")
    assert said[2] == f"all: {sum(hits)} of 6 right ({sum(hits) / 6:.1%})".replace("%", " %")
    assert sum(hits) >= 5, "the stripes were not learnt"


def stages(material: Material, made: Path, said: list[str]) -> None:
    derived = recipes.read(made / "derived.toml")
    assert (derived.stage.size, derived.stage.data) == ((64, 64), str(material.labelled))
    reasons = [line for line in said if line.startswith("derived: ")]
    assert reasons[0].startswith("derived: network = small_cnn (")
    assert f"derived: epochs = {derived.stage.epochs} (" in "\n".join(reasons)
    rows = [
        row for row in table(made / "compared" / "comparison.csv") if row["figure"] == "balanced_accuracy"
    ]
    assert [row["method"] for row in rows] == ["none", "textures"]
    expected = []
    for row in rows:
        line = f"method {row['method']}: balanced accuracy {three(row['value'])} ({bounds(row, '')})"
        if row["difference"]:
            line += f", difference to none {three(row['difference'])} ({bounds(row, 'difference_')})"
        expected.append(line)
    assert said[len(reasons) :] == expected
    assert (made / "compared" / "report.html").is_file()


def bounds(row: dict[str, str], kind: str) -> str:
    return f"{three(row[f'{kind}low'])} to {three(row[f'{kind}high'])}"


def three(number: str) -> str:
    """As ImageJ writes it: halves go away from zero, and zero has no sign."""
    value = Decimal(number).quantize(Decimal("0.001"), ROUND_HALF_UP)
    return f"{abs(value) if value == 0 else value}"


def heat_by_region(material: Material, made: Path, said: list[str]) -> None:
    rows = [row for row in table(made / "Heat by Region summary.csv") if row["by"] == "all"]
    assert len(rows) % 6 == 0
    columns = ("heat_share_mean", "low", "high", "area_share")
    expected = []
    for row in rows:
        share, low, high, area = (one_decimal(row[column]) for column in columns)
        words = f"{share} of the heat ({low} to {high}) on {area} of the area"
        expected.append(f"{row['class']}, {row['region']}: {words}")
    assert said == expected
    assert sum(float(row["area_share"]) for row in rows[:6]) == pytest.approx(1)
    assert (made / "Heat by Region.html").is_file()


def segment_rois(material: Material, made: Path, said: list[str]) -> None:
    assert (made / "model.zip").is_file()
    assert len(said) == 2
    for number, line in enumerate(said):
        image = images.read(made / f"spots {number}.tif")
        np.testing.assert_array_equal(
            image.array, images.read(material.undrawn / f"spots {number}.tif").array
        )
        found = regions.to_labels(image.overlay, image.array.shape)
        assert line == f"image spots {number}: {len(image.overlay)} ROIs, area {np.count_nonzero(found)}"
        assert len(image.overlay) == 9
        truth = image.array > 105
        overlap = 2 * np.count_nonzero(truth & (found > 0)) / (truth.sum() + np.count_nonzero(found))
        assert overlap > 0.75, "the discs were not found"  # in 8 epochs, not yet to the pixel


def one_decimal(share: str) -> str:
    if share == "not defined":
        return share
    return f"{(100 * Decimal(share)).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def export_package(material: Material, made: Path, said: list[str]) -> None:
    assert (made / "package.zip").is_file()
    rows = table(made / "checked" / "points.csv")
    counts = Counter(row["status"] for row in rows)
    assert counts["failed"] == 0, said
    noted = [row for row in rows if row["status"] == "warning"]
    expected = [f"point {row['point']} warning: {row['why']}" for row in noted]
    expected.append(f"points: {counts['passed']} passed, {counts['warning']} with a warning, 0 failed")
    assert said == expected
    assert (made / "checked" / "report.html").is_file()


@dataclass(frozen=True)
class Example:
    """The argument of a macro, and what is to be seen of it."""

    argument: Callable[[Material], list[str | Path]]
    check: Callable[[Material, Path, list[str]], None]
    """Of the material, the folder of results and the printed lines."""


CASES = {
    "batch_folder": Example(lambda m: [m.photographs, m.model], batch_folder),
    "export_package": Example(lambda m: [m.model], export_package),
    "grad_cam": Example(lambda m: [m.image, m.model], grad_cam),
    "grad_cam_stack": Example(lambda m: [m.stack, m.model], grad_cam_stack),
    "heat_by_region": Example(lambda m: [m.photographs, m.model, "chest"], heat_by_region),
    "segment_rois": Example(lambda m: [m.drawn, m.undrawn], segment_rois),
    "stages": Example(lambda m: [m.labelled, m.recipe], stages),
    "train_then_predict": Example(lambda m: [m.labelled, m.others], train_then_predict),
}
"""The folder for the results stands between what `argument` gives and `FURTHER`."""

FURTHER = {
    "grad_cam_stack": ["brick"],
    "heat_by_region": ["target=all no_controls"],
    "segment_rois": ["recipe=nuclei epochs=8 seed=1"],
    "stages": ["folds=2 repeats=1"],
    "train_then_predict": ["recipe=texture epochs=8 seed=1"],
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ijm")} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_an_example_says_how_it_is_run(name: str) -> None:
    text = (EXAMPLES / f"{name}.ijm").read_text(encoding="ascii")  # Fiji reads macros as Latin-1
    head = text.split("\n\n")[0]
    for words in (
        f"mikata macro {name}.ijm --arg",
        f"Fiji --headless -macro {name}.ijm",
        "`mikata imagej`",
        "Research use, not for diagnosis.",
    ):
        assert words in head, words


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def roi(region: object) -> object:
    return regions.to_roi(region)  # type: ignore[arg-type]


def argument(name: str, material: Material, results: Path) -> str:
    case = CASES[name]
    return ";".join(map(str, [*case.argument(material), results, *FURTHER.get(name, [])]))


@pytest.fixture(scope="module")
def in_process(material: Material) -> Callable[[str], tuple[Path, list[str]]]:
    """Runs a macro once, by `mikata macro`: the folder of its results and what it has printed."""
    found: dict[str, tuple[Path, list[str]]] = {}

    def run(name: str) -> tuple[Path, list[str]]:
        if name not in found:
            results = material.folder / f"{name} in process"
            results.mkdir()
            words = [sys.executable, "-m", "mikata", "macro", str(EXAMPLES / f"{name}.ijm")]
            done = subprocess.run(
                [*words, "--arg", argument(name, material, results)],
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
                env=os.environ | {"PYTHONUTF8": "1"},
            )
            assert done.returncode == 0, done.stderr
            found[name] = results, own_lines(done.stdout)
        return found[name]

    return run


def own_lines(output: str) -> list[str]:
    """What a macro prints, without what the commands log of their files."""
    starts = (
        *CLASSES,
        "brick:",
        *(f"{name}, " for name in CLASSES),
        "草:",
        "gravel 3:",
        "slice ",
        "縦:",
        "across:",
        "all:",
        "derived: ",
        "method ",
        "point ",
        "points: ",
        "image ",
    )
    return [line for line in output.splitlines() if line.startswith(starts)]


LONG = {"export_package", "heat_by_region", "segment_rois", "stages"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow, pytest.mark.alone] if n in LONG else []) for n in CASES]
)
def test_in_mikatas_own_imagej(
    name: str, material: Material, in_process: Callable[[str], tuple[Path, list[str]]]
) -> None:
    CASES[name].check(material, *in_process(name))


@pytest.fixture(scope="module")
def fiji(material: Material) -> fijis.Fiji:
    root = material.folder / "Fiji.app"
    shutil.copytree(fijis.folder(), root)
    subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
    installing.install(root, "en")
    return fijis.Fiji(root)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", CASES)
def test_in_fiji_the_same(
    name: str,
    material: Material,
    fiji: fijis.Fiji,
    in_process: Callable[[str], tuple[Path, list[str]]],
) -> None:
    ours, said = in_process(name)
    theirs = material.folder / f"{name} in Fiji"
    theirs.mkdir()
    output = fiji.macro(EXAMPLES / f"{name}.ijm", argument(name, material, theirs))
    assert own_lines(output) == said, output
    CASES[name].check(material, theirs, said)
    assert files_in(theirs) == files_in(ours)
    for file in files_in(ours):
        if file.suffix == ".csv":
            assert table(theirs / file) == table(ours / file), file
        elif file.suffix in (".tif", ".png") and file.parts[0] != "model":
            same(images.read(ours / file), images.read(theirs / file))
    assert fijis.left_in_shared_memory() == []


def files_in(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def same(one: Image, other: Image) -> None:
    np.testing.assert_array_equal(one.array, other.array)
    assert one.overlay == other.overlay
    assert (one.axes, one.pixel_size, one.unit) == (other.axes, other.pixel_size, other.unit)
