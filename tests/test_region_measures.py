"""Regions of an image, and heat in them: exact figures on maps made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mikata import images, regions
from mikata.errors import ImageError, RegionError
from mikata.explanation.cells import Cells, spreading
from mikata.explanation.grids import Grid, grid_of
from mikata.explanation.measuring import Ruler, measure
from mikata.explanation.region_files import FolderSource, LabelFile, RoiFile
from mikata.explanation.region_frames import Frame
from mikata.explanation.region_sets import from_labels, from_masks, from_regions
from mikata.explanation.region_sources import GridSource, OverlaySource, region_notes, region_source
from mikata.images import Images


def interpolated(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    x = torch.from_numpy(grid)[:, None]
    smaller = grid.shape[-2] > size[0] or grid.shape[-1] > size[1]
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=smaller)[:, 0].numpy()


# ---------------------------------------------------------------- figures


def test_known_shares_peak_and_centre() -> None:
    heat = np.zeros((1, 6, 8))
    heat[0, 1, 2], heat[0, 4, 6] = 3.0, 1.0
    found = measure(heat, Grid(2, 2).over((6, 8), "x"))
    np.testing.assert_array_equal(found.share, [[0.75, 0, 0, 0.25]])
    np.testing.assert_array_equal(found.mean, [[3 / 12, 0, 0, 1 / 12]])
    np.testing.assert_array_equal(found.area_share, [0.25] * 4)
    assert found.peak.tolist() == [[1, 2]]
    assert found.inside.tolist() == [[True, False, False, False]]
    np.testing.assert_allclose(found.centre, [[(3 * 1 + 4) / 4, (3 * 2 + 6) / 4]])
    assert found.total.tolist() == [4.0]


def test_negative_heat_counts_as_none() -> None:
    heat = np.full((1, 2, 2), -5.0)
    heat[0, 0] = [1.0, 3.0]
    found = measure(heat, Grid(1, 2).over((2, 2), "x"))
    np.testing.assert_array_equal(found.share, [[0.25, 0.75]])
    np.testing.assert_array_equal(found.mean, [[0.5, 1.5]])


def test_a_map_without_heat_has_no_shares() -> None:
    found = measure(np.zeros((1, 4, 4)), Grid(2, 2).over((4, 4), "x"))
    assert np.isnan(found.share).all()
    assert np.isnan(found.centre).all()
    assert found.peak.tolist() == [[-1, -1]]
    assert not found.inside.any()
    ruler = Ruler(Grid(2, 2).over((4, 4), "x"), Cells((2, 2), (4, 4), (4, 4)))
    assert np.isnan(ruler.measure(np.zeros((1, 2, 2))).share).all()


def test_odd_numbers_and_other_sizes_are_refused() -> None:
    whole = Grid(1, 1).over((4, 4), "x")
    with pytest.raises(ImageError, match="not numbers"):
        measure(np.full((1, 4, 4), np.nan), whole)
    with pytest.raises(ImageError, match="not numbers"):
        Ruler(whole, Cells((2, 2), (4, 4), (4, 4))).measure(np.full((1, 2, 2), np.inf))
    with pytest.raises(RegionError, match="1 x 4 x 5; the regions are for an image of 4 x 4 px"):
        measure(np.ones((1, 4, 5)), whole)
    with pytest.raises(RegionError, match="the regions are for"):
        Ruler(whole, Cells((2, 2), (5, 4), (5, 4)))


@settings(deadline=None, max_examples=60)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    image=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    continued=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_the_grid_gives_what_full_maps_give(
    grid: tuple[int, int], image: tuple[int, int], continued: bool, seed: int
) -> None:
    """Also for small images that were continued, grids finer than the image, ties, and regions of any shape."""
    random = np.random.default_rng(seed)
    covered = (image[0] + 7, image[1] + 3) if continued else image
    cells = Cells(grid, image, covered)
    grids = random.integers(0, 4, (3, *grid)).astype(np.float32)  # few values: many ties
    full = interpolated(grids, covered)[:, : image[0], : image[1]]
    np.testing.assert_allclose(cells.full(grids), full, atol=1e-5)
    masks = random.random((3, *image)) < 0.4
    masks[:, 0, 0] = True
    parts = from_masks(["a", "b", "c"], masks)
    quick, slow = Ruler(parts, cells).measure(grids), measure(cells.full(grids), parts)
    for name in ("total", "share", "mean", "centre", "area_share"):
        np.testing.assert_allclose(getattr(quick, name), getattr(slow, name), rtol=1e-9, atol=1e-12)
    for k, heat in enumerate(cells.full(grids)):
        if heat.max() > 0:  # of pixels that are equal but for rounding any may be found
            assert heat[tuple(quick.peak[k])] == pytest.approx(heat.max(), rel=1e-9)
            assert quick.inside[k].tolist() == masks[:, quick.peak[k, 0], quick.peak[k, 1]].tolist()


def test_sums_are_those_of_masked_pixels() -> None:
    """Against torch's own interpolation and nothing of ours."""
    random = np.random.default_rng(1)
    grids = random.random((4, 7, 7)).astype(np.float32)
    full = interpolated(grids, (224, 200)).astype(np.float64)
    circle = regions.oval(30, 40, 90, 120, name="circle")
    parts = from_regions([circle, regions.rectangle(0, 0, 200, 30, name="top")], (224, 200), "x")
    found = Ruler(parts, Cells((7, 7), (224, 200), (224, 200))).measure(grids)
    inside = regions.mask(circle, (224, 200))
    np.testing.assert_allclose(found.share[:, 0], full[:, inside].sum(1) / full.sum((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.share[:, 1], full[:, :30].sum((1, 2)) / full.sum((1, 2)), rtol=1e-6)
    assert found.area_px.tolist() == [inside.sum(), 6000]
    assert found.peak.tolist() == [list(np.unravel_index(m.argmax(), m.shape)) for m in full]


def test_negative_cells_are_cut_off_at_full_resolution() -> None:
    grids = np.array([[[1.0, -1.0]]])
    cells = Cells((1, 2), (1, 8), (1, 8))
    parts = from_masks(["left", "right"], [[[1] * 4 + [0] * 4], [[0] * 4 + [1] * 4]])
    found = Ruler(parts, cells).measure(grids)
    np.testing.assert_allclose(found.share, [[1.0, 0.0]])
    np.testing.assert_allclose(found.total, np.maximum(cells.full(grids), 0).sum())


def test_a_cell_mark_keeps_known_shares() -> None:
    """Upsampling alone leaves .56 of one cell's heat inside, .84 of three by three (for grids far from the border)."""
    for width, expected in ((1, 0.5625), (3, 0.84028)):
        grids = np.zeros((1, 14, 14))
        grids[0, 5 : 5 + width, 5 : 5 + width] = 1
        mask = np.zeros((1, 448, 448), bool)
        mask[0, 160 : 160 + 32 * width, 160 : 160 + 32 * width] = True
        found = Ruler(from_masks(["mark"], mask), Cells((14, 14), (448, 448), (448, 448))).measure(grids)
        assert found.share[0, 0] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("grid", "image"), [((64, 64), (40, 23)), ((50, 33), (49, 33)), ((64, 64), (20, 90))]
)
def test_a_map_of_every_pixel_over_a_smaller_image(grid: tuple[int, int], image: tuple[int, int]) -> None:
    heat = torch.rand(3, 1, *grid, generator=torch.Generator().manual_seed(1))
    cells = Cells(grid, image, image)
    expected = F.interpolate(heat, image, mode="bilinear", align_corners=False, antialias=True)[:, 0].numpy()
    full = cells.full(heat[:, 0].numpy())
    np.testing.assert_allclose(full, expected, atol=1e-5)
    peaks, values = cells.peaks(heat[:, 0].numpy())
    assert [tuple(peak) for peak in peaks] == [np.unravel_index(one.argmax(), image) for one in full]
    np.testing.assert_allclose(values, full.max((1, 2)))


def test_what_a_window_resolves_is_what_a_region_is_compared_with() -> None:
    assert Cells((64, 64), (128, 256), (128, 256)).cell_px == (2, 4)
    assert Cells((64, 64), (128, 256), (128, 256), resolved_px=(16.0, 32.0)).cell_px == (16, 32)


def test_spreading_is_torchs_interpolation_at_the_same_size() -> None:
    np.testing.assert_array_equal(spreading(5, 5, 1.0), np.eye(5))


# ---------------------------------------------------------------- grids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chest", Grid(2, 3, chest=True)), ("chest 2x3", Grid(2, 3, chest=True)), ("Chest 2X3", Grid(2, 3, chest=True)),
        ("3x3", Grid(3, 3)), ("4 x 5", Grid(4, 5)), ("2×3", Grid(2, 3)), ("", None), ("rois.zip", None), ("3", None),
    ],
)  # fmt: skip
def test_grids_by_name(text: str, expected: Grid | None) -> None:
    assert grid_of(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [("chest 3x3", "2 rows and 3 columns"), ("0x3", "at least 1 row"), ("100x100", "up to 4096 cells")],
)
def test_bad_grids(text: str, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        grid_of(text)


def test_the_chest_grid_is_named_as_the_film_hangs() -> None:
    grid = Grid(2, 3, chest=True).over((10, 9), "x")
    assert grid.names[0] == "upper right lung"  # the patient's right is on the image's left
    assert grid.names[-1] == "lower left lung"
    assert (grid.parts[1].top, grid.parts[1].left, grid.parts[1].inside.shape) == (0, 3, (5, 3))


@pytest.mark.parametrize("shape", [(7, 11), (256, 203), (3, 3)])
def test_a_grid_takes_every_pixel_once(shape: tuple[int, int]) -> None:
    assert (Grid(3, 3).over(shape, "x").masks().sum(0) == 1).all()


def test_an_image_smaller_than_the_grid() -> None:
    with pytest.raises(RegionError, match=r"film of 2 x 9 px is too small for the grid 3x3"):
        Grid(3, 3).over((2, 9), "film")


# ---------------------------------------------------------------- ROIs and labels


def test_rois_are_filled_as_in_imagej() -> None:
    drawn = [
        regions.oval(2, 3, 10, 8, name="oval"),
        regions.polygon([[0, 0], [20, 0], [0, 20]], name="corner"),
        regions.composite([regions.rectangle(5, 5, 10, 10), regions.rectangle(8, 8, 3, 3)], name="ring"),
    ]
    found = from_regions(drawn, (30, 25), "x")
    for mask, roi in zip(found.masks(), drawn, strict=True):
        np.testing.assert_array_equal(mask, regions.mask(roi, (30, 25)))
    assert found.names == ("oval", "corner", "ring")
    assert found.parts[2].area_px == 91


def test_overlap_is_said_and_counts_in_each() -> None:
    found = from_regions(
        [regions.rectangle(0, 0, 4, 4, name="a"), regions.rectangle(2, 0, 4, 4, name="b")], (4, 6), "x"
    )
    assert found.overlapping_px == 8
    assert measure(np.ones((1, 4, 6)), found).share.sum() == pytest.approx(32 / 24)
    (note,) = region_notes({"film": found.remarks, "other": Grid(1, 1).over((2, 2), "x").remarks})
    assert note.startswith("Regions overlap in 1 of 2 images (film)")
    assert "do not add up" in note


def test_regions_outside() -> None:
    partly = from_regions([regions.rectangle(-2, 0, 6, 4, name="edge")], (4, 8), "film")
    assert partly.partly_outside == ("edge",)
    assert partly.parts[0].area_px == 16
    (note,) = region_notes({"film": partly.remarks})
    assert "reach over the border of 1 of 1 images (film: edge): only what is inside counts" in note
    with pytest.raises(
        RegionError, match=r"'far' lies outside film, which is 8 px wide and 4 px high.* from 9 to 12"
    ):
        from_regions([regions.rectangle(9, 0, 3, 3, name="far")], (4, 8), "film")
    inside = from_regions([regions.rectangle(0, 0, 8, 4, name="all")], (4, 8), "film")
    assert inside.partly_outside == ()


def test_regions_without_area_and_names() -> None:
    with pytest.raises(RegionError, match="has no area"):
        from_regions([regions.line(0, 0, 3, 3, name="line")], (4, 8), "x")
    with pytest.raises(RegionError, match="no region for film"):
        from_regions([], (4, 8), "film")
    found = from_regions(
        [
            regions.rectangle(0, 0, 2, 2),
            regions.rectangle(4, 0, 2, 2, name="lung"),
            regions.oval(0, 2, 2, 2, name="lung"),
        ],
        (4, 8),
        "x",
    )
    assert found.names == ("region 1", "lung")
    assert found.joined == ("lung",)
    assert found.parts[1].area_px == 8
    assert "same name" in region_notes({"x": found.remarks})[0]


def test_labels() -> None:
    labels = np.zeros((5, 6), np.uint16)
    labels[:2, :3], labels[3:, 4:] = 7, 300
    labels[4, 0] = 7  # of two parts
    found = from_labels(labels, "l.tif")
    assert found.names == ("label 7", "label 300")
    np.testing.assert_array_equal(found.masks(), [labels == 7, labels == 300])
    np.testing.assert_array_equal(
        from_labels(labels + 1, "l.tif").masks()[0], labels == 0
    )  # no background at all
    np.testing.assert_array_equal(from_labels(labels.astype(np.float32), "l.tif").masks(), found.masks())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((3, 3), np.uint8), "holds no label"), (np.full((3, 3), 0.5), "whole numbers"),
        (np.full((3, 3), -1), "from 0 to 2147483647; this image has -1"), (np.full((3, 3), np.nan), "whole numbers"),
        (np.ones((2, 3, 3)), "of shape"),
    ],
)  # fmt: skip
def test_bad_labels(labels: np.ndarray, words: str) -> None:
    with pytest.raises(RegionError, match=rf"l\.tif.*{words}"):
        from_labels(labels, "l.tif")


def test_bad_masks() -> None:
    with pytest.raises(RegionError, match="a name of its own"):
        from_masks(["a", "a"], np.ones((2, 3, 3)))
    with pytest.raises(RegionError, match="'b' has no pixel"):
        from_masks(["a", "b"], [np.ones((3, 3)), np.zeros((3, 3))])


# ---------------------------------------------------------------- where they come from


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in (1, 2, 10):
        Pillow.fromarray(np.arange(80, dtype=np.uint8).reshape(8, 10)).save(folder / f"film {number}.png")
    return folder


def frame(image: str = "film 1", shape: tuple[int, int] = (8, 10), **place: object) -> Frame:
    return Frame(image, shape, **place)  # type: ignore[arg-type]


def test_a_text_names_regions(films: Path, hard_path: Path) -> None:
    source = Images.of(films)
    assert isinstance(region_source("", source), OverlaySource)
    assert isinstance(region_source(" chest ", source), GridSource)
    rois = regions.write(hard_path / "set.zip", [regions.rectangle(0, 0, 2, 2, name="a")])
    assert isinstance(region_source(str(rois), source), RoiFile)
    Pillow.fromarray(np.eye(8, 10, dtype=np.uint8)).save(hard_path / "labels.png")
    assert isinstance(region_source(str(hard_path / "labels.png"), source), LabelFile)
    with pytest.raises(RegionError, match=r"no regions 'ches'.*a grid: chest"):
        region_source("ches", source)
    (hard_path / "film 1.jpg").write_bytes(b"")
    with pytest.raises(RegionError, match="no label image"):
        region_source(str(hard_path / "film 1.jpg"), source)
    with pytest.raises(RegionError, match="holds no ROIs"):
        region_source(str(regions.write(hard_path / "none.zip", [])), source)


def test_one_roi_set_serves_one_size(hard_path: Path) -> None:
    path = regions.write(hard_path / "set.zip", [regions.rectangle(0, 0, 2, 2, name="a")])
    source = RoiFile(path)
    assert source.of(frame()).names == ("a",)
    assert source.key(frame()) == source.key(frame("film 2"))
    with pytest.raises(RegionError, match=r"different sizes: film 1 is 10 x 8 px, film 2 is 9 x 8 px"):
        source.key(frame("film 2", (8, 9)))


def test_rois_keep_to_their_slices(hard_path: Path) -> None:
    drawn = [
        regions.rectangle(0, 0, 2, 2, name="all"),
        regions.rectangle(0, 0, 3, 3, name="second", position=2),
        regions.rectangle(0, 0, 4, 4, name="third", position=(0, 3, 0)),
    ]
    source = RoiFile(regions.write(hard_path / "set.zip", drawn))
    found = [source.of(frame(z=z, sizes=(1, 3, 1))).names for z in (1, 2, 3)]
    assert found == [("all",), ("all", "second"), ("all", "third")]
    assert source.of(frame()).names == ("all", "second", "third")  # one plane has no positions
    assert source.of(frame(t=2, sizes=(1, 1, 3))).names == ("all", "second")
    only = RoiFile(regions.write(hard_path / "b.zip", drawn[1:2]))
    assert only.of(frame(z=1, sizes=(2, 2, 1))).names == ("second",)  # channels count first
    with pytest.raises(RegionError, match="No region is on slice 2, frame 1 of film 1"):
        only.of(frame(z=2, sizes=(2, 2, 1)))


def test_label_images_must_fit(hard_path: Path) -> None:
    Pillow.fromarray(np.eye(8, 10, dtype=np.uint8)).save(hard_path / "labels.png")
    source = LabelFile(hard_path / "labels.png")
    assert source.of(frame()).names == ("label 1",)
    with pytest.raises(RegionError, match=r"labels.png is 10 x 8 px, but film 2 is 9 x 8 px"):
        source.of(frame("film 2", (8, 9)))
    stack = images.from_array(np.arange(2 * 8 * 10, dtype=np.uint8).reshape(2, 8, 10) // 80 + 1, "ZYX")
    source = LabelFile(images.write_tiff(hard_path / "stack.tif", stack))
    assert [source.of(frame(z=z, sizes=(1, 2, 1))).names for z in (1, 2)] == [("label 1",), ("label 2",)]
    with pytest.raises(RegionError, match=r"stack.tif has 2 slice\(s\)"):
        source.of(frame())
    marked = stack.replace(overlay=(regions.rectangle(0, 0, 2, 2, name="a"),))
    with pytest.raises(RegionError, match="pixels and an overlay"):
        LabelFile(images.write_tiff(hard_path / "both.tif", marked))
    Pillow.fromarray(np.arange(240, dtype=np.uint8).reshape(8, 10, 3)).save(hard_path / "rgb.png")
    with pytest.raises(RegionError, match="in colour"):
        LabelFile(hard_path / "rgb.png")


def test_a_set_for_each_image(films: Path, hard_path: Path) -> None:
    for number, width in ((1, 2), (2, 3), (10, 4), (11, 5)):
        regions.write(hard_path / f"film {number}.zip", [regions.rectangle(0, 0, width, 2, name="heart")])
    source = FolderSource(hard_path, Images.of(films))
    assert [source.of(frame(name)).parts[0].area_px for name in ("film 1", "film 2", "film 10")] == [4, 6, 8]
    assert source.key(frame("film 1")) != source.key(frame("film 2"))
    assert source.notes() == (f"1 region set(s) in {hard_path.name} are for no image here.",)
    (hard_path / "film 2.zip").unlink()
    Pillow.fromarray(np.eye(8, 10, dtype=np.uint8)).save(hard_path / "film 2.png")
    assert FolderSource(hard_path, Images.of(films)).of(frame("film 2")).names == ("label 1",)


def test_sets_that_do_not_match(films: Path, hard_path: Path) -> None:
    with pytest.raises(RegionError, match="holds no region sets"):
        FolderSource(hard_path, Images.of(films))
    one = [regions.rectangle(0, 0, 2, 2, name="a")]
    regions.write(hard_path / "bild.zip", one)
    with pytest.raises(
        RegionError, match=r"belongs to an image: they are called bild\.zip, the images film 1; film 2"
    ):
        FolderSource(hard_path, Images.of(films))
    regions.write(hard_path / "film 1.zip", one)
    with pytest.raises(RegionError, match=r"2 of 3 images have no region set.*film 2; film 10"):
        FolderSource(hard_path, Images.of(films))
    for number in (1, 2, 10):
        regions.write(hard_path / f"film {number}.roi", one)
    with pytest.raises(RegionError, match=r"several region sets for film 1: film 1\.roi, film 1\.zip"):
        FolderSource(hard_path, Images.of(films))
    (hard_path / "film 1.zip").unlink()
    (films / "more").mkdir()
    (films / "film 1.png").rename(films / "more" / "film 2.png")
    with pytest.raises(RegionError, match="Two images are called film 2"):
        FolderSource(hard_path, Images.of(films, recursive=True))


def test_regions_of_the_overlay() -> None:
    source = OverlaySource()
    picture = images.from_array(np.zeros((8, 10), np.uint8), "YX", title="film")
    overlay = (
        regions.rectangle(0, 0, 4, 4, name="heart"),
        regions.text(1, 1, "L", name="side"),
        regions.line(0, 0, 3, 3, name="scale"),
        regions.rectangle(0, 0, 9, 7, name="heat >= 50 % of maximum"),
    )
    source.note("film", picture.replace(overlay=overlay))
    assert source.of(frame("film")).names == ("heart",)
    assert source.notes()[0].startswith("2 ROI(s) of the overlay have no area")
    source.note("drawn", picture.replace(roi=regions.oval(1, 1, 4, 4)))
    assert source.of(frame("drawn")).names == ("selection",)
    source.note("bare", picture)
    with pytest.raises(RegionError, match="bare has no overlay and no selection"):
        source.of(frame("bare"))
