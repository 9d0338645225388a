"""Controls of heat maps: what is measured against figures by hand, and maps that must pass or fail."""

from __future__ import annotations

import copy
import csv
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torchvision import models

from mikata import images
from mikata.architecture import SmallCNN
from mikata.errors import NetworkError
from mikata.evaluation import Interval
from mikata.evaluation.intervals import drawings, expanded
from mikata.explaining.collected import NOT_DEFINED
from mikata.explaining.controls import Candidate, Control, Controls, Figure, controls_for, section, sentence
from mikata.explaining.controls.measured import Measuring
from mikata.explaining.controls.resampling import Estimate, Resampling
from mikata.explaining.controls.sample import choose
from mikata.explanation import METHODS, heat_maps
from mikata.explanation.controls import curves, disturbed, plain_maps
from mikata.explanation.controls.explainer import MOST_CELLS, Explainer, pooled
from mikata.explanation.controls.likeness import ranks, spearman, spearman_of_all, ssim, ssim_of_all
from mikata.explanation.controls.randomised import Randomised
from mikata.images import Images
from mikata.language import speaking
from mikata.prediction import Plane
from planted import AREA, CELLS, SIZE, Finder, finder, model, planted

Formula = Callable[[Tensor, Tensor], Tensor]


def random_maps(count: int = 6, size: tuple[int, int] = (7, 9), seed: int = 0) -> NDArray[np.float64]:
    return np.maximum(np.random.default_rng(seed).normal(size=(count, *size)), 0)


# ---------------------------------------------------------------- likeness


def test_spearman_is_scipys_also_with_ties() -> None:
    first, second = random_maps(), random_maps(seed=1)
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert spearman(first, second) == pytest.approx(expected, abs=1e-12)
    assert spearman(-first, second) == pytest.approx(expected, abs=1e-12)  # of |map|
    every = spearman_of_all(first)
    assert every[0, 1] == pytest.approx(stats.spearmanr(first[0].ravel(), first[1].ravel()).statistic)
    assert np.diagonal(every) == pytest.approx(1)


def test_a_flat_map_has_no_ranks() -> None:
    maps = random_maps(3)
    maps[1] = 0.0
    maps[2] = 3.0
    assert np.isfinite(ranks(maps)[0]).all()
    assert np.isnan(spearman(maps, maps)).tolist() == [False, True, True]
    assert np.isnan(ssim(maps, random_maps(3))).tolist() == [False, True, False]


def test_ssim_is_one_for_the_same_and_needs_three_cells() -> None:
    maps = random_maps(3)
    assert ssim(maps, 5 * maps) == pytest.approx([1, 1, 1])  # each by its own largest value
    assert (ssim(maps, random_maps(3, seed=5)) < 0.6).all()
    assert np.isnan(ssim(maps[:, :2], maps[:, :2])).all()
    both = ssim_of_all(maps)
    assert np.isnan(np.diagonal(both)).all()
    assert both[0, 2] == both[2, 0] == ssim(maps[:1], maps[2:])[0]


# ---------------------------------------------------------------- insertion and deletion


WEIGHTS = np.array([[8, 1, 1, 1], [1, 4, 1, 1], [1, 1, 2, 1], [1, 1, 1, 1]], float)


def linear(images_: Tensor, classes: Sequence[int]) -> NDArray[np.float64]:
    """Sum of the cells' mean values, weighted: 1 for an image of ones."""
    cells = pooled(images_[:, 0].double().numpy(), (4, 4))
    return np.asarray((cells * WEIGHTS).sum((1, 2)) / WEIGHTS.sum(), np.float64)


def test_a_deletion_curve_by_hand() -> None:
    ones = torch.ones(2, 1, 16, 16)
    nothing = torch.zeros_like(ones)
    places = curves.order(np.stack([WEIGHTS, -WEIGHTS]), 0)
    assert places[0, 0, 0] == 0
    assert places[0, 1, 1] == 1
    assert places[0, 2, 2] == 2
    assert sorted(places[1].ravel()) == list(range(16))
    assert places[1, 0, 0] == 15
    ends = linear(ones, [0, 0]), linear(nothing, [0, 0])
    found = curves.curve(linear, nothing, ones, places, [0, 0], ends)
    counts = [0, 2, 3, 6, 8, 12, 16]  # of 16 cells: 0, 10, 20, 35, 50, 75, 100 %
    assert curves.steps((4, 4)).tolist() == counts
    falling = np.concatenate([[0], np.cumsum(sorted(WEIGHTS.ravel(), reverse=True))]) / WEIGHTS.sum()
    assert found[0] == pytest.approx(1 - falling[counts])
    rising = np.concatenate([[0], np.cumsum(sorted(WEIGHTS.ravel()))]) / WEIGHTS.sum()
    assert found[1] == pytest.approx(1 - rising[counts])
    expected = np.trapezoid(1 - falling[counts], np.array(counts) / 16)
    assert curves.area(found, (4, 4))[0] == pytest.approx(expected)
    # insertion of the same is its mirror image
    up = curves.curve(linear, ones, nothing, places, [0, 0], (ends[1], ends[0]))
    assert up == pytest.approx(1 - found)


def test_equal_cells_stand_in_random_order() -> None:
    one, other = (curves.random_order(3, (5, 5), seed) for seed in (1, 2))
    assert (one == curves.random_order(3, (5, 5), 1)).all()
    assert (one != other).any()
    assert not (one[0] == one[1]).all()
    half = np.zeros((1, 4, 4))
    half[0, :2] = 1.0
    assert sorted(curves.order(half, 0)[0, :2].ravel()) == list(range(8))


def test_the_blur_keeps_the_mean_and_loses_the_detail() -> None:
    noise = torch.randn(1, 2, 64, 48, generator=torch.Generator().manual_seed(0)) + 3
    soft = curves.blurred(noise)
    assert soft.shape == noise.shape
    assert float(soft.mean()) == pytest.approx(float(noise.mean()), abs=0.05)
    assert float(soft.std()) < 0.3 * float(noise.std())


# ---------------------------------------------------------------- small changes


def test_maps_of_moved_images_are_moved_back() -> None:
    """A map that follows its image pixel by pixel is the same again."""
    photo = torch.rand(2, 1, 40, 30, generator=torch.Generator().manual_seed(0))
    by = disturbed.shift_px((40, 30))
    assert by == 1
    assert disturbed.shift_px((512, 480)) == 3
    for shift in [*disturbed.shifts((40, 30)), (3, -2)]:
        other = disturbed.moved(photo, shift)
        down, right = shift
        assert other.shape == photo.shape
        assert torch.equal(other[0, 0, 10 + down, 12 + right], photo[0, 0, 10, 12])
        first, second = disturbed.moved_back(
            photo[:, 0].numpy(), other[:, 0].numpy(), shift, (40, 30), (8, 6)
        )
        assert first.shape == (2, 8, 6)
        assert first == pytest.approx(second, abs=1e-6)
    still, _ = disturbed.moved_back(photo[:, 0].numpy(), other[:, 0].numpy(), (0, 0), (40, 30), (40, 30))
    assert still == pytest.approx(photo[:, 0].numpy(), abs=1e-6)


def test_noise_has_the_stated_strength() -> None:
    photo = 7 * torch.randn(2, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    photo[1] *= 10
    added = disturbed.noisy(photo, 3) - photo
    assert added.std((1, 2, 3)).tolist() == pytest.approx([0.35, 3.5], rel=0.02)
    assert torch.equal(disturbed.noisy(photo, 3), photo + added)
    assert not torch.equal(disturbed.noisy(photo, 4), photo + added)


def test_plain_maps() -> None:
    picture = torch.zeros(1, 1, 40, 40)
    picture[..., 20:] = 1.0  # one edge, down the middle
    found = plain_maps.edges(picture, (5, 5))[0]
    assert found[:, 2].min() > 10 * max(found[:, :2].max(), found[:, 3:].max())
    middle = plain_maps.centre((5, 7))
    assert np.unravel_index(middle.argmax(), middle.shape) == (2, 3)
    assert middle == pytest.approx(middle[::-1, ::-1])


# ---------------------------------------------------------------- random weights


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_cascade_goes_from_the_scores_to_the_image() -> None:
    network = SmallCNN(2, 1).eval()
    before, modes = state(network), [module.training for module in network.modules()]
    photo = torch.randn(1, 1, 40, 40)
    random = Randomised(network, photo)
    assert random.layers[0] == "classifier"
    assert random.layers[-1] == "features.0"
    depths = random.depths()
    assert depths == (1, 4, 7, 10, 13)
    steps = [state(changed) for changed in random.cascade(5, depths)]
    for depth, made in zip(depths, steps, strict=True):
        kept = random.layers[depth:]
        for name, value in made.items():
            if name.rpartition(".")[0] in kept:
                assert torch.equal(value, before[name])
        assert not torch.equal(made["classifier.weight"], before["classifier.weight"])
    assert not torch.equal(steps[-1]["features.0.weight"], before["features.0.weight"])
    whole = next(state(changed) for changed in random.cascade(5, depths[-1:]))
    assert all(torch.equal(whole[name], steps[-1][name]) for name in whole)  # one seed, one network
    other = next(state(changed) for changed in random.cascade(6, depths[-1:]))
    assert not torch.equal(other["features.0.weight"], whole["features.0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_all_that_was_learnt_is_taken_away(name: str) -> None:
    torch.manual_seed(0)
    network = (
        models.resnet18(num_classes=3)
        if name == "resnet18"
        else models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    )
    with torch.no_grad():
        for value in [*network.parameters(), *network.buffers()]:
            if value.is_floating_point():
                value.add_(0.3 * torch.rand_like(value) + 0.1)  # nothing is as a network starts
    photo = torch.randn(2, 3, 32, 32)
    random = Randomised(network.eval(), photo[:1])
    assert random.layers[0] == ("fc" if name == "resnet18" else "heads.head")
    before = state(network)
    (changed,) = random.cascade(0, random.depths()[-1:])
    for key, value in changed.state_dict().items():
        assert key.endswith("num_batches_tracked") or not torch.equal(value, before[key]), key
    scores = changed(photo)
    assert torch.isfinite(scores).all()
    assert not torch.equal(scores[0], scores[1])  # signals do not die on their way


def test_members_of_an_ensemble_are_taken_side_by_side() -> None:
    from mikata.architecture import make_network

    network = make_network("2 x small_cnn", 2, 1).eval()
    random = Randomised(network, torch.randn(1, 1, 40, 40))
    assert set(random.layers[:2]) == {"members.0.1.classifier", "members.1.1.classifier"}


# ---------------------------------------------------------------- figures and outcomes


def test_outcomes_by_the_stated_rule() -> None:
    def verdict(value: float, low: float, high: float, limit: float, wanted: Any) -> str:
        return Figure("x", Estimate(value, Interval(low, high, ""), 9, 9), limit, wanted).verdict

    assert verdict(0.3, 0.1, 0.5, 0.0, "above") == "passed"
    assert verdict(0.3, -0.1, 0.5, 0.0, "above") == "undecided"
    assert verdict(-0.1, -0.3, 0.5, 0.0, "above") == "failed"
    assert verdict(0.0, 0.0, 0.0, 0.0, "above") == "failed"  # the same as the edge detector
    assert verdict(0.3, 0.1, 0.45, 0.5, "below") == "passed"
    assert verdict(0.3, 0.1, 0.55, 0.5, "below") == "undecided"
    assert verdict(0.6, 0.1, 0.9, 0.5, "below") == "failed"
    assert verdict(0.6, math.nan, math.nan, 0.5, "below") == "not defined"
    good = Figure("a", Estimate(0.3, Interval(0.1, 0.5, ""), 9, 9), 0.0, "above")
    bad = Figure("b", Estimate(-0.3, Interval(-0.5, -0.1, ""), 9, 9), 0.0, "above")
    shown = Figure("c", Estimate(-0.3, Interval(-0.5, -0.1, ""), 9, 9))
    assert Control("deletion", (good, shown)).status == "passed"
    assert Control("deletion", (good, bad)).status == "failed"
    assert Control("deletion", (shown,)).status == "not defined"


def test_intervals_resample_patients_and_networks() -> None:
    random = np.random.default_rng(0)
    names = [f"p{n // 2}" for n in range(16)]
    values = np.repeat(random.normal(0.5, 0.2, 8), 2)
    sampled = Resampling(names, "patient", 4)
    found = sampled.mean(values)
    draws = np.concatenate(list(drawings(8, seed=4, size=16)), axis=1)
    expected = expanded((np.repeat(draws, 2, axis=0) * values[:, None]).sum(0) / 16, 8)
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert (found.n, found.n_units) == (16, 8)
    few = values.copy()
    few[6:] = np.nan
    assert math.isnan(sampled.mean(few).interval.low)  # three patients
    assert sampled.mean(few).value == pytest.approx(values[:6].mean())
    # all images meet the same networks: what differs between those widens the interval
    likeness = np.tile(random.normal(0, 0.3, 8)[:, None], (1, 16))
    others = np.full((16, 16), 0.1)
    np.fill_diagonal(others, 1.0)
    alike, unlike, difference = sampled.crossed(likeness, others)
    assert alike.value == pytest.approx(likeness.mean())
    assert unlike.value == pytest.approx(0.1)
    assert difference.value == pytest.approx(likeness.mean() - 0.1)
    assert alike.interval.high - alike.interval.low > 0.2
    assert sampled.mean(likeness.mean(0)).interval.high == pytest.approx(likeness.mean())
    # two images of one patient are not different ones
    others[0, 1] = others[1, 0] = 0.9
    assert sampled.crossed(likeness, others)[1].value == pytest.approx(0.1)


def test_networks_without_heat_do_not_count_for_an_image() -> None:
    sampled = Resampling([f"p{n}" for n in range(6)], "image", 0)
    others = np.eye(6)
    likeness = np.full((3, 6), 0.6)
    likeness[0, 2] = np.nan
    assert sampled.crossed(likeness, others)[0].value == pytest.approx(0.6)
    likeness[:, 2] = np.nan  # none of them left anything of this map
    assert sampled.crossed(likeness, others)[0].value == pytest.approx(0.5)
    others[1] = others[:, 1] = np.nan  # this image's own map has no heat
    assert sampled.crossed(likeness, others)[0].n == 5


def test_planes_are_spread_over_classes_and_patients() -> None:
    candidates = [
        Candidate(Plane(f"{group}{n}", 1, 1, 8, 8), 0, group, f"{group}{n // 10}")
        for group, count in (("a", 100), ("b", 30), ("c", 2))
        for n in range(count)
    ]
    found = choose(candidates, 12, 0)
    assert Counter(one.group for one in found) == {"a": 5, "b": 5, "c": 2}
    assert len({one.patient for one in found if one.group == "a"}) == 5
    assert Counter(one.patient for one in found if one.group == "b").most_common(1)[0][1] == 2  # of three
    assert found == choose(candidates, 12, 0)
    assert found != choose(candidates, 12, 1)
    assert choose(candidates[:7], 12, 0) == candidates[:7]


# ---------------------------------------------------------------- the whole report


def source(count: int = 40, seed: int = 5) -> Images:
    pictures, _, _ = planted(count, seed)
    return Images.of([
        images.from_array(100 + 20 * one[0].numpy(), "YX", title=f"film {n}") for n, one in enumerate(pictures)
    ])  # fmt: skip


def candidates(own: Images, *, marked: bool = True) -> list[Candidate]:
    """The images with the mark (every second one), or all; two images of each patient."""
    return [
        Candidate(Plane(name, 1, 1, SIZE, SIZE), n % 2, n % 2, f"p{n // 2}")
        for n, name in enumerate(own.names)
        if n % 2 or not marked
    ]


def as_method(formula: Formula) -> Any:
    """What `METHODS` holds: the formula itself, or with what is known of it."""
    try:
        from mikata.explanation.methods import Method
    except ImportError:
        return formula
    return Method(lambda: "a test", formula=formula)


def edge_detector(activations: Tensor, gradients: Tensor) -> Tensor:
    """Of the layer that gives the image as it is: a map that no weight has a part in."""
    return torch.from_numpy(plain_maps.edges(activations, (CELLS, CELLS))).float()[:, None]


def blob(activations: Tensor, gradients: Tensor) -> Tensor:
    middle = torch.from_numpy(plain_maps.centre((CELLS, CELLS))).float()
    return middle.expand(len(activations), 1, CELLS, CELLS).clone()


@pytest.fixture(scope="module")
def passing() -> Controls:
    own = source()
    return controls_for(model(finder()), own, candidates(own), layer="features")


def test_a_network_that_finds_the_mark_passes(passing: Controls) -> None:
    outcomes = {one.name: one.status for one in passing.controls}
    assert outcomes == dict.fromkeys(
        ("weight randomisation", "deletion", "insertion", "simple maps", "stability"), "passed"
    )
    random = passing.control("weight randomisation")
    assert abs(random.figure("likeness to random weights").estimate.value) < 0.2
    assert passing.control("deletion").figure("random orders less map").estimate.value > 0.3
    assert (passing.n_images, passing.n_units, passing.unit, passing.n_all) == (12, 12, "patient", 20)
    said = sentence(passing)
    assert said.startswith("The heat maps passed these controls: weight randomisation, deletion")
    assert "right" not in said
    assert "Failed" not in said


def test_the_report_has_a_table_curves_and_pictures(passing: Controls) -> None:
    table = passing.table()
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert all(len(row) == len(table.columns) for row in table.rows)
    judged = [row for row in rows if row["verdict"]]
    assert {row["verdict"] for row in judged} == {"passed"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in judged)
    assert {row["n_patients_resampled"] for row in judged} == {12}
    drawn = passing.curve_table()
    lines = [dict(zip(drawn.columns, row, strict=True)) for row in drawn.rows]
    falling = [row["mean"] for row in lines if (row["control"], row["curve"]) == ("deletion", "map")]
    assert len(falling) == len(curves.SHARES)
    assert falling[0] > 0.9
    assert falling[-1] < 0.1
    depth = [row for row in lines if row["curve"] == "rank correlation"]
    assert next(row["mean"] for row in depth) == 1
    assert depth[-1]["share"] == 1
    assert depth[-1]["mean"] < 0.3
    heading, html = section(passing)
    assert heading == "Controls of the heat maps"
    assert html.count("<img") == 2
    assert "never" not in html
    assert "must fall below 0.5" in html
    one = passing.examples[0]
    assert one.randomised.shape == (3, CELLS, CELLS)
    with speaking("ja"):
        assert "<img" in section(passing)[1]


def test_an_edge_detector_as_method_fails_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "Edges", as_method(edge_detector))
    own = source()
    found = controls_for(model(finder()), own, candidates(own), method="Edges", layer="image")
    random = found.control("weight randomisation")
    assert random.status == "failed"
    assert random.figure("likeness to random weights").estimate.value == pytest.approx(1)
    assert found.control("simple maps").status == "failed"
    assert found.control("deletion").status in ("failed", "undecided")
    said = sentence(found)
    assert "Failed: weight randomisation" in said
    assert "The maps stay alike when the learnt weights are taken away" in said
    assert "Do not read them as the network's reasons." in section(found)[1].replace("&#x27;", "'")


def test_the_same_map_for_every_image_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as like the maps of other images as they are like one another, and yet knows nothing of the weights."""
    monkeypatch.setitem(METHODS, "Blob", as_method(blob))
    own = source()
    found = controls_for(model(finder()), own, candidates(own), method="Blob", layer="image")
    random = found.control("weight randomisation")
    assert random.figure("likeness to random weights less that of different images").verdict == "passed"
    assert random.status == "failed"
    assert found.control("simple maps").status == "failed"


def test_maps_by_chance_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)

    def chance(activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.rand(len(activations), 1, CELLS, CELLS, generator=generator)

    monkeypatch.setitem(METHODS, "Chance", as_method(chance))
    own = source()
    found = controls_for(model(finder()), own, candidates(own), method="Chance", layer="image")
    assert found.control("weight randomisation").status == "passed"
    assert found.control("stability").status == "failed"
    assert found.control("deletion").status in ("failed", "undecided")


def test_the_users_network_is_left_as_it_was() -> None:
    network = copy.deepcopy(finder()).train()
    before = state(network)
    own = source()
    given = model(network)
    given.classifier.network.train()
    random_state = torch.random.get_rng_state()
    controls_for(given, own, candidates(own)[:6], layer="features")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_the_same_seed_gives_the_same_report(passing: Controls) -> None:
    own = source()
    again = controls_for(model(finder()), own, candidates(own), layer="features", batch=5)
    first, second = passing.table().rows, again.table().rows
    for one, other in zip(first, second, strict=True):
        assert [value for value in one if not isinstance(value, float)] == [
            value for value in other if not isinstance(value, float)
        ]
        assert [value for value in one if isinstance(value, float)] == pytest.approx(
            [value for value in other if isinstance(value, float)], abs=1e-4
        )


def test_images_whose_score_has_nowhere_to_fall_are_left_out() -> None:
    own = source()
    found = controls_for(model(finder()), own, candidates(own, marked=False), layer="features")
    control = found.control("deletion")
    estimate = control.figure("random orders less map").estimate
    assert estimate.n == 6  # grey looks like an image without the mark
    assert "6 of 12 images are left out" in control.note
    plain = [one for one in candidates(own, marked=False) if one.explained == 0]
    none = controls_for(model(finder()), own, plain, layer="features")
    assert none.control("deletion").status == "not defined"
    assert "covering says nothing about them" in section(none)[1]
    assert "Fewer than 5 independent patients or images are left to judge by." in section(none)[1]
    assert "Not defined: deletion" in sentence(none)


def test_images_of_several_sizes() -> None:
    pictures, _, _ = planted(12, 5)
    sizes = [(96, 96), (96, 80), (72, 96)]
    made = [
        images.from_array(
            100 + 20 * one[0].numpy()[: sizes[n % 3][0], : sizes[n % 3][1]], "YX", title=f"film {n}"
        )
        for n, one in enumerate(pictures)
    ]
    given = dataclasses.replace(model(finder()), size=(64, 64))
    own = Images.of(made)
    chosen = [Candidate(Plane(name, 1, 1, 0, 0), 1, 0) for name in own.names]
    found = controls_for(given, own, chosen, layer="features")
    assert (found.n_images, found.n_units, found.unit) == (12, 12, "image")
    assert found.control("stability").figure("likeness after noise").estimate.n == 12
    assert found.examples[0].original.shape == (9, 10)


def test_few_images_are_not_judged() -> None:
    own = source(8)
    found = controls_for(model(finder()), own, candidates(own))
    assert found.controls == ()
    assert "they need images with heat of at least 5 patients; here are 4" in sentence(found)
    assert section(found)[1].startswith("<p>The controls of the heat maps were not made")
    planes = [Candidate(Plane("film 1", n, 1, SIZE, SIZE), 1) for n in range(1, 9)]  # a stack
    assert (
        "at least 5 independent images with heat; here are 1"
        in controls_for(model(finder()), own, planes).not_run
    )


class Fixed(nn.Module):
    """A network without any weights."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
        self.features = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.nn.functional.conv2d(x, self.filters, stride=8)
        return self.features(maps).mean((2, 3))[:, :2]  # type: ignore[no-any-return]


def test_a_network_without_weights_and_one_without_heat() -> None:
    own = source()
    found = controls_for(model(Fixed()), own, candidates(own)[:6], layer="features")
    assert found.control("weight randomisation").status == "not defined"
    assert "no weights that could be taken away" in section(found)[1]
    silent = copy.deepcopy(finder())
    with torch.no_grad():
        silent.classifier.weight.zero_()
    none = controls_for(model(silent), own, candidates(own)[:6], layer="features")
    assert {one.status for one in none.controls} == {"not defined"}
    assert "passed no control" in sentence(none)
    assert {row[3] for row in none.table().rows} >= {NOT_DEFINED}


def test_a_network_that_gives_a_value() -> None:
    network = copy.deepcopy(finder())
    with torch.no_grad():
        head = nn.Linear(network.classifier.in_features, 1)
        head.weight.copy_(network.classifier.weight[1:] - network.classifier.weight[:1])
        network.classifier = head
    given = model(network)
    given.classifier.target, given.classifier.unit = (60.0, 12.0), "mm"
    given = dataclasses.replace(given, classes=())
    own = source()
    chosen = [dataclasses.replace(one, explained=0) for one in candidates(own)]
    found = controls_for(given, own, chosen, layer="features")
    assert found.control("deletion").status == "passed"
    changed = found.control("stability").figure("predictions changed by noise")
    assert math.isnan(changed.estimate.value)
    assert NOT_DEFINED in found.table().rows[-1]


def test_repeated_trainings_are_compared() -> None:
    own = source()
    given, second = model(finder()), model(finder(1), "second")
    found = controls_for(given, own, candidates(own), layer="features", repeated=[second])
    control = found.control("repeated training")
    assert control.status == "passed"
    assert control.note == "2 networks were compared."
    torch.manual_seed(9)
    untrained = model(Finder().eval(), "untrained")
    found = controls_for(given, own, candidates(own), layer="features", repeated=[untrained])
    assert found.control("repeated training").status == "failed"
    assert "look at other places" in sentence(found)
    with pytest.raises(NetworkError, match="has the same weights"):
        controls_for(given, own, candidates(own), repeated=[given])
    other = dataclasses.replace(second, classes=("AP", "PA"))
    with pytest.raises(NetworkError, match="has the classes AP, PA, not plain, marked"):
        controls_for(given, own, candidates(own), repeated=[other])


def test_small_regions_fail() -> None:
    own = source()
    found = controls_for(
        model(finder()), own, candidates(own)[:6], layer="features", small={"dot": 0.4}, regions=3
    )
    assert found.control("small regions").status == "failed"
    assert "Below 2 cells are: dot (0.4)." in section(found)[1]
    found = controls_for(model(finder()), own, candidates(own)[:6], layer="features", small={}, regions=3)
    assert found.control("small regions").status == "passed"


def test_every_pass_is_counted() -> None:
    """The bar reaches its end, and not before."""
    counted = 0

    def step(count: int) -> None:
        nonlocal counted
        counted += count

    pictures, _, _ = planted(6, 5)
    network = finder()

    def maps(chosen: nn.Module | None, shown: Tensor, classes: Sequence[int]) -> Tensor:
        assert chosen is not None
        return heat_maps(chosen, shown, target=list(classes), layer="features").grid

    from mikata.explaining.controls.sample import Alike

    explainer = Explainer(network, maps, lambda shown: torch.softmax(network(shown), 1), 4, step)
    found = Measuring(6, explainer, [Alike(list(range(6)), pictures, [1] * 6)], 0)
    random = Randomised(network, pictures[:1])
    found.randomisation(random)
    found.deletion(), found.insertion(), found.moved(), found.noisy()
    assert counted == 6 * Measuring.passes(len(random.depths()))


def test_maps_of_pixels_are_averaged_to_cells() -> None:
    explainer = Explainer(None, lambda network, shown, classes: shown[:, 0], lambda shown: shown.flatten(1))
    photo = torch.rand(2, 1, 96, 20)
    found = explainer.grids(photo, [0, 0])
    assert found.shape == (2, MOST_CELLS, 20)
    assert found[0, 0, 0] == pytest.approx(float(photo[0, 0, :3, 0].mean()), rel=1e-5)


# ---------------------------------------------------------------- the planted mark


def test_heat_lies_on_the_planted_mark_and_not_without_training() -> None:
    """Grad-CAM's share on the mark, and that of 20 networks with random weights, whose mean is the mark's area."""
    network = finder()
    pictures, labels, masks = planted(40, 77)
    marked = np.flatnonzero(labels.numpy() == 1)

    def share(one: nn.Module) -> float:
        found = heat_maps(one, pictures[marked], target=1, layer="features")
        heat = found.maps.detach().double().numpy()
        totals = heat.sum((1, 2))
        kept = totals > 0
        return float(((heat * masks[marked]).sum((1, 2))[kept] / totals[kept]).mean())

    scores = network(pictures).argmax(1)
    assert torch.equal(scores, labels)
    assert share(network) > 0.8
    random = Randomised(network, pictures[:1])
    shares = [share(changed) for seed in range(20) for changed in random.cascade(seed, random.depths()[-1:])]
    defined = np.array([one for one in shares if math.isfinite(one)])
    assert len(defined) >= 15
    low, high = stats.t.interval(0.95, len(defined) - 1, defined.mean(), stats.sem(defined))
    assert low < AREA < high
    assert high < 0.3  # far from that of the trained one


def test_curves_are_written_as_csv(passing: Controls, hard_path: Any) -> None:
    from mikata.outputs import ResultFolder

    folder = ResultFolder(hard_path / "out", False, [])
    file = folder.write_table("controls.csv", passing.table())
    rows = list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))
    assert {row["control"] for row in rows} >= {"weight randomisation", "stability"}
