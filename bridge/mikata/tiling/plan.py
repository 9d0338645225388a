"""Where the tiles of an image lie: which pixels each sees, and which of them it answers for.

Along each side on its own, since tiles are rectangles in rows and columns. A network's answer for a pixel depends on
the pixels within its halo; a tile that sees these gives for its inner part exactly what the whole image gives. So the
tiles overlap by two halos, begin at whole numbers of the network's stride and of its step, and at the image's borders
have none to lose: there the network sees the same border as with the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata.networks.pixelwise import Sides

BLENDED_SHARE = 4
"""Where the halo is not known, neighbouring tiles overlap by a tile's side divided by this."""


@dataclass(frozen=True)
class Span:
    """What a tile covers along one side, in px of the image as it was continued: [start, start + length).

    It answers for [first, last), which all spans of a side divide among them without a gap. Where tiles are blended,
    it answers for all it sees.
    """

    start: int
    length: int
    first: int
    last: int

    @property
    def stop(self) -> int:
        """The px after its last one."""
        return self.start + self.length


@dataclass(frozen=True, eq=False)
class Side:
    """The tiles along one side of an image.

    Attributes
    ----------
    image:
        px of the image.
    padded:
        px after it was continued, as in a mirror, to a length that the network takes.
    spans:
        The tiles, from the first px on.
    exact:
        Whether the tiles together give what the whole side in one gives.
    weights:
        Of each span's pixels where it is not exact; all spans' weights of a pixel add up to 1.
    """

    image: int
    padded: int
    spans: tuple[Span, ...]
    exact: bool
    weights: tuple[NDArray[np.float32], ...] = ()

    @property
    def computed(self) -> int:
        """px that go through the network, each as often as it does."""
        return sum(span.length for span in self.spans)


def padded_length(image: int, sides: Sides, stride: int) -> int:
    """px of a side after it was continued: what the network takes, in one or (a fixed size) in several tiles."""
    if sides.step == 0 and image > sides.least:
        return sides.least + math.ceil((image - sides.least) / stride) * stride
    return sides.at_least(image)


def side(image: int, sides: Sides, *, halo: int | None, stride: int, longest: int) -> Side:
    """Divide a side into tiles.

    Parameters
    ----------
    image:
        Its length in px.
    sides:
        Which lengths the network takes.
    halo, stride:
        As in `PixelNetwork`.
    longest:
        px that a tile should not exceed. It does where the network takes no shorter one, or where nothing but halo
        would be left.

    Returns
    -------
    Side
        As few tiles as `longest` allows, as short as that number allows. Exact if there is one tile of all, or if the
        halo is known and the network takes tiles that are longer than two of it.
    """
    padded = padded_length(image, sides, stride)
    unit = math.lcm(max(1, sides.step), stride)
    fixed = sides.step == 0
    if padded <= longest and not (fixed and padded > sides.least):
        return Side(image, padded, (Span(0, padded, 0, image),), exact=True)
    least = sides.least if fixed else sides.at_least(2 * unit if halo is None else 2 * halo + unit)
    exact = halo is not None and least - 2 * halo >= unit
    if least >= padded and not fixed:
        return Side(image, padded, (Span(0, padded, 0, image),), exact=True)
    if not exact and unit > least - least // BLENDED_SHARE:
        unit = 1  # a fixed size that is shorter than the stride: the tiles are blended, and must leave no gap

    def advance(length: int) -> int:
        lost = 2 * halo if exact and halo is not None else max(1, length // BLENDED_SHARE)
        return max(unit, (length - lost) // unit * unit)

    length = least
    if not fixed and longest > least:
        length = least + (longest - least) // sides.step * sides.step
    count = 1 + math.ceil(max(0, padded - length) / advance(length))
    if not fixed:  # as many tiles, but no longer than they must be
        low, high = 0, (length - least) // sides.step
        while low < high:
            middle = (low + high) // 2
            shorter = least + middle * sides.step
            if shorter + (count - 1) * advance(shorter) >= padded:
                high = middle
            else:
                low = middle + 1
        length = least + low * sides.step
    starts = [min(number * advance(length), (padded - length) // unit * unit) for number in range(count)]
    starts = sorted(set(starts))
    lengths = [length] * (len(starts) - 1) + [padded - starts[-1]]
    if not exact:
        spans = tuple(
            Span(start, own, start, min(start + own, image))
            for start, own in zip(starts, lengths, strict=True)
        )
        return Side(image, padded, spans, len(spans) == 1, _weights(spans, padded))
    assert halo is not None
    firsts = [0, *(start + halo for start in starts[1:])]
    lasts = [*firsts[1:], image]
    spans = tuple(
        Span(start, own, first, min(last, image))
        for start, own, first, last in zip(starts, lengths, firsts, lasts, strict=True)
        if first < image
    )
    return Side(image, padded, spans, exact=True)


def _weights(spans: tuple[Span, ...], padded: int) -> tuple[NDArray[np.float32], ...]:
    """A squared sine from each inner edge of a tile, over the overlap; then divided by their sum."""
    total = np.zeros(padded)
    raw = []
    for number, span in enumerate(spans):
        weight = np.ones(span.length)
        if number:
            overlap = spans[number - 1].stop - span.start
            weight[:overlap] *= _ramp(overlap)
        if number + 1 < len(spans):
            overlap = span.stop - spans[number + 1].start
            weight[span.length - overlap :] *= _ramp(overlap)[::-1]
        total[span.start : span.stop] += weight
        raw.append(weight)
    return tuple(
        (weight / total[span.start : span.stop]).astype(np.float32)
        for weight, span in zip(raw, spans, strict=True)
    )


def _ramp(length: int) -> NDArray[np.float64]:
    return np.square(np.sin(np.pi / 2 * (np.arange(length) + 0.5) / length))


@dataclass(frozen=True, eq=False)
class Plan:
    """The tiles of an image: each of `rows` with each of `columns`."""

    rows: Side
    columns: Side

    @property
    def exact(self) -> bool:
        """Whether the tiles give what the whole image in one gives."""
        return self.rows.exact and self.columns.exact

    @property
    def computed(self) -> int:
        """px that go through the network."""
        return self.rows.computed * self.columns.computed

    @property
    def largest(self) -> int:
        """px of the largest tile."""
        return max(s.length for s in self.rows.spans) * max(s.length for s in self.columns.spans)

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.rows.spans) * len(self.columns.spans)

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Numbers of row and column, row by row."""
        for row in range(len(self.rows.spans)):
            for column in range(len(self.columns.spans)):
                yield row, column
