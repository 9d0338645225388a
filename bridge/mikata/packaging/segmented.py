"""A trained network for segmentation -> a BioImage.IO package: what is of this kind only; see `mikata.packaging.pixelwise`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from mikata.architecture import Segmenter
from mikata.networks.instances import label_image
from mikata.networks.package import PARTED_BY, SEGMENTATION
from mikata.networks.pixelwise import PixelNetwork
from mikata.packaging import pages
from mikata.packaging.pixelwise import (
    EvaluatedPixels,
    HasRecord,
    Pixelwise,
    Said,
    TrainedPixels,
    write_pixelwise,
)

OUTPUT = "segmentation"
"""Name of the package's output."""

_YELLOW = (255, 214, 0)


class TrainedSegmenter(TrainedPixels, HasRecord, Protocol):
    """A trained network for segmentation; `mikata.training.SegmentationRun` is one."""

    @property
    def segmenter(self) -> Segmenter:
        """The network."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""

    @property
    def instances(self) -> str:
        """``none``, ``boundary`` or ``distance``."""


def write_segmentation(
    folder: Path, trained: TrainedSegmenter, report: EvaluatedPixels | None = None, **said: Unpack[Said]
) -> Path:
    """Write a package of a network for segmentation.

    Parameters and what is raised are those of `mikata.packaging.pixelwise.write_pixelwise`.
    """
    subject = _subject(
        trained.segmenter, trained.classes, trained.outputs, trained.instances, trained.settings,
        step=trained.step, value_unit=trained.value_unit, value_range=trained.value_range,
        grouping=trained.split, methods=trained.methods,
    )  # fmt: skip
    return write_pixelwise(folder, subject, trained, report, **said)


def segmentation_of(network: PixelNetwork) -> Pixelwise:
    """A package of a network for segmentation that `mikata.networks.read_pixel_network` has read, for a new one."""
    segmenter = network.network
    assert isinstance(segmenter, Segmenter)
    assert network.value_range is not None
    parted = network.meaning == "instances"
    return _subject(
        segmenter,
        # a boundary and a distance are no classes
        network.outputs[:2] if parted else network.outputs,
        network.outputs,
        network.outputs[-1] if parted else "none",
        network.settings or {},
        step=network.stride,
        value_unit=network.value_unit,
        value_range=network.value_range,
    )


def _subject(
    segmenter: Segmenter,
    classes: tuple[str, ...],
    outputs: tuple[str, ...],
    instances: str,
    settings: Mapping[str, float],
    *,
    step: int,
    value_unit: str,
    value_range: tuple[float, float],
    grouping: str = "",
    methods: str = "",
) -> Pixelwise:
    parted = instances in PARTED_BY
    last = " The last channel is the distance to the object's border, from 0 to 1."

    def picture(image: NDArray[np.float32], output: NDArray[np.float32]) -> NDArray[np.uint8]:
        return _outlined(image, label_image(output, outputs, settings) if parted else output.argmax(0))

    return Pixelwise(
        kind=SEGMENTATION,
        network=segmenter,
        outputs=outputs,
        meanings=tuple(_meaning(classes, instances, name) for name in outputs),
        step=step,
        channels=segmenter.configuration["channels"],
        value_unit=value_unit,
        value_range=value_range,
        output=OUTPUT,
        described="Probability of each class at each pixel; they add up to 1."
        + (last if instances == "distance" else ""),
        tags=("instance-segmentation", "segmentation") if parted else ("segmentation",),
        picture=picture,
        truth="outlines that a person drew",
        inside="softmax",
        facts={"classes": list(classes), "instances": instances, "settings": dict(settings) or None},
        objects=_objects(instances, settings),
        grouping=grouping,
        methods=methods,
    )


def _meaning(classes: tuple[str, ...], instances: str, name: str) -> str:
    if name not in classes and instances == "distance":
        return (
            "how far inside of its object a pixel lies: 0 at its border or outside, 1 at its innermost pixel"
        )
    if name not in classes:
        return "probability of boundary: the object's outermost pixels"
    inside = " (inside, without its boundary)" if instances == "boundary" and name != "background" else ""
    return f"probability of {name}{inside}"


def _objects(instances: str, settings: Mapping[str, float]) -> tuple[str, ...]:
    if not settings:
        return ()
    chosen = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    return (
        "Objects that touch are parted by a watershed: a pixel is of an object where the probability of background is at "
        "most 1 less `foreground`; seeds are where the "
        f"{'inside' if instances == 'boundary' else 'distance'} is at least `seed`; objects below `smallest_px` "
        f"are left out. Chosen on the selection images: {chosen}.",
    )


def _outlined(image: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (C, H, W), and beside it the same with the outlines of what is found."""
    from skimage import segmentation

    find_boundaries: Any = segmentation.find_boundaries

    picture = pages.in_colour(image)
    drawn = picture.copy()
    drawn[find_boundaries(labels, mode="inner")] = _YELLOW
    return np.concatenate([picture, drawn], 1)
