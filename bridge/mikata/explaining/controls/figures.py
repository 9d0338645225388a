"""Plots of the control report: curves with their intervals, and maps of an image side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mikata import report
from mikata.explaining.controls.results import Controls, Curve, Example
from mikata.explanation.display import lut
from mikata.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/)
_LOOKS: dict[str, tuple[str, str]] = {
    "map": ("#D55E00", "-"),
    "edges": ("#009E73", "--"),
    "centre": ("#56B4E9", "-."),
    "random orders": ("#444444", ":"),
    "rank correlation": ("#0072B2", "-"),
    "SSIM": ("#E69F00", "--"),
    "different images": ("#444444", ":"),
}


def curves_figure(found: Controls) -> Figure | None:
    """Likeness by depth of the randomisation, deletion and insertion; None where there are no curves."""
    from matplotlib.figure import Figure

    panels = [
        (say("weight randomisation"), say("share of layers with random weights"), say("likeness to the original map"),
         "weight randomisation"),
        (say("deletion"), say("share of cells covered"), say("score"), "deletion"),
        (say("insertion"), say("share of cells shown"), say("score"), "insertion"),
    ]  # fmt: skip
    english = [
        ("weight randomisation", "share of layers with random weights", "likeness to the original map"),
        ("deletion", "share of cells covered", "score"),
        ("insertion", "share of cells shown", "score"),
    ]
    there = [
        (panel, plain, own)
        for panel, plain in zip(panels, english, strict=True)
        if (own := [curve for curve in found.curves if curve.control == panel[3]])
    ]
    if not there:
        return None
    figure = Figure(figsize=(4.2 * len(there), 3.9))
    for axes, (panel, plain, own) in zip(
        figure.subplots(1, len(there), squeeze=False)[0], there, strict=True
    ):
        names = [_name(curve.name) for curve in own]
        shown = _letters([*panel[:3], *names], [*plain, *(curve.name for curve in own)])
        font: dict[str, Any] = dict(shown.font)
        for curve, name in zip(own, shown.words[3:], strict=True):
            _line(axes, curve, name)
        axes.set_title(shown.words[0], fontsize=11, **font)
        axes.set_xlabel(shown.words[1], **font)
        axes.set_ylabel(shown.words[2], **font)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
        axes.legend(prop=shown.font or None, fontsize=None if shown.font else 8, frameon=False)
    figure.tight_layout()
    return figure


def _line(axes: Axes, curve: Curve, name: str) -> None:
    colour, style = _LOOKS.get(curve.name, ("#CC79A7", "-"))
    values = [point.value for point in curve.points]
    axes.plot(curve.x, values, color=colour, linestyle=style, marker=".", label=name)
    lows = [
        point.interval.low if math.isfinite(point.interval.low) else point.value for point in curve.points
    ]
    highs = [
        point.interval.high if math.isfinite(point.interval.high) else point.value for point in curve.points
    ]
    axes.fill_between(curve.x, lows, highs, color=colour, alpha=0.15, linewidth=0)


def maps_figure(examples: Sequence[Example], depths: Sequence[int]) -> Figure:
    """A row for each image: the image, its map, the maps with random weights by depth, and its edges.

    Parameters
    ----------
    depths:
        Numbers of layers that were drawn anew, and of all layers at the end.
    """
    from matplotlib.figure import Figure

    steps = [*depths[:-1]][: max(len(one.randomised) for one in examples)]
    total = depths[-1] if depths else 0
    heads = [
        say("image"),
        say("map"),
        *(say("random: {n} of {total}", n=n, total=total) for n in steps),
        say("edges"),
    ]
    plain = ["image", "map", *(f"random: {n} of {total}" for n in steps), "edges"]
    shown = _letters(heads, plain)
    font: dict[str, Any] = dict(shown.font)
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(lut("Inferno") / 255)
    across = len(heads)
    height, width = examples[0].picture.shape
    figure = Figure(figsize=(1.55 * across, (1.55 * height / width + 0.15) * len(examples) + 0.3))
    panels = figure.subplots(len(examples), across, squeeze=False)
    for row, one in zip(panels, examples, strict=True):
        extent = (0.0, float(one.picture.shape[1]), float(one.picture.shape[0]), 0.0)
        row[0].imshow(one.picture, cmap="gray", vmin=0, vmax=1, extent=extent)
        for axes, heat in zip(row[1:], [one.original, *one.randomised, one.edges], strict=True):
            top = max(float(np.max(heat)), 1e-12)
            axes.imshow(heat, cmap=colours, vmin=0, vmax=top, extent=extent, interpolation="nearest")
        for axes in row:
            axes.set_axis_off()
    for axes, head in zip(panels[0], shown.words, strict=True):
        axes.set_title(head, fontsize=8, **font)
    figure.tight_layout()
    return figure


def _name(name: str) -> str:
    return {
        "map": say("map"),
        "edges": say("edges"),
        "centre": say("middle"),
        "random orders": say("random order"),
        "rank correlation": say("rank correlation"),
        "SSIM": "SSIM",
        "different images": say("different images"),
    }.get(name, name)


def _letters(words: list[str], english: list[str]) -> report.Letters:
    """Words that a plot can show: the English ones where no font of this machine has the letters."""
    found = report.letters(words)
    return found if found.font or found.words == words else report.letters(english)
