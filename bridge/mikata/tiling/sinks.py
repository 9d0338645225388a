"""What is kept of a network's output, made of each finished part on the device where it is.

The K channels of a large image take more memory than the image; most results need one number of them. A sink takes
parts (K, h, w) with their place, each pixel once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mikata.tiling.kept import zeros

CHANCES = 65535
"""Steps in which probabilities are kept where their mean is wanted later: an error of 8e-6 at most."""


class Sink(Protocol):
    """Takes the finished parts of an output."""

    def reduce(self, values: Tensor) -> tuple[Tensor, ...]:
        """What is kept of a part (K, h, w), on its device."""

    def put(self, y: int, x: int, parts: tuple[NDArray[Any], ...]) -> None:
        """Keep it, with the place of its first pixel."""


class Winners:
    """The most probable class of each pixel.

    Parameters
    ----------
    shape:
        Height and width.
    channels:
        How many of the first channels are classes.
    least:
        Probability (0 to 1) below which a class counts as the first one, background.
    joined:
        Whether all but the first class are parts of one thing, so that its probability is their sum.

    Attributes
    ----------
    classes:
        (1, H, W) number of the class; uint8, or uint16 of more than 256 classes.
    chances:
        (1, H, W) uint16: its probability in steps of 1 / `CHANCES`.
    """

    def __init__(self, shape: tuple[int, int], channels: int, least: float, joined: bool = False) -> None:
        self._channels, self._least, self._joined = channels, least, joined
        self._kind = torch.uint8 if channels <= 256 else torch.int32
        self.classes = zeros((1, *shape), np.uint8 if channels <= 256 else np.uint16)
        self.chances = zeros((1, *shape), np.uint16)

    def reduce(self, values: Tensor) -> tuple[Tensor, ...]:
        """Class and probability; a class other than the first one of less than the least probability becomes it."""
        chance, winner = values[: self._channels].max(0)
        if self._joined:
            chance = torch.where(winner > 0, 1 - values[0], chance)
        if self._least > 0:
            winner = torch.where(chance < self._least, torch.zeros_like(winner), winner)
        return winner.to(self._kind), _steps(chance)

    def put(self, y: int, x: int, parts: tuple[NDArray[Any], ...]) -> None:
        """Keep both."""
        height, width = parts[0].shape
        self.classes[0, y : y + height, x : x + width] = parts[0]
        self.chances[0, y : y + height, x : x + width] = parts[1]


class Masks:
    """Where each channel by itself reaches a probability.

    Attributes
    ----------
    classes:
        (K, H, W) uint8: 1 where it does.
    chances:
        (K, H, W) uint16: the probability in steps of 1 / `CHANCES`.
    """

    def __init__(self, shape: tuple[int, int], channels: int, least: float) -> None:
        self._least = least
        self.classes = zeros((channels, *shape), np.uint8)
        self.chances = zeros((channels, *shape), np.uint16)

    def reduce(self, values: Tensor) -> tuple[Tensor, ...]:
        """Foreground and probability."""
        return (values >= self._least).to(torch.uint8), _steps(values)

    def put(self, y: int, x: int, parts: tuple[NDArray[Any], ...]) -> None:
        """Keep both."""
        height, width = parts[0].shape[1:]
        self.classes[:, y : y + height, x : x + width] = parts[0]
        self.chances[:, y : y + height, x : x + width] = parts[1]


class Channels:
    """Some channels as they are, into an array.

    Parameters
    ----------
    values:
        (k, H, W) float32, to be filled.
    chosen:
        Which channels of the output.
    """

    def __init__(self, values: NDArray[np.float32], chosen: slice = slice(None)) -> None:
        self.values = values
        self._chosen = chosen

    def reduce(self, values: Tensor) -> tuple[Tensor, ...]:
        """The channels."""
        return (values[self._chosen],)

    def put(self, y: int, x: int, parts: tuple[NDArray[Any], ...]) -> None:
        """Keep them."""
        height, width = parts[0].shape[1:]
        self.values[:, y : y + height, x : x + width] = parts[0]


def _steps(chance: Tensor) -> Tensor:
    # int32 in between: torch's uint16 has no arithmetic
    return (chance.clamp(0, 1) * CHANCES).round().to(torch.int32)
