"""Images whose class depends on a mark in a known place only, and a small network that finds it.

The ground is noise that is smooth downwards; the mark is noise of the same strength that is smooth across. So it is
neither brighter nor stronger than its surroundings, and a network without training has no reason to prefer it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.networks import Model, build

CELL, CELLS, MARK = 8, 12, 5
SIZE = CELL * CELLS
AREA = (MARK / CELLS) ** 2
CLASSES = ("plain", "marked")


class Finder(nn.Module):
    """Each cell of its grid sees 8 x 8 px, and nothing else. `image` is a layer that gives the image as it is."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.image = nn.Identity()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=4), nn.ReLU(), nn.Conv2d(width, width, 2, stride=2), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(self.image(x))).flatten(1))  # type: ignore[no-any-return]


def _smooth(shape: tuple[int, ...], axis: int, random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.standard_normal(shape).astype(np.float32)
    return np.asarray(convolve1d(noise, [0.5] * 4, axis=axis, mode="wrap"), np.float32)


def planted(count: int, seed: int) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
    """Images (N, 1, 96, 96) of mean 0 and SD 1, classes 0 and 1 by turns, and where the mark is or would be."""
    random = np.random.default_rng(seed)
    ground, mark = (_smooth((count, SIZE, SIZE), axis, random) for axis in (-2, -1))
    masks = np.zeros((count, SIZE, SIZE), bool)
    for mask in masks:
        y, x = random.integers(0, CELLS - MARK + 1, 2) * CELL
        mask[y : y + MARK * CELL, x : x + MARK * CELL] = True
    labels = np.arange(count) % 2
    images = np.where(masks & (labels == 1)[:, None, None], mark, ground)
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels), masks


@functools.cache
def finder(seed: int = 0, steps: int = 150) -> Finder:
    """A network that has learnt to find the mark; the same every time."""
    torch.manual_seed(seed)
    network = Finder()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(steps):
        images, labels, _ = planted(16, 1000 * (seed + 1) + step)
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def model(network: nn.Module, name: str = "finder") -> Model:
    """A package's content around such a network, for images whose grey values are 100 + 20 times the planted ones."""
    classifier: Classifier = build("small_cnn", classes=2, channels=1, mean=[100.0], std=[20.0])
    classifier.network = network
    return Model(
        classifier=classifier.eval(),
        classes=CLASSES,
        channels=1,
        size=(SIZE, SIZE),
        fit="native",
        value_unit="grey",
        value_range=(0.0, 255.0),
        weights_sha256=name,
        record={},
        path=Path(name),
    )
