"""A trained network for detection -> a BioImage.IO package: what is of this kind only; see `mikata.packaging.pixelwise`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from mikata.architecture import Detector
from mikata.networks.package import DETECTION
from mikata.networks.peaks import APART, DEFAULTS, SCORE, peaks
from mikata.networks.pixelwise import SIZES, PixelNetwork
from mikata.packaging import pages
from mikata.packaging.pixelwise import (
    EvaluatedPixels,
    HasRecord,
    Pixelwise,
    Said,
    TrainedPixels,
    write_pixelwise,
)

OUTPUT = "detection"
"""Name of the package's output."""

_YELLOW = (255, 214, 0)


class TrainedDetector(TrainedPixels, HasRecord, Protocol):
    """A trained network for detection; `mikata.training.detection_run.DetectionRun` is one."""

    @property
    def detector(self) -> Detector:
        """The network."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what is found."""


def write_detection(
    folder: Path, trained: TrainedDetector, report: EvaluatedPixels | None = None, **said: Unpack[Said]
) -> Path:
    """Write a package of a network for detection.

    Parameters and what is raised are those of `mikata.packaging.pixelwise.write_pixelwise`.
    """
    subject = _subject(
        trained.detector, trained.classes, trained.settings,
        step=trained.step, value_unit=trained.value_unit, value_range=trained.value_range,
        grouping=trained.split, methods=trained.methods,
    )  # fmt: skip
    return write_pixelwise(folder, subject, trained, report, **said)


def detection_of(network: PixelNetwork) -> Pixelwise:
    """A package of a network for detection that `mikata.networks.read_pixel_network` has read, for a new one."""
    detector = network.network
    assert isinstance(detector, Detector)
    assert network.value_range is not None
    return _subject(
        detector,
        network.outputs[: -len(SIZES)],
        network.settings or {},
        step=network.stride,
        value_unit=network.value_unit,
        value_range=network.value_range,
    )


def _subject(
    detector: Detector,
    classes: tuple[str, ...],
    settings: Mapping[str, float],
    *,
    step: int,
    value_unit: str,
    value_range: tuple[float, float],
    grouping: str = "",
    methods: str = "",
) -> Pixelwise:
    made = {**DEFAULTS, **settings}

    def picture(image: NDArray[np.float32], output: NDArray[np.float32]) -> NDArray[np.uint8]:
        return _boxed(image, output, len(classes), made)

    return Pixelwise(
        kind=DETECTION,
        network=detector,
        outputs=(*classes, *SIZES),
        meanings=(
            *(f"{name}: highest (at most 1) at the centre of each one, 0 far from it" for name in classes),
            *(
                (
                    "height in px of what has its centre at this pixel; elsewhere without meaning",
                    "width in px of the same",
                )
                if detector.configuration["typical_px"]
                else ("always 0: the training images told no sizes", "always 0 as well")
            ),
        ),
        step=step,
        channels=detector.configuration["channels"],
        value_unit=value_unit,
        value_range=value_range,
        output=OUTPUT,
        described="A heat map of each class, with its maxima (0 to 1) at centres; then height and width in px.",
        tags=("object-detection", "detection"),
        picture=picture,
        truth="places that a person marked",
        inside="all that makes heat maps and sizes of the scores",
        facts={"classes": list(classes), "settings": made},
        objects=_objects(made, chosen=bool(settings)),
        in_imagej=_maxima(classes, made),
        grouping=grouping,
        methods=methods,
    )


def _objects(settings: Mapping[str, float], *, chosen: bool) -> tuple[str, ...]:
    how = ", chosen on the selection images" if chosen else ""
    return (
        "What is found are the local maxima (of 3 x 3 px) of each class's heat map; its value there is the score, no "
        f"probability in the strict sense. Those of at least {settings[SCORE]:g} (`{SCORE}`{how}) "
        f"count, and of maxima of a class within {settings[APART]:g} px (`{APART}`) in x and y of each other only the highest.",
    )


def _maxima(classes: tuple[str, ...], settings: Mapping[str, float]) -> tuple[str, ...]:
    number = len(classes)
    return (
        f"- To get places out of the heat maps: go to the channel of a class ({'the first' if number == 1 else f'1 to {number}'}) "
        "of the result and take it alone (Image > Duplicate..., without the stack). Choose Image > Adjust > Threshold..., set "
        f"the lower level to {settings[SCORE]:g} and the upper one to its end, and do not apply it. Then choose Process > Find "
        "Maxima... with Above lower threshold, a prominence of 0.01, and Point Selection as the output. As a macro:",
        "",
        "```",
        f"setThreshold({settings[SCORE]:g}, 1e30);",
        'run("Find Maxima...", "prominence=0.01 above output=[Point Selection]");',
        "```",
        "",
        "- The score of a place is the value of the heat map there, its height and width are the values of the last two "
        "channels there. Find Maxima joins maxima by the valley between them, Mikata by their distance, so that of things "
        "which overlap it may give some more or fewer.",
        "- Mikata's own command (Predict > Detect Objects...) makes boxes with their scores at once, also of stacks and large "
        "images.",
    )


def _boxed(
    image: NDArray[np.float32], output: NDArray[np.float32], classes: int, settings: Mapping[str, float]
) -> NDArray[np.uint8]:
    """An image (C, H, W), and beside it the same with a box for each thing that is found."""
    picture = pages.in_colour(image)
    drawn = picture.copy()
    found = peaks(output, classes, settings[SCORE], apart_px=max(1, int(settings[APART])))
    pages.framed(drawn, ((p.x - p.width / 2, p.y - p.height / 2, p.width, p.height) for p in found), _YELLOW)
    return np.concatenate([picture, drawn], 1)
