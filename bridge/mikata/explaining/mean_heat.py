"""The mean heat map of each class over the mean image, whatever sizes the images have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mikata import images
from mikata.errors import ImageError
from mikata.explanation.cells import Cells
from mikata.explanation.planes import PlaneHeat
from mikata.language import say
from mikata.types import Image

LONG_SIDE_PX = 512
_SUMMED_PX = 256
_CHANNELS = 64
_SIZES = 16  # sums of pictures kept at their own size; of more sizes, later ones are scaled first


def reference_picture(path: Path) -> NDArray[np.float64]:
    """The first plane of an image as grey values from 0 to 1, (height, width).

    Raises
    ------
    ImageError
        If it cannot be read, is constant, or holds NaN or infinity.
    """
    image = images.read(path)
    values = np.asarray(next(image.frames()).values, np.float64).mean(0)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise ImageError(
            say(
                "{path} cannot be the reference image: all its values are the same, or some are no numbers.",
                path=path,
            )
        )
    return np.asarray((values - values.min()) / np.ptp(values), np.float64)


@dataclass
class MeanHeat:
    """Sums of heat maps by class, and of the images, as they come in.

    Each map is divided by its own mean first, so that every image counts the same: 1 is heat spread evenly.
    """

    _sums: dict[tuple[int, Cells], NDArray[np.float64]] = field(default_factory=dict, init=False)
    _counts: dict[int, int] = field(default_factory=dict, init=False)
    _pictures: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False)
    _aspects: list[float] = field(default_factory=list, init=False)

    def add(self, heat: PlaneHeat, total: NDArray[np.float64], *, picture: bool) -> None:
        """Take the maps of one plane, whose sums over all pixels are `total` (K,), and the plane where wanted."""
        height, width = heat.cells.image
        for number, grid, sum_ in zip(heat.classes, heat.grid, total.tolist(), strict=True):
            if sum_ > 0:
                key = number, replace(heat.cells)  # a copy: the plane's own holds large tables of its size
                scaled = grid * (height * width / sum_)
                self._sums[key] = self._sums[key] + scaled if key in self._sums else scaled.astype(np.float64)
                self._counts[number] = self._counts.get(number, 0) + 1
        self._aspects.append(height / width)
        if picture:
            grey = heat.pixels.mean(0) if len(heat.pixels) > 1 else heat.pixels[0]
            low, high = (float(end) for end in grey.aminmax())
            grey = (grey - low) / max(high - low, 1e-12)
            size = (grey.shape[0], grey.shape[1])
            if size not in self._pictures and len(self._pictures) >= _SIZES:
                size = (_SUMMED_PX, _SUMMED_PX)
                grey = _scaled(grey, size)
            self._pictures[size] = self._pictures[size].add_(grey) if size in self._pictures else grey

    @property
    def classes(self) -> tuple[int, ...]:
        """Numbers of the classes that have a map with heat."""
        return tuple(sorted(self._counts))

    def count(self, number: int) -> int:
        """How many maps a class's mean is of."""
        return self._counts[number]

    def size(self) -> tuple[int, int]:
        """Height and width of the mean image in px: the images' median aspect, the longer side `LONG_SIDE_PX`."""
        aspect = float(np.median(self._aspects))
        if aspect >= 1:
            return LONG_SIDE_PX, max(1, round(LONG_SIDE_PX / aspect))
        return max(1, round(LONG_SIDE_PX * aspect)), LONG_SIDE_PX

    def picture(self) -> NDArray[np.float64]:
        """Mean of the images (height, width), 0 to 1: each scaled to one size and stretched to its own extremes."""
        size = self.size()
        total = sum(_scaled(sum_, size).numpy().astype(np.float64) for sum_ in self._pictures.values())
        mean = np.asarray(total)
        return np.asarray((mean - mean.min()) / max(float(np.ptp(mean)), 1e-12), np.float64)

    def map(self, number: int, size: tuple[int, int]) -> NDArray[np.float64]:
        """Mean heat of a class at that size (height, width), in times of an even spread."""
        total = np.zeros(size)
        for (own, cells), sum_ in self._sums.items():
            if own == number:
                total += cells.scaled(sum_, size)
        return total / self._counts[number]

    def image(self, names: Sequence[str], size: tuple[int, int]) -> Image | None:
        """Mean heat as a 32-bit image, a channel for each class; None where there is no heat.

        Of more than 64 classes, those with most maps.
        """
        if not self._counts:
            return None
        most = sorted(self.classes, key=lambda number: -self._counts[number])[:_CHANNELS]
        chosen = sorted(most)
        planes = np.stack([self.map(number, size).astype(np.float32) for number in chosen])
        several = len(planes) > 1
        return Image(
            planes if several else planes[0],
            "CYX" if several else "YX",
            title="mean heat",
            value_unit="times the even spread",
            display_ranges=((0.0, float(planes.max())),) * len(planes),
            mode="grayscale" if several else "",
            slice_labels=tuple(names[number] for number in chosen) if several else (),
        )


def _scaled(grey: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0, 0]
