"""Planes under attack: FGSM and PGD at the bound, the smallest change found, and where the heat goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.explaining.robustness.asked import Asked, full
from mikata.explaining.robustness.moved_heat import Movement, movement
from mikata.explaining.robustness.samples import Sample
from mikata.explanation.attacks import Bounds, fgsm, pgd, random_start, smallest_flips
from mikata.explanation.cells import Cells
from mikata.types import Progress


@dataclass(frozen=True)
class Attack:
    """How planes are attacked.

    Attributes
    ----------
    epsilon:
        Largest change of a value, in the unit of the images' values.
    steps:
        Of PGD.
    seed:
        Of its random start.
    """

    epsilon: float
    steps: int
    seed: int


@dataclass(frozen=True)
class Said:
    """What the network says of a changed plane.

    Attributes
    ----------
    predicted, probability:
        Number of the predicted class, and its probability.
    left:
        Probability of the class predicted on the unchanged plane.
    """

    predicted: int
    probability: float
    left: float


@dataclass(frozen=True)
class Facts:
    """What was found of one plane, without its pixels.

    Attributes
    ----------
    before, fgsm, pgd:
        What the network says of it, and of it changed at the bound.
    smallest:
        Of it with the smallest change found that flips the class; None where none was found.
    distance:
        Size of that change, in the unit of the values; infinite where none was found.
    range:
        From the plane's lowest to its highest value.
    still:
        Whether the score does not depend on any value that could be changed: then the attacks say nothing.
    moved:
        How the heat of the class predicted before moves; None where there is no heat.
    size:
        Height and width at which the plane was changed.
    layer:
        That the heat is from.
    """

    before: Said
    fgsm: Said
    pgd: Said
    smallest: Said | None
    distance: float
    range: float
    still: bool
    moved: Movement | None
    size: tuple[int, int]
    layer: str

    @property
    def after(self) -> Said:
        """What the network says of the changed plane that is shown."""
        return self.smallest or self.pgd

    @property
    def percent(self) -> float:
        """The smallest change in per cent of the range of the plane's values."""
        return 100 * self.distance / self.range


@dataclass(frozen=True, eq=False)
class Attacked:
    """One plane.

    Attributes
    ----------
    sample, facts:
        The plane, and what was found.
    changed:
        (c, h, w) with the smallest change, or, where none was found, by PGD at the bound.
    heat:
        (3, h, w): of the class predicted on the unchanged plane, before and after the change, and of the class
        predicted after it; None where there is none.
    """

    sample: Sample
    facts: Facts
    changed: NDArray[np.float32]
    heat: NDArray[np.float32] | None

    @property
    def original(self) -> NDArray[np.float32]:
        """(c, h, w)."""
        return np.asarray(self.sample.changeable.numpy(), np.float32)

    @property
    def difference(self) -> NDArray[np.float32]:
        """(c, h, w) the changed plane less the unchanged one."""
        return self.changed - self.original


def attacked(asked: Asked, batch: Sequence[Sample], attack: Attack, progress: Progress) -> list[Attacked]:
    """Attack planes whose `changeable` are of one shape.

    Raises
    ------
    NetworkError
        As `mikata.explanation.attacks` and `Asked.heat`.
    """
    images = torch.stack([one.changeable for one in batch]).to(asked.device)
    low, high = (
        torch.tensor([one.limits[end] for one in batch], dtype=images.dtype, device=asked.device)
        for end in (0, 1)
    )
    bounds = Bounds(low, high)
    before = asked.probabilities(images)
    classes = before.argmax(1)
    start = random_start(images, [one.seed(attack.seed) for one in batch])
    at_once = fgsm(asked.scores, images, classes, attack.epsilon, bounds)
    progress.check()
    stepwise = pgd(
        asked.scores, images, classes, attack.epsilon, bounds,
        steps=attack.steps, start=start, check=progress.check,
    )  # fmt: skip
    flips = smallest_flips(
        asked.scores, images, classes, attack.epsilon, bounds,
        steps=attack.steps, start=start, check=progress.check,
    )  # fmt: skip
    flipped = flips.flipped
    changed = torch.where(flipped[:, None, None, None], flips.changed, stepwise)
    answers = [asked.probabilities(one) for one in (images, at_once, stepwise, changed)]
    said = [_said(one, classes) for one in answers]
    after = answers[3].argmax(1)
    maps = _heat(asked, images, changed, classes.tolist(), after.tolist(), progress)
    found = []
    for n, sample in enumerate(batch):
        heat, grids, size = maps[n] if maps else (None, None, (0, 0))
        moved = None
        if heat is not None and grids is not None:
            image = sample.plane.height, sample.plane.width
            cells = Cells(
                (grids.shape[1], grids.shape[2]), image, size if asked.network.fit == "native" else image
            )
            moved = movement(heat[0], heat[1], (grids[0], grids[1]), cells)
        facts = Facts(
            said[0][n],
            said[1][n],
            said[2][n],
            said[3][n] if flipped[n] else None,
            float(flips.distance[n]) if flipped[n] else math.inf,
            sample.range,
            bool((at_once[n] == images[n]).all()),
            moved,
            (int(images.shape[-2]), int(images.shape[-1])),
            asked.layer if moved else "",
        )
        found.append(Attacked(sample, facts, np.asarray(changed[n].cpu().numpy(), np.float32), heat))
    return found


def _said(probabilities: torch.Tensor, classes: torch.Tensor) -> list[Said]:
    top, numbers = probabilities.max(1)
    left = probabilities.gather(1, classes[:, None])[:, 0]
    return [Said(*one) for one in zip(numbers.tolist(), top.tolist(), left.tolist(), strict=True)]


_Maps = tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]


def _heat(
    asked: Asked,
    images: torch.Tensor,
    changed: torch.Tensor,
    classes: list[int],
    after: list[int],
    progress: Progress,
) -> list[_Maps]:
    """For each plane its three maps, the same on the network's grid, and the size of the network's input."""
    height, width = images.shape[-2:]
    maps, grids = [], []
    for given, numbers in ((images, classes), (changed, classes), (changed, after)):
        progress.check()
        explained = asked.heat(given, numbers)
        if explained is None:
            return []
        maps.append(full(explained, height, width))
        grids.append(np.asarray(explained.grid.float().cpu().numpy(), np.float32))
        size = int(explained.maps.shape[-2]), int(explained.maps.shape[-1])
    return [
        (np.stack(m), np.stack(g), size)
        for m, g in zip(zip(*maps, strict=True), zip(*grids, strict=True), strict=True)
    ]
