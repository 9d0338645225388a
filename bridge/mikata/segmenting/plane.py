"""One plane through a network, and what is found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.networks import instances
from mikata.networks.peaks import APART, Point, peaks
from mikata.segmenting.asked import Asked, Reading
from mikata.segmenting.objects import Measured, Objects, Parting, find, measure
from mikata.tiling import CHANCES, Channels, Masks, Plan, PlaneValues, Sink, Tiler, Winners, bands, zeros
from mikata.tiling.running import Told

_SEED = 0.5
"""Distance (0 at the border of an object, 1 in its middle) from which a pixel is a seed, where the package says nothing of it."""


@dataclass(frozen=True, eq=False)
class Found:
    """What is found in a plane.

    Attributes
    ----------
    plan:
        How it was divided into tiles.
    classes:
        (M, H, W) number of each pixel's class, after small objects were left out; None for points and images.
    objects, measured:
        Its objects; None for points and images.
    points:
        Its points.
    """

    plan: Plan
    classes: NDArray[Any] | None = None
    objects: Objects | None = None
    measured: Measured | None = None
    points: tuple[Point, ...] = ()


def look(
    tiler: Tiler,
    plane: PlaneValues,
    reading: Reading,
    asked: Asked,
    into: NDArray[np.float32] | None,
    told: Told,
) -> Found:
    """Run a plane through a network and find what it sees.

    Parameters
    ----------
    tiler:
        Runs the network.
    plane:
        Its values.
    reading:
        How the output is read.
    asked:
        What is wanted of it.
    into:
        (K, H, W) array for all channels where they are wanted, else None.
    told:
        Called between tiles.

    Raises
    ------
    NetworkError
        As :meth:`Tiler.run`.
    """
    network = tiler.network
    size = plane.height * network.scale, plane.width * network.scale
    sinks: list[Sink] = [] if into is None else [Channels(into)]
    if reading.kind == "image":
        return Found(tiler.run(plane, sinks, told))
    if reading.kind == "points":
        values = into
        if values is None:
            values = zeros((len(network.outputs), *size), np.float32)
            sinks.append(Channels(values))
        plan = tiler.run(plane, sinks, told)
        apart = int((network.settings or {}).get(APART, 1))
        found = peaks(
            values, reading.classes, reading.least, apart_px=apart * network.scale, cell=1 / network.scale
        )
        return Found(plan, points=tuple(found))
    regional: Winners | Masks
    if network.meaning == "mask":
        regional = Masks(size, reading.classes, reading.least)
    else:
        regional = Winners(size, reading.classes, reading.least, joined=reading.boundary)
    sinks.append(regional)
    kept: NDArray[np.float32] | None = None
    by_settings = reading.parted is not None and instances.SEED in (network.settings or {})
    if reading.parted is not None:
        shown = slice(reading.parted, reading.parted + 1)
        if by_settings:
            shown = slice(0, 2) if reading.boundary else slice(0, 3, 2)  # background, and what is high inside
        kept = zeros((1 + by_settings, *size), np.float32)
        sinks.append(Channels(kept, shown))
    plan = tiler.run(plane, sinks, told)
    parting, least_px = None, asked.least_px
    if kept is not None and by_settings:
        settings = {**instances.DEFAULTS, **(network.settings or {})}
        if reading.least > 0:
            settings[instances.FOREGROUND] = reading.least
        parting = _chosen_parting(settings, regional, kept)
        least_px = least_px or int(np.ceil(settings[instances.SMALLEST]))
    elif kept is not None:
        parting = _parting(reading, regional.classes[0], kept[0])
    objects = find(regional.classes, reading.wanted, least_px, parting)
    if network.meaning == "mask":
        objects = Objects(objects.labels, objects.layers, objects.layers)
    measured = measure(objects, plane, regional.chances, network.scale)
    return Found(plan, regional.classes, objects, measured)


def _chosen_parting(
    settings: dict[str, float], regional: Winners | Masks, kept: NDArray[np.float32]
) -> Parting:
    """What `mikata.networks.instances.label_image` takes for objects and seeds, some rows at a time.

    With the settings that were chosen at training, the objects are those that its report was made of.
    """
    background, inside = kept
    seeds = np.zeros(inside.shape, bool)
    for rows in bands(len(inside)):
        whole = background[rows] <= 1 - settings[instances.FOREGROUND]
        regional.classes[0, rows] = whole
        regional.chances[0, rows] = np.rint((1 - background[rows]) * CHANCES)
        seeds[rows] = whole & (inside[rows] >= settings[instances.SEED])
        inside[rows] *= -1
    return Parting(seeds, inside)


def _parting(reading: Reading, classes: NDArray[Any], third: NDArray[np.float32]) -> Parting:
    """Seeds and height of the third channel, some rows at a time; boundary pixels become part of the objects."""
    seeds = np.zeros(classes.shape, bool)
    for rows in bands(len(classes)):
        if reading.boundary:
            seeds[rows] = classes[rows] == 1
            classes[rows] = np.minimum(classes[rows], 1)
        else:
            seeds[rows] = third[rows] >= _SEED
            third[rows] *= -1
    return Parting(seeds, third)
