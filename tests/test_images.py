"""Images: arrays in, TIFF out and back, exactly; many files one after the other."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mikata import images, regions
from mikata.errors import ImageError, OutputError
from mikata.types import Image, ValueCalibration

# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("array", "axes", "dtype", "shape", "letters"),
    [
        (np.zeros((3, 4), bool), None, "uint8", (3, 4), "YX"),
        (np.zeros((3, 4), ">u2"), None, "uint16", (3, 4), "YX"),
        (np.zeros((3, 4), np.int16), None, "uint16", (3, 4), "YX"),
        (np.zeros((3, 4), np.int64), None, "float32", (3, 4), "YX"),
        (np.zeros((3, 4), np.float16), None, "float32", (3, 4), "YX"),
        (np.zeros((5, 3, 4), np.uint16), None, "uint16", (5, 3, 4), "ZYX"),
        (np.zeros((5, 4, 3), np.uint8), None, "uint8", (5, 4, 3), "YXS"),
        (np.zeros((5, 4, 4), np.uint8), None, "uint8", (5, 4, 3), "YXS"),
        (np.zeros((5, 4, 3), np.uint8), "ZYX", "uint8", (5, 4, 3), "ZYX"),
        (np.zeros((2, 5, 3, 4), np.float32), None, "float32", (2, 5, 3, 4), "ZCYX"),
        (np.zeros((2, 1, 5, 3, 4), np.uint8), None, "uint8", (2, 5, 3, 4), "TCYX"),
        (np.zeros((3, 4, 2, 5), np.uint8), "XYCT", "uint8", (5, 2, 4, 3), "TCYX"),
        (np.zeros((1, 1, 1), np.uint8), "ZYX", "uint8", (1, 1), "YX"),
        (np.zeros((4, 5, 1), np.uint8), "YXS", "uint8", (4, 5), "YX"),
    ],
)
def test_arrays(
    array: np.ndarray, axes: str | None, dtype: str, shape: tuple[int, ...], letters: str
) -> None:
    image = images.from_array(array, axes, "name")
    assert (image.array.dtype.name, image.array.shape, image.axes, image.title) == (
        dtype,
        shape,
        letters,
        "name",
    )
    assert image.array.dtype.isnative


def test_values_of_arrays() -> None:
    assert images.from_array(np.array([[True, False]])).array.tolist() == [[255, 0]]
    signed = images.from_array(np.array([[-32768, -1, 0, 32767]], np.int16), value_unit="HU")
    assert signed.array.tolist() == [[0, 32767, 32768, 65535]]
    assert signed.values().tolist() == [[-32768, -1, 0, 32767]]
    assert signed.calibrated_unit == "HU"
    assert images.from_array(np.array([[2**24, -(2**40)]])).values().tolist() == [[2**24, -(2**40)]]
    nan = images.from_array(np.array([[np.nan, np.inf, 0.5]]))
    assert np.isnan(nan.array[0, 0])
    assert images.from_array(np.array([[0.1]]), exact=False).array[0, 0] == np.float32(0.1)


@pytest.mark.parametrize(
    ("array", "axes", "words"),
    [
        (np.zeros((0, 4)), None, "no pixels"),
        (np.zeros(4), None, "1 dimensions"),
        (np.zeros((1, 1, 1, 1, 1, 1)), None, "6 dimensions"),
        (np.zeros((3, 4)), "ZX", "cannot have the axes"),
        (np.zeros((3, 4)), "YXC", "cannot have the axes"),
        (np.zeros((3, 4, 5)), "YXX", "cannot have the axes"),
        (np.zeros((3, 4, 5)), "QYX", "cannot have the axes"),
        (np.zeros((3, 4, 2), np.uint8), "YXS", "2 samples"),
        (np.zeros((3, 4, 3), np.uint16), "YXS", "8-bit"),
        (np.array([[0.1]]), None, "change when rounded"),
        (np.array([[2**24 + 1]]), None, "16777217"),
        (np.array([[2**63 - 1]]), None, "9223372036854775807"),
        (np.array([[1e300]]), None, "change when rounded|range"),
        (np.array([[1j]]), None, "not real"),
        (np.array([["a"]]), None, "not real"),
        (np.array([[None]]), None, "not real"),
    ],
)
def test_bad_arrays_are_said(array: np.ndarray, axes: str | None, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        images.from_array(array, axes)


def test_beyond_float32_is_said_when_rounding() -> None:
    with pytest.raises(ImageError, match="range"):
        images.from_array(np.array([[1e300]]), exact=False)


# ---------------------------------------------------------------- TIFF there and back

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
LUT = hnp.arrays(np.uint8, (3, 256))
ENDS = st.tuples(st.integers(-1000, 0).map(float), st.floats(1, 60000, width=32))
SIZE = st.floats(1e-6, 1e6)


def none_or(kind: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    return st.one_of(st.just([]), st.lists(kind, min_size=count, max_size=count))


@st.composite
def stacks(draw: Any) -> Image:
    letters = draw(
        st.lists(st.sampled_from("TZC"), unique=True).map(lambda a: "".join(sorted(a, key="TZC".index)))
    )
    colour = "C" not in letters and draw(st.booleans())
    axes = letters + "YX" + "S" * colour
    shape = [draw(st.integers(2, 3)) for _ in letters] + [draw(st.integers(1, 6)), draw(st.integers(1, 6))]
    dtype = np.uint8 if colour else draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    array = draw(hnp.arrays(dtype, [*shape, 3][: len(axes)]))
    planes = int(np.prod(shape[:-2]))
    channels = shape[letters.index("C")] if "C" in letters else 1
    some = (
        regions.rectangle(1, 2, 3, 4, name=draw(TEXT), position=draw(st.integers(0, 3))),
        regions.polygon([[1.5, 2], [3, 4], [5, 0]], name=draw(TEXT), stroke_color="#123456"),
    )
    calibration, value_unit = None, "grey"
    if not colour and draw(st.booleans()):
        unit = draw(st.sampled_from(["HU", "Bq/mL", "g/cm²", "単位", "grey"]))
        if dtype == np.float32:
            value_unit = unit
        else:
            terms = draw(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5).filter(lambda c: c != [0, 1]))
            calibration = ValueCalibration(
                tuple(terms), unit, draw(st.integers(0, 22).filter(lambda f: f != 20))
            )
    return Image(
        array, axes, "x.tif",
        pixel_size=(draw(SIZE), draw(SIZE), draw(SIZE) if planes > 1 else 1.0),
        unit=draw(st.sampled_from(["pixel", "µm", "mm", "cm", "nm", "画素", "light year"])),
        frame_interval_s=draw(st.sampled_from([0.0, 0.1, 1 / 3, 60.0])),
        calibration=calibration, value_unit=value_unit,
        luts=() if colour else tuple(draw(none_or(LUT, channels))),
        display_ranges=tuple(draw(none_or(ENDS, channels))),
        mode=draw(st.sampled_from(["grayscale", "color", "composite"])) if channels > 1 else "",
        slice_labels=tuple(draw(none_or(TEXT, planes))),
        overlay=draw(st.sampled_from([(), some[:1], some])),
        roi=draw(st.sampled_from([None, some[0]])),
        info=draw(st.sampled_from(["", "Patient's Name: 山田"])),
    )  # fmt: skip


@given(stacks())
@settings(max_examples=200, deadline=None)
def test_tiff_there_and_back(image: Image) -> None:
    with tempfile.TemporaryDirectory(prefix="山田 (test) ") as folder:
        path = images.write_tiff(Path(folder) / "x.tif", image)
        again = images.read(path, keep_metadata=True)
        silent = images.read(path)
    assert again.axes == image.axes
    assert again.array.dtype == image.array.dtype
    assert np.array_equal(again.array, image.array, equal_nan=image.array.dtype == np.float32)
    np.testing.assert_allclose(again.pixel_size, image.pixel_size, rtol=1e-9)
    for name in (
        "unit", "frame_interval_s", "calibration", "value_unit", "mode", "display_ranges", "overlay", "roi",
        "info",
    ):  # fmt: skip
        assert getattr(again, name) == getattr(image, name), name
    assert again.slice_labels == (image.slice_labels if any(image.slice_labels) else ())
    assert len(again.luts) == len(image.luts)
    assert all(np.array_equal(a, b) for a, b in zip(again.luts, image.luts, strict=True))
    assert (silent.info, silent.slice_labels) == ("", ())
    assert again.title == "x.tif"


def test_a_plain_unit_of_integers_comes_back_as_unit(tmp_path: Path) -> None:
    image = images.from_array(np.zeros((2, 2), np.uint16), value_unit="counts")
    again = images.read(images.write_tiff(tmp_path / "a.tif", image))
    assert (again.calibration, again.value_unit) == (None, "counts")


@pytest.mark.parametrize("label", ["IM1\n0010,0010  Patient's Name: 山田", "山田 MR 1"])
def test_slice_labels_are_left_out_unless_asked(label: str, tmp_path: Path) -> None:
    image = images.from_array(np.zeros((2, 3, 5), np.uint8), slice_labels=(label, "b"))
    path = images.write_tiff(tmp_path / "a.tif", image)
    assert images.read(path).slice_labels == ()
    assert images.read(path, keep_metadata=True).slice_labels == (label, "b")
    assert (
        "山田".encode("utf-16-be")
        not in images.write_tiff(tmp_path / "b.tif", images.read(path)).read_bytes()
    )


@pytest.mark.parametrize(
    ("luts", "mode", "expected"),
    [
        ((), "", "grayscale"),
        ((np.zeros((3, 256), np.uint8),) * 2, "", "color"),
        ((), "composite", "composite"),
    ],
)
def test_channels_have_a_mode(luts: tuple[Any, ...], mode: str, expected: str, tmp_path: Path) -> None:
    ranges = ((1.0, 2.0), (3.0, 4.0))
    image = images.from_array(
        np.zeros((2, 3, 5), np.uint16), "CYX", luts=luts, mode=mode, display_ranges=ranges
    )
    assert image.mode == expected
    again = images.read(images.write_tiff(tmp_path / "a.tif", image))
    assert (again.mode, again.display_ranges, len(again.luts)) == (expected, ranges, len(luts))
    assert images.from_array(np.zeros((2, 3, 5, 3), np.uint8), "CYXS").mode == ""
    assert images.from_array(np.zeros((2, 3, 5), np.uint8)).mode == ""


HEADER = """
0008,0060  Modality: CR
0010,0010  Patient's Name: Yamada^Taro
0028,0004  Photometric Interpretation: MONOCHROME1
0028,0100  Bits Allocated: 16
0028,0101  Bits Stored: 12
0028,0102  High Bit: 11
0028,0103  Pixel Representation: 0
0028,0120  Pixel Padding Value: 4095
"""
INVERTING = (np.tile(np.arange(255, -1, -1, dtype=np.uint8), (3, 1)),)


def saved_by_imagej(folder: Path, header: str, stored: Any, **attributes: Any) -> Image:
    image = images.from_array(np.asarray(stored, np.uint16), title="a", info=header, **attributes)
    return images.read(images.write_tiff(folder / "a.tif", image))


def test_the_header_in_imagejs_info_counts(tmp_path: Path) -> None:
    image = saved_by_imagej(
        tmp_path, HEADER, [[0, 100, 4095]], luts=INVERTING, display_ranges=((75.0, 125.0),)
    )
    assert image.values().tolist() == [[4095, 3995, 3995]]  # turned round; the padding is black
    assert (image.luts, image.display_ranges, image.info) == ((), ((3970.0, 4020.0),), "")
    # shown by another LUT, it was turned already
    assert saved_by_imagej(tmp_path, HEADER, [[0, 100, 4095]]).values().tolist() == [[0, 100, 4095]]
    ct = HEADER.replace("CR", "CT").replace("MONOCHROME1", "MONOCHROME2") + (
        "0028,1052  >Rescale Intercept: -1024\n0028,1053  >Rescale Slope: 1\n"
    )
    line = ValueCalibration((-1024.0, 1.0))
    image = saved_by_imagej(tmp_path, ct, [[0, 100, 4095]], calibration=line)
    assert (image.values().tolist(), image.calibrated_unit) == ([[-1024, -924, -1024]], "HU")
    # values of the user's own making have the user's own unit
    other = saved_by_imagej(tmp_path, ct, [[0, 100, 4095]], calibration=ValueCalibration((0.0, 2.0)))
    assert (other.values().tolist(), other.calibrated_unit) == ([[0, 200, 8190]], "grey")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("0028,0004  Photometric Interpretation: PALETTE COLOR", "palette"),
        ("0028,0102  High Bit: 15", "lowest bits"),
        ("0028,3000  Modality LUT Sequence:", "modality LUT"),
        ("0008,0060  Modality: RTDOSE", "dose"),
        ("0028,1053  >Rescale Slope: 2\n0028,1053  >Rescale Slope: 3", "slopes"),
        ("0028,0101  Bits Stored: 8\n0028,0102  High Bit: 7", "Edit > Invert"),
    ],
)
def test_what_imagej_misreads_is_refused(lines: str, words: str, tmp_path: Path) -> None:
    header = "".join(f"{line}\n" for line in HEADER.splitlines() if line[:9] not in lines) + f"{lines}\n"
    with pytest.raises(ImageError, match=words) as caught:
        saved_by_imagej(tmp_path, header, [[0, 100, 4095]], luts=INVERTING)
    assert "a.tif" in str(caught.value)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (images.from_array(np.zeros((2, 2)), calibration=ValueCalibration((0, 2), "HU")), "32-bit"),
        (images.from_array(np.zeros((2, 2), np.uint8), pixel_size=(0.0, 1, 1)), "pixel size"),
        (images.from_array(np.zeros((2, 2), np.uint8), pixel_size=(1, 1e-12, 1)), "pixel size"),
        (images.from_array(np.zeros((2, 2), np.uint8), pixel_size=(np.nan, 1, 1)), "pixel size"),
        (images.from_array(np.zeros((2, 2), np.uint8), slice_labels=("a", "b")), "2 slice labels"),
        (images.from_array(np.zeros((2, 2), np.uint8), luts=(np.zeros((3, 255), np.uint8),)), "LUT"),
        (images.from_array(np.zeros((2, 2), np.uint8), display_ranges=((0, 1), (0, 1))), "2 display ranges"),
        (images.from_array(np.zeros((2, 2), np.uint8), mode="colour"), "mode"),
    ],
)
def test_what_tiff_cannot_hold_is_said(image: Image, words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=words):
        images.write_tiff(tmp_path / "a.tif", image)
    assert not list(tmp_path.iterdir())


def test_writing_spares_what_is_there(hard_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = images.from_array(np.zeros((20, 20), np.uint8))
    path = images.write_tiff(hard_path / "結果 (1).tif", image)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        images.write_tiff(path, image, overwrite=False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(OutputError, match="No space"):
        images.write_tiff(path, images.from_array(np.ones((9, 9), np.uint8)))
    assert path.read_bytes() == before
    assert [p.name for p in hard_path.iterdir()] == ["結果 (1).tif"]


# ---------------------------------------------------------------- many files


def fill(folder: Path) -> None:
    for number in (1, 2, 10):
        images.write_tiff(folder / f"x{number}.tif", images.from_array(np.full((3, 4), number, np.uint8)))
    (folder / "broken.tif").write_bytes(b"II*\0broken")
    (folder / ".hidden.tif").write_bytes(b"hidden")
    (folder / "notes.txt").write_text("no image")
    (folder / "table.csv").write_text("a,b")
    (folder / "deeper").mkdir()
    images.write_tiff(folder / "deeper" / "x2.tif", images.from_array(np.zeros((3, 4), np.uint8)))


def test_a_folder(hard_path: Path) -> None:
    fill(hard_path)
    found = images.Images.of(hard_path)
    assert len(found) == 4
    assert found.names == ("broken", "x1", "x2", "x10")
    for _ in range(2):
        assert [int(image.array[0, 0]) for image in found] == [1, 2, 10]
        ((path, reason),) = found.skipped
        assert path == hard_path / "broken.tif"
        assert "broken.tif" in reason
    assert images.Images.of(found) is found
    deep = images.Images.of(hard_path, recursive=True)
    assert deep.names == ("broken", f"{hard_path.name}/x2.tif", "x1", "x10") or len(set(deep.names)) == 5
    assert [name for name, _ in found.items()] == ["x1", "x2", "x10"]


def test_mixed_sources(tmp_path: Path) -> None:
    fill(tmp_path)
    array = np.zeros((3, 4), np.float64) + 0.1
    image = images.from_array(np.zeros((3, 4), np.uint8), title="given.tif")
    found = images.Images.of([tmp_path / "x1.tif", str(tmp_path / "deeper"), array, array, image])
    assert found.names == ("x1", "x2", "array", "array (2)", "given")
    assert len(list(found)) == 5
    assert found.paths[:2] == (tmp_path / "x1.tif", tmp_path / "deeper" / "x2.tif")
    assert next(iter(images.Images.of(image))) is image


def test_same_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("x.tif", "x.tiff"):
            images.write_tiff(tmp_path / folder / name, images.from_array(np.zeros((3, 4), np.uint8)))
    found = images.Images.of(tmp_path, recursive=True)
    assert found.names == ("a/x.tif", "a/x.tiff", "b/x.tif", "b/x.tiff")
    assert images.Images.of([tmp_path / "a" / "x.tif"] * 2).names == ("a/x.tif", "a/x.tif (2)")


@pytest.mark.parametrize("source", ["missing.tif", ["missing.tif"], [], 3, [3]])
def test_bad_sources_are_said(source: Any, tmp_path: Path) -> None:
    if isinstance(source, str):
        source = tmp_path / source
    with pytest.raises(ImageError):
        images.Images.of(source)


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no images"):
        images.Images.of(tmp_path)
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(b"junk")
    found = images.Images.of(tmp_path)
    with pytest.raises(ImageError, match="None of the 2 images"):
        list(found)
    assert len(found.skipped) == 2
    with pytest.raises(ImageError, match=r"a\.tif"):
        list(images.Images.of(tmp_path / "a.tif"))


def test_one_file_at_a_time(tmp_path: Path) -> None:
    import gc
    import weakref

    fill(tmp_path)
    seen: list[weakref.ref[Any]] = []
    for image in images.Images.of(tmp_path):
        seen.append(weakref.ref(image.array))
        del image
        gc.collect()
    # at any time only the newest may be alive in the sequence itself
    assert all(reference() is None for reference in seen)
