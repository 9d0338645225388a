"""What was found as rows: one an object or point, and one a plane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.networks import PixelNetwork
from mikata.segmenting.asked import Reading
from mikata.segmenting.plane import Found
from mikata.tiling import bands
from mikata.types import Image

_PLACE = ("image", "slice", "frame")

Place = tuple[str, int, int]


def object_columns(network: PixelNetwork, reading: Reading) -> tuple[str, ...]:
    """Of the table of objects or points."""
    if reading.kind == "points":
        return *_PLACE, "object", "class", "score", "x_px", "y_px", "width_px", "height_px", "x", "y", "unit"
    means = ("mean",) if network.channels == 1 else tuple(f"mean_{n + 1}" for n in range(network.channels))
    return *_PLACE, "object", "class", "area_px", "area", "area_unit", "x_px", "y_px", *means, "value_unit", "probability"  # fmt: skip


def object_rows(
    place: Place, image: Image, found: Found, reading: Reading, network: PixelNetwork
) -> Iterator[tuple[Any, ...]]:
    """The objects or points of a plane; coordinates are ImageJ's, in px of the image that was given."""
    wide, tall, _ = image.pixel_size
    for number, one in enumerate(found.points, 1):
        yield (
            *place, number, reading.names[one.kind], one.score, one.x, one.y, one.width or None, one.height or None,
            one.x * wide, one.y * tall, image.unit,
        )  # fmt: skip
    if found.objects is None or found.measured is None:
        return
    cell = wide * tall / network.scale**2
    measured = found.measured
    for index, kind in enumerate(found.objects.classes.tolist()):
        area = int(measured.areas[index])
        yield (
            *place, index + 1, reading.names[kind], area, area * cell, f"{image.unit}²",
            float(measured.x[index]) / network.scale, float(measured.y[index]) / network.scale,
            *measured.means[index].tolist(), image.calibrated_unit, float(measured.chances[index]),
        )  # fmt: skip


def plane_columns(reading: Reading) -> tuple[str, ...]:
    """Of the table of planes."""
    if reading.kind == "image":
        return *_PLACE, "channel", "minimum", "mean", "maximum"
    names = [reading.names[kind] for kind in reading.counted]
    if reading.kind == "points":
        return *_PLACE, "points", *(f"count({name})" for name in names)
    return *_PLACE, "objects", *(f"{what}({name})" for name in names for what in ("count", "area_px", "percent"))  # fmt: skip


def empty_rows(place: Place, reading: Reading) -> Iterator[tuple[Any, ...]]:
    """The row of a plane that could not be worked on, empty, so that none is missing from a stack's table."""
    yield *place, *(None for _ in plane_columns(reading)[len(place) :])


def plane_rows(
    place: Place, found: Found, reading: Reading, output: NDArray[np.float32] | None
) -> Iterator[tuple[Any, ...]]:
    """One row of a plane; of a restored image one a channel."""
    if reading.kind == "image":
        assert output is not None
        for name, values in zip(reading.names, output, strict=True):
            total = sum(float(values[rows].sum(dtype=np.float64)) for rows in bands(len(values)))
            yield *place, name, float(values.min()), total / values.size, float(values.max())
        return
    if reading.kind == "points":
        counts = [sum(one.kind == kind for one in found.points) for kind in reading.counted]
        yield *place, len(found.points), *counts
        return
    assert found.objects is not None
    assert found.measured is not None
    assert found.classes is not None
    size = found.classes[0].size
    cells: list[Any] = []
    for kind in reading.counted:
        own = found.objects.classes == kind
        area = int(found.measured.areas[own].sum())
        cells += [int(own.sum()), area, 100 * area / size]
    yield *place, len(found.objects), *cells
