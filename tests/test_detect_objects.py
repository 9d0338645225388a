"""Networks for detection as people meet them: Train Detection, their packages, and Detect Objects."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mikata
from deepimagej import run_in_deepimagej
from mikata import images, regions
from mikata.architecture import Detector
from mikata.errors import DataError, NetworkError, OutputError, PackageError, ParameterError
from mikata.networks import kind_of, pixel_network, read_package
from mikata.networks.peaks import peaks
from mikata.networks.pixelwise import PixelNetwork, Sides
from mikata.packaging import pages
from mikata.packaging.checks import examine_package
from mikata.packaging.detected import OUTPUT
from mikata.packaging.weights import largest_difference
from mikata.segmenting import running
from mikata.types import SILENT
from packages import write_package
from pixelnets import SmallUNet, Thresholds
from pixelnets import pixel_network as made_up

RECIPE = """
[split]
test = 0.34
selection = 0.34
[[stage]]
network = "unet"
size = [48, 48]
fit = "native"
epochs = 2
batch = 4
learning_rate = 0.01
schedule = "constant"
[stage.detection]
patches = 4
"""

CENTRES = [(14, 16, 5), (38, 44, 7), (20, 52, 5)]
"""Rows, columns and radii of the disks."""


def disks(folder: Path, count: int = 6) -> list[tuple[Path, list[tuple[float, float, float, float]]]]:
    """Images with bright disks on dark noise, and the box of each disk: left, top, width and height."""
    folder.mkdir(parents=True)
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        y, x = np.mgrid[:52, :64]
        values = random.normal(40, 10, x.shape)
        boxes = []
        for row, column, radius in CENTRES:
            row += number % 3
            values[(y - row) ** 2 + (x - column) ** 2 <= radius**2] += 120
            boxes.append((column - radius, row - radius, 2 * radius + 1, 2 * radius + 1))
        path = folder / f"i{number}.tif"
        images.write_tiff(path, images.from_array(np.clip(values, 0, 255).astype(np.uint8), "YX"))
        made.append((path, boxes))
    return made


def as_table(folder: Path) -> Path:
    """The data as a CSV of boxes, of three patients."""
    lines = ["file,class,xmin,ymin,xmax,ymax,patient_alias"]
    for number, (path, boxes) in enumerate(disks(folder / "images")):
        lines += [
            f"images/{path.name},{'large' if w > 12 else 'small'},{x},{y},{x + w},{y + h},p{number % 3}"
            for x, y, w, h in boxes
        ]
    (folder / "boxes.csv").write_text("\n".join(lines))
    return folder / "boxes.csv"


def as_rois(folder: Path) -> Path:
    """The data as a folder of images and a folder of ROIs as ImageJ saves them."""
    (folder / "rois").mkdir(parents=True)
    for path, boxes in disks(folder / "images"):
        regions.write(
            folder / "rois" / f"{path.stem}.zip", [regions.oval(*box, name="disk") for box in boxes]
        )
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """What the command has made of a table, and its package."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out") / "Disks"
    (data / "recipe.toml").write_text(RECIPE)
    result = mikata.train_detection(
        as_table(data), out=out, recipe=str(data / "recipe.toml"), authors="A B", licence="CC0-1.0"
    )
    return result, out


# --- training


def test_the_command_leaves_a_package_and_a_report_that_names_no_file(trained: tuple[Any, Path]) -> None:
    result, folder = trained
    assert "NOT" not in result.message  # bioimageio.core has run each kind of weights
    assert "Research use" in result.message
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "Disks", "Disks report.html", "Disks test images.csv", "Disks.zip",
    ]  # fmt: skip
    page = (folder.parent / "Disks report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2
    assert page.count("data:image/svg") == 2  # losses and FROC
    assert "i0.tif" not in page
    with (folder.parent / "Disks test images.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(row["objects large"] == "1" and row["objects small"] == "2" for row in rows)
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["training"]["settings"] == record["settings"]
    assert record["evaluation"]["n_patients"] == 1
    assert "i0.tif" not in json.dumps(record)


@pytest.mark.slow
def test_rois_train_a_network_and_come_back_as_rois(tmp_path: Path) -> None:
    data = as_rois(tmp_path / "data")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    out = tmp_path / "out" / "Disks"
    mikata.train_detection(data, out=out, recipe=str(tmp_path / "recipe.toml"), epochs=1)
    network = pixel_network(out)
    assert network.outputs == ("object", "height", "width")
    found = mikata.detect(data / "images" / "i0.tif", model=out, min_score_percent=1, out=tmp_path / "found")
    assert (tmp_path / "found" / "Detect.csv").is_file()
    assert "place(s) with a score of 1% or more" in found.message


def test_what_cannot_be_learnt_from_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    table = as_table(tmp_path / "data")
    out = tmp_path / "out" / "Disks"
    with pytest.raises(ParameterError, match="does not exist"):
        mikata.train_detection(tmp_path / "nothing", out=out)
    named = tmp_path / "data" / "named.csv"
    named.write_text(table.read_text().replace("large", "height"))
    with pytest.raises(DataError, match="a class cannot be called 'height'"):
        mikata.train_detection(named, out=out)
    table.write_text(table.read_text().replace("images/i0.tif,small,47", "images/i0.tif,small,far", 1))
    with pytest.raises(DataError, match="row"):
        mikata.train_detection(table, out=out)
    assert not out.parent.exists() or not list(out.parent.iterdir())
    with pytest.raises(PackageError, match="no SPDX name"):
        mikata.train_detection(table, out=out, licence="mine")


# --- packages


def test_a_package_is_read_as_the_same_network(trained: tuple[Any, Path]) -> None:
    folder = trained[1]
    assert kind_of(folder) == "detection"
    network = pixel_network(folder)
    assert (network.meaning, network.scale) == ("points", 1)
    assert network.outputs == ("large", "small", "height", "width")
    assert network.halo is not None
    assert network.settings is not None
    assert set(network.settings) == {"score", "apart_px"}
    image, expected = (np.load(folder / f"test_{what}.npy") for what in ("input", "output"))
    with torch.inference_mode():
        found = network.network(torch.from_numpy(network.before(image[0]))[None])[0].numpy()
    assert np.abs(network.after(found) - expected[0]).max() < 1e-4
    sample = images.read(folder / "sample_input.tif")
    assert sample.array.dtype == np.uint8
    assert np.array_equal(sample.array, image[0, 0])
    assert 0 <= expected[0, :2].min() < expected[0, :2].max() <= 1
    assert sum((folder / f"weights_{kind}.pt").stat().st_size for kind in ("state_dict", "torchscript")) < 5e6
    assert pixel_network(folder.with_name("Disks.zip")).settings == network.settings


def test_a_package_tells_of_itself(trained: tuple[Any, Path]) -> None:
    folder = trained[1]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "Research use, not for diagnosis" in readme
    for words in (
        "| 1 | large: highest",
        "| 3 | height in px",
        "Find Maxima",
        "`score`",
        "CC0-1.0",
        "## Validation",
    ):
        assert words in readme
    score = json.loads((folder / "training.json").read_text())["settings"]["score"]
    assert f"setThreshold({score:g}" in readme
    assert examine_package(folder, "both", progress=SILENT).failed == ()
    assert f"id: {OUTPUT}" in (folder / "rdf.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("settings", None),
        ("settings", {"score": 0.5}),
        ("settings", {"score": 0.0, "apart_px": 3}),
        ("settings", {"score": 0.5, "apart_px": 0}),
        ("outputs", ["large", "small", "width", "height"]),
        ("outputs", ["large", "height", "width"]),
        ("configuration", {}),
        ("configuration", {"typical_px": "wide"}),
        ("step", 0),
        ("halo", -1),
    ],
)
def test_a_damaged_record_is_refused(trained: tuple[Any, Path], tmp_path: Path, key: str, value: Any) -> None:
    def changed(record: dict[str, Any]) -> None:
        record[key] = (
            {**record[key], **value} if isinstance(value, dict) and value and key != "settings" else value
        )

    with pytest.raises(PackageError, match=f"'{key}' is missing or wrong"):
        pixel_network(with_record(trained[1], tmp_path, changed))


def with_record(folder: Path, to: Path, change: Any) -> Path:
    """A copy of a package with another record."""
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    change(record)
    (to / "training.json").write_text(json.dumps(record), encoding="utf-8")
    return to


def test_a_kind_that_is_not_known_is_refused(trained: tuple[Any, Path], tmp_path: Path) -> None:
    package = with_record(trained[1], tmp_path, lambda record: record.update(kind="tracking"))
    for read in (pixel_network, read_package, kind_of):
        with pytest.raises(PackageError, match=r"of the kind 'tracking', .* Update Mikata"):
            read(package)


def test_other_commands_name_the_right_one(trained: tuple[Any, Path]) -> None:
    with pytest.raises(PackageError, match=r"holds a network for detection, .* Use Detect Objects for it"):
        mikata.predict([np.zeros((64, 64), np.uint8)], model=trained[1])


def test_sizes_are_compared_as_shares() -> None:
    network = Detector("unet", 1, 1, [0], [1], 100.0)
    expected = torch.tensor([0.5, 200.0, 0.5]).reshape(1, 3, 1, 1)
    found = torch.tensor([0.5001, 200.1, 0.6]).reshape(1, 3, 1, 1)
    # 0.1 of 200 px; of a size below 1 px the difference itself
    assert largest_difference(found, expected, network) == pytest.approx(0.1, rel=1e-4)
    assert largest_difference(found[:, :2], expected[:, :2], network) == pytest.approx(0.0005, rel=1e-3)


def test_boxes_are_drawn_where_they_are() -> None:
    picture = np.zeros((9, 9, 3), np.uint8)
    pages.framed(picture, [(2, 3, 4, 5), (-3, -3, 5, 5)], (1, 1, 1))
    expected = np.zeros((9, 9), np.uint8)
    expected[3:8, 2:6] = 1
    expected[4:7, 3:5] = 0
    expected[1, :2] = expected[:2, 1] = 1
    assert np.array_equal(picture[..., 0], expected)
    pages.framed(picture, [(6.5, 1.5, 0, 0)], (2, 2, 2))
    assert (picture[1, 3:] == 2).all()
    assert picture[3, 6, 0] == 2
    thick = np.zeros((9, 9, 3), np.uint8)
    pages.framed(thick, [(1, 1, 6, 5)], (1, 1, 1), 2)
    expected[:] = 0
    expected[1:6, 1:7] = 1
    expected[3, 3:5] = 0
    assert np.array_equal(thick[..., 0], expected)


@pytest.mark.slow
def test_it_is_exported_for_both_readers(trained: tuple[Any, Path], tmp_path: Path) -> None:
    package = trained[1]
    for reader in ("zoo", "deepimagej"):
        out = tmp_path / reader
        result = mikata.export_package(model=package, out=out, reader=reader, authors="C D")
        assert "passes its own test" in result.message
        assert examine_package(out, reader, progress=SILENT).failed == ()
        ours, theirs = pixel_network(package), pixel_network(out.with_suffix(".zip"))
        assert (ours.settings, ours.outputs) == (theirs.settings, theirs.outputs)
        x = torch.rand(1, 1, 48, 64) * 200
        with torch.inference_mode():
            assert torch.equal(ours.network(x), theirs.network(x))
        assert "Find Maxima" in (out / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ParameterError, match="without heat maps"):
        mikata.export_package(model=package, out=tmp_path / "maps", explain=True)


@pytest.mark.slow
@pytest.mark.shared
def test_deepimagej_runs_it(trained: tuple[Any, Path], shared: Path) -> None:
    run_in_deepimagej(shared, trained[1].with_name("Disks.zip"))


# --- prediction


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Have the command find a network in a package, and give the package's path."""
    model = tmp_path / "model"
    model.mkdir()

    def give(network: PixelNetwork) -> Path:
        monkeypatch.setattr(running, "pixel_network", lambda path: network)
        return model

    return give


def blobs(places: list[tuple[int, int, float]]) -> np.ndarray:
    """Values that are 100 x the heat."""
    y, x = np.mgrid[:90, :120]
    return np.max([100 * s * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 18) for r, c, s in places], 0).astype(np.float32)  # fmt: skip


PLACES = [(20, 30, 0.9), (70, 100, 0.6), (50, 60, 0.3), (50, 67, 0.28)]


def two_classes(x: Tensor) -> Tensor:
    """Heat of a class, a fainter one of another that is high where the first is, and sizes."""
    return torch.cat([x / 100, x / 200, 10 + 0 * x, 14 + 0 * x], 1)


def finder(**changes: Any) -> PixelNetwork:
    found: dict[str, Any] = {"meaning": "points", "settings": {"score": 0.25, "apart_px": 3.0}}
    return made_up(Thresholds(two_classes), ("lesion", "cyst", "height", "width"), **found | changes)


def dictionaries(table: Any) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.mark.parametrize("tile_px", [0, 30])
def test_what_the_package_says_counts_unless_the_user_says_otherwise(use: Any, tile_px: int) -> None:
    given = images.from_array(blobs(PLACES), "YX", title="film")
    result = mikata.detect(given, model=use(finder()), tile_px=tile_px)
    rows = dictionaries(result.tables[0])
    assert [(r["class"], r["y_px"], r["x_px"], round(r["score"], 2)) for r in rows] == [
        ("lesion", 20.5, 30.5, 0.9), ("lesion", 70.5, 100.5, 0.6), ("lesion", 50.5, 60.5, 0.3),
        ("lesion", 50.5, 67.5, 0.28), ("cyst", 20.5, 30.5, 0.45), ("cyst", 70.5, 100.5, 0.3),
    ]  # fmt: skip
    assert result.tables[0].title == "Detect"
    assert "6 place(s) with a score of 25% or more" in result.message
    assert result.overlay is not None
    assert [one.name for one in result.overlay][:2] == ["lesion 1 (0.90)", "lesion 2 (0.60)"]
    drawn = [regions.to_roi(one) for one in result.overlay]
    assert [roi.group for roi in drawn] == [1, 1, 1, 1, 2, 2]
    assert len({roi.stroke_color for roi in drawn}) == 2
    assert (drawn[0].xd, drawn[0].yd, drawn[0].widthd, drawn[0].heightd) == (23.5, 15.5, 14, 10)
    # 7 px apart: of the two near ones only the higher
    wide = finder(settings={"score": 0.25, "apart_px": 8.0})
    assert len(mikata.detect(given, model=use(wide), tile_px=tile_px).tables[0].rows) == 5
    asked = mikata.detect(
        given, model=use(finder()), tile_px=tile_px, min_score_percent=50, detections="points"
    )
    assert asked.overlay is not None
    assert [regions.to_roi(one).coordinates().tolist() for one in asked.overlay] == [[[30, 20]], [[100, 70]]]
    segmented = mikata.segment(given, model=use(finder()), tile_px=tile_px)
    assert segmented.tables[0].rows == result.tables[0].rows


def test_without_a_threshold_in_the_package_half_counts(use: Any) -> None:
    found = mikata.detect(blobs(PLACES), model=use(finder(settings=None)))
    assert len(found.tables[0].rows) == 2
    assert "a score of 50% or more" in found.message


@pytest.mark.parametrize("tile_px", [36, 60])
def test_tiles_do_not_change_the_points(use: Any, tile_px: int) -> None:
    torch.manual_seed(2)
    plain = SmallUNet(outputs=4)
    x = np.random.default_rng(0).normal(100, 30, (150, 170)).astype(np.float32)

    def network(values: Tensor) -> Tensor:
        found = plain((values - 100) / 30)
        return torch.cat([found[:, :2], 20 * found[:, 2:]], 1)

    with torch.inference_mode():
        padded = np.pad(x, ((0, -150 % 4), (0, -170 % 4)), "reflect")
        whole = network(torch.from_numpy(padded)[None, None])[0, :, :150, :170].numpy()
    expected = peaks(whole, 2, 0.3, apart_px=4)
    assert len(expected) > 50
    model = use(
        made_up(
            network, ("a", "b", "height", "width"), meaning="points", halo=SmallUNet.HALO,
            sides=Sides(4, 4), settings={"score": 0.3, "apart_px": 4.0},
        )
    )  # fmt: skip
    rows = dictionaries(mikata.detect(x, model=model, tile_px=tile_px).tables[0])
    found = {(r["class"], r["x_px"], r["y_px"]): (r["score"], r["width_px"], r["height_px"]) for r in rows}
    wanted = {("ab"[p.kind], p.x, p.y): (p.score, p.width, p.height) for p in expected}
    assert found.keys() == wanted.keys()
    for place, values in wanted.items():
        assert found[place] == pytest.approx(values, abs=1e-4)


def test_rois_of_a_stack_lie_on_their_slices(use: Any) -> None:
    planes = np.stack([blobs(PLACES[:1]), blobs(PLACES[:2]), blobs(PLACES[1:2])])
    result = mikata.detect(images.from_array(planes, "ZYX"), model=use(finder()), detections="points")
    assert result.overlay is not None
    rois = [regions.to_roi(one) for one in result.overlay]
    slices = [row[1] for row in result.tables[0].rows]
    assert [roi.position for roi in rois] == slices == [1, 1, 2, 2, 2, 2, 3, 3]
    assert [row[3] for row in result.tables[1].rows] == [2, 4, 2]


def test_a_folder_to_a_folder(use: Any, tmp_path: Path) -> None:
    data, out, model = tmp_path / "data", tmp_path / "out", use(finder())
    data.mkdir()
    images.write_tiff(data / "one.tif", images.from_array(blobs(PLACES), "YX"))
    images.write_tiff(data / "two.tif", images.from_array(blobs(PLACES[:1]), "YX"))
    result = mikata.detect(data, model=model, out=out)
    assert {path.name for path in out.iterdir()} == {
        "Detect.csv", "Detect planes.csv", "one ROIs.zip", "two ROIs.zip",
    }  # fmt: skip
    assert result.images == ()
    assert len(regions.read(out / "two ROIs.zip")) == 2
    with pytest.raises(OutputError, match="already there"):
        mikata.detect(data, model=model, out=out)


def test_either_command_replaces_what_the_other_has_drawn(use: Any) -> None:
    by_hand = regions.rectangle(1, 1, 3, 3, name="drawn by hand")
    given = images.from_array(blobs(PLACES), "YX", overlay=(by_hand,))
    model = use(finder())
    first = mikata.segment(given, model=model)
    assert first.overlay is not None
    again = mikata.detect(given.replace(overlay=first.overlay), model=model)
    assert again.overlay is not None
    assert len(again.overlay) == len(first.overlay) == 7
    assert "6 ROI(s) of an earlier run" in again.message
    assert "by: Detect Objects" in (regions.to_roi(again.overlay[1]).props or "")


def test_networks_that_find_no_points_are_refused(use: Any, tmp_path: Path) -> None:
    for meaning, names in (("classes", ("background", "a")), ("image", ("restored",)), ("mask", ("a",))):
        model = use(made_up(lambda x: x, names, meaning=meaning))
        with pytest.raises(NetworkError, match=r"gives no points with scores, .* Use Segment Images for it"):
            mikata.detect(blobs(PLACES), model=model)
    with pytest.raises(ParameterError, match="min_score_percent"):
        mikata.detect(blobs(PLACES), model=use(finder()), min_score_percent=101)


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="Use Predict Images for it"):
        mikata.detect(blobs(PLACES), model=write_package(tmp_path / "classifier"))
