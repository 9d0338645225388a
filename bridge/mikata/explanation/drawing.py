"""Heat maps as ImageJ shows them: overlays of whole stacks, and 32-bit images to measure in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_SUBTYPE

from mikata import regions
from mikata.explanation.display import heat_contours, heat_overlay, lut
from mikata.explanation.kept import ExplainedPlane
from mikata.explanation.legend import colour_bar, heat_label
from mikata.language import say
from mikata.networks import Model
from mikata.prediction import Plane
from mikata.types import Image, Region

# Contours of several classes on one image: Okabe and Ito's colours, which colour-blind readers
# tell apart (https://jfly.uni-koeln.de/color/).
_CLASS_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")
_CONTOUR_COLOUR = "#00FFFF"


@dataclass(frozen=True)
class HeatStyle:
    """How heat is shown: see the parameters of the Grad-CAM command; contours at `levels_percent`, rising."""

    lut: str = "Fire"
    opacity_percent: float = 60.0
    levels_percent: tuple[float, ...] = (50.0,)
    scale_maximum: float = 0.0
    colour_bar: bool = True
    label: bool = True
    result: Literal["both", "overlay", "heat-map"] = "both"


def _position(image: Image, plane: Plane) -> int | tuple[int, int, int]:
    """Where ImageJ shows a ROI of this plane: 0 everywhere, a stack position, or (any channel, slice, frame)."""
    depth, frames = image.size("Z"), image.size("T")
    if depth * frames == 1:
        return 0
    if image.size("C") == 1 and 1 in (depth, frames):
        return max(plane.z, plane.t)
    return 0, plane.z, plane.t


def overlay_of(
    network: Model,
    image: Image,
    planes: list[ExplainedPlane],
    maps: NDArray[np.float32],
    maximum: float,
    style: HeatStyle,
    method: str,
) -> tuple[Region, ...]:
    """The image's own overlay, and the heat, contours, colour bar and label over it."""
    kept = _without_heat(image.overlay)
    drawn: list[Region] = []
    for one, heat in zip(planes, maps, strict=True):
        position = _position(image, one.plane)
        drawn += heat_overlay(
            heat[one.shown],
            lut=style.lut,
            opacity_percent=style.opacity_percent,
            maximum=maximum,
            position=position,
        )
        for k, index in enumerate(one.classes) if style.levels_percent else ():
            single = len(one.classes) == 1
            drawn += heat_contours(
                heat[k],
                levels_percent=style.levels_percent,
                position=position,
                stroke_color=_CONTOUR_COLOUR if single else _CLASS_COLOURS[index % len(_CLASS_COLOURS)],
                name_suffix="" if single else f" ({names_of(network)[index]})",
            )
    if style.colour_bar and maximum > 0:
        # only one class's heat is drawn, though `all` explains every one: say which
        drawn_for = {names_of(network)[shown_class(one)] for one in planes}
        label = f"heat: {drawn_for.pop()}" if len(drawn_for) == 1 else "heat"
        drawn += colour_bar(image.size("X"), image.size("Y"), lut=style.lut, maximum=maximum, label=label)
    if style.label:
        for one in planes:
            words = f"{label_words(network, one)}\n{method}"  # two lines: many images are narrow
            drawn += heat_label(words, image.size("X"), image.size("Y"), position=_position(image, one.plane))
    return (*kept, *drawn)


def label_words(network: Model, one: ExplainedPlane) -> str:
    """The class whose heat is drawn, with its probability, and the predicted one where it is another; or the value."""
    if network.values:
        return f"{one.outputs[0]:.4g} {network.classifier.unit}".strip()
    shown = shown_class(one)
    words = f"{network.classes[shown]} {probability(one.outputs[shown])}"
    if shown == one.predicted:
        return words
    predicted = network.classes[one.predicted]
    return f"{words} ({say('predicted')}: {predicted} {probability(one.outputs[one.predicted])})"


def probability(value: float) -> str:
    """With two decimals, and as < 0.01 or > 0.99 where these would say that it is 0 or 1."""
    if value < 0.005:
        return "< 0.01"
    return "> 0.99" if value >= 0.995 else f"{value:.2f}"


def names_of(network: Model) -> tuple[str, ...]:
    """What the network's outputs are called."""
    return ("value",) if network.values else network.classes


def shown_class(one: ExplainedPlane) -> int:
    """The class whose heat is drawn: of several, the predicted one."""
    return one.classes[one.shown]


def _without_heat(overlay: tuple[Region, ...]) -> list[Region]:
    """What an earlier run has not drawn: a second run replaces the heat of the first."""
    named = [r for r in overlay if not r.name.startswith("heat")]
    if len(named) == len(overlay):
        return named
    # ImageJ forgets the names of image ROIs when it opens a file, and beside heat they are heat
    return [r for r in named if r.name or regions.to_roi(r).subtype != ROI_SUBTYPE.IMAGE]


def heat_image(
    network: Model,
    image: Image,
    planes: list[ExplainedPlane],
    maps: NDArray[np.float32],
    maximum: float,
    style: HeatStyle,
    method: str,
) -> Image:
    """The maps of one image's planes as a 32-bit image, of several classes with these as channels."""
    depth, frames, classes = image.size("Z"), image.size("T"), maps.shape[1]
    # planes that were passed over (all black, say) stay without heat
    stack = np.zeros((frames, depth, classes, *maps.shape[2:]), np.float32)
    for one, heat in zip(planes, maps, strict=True):
        stack[one.plane.t - 1, one.plane.z - 1] = heat
    keep = [(a, n) for a, n in zip("TZC", stack.shape, strict=False) if n > 1]
    names = [names_of(network)[k] for k in planes[0].classes] if classes > 1 else []
    labels = tuple(names * (frames * depth))
    return Image(
        stack.reshape(*(n for _, n in keep), *maps.shape[2:]),
        "".join(a for a, _ in keep) + "YX",
        title=f"{planes[0].plane.image} heat",
        pixel_size=image.pixel_size,
        unit=image.unit,
        frame_interval_s=image.frame_interval_s,
        value_unit=method,
        luts=(np.ascontiguousarray(lut(style.lut).T),) * classes,
        display_ranges=((0.0, maximum or 1.0),) * classes,
        mode="color" if classes > 1 else "",
        slice_labels=labels,
    )
