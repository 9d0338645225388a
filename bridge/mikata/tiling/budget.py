"""How large a tile may be: what a network needs for each pixel, tried, and what there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mikata.networks.pixelwise import PixelNetwork, Sides
from mikata.tiling import heap
from mikata.tiling.plan import Plan, side

CPU_BUDGET = 2**30
"""Bytes that the layers of one pass may take in main memory, which other programs share."""

_GPU_SHARE = 0.5  # of what is free on a GPU: fragments and the libraries' own buffers take the rest
_GPU_MOST = 8 * 2**30  # more makes nothing faster
_ALIVE = 4
"""Tensors of the largest size that are there at once: two that are read, one that is written, and a library's copy."""

_REUSED = 16 * 2**20
_FETCHED = 0.27
"""Where memory is not used again (`mikata.tiling.heap`), each doubling of a tensor beyond `_REUSED` bytes costs this share
more time (measured with a U-Net from 256 to 1440 px)."""

_OVERHEAD_PX = 64 * 64
"""What a pass costs besides, in px: small tiles do not pay."""


def bytes_per_px(network: Callable[[Tensor], Tensor], sample: Tensor) -> float:
    """Bytes of the largest tensor that a network makes of a sample (N, C, h, w), for each px of it.

    Raises
    ------
    RuntimeError
        What the network raises.
    """
    watched = _Largest()
    with torch.inference_mode(), watched:
        made = network(sample)
    largest = max(watched.bytes, made.numel() * made.element_size(), sample.numel() * sample.element_size())
    return largest / (sample.shape[0] * sample.shape[2] * sample.shape[3])


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size of what every operation gives, those inside of TorchScript too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.bytes = max(self.bytes, leaf.numel() * leaf.element_size())
        return made


def budget_on(device: torch.device) -> int:
    """Bytes that one pass may take on a device."""
    if device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    return min(_GPU_MOST, int(free * _GPU_SHARE))


def largest_tile(budget: int, per_px: float) -> int:
    """px of a tile, whose layers fit into a number of bytes."""
    return max(1, int(budget / (per_px * _ALIVE)))


def choose(
    network: PixelNetwork, height: int, width: int, *, per_px: float, most_px: int, device: torch.device
) -> Plan:
    """The division of an image into tiles that goes through a network in the shortest time.

    Parameters
    ----------
    network:
        Its sides, halo and stride.
    height, width:
        Of the image, in px.
    per_px:
        Bytes of the network's largest tensor for each px (see `bytes_per_px`).
    most_px:
        px of a tile that fit into memory; only a network that takes no smaller one gets a larger one.
    device:
        Where it runs.

    Returns
    -------
    Plan
        With tiles that are not exact as few as fit, since each more one may change the result.
    """
    best: tuple[float, Plan] | None = None
    for longest in _lengths(network, max(height, width), most_px):
        rows = side(height, network.height, halo=network.halo, stride=network.stride, longest=longest)
        other = max(longest, most_px // max(span.length for span in rows.spans)) if rows.exact else longest
        for across in {longest, other}:
            columns = side(width, network.width, halo=network.halo, stride=network.stride, longest=across)
            plan = Plan(rows, columns)
            cost = _cost(plan, per_px, most_px, device)
            if best is None or cost < best[0]:
                best = cost, plan
    assert best is not None
    return best[1]


def given(network: PixelNetwork, height: int, width: int, tile_px: int) -> Plan:
    """Tiles of a side that the user asks for, or the nearest one below it that the network takes."""
    return Plan(
        side(height, network.height, halo=network.halo, stride=network.stride, longest=tile_px),
        side(width, network.width, halo=network.halo, stride=network.stride, longest=tile_px),
    )


def _lengths(network: PixelNetwork, image: int, most_px: int) -> list[int]:
    """Sides to try: from the shortest one on, each an eighth longer, up to all of the image."""
    least = min(network.height.least, network.width.least)
    top = max(least, _padded(network.height, image), _padded(network.width, image))
    lengths, length = [], max(least, 64)
    while length < top:
        lengths.append(length)
        length += max(8, length // 8)
    return [*lengths, top]


def _padded(sides: Sides, image: int) -> int:
    return max(image, sides.at_least(image))


def _cost(plan: Plan, per_px: float, most_px: int, device: torch.device) -> float:
    """px, weighted by how long each takes; much where it does not fit."""
    computed = float(plan.computed)
    if device.type == "cpu" and not heap.can_reuse():
        computed *= 1 + _FETCHED * max(0.0, math.log2(plan.largest * per_px / _REUSED))
    computed += plan.count * _OVERHEAD_PX
    if not plan.exact:
        computed = 1e12 * plan.count + computed
    if plan.largest > most_px:
        computed += 1e18 * plan.largest / most_px
    return computed
