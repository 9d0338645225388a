"""The three pictures of a case: the plane as ImageJ shows it, heat over it, and contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mikata.explanation.display import render
from mikata.types import Image

CONTOUR = (0, 255, 255)
"""Colour of contours, as in overlays."""


@dataclass(frozen=True)
class Style:
    """How heat is shown; as the parameters of the command."""

    lut: str = "Fire"
    opacity_percent: float = 60.0
    levels_percent: tuple[float, ...] = (50.0,)


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width in px of an image scaled so that its longer side is `side`."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def shown(image: Image, z: int, t: int) -> NDArray[np.uint8]:
    """One plane (height, width, 3) as ImageJ shows it: display ranges and LUTs of the image, channels together.

    Without display ranges 8-bit values are shown from 0 to 255, others from the plane's lowest to its highest.
    Three channels without LUTs are red, green and blue; of another number without LUTs the mean is shown. `z` and
    `t` count from 1.
    """
    axes = image.axes
    index: list[Any] = [slice(None)] * image.array.ndim
    for axis, number in (("Z", z), ("T", t)):
        if axis in axes:
            index[axes.index(axis)] = number - 1
    stored = image.array[tuple(index)]
    if image.is_colour:
        return np.ascontiguousarray(stored if stored.ndim == 3 else stored[0])
    channels = stored if stored.ndim == 3 else stored[None]
    grey = np.stack([_windowed(one, image, number) for number, one in enumerate(channels)])
    if image.luts:
        coloured = [table.T[one].astype(np.int64) for table, one in zip(image.luts, grey, strict=True)]
        return np.asarray(np.minimum(np.sum(coloured, 0), 255), np.uint8)
    if len(grey) != 3:
        grey = np.repeat(np.rint(grey.mean(0, keepdims=True)).astype(np.uint8), 3, 0)
    return np.ascontiguousarray(np.moveaxis(grey, 0, -1))


def _windowed(stored: NDArray[Any], image: Image, channel: int) -> NDArray[np.uint8]:
    if image.display_ranges:
        low, high = image.display_ranges[channel]
    elif stored.dtype == np.uint8:
        low, high = 0.0, 255.0
    else:
        low, high = float(stored.min()), float(stored.max())
    scaled = (stored.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (height, width, 3) at another size; where it gets smaller, every pixel counts."""
    if picture.shape[:2] == size:
        return picture
    channels = torch.from_numpy(np.moveaxis(picture, -1, 0).astype(np.float32))[None]
    found = F.interpolate(channels, size, mode="bilinear", antialias=True)[0].numpy()
    return np.ascontiguousarray(np.clip(np.rint(np.moveaxis(found, 0, -1)), 0, 255).astype(np.uint8))


def outlined(
    picture: NDArray[np.uint8], heat: NDArray[np.floating], levels: Sequence[float]
) -> NDArray[np.uint8]:
    """A picture with the outlines of the pixels whose heat is at least each of these levels.

    Parameters
    ----------
    picture:
        (h, w, 3).
    heat:
        (h, w).
    levels:
        In the heat's unit, above 0.

    Returns
    -------
    array
        The same picture; pixels inside that touch one outside by a side, or the picture's edge, are coloured, in
        larger pictures as many inside of them as make the line visible.
    """
    drawn = picture.copy()
    thick = max(1, round(max(heat.shape) / 200))
    for level in levels:
        inside = heat >= level
        core = inside
        for _ in range(thick):
            padded = np.pad(core, 1)
            core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        drawn[inside & ~core] = CONTOUR
    return drawn


def three(
    picture: NDArray[np.uint8], heat: NDArray[np.floating], top: float, maximum: float, style: Style
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Original, heat and contours.

    Parameters
    ----------
    picture, heat:
        (h, w, 3) and (h, w), of one size.
    top:
        The map's own maximum, of which contours are per cent.
    maximum:
        The heat at the upper end of the LUT, the same for all cases.
    """
    values = np.maximum(heat, 0.0)
    hot = render(picture, values, lut=style.lut, opacity_percent=style.opacity_percent, maximum=maximum)
    levels = [top * percent / 100 for percent in style.levels_percent] if top > 0 else []
    return picture, hot, outlined(picture, values, levels)
