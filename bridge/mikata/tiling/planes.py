"""One plane of an image, read tile by tile as a network takes it: checked, with its channels, continued as in a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.errors import ImageError, NetworkError
from mikata.language import say
from mikata.networks.inputs import InputSpec, check_values, fit_channels
from mikata.networks.pixelwise import PixelNetwork, unchanged
from mikata.types import Image

BAND = 256
"""Rows that are worked on together where a whole plane at once would take much memory."""


class PlaneValues:
    """Calibrated values of one plane, made of the stored ones where they are asked for.

    Parameters
    ----------
    image:
        The image; its unit and values are checked as for a classifier (`mikata.networks.to_input`).
    z, t:
        Which plane, from 1.
    network:
        What is to see it.
    name:
        File and slice, for messages.

    Raises
    ------
    ImageError
        If the values are not finite or all the same, in another unit, far outside the range that the network was
        trained on, or the channels do not fit.
    """

    def __init__(self, image: Image, z: int, t: int, network: PixelNetwork, name: str) -> None:
        self.name = name
        self._network = network
        stored = _stored(image, z, t)
        if image.calibration is not None:
            # float64 in between (`Image.values`), so not the whole plane at once
            values = np.empty(stored.shape, np.float32)
            for low in range(0, stored.shape[1], BAND):
                part = np.ascontiguousarray(stored[:, low : low + BAND])
                values[:, low : low + BAND] = Image(
                    part, "CYX", image.title, calibration=image.calibration
                ).values()
            stored = values
        low_high = network.value_range or (float("-inf"), float("inf"))
        spec = InputSpec(network.channels, (1, 1), "native", network.value_unit, low_high)
        check_values(stored, spec, name=name, unit=image.calibrated_unit)
        self._values = fit_channels(stored, network.channels, name)
        self._prepared: NDArray[Any] | None = self._values if network.before is unchanged else None

    @property
    def height(self) -> int:
        """px."""
        return int(self._values.shape[1])

    @property
    def width(self) -> int:
        """px."""
        return int(self._values.shape[2])

    def values(self, rows: slice) -> NDArray[np.float32]:
        """Calibrated values (C, rows, W), as they were before the network's own preparation."""
        return self._values[:, rows].astype(np.float32)

    def tile(self, y: int, x: int, height: int, width: int) -> NDArray[np.float32]:
        """What the network takes (C, height, width); what lies right of the image or below it is mirrored in its edge."""
        if self._prepared is None:
            self._prepared = self._prepare()
        rows, columns = _mirrored(y, height, self.height), _mirrored(x, width, self.width)
        if isinstance(rows, slice) and isinstance(columns, slice):
            found = self._prepared[:, rows, columns]
        else:
            found = self._prepared[:, rows][:, :, columns]
        return np.ascontiguousarray(found, np.float32)

    def _prepare(self) -> NDArray[np.float32]:
        network = self._network
        made = np.asarray(network.before(self._values.astype(np.float32)))
        if made.ndim != 3 or made.shape[1:] != self._values.shape[1:]:
            raise NetworkError(
                say(
                    "{model}: its preparation makes an image of shape {made} of one of shape {given}.",
                    model=network.path.name,
                    made=made.shape,
                    given=self._values.shape,
                )
            )
        if not np.isfinite(made).all():
            raise ImageError(
                say(
                    "{model}: its preparation makes values of {image} that are not numbers (NaN or infinite).",
                    model=network.path.name,
                    image=self.name,
                )
            )
        return made.astype(np.float32, copy=False)


def bands(height: int) -> Iterator[slice]:
    """The rows of a plane, some at a time."""
    for low in range(0, height, BAND):
        yield slice(low, min(low + BAND, height))


def _stored(image: Image, z: int, t: int) -> NDArray[Any]:
    """Stored values of one plane as a view (C, H, W)."""
    index: list[Any] = [slice(None)] * image.array.ndim
    for axis, number in (("T", t), ("Z", z)):
        if axis in image.axes:
            index[image.axes.index(axis)] = number - 1
    plane: NDArray[Any] = image.array[tuple(index)]
    if image.is_colour:
        plane = np.moveaxis(plane, -1, -3)  # samples before rows
        plane = plane.reshape(-1, *plane.shape[-2:])
    elif plane.ndim == 2:
        plane = plane[None]
    return plane


def _mirrored(start: int, length: int, size: int) -> slice | NDArray[np.int64]:
    """Numbers of the pixels from `start` on; behind the last one back again, and so on."""
    if start + length <= size:
        return slice(start, start + length)
    numbers = np.arange(start, start + length)
    if size == 1:
        return np.zeros_like(numbers)
    numbers %= 2 * (size - 1)
    return np.where(numbers < size, numbers, 2 * (size - 1) - numbers)
