"""What a network from images to images takes and sees, found by trying: sizes, shift and halo."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.language import say

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_WIDEST = 2048
"""px: a network that sees further than half of this is taken to see everything."""


def step_of(network: nn.Module, channels: int) -> int:
    """Of which number heights and widths must be multiples, and by which shifts of the input shift the output, in px.

    Tried are powers of 2 up to 64: sizes at odd multiples, which no larger step would pass; and noise, shifted in a
    strip so long that its middle does not see the ends. Of a network that sees all of an image the sizes alone are
    tried.

    Parameters
    ----------
    network:
        On the CPU, in evaluation mode: (1, `channels`, H, W) to (1, K, H, W).

    Raises
    ------
    NetworkError
        If none of them is taken, or the output's size is not the input's.
    """
    shifted: _Shifted | None = None
    for step in _STEPS:
        if not all(
            _takes(network, channels, height * step, width * step)
            for height, width in ((128 // step + 1, 64 // step + 1), (192 // step + 1, 128 // step + 3))
        ):
            continue
        shifted = shifted or _Shifted(network, channels)
        if shifted.agrees(step):
            return step
    raise NetworkError(
        say("The network takes no images whose sides are multiples of 64 px, or gives them another size.")
    )


def _takes(network: nn.Module, channels: int, height: int, width: int) -> bool:
    try:
        with torch.inference_mode():
            found: Tensor = network(torch.zeros(1, channels, height, width))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return found.shape[2:] == (height, width)


class _Shifted:
    """Noise in a strip, and what the network makes of it."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        self._network = network
        shape = (1, channels, 64, _WIDEST // 2)
        self._noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        with _plain_products():
            self._sees_all = _kept(network, shape, _WIDEST // 4, horizontal=True, after=True) is None
        self._plain: Tensor | None = None

    def agrees(self, step: int) -> bool:
        """Whether noise that is shifted by `step` gives an output shifted by as much, where the ends are not seen."""
        if self._sees_all:
            return True
        middle = slice(_WIDEST // 4, _WIDEST // 4 + 64)
        with torch.inference_mode():
            if self._plain is None:
                self._plain = self._network(self._noise)[..., middle]
            other = self._network(self._noise.roll(step, -1)).roll(-step, -1)[..., middle]
        return bool((self._plain - other).abs().max() <= 1e-4 * self._plain.abs().max())


def halo_of(network: nn.Module, channels: int, step: int) -> int | None:
    """How many px of the input at each side of a pixel have a part in its output; None: all of the image.

    Found by trying: where an input value is not a number, no output that it has a part in is one. So the left (upper)
    part of an image is made so, up to each column (row) of a `step` in turn, and the output is looked at for how far
    that reaches. Exact for what convolutions, poolings and interpolations see, whatever their weights.

    Parameters
    ----------
    network:
        On the CPU, in evaluation mode.
    step:
        As `step_of` gives it.
    """
    width = 256
    with _plain_products():
        while width <= _WIDEST:
            found = _reach(network, channels, step, width)
            if found is not None:
                return found
            width *= 2
    return None


@contextmanager
def _plain_products() -> Iterator[None]:
    """Convolutions as plain products in a block: faster ones may mix in values that have no part in a pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a setting which stays as it is would not suit Intel's GPUs
        plain = torch.backends.mkldnn.flags(enabled=False)
        plain.__enter__()
    try:
        with torch.inference_mode():
            yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain.__exit__(None, None, None)


def _reach(network: nn.Module, channels: int, step: int, width: int) -> int | None:
    """The halo, or None where it does not fit into half of this width."""
    long, short = (-(-side // step) * step for side in (width, 32))
    start = long // 2 // step * step
    furthest = 0
    for horizontal in (True, False):
        shape = (1, channels, short, long) if horizontal else (1, channels, long, short)
        for after in (True, False):

            def kept(
                cut: int, shape: Any = shape, horizontal: bool = horizontal, after: bool = after
            ) -> int | None:
                return _kept(network, shape, cut, horizontal=horizontal, after=after)

            found = _furthest(kept, start, start + step - 1, after)
            if found is None:
                return None
            furthest = max(furthest, found)
    return furthest


def _furthest(kept: Callable[[int], int | None], first: int, last: int, after: bool) -> int | None:
    """The furthest that is seen over all cuts from `first` to `last`; None: to the image's end.

    A further cut leaves no less, so that cuts between two that leave the same all leave that.
    """
    ends = kept(first), kept(last)

    def between(first: int, low: int | None, last: int, high: int | None) -> int | None:
        if low is None or high is None:
            return None
        if low == high or last - first <= 1:
            reaches = (first - low - 1, last - high - 1) if after else (low - first - 1, high - last - 1)
            return max(reaches)
        middle = (first + last) // 2
        found = kept(middle)
        halves = between(first, low, middle, found), between(middle, found, last, high)
        return None if None in halves else max(half for half in halves if half is not None)

    return between(first, ends[0], last, ends[1])


def _kept(
    network: nn.Module, shape: tuple[int, int, int, int], cut: int, *, horizontal: bool, after: bool
) -> int | None:
    """The last (first) output line that does not see what lies behind (before) a cut; None: there is none."""
    x = torch.zeros(shape)
    line = x if horizontal else x.transpose(2, 3)
    if after:
        line[..., cut:] = torch.nan
    else:
        line[..., : cut + 1] = torch.nan
    lost = network(x).isnan().any(1).any(1 if horizontal else 2)[0]
    lines = (~lost).nonzero().flatten()
    if not len(lines):
        return None
    return int(lines.max() if after else lines.min())
