"""Regions: bytes that ImageJ reads, exact masks and outlines, labels there and back."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mikata import images, regions
from mikata.errors import OutputError, RegionError
from mikata.types import Region

BOX = [[1, 1], [9, 1], [9, 7], [1, 7]]
BUILDERS: dict[str, Callable[..., Region]] = {
    "rectangle": lambda **k: regions.rectangle(1, 2, 3, 4, **k),
    "rectangle between pixels": lambda **k: regions.rectangle(1.25, 2.5, 3, 4, **k),
    "rounded rectangle": lambda **k: regions.rectangle(1, 2, 30, 40, corner=8, **k),
    "oval": lambda **k: regions.oval(-3, 2, 30, 40, **k),
    "ellipse": lambda **k: regions.ellipse(1, 2, 30, 40, 0.5, **k),
    "rotated rectangle": lambda **k: regions.rotated_rectangle(1, 2, 30, 40, 7.5, **k),
    "line": lambda **k: regions.line(1, 2.5, 3, 4, **k),
    "arrow": lambda **k: regions.arrow(1, 2, 30, 40, head_size=7, **k),
    "polygon": lambda **k: regions.polygon(BOX, **k),
    "polygon between pixels": lambda **k: regions.polygon(np.array(BOX) + 0.25, **k),
    "freehand": lambda **k: regions.freehand(BOX, **k),
    "traced": lambda **k: regions.traced(BOX, **k),
    "polyline": lambda **k: regions.polyline(BOX, **k),
    "freeline": lambda **k: regions.freeline(BOX, **k),
    "angle": lambda **k: regions.angle(BOX[:3], **k),
    "text": lambda **k: regions.text(1, 2, "所見 𠮷\nCT", **k),
    "composite": lambda **k: regions.composite([BOX, regions.rectangle(2, 2, 3, 3)], **k),
    "contours": lambda **k: regions.contours(np.eye(9, dtype=bool), **k),
    "far": lambda **k: regions.polygon([[-5000, 60535], [60535, -5000], [0, 0]], **k),
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_look_survives(kind: str) -> None:
    region = BUILDERS[kind](
        name="結節 𠮷 1", stroke_color="#ff8000", fill_color="#40112233", stroke_width=1.5,
        position=(1, 2, 3), properties={"score": "0.75", "語": "𠮷"},
    )  # fmt: skip
    roi = regions.to_roi(region)
    assert region.name == "結節 𠮷 1"
    assert regions.from_bytes(region.data) == region
    assert (roi.stroke_color, roi.fill_color) == (b"\xff\xff\x80\x00", b"\x40\x11\x22\x33")
    assert (roi.c_position, roi.z_position, roi.t_position) == (1, 2, 3)
    assert (roi.float_stroke_width, roi.props) == (1.5, "score: 0.75\n語: 𠮷\n")
    assert roi.version == 228


@pytest.mark.parametrize("kind", BUILDERS)
def test_stack_position_and_group(kind: str) -> None:
    roi = regions.to_roi(BUILDERS[kind](position=7, group=255))
    assert (roi.position, roi.z_position, roi.group) == (7, 0, 255)


def test_text_outside_the_first_plane() -> None:
    roi = regions.to_roi(regions.text(1, 2, "𠮷野屋", name="𠮷"))
    assert (roi.text, roi.name, roi.text_name) == ("𠮷野屋", "𠮷", "SansSerif")


def test_coordinates_survive() -> None:
    roi = regions.to_roi(regions.polygon([[-5000, 3], [60535, 4], [7, 60535]]))
    assert roi.coordinates().tolist() == [[-5000, 3], [60535, 4], [7, 60535]]
    roi = regions.to_roi(regions.points([[1.5, 2.25], [3, 4]], size=7))
    assert roi.coordinates().tolist() == [[1.5, 2.25], [3, 4]]
    assert roi.point_size == 7


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: regions.rectangle(0, 0, 0, 3), "no area"),
        (lambda: regions.rectangle(60000, 0, 1000, 3), "range"),
        (lambda: regions.polygon([[0, 0], [1, 1]]), r"\(N, 2\)"),
        (lambda: regions.polygon([[0, 0], [1, np.nan], [2, 2]]), "range"),
        (lambda: regions.polygon(np.zeros((70000, 2))), "65535"),
        (lambda: regions.polyline(np.zeros((70000, 2))), "65535"),
        (lambda: regions.points(np.zeros((0, 2))), r"\(N, 2\)"),
        (lambda: regions.points([[1, 1]], stroke_width=2), "size"),
        (lambda: regions.angle(BOX), "3 points"),
        (lambda: regions.ellipse(0, 0, 1, 1, 2), "aspect"),
        (lambda: regions.rotated_rectangle(0, 0, 1, 1, 0), "width"),
        (lambda: regions.oval(0, 0, 1, 1, stroke_color="red"), "#rrggbb"),
        (lambda: regions.oval(0, 0, 1, 1, group=256), "group"),
        (lambda: regions.oval(0, 0, 1, 1, stroke_width=-1), "stroke"),
        (lambda: regions.oval(0, 0, 1, 1, position=(1, 2)), "position"),
        (lambda: regions.oval(0, 0, 1, 1, position=-1), "position"),
        (lambda: regions.text(0, 0, ""), "words"),
        (lambda: regions.composite([]), "at least one"),
        (lambda: regions.composite([regions.oval(0, 0, 3, 3)]), "contours"),
        (lambda: regions.contours(np.zeros((4, 4), bool)), "empty"),
        (lambda: regions.contours(np.zeros(4, bool)), "height"),
        (lambda: regions.contours(np.ones((4, 4), bool), offset=(60533, 0)), "range"),
        (lambda: regions.image_region(np.zeros((2, 2), np.uint8), 0, 0), "uint8 of shape"),
        (lambda: regions.image_region(np.zeros((2, 2, 3), np.uint8), 0, 0, opacity=1.5), "opacity"),
        (lambda: regions.image_region(np.zeros((2, 2, 3), np.uint8), 70000, 0), "range"),
        (lambda: regions.from_labels(np.array([[-1]])), "0 to"),
        (lambda: regions.from_labels(np.array([[2**31]])), "0 to"),
        (lambda: regions.from_labels(np.array([[0.5]])), "whole"),
        (lambda: regions.from_labels(np.zeros((2, 2, 2), int)), "shape"),
        (lambda: regions.to_labels([regions.line(0, 0, 1, 1)], (3, 3)), "no area"),
        (lambda: regions.to_labels([regions.oval(0, 0, 1, 1, name="label 0")], (3, 3)), "from 1"),
        (lambda: regions.mask(regions.text(0, 0, "a"), (3, 3)), "no area"),
        (lambda: regions.mask(regions.angle(BOX[:3]), (3, 3)), "no area"),
        (lambda: regions.from_bytes(b""), "not the bytes"),
        (lambda: regions.from_bytes(b"Iout" + b"\0" * 10), "not the bytes"),
        (lambda: regions.from_bytes(b"nope" + b"\0" * 200), "not the bytes"),
    ],
)
def test_bad_input_is_said(make: Callable[[], object], words: str) -> None:
    with pytest.raises(RegionError, match=words):
        make()


# ---------------------------------------------------------------- masks and outlines

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)).filter(np.any)


@given(MASKS)
@settings(max_examples=300, deadline=None)
def test_outline_of_a_mask_is_the_mask(mask: np.ndarray) -> None:
    region = regions.contours(mask)
    assert np.array_equal(regions.mask(region, mask.shape), mask)


@given(MASKS, st.integers(-30, 30), st.integers(-30, 30))
@settings(max_examples=50, deadline=None)
def test_outline_moves(mask: np.ndarray, x: int, y: int) -> None:
    region = regions.contours(mask, offset=(x, y))
    large = np.zeros((90, 90), bool)
    large[30 + y : 30 + y + mask.shape[0], 30 + x : 30 + x + mask.shape[1]] = mask
    assert np.array_equal(regions.mask(region, (60, 60)), large[30:, 30:])


def test_one_outline_is_traced_and_several_are_composite() -> None:
    block = np.zeros((6, 6), bool)
    block[1:5, 1:4] = True
    roi = regions.to_roi(regions.contours(block))
    assert roi.roitype == roifile.ROI_TYPE.TRACED
    assert sorted(map(tuple, roi.coordinates().tolist())) == [(1, 1), (1, 5), (4, 1), (4, 5)]
    touching = np.eye(5, dtype=bool)
    assert regions.to_roi(regions.contours(touching)).roitype == roifile.ROI_TYPE.TRACED
    block[2, 2] = False
    assert regions.to_roi(regions.contours(block)).composite


def test_long_outline_becomes_a_composite() -> None:
    comb = np.ones((3, 40001), bool)
    comb[0, ::2] = False
    region = regions.contours(comb)
    assert regions.to_roi(region).composite
    assert np.array_equal(regions.mask(region, comb.shape), comb)


def test_large_blob_is_fast() -> None:
    y, x = np.mgrid[:2048, :2048]
    blob = np.hypot(x - 1000, y - 1000) < 900 + 50 * np.sin(np.arctan2(y - 1000, x - 1000) * 9)
    import time

    start = time.perf_counter()
    region = regions.contours(blob)
    assert time.perf_counter() - start < 1
    assert np.array_equal(regions.mask(region, blob.shape), blob)


@pytest.mark.parametrize(
    "region",
    [
        regions.rectangle(-5000, -5000, 65535, 65535),
        regions.oval(-5000, -5000, 65535, 65535),
        regions.polygon([[-5000, -5000], [60535, -5000], [60535, 60535], [-5000, 60535]]),
        regions.composite([np.array([[-5000, -5000], [60535, -5000], [60535, 60535], [-5000, 60535]]), BOX]),
    ],
)
def test_regions_far_larger_than_the_image(region: Region) -> None:
    """Only the seen part is filled: the whole would be 4 GB."""
    inside = regions.mask(region, (50, 60))
    if regions.to_roi(region).roitype == roifile.ROI_TYPE.OVAL:
        # the image lies outside the oval's curve: 5000 of 65535 pixels from its corner
        assert not inside.any()
    else:
        hole = 8 * 6 if regions.to_roi(region).composite else 0
        assert inside.sum() == 50 * 60 - hole


def test_damaged_path_and_spline_are_said() -> None:
    roi = regions.to_roi(regions.composite([BOX]))
    for path in ([9, 1, 1], [0, 1], [2, 1, 1, 2, 2], [4]):
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
        with pytest.raises(RegionError):
            regions.mask(regions.from_roi(roi), (5, 5))
    roi = regions.to_roi(regions.polygon(BOX))
    roi.options |= roifile.ROI_OPTIONS.SPLINE_FIT
    with pytest.raises(RegionError, match="spline"):
        regions.mask(regions.from_roi(roi), (5, 5))


# ---------------------------------------------------------------- labels


@given(
    hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=16),
        elements=st.sampled_from([0, 1, 2, 7, 255, 256, 70000, 2**31 - 1]),
    )
)
@settings(max_examples=150, deadline=None)
def test_labels_there_and_back(labels: np.ndarray) -> None:
    found = regions.from_labels(labels)
    assert [region.name for region in found] == [f"label {n}" for n in np.unique(labels) if n]
    assert np.array_equal(regions.to_labels(found, labels.shape), labels)


def test_number_survives_renaming_and_others_are_counted() -> None:
    labels = np.array([[7, 7, 0], [0, 0, 2]])
    renamed = []
    for region in regions.from_labels(labels):
        roi = regions.to_roi(region)
        roi.name = "nodule"
        renamed.append(regions.from_roi(roi))
    assert np.array_equal(regions.to_labels(renamed, labels.shape), labels)
    mixed = [regions.rectangle(0, 0, 1, 1, name="a"), *renamed[:1], regions.rectangle(1, 1, 1, 1, name="b")]
    assert regions.to_labels(mixed, (2, 3)).tolist() == [[1, 0, 0], [0, 3, 2]]
    assert regions.to_labels([], (2, 2)).tolist() == [[0, 0], [0, 0]]
    assert regions.from_labels(np.zeros((0, 3), int)) == ()


# ---------------------------------------------------------------- files


def test_files_there_and_back(hard_path: Path) -> None:
    some = [
        regions.oval(1, 2, 3, 4, name="同じ"),
        regions.oval(5, 6, 7, 8, name="同じ"),
        regions.polygon(BOX, name="a/b:c*"),
        regions.rectangle(1, 1, 1, 1),
    ]
    path = regions.write(hard_path / "rois.zip", some)
    again = regions.read(path)
    assert [r.data for r in again] == [r.data for r in some]
    assert [r.name for r in again] == ["同じ", "同じ", "a/b:c*", "0004"]
    assert roifile.roiread(path)[2].name == "a/b:c*"
    assert len(set(zipfile.ZipFile(path).namelist())) == 4
    assert regions.read(regions.write(hard_path / "one.roi", some[:1])) == tuple(some[:1])
    nameless = regions.write(hard_path / "file name.roi", some[3:])
    assert regions.read(nameless)[0].name == "file name"
    assert regions.read(regions.write(hard_path / "none.zip", [])) == ()
    image = images.from_array(np.zeros((9, 9), np.uint8), overlay=tuple(some), roi=some[0])
    tif = images.write_tiff(hard_path / "overlay.tif", image)
    assert regions.read(tif) == (*some, some[0])


def test_bad_files_are_said(hard_path: Path) -> None:
    for name, data in (
        ("a.roi", b"Iout"),
        ("b.zip", b"PK\3\4nope"),
        ("c.tif", b"II*\0"),
        ("d.txt", b"hello"),
    ):
        (hard_path / name).write_bytes(data)
        with pytest.raises(RegionError, match=name[:3]):
            regions.read(hard_path / name)
    for missing in (hard_path / "missing.roi", hard_path):
        with pytest.raises(RegionError, match="not a file"):
            regions.read(missing)
    with zipfile.ZipFile(hard_path / "e.zip", "w") as archive:
        archive.writestr("x.roi", b"junk")
    with pytest.raises(RegionError, match=r"e\.zip"):
        regions.read(hard_path / "e.zip")
    one = regions.oval(1, 2, 3, 4)
    with pytest.raises(RegionError, match=r"\.roi or \.zip"):
        regions.write(hard_path / "x.tif", [one])
    with pytest.raises(RegionError, match="one ROI"):
        regions.write(hard_path / "x.roi", [one, one])


def test_a_zip_bomb_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions.files, "_LARGEST", 50_000_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.roi", "b.roi"):
            with archive.open(name, "w") as file:
                for _ in range(30):
                    file.write(b"Iout" + b"\0" * (1_000_000 - 4))
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(RegionError, match=r"bomb\.zip would unpack to 60 MB"):
        regions.read(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    # an entry that says it is small is not unpacked further
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\1\2")
    for place in (central, data.index(b"PK\1\2")):
        data[place + 24 : place + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(RegionError, match=r"bomb\.zip"):
        regions.read(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_tiff_is_not_read_for_its_overlay(tmp_path: Path) -> None:
    some = (regions.oval(1, 2, 3, 4),)
    image = images.from_array(np.zeros((9, 9), np.uint8), overlay=some)
    path = images.write_tiff(tmp_path / "large.tif", image)
    with path.open("r+b") as file:
        file.truncate(200_000_000)  # a hole that takes no room on the disk
    tracemalloc.start()
    assert regions.read(path) == some
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_failed_write_keeps_the_old_file(hard_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = regions.write(hard_path / "a.zip", [regions.oval(1, 2, 3, 4)])
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OutputError, match="No space"):
        regions.write(path, [regions.oval(5, 5, 3, 4)])
    assert path.read_bytes() == before
    assert len(list(hard_path.iterdir())) == 1


def test_picture_is_exact_and_small() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (31, 17, 3)).astype(np.uint8)
    roi = regions.to_roi(
        regions.image_region(rgb, 5, -2, opacity=0.5, zero_transparent=True, name="heat", position=(0, 3, 0))
    )
    assert np.array_equal(roi.image, rgb)
    assert (roi.left, roi.top, roi.right, roi.bottom) == (5, -2, 22, 29)
    assert (roi.image_opacity, roi.z_position) == (128, 3)
    assert roi.options & roifile.ROI_OPTIONS.ZERO_TRANSPARENT
    flat = regions.image_region(np.zeros((1024, 1024, 3), np.uint8), 0, 0)
    assert len(flat.data) < 20_000


@pytest.mark.parametrize("program", ["region_masks.py", "tiff_files.py"])
def test_imagej_agrees(program: str, hard_path: Path) -> None:
    arguments = ["10"] if program == "region_masks.py" else [str(hard_path)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "jvm" / program), *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
