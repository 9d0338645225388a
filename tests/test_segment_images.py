"""Segment Images: what comes out of networks of known answers, with real areas, ROIs, tables and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.measure import regionprops
from torch import Tensor

import mikata
from mikata import images, regions, shipped
from mikata.errors import Cancelled, ImageError, NetworkError, OutputError, PackageError, ParameterError
from mikata.networks import read_pixel_network
from mikata.networks.instances import label_image
from mikata.networks.peaks import peaks
from mikata.networks.pixelwise import PixelNetwork, Sides
from mikata.segmenting import running
from mikata.segmenting.objects import Parting, find
from mikata.types import Progress
from packages import write_package
from pixelnets import Doubling, Thresholds, pixel_network

SIZE = (90, 120)


def cells() -> np.ndarray:
    """Values 0, 100 (class a), 200 (class b): two discs, a square, a single px, and two px that touch by a corner."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    values = np.zeros(SIZE, np.uint8)
    values[(y - 20) ** 2 + (x - 25) ** 2 <= 100] = 100
    values[(y - 60) ** 2 + (x - 90) ** 2 <= 225] = 100
    values[40:50, 10:30] = 200
    values[5, 110] = 200
    values[80, 5] = values[81, 6] = 200
    return values


def by_value(x: Tensor) -> Tensor:
    """Probabilities of three classes that follow from the value: 0, 100 or 200."""
    apart = torch.cat([-(x - mean).abs() / 20 for mean in (0, 100, 200)], 1)
    return torch.softmax(apart, 1)


def masks(x: Tensor) -> Tensor:
    """Foreground by itself: at least 100, and at least 200, so that the second lies in the first."""
    return torch.cat([torch.sigmoid((x - 50) / 10), torch.sigmoid((x - 150) / 10)], 1)


def classes_network(**changes: Any) -> PixelNetwork:
    return pixel_network(Thresholds(by_value), ("background", "cell", "square"), **changes)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Have the command find a network in a package, and give the package's path."""
    model = tmp_path / "model"
    model.mkdir()

    def give(network: PixelNetwork) -> Path:
        monkeypatch.setattr(running, "pixel_network", lambda path: network)
        return model

    return give


def image(values: np.ndarray | None = None, **more: Any) -> images.Image:
    given: dict[str, Any] = {"title": "cells", "pixel_size": (0.5, 0.25, 1.0), "unit": "µm"} | more
    return images.from_array(cells() if values is None else values, given.pop("axes", "YX"), **given)


def dictionaries(table: Any) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.mark.parametrize("tile_px", [0, 24])
def test_objects_are_those_of_another_library(use: Any, tile_px: int) -> None:
    given = image()
    result = mikata.segment(given, model=use(classes_network()), tile_px=tile_px)
    rows = dictionaries(result.tables[0])
    expected = []
    for value, name in ((100, "cell"), (200, "square")):
        labels, _ = ndimage.label(cells() == value, np.ones((3, 3)))
        expected += [(name, found) for found in regionprops(labels, intensity_image=cells())]
    assert len(rows) == len(expected) == 5
    for row, (name, found) in zip(rows, expected, strict=True):
        assert (row["image"], row["slice"], row["frame"], row["class"]) == ("cells", 1, 1, name)
        assert row["area_px"] == found.area
        assert row["area"] == pytest.approx(found.area * 0.125)
        assert row["area_unit"] == "µm²"
        assert (row["y_px"], row["x_px"]) == pytest.approx(np.array(found.centroid) + 0.5)
        assert row["mean"] == pytest.approx(found.intensity_mean)
        assert row["value_unit"] == "grey"
        sure = float(by_value(torch.full((1, 1, 1, 1), found.intensity_mean)).max())
        assert row["probability"] == pytest.approx(sure, abs=1e-5)
    (plane,) = dictionaries(result.tables[1])
    assert plane["objects"] == 5
    assert plane["count(cell)"] == 2
    assert plane["area_px(square)"] == (cells() == 200).sum()
    assert plane["percent(cell)"] == pytest.approx(100 * (cells() == 100).mean())
    (labels_image,) = result.images
    assert labels_image.array.dtype == np.uint8
    assert np.array_equal(labels_image.array, cells() // 100)
    assert labels_image.pixel_size == given.pixel_size
    assert labels_image.unit == "µm"
    assert result.overlay is not None
    assert [one.name for one in result.overlay] == ["cell 1", "cell 2", "square 3", "square 4", "square 5"]
    for region, row in zip(result.overlay, rows, strict=True):
        assert regions.mask(region, SIZE).sum() == row["area_px"]
        assert regions.to_roi(region).group == {"cell": 1, "square": 2}[row["class"]]
    assert result.message == (
        "1 plane(s) of 1 image(s) segmented by made up: 5 object(s). Research use, not for diagnosis."
    )


def test_labels_of_objects_and_a_smallest_size(use: Any) -> None:
    model = use(classes_network())
    result = mikata.segment(image(), model=model, numbers="objects", min_size_px=3)
    (labels,) = result.images
    assert labels.array.dtype == np.uint16
    assert sorted(np.unique(labels.array)) == [0, 1, 2, 3]
    assert len(result.tables[0].rows) == 3
    # what is left out is gone from the classes and shares too
    (classes,) = mikata.segment(image(), model=model, min_size_px=3).images
    assert classes.array[5, 110] == classes.array[80, 5] == 0
    (plane,) = dictionaries(result.tables[1])
    assert plane["area_px(square)"] == 200
    # regions of the label image are those of the overlay
    assert result.overlay is not None
    assert np.array_equal(regions.to_labels(result.overlay, SIZE), labels.array)


def test_what_is_made_can_be_chosen(use: Any) -> None:
    model = use(classes_network())
    table = mikata.segment(image(), model=model, result="table")
    assert table.images == ()
    assert table.overlay is None
    rois = mikata.segment(image(), model=model, result="rois", roi_manager=True)
    assert rois.images == ()
    assert rois.overlay == rois.manager
    labels = mikata.segment(image(), model=model, result="labels", probabilities=True)
    assert labels.overlay is None
    chances = labels.images[1]
    assert chances.axes == "CYX"
    assert chances.slice_labels == ("background", "cell", "square")
    expected = by_value(torch.from_numpy(cells()[None, None].astype(np.float32)))[0].numpy()
    assert np.abs(chances.array - expected).max() < 1e-6


def test_a_least_probability(use: Any) -> None:
    values = np.zeros(SIZE, np.uint8)
    values[10:20, 10:20], values[40:50, 40:50] = 100, 60  # 60 is a cell of probability 0.73
    result = mikata.segment(image(values), model=use(classes_network()), min_probability_percent=90)
    (row,) = dictionaries(result.tables[0])
    assert row["area_px"] == 100
    assert row["y_px"] == 15
    assert len(mikata.segment(image(values), model=use(classes_network())).tables[0].rows) == 2


def test_masks_may_overlap_and_are_channels(use: Any) -> None:
    network = pixel_network(Thresholds(masks), ("bright", "very bright"), meaning="mask")
    values = cells()
    values[15:25, 20:30] = 200  # in the first disc
    result = mikata.segment(image(values), model=use(network))
    (labels,) = result.images
    assert labels.axes == "CYX"
    assert np.array_equal(labels.array[0], (values >= 100).astype(np.uint8))
    assert np.array_equal(labels.array[1], 2 * (values >= 200).astype(np.uint8))
    names = [row["class"] for row in dictionaries(result.tables[0])]
    assert names.count("bright") == 5
    assert names.count("very bright") == 4
    (plane,) = dictionaries(result.tables[1])
    assert plane["area_px(bright)"] == (values >= 100).sum()
    # a threshold of the package counts where none is asked for
    stated = pixel_network(
        Thresholds(masks), ("bright", "very bright"), meaning="mask", settings={"threshold": 0.9999}
    )
    fewer = dictionaries(mikata.segment(image(values), model=use(stated)).tables[0])
    # 100 is bright with a probability of 0.993 only
    assert {(row["class"], row["area_px"]) for row in fewer if row["class"] == "bright"} == {
        ("bright", 200),
        ("bright", 100),
        ("bright", 1),
        ("bright", 2),
    }


def touching() -> tuple[np.ndarray, np.ndarray]:
    """Two discs that touch, one alone, and how far inside each pixel lies (0 to 1)."""
    y, x = np.mgrid[:60, :100]
    first, second = (y - 30) ** 2 + (x - 25) ** 2 <= 225, (y - 30) ** 2 + (x - 52) ** 2 <= 225
    alone = (y - 15) ** 2 + (x - 85) ** 2 <= 64
    inside = first | second | alone
    distance = np.zeros(inside.shape)
    for one in (first & (x < 39), second & (x >= 39), alone):
        own = ndimage.distance_transform_edt(one)
        distance = np.maximum(distance, own / own.max())
    return inside, distance.astype(np.float32)


def instances(boundary: bool) -> PixelNetwork:
    """Takes an image whose value is 100 x the distance, 0 outside."""

    def parts(x: Tensor) -> Tensor:
        inside = (x > 0).float() * 0.8 + 0.1
        distance = x / 100
        if not boundary:
            return torch.cat([1 - inside, inside, distance], 1)
        edge = ((x > 0) & (distance < 0.15)).float() * 0.7
        rest = inside - torch.minimum(inside, edge)
        return torch.cat([1 - inside, rest, torch.minimum(inside, edge)], 1)

    third = "boundary" if boundary else "distance"
    return pixel_network(Thresholds(parts), ("background", "nucleus", third), meaning="instances")


@pytest.mark.parametrize("boundary", [False, True])
def test_touching_objects_are_parted(use: Any, boundary: bool) -> None:
    inside, distance = touching()
    given = image(100 * distance)
    result = mikata.segment(given, model=use(instances(boundary)))
    (labels,) = result.images
    assert np.array_equal(labels.array > 0, distance > 0)
    rows = dictionaries(result.tables[0])
    assert len(rows) == 3
    assert {row["class"] for row in rows} == {"nucleus"}
    assert sorted(row["x_px"] for row in rows) == pytest.approx([25.5, 52.5, 85.5], abs=1.0)
    # all three are whole: each pixel of one side has one number
    assert len(np.unique(labels.array[:, 45:70][inside[:, 45:70]])) == 1
    if boundary:  # what lies at the border of an object is a part of it: 1 - p(background)
        assert all(row["probability"] == pytest.approx(0.9, abs=0.01) for row in rows)
    # without a channel that parts them, two are one
    plain = pixel_network(
        Thresholds(lambda x: torch.cat([(x <= 0).float(), (x > 0).float()], 1)), ("bg", "nucleus")
    )
    assert len(mikata.segment(given, model=use(plain)).tables[0].rows) == 2


def test_objects_with_corners_that_touch_a_seed_by_a_corner_stay_whole() -> None:
    classes = np.zeros((1, 6, 12), np.uint8)
    classes[0, 1:3, 1:3] = classes[0, 3:5, 3:9] = 1
    seeds = np.zeros((6, 12), bool)
    seeds[1, 1] = seeds[4, 8] = True
    found = find(classes, [(1,)], 0, Parting(seeds, np.zeros((6, 12), np.float32)))
    assert len(found) == 2
    assert np.array_equal(found.labels > 0, classes > 0)


def blobs(places: list[tuple[int, int, float]]) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.max([100 * s * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 18) for r, c, s in places], axis=0).astype(np.float32)  # fmt: skip


@pytest.mark.parametrize("tile_px", [0, 30])
def test_points_have_a_place_a_score_and_a_size(use: Any, tile_px: int) -> None:
    places = [(20, 30, 0.9), (70, 100, 0.6), (50, 60, 0.3), (0, 119, 0.8)]
    network = pixel_network(
        Thresholds(lambda x: torch.cat([x / 100, 10 + 0 * x, 14 + 0 * x], 1)),
        ("lesion", "height", "width"),
        meaning="points",
        halo=0,
    )
    given = image(blobs(places))
    result = mikata.segment(given, model=use(network), tile_px=tile_px)
    rows = dictionaries(result.tables[0])
    found = [(row["y_px"], row["x_px"], round(row["score"], 3)) for row in rows]
    assert found == [(20.5, 30.5, 0.9), (0.5, 119.5, 0.8), (70.5, 100.5, 0.6)]
    assert [(row["width_px"], row["height_px"]) for row in rows] == [(14, 10)] * 3
    assert rows[0]["x"] == 30.5 * 0.5
    assert result.overlay is not None
    box = regions.to_roi(result.overlay[0])
    assert (box.xd, box.yd, box.widthd, box.heightd) == (23.5, 15.5, 14, 10)
    assert result.overlay[0].name == "lesion 1 (0.90)"
    assert "3 place(s) with a score of 50% or more" in result.message
    as_points = mikata.segment(given, model=use(network), detections="points", min_probability_percent=85)
    assert as_points.overlay is not None
    (one,) = as_points.overlay
    assert regions.to_roi(one).coordinates().tolist() == [[30, 20]]
    (plane,) = dictionaries(as_points.tables[1])
    assert plane["count(lesion)"] == 1


def test_maxima_of_one_height_and_near_ones_count_once() -> None:
    values = np.zeros((1, 600, 20), np.float32)
    values[0, 255:257, 5] = 0.9  # two equal neighbours over the border between two bands
    values[0, 100, 10], values[0, 102, 11] = 0.8, 0.7
    assert [(p.y, p.x) for p in peaks(values, 1, 0.5)] == [(255.5, 5.5), (100.5, 10.5), (102.5, 11.5)]
    assert [(p.y, p.x) for p in peaks(values, 1, 0.5, apart_px=2)] == [(255.5, 5.5), (100.5, 10.5)]
    assert peaks(values, 1, 0.95) == []


def test_a_restored_image_has_finer_pixels(use: Any) -> None:
    torch.manual_seed(3)
    network = pixel_network(Doubling(), ("restored",), halo=2, meaning="image", scale=2)
    given = image()
    result = mikata.segment(given, model=use(network), tile_px=32)
    (restored,) = result.images
    assert restored.array.shape == (180, 240)
    assert restored.pixel_size == (0.25, 0.125, 1.0)
    (plane,) = dictionaries(result.tables[0])
    assert plane["mean"] == pytest.approx(restored.array.mean(), rel=1e-5)
    assert plane["channel"] == "restored"
    assert result.overlay is None
    with pytest.raises(NetworkError, match="knows no objects"):
        mikata.segment(given, model=use(network), result="rois")


def test_an_output_of_which_nothing_is_known_is_given_as_it_comes(use: Any) -> None:
    network = pixel_network(lambda x: torch.cat([x, 2 * x], 1), ("one", "two"), meaning="unknown")
    result = mikata.segment(image(), model=use(network))
    assert "does not say what the numbers are" in result.message
    (found,) = result.images
    assert np.array_equal(found.array[1], 2.0 * cells())


def test_stacks_go_plane_by_plane_and_an_empty_plane_is_told(use: Any) -> None:
    planes = np.stack([cells(), np.zeros(SIZE, np.uint8), cells()[::-1], cells()]).reshape(2, 2, *SIZE)
    given = image(planes, axes="TZYX")
    result = mikata.segment(given, model=use(classes_network()))
    (labels,) = result.images
    assert labels.axes == "TZYX"
    assert not labels.array[0, 1].any()
    assert np.array_equal(labels.array[1, 0], cells()[::-1] // 100)
    assert [row[1:3] for row in result.tables[1].rows] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert result.tables[1].rows[1][3:] == (None,) * len(result.tables[1].rows[0][3:])
    assert "Skipped: 1 file(s) (cells: cells, slice 2, frame 1: the image is constant" in result.message
    assert result.overlay is not None
    found = [regions.to_roi(one) for one in result.overlay]
    assert [(roi.z_position, roi.t_position) for roi in found] == [(1, 1)] * 5 + [(1, 2)] * 5 + [(2, 2)] * 5
    # the same planes as one stack: ImageJ counts them through
    flat = mikata.segment(image(planes.reshape(4, *SIZE), axes="ZYX"), model=use(classes_network())).overlay
    assert flat is not None
    assert [regions.to_roi(one).position for one in flat] == [1] * 5 + [3] * 5 + [4] * 5


def test_a_folder_to_a_folder(use: Any, hard_path: Path, tmp_path: Path) -> None:
    for name in ("一 [1]", "two"):
        images.write_tiff(hard_path / f"{name}.tif", image())
    (hard_path / "broken.tif").write_bytes(b"II*\0nothing")
    model, out = use(classes_network()), tmp_path / "out"
    result = mikata.segment(hard_path, model=model, out=out, probabilities=True, numbers="objects")
    assert {path.name for path in out.iterdir()} == {
        "Segment.csv", "Segment planes.csv",
        *(f"{name}{end}" for name in ("一 [1]", "two") for end in (" labels.tif", " ROIs.zip", " probabilities.tif")),
    }  # fmt: skip
    assert set(result.files) == set(out.iterdir())
    assert result.images == ()
    assert "broken.tif" in result.message
    labels = images.read(out / "two labels.tif")
    assert sorted(np.unique(labels.array)) == [0, 1, 2, 3, 4, 5]
    assert labels.unit == "µm"
    outlines = regions.read(out / "two ROIs.zip")
    assert np.array_equal(regions.to_labels(outlines, SIZE), labels.array)
    with (out / "Segment.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    with pytest.raises(OutputError, match="already there"):
        mikata.segment(hard_path, model=model, out=out)
    # what another run has left is not taken for this one's
    values = np.zeros(SIZE, np.uint8)
    values[0, 0] = 1
    images.write_tiff(hard_path / "two.tif", image(values))
    mikata.segment(hard_path, model=model, out=out, overwrite=True)
    assert not (out / "two ROIs.zip").exists()


def test_blended_tiles_are_told(use: Any) -> None:
    network = classes_network(halo=None, sides=Sides(16, 4))
    result = mikata.segment(image(), model=use(network), tile_px=40)
    assert "Tiles are blended" in result.message
    assert len(result.tables[0].rows) == 5


def test_it_can_be_stopped_between_tiles(use: Any) -> None:
    class Stop(Progress):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            self.seen.append(message)
            assert 0 <= done <= total

        @property
        def cancelled(self) -> bool:
            return len(self.seen) > 4

    progress = Stop()
    with pytest.raises(Cancelled):
        mikata.segment(image(), model=use(classes_network()), tile_px=24, progress=progress)
    assert progress.seen[-1].startswith("cells: tile ")


def test_images_that_the_network_was_not_made_for(use: Any) -> None:
    model = use(classes_network(value_unit="HU", value_range=(-1000.0, 1000.0)))
    with pytest.raises(ImageError, match="its values are in grey, but the network was trained on HU"):
        mikata.segment(image(), model=model)
    with pytest.raises(ImageError, match="constant"):
        mikata.segment(image(np.full(SIZE, 7, np.uint8)), model=use(classes_network()))
    with pytest.raises(ParameterError, match="min_probability_percent"):
        mikata.segment(image(), model=model, min_probability_percent=101)
    with pytest.raises(NetworkError, match="at least 3 channels, this one has 2"):
        mikata.segment(image(), model=use(pixel_network(lambda x: x, ("a", "b"), meaning="instances")))


def test_packages_of_the_other_kind_name_the_command(tmp_path: Path) -> None:
    package = write_package(tmp_path / "classifier")
    with pytest.raises(NetworkError, match=r"classifier is a classifier, .* Use Predict Images for it"):
        mikata.segment(image(), model=package)
    record = json.loads((package / "training.json").read_text("utf-8"))
    (package / "training.json").write_text(json.dumps(record | {"kind": "segmentation"}), "utf-8")
    with pytest.raises(PackageError, match=r"network for segmentation, .* Use Segment Images for it"):
        mikata.predict(image(), model=package)
    (package / "training.json").write_text("{", "utf-8")
    with pytest.raises(PackageError, match="damaged"):
        mikata.segment(image(), model=package)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError):
        mikata.segment(image(), model=tmp_path / "empty")


def test_objects_are_those_of_the_training_report() -> None:
    """With the thresholds that the package states: its figures are of objects made so."""
    folder = shipped.models()["nuclei"]
    values = np.load(folder / "test_input.npy")[0]
    network = read_pixel_network(folder)
    with torch.inference_mode():
        outputs = network.network(torch.from_numpy(values)[None])[0].numpy()
    assert network.settings
    expected = label_image(outputs, network.outputs, network.settings)
    assert expected.max() > 10
    other = label_image(outputs, network.outputs)
    assert not np.array_equal(expected, other), "the settings make no difference here"
    found = mikata.segment(values[0].astype(np.uint8), model="nuclei", result="labels", tile_px=64)
    labels = found.images[0].array
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == expected.max() + 1 == labels.max() + 1, "other objects"
    assert set(pairs[:, 0]) == {0}


def test_a_second_run_replaces_the_rois_of_the_first_and_no_others(use: Any) -> None:
    drawn = regions.rectangle(1, 1, 3, 3, name="drawn by hand")
    given = image().replace(overlay=(drawn,))
    model = use(classes_network())
    first = mikata.segment(given, model=model)
    assert first.overlay is not None
    again = mikata.segment(given.replace(overlay=first.overlay), model=model)
    assert again.overlay is not None
    assert [one.name for one in again.overlay] == [one.name for one in first.overlay]
    assert again.overlay[0].name == "drawn by hand"
    assert "5 ROI(s) of an earlier run, which lay over the image, were replaced." in again.message


def test_parted_objects_are_numbered_from_top_to_bottom() -> None:
    classes = np.zeros((1, 60, 40), np.uint8)
    classes[0, 2:30, 5:15] = classes[0, 10:20, 25:35] = classes[0, 40:50, 5:15] = 1
    seeds = np.zeros((60, 40), bool)
    seeds[4:8, 8:12] = seeds[20:26, 8:12] = True
    found = find(classes, [[1]], 0, Parting(seeds, np.zeros((60, 40), np.float32)))
    assert [int(found.labels[0, y, x]) for y, x in ((2, 5), (10, 25), (29, 5), (45, 10))] == [1, 2, 3, 4]


def test_the_package_says_the_smallest_object_unless_the_user_does(use: Any) -> None:
    values = np.zeros(SIZE, np.float32)
    values[10:14, 10:14] = values[40:60, 40:60] = 1
    network = pixel_network(
        Thresholds(lambda x: torch.cat([1 - x, x, 0 * x], 1)),
        ("background", "cell", "boundary"),
        meaning="instances",
        settings={"foreground": 0.5, "seed": 0.5, "smallest_px": 20.0},
    )
    model = use(network)
    given = image(values)
    result = mikata.segment(given, model=model)
    assert len(result.tables[0].rows) == 1
    assert "parted from seeds of 0.5 or more, and have 20 px or more" in result.message
    assert len(mikata.segment(given, model=model, min_size_px=1).tables[0].rows) == 2


def test_an_image_without_numbers_does_not_end_the_others(use: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, top in (("a", 200), ("b", 210), ("c", 200)):
        images.write_tiff(folder / f"{name}.tif", image(cells().clip(0, top) + (cells() > 150) * (top - 200)))
    network = pixel_network(
        Thresholds(lambda x: by_value(x) + torch.where(x.max() > 205, torch.nan, 0.0)),
        ("background", "cell", "square"),
    )
    result = mikata.segment(folder, model=use(network))
    assert result.message.startswith("2 plane(s) of 2 image(s)")
    assert "b.tif: made up gives values that are not numbers" in result.message
    assert [row[0] for row in result.tables[1].rows] == ["a", "b", "c"]
