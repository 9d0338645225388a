"""The planes that are tested: a sample of the images, each with what may be changed of it and within which limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mikata.errors import ImageError
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model, to_input
from mikata.prediction import Plane
from mikata.types import Frame, Image, Progress


@dataclass(frozen=True, eq=False)
class Sample:
    """One plane.

    Attributes
    ----------
    plane:
        Which one.
    values:
        (C, H, W) calibrated, as in the file.
    input:
        (C, h, w) as the network takes it.
    changeable:
        (c, h, w) what an attack may change: the values at the size at which the network takes them, without what
        continues a small image, and one channel where all are equal, so that a grey image stays grey.
    limits:
        Lowest and highest value of the image's type, calibrated; of 32-bit images the image's own.
    own:
        The plane's own lowest and highest value.
    eight_bit:
        Whether the image holds 8 bits.
    """

    plane: Plane
    values: NDArray[np.float32]
    input: Tensor
    changeable: Tensor
    limits: tuple[float, float]
    own: tuple[float, float]
    eight_bit: bool

    @property
    def window(self) -> tuple[float, float]:
        """What is shown, or stored in 8 bits, as black and white."""
        return self.limits if self.eight_bit else self.own

    @property
    def range(self) -> float:
        """From the plane's lowest to its highest value."""
        return self.own[1] - self.own[0]

    def seed(self, seed: int) -> int:
        """A seed of its own, whatever else is in the sample."""
        return zlib.crc32(f"{seed} {self.plane.image} {self.plane.z} {self.plane.t}".encode())


class Sampled(Images):
    """A random sample of images, in their order, and how many planes of each are taken.

    Parameters
    ----------
    source:
        All images.
    limit:
        Most planes, or so: images are drawn first, and of each the same number of planes, at least one. 0: all.
    seed:
        Of the draw.
    """

    def __init__(self, source: Images, limit: int, seed: int) -> None:
        count = len(source)
        kept = count
        if limit and count > limit:
            kept = limit
        chosen = np.sort(np.random.default_rng(seed).permutation(count)[:kept])
        super().__init__(
            [source._items[index] for index in chosen],
            keep_metadata=source._keep_metadata,
            origin=source._origin,
        )
        self.all_images = count
        self.planes_each = max(1, limit // kept) if limit else 0
        self.cut_planes = False
        self._seed = seed

    def planes(self, name: str, image: Image) -> set[tuple[int, int]]:
        """Slice and frame, from 1, of the planes of an image that are taken."""
        every = [(z + 1, t + 1) for t in range(image.size("T")) for z in range(image.size("Z"))]
        if not self.planes_each or len(every) <= self.planes_each:
            return set(every)
        self.cut_planes = True
        random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        return {every[index] for index in random.permutation(len(every))[: self.planes_each]}

    def words(self) -> str:
        """How the sample was drawn, in a sentence; empty where everything is tested."""
        found = []
        if len(self) < self.all_images:
            found.append(
                say(
                    "A random sample of {count} of {all} images (seed {seed}).",
                    count=len(self),
                    all=self.all_images,
                    seed=self._seed,
                )
            )
        if self.cut_planes:
            found.append(
                say(
                    "Of images with more planes, {count} drawn at random (seed {seed}).",
                    count=self.planes_each,
                    seed=self._seed,
                )
            )
        return " ".join(found)


def samples(network: Model, source: Sampled, progress: Progress, message: str) -> Iterator[list[Sample]]:
    """The planes of one image after the other; those that do not suit the network are listed in ``source.skipped``.

    Raises
    ------
    ImageError
        If no plane can be used.
    """
    first: ImageError | None = None
    any_good = False
    for number, (name, image) in enumerate(source.items()):
        progress.step(message, number, len(source))
        taken = source.planes(name, image)
        limits = type_limits(image)
        found = []
        for frame in image.frames():
            if (frame.z, frame.t) not in taken:
                continue
            try:
                found.append(_sample(network, image, frame, name, limits))
            except ImageError as error:
                first = first or error
                source.skipped.append((image.path or Path(name), str(error)))
        if found:
            any_good = True
            yield found
    progress.step(message, len(source), len(source))
    if not any_good and first:
        raise first


def type_limits(image: Image) -> tuple[float, float]:
    """Lowest and highest calibrated value that an image of this type can hold; of 32-bit images, that it does hold."""
    if image.array.dtype == np.float32:
        values = image.array[np.isfinite(image.array)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    stored = np.arange(np.iinfo(image.array.dtype).max + 1, dtype=image.array.dtype)
    values = image.replace(array=stored[None], axes="YX", overlay=(), luts=(), display_ranges=()).values()
    return float(values.min()), float(values.max())


def _sample(network: Model, image: Image, frame: Frame, name: str, limits: tuple[float, float]) -> Sample:
    where = _where(image, name, frame)
    given = to_input(frame.values, network, name=where, unit=image.calibrated_unit)
    height, width = frame.values.shape[1:]
    changeable = given[:, :height, :width] if network.fit == "native" else given
    if all(torch.equal(changeable[0], channel) for channel in changeable[1:]):
        changeable = changeable[:1]
    return Sample(
        Plane(name, frame.z, frame.t, height, width),
        frame.values,
        given,
        changeable,
        limits,
        (float(frame.values.min()), float(frame.values.max())),
        image.array.dtype == np.uint8,
    )


def _where(image: Image, name: str, frame: Frame) -> str:
    parts = [name]
    if image.size("Z") > 1:
        parts.append(say("slice {z}", z=frame.z))
    if image.size("T") > 1:
        parts.append(say("frame {t}", t=frame.t))
    return ", ".join(parts)
