"""Corruptions against SciPy, Pillow and scikit-image, and their levels as a user writes them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage
from skimage import data, filters, transform

from mikata.errors import ParameterError
from mikata.explanation.corruptions import (
    UNITS,
    Corruption,
    blurred,
    jpeg,
    less_contrast,
    levels,
    noisy,
    rotated,
    standard,
)

GREY = data.camera()[100:180, 150:260].astype(np.float32)[None]
COLOUR = np.moveaxis(data.astronaut()[:90, 150:260], -1, 0).astype(np.float32)
EIGHT = (0.0, 255.0)


def test_noise_has_its_standard_deviation_and_its_seed() -> None:
    flat = np.full((1, 400, 400), 100, np.float32)
    noise = noisy(flat, 12.5, np.random.default_rng(4)) - 100
    assert float(noise.std()) == pytest.approx(12.5, rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=0.1)
    made = Corruption("noise", 5.0)
    first, again = (made.applied(GREY, EIGHT, EIGHT, 7) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, made.applied(GREY, EIGHT, EIGHT, 8))
    # the same noise, only stronger
    double = noisy(flat, 10, np.random.default_rng(4)) - 100
    np.testing.assert_allclose(double, noise * 0.8, atol=1e-4)
    equal = noisy(np.repeat(GREY, 3, 0), 5, np.random.default_rng(4))
    assert np.array_equal(equal[0], equal[2])
    apart = noisy(COLOUR, 5, np.random.default_rng(4)) - COLOUR
    assert abs(np.corrcoef(apart[0].ravel(), apart[1].ravel())[0, 1]) < 0.1


def test_values_stay_within_what_the_image_can_hold() -> None:
    for one in standard(EIGHT):
        made = one.applied(GREY, EIGHT, EIGHT, 1)
        assert (made.dtype, made.shape) == (np.float32, GREY.shape)
        assert made.min() >= 0
        assert made.max() <= 255
        assert not np.array_equal(made, GREY)


@pytest.mark.parametrize("image", [GREY, COLOUR])
def test_blur_is_scipys_and_skimages(image: np.ndarray) -> None:
    found = blurred(image, 2.5)
    for channel, own in zip(image, found, strict=True):
        np.testing.assert_allclose(own, ndimage.gaussian_filter(channel, 2.5), atol=1e-3)
        expected = filters.gaussian(channel, 2.5, mode="reflect", preserve_range=True)
        np.testing.assert_allclose(own, expected, atol=1e-3)


def test_contrast_is_pillows_about_the_mean() -> None:
    from PIL import ImageEnhance

    found = less_contrast(GREY, 40)
    assert float(found.mean()) == pytest.approx(float(GREY.mean()), abs=1e-3)
    assert float(found.std()) == pytest.approx(0.4 * float(GREY.std()), rel=1e-5)
    expected = np.asarray(ImageEnhance.Contrast(Pillow.fromarray(GREY[0].astype(np.uint8))).enhance(0.4))
    np.testing.assert_allclose(found[0], expected, atol=1.1)  # Pillow rounds the mean and the result
    separate = less_contrast(COLOUR, 50)
    for channel, own in zip(COLOUR, separate, strict=True):
        assert float(own.mean()) == pytest.approx(float(channel.mean()), abs=1e-3)


@pytest.mark.parametrize(("image", "quality"), [(GREY, 25), (COLOUR, 25), (GREY, 90)])
def test_jpeg_is_pillows(image: np.ndarray, quality: int) -> None:
    stored = image.astype(np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1).copy()).save(
        buffer, "JPEG", quality=quality
    )
    expected = np.asarray(Pillow.open(buffer))
    expected = expected[None] if expected.ndim == 2 else np.moveaxis(expected, -1, 0)
    np.testing.assert_array_equal(jpeg(image, quality, EIGHT), expected)


def test_jpeg_of_what_is_no_8_bit_image() -> None:
    hounsfield = GREY * 8 - 1000  # -1000 to 1040
    window = float(hounsfield.min()), float(hounsfield.max())
    found = jpeg(hounsfield, 95, window)
    step = (window[1] - window[0]) / 255
    assert np.abs(found - hounsfield).mean() < 2 * step
    assert window[0] - 1e-3 <= found.min() <= found.max() <= window[1] + 1e-3
    two = jpeg(np.stack([GREY[0], 255 - GREY[0]]), 90, EIGHT)
    assert two.shape == (2, *GREY.shape[1:])
    same = jpeg(np.repeat(GREY, 3, 0), 50, EIGHT)
    np.testing.assert_array_equal(same, np.repeat(jpeg(GREY, 50, EIGHT), 3, 0))


@pytest.mark.parametrize("image", [GREY, COLOUR])
def test_rotation_is_skimages_inside(image: np.ndarray) -> None:
    found = rotated(image, 15)
    inside = (slice(30, -30), slice(35, -35))  # the corners are filled in another way
    for channel, own in zip(image, found, strict=True):
        expected = transform.rotate(channel, 15, order=1, preserve_range=True)
        np.testing.assert_allclose(own[inside], expected[inside], atol=0.05)
    np.testing.assert_allclose(rotated(image, 180), image[:, ::-1, ::-1], atol=1e-2)


def test_rotation_goes_to_either_side_by_the_seed() -> None:
    made = [Corruption("rotation", 20).applied(GREY, EIGHT, EIGHT, seed) for seed in range(12)]
    left = [np.allclose(one, np.clip(rotated(GREY, 20), 0, 255)) for one in made]
    right = [np.allclose(one, np.clip(rotated(GREY, -20), 0, 255)) for one in made]
    assert all(a != b for a, b in zip(left, right, strict=True))
    assert 0 < sum(left) < 12


def test_standard_levels_follow_the_range() -> None:
    found = standard((-1024.0, 976.0))
    assert [one.level for one in found if one.kind == "noise"] == [40, 80, 160, 320]
    assert {one.kind for one in found} == set(UNITS)
    assert len(found) == 20


def test_levels_as_they_are_written() -> None:
    assert levels("", EIGHT) == standard(EIGHT)
    assert levels(" blur = 1, 2.5 ;JPEG=10;", EIGHT) == (
        Corruption("blur", 1), Corruption("blur", 2.5), Corruption("jpeg", 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blurr=1", "did you mean 'blur'"),
        ("blur", "Write levels as in noise=5,10"),
        ("blur=", "blur has the level ''"),
        ("blur=nan", "above 0 and up to 200, in px"),
        ("noise=-3", "above 0, in grey levels"),
        ("noise=inf", "above 0, in grey levels"),
        ("jpeg=50.5", "whole number from 1 to 100"),
        ("jpeg=0", "whole number from 1 to 100"),
        ("contrast=0", "up to 1000, in %"),
        ("rotation=270", "up to 180, in degrees"),
        ("blur=1;blur=2", "names blur twice"),
        ("blur=1,1", "a level of blur twice"),
    ],
)
def test_levels_that_cannot_be_understood(text: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        levels(text, EIGHT)
