"""Marks against objects: hits, free-response curves, average precision, and their intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mikata.datasets import Box, Entry, Picture
from mikata.evaluation.detecting import judge, report
from mikata.evaluation.marking import AGAIN, FALSE, HIT, RATES, Curves, mark
from mikata.networks.peaks import Point, peaks

BOX = Box(0, 20, 20, 10, 10)


def point(score: float, x: float, y: float, side: float = 10, kind: int = 0) -> Point:
    return Point(kind, score, x, y, side, side)


def entry(number: int, patient: str = "") -> Entry:
    return Entry(Path(f"{number}.png"), "all", Picture(1, 100, 100, "grey", True, str(number)), patient)


def curves(images: list[tuple[list[Box], list[Point]]]) -> Curves:
    marked = [mark(boxes, points, 5) for boxes, points in images]
    return Curves(marked, np.arange(len(images)), np.ones(len(images)))


ONCE = np.ones((2, 1))


def test_the_highest_mark_hits_others_in_the_same_object_do_not_count():
    found = mark([BOX], [point(0.4, 50, 50), point(0.6, 24, 20), point(0.9, 15, 25)], 5)
    assert found.scores.tolist() == [0.9, 0.6, 0.4]
    assert found.hits.tolist() == [HIT, AGAIN, FALSE]  # the first on the box's corner, which belongs to it


def test_a_mark_in_two_objects_hits_the_nearest_that_is_free():
    large, small = Box(0, 20, 20, 40, 40), Box(0, 22, 20, 6, 6)
    found = mark([large, small], [point(0.9, 22, 20), point(0.8, 22, 21), point(0.7, 21, 20)], 5)
    assert found.hits.tolist() == [HIT, HIT, AGAIN]


def test_points_without_size_are_hit_from_near():
    found = mark([Box(0, 20, 20)], [point(0.9, 25.1, 20), point(0.8, 23, 24), point(0.7, 20, 20)], 5)
    assert found.hits.tolist() == [FALSE, HIT, AGAIN]
    assert found.sized == 0
    assert not found.overlaps.any()


def test_boxes_need_half_of_their_union():
    # the same height, shifted by a third of the width: 2/3 of a width both, 4/3 either, exactly a half
    third = Point(0, 0.9, 20 + 10 / 3, 20, 10, 10)
    more = Point(0, 0.9, 20 + 10 / 3 + 0.01, 20, 10, 10)
    assert mark([BOX], [third], 5).overlaps.tolist() == [1]
    assert mark([BOX], [more], 5).overlaps.tolist() == [0]
    assert mark([BOX], [point(0.9, 20, 20), point(0.8, 20, 20)], 5).overlaps.tolist() == [1, 0]


def test_a_free_response_curve_by_hand():
    # two images with three objects; by score: hit, false, hit, false, false, hit
    images = [
        ([BOX, Box(0, 60, 60, 10, 10)], [point(0.9, 20, 20), point(0.7, 60, 60), point(0.6, 90, 90)]),
        ([BOX], [point(0.8, 90, 90), point(0.5, 80, 80), point(0.4, 20, 20)]),
    ]
    found = curves(images).sensitivities(ONCE)[0]
    # false positives an image after each mark: 0, 1/2, 1/2, 1, 3/2, 3/2
    assert found.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert dict(zip(RATES, found, strict=True))[1.0] == pytest.approx(2 / 3)


def test_equal_scores_stand_or_fall_together():
    images = [([BOX], [point(0.5, 20, 20), *(point(0.5, 80, 9 * k) for k in range(3))]), ([], [])]
    found = curves(images).sensitivities(ONCE, (1.0, 1.5))[0]
    assert found.tolist() == [0, 1]


def test_resamples_have_their_own_thresholds():
    images = [
        ([BOX], [point(0.9, 80, 80), point(0.8, 80, 50), point(0.7, 20, 20)]),
        ([BOX], [point(0.6, 20, 20)]),
    ]
    drawn = np.array([[1.0, 2, 0], [1, 0, 2]])
    # 2 false ones in 2 images are just allowed; 4 in 2 are not
    assert curves(images).sensitivities(drawn, (1.0,))[:, 0].tolist() == [1, 0, 1]


def test_average_precision_by_hand():
    # right, wrong, right of two objects: 1 up to recall 1/2, then 2/3
    images = [([BOX], [point(0.9, 20, 20), point(0.8, 80, 80)]), ([BOX], [point(0.7, 20, 20)])]
    assert curves(images).average_precision(ONCE).tolist() == pytest.approx([0.5 + 0.5 * 2 / 3])
    # the precision of the second right one is higher than that of the first: it counts for both
    images = [([BOX], [point(0.9, 80, 80), point(0.8, 20, 20)]), ([BOX], [point(0.7, 20, 20)])]
    assert curves(images).average_precision(ONCE).tolist() == pytest.approx([2 / 3])


def test_average_precision_is_that_of_scikit_learn_where_precision_only_falls():
    from sklearn.metrics import average_precision_score

    right = [1, 1, 0, 1, 0, 0]
    points = [point(0.9 - 0.1 * k, 20 + 100 * k, 20) for k in range(6)]
    boxes = [Box(0, one.x, 20, 10, 10) for one, good in zip(points, right, strict=True) if good]
    expected = average_precision_score(right, [one.score for one in points])
    assert curves([(boxes, points), ([], [])]).average_precision(ONCE)[0] == pytest.approx(expected)


def test_a_report_has_every_class_and_says_what_is_not_known():
    classes = ("white", "red", "none")
    boxes = (BOX, Box(1, 60, 60, 10, 10))
    points = [point(0.9, 20, 20), point(0.8, 90, 20), point(0.6, 60, 60, kind=1)]
    entries = [entry(number, f"p{number % 6}") for number in range(12)]
    judged = [judge(boxes, points, 3, 5) for _ in entries]
    found = report(entries, judged, classes, score=0.7)
    assert found.leading.name == "Sensitivity at 1 false positive an image (mean of classes)"
    assert found.leading.value == 1  # the class without objects does not count
    white = found.figure("Sensitivity for white at 1 false positive an image")
    assert (white.value, white.n, white.unit) == (1, 12, "patient")  # images
    assert white.method == "Wilson over patients, since all resamples agree"
    assert white.low == pytest.approx(1 / (1 + 1.959964**2 / 6), abs=1e-4)
    assert found.figure("Sensitivity for red at the chosen score").value == 0
    assert found.figure("Precision of white at the chosen score").value == 0.5
    assert found.froc["white"][:3] == (1, 1, 1)
    assert math.isnan(found.figure("Sensitivity for none at 1 false positive an image").value)
    assert any("no object of none" in note for note in found.notes)
    assert any("which no mark" in note or "already count neither" in note for note in found.notes)
    assert found.record()["froc"]["none"] == [None] * 7
    assert found.record()["objects"] == {"white": 12, "red": 12, "none": 0}
    assert len(found.figures()) == len(found.rows)


def test_few_patients_give_no_interval_and_one_class_no_mean():
    entries = [entry(number) for number in range(4)]
    judged = [judge((BOX,), [point(0.9, 20, 20)], 1, 5) for _ in entries]
    found = report(entries, judged, ("mass",), score=0.5)
    assert found.leading.name == "Sensitivity for mass at 1 false positive an image"
    assert math.isnan(found.leading.low)
    assert found.leading.method == "none: fewer than 5 images"
    assert not any("all classes" in row.name for row in found.rows)


def test_patients_are_resampled_not_images():
    # one patient of six has all the misses
    entries = [entry(number, f"p{number % 6}") for number in range(60)]
    judged = [
        judge((BOX,), [point(0.9, 20, 20)] if number % 6 else [], 1, 5) for number in range(len(entries))
    ]
    by_patient = report(entries, judged, ("mass",), score=0.5).leading
    by_image = report([replace(one, patient="") for one in entries], judged, ("mass",), score=0.5).leading
    assert by_patient.value == by_image.value == pytest.approx(5 / 6)
    assert by_patient.high - by_patient.low > 1.5 * (by_image.high - by_image.low)


def test_peaks_work_on_bands_of_rows():
    heat = np.zeros((3, 600, 20), np.float32)
    for y in (0, 255, 256, 599):
        heat[0, y, 10] = 0.5 + y / 2000
    heat[1], heat[2] = 7, 9
    found = peaks(heat, 1, 0.5)
    assert [(one.y, one.height, one.width) for one in found] == [(599.5, 7, 9), (256.5, 7, 9), (0.5, 7, 9)]
