"""Small networks from images to images whose reach is known, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.networks.pixelwise import Meaning, PixelNetwork, Sides, unchanged

ANY = Sides(1, 1)


class Plain(nn.Module):
    """Three convolutions of 3 x 3 px: a pixel's output depends on 3 px at each side of it. K channels by softmax."""

    HALO = 3

    def __init__(self, channels: int = 1, outputs: int = 3) -> None:
        super().__init__()
        widths = (channels, 6, 6, outputs)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return torch.softmax(4 * self.layers[-1](x), 1)


class SmallUNet(nn.Module):
    """Two poolings by 2: sides are multiples of 4. One convolution of 3 x 3 px on each level, down and up.

    Its reach: 1 px at full, and on the way down and up 2 at half (2 px each), 1 at quarter (4 px), 1 at full, and what
    poolings and the steps back up (nearest neighbour) shift: at most 14 px, checked by its gradient in a test.
    """

    HALO = 14

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.d, self.e = nn.Conv2d(16, 4, 3, padding=1), nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.relu(self.a(x))
        second = torch.relu(self.b(F.max_pool2d(first, 2)))
        third = torch.relu(self.c(F.max_pool2d(second, 2)))
        up = torch.relu(self.d(torch.cat([second, F.interpolate(third, scale_factor=2.0)], 1)))
        return torch.softmax(4 * self.e(torch.cat([first, F.interpolate(up, scale_factor=2.0)], 1)), 1)


class Doubling(nn.Module):
    """Twice as many px: a convolution, and its four channels shuffled into one (Shi et al. 2016). Reach 2 px."""

    HALO = 2

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.layer(x), 2)


class Thresholds(nn.Module):
    """Channels that are functions of one pixel: what they say of an image is known in advance."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def pixel_network(
    module: Any,
    outputs: tuple[str, ...] = ("background", "a", "b"),
    *,
    halo: int | None = 0,
    meaning: Meaning = "classes",
    sides: Sides = ANY,
    **changes: Any,
) -> PixelNetwork:
    """A `PixelNetwork` of a module that takes any side, unless told otherwise."""
    found: dict[str, Any] = {
        "path": Path("made up"),
        "channels": 1,
        "before": unchanged,
        "network": module.eval() if isinstance(module, nn.Module) else module,
        "after": unchanged,
        "height": sides,
        "width": sides,
        "halo": halo,
        "stride": max(1, sides.step),
        "scale": 1,
        "outputs": outputs,
        "meaning": meaning,
    }
    return PixelNetwork(**(found | changes))
