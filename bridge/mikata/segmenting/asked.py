"""What is asked of a run, and what follows from the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks import PixelNetwork
from mikata.networks.peaks import SCORE

Make = Literal["both", "labels", "rois", "table"]
LabelsOf = Literal["automatic", "classes", "objects"]
Mark = Literal["points", "boxes"]

Menu = Literal["Segment Images", "Detect Objects"]
"""Commands of this work, as the menu calls them."""

_LEAST = 0.5
"""Probability from which a mask or a point counts, where neither the user nor the package says one."""


@dataclass(frozen=True)
class Asked:
    """What the user wants of each image.

    Attributes
    ----------
    make:
        Label images, ROIs, both, or tables alone.
    labels_of:
        Whether label images number classes or objects.
    mark:
        What the ROIs of points are.
    probabilities:
        Whether all channels of the network's output are wanted as an image.
    least:
        Probability (0 to 1) from which something counts; 0: as the package says.
    least_px:
        px that an object has at least; 0: as the package says.
    tile_px:
        Side of the tiles, 0 for the fastest.
    menu:
        Which command asks. Detect Objects takes networks that find points only.
    """

    make: Make = "both"
    labels_of: LabelsOf = "automatic"
    mark: Mark = "boxes"
    probabilities: bool = False
    least: float = 0.0
    least_px: int = 0
    tile_px: int = 0
    menu: Menu = "Segment Images"

    @property
    def table_name(self) -> str:
        """Of the table of objects or points; that of planes is called after it."""
        return self.menu.partition(" ")[0]

    @property
    def labels(self) -> bool:
        """Whether label images are wanted."""
        return self.make in ("both", "labels")

    @property
    def rois(self) -> bool:
        """Whether ROIs are wanted."""
        return self.make in ("both", "rois")


@dataclass(frozen=True)
class Reading:
    """How a network's channels are read.

    Attributes
    ----------
    kind:
        ``regions`` (classes, masks, instances), ``points``, or ``image`` (restored, or not known).
    names:
        Of what objects and points are of, by number of the channel.
    classes:
        How many of the first channels are classes, masks or heat maps.
    wanted:
        For each layer of the class map the numbers that are objects.
    layers:
        How many class maps there are: one of each mask, else one.
    parted:
        Channel from which touching objects are parted, None where they are not.
    boundary:
        Whether this channel is high where objects meet, and a class of its own; else it is highest inside of them.
    least:
        Probability from which something counts.
    counted:
        Channels whose objects or points are counted.
    """

    kind: Literal["regions", "points", "image"]
    names: tuple[str, ...]
    classes: int
    wanted: tuple[tuple[int, ...], ...]
    layers: int
    parted: int | None
    boundary: bool
    least: float
    counted: tuple[int, ...] = ()


def reading_of(network: PixelNetwork, least: float) -> Reading:
    """How the channels of a network's output are read.

    Raises
    ------
    NetworkError
        If there are too few for what they are said to be.
    """
    names, count, meaning = network.outputs, len(network.outputs), network.meaning
    fewest = {"classes": 2, "mask": 1, "instances": 3, "points": 1, "image": 1, "unknown": 1}[meaning]
    if count < fewest:
        raise NetworkError(
            say(
                "{model}: an output of the meaning '{meaning}' has at least {fewest} channels, this one has {count}.",
                model=network.path.name,
                meaning=meaning,
                fewest=fewest,
                count=count,
            )
        )
    settings = network.settings or {}
    stated = settings.get(SCORE if meaning == "points" else "threshold", _LEAST)
    if meaning == "mask":
        # number 1 of each layer is its foreground, so its name is that of the channel
        wanted = tuple((1,) for _ in names)
        return Reading(
            "regions", names, count, wanted, count, None, False, least or stated, tuple(range(count))
        )
    if meaning == "points":
        heat = count - 2 if count > 2 else count
        return Reading("points", names[:heat], heat, (), 1, None, False, least or stated, tuple(range(heat)))
    if meaning in ("image", "unknown"):
        return Reading("image", names, count, (), 1, None, False, 0.0)
    if meaning == "classes":
        kinds = tuple(range(1, count))
        return Reading("regions", names, count, (kinds,), 1, None, False, least, kinds)
    boundary = "distance" not in names[-1].casefold()
    classes = count if boundary else count - 1
    kinds = tuple(range(1, count - 1))
    return Reading("regions", names, classes, (kinds,), 1, count - 1, boundary, least, kinds)
