"""Formula pictures: the published rule, drawn faster; the same everywhere; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mikata
import published_fractals as published
from mikata import datasets, fractals, images
from mikata.errors import Cancelled, MikataError, OutputError, ParameterError
from mikata.fractals import Style, System, orbits, picture, pictures, streams, system, workers
from mikata.fractals.systems import WEIGHTS, filling_rate
from mikata.types import Progress

POINTS = 100_000
WORDS = [1348931751, 2307578337, 1683131306]
SHARES = [0.9429375528828794, 0.3163371523854981]
PICTURES = "eb3f651990d63c4210860efc8b5dc06f3987e1fdcc12e328ade43bb0b66887d1"


@pytest.fixture(scope="module")
def found() -> tuple[System, ...]:
    return fractals.first_systems(4, 0)


def cuts(one: System) -> NDArray[np.uint32]:
    return orbits.thresholds(np.array(one.probabilities))


def ours(one: System, key: int, count: int = POINTS) -> NDArray[np.float32]:
    return orbits.orbit(np.array(one.maps), cuts(one), one.lead_ins[0], count, streams.stream(99, key))


def theirs(one: System, key: int, size: int = 512) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    xs, ys = published.play(one.maps, one.probabilities, POINTS, np.random.default_rng(key))
    return published.pixels(xs, ys, size)


class Stop(Progress):
    """Asks to stop after some words."""

    def __init__(self, after: int) -> None:
        self.left = after

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        self.left -= 1

    @property
    def cancelled(self) -> bool:
        return self.left < 0


# the rule


def test_systems_keep_the_rule(found: tuple[System, ...]) -> None:
    for number, one in enumerate(found):
        maps = np.array(one.maps)
        assert one.number == number
        assert 2 <= len(maps) <= 7
        assert maps.shape == (len(maps), 6)
        assert np.abs(maps).max() < 1
        areas = np.abs(np.linalg.det(maps[:, :4].reshape(-1, 2, 2)))
        np.testing.assert_allclose(one.probabilities, areas / areas.sum(), rtol=1e-12)
        assert one.filling_rate >= 0.2
        assert one.lead_ins[0] > 0
        assert len(one.lead_ins) == len(WEIGHTS) == 25
        assert one.variations[0] == 0
    assert len({one.maps for one in found}) == len(found)


def test_the_plain_rule_keeps_them_too(found: tuple[System, ...]) -> None:
    for one in found:
        columns, rows = theirs(one, 1)
        hit = np.zeros((512, 512), bool)
        hit[rows, columns] = True
        # another orbit of the same system: its rate differs by chance, and by the box that its outliers span
        assert hit.mean() == pytest.approx(one.filling_rate, rel=0.08)


def test_a_system_is_a_function_of_seed_and_number(found: tuple[System, ...]) -> None:
    code = "from mikata.fractals import system; print(repr(system(0, 2)))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    alone = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert alone.stdout.strip() == repr(found[2])
    assert system(1, 2).maps != found[2].maps


def test_the_search_decides_as_the_plain_rule_does() -> None:
    """For candidates kept and dropped: the rates of two orbits differ by chance (standard deviation 0.006 at most)."""
    from mikata.fractals.systems import _hopeless

    rng = np.random.default_rng(7)
    kept = dropped = 0
    while kept < 2 or dropped < 12:
        maps, probabilities = published.candidate(rng)
        thresholds = orbits.thresholds(probabilities)
        lead_in = orbits.settled(maps, thresholds)
        rate = 0.0
        if lead_in is not None:
            rate = filling_rate(orbits.orbit(maps, thresholds, lead_in, POINTS, streams.stream(1, kept)))
        if rate < 0.2 and dropped >= 12:
            continue
        with np.errstate(all="ignore"):
            columns, rows = published.pixels(
                *published.play(maps.tolist(), probabilities.tolist(), POINTS, rng), 512
            )
        hit = np.zeros((512, 512), bool)
        hit[rows % 512, columns % 512] = True
        assert hit.mean() == pytest.approx(rate, abs=0.03)
        if rate >= 0.2:
            kept += 1
            assert lead_in is not None
            assert not _hopeless(maps, thresholds, lead_in, streams.stream(2, kept))
        else:
            dropped += 1


@pytest.mark.slow
def test_filling_rates_are_distributed_as_the_plain_rules(found: tuple[System, ...]) -> None:
    """60 plain chains of 100,000 points (side by side, each by itself) against 200 orbits of ours."""
    from scipy.stats import ks_2samp

    for one in found[:2]:
        maps = np.array(one.maps)
        shares = np.cumsum(one.probabilities)[:-1]
        rng = np.random.default_rng(1)
        points = np.zeros((2, POINTS, 60))
        for step in range(1, POINTS):
            a, b, c, d, e, f = maps[np.searchsorted(shares, rng.random(60))].T
            x, y = points[:, step - 1]
            points[:, step] = a * x + b * y + e, c * x + d * y + f
        plain = []
        for chain in range(60):
            columns, rows = published.pixels(points[0, :, chain].tolist(), points[1, :, chain].tolist(), 512)
            plain.append(len(np.unique(rows.astype(int) * 512 + columns)) / 512**2)
        fast = [filling_rate(ours(one, key)) for key in range(200)]
        assert np.mean(fast) == pytest.approx(np.mean(plain), abs=0.003)
        assert ks_2samp(plain, fast).pvalue > 1e-3


def test_a_system_that_runs_away_has_no_orbit() -> None:
    one_map = np.array([[0.99, 0, 0, 0.99, 0.5, 0.5], [1.5, 0, 0, 1.5, 0, 0]])
    assert orbits.settled(one_map, orbits.thresholds(np.array([0.1, 0.9]))) is None
    # a contraction by a half: 10 halvings are below 1e-3, seen at every fourth step
    half = np.array([[0.5, 0, 0, 0.5, 0.5, 0.0], [0.5, 0, 0, 0.5, 0.0, 0.5]])
    assert orbits.settled(half, orbits.thresholds(np.array([0.5, 0.5]))) == 12


def test_random_words_never_change() -> None:
    """What every system and picture hangs on, whatever NumPy's version."""
    source = streams.stream(5, streams.PICTURE, 3, 1)
    assert streams.words(source, 3).tolist() == WORDS
    assert streams.uniform(streams.stream(0, 0), 2).tolist() == SHARES


# the fast orbit against the plain one


def test_an_orbit_of_known_shape() -> None:
    """Sierpinski's triangle: its moments and its holes are known exactly."""
    maps = np.array([[0.5, 0, 0, 0.5, e, f] for e, f in ((0, 0), (0.5, 0), (0, 0.5))])
    shares = orbits.thresholds(np.full(3, 1 / 3))
    x, y = orbits.orbit(maps, shares, 16, 200_000, streams.stream(0, 1)).astype(float)
    assert (x.min(), y.min()) == (0, 0)  # the start is drawn
    # the fixed point of m = (m + shift) / 2, and of the second moments alike: E x = 1/3, E x^2 = 4/27 + ...
    assert x.mean() == pytest.approx(1 / 3, abs=0.003)
    assert y.mean() == pytest.approx(1 / 3, abs=0.003)
    assert x.var() == pytest.approx(2 / 27, abs=0.001)
    assert np.cov(x, y)[0, 1] == pytest.approx(-1 / 27, abs=0.001)
    inside = (x + y > 0.51) & (x < 0.49) & (y < 0.49)
    assert not inside.any()  # the hole in the middle


def test_the_first_chain_is_drawn_from_its_start(found: tuple[System, ...]) -> None:
    one = found[0]
    points = ours(one, 1).astype(float)
    assert points[:, 0].tolist() == [0, 0]
    for before, after in zip(points.T[:40], points.T[1:41], strict=True):
        images_of = [(a * before[0] + b * before[1] + e, c * before[0] + d * before[1] + f)
                     for a, b, c, d, e, f in one.maps]  # fmt: skip
        assert np.abs(np.array(images_of) - after).sum(axis=1).min() < 1e-5


def test_maps_are_drawn_with_their_probabilities() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = orbits._chosen(streams.stream(3, 1), orbits.thresholds(probabilities), 400_000)
    counts = np.bincount(drawn, minlength=4)
    spread = np.sqrt(400_000 * probabilities * (1 - probabilities))
    assert (np.abs(counts - 400_000 * probabilities) < 4 * spread).all()


def test_the_density_is_the_plain_ones(found: tuple[System, ...]) -> None:
    """Cells of 32 x 32 over the plain box: the two orbits differ no more than two plain ones do."""
    from scipy.stats import chi2_contingency, ks_2samp

    for one in found[:2]:
        plain = np.array(published.play(one.maps, one.probabilities, POINTS, np.random.default_rng(4)))
        fast = ours(one, 2).astype(float)
        edges = [np.linspace(low, high, 25) for low, high in zip(plain.min(1), plain.max(1), strict=True)]
        # points of one chain depend on their neighbours; every 20th does not
        sparse = [points[:, 200::20] for points in (plain, fast)]
        counts = np.array([np.histogram2d(*points, bins=edges)[0].ravel() for points in sparse])
        counts = counts[:, counts.sum(axis=0) >= 10]
        assert counts.shape[1] > 100
        assert chi2_contingency(counts).pvalue > 1e-3
        for axis in range(2):
            assert ks_2samp(sparse[0][axis], sparse[1][axis]).pvalue > 1e-3


def test_as_many_pixels_are_hit_as_by_the_plain_ones(found: tuple[System, ...]) -> None:
    """By 3 orbits each in the same box, which chance sets: means within 1 %."""
    one = found[1]
    low, high = ours(one, 1, 1_000_000)[:, 100:].min(1), ours(one, 1, 1_000_000)[:, 100:].max(1)

    def hit(points: NDArray[np.floating]) -> int:
        column, row = np.clip((points - low[:, None]) / (high - low)[:, None] * 499, 0, 499).astype(int)
        return len(np.unique(row * 500 + column))

    plain = [
        hit(np.array(published.play(one.maps, one.probabilities, POINTS, np.random.default_rng(k))))
        for k in range(3)
    ]
    fast = [hit(ours(one, key)) for key in range(3)]
    assert np.mean(fast) == pytest.approx(np.mean(plain), rel=0.01)


def test_pixels_are_the_plain_ones_for_the_same_points() -> None:
    points = np.random.default_rng(3).normal(size=(2, 5000)).astype(np.float32)
    points[:, 0] = 0
    columns, rows = published.pixels(points[0].astype(float).tolist(), points[1].astype(float).tolist(), 362)
    where = orbits.cells(points, (362, 362), 6)
    # 32 bits here, 64 there: a point on a pixel's edge may fall to its neighbour
    assert (where == rows.astype(int) * 362 + columns).mean() > 0.999


# pictures


def test_patches_are_pasted_like_the_plain_ones() -> None:
    """The same points, masks and order: the same picture, overlaps included."""
    from mikata.fractals.drawing import _patches

    rng = np.random.default_rng(5)
    columns, rows = rng.integers(4, 36, (2, 700)).astype(np.uint16)
    order = random.Random(8)
    masks = np.array([order.randrange(1, 512) for _ in range(700)])
    expected = published.patches_picture(columns, rows, 40, random.Random(8))[::-1, :, 0]
    # their first bit is the mask's highest
    turned = np.array([int(f"{mask:09b}"[::-1], 2) for mask in masks], np.int32)
    drawn_by = _patches(rows.astype(np.intp) * 40 + columns, (40, 40), turned)
    np.testing.assert_array_equal(np.where(drawn_by < 0, 0, 127), expected)


@pytest.mark.parametrize("dots", ["patch", "point"])
def test_a_picture_looks_like_the_plain_one(found: tuple[System, ...], dots: str) -> None:
    """Shares of lit pixels in blocks of 16 x 16, where the boxes of the two orbits agree."""
    one = found[2]
    columns, rows = theirs(one, 3, 256)
    if dots == "patch":
        plain = published.patches_picture(columns[:20_000], rows[:20_000], 256, random.Random(1))
    else:
        plain = published.points_picture(columns[:20_000], rows[:20_000], 256)
    style = Style((256, 256), dots=dots, points=20_000)  # type: ignore[arg-type]
    fast = picture(one, 0, style, 0)
    assert fast.mean() == pytest.approx(plain.mean(), rel=0.08)
    blocks = [image.reshape(16, 16, 16, 16).mean(axis=(1, 3)).ravel() for image in (fast, plain[..., 0])]
    assert np.corrcoef(*blocks)[0, 1] > 0.9


def test_values_and_shapes(found: tuple[System, ...]) -> None:
    grey = picture(found[0], 0, Style((120, 200)), 0)
    assert (grey.shape, grey.dtype) == ((120, 200), np.uint8)
    assert set(np.unique(grey)) == {0, 127}
    colour = picture(found[0], 0, Style((120, 200), colour=True), 0)
    assert colour.shape == (120, 200, 3)
    np.testing.assert_array_equal(colour.max(axis=2) > 0, grey > 0)  # the same dots
    assert len(np.unique(colour.reshape(-1, 3), axis=0)) > 100
    assert colour.max() == 191  # 0.75 of 255
    for size in (16, 33, 96):
        small = picture(found[0], 3, Style((size, size)), 0)
        assert small.mean() > 1
    for edge in (small[:2], small[-7:], small[:, :7], small[:, -2:]):  # 6 pixels, and the patch's 1 to 3 off
        assert not edge.any()


def test_weights_and_flips_are_published_ones(found: tuple[System, ...]) -> None:
    one = found[0]
    count = len(one.variations)
    style = Style((128, 128), dots="point")
    plain, top, left, both = (picture(one, k * count, style, 0).astype(float) for k in range(4))

    def alike(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        return float(np.corrcoef(*(c.reshape(16, 8, 16, 8).mean(axis=(1, 3)).ravel() for c in (a, b)))[0, 1])

    assert alike(plain, top[::-1]) > 0.9
    assert alike(plain, left[:, ::-1]) > 0.9
    assert alike(plain, both[::-1, ::-1]) > 0.9
    assert alike(plain, top) < 0.9
    assert alike(plain, picture(one, 1, style, 0).astype(float)) < 0.9


def test_weights_that_run_away_are_left_out() -> None:
    fractured = next(one for one in map(lambda k: system(0, k), range(20)) if len(one.variations) < 25)  # noqa: C417
    left_out = next(row for row in range(25) if row not in fractured.variations)
    weighted = np.array(fractured.maps) * WEIGHTS[left_out]
    assert orbits.settled(weighted, cuts(fractured)) is None
    for index in range(25):
        assert picture(fractured, index, Style((64, 64), points=5000), 0).any()


def test_perturbed_pictures_are_one_picture_bent(found: tuple[System, ...]) -> None:
    style = Style((128, 128), variation="perturbed")
    drawn = [picture(found[3], index, style, 0) for index in range(6)]
    assert len({one.tobytes() for one in drawn}) == 6
    shares = [(one > 0).mean() for one in drawn]
    assert max(shares) < 2 * min(shares)


# the same everywhere


def test_pictures_are_the_same_with_any_number_of_processes() -> None:
    alone = pictures(3, 70, 48, 0, cores=1, points=2000)
    assert alone.shape == (210, 48, 48)
    for cores in (2, 3):
        np.testing.assert_array_equal(pictures(3, 70, 48, 0, cores=cores, points=2000), alone)
    # another order, other neighbours, one at a time
    later = pictures(2, 5, 48, 0, first=65, cores=1, points=2000)
    np.testing.assert_array_equal(later[5:], alone[70 + 65 : 140])
    one = picture(system(0, 2), 33, Style((48, 48), points=2000), 0)
    np.testing.assert_array_equal(one, alone[2 * 70 + 33])
    assert len({image.tobytes() for image in alone}) == 210


def test_a_picture_never_changes() -> None:
    """Weights are given on with a record of seed and style: on every machine the same pictures come of it."""
    drawn = [
        picture(system(0, 0), 7, Style((64, 80), variation, dots, colour, 5000), 0).tobytes()  # type: ignore[arg-type]
        for variation in ("weights", "perturbed")
        for dots in ("patch", "point")
        for colour in (False, True)
    ]
    assert hashlib.sha256(b"".join(drawn)).hexdigest() == PICTURES


def test_stopping_ends_the_processes() -> None:
    with pytest.raises(Cancelled):
        pictures(2, 400, 64, 0, cores=2, progress=Stop(4))
    with pytest.raises(Cancelled):
        pictures(1, 300, 64, 0, cores=1, progress=Stop(2))


def test_a_process_that_dies_is_said() -> None:
    with pytest.raises(MikataError, match=r"ended by itself \(exit code 3\)"):
        list(workers.spread(os._exit, [3, 3], 2, Progress()))


def test_an_error_in_a_process_comes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(workers.spread(divmod_of_zero, [1, 2], 2, Progress()))
    assert "In a drawing process" in caught.value.__notes__[0]


def divmod_of_zero(number: int) -> tuple[int, int]:
    return divmod(number, 0)


def test_a_script_without_a_guard_may_draw(tmp_path: Path) -> None:
    """Where `multiprocessing` spawns, such a script fails; ours runs it once."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\nfrom mikata.fractals import pictures\n"
        "print(pictures(2, 40, 32, 0, cores=2, points=1000).shape)\n",
        encoding="utf-8",
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["once", "(80, 32, 32)"]
    assert done.stderr == ""


# bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": 0}, "0 classes"),
        ({"per_class": 0}, "0 formula pictures a class"),
        ({"first": -1}, "from number -1"),
        ({"size": 8}, "8 x 8 pixels"),
        ({"size": (64, 100_000)}, "64 x 100000 pixels"),
        ({"seed": -1}, "seed of the formula pictures is -1"),
        ({"variation": "other"}, "'other'; choose one of weights, perturbed"),
        ({"dots": "line"}, "'line'; choose one of patch, point"),
        ({"points": 10}, "10 points"),
        ({"cores": -1}, "-1 cores"),
    ],
)
def test_what_cannot_be_drawn(change: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        pictures(**{"classes": 1, "per_class": 1, "size": 32, "seed": 0} | change)  # type: ignore[arg-type]


def test_numbers_below_zero(found: tuple[System, ...]) -> None:
    with pytest.raises(ParameterError, match="no class -1"):
        system(0, -1)
    with pytest.raises(ParameterError, match="no picture -1"):
        picture(found[0], -1, Style(), 0)


def test_too_much_for_the_memory(found: tuple[System, ...]) -> None:
    with pytest.raises(MikataError, match=r"need \d+\.\d GB"):
        pictures(4, 10**12, 16384, 0)


# the command


def drawn_by_command(folder: Path, **options: object) -> mikata.Result:
    values = {"classes": 3, "per_class": 2, "size_px": 48, "points": 2000} | options
    return mikata.formula(out=folder, **values)  # type: ignore[arg-type]


def test_the_command_writes_what_a_training_reads(hard_path: Path) -> None:
    folder = hard_path / "fractals"
    result = drawn_by_command(folder, per_class=4)
    assert result.message == f"12 pictures of 3 fractal classes are in {folder}."
    assert result.files == (folder, folder / "formula.json")
    (shown,) = result.images
    assert (shown.axes, shown.array.shape) == ("YX", (48, 3 * 48))
    data = datasets.read(folder)
    assert [entry.label for entry in data.entries] == [f"class_000{k}" for k in (1, 2, 3) for _ in range(4)]
    first = images.read(folder / "class_0002" / "image_0003.png")
    np.testing.assert_array_equal(first.array, picture(system(0, 1), 2, Style((48, 48), points=2000), 0))
    np.testing.assert_array_equal(
        shown.array[:, 48:96], images.read(folder / "class_0002" / "image_0001.png").array
    )


def test_the_record_suffices_to_draw_again(tmp_path: Path) -> None:
    drawn_by_command(tmp_path / "a", seed=5, variation="perturbed", colour=True)
    record = json.loads((tmp_path / "a" / "formula.json").read_text(encoding="utf-8"))
    assert record["rule"]["kept_from_filling_rate"] == 0.2
    style = Style(
        tuple(record["size_px"]), record["variation"], record["dots"], record["colour"], record["points"]
    )
    for number, written in enumerate(record["systems"]):
        again = system(record["seed"], number)
        assert [list(row) for row in again.maps] == written["maps"]
        assert list(again.probabilities) == written["probabilities"]
        file = tmp_path / "a" / written["class"] / "image_0002.png"
        np.testing.assert_array_equal(images.read(file).array, picture(again, 1, style, record["seed"]))


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "fractals"
    drawn_by_command(folder)
    with pytest.raises(OutputError, match="already there"):
        drawn_by_command(folder)
    drawn_by_command(folder, classes=2, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["class_0001", "class_0002", "formula.json"]
    # a folder of something else is not deleted, whatever was asked for
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="holds something else"):
        drawn_by_command(other, overwrite=True)
    assert (other / "thesis.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(OutputError, match="is a file"):
        drawn_by_command(other / "thesis.txt", overwrite=True)
    (tmp_path / "empty").mkdir()
    drawn_by_command(tmp_path / "empty", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "fractals", "papers"]


def test_a_stopped_command_leaves_nothing(tmp_path: Path) -> None:
    for after in (2, 5):
        with pytest.raises(Cancelled):
            mikata.formula(
                out=tmp_path / "x", classes=2, per_class=200, size_px=32, points=1000, progress=Stop(after)
            )
        assert list(tmp_path.iterdir()) == []


def test_the_montage_shows_25_classes_at_most(tmp_path: Path) -> None:
    some = [system(0, k % 4) for k in range(27)]
    shown = fractals.montage(some, Style((512, 300), points=1000, colour=True), 0)
    assert (shown.axes, shown.array.shape) == ("YXS", (5 * 224, 5 * 224, 3))
    shown = fractals.montage(some[:7], Style((32, 40), points=1000), 0)
    assert (shown.axes, shown.array.shape) == ("YX", (2 * 32, 5 * 40))
