"""Images with masks: every kind that ImageJ's users have, and what is wrong with them in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mikata import regions
from mikata.datasets import read_segmented, split
from mikata.errors import DataError
from mikata.language import english

SHAPE = (40, 48)


def picture(folder: Path, name: str, seed: int = 0, ending: str = ".tif", **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{ending}"
    values = np.random.default_rng(seed).integers(0, 255, SHAPE).astype(np.uint8)
    tifffile.imwrite(path, values, **more)
    return path


def numbers(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    found = np.zeros(SHAPE, np.uint16)
    for number, (top, left, height, width) in enumerate(boxes, 1):
        found[top : top + height, left : left + width] = number
    return found


def folder_of(tmp_path: Path, masks: list[np.ndarray], masks_in: str = "masks") -> Path:
    for number, mask in enumerate(masks):
        picture(tmp_path / "images", f"a{number}", number)
        (tmp_path / masks_in).mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / masks_in / f"a{number}.tif", mask)
    return tmp_path


TWO = numbers((2, 2, 10, 10), (2, 12, 10, 10))


def test_a_label_image_has_objects_that_touch(tmp_path):
    dataset = read_segmented(folder_of(tmp_path, [TWO] * 3), parted=True)
    assert dataset.reading.kind == "objects"
    assert dataset.names == ("background", "object")
    assert [entry.mask.objects for entry in dataset.entries] == [2, 2, 2]
    truth = dataset.truth(dataset.entries[0])
    assert truth.classes.sum() == 200
    assert np.array_equal(truth.objects, TWO)


def test_a_binary_mask_has_what_hangs_together_as_objects(tmp_path):
    mask = np.where(numbers((2, 2, 5, 5), (20, 20, 5, 5)) > 0, 255, 0).astype(np.uint8)
    dataset = read_segmented(folder_of(tmp_path, [mask] * 3))
    assert dataset.reading.kind == "binary"
    assert dataset.entries[0].mask.objects == 2


def test_values_are_classes_where_they_are_named(tmp_path):
    dataset = read_segmented(folder_of(tmp_path, [TWO] * 3), names=["lung", "heart"])
    assert dataset.names == ("background", "lung", "heart")
    assert dataset.truth(dataset.entries[0]).classes.max() == 2


def test_numbers_that_may_be_either_are_asked_for(tmp_path):
    many = numbers(*((2, 4 * n, 3, 3) for n in range(5)))
    with pytest.raises(DataError, match='masks = "objects"'):
        read_segmented(folder_of(tmp_path, [many] * 3))


def square(name: str, left: int = 3, **more):
    return regions.rectangle(left, 3, 10, 8, name=name, **more)


def test_roi_sets_are_read_by_their_names_and_groups(tmp_path):
    for number in range(3):
        picture(tmp_path / "images", f"a{number}", number)
        (tmp_path / "rois").mkdir(exist_ok=True)
        regions.write(
            tmp_path / "rois" / f"a{number}.zip",
            [square("nucleus-1"), square("Debris", 20), square("0007-0012", 32, group=1)],
        )
    dataset = read_segmented(tmp_path, names=["nucleus", "debris"])
    truth = dataset.truth(dataset.entries[0])
    assert truth.objects.max() == 3
    assert truth.classes[5, 5] == 1
    assert truth.classes[5, 25] == 2
    assert truth.classes[5, 35] == 1
    alone = read_segmented(tmp_path, parted=True)
    assert alone.names == ("background", "object")
    assert alone.truth(alone.entries[0]).classes.max() == 1


def test_a_roi_of_an_unknown_class_and_one_outside(tmp_path):
    for number in range(3):
        picture(tmp_path / "images", f"a{number}", number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        regions.write(tmp_path / "masks" / f"a{number}.roi", [square("vessel")])
    with pytest.raises(
        DataError, match=r"a0\.roi: the class of the ROI 'vessel' is unknown.*nucleus, debris"
    ):
        read_segmented(tmp_path, names=["nucleus", "debris"])
    regions.write(tmp_path / "masks" / "a1.roi", [square("far", 500)])
    with pytest.raises(DataError, match=r"a1\.roi: the ROI 'far' lies outside"):
        read_segmented(tmp_path)


def test_overlays_of_tiffs(tmp_path):
    data = [square("a").data, square("b", 20).data]
    for number in range(3):
        picture(tmp_path, f"a{number}", number, imagej=True, metadata={"Overlays": data})
    dataset = read_segmented(tmp_path, parted=True)
    assert [entry.mask.objects for entry in dataset.entries] == [2, 2, 2]
    picture(tmp_path, "plain", 9)
    with pytest.raises(DataError, match=r"plain\.tif has no overlay"):
        read_segmented(tmp_path)


def table(folder: Path, rows: list[str], head: str = "file,mask,patient") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_a_table_keeps_patients_together(tmp_path):
    folder_of(tmp_path, [TWO] * 8)
    rows = [f"images/a{n}.tif,masks/a{n}.tif,person {n // 2}" for n in range(8)]
    dataset = read_segmented(table(tmp_path, rows), parted=True)
    assert dataset.has_patients
    assert "person" not in json.dumps([entry.patient for entry in dataset.entries])
    parts = split(dataset, test=0.25, selection=0.25)
    groups = [{entry.patient for entry in entries} for entries in parts.values()]
    assert [len(group) for group in groups] == [2, 1, 1]
    assert not set.intersection(*groups)


def test_the_fingerprint_is_of_pixels_and_masks(tmp_path):
    one = read_segmented(folder_of(tmp_path / "one", [TWO] * 3), parted=True)
    same = read_segmented(folder_of(tmp_path / "same", [TWO] * 3, "labels"), parted=True)
    other = read_segmented(folder_of(tmp_path / "other", [TWO, TWO, numbers((1, 1, 3, 3))]), parted=True)
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_mask_of_another_size(tmp_path):
    folder = folder_of(tmp_path, [TWO, TWO[:30], TWO])
    with pytest.raises(DataError, match=r"a1\.tif is 48 x 30 px, but its image a1\.tif is 48 x 40 px"):
        read_segmented(folder, parted=True)


def test_masks_that_hold_nothing(tmp_path):
    folder = folder_of(tmp_path, [np.zeros(SHAPE, np.uint8)] * 3)
    with pytest.raises(DataError, match="all masks are empty"):
        read_segmented(folder)
    some = read_segmented(folder_of(tmp_path / "some", [TWO, TWO, TWO * 0]), parted=True)
    assert some.empty == 1


def test_values_beyond_the_classes_and_a_class_nobody_has(tmp_path):
    with pytest.raises(DataError, match=r"a0\.tif has the value 2, but the recipe names 1 class"):
        read_segmented(folder_of(tmp_path / "a", [TWO] * 3), kind="classes", names=["lung"])
    with pytest.raises(DataError, match="no mask holds the class 'heart'"):
        read_segmented(folder_of(tmp_path / "b", [(TWO > 0) * 1] * 3), names=["lung", "heart"])
    with pytest.raises(DataError, match="a binary mask has 0 and one other"):
        read_segmented(folder_of(tmp_path / "c", [TWO] * 3), kind="binary")


def test_an_image_in_place_of_a_mask(tmp_path):
    noise = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    with pytest.raises(DataError, match=r"a0\.tif has values that are not whole numbers"):
        read_segmented(folder_of(tmp_path, [noise] * 3))


def test_a_mask_that_is_missing_or_there_twice(tmp_path):
    folder = folder_of(tmp_path, [TWO] * 3)
    (folder / "masks" / "a1.tif").rename(folder / "masks" / "b.tif")
    with pytest.raises(DataError, match=r"a1\.tif has no mask: no file of masks is named a1"):
        read_segmented(folder)
    with pytest.raises(DataError, match=r"The mask .*gone\.tif is not there"):
        read_segmented(table(tmp_path, ["images/a0.tif,gone.tif,1"]))
    regions.write(folder / "masks" / "a0.roi", [square("a")])
    with pytest.raises(DataError, match="has two files of its name"):
        read_segmented(folder)


def test_what_is_no_such_data_set(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_segmented(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no images with masks"):
        read_segmented(tmp_path)
    picture(tmp_path / "images", "a")
    with pytest.raises(DataError, match="none of masks"):
        read_segmented(tmp_path)
    with pytest.raises(DataError, match="the column 'mask' is missing"):
        read_segmented(table(tmp_path, ["images/a.tif,x,1"], "file,label,patient"))


def test_a_mask_that_changed_while_it_was_used(tmp_path):
    dataset = read_segmented(folder_of(tmp_path, [TWO] * 3), parted=True)
    tifffile.imwrite(tmp_path / "masks" / "a0.tif", numbers((1, 1, 3, 3)))
    with pytest.raises(DataError, match="was changed"):
        dataset.truth(dataset.entries[0])


@pytest.mark.parametrize("value", [128, 65535])
def test_masks_of_one_value_are_binary_whichever_it_is(tmp_path, value):
    mask = np.where(numbers((2, 2, 5, 5), (20, 20, 5, 5)) > 0, value, 0).astype(np.uint16)
    dataset = read_segmented(folder_of(tmp_path, [mask] * 3), parted=True)
    assert dataset.reading.kind == "binary"
    assert [entry.mask.objects for entry in dataset.entries] == [2, 2, 2]
    assert dataset.reading_words(english) == (
        "Masks were read as foreground and background, objects being what hangs together: 6 object(s) in 3 image(s), "
        "2 to 2 an image."
    )


def test_numbers_in_pieces_are_no_objects(tmp_path):
    mask = np.where(numbers((2, 2, 5, 5), (20, 20, 5, 5)) > 0, 255, 0).astype(np.uint8)
    mask[[1, 30], [1, 30]] = 1  # as smoothing leaves at edges
    with pytest.raises(DataError, match="3 mask\\(s\\) have numbers of which most lie in several pieces"):
        read_segmented(folder_of(tmp_path, [mask] * 3), parted=True)
    said = read_segmented(tmp_path, kind="objects", parted=True)
    assert said.entries[0].mask.objects == 2


def test_a_jpeg_is_no_mask(tmp_path):
    folder = folder_of(tmp_path, [TWO] * 3)
    Image.fromarray((TWO > 0).astype(np.uint8) * 255).save(folder / "masks" / "a1.jpg")
    (folder / "masks" / "a1.tif").unlink()
    with pytest.raises(DataError, match=r"a1\.jpg is a JPEG, which changes values"):
        read_segmented(folder, parted=True)


@pytest.mark.parametrize("behind", [" labels", "_mask"])
def test_masks_may_have_a_word_behind_the_name(tmp_path, behind):
    folder = folder_of(tmp_path, [TWO] * 3)
    for file in list((folder / "masks").iterdir()):
        file.rename(file.with_name(f"{file.stem}{behind}.tif"))
    assert len(read_segmented(folder, parted=True).entries) == 3
