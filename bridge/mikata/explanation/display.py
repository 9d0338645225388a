"""Heat drawn over an image: overlays whose opacity follows the heat, a colour bar, contours.

A flat half-transparent heat map hides what lies under it where there is no heat at all. Here an
image shows through the more, the less heat there is. ImageJ keeps one opacity for each image ROI
and no alpha channel (``ij.io.RoiEncoder``), so the heat is cut into levels, each an image ROI with
an opacity of its own; outside its level an image ROI is black, which ImageJ shows as transparent.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata import regions
from mikata.errors import ImageError, ParameterError
from mikata.language import say
from mikata.types import Region

Position = int | tuple[int, int, int]
"""0: on every plane; n: ImageJ's stack position from 1; (channel, slice, frame): 0 means any."""

LEVELS = 10
"""Opacities between nothing and the full heat; the lowest is not drawn."""

# Red, green, blue at 32 even steps of ImageJ's "Fire" (method `fire` of ij.plugin.LutLoader, 1.54p);
# between them ImageJ goes in a straight line and drops fractions.
_FIRE = [
    bytes.fromhex("00000119 3149627a 92a2adb8 c3cfd9e5 f0fcffff ffffffff ffffffff ffffffff"),
    bytes.fromhex("00000000 00000000 00000000 000e2339 4f657585 93a1afbe cddbeaf8 ffffffff"),
    bytes.fromhex("003d6082 a5c0dce3 d2b5977a 5d402305 00000000 00000000 00000023 62a0dfff"),
]

_MATPLOTLIB = {"Inferno": "inferno", "Magma": "magma", "Viridis": "viridis", "Turbo": "turbo", "Jet": "jet"}

LUTS: tuple[str, ...] = ("Fire", *_MATPLOTLIB, "Grays")
"""Names of the colour tables."""


def lut(name: str) -> NDArray[np.uint8]:
    """Give a colour table.

    Parameters
    ----------
    name:
        One of `LUTS`. "Fire" and "Grays" are ImageJ's own, the others matplotlib's.

    Returns
    -------
    array
        (256, 3) uint8, rows from no heat to the most, columns red, green, blue. Read-only.

    Raises
    ------
    ParameterError
        If there is no table of this name.
    """
    return _table(name)


@cache
def _table(name: str) -> NDArray[np.uint8]:
    if name == "Fire":
        at = np.arange(256) / 8
        table = np.stack([np.interp(at, np.arange(32), list(channel)) for channel in _FIRE], 1).astype(
            np.uint8
        )
    elif name == "Grays":
        table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    elif name in _MATPLOTLIB:
        from matplotlib import colormaps  # heavy, and most never leave Fire

        table = np.ascontiguousarray(colormaps[_MATPLOTLIB[name]](np.arange(256), bytes=True)[:, :3])
    else:
        near = difflib.get_close_matches(name.capitalize(), LUTS, 1)
        hint = say(" (did you mean '{near}'?)", near=near[0]) if near else ""
        raise ParameterError(
            say(
                "There is no LUT '{name}'{hint}: known are {known}.",
                name=name,
                hint=hint,
                known=", ".join(LUTS),
            )
        )
    table.setflags(write=False)
    return table


@dataclass(frozen=True, eq=False)
class _Level:
    """One level of heat: colours (h, w, 3), black outside the level, at (x, y), with one opacity."""

    name: str
    x: int
    y: int
    colours: NDArray[np.uint8]
    opacity: int  # of 255


def heat_overlay(
    heat: ArrayLike,
    *,
    lut: str = "Fire",
    opacity_percent: float = 60.0,
    maximum: float,
    name: str = "heat",
    position: Position = 0,
) -> tuple[Region, ...]:
    """Draw a heat map as image ROIs whose opacity follows the heat.

    Parameters
    ----------
    heat:
        (H, W) of the image's size; values from 0 up, as `heat_maps` gives them.
    lut:
        One of `LUTS`; its whole range is 0 to `maximum`.
    opacity_percent:
        Opacity of the highest level, 0 to 100; it falls in proportion to the heat, and below
        a tenth of `maximum` nothing is drawn.
    maximum:
        The heat at the upper end of the LUT, the same for all images that are to be compared.
    name:
        The ROIs are named "`name` 40-50 %" after it.
    position:
        Where in a stack they show.

    Returns
    -------
    tuple of Region
        At most nine, lowest level first; none where there is no heat.

    Raises
    ------
    ParameterError
        If the LUT is unknown or a number is out of range.
    ImageError
        If the heat map is not two-dimensional or holds NaN.
    """
    return tuple(
        regions.image_region(
            level.colours,
            level.x,
            level.y,
            opacity=level.opacity / 255,
            zero_transparent=True,
            name=f"{name} {level.name}",
            position=position,
        )
        for level in _levels(heat, lut, opacity_percent, maximum)
    )


def render(
    background: NDArray[np.uint8],
    heat: ArrayLike,
    *,
    lut: str = "Fire",
    opacity_percent: float = 60.0,
    maximum: float,
) -> NDArray[np.uint8]:
    """Give the picture that ImageJ shows of an image under `heat_overlay`, without ImageJ.

    Parameters are those of `heat_overlay`; `background` is (H, W, 3) uint8 and stays as it is.

    Returns
    -------
    array
        (H, W, 3) uint8.

    Raises
    ------
    ImageError
        Also if `background` and `heat` are of different size.
    """
    if background.dtype != np.uint8 or background.shape != (*np.shape(heat), 3):
        raise ImageError(
            say(
                "The heat map is {heat}; a picture under it must be colour of this size, not {picture} of {type}.",
                heat=np.shape(heat),
                picture=background.shape,
                type=background.dtype,
            )
        )
    picture = background.copy()
    for level in _levels(heat, lut, opacity_percent, maximum):
        height, width = level.colours.shape[:2]
        part = picture[level.y : level.y + height, level.x : level.x + width]
        drawn = level.colours.any(2)
        part[drawn] = _share(level.colours[drawn], level.opacity) + _share(part[drawn], 255 - level.opacity)
    return picture


def _share(colours: NDArray[np.uint8], weight: int) -> NDArray[np.uint8]:
    """Colours times weight / 255, each product rounded, as Java 2D does it for 8-bit colours."""
    return ((colours.astype(np.uint32) * (2 * weight) + 255) // 510).astype(np.uint8)


def contour_levels(percent: str) -> tuple[float, ...]:
    """Levels of contours as a user writes them, with ; between: "50", or "30;50;80"; "0" and "" are none.

    Returns
    -------
    tuple of float
        In per cent, above 0 and up to 100, each once, rising.

    Raises
    ------
    ParameterError
        If a level is no number, or out of range.
    """
    try:
        levels = sorted({float(part) for part in percent.split(";") if part.strip()})
    except ValueError:
        levels = [math.nan]
    if levels in ([], [0.0]):
        return ()
    # 0 beside other levels would be an outline around the whole image
    if not all(0 < level <= 100 for level in levels):
        raise ParameterError(
            say(
                "contour_percent is '{value}'; it must be numbers from 0 to 100 with ; between, such as 30;50;80, or 0 "
                "alone for no contours.",
                value=percent,
            )
        )
    return tuple(levels)


def heat_contours(
    heat: ArrayLike,
    *,
    levels_percent: Sequence[float] = (50.0,),
    name_prefix: str = "heat",
    name_suffix: str = "",
    position: Position = 0,
    stroke_color: str = "#00ffff",
    stroke_width: float = 0.0,
) -> tuple[Region, ...]:
    """Outline where the heat is at least some per cent of this map's own maximum.

    The outlines run along pixel edges and hold exactly the pixels at or above the level. They show
    where a network looked; they are not lesions.

    Parameters
    ----------
    heat:
        (H, W), values from 0 up.
    levels_percent:
        Above 0, up to 100: of this map's maximum.
    name_prefix, name_suffix:
        The ROIs are named "`name_prefix` >= 50 % of maximum`name_suffix`".
    position, stroke_color, stroke_width:
        Of the ROIs; a width of 0 is one screen pixel at any zoom.

    Returns
    -------
    tuple of Region
        One for each level, in the order given; none if there is no heat.

    Raises
    ------
    ParameterError
        If a level is out of range.
    ImageError
        If the heat map is not two-dimensional or holds NaN.
    """
    values = _checked(heat)
    for percent in levels_percent:
        if not 0 < percent <= 100:
            raise ParameterError(
                say("A contour's level must be above 0 and at most 100 %, not {percent:g}.", percent=percent)
            )
    top = float(values.max())
    if top <= 0:
        return ()
    return tuple(
        regions.contours(
            values >= top * percent / 100,
            name=f"{name_prefix} >= {percent:g} % of maximum{name_suffix}",
            position=position,
            stroke_color=stroke_color,
            stroke_width=stroke_width,
        )
        for percent in levels_percent
    )


def _levels(heat: ArrayLike, lut_name: str, opacity_percent: float, maximum: float) -> Iterator[_Level]:
    table = _table(lut_name)
    values = _checked(heat)
    if not 0 <= opacity_percent <= 100:
        raise ParameterError(
            say("opacity_percent must be from 0 to 100, not {percent:g}.", percent=opacity_percent)
        )
    if not (math.isfinite(maximum) and maximum >= 0):
        raise ParameterError(
            say("The heat's maximum must be a number from 0 up, not {maximum:g}.", maximum=maximum)
        )
    if maximum == 0:
        if values.max() > 0:
            raise ParameterError(
                say("The heat's maximum is 0, but there is heat: give the largest heat of all images.")
            )
        return
    share = np.clip(values / maximum, 0, 1)
    # ImageJ hides pixels whose grey value is at most 1, by either of its two weightings of the
    # channels: with 2 in each channel the darkest colour stays a colour.
    colours = np.maximum(table[np.rint(share * 255).astype(np.intp)], 2).astype(np.uint8)
    index = np.minimum((share * LEVELS).astype(np.intp), LEVELS - 1)
    for level in range(1, LEVELS):
        opacity = round(2.55 * opacity_percent * (level + 0.5) / (LEVELS - 0.5))
        inside = index == level
        rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
        if opacity == 0 or not rows.size:
            continue
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        step = 100 // LEVELS
        yield _Level(
            f"{level * step}-{(level + 1) * step} %",
            int(columns[0]),
            int(rows[0]),
            np.where(inside[box][..., None], colours[box], np.uint8(0)),
            opacity,
        )


def _checked(heat: ArrayLike) -> NDArray[Any]:
    values = np.asarray(heat)
    if values.ndim != 2 or values.size == 0:
        raise ImageError(
            say("A heat map has a height and a width, not the shape {shape}.", shape=values.shape)
        )
    if not np.isfinite(values).all():
        raise ImageError(say("The heat map holds values that are not numbers (NaN) or infinite."))
    return values
