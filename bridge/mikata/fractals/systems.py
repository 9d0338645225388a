"""The systems: one class each, found by FractalDB's rule.

What the published code does (param_search/ifs_search.py and ifs_simple.py): 2 to 7 maps, uniformly; each of their
six parameters from U(-1, 1); map i is drawn with probability |det i| / sum of |det|; 100,000 points from (0, 0),
the start included; the box of all points stretched over 512 x 512 pixels less 6 on each side; kept when at least a
fifth of all 512 x 512 pixels are hit. About one system in 45 is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

from mikata.errors import ParameterError
from mikata.fractals.orbits import cells, orbit, settled, thresholds
from mikata.fractals.streams import SYSTEM, stream, uniform
from mikata.language import say

FILLING_RATE = 0.2
SEARCH_POINTS = 100_000
SEARCH_SIZE = 512
SEARCH_PADDING = 6

_GLIMPSE = 20_000

Map = tuple[float, float, float, float, float, float]


def _as_map(values: Iterable[float]) -> Map:
    a, b, c, d, e, f = values
    return a, b, c, d, e, f


def _weights() -> Iterator[Map]:
    yield _as_map([1.0] * 6)
    for parameter in range(6):
        for weight in (0.2, 0.6, 1.4, 1.8):
            yield _as_map(weight if i == parameter else 1.0 for i in range(6))


WEIGHTS: tuple[Map, ...] = tuple(_weights())
"""The 25 rows of the published weights_0.4.csv, which its exe.sh uses: factors of a, b, c, d, e, f of all maps. One
parameter is multiplied by 0.2, 0.6, 1.4 or 1.8; the row without any change comes first here."""


@dataclass(frozen=True)
class System:
    """An iterated function system.

    Attributes
    ----------
    number:
        Of its class, from 0.
    maps:
        a, b, c, d, e, f of each map: x' = a x + b y + e, y' = c x + d y + f.
    probabilities:
        Of each map to be drawn.
    filling_rate:
        Share of the pixels hit when it was found, 0.2 or more.
    tries:
        How many systems were drawn until this one.
    lead_ins:
        For each of `WEIGHTS` the steps after which a chain has forgotten its start; 0 where the system so changed
        runs away, of which there is no picture.
    """

    number: int
    maps: tuple[Map, ...]
    probabilities: tuple[float, ...]
    filling_rate: float
    tries: int
    lead_ins: tuple[int, ...] = field(repr=False)

    @property
    def variations(self) -> tuple[int, ...]:
        """Which of `WEIGHTS` this system bears: rows, the first is always 0 (no change)."""
        return tuple(row for row, steps in enumerate(self.lead_ins) if steps)


_FOUND: dict[tuple[int, int], System] = {}


def check_seed(seed: int) -> None:
    """Raise `ParameterError` where a seed is negative."""
    if seed < 0:
        raise ParameterError(say("The seed of the formula pictures is {seed}; give 0 or more.", seed=seed))


def system(seed: int, number: int) -> System:
    """The system of class `number` (from 0): a function of these two numbers alone.

    It takes about a fifth of a second to find, and is kept.

    Raises
    ------
    ParameterError
        If one of them is negative.
    """
    check_seed(seed)
    if number < 0:
        raise ParameterError(say("There is no class {number}: classes count from 0.", number=number))
    if (seed, number) not in _FOUND:
        remember(seed, _search(seed, number))
    return _FOUND[seed, number]


def known(seed: int, number: int) -> bool:
    """Whether the system has been found before, in this process."""
    return (seed, number) in _FOUND


def remember(seed: int, found: System) -> None:
    """Keep a system that another process has found."""
    _FOUND[seed, found.number] = found


def _search(seed: int, number: int) -> System:
    for tries in itertools.count(1):
        source = stream(seed, SYSTEM, number, tries)
        count = 2 + int(6 * uniform(source, 1)[0])
        maps = 2 * uniform(source, 6 * count).reshape(count, 6) - 1
        areas = np.abs(maps[:, 0] * maps[:, 3] - maps[:, 1] * maps[:, 2])
        probabilities = areas / areas.sum()
        cuts = thresholds(probabilities)
        lead_in = settled(maps, cuts)
        if lead_in is None or _hopeless(maps, cuts, lead_in, source):
            continue
        rate = filling_rate(orbit(maps, cuts, lead_in, SEARCH_POINTS, source))
        if rate >= FILLING_RATE:
            lead_ins = (lead_in, *(settled(maps * row, cuts) or 0 for row in WEIGHTS[1:]))
            return System(
                number,
                tuple(_as_map(row) for row in maps.tolist()),
                tuple(probabilities.tolist()),
                rate,
                tries,
                lead_ins,
            )
    raise AssertionError("itertools.count does not end")


def _where(points: NDArray[np.float32]) -> NDArray[np.intp]:
    return cells(points, (SEARCH_SIZE, SEARCH_SIZE), SEARCH_PADDING)


def filling_rate(points: NDArray[np.float32]) -> float:
    """Share of the pixels of the search's picture that are hit by points (2, N)."""
    hit = np.zeros(SEARCH_SIZE**2, np.bool_)
    hit[_where(points)] = True
    return np.count_nonzero(hit) / hit.size


def _hopeless(maps: NDArray[np.float64], cuts: NDArray[np.uint32], lead_in: int, source: PCG64) -> bool:
    """Whether a fifth of the points already says that not enough pixels will be hit by all of them.

    The expected number of pixels hit is a concave function of the number of points n, and its slope is the expected
    number of pixels hit once, over n (Good 1953): the tangent is an upper bound. Systems that are kept are a fifth
    and more above the threshold here, a hundred standard deviations.
    """
    pixels = np.sort(_where(orbit(maps, cuts, lead_in, _GLIMPSE, source)))
    new = np.concatenate([[True], pixels[1:] != pixels[:-1], [True]])
    once = np.count_nonzero(new[1:] & new[:-1])
    bound = np.count_nonzero(new[:-1]) + (SEARCH_POINTS - _GLIMPSE) * once / _GLIMPSE
    return bool(bound < FILLING_RATE * SEARCH_SIZE**2)
