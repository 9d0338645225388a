"""The measurements on the chosen planes: maps, and scores of changed images, with nothing judged yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.explaining.controls.sample import Alike
from mikata.explanation.controls import curves, disturbed, plain_maps
from mikata.explanation.controls.explainer import Explainer, pooled
from mikata.explanation.controls.likeness import spearman, spearman_of_all, ssim, ssim_of_all
from mikata.explanation.controls.randomised import Randomised

RANDOM_NETWORKS = 8
CASCADES = 3
"""Of the random networks, those whose maps are looked at on every depth."""

RANDOM_ORDERS = 3
ORDERS = ("map", "edges", "centre", "random orders")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Randomisation:
    """Likeness of maps of random weights to the original ones.

    Attributes
    ----------
    depths, layers:
        Numbers of layers drawn anew, and of all layers.
    by_depth, ssim_by_depth:
        (cascades, depths, N).
    full, ssim_full:
        (networks, N) with all layers drawn anew.
    examples:
        (depths, N, h, w) maps of the first cascade on the common grid.
    """

    depths: tuple[int, ...]
    layers: int
    by_depth: Array
    ssim_by_depth: Array
    full: Array
    ssim_full: Array
    examples: Array


@dataclass(frozen=True, eq=False)
class Ordered:
    """Deletion or insertion of N images.

    Attributes
    ----------
    start, end:
        (N,) scores with no cell and with all cells exchanged.
    areas:
        For each order (N,) the area under the curve; random orders averaged.
    curves:
        For each order (N, S) at the shares `curves.SHARES`, on grids with as many steps.
    """

    start: Array
    end: Array
    areas: dict[str, Array]
    curves: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Disturbance:
    """Likeness (N,) of maps of changed images to the original ones, mean over the changes, and the share (N,) of
    changes by which the predicted class becomes another; NaN where a value is predicted."""

    likeness: Array
    changed: Array


@dataclass
class Measuring:
    """All that is measured on the chosen planes.

    Attributes
    ----------
    count:
        Number of images N.
    explainer:
        With its network; the network is left as it is.
    groups:
        Images of one size each.
    seed:
        Of all that is drawn.
    grid:
        Rows and columns of the grid on which maps of different images are compared: the smallest of all.
    maps:
        (N, *grid) the original maps.
    """

    count: int
    explainer: Explainer
    groups: Sequence[Alike]
    seed: int
    grid: tuple[int, int] = field(init=False)
    maps: Array = field(init=False)
    _own: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        self._own = [self.explainer.grids(group.images, group.classes) for group in self.groups]
        self.grid = min(one.shape[1] for one in self._own), min(one.shape[2] for one in self._own)
        self.maps = self._gathered([pooled(one, self.grid) for one in self._own])

    @staticmethod
    def passes(depths: int) -> int:
        """How often each image goes through the network."""
        changes = 4 + disturbed.NOISES
        inner = len(curves.SHARES) - 2
        cascade = RANDOM_NETWORKS + CASCADES * max(depths - 1, 0)
        return 1 + cascade + 4 + 2 * inner * (len(ORDERS) - 1 + RANDOM_ORDERS) + 2 + 2 * changes

    def others(self) -> Array:
        """Likeness of each image's map to each other's (N, N)."""
        return spearman_of_all(self.maps)

    def others_ssim(self) -> Array:
        """SSIM of each image's map with each other's (N, N), NaN on the diagonal."""
        return ssim_of_all(self.maps)

    def edges(self) -> Array:
        """(N, *grid) of the edge detector."""
        return self._gathered([plain_maps.edges(group.images, self.grid) for group in self.groups])

    def likeness_to(self, maps: Array) -> Array:
        """Likeness (N,) of the original maps to others (N, *grid)."""
        return spearman(self.maps, maps)

    def randomisation(self, random: Randomised) -> Randomisation:
        """The cascade of random weights."""
        depths = random.depths()
        by_depth, by_depth_ssim = (np.full((CASCADES, len(depths), self.count), np.nan) for _ in range(2))
        full, full_ssim = (np.full((RANDOM_NETWORKS, self.count), np.nan) for _ in range(2))
        examples = np.zeros((len(depths), self.count, *self.grid))
        for network in range(RANDOM_NETWORKS):
            wanted = depths if network < CASCADES else depths[-1:]
            seed = 1000 * self.seed + network
            for place, changed in enumerate(random.cascade(seed, wanted)):
                made = [self.explainer.grids(group.images, group.classes, changed) for group in self.groups]
                maps = self._gathered([pooled(one, self.grid) for one in made])
                alike, structure = spearman(self.maps, maps), ssim(self.maps, maps)
                if network < CASCADES:
                    by_depth[network, place], by_depth_ssim[network, place] = alike, structure
                if network == 0:
                    examples[place] = maps
                if place == len(wanted) - 1:
                    full[network], full_ssim[network] = alike, structure
        return Randomisation(depths, len(random.layers), by_depth, by_depth_ssim, full, full_ssim, examples)

    def deletion(self) -> Ordered:
        """Covering with the training images' mean, which is 0 of normalised images."""
        return self._ordered(lambda images: (torch.zeros_like(images), images))

    def insertion(self) -> Ordered:
        """Showing in the blurred image."""
        return self._ordered(lambda images: (images, curves.blurred(images)))

    def _ordered(self, of: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> Ordered:
        starts, ends = [], []
        areas: dict[str, list[Array]] = {name: [] for name in ORDERS}
        drawn: dict[str, list[Array]] = {name: [] for name in ORDERS}
        score = self.explainer.score
        for group, maps in zip(self.groups, self._own, strict=True):
            covered, open_ = of(group.images)
            both = score(open_, group.classes), score(covered, group.classes)
            grid = maps.shape[1], maps.shape[2]
            edge = plain_maps.edges(group.images, grid)
            middle = np.broadcast_to(plain_maps.centre(grid), maps.shape)
            places = {
                "map": [curves.order(maps, self.seed)],
                "edges": [curves.order(edge, self.seed + 1)],
                "centre": [curves.order(middle, self.seed + 2)],
                "random orders": [
                    curves.random_order(len(maps), grid, self.seed + 3 + k) for k in range(RANDOM_ORDERS)
                ],
            }
            starts.append(both[0])
            ends.append(both[1])
            for name, own in places.items():
                found = np.mean(
                    [curves.curve(score, covered, open_, one, group.classes, both) for one in own], axis=0
                )
                areas[name].append(curves.area(found, grid))
                # grids of very few cells have fewer steps: brought to the usual ones to be drawn
                counts = curves.steps(grid)
                shares = counts / counts[-1]
                drawn[name].append(np.stack([np.interp(curves.SHARES, shares, row) for row in found]))
        return Ordered(
            self._gathered(starts),
            self._gathered(ends),
            {name: self._gathered(values) for name, values in areas.items()},
            {name: self._gathered(values) for name, values in drawn.items()},
        )

    def moved(self) -> Disturbance:
        """Images moved by a few pixels to each side, their maps moved back."""
        return self._disturbed(shifted=True)

    def noisy(self) -> Disturbance:
        """Images with a little noise."""
        return self._disturbed(shifted=False)

    def _disturbed(self, *, shifted: bool) -> Disturbance:
        alike, changed = [], []
        for group, maps in zip(self.groups, self._own, strict=True):
            size = int(group.images.shape[-2]), int(group.images.shape[-1])
            before = self.explainer.outputs(group.images)
            own_alike, own_changed = [], []
            for number in range(4 if shifted else disturbed.NOISES):
                shift = disturbed.shifts(size)[number]
                images = (
                    disturbed.moved(group.images, shift)
                    if shifted
                    else disturbed.noisy(group.images, self.seed + number)
                )
                found = self.explainer.grids(images, group.classes)
                first, second = (
                    disturbed.moved_back(maps, found, shift, size, maps.shape[1:])
                    if shifted
                    else (maps, found)
                )
                own_alike.append(_kept(maps, spearman(first, second)))
                after = self.explainer.outputs(images)
                own_changed.append(before.argmax(1) != after.argmax(1))
            alike.append(np.mean(own_alike, axis=0))
            several = before.shape[1] > 1
            changed.append(np.mean(own_changed, axis=0) if several else np.full(len(before), np.nan))
        return Disturbance(self._gathered(alike), self._gathered(changed))

    def _gathered(self, parts: Sequence[NDArray[np.floating]]) -> Array:
        """Values by group as values by image."""
        found = np.full((self.count, *parts[0].shape[1:]), np.nan)
        for group, values in zip(self.groups, parts, strict=True):
            found[group.places] = values
        return found


def _kept(maps: Array, likeness: Array) -> Array:
    """A map that a change leaves without any heat is not like the original at all; an original without stays NaN."""
    heated = np.isfinite(spearman(maps, maps))
    return np.where(heated, np.nan_to_num(likeness), np.nan)
