"""Overlays, colour bars and contours: what is drawn, where, and how strongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mikata import regions
from mikata.errors import ImageError, ParameterError
from mikata.explanation.display import (
    LUTS,
    contour_levels,
    heat_contours,
    heat_overlay,
    lut,
    render,
)
from mikata.explanation.legend import colour_bar, heat_label
from mikata.types import Region


def blob(height: int = 40, width: int = 60, top: float = 1.0) -> NDArray[np.float32]:
    y, x = np.mgrid[:height, :width]
    return (top * np.exp(-(((x - 0.7 * width) / 9) ** 2 + ((y - 0.3 * height) / 6) ** 2))).astype(np.float32)


def pictures(drawn: tuple[Region, ...]) -> list[tuple[Any, NDArray[np.uint8]]]:
    """Each image ROI with its pixels."""
    from io import BytesIO

    import tifffile  # the bytes inside are a TIFF, which roifile would read with the same library

    rois = [regions.to_roi(region) for region in drawn]
    return [(roi, tifffile.imread(BytesIO(roi.image_data))) for roi in rois if roi.image_size]


# --- colour tables


@pytest.mark.parametrize("name", LUTS)
def test_luts(name: str) -> None:
    table = lut(name)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert len(np.unique(table, axis=0)) > 150
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_fire_is_imagej_s() -> None:
    """Control points of ImageJ's table, and a point between two of them."""
    rows = {
        0: (0, 0, 0),
        8: (0, 0, 61),
        12: (0, 0, 78),
        96: (195, 0, 93),
        128: (240, 79, 0),
        255: (255, 255, 255),
    }
    for index, colour in rows.items():
        assert tuple(lut("Fire")[index]) == colour


@pytest.mark.parametrize(
    ("name", "hint"), [("fire", "did you mean 'Fire'"), ("Firr", "Fire"), ("", "known are Fire")]
)
def test_unknown_lut(name: str, hint: str) -> None:
    with pytest.raises(ParameterError, match=hint):
        lut(name)


# --- overlay


def test_opacity_follows_the_heat() -> None:
    heat = blob()
    drawn = heat_overlay(heat, maximum=1.0, opacity_percent=60)
    assert [r.name for r in drawn] == [f"heat {10 * k}-{10 * k + 10} %" for k in range(1, 10)]
    seen = np.zeros(heat.shape, int)
    before = 0
    for level, (roi, picture) in enumerate(pictures(drawn), start=1):
        assert picture.shape == (roi.bottom - roi.top, roi.right - roi.left, 3)
        here = picture.any(2)
        assert here.any(0)[[0, -1]].all()  # cropped to what it holds
        assert here.any(1)[[0, -1]].all()
        assert roi.image_opacity > before
        before = roi.image_opacity
        y, x = here.nonzero()
        seen[y + roi.top, x + roi.left] += 1
        values = heat[y + roi.top, x + roi.left]
        assert values.min() >= 0.1 * level - 1e-6
        assert values.max() <= 0.1 * level + 0.1 + 1e-6
        assert (picture[here].astype(int).sum(1) / 3 > 1).all()  # or ImageJ would hide them
        expected = np.maximum(lut("Fire")[np.rint(values * 255).astype(int)], 2)
        np.testing.assert_array_equal(picture[here], expected)
    assert before == round(0.6 * 255)  # the opacity asked for is that of the maximum
    np.testing.assert_array_equal(seen, heat >= 0.1)  # each pixel once, and none where there is little heat


@pytest.mark.parametrize("name", LUTS)
def test_every_lut_is_seen_at_its_dark_end(name: str) -> None:
    for _, picture in pictures(heat_overlay(blob(), lut=name, maximum=1.0)):
        shown = picture[picture.any(2)].astype(float)
        assert (shown @ [1 / 3, 1 / 3, 1 / 3] > 1).all()
        assert (shown @ [0.299, 0.587, 0.114] > 1).all()


def test_one_scale_over_images() -> None:
    """The same heat has the same colour and opacity in two images, whatever else is in them."""
    weak, strong = blob(top=0.39), blob(top=2.0)
    weak[5, 5] = strong[5, 5] = 0.7
    background = np.full((*weak.shape, 3), 90, np.uint8)
    shown = [render(background, heat, maximum=2.0)[5, 5] for heat in (weak, strong)]
    np.testing.assert_array_equal(*shown)
    assert (shown[0] != 90).any()
    assert [r.name for r in heat_overlay(weak, maximum=2.0)] == ["heat 10-20 %", "heat 30-40 %"]


def test_heat_above_the_maximum_is_shown_as_the_maximum() -> None:
    heat = blob(top=5.0)
    (roi, picture) = pictures(heat_overlay(heat, maximum=1.0))[-1]
    inside = heat[roi.top : roi.bottom, roi.left : roi.right] >= 1
    assert (picture[inside] == lut("Fire")[255]).all()


@pytest.mark.parametrize("position", [0, 7, (0, 3, 2)])
def test_positions(position: Any) -> None:
    every = [
        *heat_overlay(blob(), maximum=1.0, position=position),
        *heat_contours(blob(), position=position),
        *colour_bar(60, 40, maximum=1.0, position=position),
    ]
    assert len(every) > 10
    for region in every:
        roi = regions.to_roi(region)
        found = (
            (roi.c_position, roi.z_position, roi.t_position) if isinstance(position, tuple) else roi.position
        )
        assert found == position


@pytest.mark.parametrize(
    ("heat", "maximum"), [(np.zeros((5, 6)), 0.0), (np.zeros((5, 6)), 3.0), (np.full((5, 6), 0.09), 1.0)]
)
def test_nothing_to_draw(heat: NDArray[Any], maximum: float) -> None:
    assert heat_overlay(heat, maximum=maximum) == ()
    background = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
    np.testing.assert_array_equal(render(background, heat, maximum=maximum), background)


def test_no_opacity_draws_nothing() -> None:
    assert heat_overlay(blob(), maximum=1.0, opacity_percent=0) == ()


@pytest.mark.parametrize("lut_name", ["Fire", "Viridis"])
def test_render_mixes_by_the_opacity(lut_name: str) -> None:
    """Against real numbers: colour and image weighted by the level's opacity, to one grey level."""
    heat = blob()
    background = np.random.default_rng(0).integers(0, 256, (*heat.shape, 3), np.uint8)
    kept = background.copy()
    shown = render(background, heat, lut=lut_name, opacity_percent=80, maximum=1.0)
    np.testing.assert_array_equal(background, kept)
    opacity = np.zeros(heat.shape)
    level = np.minimum(np.floor(heat * 10), 9)
    opacity[level >= 1] = (0.8 * (level + 0.5) / 9.5)[level >= 1]
    colour = lut(lut_name)[np.rint(heat * 255).astype(int)].astype(float)
    expected = opacity[..., None] * np.maximum(colour, 2) + (1 - opacity[..., None]) * background
    assert np.abs(shown - expected).max() <= 1.5
    np.testing.assert_array_equal(shown[heat < 0.1], background[heat < 0.1])


BAD: list[tuple[str, Any, dict[str, Any], type[Exception], str]] = [
    ("NaN", np.array([[1, np.nan]]), {}, ImageError, "NaN"),
    ("one axis", np.ones(4), {}, ImageError, r"shape \(4,\)"),
    ("no pixel", np.ones((0, 4)), {}, ImageError, "shape"),
    ("opacity", blob(), {"opacity_percent": 101}, ParameterError, "0 to 100, not 101"),
    ("LUT", blob(), {"lut": "Rainbow"}, ParameterError, "no LUT 'Rainbow'"),
    ("maximum below 0", blob(), {"maximum": -1.0}, ParameterError, "from 0 up, not -1"),
    ("maximum NaN", blob(), {"maximum": float("nan")}, ParameterError, "not nan"),
    ("maximum 0 with heat", blob(), {"maximum": 0.0}, ParameterError, "there is heat"),
]


@pytest.mark.parametrize(
    ("heat", "options", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_overlay(heat: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        heat_overlay(heat, **{"maximum": 1.0, **options})


def test_bad_background() -> None:
    with pytest.raises(ImageError, match="of this size"):
        render(np.zeros((40, 61, 3), np.uint8), blob(), maximum=1.0)
    with pytest.raises(ImageError, match="float64"):
        render(np.zeros((40, 60, 3)), blob(), maximum=1.0)


# --- contours


def test_contours_hold_exactly_the_level() -> None:
    heat = blob() + blob()[::-1, ::-1] * 0.8
    drawn = heat_contours(heat, levels_percent=(50, 75.5, 100), name_suffix=" (grass)")
    assert [r.name for r in drawn] == [f"heat >= {p} % of maximum (grass)" for p in ("50", "75.5", "100")]
    for region, percent in zip(drawn, (50, 75.5, 100), strict=True):
        level = float(heat.max()) * percent / 100
        np.testing.assert_array_equal(regions.mask(region, heat.shape), heat >= level)


def test_no_contour_without_heat() -> None:
    assert heat_contours(np.zeros((4, 4))) == ()


@pytest.mark.parametrize("percent", [0, -5, 101, float("nan")])
def test_bad_contour_level(percent: float) -> None:
    with pytest.raises(ParameterError, match="above 0 and at most 100"):
        heat_contours(blob(), levels_percent=(percent,))


# --- colour bar


@pytest.mark.parametrize("size", [(64, 64), (40, 33), (512, 512), (300, 80), (80, 300), (2000, 1500), (8, 8)])
@pytest.mark.parametrize("maximum", [1.0, 0.0001234, 98765.0])
def test_colour_bar_lies_inside(size: tuple[int, int], maximum: float) -> None:
    width, height = size
    drawn = colour_bar(width, height, maximum=maximum, label="Grad-CAM")
    names = [r.name for r in drawn]
    assert names[:4] == ["heat scale ground", "heat scale", "heat scale maximum", "heat scale 0"]
    rois = {r.name: regions.to_roi(r) for r in drawn}
    for name in ("heat scale ground", "heat scale"):
        roi = rois[name]
        assert roi.left >= 0
        assert roi.top >= 0
        assert roi.right <= width
        assert roi.bottom <= height
    assert rois["heat scale maximum"].text == f"{maximum:.3g}"
    assert rois["heat scale 0"].text == "0"
    [(bar, picture)] = pictures(drawn)
    assert (picture[0] == lut("Fire")[255]).all()  # most heat on top
    assert (picture[-1] == 2).all()  # darkest, yet drawn
    if min(size) >= 64:
        for name, roi in rois.items():
            if name.startswith("heat scale ") and hasattr(roi, "text") and roi.text:
                assert roi.left + 0.62 * roi.text_size * len(roi.text) <= width + 1, name
                assert roi.top + roi.text_size <= height
                assert roi.text_size >= 6
        assert bar.bottom - bar.top >= 0.25 * height


def test_bad_colour_bar() -> None:
    with pytest.raises(ParameterError, match="above 0, not 0"):
        colour_bar(100, 100, maximum=0)
    with pytest.raises(ParameterError, match="no LUT"):
        colour_bar(100, 100, maximum=1, lut="none")


@pytest.mark.parametrize(
    ("given", "levels"),
    [("50", (50.0,)), ("30;50;80", (30.0, 50.0, 80.0)), ("80; 30 ;30", (30.0, 80.0)), ("0", ()), ("", ()), ("50.0", (50.0,))],
)  # fmt: skip
def test_levels_as_users_write_them(given: str, levels: tuple[float, ...]) -> None:
    assert contour_levels(given) == levels


@pytest.mark.parametrize("given", ["-1", "101", "half", "nan", "0;50", "30,50", "inf"])
def test_bad_levels(given: str) -> None:
    with pytest.raises(ParameterError, match="from 0 to 100"):
        contour_levels(given)


@pytest.mark.parametrize(("width", "height"), [(20, 24), (90, 70), (2000, 1500)])
def test_a_label_fits_into_the_image(width: int, height: int) -> None:
    (label,) = heat_label("PA 0.93\nGrad-CAM", width, height, position=3)
    roi = regions.to_roi(label)
    assert (label.name, roi.position, roi.left, roi.top) == ("heat label", 3, 0, 0)
    assert roi.text.strip() == "PA 0.93\nGrad-CAM"
    assert roi.bottom <= height / 2
    assert roi.right <= width + 22  # letters below 4 points nobody can read
    if width > 60:
        assert roi.right <= width
