"""Reading TIFF, PNG, JPEG, NIfTI and .npy, good and bad."""

from __future__ import annotations

import contextlib
import random
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import PIL.Image
import pytest
import skimage
import tifffile

from mikata import images
from mikata.errors import ImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 200, (20, 30)).astype(np.uint8)
COLOUR = RNG.integers(0, 200, (20, 30, 3)).astype(np.uint8)
WIDE = RNG.integers(0, 60000, (20, 30)).astype(np.uint16)

# ---------------------------------------------------------------- TIFF not from ImageJ

OME = {
    "axes": "TCZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 200,
    "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 1, "TimeIncrement": 500, "TimeIncrementUnit": "ms",
}  # fmt: skip


@pytest.mark.parametrize(
    ("array", "options", "axes", "expected"),
    [
        (GREY, {}, "YX", GREY),
        (WIDE, {"compression": "lzw", "predictor": True}, "YX", WIDE),
        (WIDE, {"tile": (16, 16), "compression": "zlib"}, "YX", WIDE),
        (GREY.astype(np.uint32), {}, "YX", GREY.astype(np.float32)),
        (GREY / 3, {}, "YX", (GREY / 3).astype(np.float32)),
        (np.stack([GREY] * 4), {"photometric": "minisblack"}, "ZYX", np.stack([GREY] * 4)),
        (COLOUR, {"photometric": "rgb"}, "YXS", COLOUR),
        (COLOUR, {"photometric": "rgb", "compression": "jpeg"}, "YXS", None),
        (np.dstack([COLOUR, GREY]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, "YXS", COLOUR),
        (np.moveaxis(COLOUR, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}, "YXS", COLOUR),
        (
            COLOUR.astype(np.uint16),
            {"photometric": "rgb"},
            "CYX",
            np.moveaxis(COLOUR, 2, 0).astype(np.uint16),
        ),
        (GREY > 100, {}, "YX", np.where(GREY > 100, 255, 0)),
        (GREY > 100, {"photometric": "miniswhite"}, "YX", np.where(GREY > 100, 255, 0)),
        (GREY, {"photometric": "miniswhite"}, "YX", 255 - GREY),
        (WIDE, {"photometric": "miniswhite"}, "YX", 65535 - WIDE),
        (WIDE.astype(np.uint32), {"photometric": "miniswhite"}, "YX", WIDE.astype(np.float32)),
    ],
)
def test_plain_tiff(array: Any, options: dict[str, Any], axes: str, expected: Any, hard_path: Path) -> None:
    path = hard_path / "plain.tif"
    tifffile.imwrite(path, array, **options)
    image = images.read(path)
    assert (image.axes, image.unit, image.path, image.title) == (axes, "pixel", path, "plain.tif")
    if expected is not None:
        assert np.array_equal(image.array, expected)


def test_signed_tiff_has_signed_values(tmp_path: Path) -> None:
    hounsfield = RNG.integers(-1024, 3000, (20, 30)).astype(np.int16)
    tifffile.imwrite(tmp_path / "a.tif", hounsfield)
    image = images.read(tmp_path / "a.tif")
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.values(), hounsfield)
    # ImageJ's own: signed stored as unsigned with a function beside it; 904 HU is 33672 to who forgets it
    stored = (hounsfield.astype(np.int32) + 32768).astype(np.uint16)
    words = {"cf": 0, "c0": -32768.0, "c1": 1.0, "vunit": "HU", "unit": "\\u00B5m", "spacing": 5.0}
    tifffile.imwrite(tmp_path / "b.tif", stored, imagej=True, metadata=words, resolution=(2, 4))
    image = images.read(tmp_path / "b.tif")
    assert np.array_equal(image.values(), hounsfield)
    assert (image.calibrated_unit, image.unit, image.pixel_size) == ("HU", "µm", (0.5, 0.25, 5.0))


@pytest.mark.parametrize(
    ("options", "size", "unit"),
    [
        ({"resolution": (10000, 5000), "resolutionunit": "CENTIMETER"}, (1.0, 2.0, 1.0), "µm"),
        ({"resolution": (10, 10), "resolutionunit": "CENTIMETER"}, (0.1, 0.1, 1.0), "cm"),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, (1 / 300, 1 / 300, 1.0), "inch"),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, (1.0, 1.0, 1.0), "pixel"),
        ({"resolution": (7, 7), "resolutionunit": "NONE"}, (1.0, 1.0, 1.0), "pixel"),
    ],
)
def test_resolution_tags(options: dict[str, Any], size: tuple[float, ...], unit: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    image = images.read(tmp_path / "a.tif")
    assert image.pixel_size == pytest.approx(size)
    assert image.unit == unit


@pytest.mark.parametrize("unit", ["um", "micron", "µm", "μm", "\\u00B5m", "microns"])
def test_micrometres_by_many_names(unit: str, tmp_path: Path) -> None:
    spelled = unit.encode("ascii", "backslashreplace").decode().replace("\\xb5", "\\u00b5")
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, metadata={"unit": spelled}, resolution=(4, 4))
    image = images.read(tmp_path / "a.tif")
    assert (image.unit, image.pixel_size) == ("µm", (0.25, 0.25, 1.0))


def test_ome_tiff(hard_path: Path) -> None:
    array = RNG.integers(0, 60000, (2, 3, 4, 20, 30)).astype(np.uint16)
    tifffile.imwrite(hard_path / "a.ome.tif", array, metadata=OME)
    image = images.read(hard_path / "a.ome.tif")
    assert np.array_equal(image.array, array.transpose(0, 2, 1, 3, 4))
    assert (image.axes, image.unit, image.frame_interval_s) == ("TZCYX", "µm", 0.5)
    assert image.pixel_size == pytest.approx((0.1, 0.2, 1.0))
    assert image.info == ""
    assert "OME" in images.read(hard_path / "a.ome.tif", keep_metadata=True).info


def test_ome_colours(tmp_path: Path) -> None:
    channels = {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, 0x00FF00FF]}  # red, green, blue, alpha
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.stack([WIDE, WIDE]), metadata={"axes": "CYX", "Channel": channels}
    )
    image = images.read(tmp_path / "a.ome.tif")
    assert image.mode == "composite"
    assert [lut[:, 255].tolist() for lut in image.luts] == [[0, 0, 255], [0, 255, 0]]
    assert image.luts[0][:, 100].tolist() == [0, 0, 100]
    tifffile.imwrite(tmp_path / "b.ome.tif", np.stack([WIDE, WIDE]), metadata={"axes": "CYX"})
    assert images.read(tmp_path / "b.ome.tif").luts == ()
    # white, as a signed number
    one = {"axes": "YX", "Channel": {"Color": -1}}
    tifffile.imwrite(tmp_path / "c.ome.tif", WIDE, metadata=one)
    assert images.read(tmp_path / "c.ome.tif").luts == ()


def test_several_ome_images_are_not_dropped(tmp_path: Path) -> None:
    def write(*names: str) -> Path:
        with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
            for size, name in enumerate(names, 2):
                file.write(
                    np.stack([GREY] * size), metadata={"axes": "ZYX", "Name": name, "PhysicalSizeX": size}
                )
        return tmp_path / "a.ome.tif"

    with pytest.raises(ImageError, match="2 images"):
        images.read(write("left", "right"))
    with pytest.raises(ImageError, match="2 images"):
        images.read(write("label", "macro"))
    image = images.read(write("Thumbnail", "scan", "label image"))
    assert (image.array.shape, image.pixel_size[0]) == ((3, 20, 30), 3)


def test_palette_tiff_keeps_its_numbers(tmp_path: Path) -> None:
    lut = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=lut * 257)
    image = images.read(tmp_path / "a.tif")
    assert np.array_equal(image.array, GREY)
    assert np.array_equal(image.luts[0], lut)


def test_inverting_lut_of_imagej(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, photometric="miniswhite")
    image = images.read(tmp_path / "a.tif")
    assert np.array_equal(image.array, GREY)
    assert image.luts[0][0].tolist() == list(range(255, -1, -1))


# ---------------------------------------------------------------- PNG and JPEG


@pytest.mark.parametrize(
    ("picture", "axes", "expected"),
    [
        (PIL.Image.fromarray(GREY), "YX", GREY),
        (PIL.Image.fromarray(WIDE), "YX", WIDE),
        (PIL.Image.fromarray(COLOUR), "YXS", COLOUR),
        (PIL.Image.fromarray(np.dstack([COLOUR, GREY])), "YXS", COLOUR),
        (PIL.Image.fromarray(np.dstack([GREY, GREY[::-1]]), "LA"), "YX", GREY),
        (PIL.Image.fromarray(GREY > 100), "YX", np.where(GREY > 100, 255, 0)),
        (PIL.Image.fromarray(GREY).convert("P"), "YX", GREY),
        (PIL.Image.fromarray(COLOUR // 64 * 64).quantize(216, dither=PIL.Image.Dither.NONE), "YXS", None),
    ],
)
def test_png(picture: PIL.Image.Image, axes: str, expected: Any, hard_path: Path) -> None:
    path = hard_path / "画像.png"
    picture.save(path)
    image = images.read(path)
    assert image.axes == axes
    assert np.array_equal(image.array, np.asarray(picture.convert("RGB")) if expected is None else expected)
    assert image.array.dtype.name == ("uint16" if picture.mode == "I;16" else "uint8")


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_png_of_16_bits_a_sample(samples: int, tmp_path: Path) -> None:
    wide = RNG.integers(0, 65536, (20, 30, samples)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(wide))
    image = images.read(tmp_path / "a.png")
    expected = wide[..., 0] if samples == 2 else np.moveaxis(wide[..., :3], 2, 0)
    assert np.array_equal(image.array, expected)
    assert image.axes == ("YX" if samples == 2 else "CYX")
    assert image.mode == ("" if samples == 2 else "composite")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cut\.png"):
        images.read(tmp_path / "cut.png")


def test_zero_clip_is_refused(tmp_path: Path) -> None:
    words = {"cf": 0, "c0": -10.0, "c1": 1.0, "vunit": "HU", "zeroclip": True}
    tifffile.imwrite(tmp_path / "a.tif", WIDE, imagej=True, metadata=words)
    with pytest.raises(ImageError, match="32-bit"):
        images.read(tmp_path / "a.tif")


def test_jpeg_stays_as_it_lies_in_the_file(tmp_path: Path) -> None:
    """ImageJ does not turn a photograph by its EXIF orientation, so neither does Mikata."""
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a camera held upright
    PIL.Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=100, exif=exif)
    image = images.read(tmp_path / "a.jpg")
    assert np.abs(image.array.astype(int) - ramp).max() <= 2


def test_photographs_of_scikit_image() -> None:
    folder = Path(skimage.__file__).parent / "data"
    found = images.Images.of(folder)
    shapes = {name: (image.axes, image.array.shape) for name, image in found.items()}
    assert shapes["brick"] == ("YX", (512, 512))
    assert shapes["astronaut"] == ("YXS", (512, 512, 3))
    assert shapes["retina"][0] == "YXS"
    assert shapes["multipage"][0] == "ZYX"
    assert found.skipped == []


# ---------------------------------------------------------------- NIfTI and .npy


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_orientation_and_sizes(suffix: str, hard_path: Path) -> None:
    # voxel (i, j, k) at right-to-left, back-to-front, foot-to-head: nibabel's RAS+ world
    stored = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    volume = nibabel.Nifti1Image(stored, np.diag([0.5, 0.75, 3, 1]))
    volume.header.set_xyzt_units("mm", "sec")
    path = hard_path / f"脳{suffix}"
    nibabel.save(volume, path)
    image = images.read(path)
    assert (image.axes, image.unit, image.title) == ("ZYX", "mm", f"脳{suffix}")
    assert image.pixel_size == pytest.approx((0.5, 0.75, 3.0))
    # x to the patient's left, y to the back, z to the head
    assert np.array_equal(image.values(), stored[::-1, ::-1].transpose(2, 1, 0))
    assert image.array.dtype == np.uint16
    turned = np.array([[0, 0, 2, 0], [-0.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1]])  # i front to back ...
    nibabel.save(nibabel.Nifti1Image(stored, turned), path)
    image = images.read(path)
    assert np.array_equal(image.values(), stored[:, :, ::-1].transpose(1, 0, 2))
    assert image.pixel_size == pytest.approx((2, 0.5, 1.5))


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1)])
def test_a_flat_nifti_lies_as_one_of_a_single_slice(signs: tuple[int, int], tmp_path: Path) -> None:
    stored = RNG.integers(0, 200, (4, 5)).astype(np.uint8)
    affine = np.diag([0.5 * signs[0], 0.75 * signs[1], 3, 1])
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "flat.nii")
    nibabel.save(nibabel.Nifti1Image(stored[..., None], affine), tmp_path / "slice.nii")
    flat, single = images.read(tmp_path / "flat.nii"), images.read(tmp_path / "slice.nii")
    assert flat.axes == single.axes == "YX"
    assert np.array_equal(flat.array, single.array)
    assert np.array_equal(flat.array, stored[:: -signs[0], :: -signs[1]].T)
    assert flat.pixel_size[:2] == single.pixel_size[:2] == pytest.approx((0.5, 0.75))
    sagittal = np.array([[0, 0, 3, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(stored[..., None], sagittal), tmp_path / "slice.nii")
    assert np.array_equal(images.read(tmp_path / "slice.nii").array, stored.T)


def test_nifti_slope_time_and_colours(tmp_path: Path) -> None:
    series = RNG.normal(size=(4, 5, 6, 3)).astype(np.float32)
    volume = nibabel.Nifti1Image(series, np.diag([-1, -1, 1, 1]))
    volume.header.set_xyzt_units("micron", "msec")
    volume.header.set_zooms((500, 500, 2000, 40))
    nibabel.save(volume, tmp_path / "t.nii")
    image = images.read(tmp_path / "t.nii")
    assert image.axes == "TZYX"
    assert image.frame_interval_s == pytest.approx(0.04)
    scaled = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1, -1, 1, 1]))
    scaled.header.set_slope_inter(0.5, -10)
    nibabel.save(scaled, tmp_path / "s.nii")
    image = images.read(tmp_path / "s.nii")
    assert image.array.dtype == np.float32
    assert image.values().min() == -10
    rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = 7
    nibabel.save(nibabel.Nifti1Image(rgb, np.diag([-1, -1, 1, 1])), tmp_path / "c.nii")
    image = images.read(tmp_path / "c.nii")
    assert (image.axes, image.array[0, 0, 0].tolist()) == ("ZYXS", [0, 7, 0])


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([GREY / 7] * 3))
    image = images.read(tmp_path / "a.npy")
    assert (image.axes, image.array.dtype.name) == ("ZYX", "float32")
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError, match="Python objects"):
        images.read(tmp_path / "o.npy")


# ---------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    "name",
    [
        "missing.tif", "empty.png", "text.tif", "text.jpg", "text.dcm", "text.nii", "text.npy", "text.nii.gz",
        "text.xyz", "folder",
    ],
)  # fmt: skip
def test_foreign_files_are_said(name: str, hard_path: Path) -> None:
    path = hard_path / name
    if name == "folder":
        path.mkdir()
    elif name != "missing.tif":
        path.write_text("" if name.startswith("empty") else "this is no image at all, but some words " * 20)
    with pytest.raises(ImageError) as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def good_files(folder: Path) -> list[Path]:
    """A file of each kind."""
    tifffile.imwrite(folder / "lzw.tif", WIDE, compression="lzw")
    tifffile.imwrite(
        folder / "palette.tif", GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    )
    tifffile.imwrite(folder / "ome.ome.tif", np.stack([WIDE] * 4), metadata={"axes": "ZYX"})
    images.write_tiff(
        folder / "imagej.tif", images.from_array(np.stack([WIDE] * 4), slice_labels=tuple("abcd"))
    )
    PIL.Image.fromarray(COLOUR).save(folder / "colour.png")
    PIL.Image.fromarray(COLOUR).save(folder / "colour.jpg")
    nibabel.save(nibabel.Nifti1Image(np.stack([GREY] * 4), np.eye(4)), folder / "volume.nii")
    nibabel.save(nibabel.Nifti1Image(np.stack([GREY] * 4), np.eye(4)), folder / "packed.nii.gz")
    np.save(folder / "array.npy", WIDE)
    return sorted(folder.iterdir())


def test_files_cut_off_are_said(tmp_path: Path) -> None:
    for path in good_files(tmp_path):
        images.read(path)
        whole = path.read_bytes()
        for length in (4, 9, 60, len(whole) // 3, len(whole) // 2):
            path.write_bytes(whole[:length])
            with pytest.raises(ImageError) as caught:
                images.read(path)
            assert path.name in str(caught.value)


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    chance = random.Random(1)
    for path in good_files(tmp_path):
        whole = path.read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(chance.choice([1, 3, 20])):
                data[chance.randrange(min(len(data), 1500))] = chance.randrange(256)
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with contextlib.suppress(ImageError):
                    images.read(path)


# ---------------------------------------------------------------- real pictures


@pytest.mark.parametrize(
    ("folder", "count"),
    [
        ("blood-cells/images", 60),
        ("nuclei/images", 61),
        ("mammo/images", 60),
        ("denoise/noisy", 42),
        ("cxr-view/images", 238),
    ],
)
def test_real_pictures(folder: str, count: int, shared: Path) -> None:
    found = images.Images.of(shared / "data" / folder)
    sizes = [image.array.shape for image in found]
    assert found.skipped == []
    assert len(sizes) == count
