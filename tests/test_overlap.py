"""Overlap of heat and regions: exact areas, masks of every kind, and the command from end to end."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from skimage import data
from sklearn.metrics import f1_score, jaccard_score

import mikata
from mikata import images, regions
from mikata.errors import ImageError, NetworkError, ParameterError, RegionError
from mikata.readers import overlap
from mikata.readers.areas import area
from mikata.readers.overlap import heat_mask, sweep
from mikata.readers.overlapping import COLOURS
from packages import write_package

PHOTO = data.brick()
SHAPE = (60, 80)


def box(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def test_parts_are_those_of_three_rectangles() -> None:
    masks = {"heat": box(0, 0, 20, 10), "human": box(10, 0, 20, 10), "reference": box(15, 5, 20, 10)}
    found = overlap(masks)
    assert found.areas == {"heat": 200, "human": 200, "reference": 200}
    assert found.parts == {
        ("heat",): 100, ("human",): 200 - 100 - 75 + 25, ("reference",): 200 - 75,
        ("heat", "human"): 100 - 25, ("heat", "reference"): 0, ("human", "reference"): 75 - 25,
        ("heat", "human", "reference"): 25,
    }  # fmt: skip
    assert sum(found.parts.values()) == np.logical_or.reduce(list(masks.values())).sum()
    for pair in found.pairs:
        a, b = masks[pair.first].ravel(), masks[pair.second].ravel()
        assert pair.dice == pytest.approx(f1_score(a, b))
        assert pair.iou == pytest.approx(jaccard_score(a, b))
        assert pair.intersection == (a & b).sum()


def test_the_dice_by_chance_is_the_mean_of_random_places() -> None:
    generator = np.random.default_rng(0)
    human = box(3, 3, 30, 20)
    flat = np.zeros(SHAPE, bool).ravel()
    flat[:500] = True
    found = [
        overlap({"heat": generator.permutation(flat).reshape(SHAPE), "human": human}).pairs[0]
        for _ in range(300)
    ]
    assert np.mean([pair.dice for pair in found]) == pytest.approx(found[0].chance_dice, abs=0.002)


def test_what_is_empty_is_not_defined() -> None:
    nothing = np.zeros(SHAPE, bool)
    (pair,) = overlap({"heat": nothing, "human": nothing}).pairs
    assert math.isnan(pair.dice)
    assert math.isnan(pair.iou)
    (pair,) = overlap({"heat": nothing, "human": box(0, 0, 5, 5)}).pairs
    assert (pair.dice, pair.iou) == (0, 0)
    with pytest.raises(RegionError, match="different images"):
        overlap({"heat": nothing, "human": nothing[:5]})
    with pytest.raises(ValueError, match="two or three"):
        overlap({"heat": nothing})


def test_heat_is_cut_at_levels_of_its_maximum() -> None:
    heat = np.linspace(0, 5, 60 * 80).reshape(SHAPE)
    for one in sweep(heat, box(0, 0, 80, 30)):
        assert one.areas["heat"] == (heat >= 5 * one.level_percent / 100).sum()
    assert not heat_mask(np.zeros(SHAPE), 10).any()
    assert not heat_mask(-np.ones(SHAPE), 10).any()
    with pytest.raises(ImageError, match="NaN"):
        heat_mask(np.full(SHAPE, np.nan), 10)


def test_areas_of_every_kind_of_file(tmp_path: Path) -> None:
    found = (regions.rectangle(5, 6, 20, 10, name="one"), regions.oval(40, 20, 15, 15, name="two"))
    expected = regions.mask(found[0], SHAPE) | regions.mask(found[1], SHAPE)
    files = [regions.write(tmp_path / "a.zip", found)]
    own = regions.rectangle(0, 0, 60, 50, name="heat >= 50 % of maximum")
    picture = images.from_array(np.zeros(SHAPE, np.uint8), "YX", overlay=(*found, own))
    files.append(images.write_tiff(tmp_path / "overlay.tif", picture))
    labels = regions.to_labels(found, SHAPE)
    files.append(images.write_tiff(tmp_path / "labels.tif", images.from_array(labels, "YX")))
    files.append(images.write_tiff(tmp_path / "mask.tif", images.from_array(expected, "YX")))
    for file in files:
        np.testing.assert_array_equal(area(file, SHAPE).mask, expected, file.name)
        assert area(file, SHAPE).cut == 0
    beyond = regions.write(tmp_path / "b.roi", [regions.rectangle(70, 50, 40, 40)])
    assert (area(beyond, SHAPE).mask.sum(), area(beyond, SHAPE).cut) == (100, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: regions.write(f / "a.roi", [regions.rectangle(100, 5, 5, 5, name="far")]), "'far' lies outside"),
        (lambda f: regions.write(f / "a.roi", [regions.line(1, 1, 5, 5)]), "no area"),
        (lambda f: regions.write(f / "a.zip", []), "holds no regions"),
        (lambda f: images.write_tiff(f / "a.tif", images.from_array(PHOTO[:60, :80] | 1, "YX")), "no pixel of value 0"),
        (lambda f: images.write_tiff(f / "a.tif", images.from_array(np.zeros((6, 8), np.uint8), "YX")), "8 x 6 px"),
        (lambda f: images.write_tiff(f / "a.tif", images.from_array(np.full(SHAPE, 0.5, np.float32), "YX")), "labels"),
        (lambda f: images.write_tiff(f / "a.tif", images.from_array(np.zeros((2, *SHAPE), np.uint8), "ZYX")), "planes"),
    ],
)  # fmt: skip
def test_areas_that_are_none(tmp_path: Path, make: object, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        area(make(tmp_path), SHAPE)  # type: ignore[operator]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("package") / "model")


def test_the_command_with_a_heat_map(tmp_path: Path) -> None:
    y, x = np.mgrid[:60, :80]
    heat = np.exp(-((x - 30) ** 2 + (y - 25) ** 2) / 200).astype(np.float32)
    image = images.from_array(PHOTO[:60, :80], "YX", title="case 1", pixel_size=(0.2, 0.2, 1), unit="mm")
    heat_file = images.write_tiff(tmp_path / "case 1 heat.tif", images.from_array(heat, "YX"))
    human = regions.write(tmp_path / "human.roi", [regions.oval(20, 15, 20, 20)])
    reference = regions.write(tmp_path / "reference.zip", [regions.rectangle(25, 20, 20, 20)])
    mine = regions.rectangle(1, 1, 3, 3, name="mine")
    result = mikata.region_overlap(
        image.replace(overlay=(mine,)), human=human, reference=reference, heat=heat_file
    )
    (table,) = result.tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["level_percent"] for row in rows] == [float(n) for n in range(10, 100, 10)]
    masks = regions.mask(regions.read(human)[0], SHAPE), box(25, 20, 20, 20)
    for row in rows:
        hot = heat >= heat.max() * row["level_percent"] / 100
        assert row["heat_px"] == hot.sum()
        assert row["dice_heat_human"] == pytest.approx(f1_score(hot.ravel(), masks[0].ravel()))
        assert row["iou_heat_reference"] == pytest.approx(jaccard_score(hot.ravel(), masks[1].ravel()))
        assert row["all_three_px"] == (hot & masks[0] & masks[1]).sum()
        assert row["only_human_px"] == (masks[0] & ~hot & ~masks[1]).sum()
        assert (row["pixel_width"], row["unit"]) == (0.2, "mm")
    assert result.overlay is not None
    drawn = {region.name: region for region in result.overlay}
    assert list(drawn) == ["mine", "overlap: heat >= 50 % of maximum", "overlap: human", "overlap: reference"]
    np.testing.assert_array_equal(regions.mask(drawn["overlap: human"], SHAPE), masks[0])
    assert len(set(COLOURS.values())) == 3
    again = mikata.region_overlap(
        image.replace(overlay=result.overlay), human=human, reference=reference, heat=heat_file
    )
    assert again.overlay == result.overlay
    (plot,) = result.plots
    assert [name for name, _, _ in plot.series] == ["heat - human", "heat - reference", "human - reference"]
    assert plot.series[0][2] == pytest.approx([row["dice_heat_human"] for row in rows])


def test_the_command_with_a_model_over_a_folder(package: Path, hard_path: Path) -> None:
    humans, out = hard_path / "human", hard_path / "out"
    humans.mkdir()
    files = []
    for n in range(3):
        files.append(
            images.write_tiff(
                hard_path / f"写真 {n}.tif", images.from_array(PHOTO[:70, 90 * n : 90 * n + 90], "YX")
            )
        )
        side = 30 if n else 2
        regions.write(humans / f"写真 {n}.zip", [regions.rectangle(10 * n, 10, side, side, name="h")])
    result = mikata.region_overlap(files, human=humans, model=package, target="brick", batch=2, out=out)
    rows = list(csv.DictReader((out / "region overlap.csv").read_text("utf-8-sig").splitlines()))
    assert len(rows) == 27
    assert "reference_px" not in rows[0]
    heats = mikata.grad_cam(files, model=package, target="brick", result="heat-map").images
    for n, heat in enumerate(heats):
        for row in rows[9 * n : 9 * n + 9]:
            level = float(heat.array.max()) * float(row["level_percent"]) / 100
            assert int(row["heat_px"]) == (heat.array >= level).sum()
    marked = images.read(out / "写真 1 with regions.tif")
    assert {region.name for region in marked.overlay} >= {"overlap: human"}
    assert "two cells of the network's grid" in result.message
    assert "human 写真 0" in result.message
    # a folder of heat maps that are there gives the same
    made = hard_path / "heat"
    mikata.grad_cam(files, model=package, target="brick", result="heat-map", out=made)
    other = mikata.region_overlap(files, human=humans, heat=made).tables[0]
    assert [row[:5] for row in other.rows] == [row[:5] for row in result.tables[0].rows]


def test_bad_input_is_a_sentence(package: Path, tmp_path: Path) -> None:
    photo = images.from_array(PHOTO[:60, :80], "YX", title="a")
    human = regions.write(tmp_path / "a.roi", [regions.rectangle(5, 5, 9, 9)])
    flat = images.write_tiff(tmp_path / "heat.tif", images.from_array(np.zeros(SHAPE, np.float32), "YX"))
    for changes, error, words in (
        ({}, ParameterError, "Give heat"),
        ({"heat": flat, "model": package}, ParameterError, "not both"),
        ({"model": package, "target": "stone"}, NetworkError, "has no class 'stone'"),
    ):
        with pytest.raises(error, match=words):
            mikata.region_overlap(photo, human=human, **changes)
    assert "1 image(s) without any heat" in mikata.region_overlap(photo, human=human, heat=flat).message
    with pytest.raises(RegionError, match="several images"):
        mikata.region_overlap([photo, photo], human=human, heat=flat)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RegionError, match="has no file for the image a"):
        mikata.region_overlap(photo, human=tmp_path / "folder", heat=flat)
    for name in ("a.zip", "A.roi"):
        regions.write(tmp_path / "folder" / name, [regions.rectangle(5, 5, 9, 9)])
    with pytest.raises(RegionError, match="several files for the image a"):
        mikata.region_overlap(photo, human=tmp_path / "folder", heat=flat)
    stack = images.from_array(np.stack([PHOTO[:60, :80]] * 2), "ZYX", title="a")
    for changes in ({"heat": flat}, {"model": package}):
        with pytest.raises(ImageError, match="several planes"):
            mikata.region_overlap(stack, human=human, **changes)
    other = images.write_tiff(tmp_path / "small.tif", images.from_array(np.ones((6, 8), np.float32), "YX"))
    with pytest.raises(RegionError, match="8 x 6 px"):
        mikata.region_overlap(photo, human=human, heat=other)
    nan = images.write_tiff(tmp_path / "nan.tif", images.from_array(np.full(SHAPE, np.nan, np.float32), "YX"))
    with pytest.raises(ImageError, match="NaN"):
        mikata.region_overlap(photo, human=human, heat=nan)
