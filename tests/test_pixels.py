"""Scores of segmentations against values computed by hand, and objects from what networks say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mikata.datasets import Entry, Picture
from mikata.errors import NetworkError
from mikata.evaluation.pixels import THRESHOLDS, Matched, hausdorff_95, match, overlap, pooled_f1
from mikata.evaluation.segmenting import Judged, judge, report
from mikata.networks.instances import label_image

PICTURE = Picture(1, 10, 10, "grey", True, "0")


def box(shape: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[top : top + height, left : left + width] = True
    return found


def test_dice_and_iou_are_those_computed_by_hand():
    both = overlap(box((10, 10), 0, 0, 4, 4), box((10, 10), 0, 2, 4, 4))
    assert (both.true, both.said, both.both) == (16, 16, 8)
    assert both.dice == pytest.approx(16 / 32)
    assert both.iou == pytest.approx(8 / 24)
    nothing = overlap(np.zeros((3, 3), bool), np.zeros((3, 3), bool))
    assert math.isnan(nothing.dice)
    assert math.isnan(nothing.iou)


def test_hausdorff_of_a_moved_square_is_the_move():
    true = box((40, 40), 10, 10, 10, 10)
    assert hausdorff_95(true, true) == 0
    assert hausdorff_95(true, box((40, 40), 10, 13, 10, 10)) == pytest.approx(3)
    assert math.isnan(hausdorff_95(true, np.zeros((40, 40), bool)))


def labelled(*boxes: np.ndarray) -> np.ndarray:
    found = np.zeros(boxes[0].shape, np.int32)
    for number, one in enumerate(boxes, 1):
        found[one] = number
    return found


def test_objects_are_matched_once_and_counted_at_each_threshold():
    shape = (20, 40)
    true = labelled(box(shape, 0, 0, 10, 10), box(shape, 0, 20, 10, 10))
    # the first is hit with 80 of 100 px (IoU 0.8), the second is missed, one is made up
    said = labelled(box(shape, 0, 0, 10, 8), box(shape, 12, 0, 5, 5))
    found = match(true, said)
    assert (found.true, found.said) == (2, 2)
    assert found.right == tuple(int(threshold <= 0.8) for threshold in THRESHOLDS)
    assert found.f1() == pytest.approx(2 * 1 / 4)


def test_at_half_the_matching_is_optimal():
    """One predicted object overlaps two true ones by an IoU of exactly 0.5: only one pair counts."""
    true = labelled(box((4, 8), 0, 0, 4, 4), box((4, 8), 0, 4, 4, 4))
    said = labelled(box((4, 8), 0, 0, 4, 8))
    assert match(true, said).right[0] == 1
    assert match(true, said).f1() == pytest.approx(2 / 3)


def test_images_without_any_object():
    empty = np.zeros((5, 5), np.int32)
    assert math.isnan(match(empty, empty).f1())
    assert match(labelled(box((5, 5), 0, 0, 2, 2)), empty).f1() == 0
    assert match(empty, labelled(box((5, 5), 0, 0, 2, 2))).f1() == 0
    assert math.isnan(pooled_f1([match(empty, empty)]))
    assert pooled_f1([Matched(3, 1, (1,) * 10), Matched(1, 1, (1,) * 10)]) == pytest.approx(4 / 6)


def entries(count: int, patients: int) -> list[Entry]:
    return [
        Entry(Path(f"{n}.png"), "all", PICTURE, patient=f"p{n % patients}" if patients else "")
        for n in range(count)
    ]


def judged(both: int, true: int, said: int) -> Judged:
    one = overlap(box((1, 100), 0, 0, 1, true), box((1, 100), 0, true - both, 1, said))
    assert one.both == both
    return Judged((one,), (1.0,))


def test_a_report_pools_and_averages():
    found = report(entries(2, 2), [judged(10, 10, 10), judged(5, 20, 30)], ["lung"])
    assert found.figure("Dice of lung (mean of images)").value == pytest.approx((1 + 10 / 50) / 2)
    assert found.figure("Dice of lung (all pixels pooled)").value == pytest.approx(30 / 70)
    assert found.figure("IoU of lung (all pixels pooled)").value == pytest.approx(15 / 55)
    assert math.isnan(found.leading.low)  # of two patients there is no interval
    assert "fewer than 5 patients" in found.leading.method
    assert found.record()["figures"]["Dice of lung (mean of images)"]["low"] is None


def test_an_interval_is_of_patients_and_wider_than_of_images():
    values = [judged(n, 10, 10) for n in (10, 10, 9, 9, 5, 5, 8, 8, 7, 7, 10, 10)]
    of_patients = report(
        [Entry(Path(f"{n}"), "all", PICTURE, patient=f"p{n // 2}") for n in range(12)], values, ["a"]
    )
    of_images = report(entries(12, 0), values, ["a"])
    wide, narrow = of_patients.leading, of_images.leading
    assert (of_patients.n_patients, of_images.n_patients) == (6, None)
    assert wide.value == narrow.value == pytest.approx(np.mean([one.overlaps[0].dice for one in values]))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert "patients" in wide.method


def test_judge_puts_all_together():
    true = labelled(box((20, 20), 0, 0, 5, 5))
    found = judge((true > 0).astype(np.uint8), (true > 0).astype(np.uint8), 2, true, true)
    assert found.overlaps[0].dice == 1
    assert found.objects is not None
    assert found.objects.f1() == 1


def touching() -> tuple[np.ndarray, np.ndarray]:
    """Two squares that share an edge, as a network says them with boundary, and with distance."""
    shape = (14, 24)
    inside = box(shape, 3, 3, 8, 7).astype(float) + box(shape, 3, 12, 8, 8)
    all_of_it = box(shape, 2, 2, 10, 20).astype(float)
    boundary = np.stack([1 - all_of_it, inside, all_of_it - inside])
    distance = np.stack([1 - all_of_it, all_of_it, 0.2 * all_of_it + 0.7 * inside])
    return boundary, distance


@pytest.mark.parametrize("number", [0, 1], ids=["boundary", "distance"])
def test_touching_objects_are_parted(number):
    outputs, last = touching()[number], ("boundary", "distance")[number]
    found = label_image(outputs, ("background", "cell", last), {"seed": 0.5})
    assert found.dtype == np.int32
    assert np.unique(found).tolist() == [0, 1, 2]
    assert (found > 0).sum() == 200  # with their boundaries
    assert found[5, 4] == 1
    assert found[5, 18] == 2


def test_an_object_without_a_seed_stays_and_a_small_one_goes():
    outputs, _ = touching()
    outputs = np.concatenate([outputs, np.zeros((3, 14, 10))], 2)
    outputs[0, :, 24:] = 1
    outputs[:, 5:8, 27:30] = np.array([0, 0, 1])[:, None, None]  # boundary only
    names = ("background", "cell", "boundary")
    assert label_image(outputs, names).max() == 3
    found = label_image(outputs, names, {"smallest_px": 10})
    assert found.max() == 2
    assert (found[:, 24:] == 0).all()
    assert label_image(np.stack([np.ones((4, 4)), *np.zeros((2, 4, 4))]), names).max() == 0


def test_classes_are_no_objects():
    with pytest.raises(NetworkError, match="boundary or distance"):
        label_image(np.zeros((3, 4, 4)), ("background", "left", "right"))


def test_where_all_is_right_the_interval_is_no_point():
    found = report(entries(8, 8), [judged(10, 10, 10)] * 8, ["a"])
    dice = found.figure("Dice of a (mean of images)")
    assert (dice.value, dice.high) == (1, 1)
    assert dice.low == pytest.approx(0.6756, abs=1e-4)  # Wilson of 8 of 8
    assert "Wilson over patients" in dice.method


def test_thousands_of_objects_are_matched_without_a_table_of_all_pairs():
    side = 100
    true = np.kron(np.arange(1, side**2 + 1, dtype=np.int32).reshape(side, side), np.ones((4, 4), np.int32))
    said = true.copy()
    said[::4] = 0  # three of four rows of each: IoU 0.75
    found = match(true, said)
    assert (found.true, found.said) == (side**2, side**2)
    assert found.right == (side**2,) * 6 + (0,) * 4
