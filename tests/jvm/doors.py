"""A file gives the same values and unit whether Mikata or ImageJ opens it; argument: an empty folder.

What ImageJ reads otherwise and cannot be put right is refused in words. Each file is also saved as TIFF by
ImageJ and read again, and opened twice with the patient forgotten between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from pydicom.sequence import Sequence

sys.path.insert(0, str(Path(__file__).parents[1]))

import mikata.imagej
from mikata import images
from mikata.errors import ImageError
from mikata.imagej import forgetting
from mikata.imagej.java import jclass
from test_images_dicom import group, made

ij = mikata.imagej.start()
folder = Path(sys.argv[1], "山田 (test)")
folder.mkdir()
RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (9, 12)).astype(np.uint16)
SIGNED = DEEP.astype(np.int16) - 2048
FLAT = RNG.integers(0, 256, (9, 12)).astype(np.uint8)
TWELVE = {"BitsStored": 12, "HighBit": 11}
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
FILM = {"Modality": "CR", "PhotometricInterpretation": "MONOCHROME1"}
WINDOW = {"WindowCenter": 100, "WindowWidth": 50}
CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}

DICOM: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "CR": (DEEP, TWELVE | {"Modality": "CR"}),
    "film of 8 bits": (FLAT, FILM | EIGHT | WINDOW),
    "film of 12 bits in 16": (DEEP, FILM | TWELVE),
    "film of 16 bits": (DEEP * 16, FILM),
    "film, signed": (SIGNED, FILM | TWELVE | WINDOW),
    "film with an intercept": (DEEP, FILM | TWELVE | {"RescaleSlope": 1, "RescaleIntercept": 7}),
    "film with a slope": (DEEP, FILM | TWELVE | {"RescaleSlope": 2, "RescaleIntercept": 10}),
    "film with padding": (DEEP, FILM | TWELVE | {"PixelPaddingValue": int(DEEP[0, 0])}),
    "film of a CT": (DEEP, CT | TWELVE | {"PhotometricInterpretation": "MONOCHROME1"}),
    "CT": (DEEP, CT),
    "CT, signed": (SIGNED, CT),
    "CT, signed, none below 0": (DEEP.astype(np.int16), CT),
    "CT with a slope": (SIGNED, CT | {"RescaleSlope": 2.5}),
    "CT without an intercept": (SIGNED, CT | {"RescaleIntercept": 0}),
    "CT of an unspecified kind": (SIGNED, CT | {"RescaleType": "US"}),
    "CT with padding": (np.where(DEEP > 4000, -2000, SIGNED), CT | {"PixelPaddingValue": -2000}),
    "CT with a slope and padding": (
        np.where(DEEP > 4000, -2000, SIGNED), CT | {"RescaleSlope": 0.1, "PixelPaddingValue": -2000},
    ),
    "CT of several frames": (np.stack([SIGNED, -SIGNED]), CT),
    "PET": (DEEP, {"Modality": "PT", "Units": "BQML", "RescaleSlope": 0.37, "RescaleIntercept": 0}),
    "PET in counts": (DEEP, {"Modality": "PT", "Units": "CNTS"}),
    "scintigram": (DEEP, {"Modality": "NM"}),
    "MR": (DEEP, {"Modality": "MR", "RescaleSlope": 3, "RescaleIntercept": 0}),
}  # fmt: skip

MODALITY_LUT = group(LUTDescriptor=[4, 0, 16], ModalityLUTType="OD", LUTData=[7, 5, 3, 1])
MODALITY_LUT["LUTDescriptor"].VR = MODALITY_LUT["LUTData"].VR = "US"
SLOPES = [
    group(PixelValueTransformationSequence=Sequence([group(RescaleSlope=slope, RescaleIntercept=0)]))
    for slope in (1, 2)
]
PALETTE = {
    f"{colour}PaletteColorLookupTable{part}": value
    for colour in ("Red", "Green", "Blue")
    for part, value in (("Descriptor", [256, 0, 16]), ("Data", bytes(512)))
}
REFUSED: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "palette": (
        FLAT, EIGHT | PALETTE | {"PhotometricInterpretation": "PALETTE COLOR", "Modality": "US"}, "palette",
    ),
    "modality LUT": (DEEP, {"Modality": "CR", "ModalityLUTSequence": Sequence([MODALITY_LUT])}, "modality LUT"),
    "dose": (DEEP, {"Modality": "RTDOSE", "DoseUnits": "GY", "DoseGridScaling": 0.001}, "dose"),
    "left-justified": (DEEP << 4, {"Modality": "CR", "BitsStored": 12, "HighBit": 15}, "lowest bits"),
    "slopes of frames": (
        np.stack([DEEP, DEEP]),
        {"Modality": "PT", "PerFrameFunctionalGroupsSequence": Sequence(SLOPES)}, "slopes",
    ),
}  # fmt: skip


def files() -> Iterator[Path]:
    for name, (stored, elements) in DICOM.items():
        yield made(folder, stored, name=f"{name}.dcm", **elements)
    for name, pixels in (
        ("8", FLAT),
        ("16", DEEP),
        ("32-bit whole", DEEP.astype(np.uint32)),
        ("1", FLAT > 99),
    ):
        path = folder / f"white is zero {name}.tif"
        tifffile.imwrite(path, pixels, photometric="miniswhite", metadata=None)
        yield path
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(FLAT).save(folder / "turned.jpg", quality=100, exif=exif)
    yield folder / "turned.jpg"
    PIL.Image.fromarray(FLAT).save(folder / "flat.png")
    yield folder / "flat.png"


def same(ours: Any, theirs: Any, what: str) -> None:
    assert theirs.axes == ours.axes, (what, theirs.axes, ours.axes)
    # another JPEG decoder may differ by one step; ImageJ multiplies by a slope in single precision
    slack = 1 if what.startswith("turned") else 0
    values, others = ours.values(), theirs.values()
    assert np.allclose(values, others, rtol=3e-7, atol=slack), (what, values[..., :3], others[..., :3])
    assert theirs.calibrated_unit == ours.calibrated_unit, (
        what,
        theirs.calibrated_unit,
        ours.calibrated_unit,
    )
    assert len(theirs.luts) == len(ours.luts), what


def shown_range(image: Any) -> tuple[float, float]:
    """The display range in calibrated values."""
    low, high = image.display_ranges[0]
    offset = image.calibration.coefficients[0] if image.calibration else 0.0
    return low + offset, high + offset


count = 0
for path in files():
    name, ours = path.stem, images.read(path)
    imp = ij.open(path)
    theirs = ij.from_java(imp)
    same(ours, theirs, name)
    if ours.display_ranges:
        assert shown_range(theirs) == shown_range(ours), (name, theirs.display_ranges, ours.display_ranges)
    same(ours, ij.from_java(ij.to_java(theirs)), f"{name}, there and back")
    kept = ij.from_java(imp, keep_metadata=True)
    same(ours, ij.from_java(ij.to_java(kept), keep_metadata=True), f"{name}, there and back with its header")
    again = images.write_tiff(folder / "again.tif", kept)
    same(ours, images.read(again), f"{name}, as Mikata's TIFF with its header")
    same(ours, ij.from_java(imp.duplicate()), f"{name}, duplicated")
    if path.suffix == ".dcm":
        for forgotten in (False, True):
            if forgotten:
                forgetting.forget_patient(imp)
                same(ours, ij.from_java(imp), f"{name}, without the patient")
            saved = folder / f"{name} by ImageJ.tif"
            assert jclass("ij.io.FileSaver")(imp).saveAsTiff(str(saved))
            same(ours, images.read(saved), f"{name}, saved by ImageJ (forgotten: {forgotten})")
            same(ours, ij.from_java(ij.open(saved)), f"{name}, saved and opened (forgotten: {forgotten})")
            named = any("Yamada".encode(code) in saved.read_bytes() for code in ("utf-16-be", "utf-16-le"))
            assert named is not forgotten, name
    count += 1

for name, (stored, elements, words) in REFUSED.items():
    imp = ij.open(made(folder, stored, name=f"{name}.dcm", **elements))
    with pytest.raises(ImageError, match=f"{name}.*{words}"):
        ij.from_java(imp)
    colour = imp.duplicate()
    jclass("ij.process.ImageConverter")(colour).convertToRGB()
    assert ij.from_java(colour).is_colour

# an inverting LUT that ImageJ's user chose, or a mask has, leaves values alone
imp = ij.to_java(images.from_array(FLAT))
jclass("ij.IJ").run(imp, "Invert LUT", "")
assert np.array_equal(ij.from_java(imp).values(), FLAT)
path = folder / "inverted in ImageJ.tif"
jclass("ij.io.FileSaver")(imp).saveAsTiff(str(path))
assert np.array_equal(images.read(path).values(), FLAT)
assert np.array_equal(ij.from_java(ij.open(path)).values(), FLAT)
# converted to 8 bits, a CT has no Hounsfield units any more
imp = ij.open(folder / "CT.dcm")
jclass("ij.process.ImageConverter")(imp).convertToGray8()
assert ij.from_java(imp).calibrated_unit == "grey"
imp = ij.open(folder / "film of 12 bits in 16.dcm")
jclass("ij.process.ImageConverter")(imp).convertToGray8()
eight = np.array(imp.getProcessor().getPixels()).astype(np.uint8)
assert np.array_equal(ij.from_java(imp).values().ravel(), 255 - eight.astype(np.float32))
print(f"{count} files, the same through both doors")
