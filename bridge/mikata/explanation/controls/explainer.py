"""A network with a way to explain it, as the controls use both: images in, maps on a grid and scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mikata.explanation.engine import heat_maps
from mikata.explanation.methods import DEFAULTS, Settings

MOST_CELLS = 32
"""Cells along each side of the grid on which maps are compared; maps of pixels are averaged to that."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """What the controls ask of a network and a method.

    Attributes
    ----------
    network:
        The network, whose weights can be exchanged in a copy of it; None where it is known by its scores alone.
    maps:
        From a network (`network` or a changed copy of it; None where there is none), images (N, C, H, W) as the
        network wants them, and the class of each image, to heat (N, h, w) from 0 up.
    scores:
        From images (N, C, H, W) to probabilities (N, K), or one value each (N, 1).
    batch:
        How many images go through at once.
    step:
        Called once a batch with the number of its images; what it raises ends the work.
    """

    network: nn.Module | None
    maps: Callable[[nn.Module | None, Tensor, Sequence[int]], Tensor]
    scores: Callable[[Tensor], Tensor]
    batch: int = 16
    step: Callable[[int], object] = field(default=lambda count: None)

    def grids(
        self, images: Tensor, classes: Sequence[int], network: nn.Module | None = None
    ) -> NDArray[np.float64]:
        """Maps (N, h, w), by another network where one is given; sides of at most `MOST_CELLS`."""
        found = []
        for start in range(0, len(images), self.batch):
            part = slice(start, start + self.batch)
            chosen = self.network if network is None else network
            grid = self.maps(chosen, images[part], classes[part]).detach().float().cpu()
            self.step(len(grid))
            size = min(grid.shape[-2], MOST_CELLS), min(grid.shape[-1], MOST_CELLS)
            found.append(pooled(grid.abs().numpy(), size))
        return np.concatenate(found)

    def outputs(self, images: Tensor) -> NDArray[np.float64]:
        """Scores (N, K)."""
        found = []
        for start in range(0, len(images), self.batch):
            scores = self.scores(images[start : start + self.batch]).detach()
            self.step(len(scores))
            found.append(scores.double().cpu().numpy())
        return np.concatenate(found)

    def score(self, images: Tensor, classes: Sequence[int]) -> NDArray[np.float64]:
        """Score of each image's class (N,)."""
        return np.asarray(self.outputs(images)[np.arange(len(images)), list(classes)], np.float64)


def maps_by(
    method: str, layer: str, settings: Callable[[Tensor], Settings] = lambda images: DEFAULTS
) -> Callable[[nn.Module | None, Tensor, Sequence[int]], Tensor]:
    """`Explainer.maps` by `mikata.explanation.heat_maps`.

    Parameters
    ----------
    method, layer:
        As `heat_maps` takes them; an empty layer is found by itself.
    settings:
        What the method needs besides, for the images.
    """

    def maps(network: nn.Module | None, images: Tensor, classes: Sequence[int]) -> Tensor:
        if network is None:
            raise ValueError("heat_maps needs a network")
        found = heat_maps(network, images, list(classes), method, layer or None, settings=settings(images))
        return found.grid

    return maps


def pooled(maps: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Maps (N, h, w) on another grid (N, *size): the mean of what each of its cells covers."""
    if tuple(maps.shape[-2:]) == size:
        return np.asarray(maps, np.float64)
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float64))
    return np.asarray(F.adaptive_avg_pool2d(tensor[:, None], size)[:, 0].numpy(), np.float64)
