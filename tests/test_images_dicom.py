"""DICOM: calibrated values with their unit, from real files and from made ones for each rule."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from mikata import images
from mikata.errors import ImageError

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"

# by name: axes, shape, unit, lowest and highest value, size in mm (None: not checked)
REAL = {
    "693_J2KI.dcm": ("YX", (512, 512), "HU", -3995, 1812, (0.478516, 0.478516, 20)),
    "693_J2KR.dcm": ("YX", (512, 512), "HU", -1024, 1468, (0.478516, 0.478516, 20)),  # padding at -3024
    "CT_small.dcm": ("YX", (128, 128), "HU", -896, 1167, (0.661468, 0.661468, 5)),
    "JPEG-LL.dcm": ("YX", (1024, 256), "counts", 0, 278, (2.26, 2.26, 1)),
    "JPEG-lossy.dcm": ("YX", (1024, 256), "counts", 0, 264, (2.26, 2.26, 1)),
    "JPEG2000.dcm": ("YX", (1024, 256), "counts", -30, 245, (2.26, 2.26, 1)),
    "JPEG2000_UNC.dcm": ("YX", (1024, 256), "counts", -30, 245, (2.26, 2.26, 1)),
    "MR-SIEMENS-DICOM-WithOverlays.dcm": ("YX", (484, 484), "grey", 0, 1123, (0.72314, 0.72314, 4)),
    "MR_small.dcm": ("YX", (64, 64), "grey", 127, 2145, (0.3125, 0.3125, 0.8)),
    "MR_small_RLE.dcm": ("YX", (64, 64), "grey", 127, 2145, (0.3125, 0.3125, 0.8)),
    "MR_small_bigendian.dcm": ("YX", (64, 64), "grey", 127, 2145, (0.3125, 0.3125, 0.8)),
    "RG1_J2KI.dcm": ("YX", (1955, 1841), "grey", 32767 - 26512, 32767 - 803, None),
    "eCT_Supplemental.dcm": ("ZYX", (2, 512, 512), "grey", -1024, 172, (0.388672, 0.388672, 10)),
    "emri_small.dcm": ("ZYX", (10, 64, 64), "grey", 0, 467, None),
    "emri_small_jpeg_2k_lossless.dcm": ("ZYX", (10, 64, 64), "grey", 0, 467, None),
    "examples_palette.dcm": ("YXS", (350, 800, 3), "grey", 0, 255, None),
    "examples_rgb_color.dcm": ("YXS", (240, 320, 3), "grey", 0, 255, None),
    "examples_ybr_color.dcm": ("TYXS", (30, 240, 320, 3), "grey", 0, 220, None),
    "explicit_VR-UN.dcm": ("YX", (512, 512), "HU", -1024, 1186, (0.859375, 0.859375, 1)),
    "liver.dcm": ("ZYX", (3, 512, 512), "grey", 0, 1, (0.810547, 0.810547, 1)),
    "liver_1frame.dcm": ("YX", (512, 512), "grey", 0, 1, (0.810547, 0.810547, 1)),
}


def check(path: Path) -> None:
    axes, shape, unit, low, high, size = REAL[path.name]
    image = images.read(path)
    assert (image.axes, image.array.shape, image.calibrated_unit) == (axes, shape, unit)
    values = image.values()
    # another JPEG decoder may differ by one step
    slack = 2 if path.name in ("JPEG-lossy.dcm", "examples_ybr_color.dcm") else 0
    assert abs(values.min() - low) <= slack
    assert abs(values.max() - high) <= slack
    if size is not None:
        assert image.unit == "mm"
        assert image.pixel_size == pytest.approx(size, rel=1e-4)
    assert image.info == ""
    assert image.slice_labels == ()
    assert image.array.dtype == (np.uint8 if image.is_colour else np.float32)


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, shared: Path) -> None:
    check(shared / "data" / "dicom" / name)


@pytest.mark.parametrize("name", [name for name in REAL if (WHEEL / name).exists()])
def test_files_of_the_wheel(name: str) -> None:
    check(WHEEL / name)


def test_all_real_files_are_in_the_table(shared: Path) -> None:
    assert {path.name for path in (shared / "data" / "dicom").glob("*.dcm")} == set(REAL)


def test_a_folder_of_them(shared: Path) -> None:
    found = images.Images.of(shared / "data" / "dicom")
    assert sum(1 for _ in found) == len(REAL)
    assert found.skipped == []


def test_hounsfield_units_by_hand() -> None:
    dataset = pydicom.dcmread(WHEEL / "CT_small.dcm")
    expected = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(
        dataset.RescaleIntercept
    )
    assert np.array_equal(images.read(WHEEL / "CT_small.dcm").values(), expected)


def test_the_same_picture_however_compressed() -> None:
    plain = images.read(WHEEL / "MR_small.dcm").values()
    for name in (
        "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless", "MR_small_expb",
        "MR_small_jpeg_ls_lossless", "MR_small_padded",
    ):  # fmt: skip
        assert np.array_equal(images.read(WHEEL / f"{name}.dcm").values(), plain), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "incomplete"),
        ("rtplan.dcm", r"without an image \(RTPLAN\)"),
        ("reportsi.dcm", r"without an image \(SR\)"),
        ("rtstruct.dcm", r"without an image"),
        ("waveform_ecg.dcm", r"without an image"),
        ("badVR.dcm", "damaged"),
        ("meta_missing_tsyntax.dcm", "damaged"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "JPEG 2000"),
    ],
)
def test_bad_files_of_the_wheel(name: str, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        images.read(WHEEL / name)
    assert name in str(caught.value)


def test_dose_has_its_grid(tmp_path: Path) -> None:
    image = images.read(WHEEL / "rtdose.dcm")
    dataset = pydicom.dcmread(WHEEL / "rtdose.dcm")
    expected = dataset.pixel_array * float(dataset.DoseGridScaling)
    np.testing.assert_allclose(image.values(), expected, rtol=1e-6)


# ---------------------------------------------------------------- made files

STORED = np.arange(60, dtype=np.uint16).reshape(5, 12) * 50


def made(
    folder: Path, stored: np.ndarray = STORED, *, meta: bool = True, name: str = "a.dcm", **elements: Any
) -> Path:
    """A small DICOM file; elements of None are left out."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "Yamada^Taro"
    dataset.PatientID = "4711"
    frames = stored if stored.ndim == 3 else stored[None]
    values: dict[str, Any] = {
        "Modality": "OT", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "Rows": frames.shape[1], "Columns": frames.shape[2], "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "NumberOfFrames": len(frames) if stored.ndim == 3 else None,
    }  # fmt: skip
    values.update(elements)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    path = folder / name
    if meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path


DEPTH_SCALE = {
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.02,
    "PhysicalDeltaY": 0.03,
}


def group(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, 0), (0.1, -3.25), (-1, 100)])
def test_slope_and_intercept(sign: bool, slope: float, intercept: float, tmp_path: Path) -> None:
    stored = STORED.astype(np.int16) - 1500 if sign else STORED
    path = made(tmp_path, stored, Modality="CT", RescaleSlope=slope, RescaleIntercept=intercept)
    image = images.read(path)
    expected = (stored.astype(np.float64) * float(f"{slope}") + intercept).astype(np.float32)
    assert np.array_equal(image.values(), expected)
    assert image.value_unit == "HU"


@pytest.mark.parametrize(
    ("elements", "unit"),
    [
        ({"Modality": "PT", "Units": "BQML", "RescaleSlope": 2, "RescaleIntercept": 0}, "Bq/mL"),
        ({"Modality": "PT", "Units": "CNTS", "RescaleSlope": 2, "RescaleIntercept": 0}, "counts"),
        ({"Modality": "PT", "Units": "GML"}, "g/mL"),
        ({"Modality": "PT"}, "grey"),
        ({"Modality": "NM"}, "counts"),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU"}, "HU"),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"}, "HU"),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleType": "Hounsfield Units"}, "HU"),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleType": "OD"}, "OD"),
        ({"Modality": "MR", "RescaleSlope": 1, "RescaleType": "US"}, "grey"),
        (
            {
                "Modality": "CT",
                "RescaleSlope": 1,
                "RescaleType": "US",
                "RealWorldValueMappingSequence": Sequence([Dataset()]),  # blood flow, say
            },
            "grey",
        ),
        ({"Modality": "CT"}, "grey"),
        ({"Modality": "MR", "RescaleSlope": 3, "RescaleIntercept": 0, "RescaleType": "normalized"}, "grey"),
        ({"Modality": "RTDOSE", "DoseUnits": "GY", "DoseGridScaling": 0.001}, "Gy"),
        ({"Modality": "DX"}, "grey"),
    ],
)
def test_units(elements: dict[str, Any], unit: str, tmp_path: Path) -> None:
    assert images.read(made(tmp_path, **elements)).calibrated_unit == unit


def test_slope_of_each_frame(tmp_path: Path) -> None:
    """Enhanced PET and CT scale each frame; the whole file's own slope, if any, does not count."""
    frames = [
        group(
            PixelValueTransformationSequence=Sequence(
                [group(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")]
            ),
            PlanePositionSequence=Sequence([group(ImagePositionPatient=[0, 0, 2.5 * index])]),
        )
        for index, (slope, intercept) in enumerate([(1, 0), (2, -10), (0.5, 7)])
    ]
    shared = group(
        PixelMeasuresSequence=Sequence([group(PixelSpacing=[0.5, 0.25], SliceThickness=9)]),
        FrameVOILUTSequence=Sequence([group(WindowCenter=50, WindowWidth=400)]),
    )
    path = made(
        tmp_path, np.stack([STORED] * 3), Modality="CT", RescaleSlope=100, RescaleIntercept=0,
        PerFrameFunctionalGroupsSequence=Sequence(frames), SharedFunctionalGroupsSequence=Sequence([shared]),
    )  # fmt: skip
    image = images.read(path)
    expected = np.stack([STORED, STORED * 2.0 - 10, STORED * 0.5 + 7])
    assert np.array_equal(image.values(), expected)
    assert (image.axes, image.value_unit, image.display_ranges) == ("ZYX", "HU", ((-150, 250),))
    assert image.pixel_size == (0.25, 0.5, 2.5)


@pytest.mark.parametrize(
    ("heights", "order", "distance"),
    [
        ((0, 2, 4), [0, 1, 2], 2),
        ((4, 2, 0), [0, 1, 2], 2),  # one way through space: as in the file
        ((0, 4, 2), [0, 2, 1], 2),
        ((0, 4.1, 2), [0, 2, 1], 2.05),
        ((2, 0, 0, 2), [0, 1, 3, 2], 2),  # two moments
    ],
)
def test_slices_follow_one_another_in_space(
    heights: tuple[float, ...], order: list[int], distance: float, tmp_path: Path
) -> None:
    # the slices stand upright: their normal is the patient's y
    frames = [
        group(
            PlanePositionSequence=Sequence([group(ImagePositionPatient=[0, height, 7])]),
            PlaneOrientationSequence=Sequence([group(ImageOrientationPatient=[0, 0, 1, 1, 0, 0])]),
        )
        for height in heights
    ]
    stack = np.stack([STORED + index for index in range(len(heights))])
    path = made(tmp_path, stack, PixelSpacing=[1, 1], PerFrameFunctionalGroupsSequence=Sequence(frames))
    image = images.read(path)
    assert image.array.reshape(-1, 5, 12)[:, 0, 0].tolist() == order
    assert image.pixel_size == (1, 1, pytest.approx(distance))


def test_unequal_gaps_are_said(tmp_path: Path) -> None:
    frames = [
        group(PlanePositionSequence=Sequence([group(ImagePositionPatient=[0, 0, z])])) for z in (0, 2, 6)
    ]
    path = made(
        tmp_path, np.stack([STORED] * 3), PixelSpacing=[1, 1],
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )  # fmt: skip
    with pytest.raises(ImageError, match="2 to 4 mm apart") as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def test_frames_in_space_and_time(tmp_path: Path) -> None:
    def places(*heights: float) -> Sequence:
        return Sequence(
            [group(PlanePositionSequence=Sequence([group(ImagePositionPatient=[0, 0, z])])) for z in heights]
        )

    stack = np.stack([STORED + index for index in range(6)])
    for heights, axes, order in (
        ((0, 1, 2, 0, 1, 2), "TZYX", [0, 1, 2, 3, 4, 5]),
        ((0, 0, 1, 1, 2, 2), "TZYX", [0, 2, 4, 1, 3, 5]),
        ((5, 5, 5, 5, 5, 5), "TYX", [0, 1, 2, 3, 4, 5]),
        ((0, 1, 2, 3, 4, 5), "ZYX", [0, 1, 2, 3, 4, 5]),
        ((0, 0, 0, 1, 1, 2), "ZYX", [0, 1, 2, 3, 4, 5]),
    ):
        image = images.read(made(tmp_path, stack, PerFrameFunctionalGroupsSequence=places(*heights)))
        assert image.axes == axes, heights
        assert (image.array.reshape(6, 5, 12)[:, 0, 0]).tolist() == order
    moving = images.read(made(tmp_path, stack, FrameIncrementPointer=0x00181063, FrameTime=40))
    assert (moving.axes, moving.frame_interval_s) == ("TYX", 0.04)
    assert images.read(made(tmp_path, stack, Modality="XA")).axes == "TYX"
    slices = images.read(made(tmp_path, stack, Modality="NM", FrameIncrementPointer=[0x00540080]))
    assert slices.axes == "ZYX"


@pytest.mark.parametrize("bits", [8, 12, 15, 16])
def test_monochrome1_is_turned_round(bits: int, tmp_path: Path) -> None:
    stored = STORED % np.uint16(2**bits - 1)
    path = made(
        tmp_path, stored, Modality="CR", PhotometricInterpretation="MONOCHROME1", BitsStored=bits,
        HighBit=bits - 1,
        WindowCenter=100, WindowWidth=50,
    )  # fmt: skip
    image = images.read(path)
    top = 2**bits - 1
    assert np.array_equal(image.values(), top - stored.astype(np.float32))
    assert image.display_ranges == ((top - 125, top - 75),)
    assert image.luts == ()


def test_monochrome1_with_slope_and_sign(tmp_path: Path) -> None:
    stored = STORED.astype(np.int16) - 1500
    image = images.read(
        made(
            tmp_path,
            stored,
            Modality="MG",
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope=2,
            RescaleIntercept=10,
        )
    )
    # the lowest and the highest stored number change places
    assert np.array_equal(image.values(), (-1 - stored.astype(np.float32)) * 2 + 10)


def test_monochrome1_with_a_unit_keeps_its_values(tmp_path: Path) -> None:
    image = images.read(made(tmp_path, Modality="PT", Units="BQML", PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(image.values(), STORED)
    assert image.luts[0][0, :3].tolist() == [255, 254, 253]


def test_modality_lut(tmp_path: Path) -> None:
    table = (np.arange(3000) * 7 % 4096).astype(np.uint16)
    lut = group(LUTDescriptor=[3000, 0, 16], ModalityLUTType="OD", LUTData=table.tolist())
    lut["LUTDescriptor"].VR = "US"
    lut["LUTData"].VR = "US"
    image = images.read(made(tmp_path, Modality="CR", ModalityLUTSequence=Sequence([lut])))
    assert np.array_equal(image.values(), table[STORED])
    assert image.value_unit == "OD"


@pytest.mark.parametrize(
    ("elements", "size", "unit"),
    [
        ({"PixelSpacing": [2, 0.5]}, (0.5, 2, 1), "mm"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2, 1), "mm"),
        ({"PixelSpacing": [2, 0.5], "ImagerPixelSpacing": [0.2, 0.1]}, (0.5, 2, 1), "mm"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2, 1), "mm"),
        ({"PixelSpacing": [1, 1], "SliceThickness": 5, "SpacingBetweenSlices": -3}, (1, 1, 3), "mm"),
        ({"PixelSpacing": [1, 1], "SliceThickness": 5}, (1, 1, 5), "mm"),
        ({"PixelSpacing": ""}, (1, 1, 1), "pixel"),
        ({}, (1, 1, 1), "pixel"),
        (
            {"SequenceOfUltrasoundRegions": Sequence([group(**DEPTH_SCALE)])},
            (0.2, 0.3, 1), "mm",
        ),
    ],
)  # fmt: skip
def test_sizes(elements: dict[str, Any], size: tuple[float, ...], unit: str, tmp_path: Path) -> None:
    image = images.read(made(tmp_path, **elements))
    assert image.pixel_size == pytest.approx(size)
    assert image.unit == unit


def test_windows(tmp_path: Path) -> None:
    ranges = {
        (40, 400): ((-160, 240),),
        ((450, 200), (790, 443)): ((55, 845),),
        (10, 0): (),
        ("", ""): (),
    }
    for (center, width), expected in ranges.items():
        several = isinstance(center, tuple)
        path = made(
            tmp_path, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024,
            WindowCenter=list(center) if several else center, WindowWidth=list(width) if several else width,
        )  # fmt: skip
        assert images.read(path).display_ranges == expected


def test_unused_bits_are_masked(tmp_path: Path) -> None:
    low = STORED % 4096
    assert np.array_equal(images.read(made(tmp_path, low | 0xF000, BitsStored=12, HighBit=11)).values(), low)
    signed = (low.astype(np.int16) - 2048) & 0x0FFF
    path = made(tmp_path, signed.astype(np.int16), BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert np.array_equal(images.read(path).values(), low.astype(np.float32) - 2048)


@pytest.mark.parametrize("sign", [False, True])
def test_numbers_at_the_upper_end_of_their_words(sign: bool, tmp_path: Path) -> None:
    low = (STORED % 4096).astype(np.int16) - (2048 if sign else 0)
    left = low * 16 if sign else low.astype(np.uint16) << 4
    path = made(tmp_path, left, BitsStored=12, HighBit=15)
    assert np.array_equal(images.read(path).values(), low)
    pair = images.read(made(tmp_path, np.stack([left, left]), BitsStored=12, HighBit=15))
    assert np.array_equal(pair.values(), np.stack([low, low]))
    for elements, words in (
        ({"BitsStored": 10, "HighBit": 15}, "do not fit"),
        ({"BitsStored": 12, "HighBit": 10}, "cannot be"),
        ({"BitsStored": 12, "HighBit": 16}, "cannot be"),
    ):
        with pytest.raises(ImageError, match=words):
            images.read(made(tmp_path, left | 16, **elements))


@pytest.mark.parametrize(
    ("elements", "stored", "expected"),
    [
        ({"PixelPaddingValue": -2000}, [-2000, 24, 500], [-1000, -1000, -524]),
        ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1900}, [-1950, 24, 500], [-1000, -1000, -524]),
        ({"PixelPaddingValue": -1900, "PixelPaddingRangeLimit": -2000}, [-1950, 24, 500], [-1000, -1000, -524]),
        ({"PixelPaddingValue": -1999}, [-2000, 24, 500], [-3024, -1000, -524]),
        ({}, [-2000, 24, 500], [-3024, -1000, -524]),
    ],
)  # fmt: skip
def test_padding_is_black(
    elements: dict[str, int], stored: list[int], expected: list[int], tmp_path: Path
) -> None:
    frames = np.array([[stored], [[24, 25, 26]]], np.int16)
    path = made(tmp_path, frames, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024, **elements)
    assert images.read(path).values().tolist() == [[expected], [[-1000, -999, -998]]]


def test_a_frame_of_nothing_but_padding_stays(tmp_path: Path) -> None:
    path = made(tmp_path, np.zeros((4, 5), np.uint16), PixelPaddingValue=0)
    assert (images.read(path).values() == 0).all()


def test_padding_of_monochrome1_is_black_too(tmp_path: Path) -> None:
    stored = np.array([[0, 10, 200], [0, 255, 100]], np.uint16)
    path = made(
        tmp_path, stored, Modality="CR", PhotometricInterpretation="MONOCHROME1", BitsStored=8, HighBit=7,
        PixelPaddingValue=0,
    )  # fmt: skip
    assert images.read(path).values().tolist() == [[0, 245, 55], [0, 0, 155]]


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619.2", "画像.dcm", "scan.ima"])
def test_known_by_content_not_by_name(name: str, hard_path: Path) -> None:
    made(hard_path, name=name)
    (hard_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (hard_path / "notes").write_text("no image " * 50)
    (hard_path / "program.exe").write_bytes(b"MZ\x08\0\x05\0" + b"\0" * 400)
    found = images.Images.of(hard_path)
    assert len(found) == 1
    assert np.array_equal(next(iter(found)).values(), STORED)


@pytest.mark.parametrize("name", ["IM000001", "a.dcm"])
def test_without_preamble(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, meta=False, name=name)
    data = path.read_bytes()
    assert data[128:132] != b"DICM"
    assert np.array_equal(images.read(path).values(), STORED)
    assert len(images.Images.of(tmp_path)) == 1


def test_nothing_of_the_patient_unless_asked(tmp_path: Path) -> None:
    path = made(tmp_path, PixelSpacing=[1, 1])
    image = images.read(path)
    assert "Yamada" not in repr(image)
    written = images.write_tiff(tmp_path / "out.tif", image).read_bytes()
    for word in ("Yamada", "4711"):
        assert word.encode() not in written
        assert word.encode("utf-16-be") not in written
    assert "Yamada^Taro" in images.read(path, keep_metadata=True).info
    assert "4711" in images.read(path, keep_metadata=True).info


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"Rows": 4000},
        {"BitsAllocated": 7},
        {"SamplesPerPixel": 2},
        {"PhotometricInterpretation": None},
        {"Rows": None},
    ],
)
def test_damaged_headers_are_said(elements: dict[str, Any], tmp_path: Path) -> None:
    path = made(tmp_path, **elements)
    with pytest.raises(ImageError) as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def test_cut_off_and_damaged_bytes(tmp_path: Path) -> None:
    import random
    import warnings

    chance = random.Random(2)
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "examples_palette.dcm"):
        whole = (WHEEL / name).read_bytes()
        path = tmp_path / name
        for length in (140, 400, 1500, len(whole) // 2):
            path.write_bytes(whole[:length])
            with pytest.raises(ImageError):
                images.read(path)
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(chance.choice([1, 5, 40])):
                data[chance.randrange(min(len(data), 3000))] = chance.randrange(256)
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with contextlib.suppress(ImageError):
                    images.read(path)
