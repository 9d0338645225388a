"""What is on a film but not of the patient: burned-in letters and signs, and the border; and how they are painted over.

The rules take grey values and sizes alone, without reading: they find letters, and at times a wire, an electrode or
the edge of a plaster that looks like one. What they find is drawn and measured, never taken as proven.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.transform import resize

WORK_PX = 512
"""Longest side at which marks are looked for; larger films are scaled down first, smaller ones never up."""
BORDER = 0.05
"""Share of each side that counts as border."""
MOST_BAND = 0.25
"""Share of a side up to which constant lines at an edge count as border too."""
_SAME = 0.02  # range of a line of a collimation band, of the film's range
_TAILS = 0.01, 99.99  # percentiles between which grey values are scaled to 0..1

# Of the longest side: the square that strokes are thinner than, least and most height of a letter, most width of a
# run of letters that touch, most height of such a run, the reach that joins letters to words, and the rim around them.
_STROKE, _LEAST, _LETTER, _RUN, _RUN_HEIGHT, _JOIN, _RIM = 0.04, 0.012, 0.08, 0.25, 0.05, 0.012, 0.006
# Of a bright sign: the top-hat of what belongs to it, the one that it must reach, and the grey value that it must reach.
_STANDS_OUT, _BRIGHT, _BRIGHT_LEVEL = 0.25, 0.45, 0.6
_DARK = 0.5, 0.6  # the first two of a dark one
# As bright as anything on the film: from which grey value, with how much top-hat, and how many letters in a row.
_FULL, _FULL_STANDS_OUT, _WORD = 0.97, 0.28, 3
_STEP = 0.33  # median range of 3 x 3 px along a sign's edge: sharp, as nothing that X-rays draw
_SLIM, _ASLANT = 9.0, 0.2  # variance along over across of a wire, and the sine of its least slope
_EIGHT = np.ones((3, 3), bool)


def burned_in(plane: ArrayLike) -> NDArray[np.bool_]:
    """Where letters and signs are burned into a film.

    A sign stands out from its surroundings by more than 25 % of the film's range in the white top-hat of a square of
    4 % of the longest side (so its strokes are thinner), reaches 45 %, is 1.2 to 8 % high, and has sharp edges: half
    of its edge pixels change by 33 % within 3 x 3 px. Letters that touch may be 25 % wide if at most 5 % high. Slim
    pieces aslant are wires. Dark signs must stand out by 50 % and reach 60 %. Where it is as bright as anything on
    the film, 28 % of contrast and steps of 20 % are enough for each of at least three letters of a word. Words are
    joined by closing (1.2 % down, twice that across) and given a rim of 0.6 %.

    Parameters
    ----------
    plane:
        (height, width), finite.

    Returns
    -------
    ndarray
        (height, width), True on marks; all False where there are none.
    """
    values = np.asarray(plane, np.float64)
    height, width = values.shape
    scale = WORK_PX / max(height, width)
    if scale < 1:
        small = max(1, round(height * scale)), max(1, round(width * scale))
        scaled = resize(values, small, order=1, preserve_range=True, anti_aliasing=True)  # type: ignore[no-untyped-call]
        found = _signs(np.asarray(scaled, np.float64))
        rows, columns = (
            np.minimum((np.arange(size) + 0.5) * own / size, own - 1).astype(int)
            for size, own in zip(values.shape, small, strict=True)
        )
        return np.asarray(found[rows[:, None], columns], bool)
    return _signs(values)


def _signs(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, high = np.percentile(values, _TAILS)
    found = np.zeros(values.shape, bool)
    if high <= low or min(values.shape) < 3:
        return found
    x = np.clip((values - low) / (high - low), 0, 1)
    side = max(x.shape)
    stroke = max(3, round(_STROKE * side))
    wide = np.pad(x, stroke, mode="edge")
    inner = slice(stroke, -stroke)
    bright = (wide - ndimage.grey_opening(wide, (stroke, stroke)))[inner, inner]
    dark = (ndimage.grey_closing(wide, (stroke, stroke)) - wide)[inner, inner]
    steps = ndimage.maximum_filter(x, 3) - ndimage.minimum_filter(x, 3)
    found |= _strong(bright, x, steps, dark=False) | _strong(dark, x, steps, dark=True)
    found |= _faint_words(bright, x, steps, side)
    if not found.any():
        return found
    rim = max(1, round(_RIM * side))
    return np.asarray(ndimage.binary_dilation(_joined(found, side), _EIGHT, iterations=rim), bool)


def _strong(
    hat: NDArray[np.float64], x: NDArray[np.float64], steps: NDArray[np.float64], *, dark: bool
) -> NDArray[np.bool_]:
    """Signs that stand out by themselves."""
    least, peak = _DARK if dark else (_STANDS_OUT, _BRIGHT)
    labels, count = ndimage.label(hat > least, _EIGHT)
    kept = np.zeros(count + 1, bool)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[box] == number
        kept[number] = (
            _letter_sized(inside, max(x.shape))
            and hat[box][inside].max() >= peak
            and (dark or x[box][inside].max() >= _BRIGHT_LEVEL)
            and _step(inside, steps[box]) >= _STEP
            and (dark or not _wire(inside))
        )
    return np.asarray(kept[labels], bool)


def _faint_words(
    hat: NDArray[np.float64], x: NDArray[np.float64], steps: NDArray[np.float64], side: int
) -> NDArray[np.bool_]:
    """Letters of full brightness on a bright ground: three or more in a row."""
    labels, count = ndimage.label((x >= _FULL) & (hat > 0.15), _EIGHT)
    kept = np.zeros(count + 1, bool)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[box] == number
        kept[number] = (
            _letter_sized(inside, side)
            and hat[box][inside].max() >= _FULL_STANDS_OUT
            and _step(inside, steps[box]) >= 0.2
            and not _wire(inside)
        )
    letters = np.asarray(kept[labels], bool)
    words, count = ndimage.label(_joined(letters, side), _EIGHT)
    full = np.zeros(count + 1, bool)
    for number, box in enumerate(ndimage.find_objects(words), 1):
        own = np.where(words[box] == number, labels[box] * letters[box], 0)
        full[number] = len(np.unique(own[own > 0])) >= _WORD
    return np.asarray(letters & full[words], bool)


def _letter_sized(inside: NDArray[np.bool_], side: int) -> bool:
    height, width = inside.shape
    if inside.sum() < 4 or width < 2 or not max(3, _LEAST * side) <= height <= _LETTER * side:
        return False
    return bool(width <= _LETTER * side or (width <= _RUN * side and height <= _RUN_HEIGHT * side))


def _step(inside: NDArray[np.bool_], steps: NDArray[np.float64]) -> float:
    edge = inside & ~ndimage.binary_erosion(np.pad(inside, 1))[1:-1, 1:-1]
    return float(np.median(steps[edge]))


def _wire(inside: NDArray[np.bool_]) -> bool:
    """Whether a piece is slim and aslant, as wires and ribs are and lines of letters are not."""
    places = np.nonzero(inside)
    if len(places[0]) <= 8:
        return False
    spread, axes = np.linalg.eigh(np.cov(np.stack(places)))
    return bool(spread[1] > _SLIM * max(spread[0], 0.1) and np.abs(axes[:, 1]).min() > _ASLANT)


def _joined(signs: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    reach = max(1, round(_JOIN * side))
    wide = np.pad(signs, 4 * reach)
    closed = ndimage.binary_closing(wide, np.ones((2 * reach + 1, 4 * reach + 1), bool))
    inner = slice(4 * reach, -4 * reach)
    return np.asarray(closed[inner, inner] | signs, bool)


def border(plane: ArrayLike) -> NDArray[np.bool_]:
    """The outer 5 % of each side (rounded, at least 1 px), and collimation bands.

    A band is what comes in from an edge without a break in rows or columns whose values are all within 2 % of the
    film's range of each other; at most 25 % of a side.

    Parameters
    ----------
    plane:
        (height, width), finite.
    """
    values = np.asarray(plane, np.float64)
    found = np.zeros(values.shape, bool)
    for lines, marked in ((values, found), (values.T, found.T)):
        count = len(lines)
        flat = np.ptp(lines, 1) <= _SAME * np.ptp(values)
        most, outer = int(MOST_BAND * count), max(1, round(BORDER * count))
        for ordered, own in ((flat, marked), (flat[::-1], marked[::-1])):
            broken = np.flatnonzero(~ordered)
            band = int(broken[0]) if broken.size else 0  # a plane that is all one value has no bands
            own[: max(outer, min(band, most))] = True
    return found


def painted_over(plane: ArrayLike, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A plane whose masked pixels are replaced by their surroundings.

    Each takes the value of the nearest pixel outside in the plane's 5 x 5 median; what has been filled in is then
    smoothed (Gaussian, sigma 1 % of the longest side) without touching any other pixel.

    Parameters
    ----------
    plane, mask:
        (height, width).

    Raises
    ------
    ValueError
        If the mask covers the whole plane: there are no surroundings.
    """
    values = np.asarray(plane, np.float64)
    if mask.all():
        raise ValueError("a mask that covers everything leaves nothing to paint with")
    if not mask.any():
        return values.copy()
    near = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    filled = np.where(mask, values[tuple(near)], values)
    filled = np.where(mask, ndimage.median_filter(filled, 5)[tuple(near)], values)
    smooth = ndimage.gaussian_filter(filled, max(1.0, 0.01 * max(values.shape)), mode="nearest")
    return np.asarray(np.where(mask, smooth, values), np.float64)
