"""No TIFF that ImageJ saves names the patient once he is forgotten; argument: an empty folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import mikata.imagej
from mikata import images
from mikata.imagej import forgetting
from mikata.imagej.java import jclass
from test_images_dicom import made

ij = mikata.imagej.start()
folder = Path(sys.argv[1])
series = folder / "山田 series"
series.mkdir()
RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4096, (3, 9, 12)).astype(np.uint16)
for number, stored in enumerate(STACK):
    made(
        series, stored, name=f"s{number}.dcm", Modality="CT", RescaleSlope=1, RescaleIntercept=-1024,
        InstanceNumber=number + 1, SeriesNumber=1,
    )  # fmt: skip
NAMES = [n.encode(code) for n in ("Yamada", "4711") for code in ("ascii", "utf-16-le", "utf-16-be")]


def saved_with_a_name(imp: Any) -> bool:
    path = folder / "saved.tif"
    assert jclass("ij.io.FileSaver")(imp).saveAsTiff(str(path))
    return any(name in path.read_bytes() for name in NAMES)


def opened(how: str) -> Any:
    ij.close_all()
    ij.run_macro(f'File.openSequence("{series}/"{how});')
    return ij.current()


def slice_of_a_series() -> Any:
    stack = opened("")
    stack.setSlice(2)
    return stack.crop()


def pydicoms() -> Any:
    return ij.to_java(images.read(series / "s0.dcm", keep_metadata=True))


for what, imp in (
    ("a file", ij.open(series / "s0.dcm")),
    ("a series", opened("")),
    ("a virtual series", opened(', "virtual"')),
    ("a slice of a series", slice_of_a_series()),
    ("a virtual series, in part shown", opened(', "virtual"')),
    ("Mikata's image with its header", pydicoms()),
):
    if "in part" in what:
        imp.setSlice(2)
    before = ij.from_java(imp)
    assert before.calibrated_unit == "HU", what
    assert (before.info, before.slice_labels) == ("", ()), what
    kept = ij.from_java(imp, keep_metadata=True)
    assert "Yamada" in str((kept.info, kept.slice_labels)), what
    assert saved_with_a_name(imp), f"{what}: nothing to forget"
    if "virtual" in what:
        imp = opened(', "virtual"')  # ImageJ replaces a stack that it saved
    shown = imp.getProcessor().getMin(), imp.getProcessor().getMax(), imp.getCurrentSlice()
    for again in range(2):
        forgetting.forget_patient(imp)
        assert not saved_with_a_name(imp), what
        for number in range(1, imp.getStackSize() + 1):
            imp.setSlice(number)
        assert not saved_with_a_name(imp), f"{what}, looked through"
        after = ij.from_java(imp, keep_metadata=True)
        assert "Yamada" not in str((after.info, after.slice_labels)), what
        assert np.array_equal(after.values(), before.values()), (what, again)
        assert after.calibrated_unit == "HU", (what, after.calibrated_unit)
        assert bool(imp.getStack().isVirtual()) == ("virtual" in what), what
    imp.setSlice(shown[2])
    assert (imp.getProcessor().getMin(), imp.getProcessor().getMax(), imp.getCurrentSlice()) == shown, what
    assert not saved_with_a_name(imp.duplicate()), f"{what}, duplicated"

# what is no header stays, but for what ImageJ keeps behind a label's first line
image = images.from_array(
    np.stack([STACK[0]] * 2), "ZYX", info="Stain: 0010 H&E", slice_labels=("day 1\nwith a note", "day 2")
)
imp = ij.to_java(image)
forgetting.forget_patient(imp)
after = ij.from_java(imp, keep_metadata=True)
assert (after.info, after.slice_labels) == ("Stain: 0010 H&E", ("day 1", "day 2"))
single = ij.to_java(images.from_array(STACK[0], "YX", info="note", slice_labels=("day 1",)))
forgetting.forget_patient(single)
after = ij.from_java(single, keep_metadata=True)
assert (after.info, after.slice_labels) == ("note", ("day 1",))
print("forgotten")
