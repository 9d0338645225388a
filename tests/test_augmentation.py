"""Augmentation: every change checked against a direct calculation, and nothing hangs on the batch."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from labelled import write_folders
from mikata import datasets
from mikata.errors import RecipeError
from mikata.training import order
from mikata.training import recipe as recipes
from mikata.training.augmentation import augment, blurred, normal_noise, refuse_flips_of_sides
from mikata.training.stage import Augmentation

NONE = Augmentation(0, 0, 0, brightness=0)
ALL = Augmentation(
    0.3, 0.1, 0.2, True, True, True, "reflect", 0.1, 0.3, 0.3, 0.1, 1.5, 0.3
)  # fmt: skip
RANGE = (0.0, 255.0)


def draws(count: int = 1, **values: Any) -> torch.Tensor:
    table = torch.full((count, len(order.DRAWS)), 0.5)
    for name, value in values.items():
        table[:, order.DRAWS.index(name)] = torch.as_tensor(value, dtype=torch.float32)
    return table


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255


def test_draws_of_the_first_columns_are_what_they_were() -> None:
    drawn = order.draws(5, 3, 7)
    before = torch.rand(5, 8, generator=order.generator(3, 7, "augmentation"))
    assert torch.equal(drawn[:, :8], before)
    assert drawn.shape == (5, len(order.DRAWS))
    assert order.DRAWS[:8] == (
        "rotation", "shift_x", "shift_y", "brightness", "flip_horizontal", "flip_vertical", "crop_y", "crop_x",
    )  # fmt: skip
    assert not torch.equal(drawn, order.draws(5, 3, 7, "view"))


def test_quarter_turns_are_exact() -> None:
    x = pictures(4, 3, 9, 9)
    options = dataclasses.replace(NONE, quarter_turns=True)
    turned = augment(x, draws(4, quarter_turns=[0.1, 0.3, 0.6, 0.9]), options, RANGE)
    for number in range(4):
        assert torch.allclose(turned[number], x[number].rot90(number, (1, 2)), atol=1e-3), number


def test_oblong_images_are_turned_by_halves_only() -> None:
    x = pictures(4, 1, 6, 11)
    options = dataclasses.replace(NONE, quarter_turns=True, fill="lowest")
    turned = augment(x, draws(4, quarter_turns=[0.1, 0.4, 0.6, 0.9]), options, RANGE)
    assert torch.allclose(turned[:2], x[:2], atol=1e-3)
    assert torch.allclose(turned[2:], x[2:].flip((2, 3)), atol=1e-3)


def test_quarter_turn_adds_to_the_rotation() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 7] = 100
    options = dataclasses.replace(NONE, rotation_rad=np.pi / 2, quarter_turns=True, fill="lowest")
    turned = augment(x, draws(rotation=1.0, quarter_turns=0.3), options, RANGE)
    assert (turned[0, 0] > 50).nonzero().tolist() == [[4, 1]]  # two quarters: on the other side


def test_scale_shows_more_or_less() -> None:
    x = torch.zeros(2, 1, 41, 41)
    x[:, 0, 19:22, 25:28] = 100  # six pixels right of the middle
    options = dataclasses.replace(NONE, scale=0.5, fill="lowest")
    changed = augment(x, draws(2, scale=[0.0, 1.0]), options, RANGE)
    middles = [float((image[0].sum(0) * torch.arange(41)).sum() / image.sum()) for image in changed]
    assert middles == pytest.approx(
        [20 + 6 / 0.5, 20 + 6 / 1.5], abs=0.05
    )  # half as much seen: twice as far out
    areas = [float(image.sum() / 900) for image in changed]
    assert areas == pytest.approx([1 / 0.5**2, 1 / 1.5**2], rel=0.1)


@pytest.mark.parametrize("shape", [(1, 17, 23), (3, 40, 40), (1, 5, 64)])
def test_blur_is_scipys(shape: tuple[int, ...]) -> None:
    x = pictures(6, *shape)
    sigma = torch.tensor([0.0, 0.3, 1.0, 2.2, 7.5, 20.0])
    ours = blurred(x, sigma, 20.0).numpy()
    for image, own, width in zip(ours, x.numpy().astype(np.float64), sigma.tolist(), strict=True):
        expected = ndimage.gaussian_filter(own, (0, width, width)) if width else own
        assert np.abs(image - expected).max() < 1e-3
    options = dataclasses.replace(NONE, blur_px=4.0)
    once = augment(x, draws(6, blur=0.25), options, RANGE)
    assert torch.allclose(once, blurred(x, torch.ones(6), 1.0), atol=1e-3)


def test_contrast_and_gamma_are_what_they_say() -> None:
    x = pictures(3, 2, 8, 8)
    changed = augment(x, draws(3, contrast=[0.0, 0.5, 1.0]), dataclasses.replace(NONE, contrast=0.4), RANGE)
    mean = x.mean((2, 3), keepdim=True)
    factors = torch.tensor([0.6, 1.0, 1.4])[:, None, None, None]
    assert torch.allclose(changed, ((x - mean) * factors + mean).clamp(0, 255), atol=1e-3)
    ct = pictures(2, 1, 8, 8) * 8 - 1000
    low, high = -1000.0, 1040.0
    changed = augment(ct, draws(2, gamma=[0.0, 1.0]), dataclasses.replace(NONE, gamma=0.5), (low, high))
    expected = ((ct - low) / (high - low)) ** torch.tensor([0.5, 1.5])[:, None, None, None] * (
        high - low
    ) + low
    assert torch.allclose(changed, expected, atol=1e-2)


def test_noise_is_normal_and_of_the_stated_size() -> None:
    noise = normal_noise(torch.tensor([0.25, 0.5]), (1, 301, 333))
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.01
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.var()) == pytest.approx(1, abs=0.01)
    a, b = noise[0, 0].numpy(), noise[1, 0].numpy()
    for other in (b, np.roll(a, 1, 0), np.roll(a, 1, 1), np.roll(a.ravel(), a.size // 2).reshape(a.shape)):
        assert abs(np.corrcoef(a.ravel(), other.ravel())[0, 1]) < 0.012
    flat = torch.full((1, 1, 200, 200), 100.0)
    noisy = augment(flat, draws(noise=0.5, noise_seed=0.3), dataclasses.replace(NONE, noise=0.1), RANGE)
    assert float(noisy.std()) == pytest.approx(0.05 * 255, rel=0.02)
    again = augment(flat, draws(noise=0.5, noise_seed=0.3), dataclasses.replace(NONE, noise=0.1), RANGE)
    assert torch.equal(noisy, again)
    other = augment(flat, draws(noise=0.5, noise_seed=0.30001), dataclasses.replace(NONE, noise=0.1), RANGE)
    assert abs(np.corrcoef(noisy.flatten(), other.flatten())[0, 1]) < 0.02


def test_one_rectangle_of_at_most_the_share_is_erased() -> None:
    x = pictures(200, 2, 30, 20) + 1
    random = order.draws(200, 0, 0)
    erased = augment(x, random, dataclasses.replace(NONE, erase=0.3), (0.0, 256.0))
    changed = (erased != x).any(1)
    shares = changed.float().mean((1, 2))
    wanted = 0.3 * random[:, order.DRAWS.index("erase")]
    assert bool((shares <= wanted + 1e-6).all())
    assert float((wanted - shares).mean()) < 0.04  # what rounding down to whole pixels costs
    for image, before, mask in zip(erased, x, changed, strict=True):
        if mask.any():
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            box = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert torch.allclose(box, before.mean((1, 2), keepdim=True).expand_as(box))
    assert bool(changed.any(0).any(0).all())
    assert bool(changed.any(0).any(1).all())  # every row and column: the outermost too


def test_nothing_hangs_on_the_batch() -> None:
    x, random = pictures(7, 3, 33, 31), order.draws(7, 0, 0)
    whole = augment(x, random, ALL, RANGE)
    parts = torch.cat([augment(x[i : i + 1], random[i : i + 1], ALL, RANGE) for i in range(7)])
    assert torch.allclose(whole, parts, atol=1e-3)
    noise = dataclasses.replace(NONE, noise=0.2)
    whole = augment(x, random, noise, RANGE)
    backwards = augment(x.flip(0), random.flip(0), noise, RANGE).flip(0)
    pairs = torch.cat([augment(x[i : i + 2], random[i : i + 2], noise, RANGE) for i in (0, 2, 4, 6)])
    assert torch.equal(whole, backwards)
    assert torch.equal(whole, pairs)
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 255


def test_all_off_is_the_same_tensor() -> None:
    x = pictures(2, 1, 8, 8)
    assert augment(x, order.draws(2, 0, 0), NONE, RANGE) is x


def test_default_augmentation_gives_the_numbers_it_always_gave() -> None:
    x = (torch.arange(2 * 64 * 64, dtype=torch.float32).reshape(2, 1, 64, 64) * 7919) % 256
    changed = augment(x, order.draws(2, 1, 2), Augmentation(), RANGE)
    digest = hashlib.sha256((changed * 16).round().to(torch.int32).numpy().tobytes()).hexdigest()
    assert digest == "c38a5ba1ac2b8dd94568d58ca449d6ba69f98cc9449833a90c56face7bd667b5"


def test_quarter_turns_are_refused_like_flips(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path, ("Left lung", "other"), 3))
    with pytest.raises(RecipeError, match=r"flips are on.*quarter_turns to false"):
        refuse_flips_of_sides(recipes.read(changes={"quarter_turns": True}), dataset)
