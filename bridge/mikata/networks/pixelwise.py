"""What every network from images to images is to the commands that run it, whatever package it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from torch import Tensor

Meaning = Literal["classes", "mask", "instances", "points", "image", "unknown"]
"""What the output's channels are.

``classes``: a probability for each class, background first; they add up to 1.
``mask``: a probability of foreground for each channel, by itself.
``instances``: as ``classes`` (background, inside), and then a channel from which touching objects are parted.
``points``: a heat map of centres (0 to 1) for each class, and then height and width in px.
``image``: a restored image. ``unknown``: numbers of which nothing more is known.
"""

SIZES = ("height", "width")
"""Names of the last channels of a network of Mikata's that finds points."""


def unchanged(values: NDArray[Any]) -> NDArray[Any]:
    """The same array: what `before` and `after` of a `PixelNetwork` are where there is nothing to do.

    That it is this very function tells that parts of an image can be worked on without the whole.
    """
    return values


@dataclass(frozen=True)
class Sides:
    """Which lengths of an image's side a network takes, in px: `least`, and every whole number of `step` more.

    A `step` of 0: this length only.
    """

    least: int
    step: int

    def takes(self, length: int) -> bool:
        """Whether a side of this length goes through the network as it is."""
        if self.step == 0:
            return length == self.least
        return length >= self.least and (length - self.least) % self.step == 0

    def at_least(self, length: int) -> int:
        """The shortest side the network takes that is not below `length`; a fixed one's is its own."""
        if self.step == 0 or length <= self.least:
            return self.least
        return self.least + -(-(length - self.least) // self.step) * self.step


@dataclass(frozen=True, eq=False)
class PixelNetwork:
    """A network from images to images: the plain one that sees tiles, and what comes before and behind it.

    What depends on the whole image (percentiles, mean and deviation of all its pixels) is in `before` and `after`, which
    get the whole image, so that cutting it into tiles does not change the result.

    Attributes
    ----------
    path:
        Its package, for messages.
    channels:
        Number of input channels.
    before:
        Whole image (C, H, W), float32 in the unit of the training images, to what the network takes; `unchanged` where
        that is the image itself.
    network:
        Tensor (N, C, h, w) to (N, K, h x scale, w x scale), float32, in evaluation mode and on `device`; the same
        shift of the input by a multiple of `stride` shifts the output.
    after:
        Whole output (K, H, W) to the result of the same shape; `unchanged` where there is nothing to do.
    height, width:
        Sides of a tile that it takes.
    halo:
        Pixels of the input at each side of a pixel that have a part in its output. None: not known, or the
        whole tile; then tiles are blended and the result may depend on them.
    stride:
        px by which tiles may be shifted against each other and give the same output.
    scale:
        Output px an input px; a super-resolving network has more than 1.
    outputs:
        Names of the output's channels.
    meaning:
        What they are.
    value_unit:
        Unit of the values that it takes, such as ``HU``; ``grey`` when nothing is known.
    value_range:
        Smallest and largest value of the training images; None: not known.
    settings:
        What is needed to make objects of the output, such as thresholds chosen at training; by name.
    """

    path: Path
    channels: int
    before: Callable[[NDArray[Any]], NDArray[Any]]
    network: Callable[[Tensor], Tensor]
    after: Callable[[NDArray[Any]], NDArray[Any]]
    height: Sides
    width: Sides
    halo: int | None
    stride: int
    scale: int
    outputs: tuple[str, ...]
    meaning: Meaning
    value_unit: str = "grey"
    value_range: tuple[float, float] | None = None
    settings: dict[str, float] | None = None
