"""Plots of heat by region: boxes for each region and class, and mean heat over the reference picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mikata import report
from mikata.explaining.collected import Maps
from mikata.explanation.display import lut
from mikata.language import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/)
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MOST_REGIONS = 24
MOST_CLASSES = 8
_ACROSS = 4


@dataclass(frozen=True, eq=False)
class Shown:
    """What the mean-heat figure is made of.

    Attributes
    ----------
    picture:
        Grey values from 0 to 1 (height, width).
    maps:
        Mean heat of each class (K, height, width), in times of an even spread.
    titles:
        (K,) what each is of.
    masks:
        Regions over the picture (R, height, width); none where images have regions of their own.
    words:
        For each class and region what is written into it, K of R.
    """

    picture: NDArray[np.float64]
    maps: NDArray[np.float64]
    titles: tuple[str, ...]
    masks: NDArray[np.bool_]
    words: tuple[tuple[str, ...], ...]


def box_plot(maps: Maps, regions: Sequence[str], words: Sequence[str]) -> Figure:
    """Heat shares of each region, a box for each explained class, and the area share as a dotted line.

    Boxes reach from the first to the third quartile, with the median as a line and the mean as a point; whiskers
    reach to the last value within 1.5 times the box's length, and values beyond are points (Tukey).

    Parameters
    ----------
    regions:
        Of `maps`, from top to bottom.
    words:
        What each is called in the plot.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    classes = np.unique(maps.explained).tolist()[:MOST_CLASSES]
    own = [maps.names[k] for k in classes]
    shown = _letters([*words, *own, say("share of the heat, %")], [*regions, *own, "share of the heat, %"])
    titles = shown.words[: len(words)]
    names = shown.words[len(words) : -1]
    font: dict[str, Any] = dict(shown.font)
    place = 0.8 / len(classes)
    figure = Figure(figsize=(8, 0.9 + 0.28 * len(regions) * (len(classes) + 0.8)))
    axes = figure.subplots()
    for row, region in enumerate(regions):
        column = maps.regions.index(region)
        for number, k in enumerate(classes):
            values = maps.share[maps.explained == k, column]
            values = 100 * values[np.isfinite(values)]
            if not len(values):
                continue
            colour = _COLOURS[number % len(_COLOURS)]
            axes.boxplot(
                values,
                positions=[row + (number - (len(classes) - 1) / 2) * place],
                widths=place * 0.8,
                orientation="horizontal",
                patch_artist=True,
                showmeans=True,
                manage_ticks=False,
                boxprops={"facecolor": colour, "alpha": 0.55, "edgecolor": colour},
                medianprops={"color": "black"},
                meanprops={
                    "marker": "o",
                    "markersize": 4,
                    "markerfacecolor": "white",
                    "markeredgecolor": "black",
                },
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
        area = maps.area[:, column]
        share = 100 * float(area[np.isfinite(area)].mean())
        axes.plot([share, share], [row - 0.45, row + 0.45], color="#444444", linestyle=":", linewidth=1.4)
    axes.set_ylim(len(regions) - 0.5, -0.5)
    axes.set_xlim(left=-1)
    axes.set_yticks(range(len(regions)))
    axes.set_yticklabels(titles, **font)
    axes.set_xlabel(shown.words[-1], **font)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    patches = [
        Patch(facecolor=_COLOURS[n % len(_COLOURS)], alpha=0.55, label=name) for n, name in enumerate(names)
    ]
    axes.legend(
        handles=patches,
        prop=shown.font or None,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
    )
    figure.tight_layout()
    return figure


def heat_figure(shown: Shown) -> Figure:
    """Mean heat of each class over the picture, on one scale, with the regions' borders and their shares."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    count = len(shown.maps)
    across = min(count, _ACROSS)
    down = -(-count // across)
    height, width = shown.picture.shape
    side = 3.6 if across > 1 else 4.6
    titles = _letters([*shown.titles, say("times the even spread")], [*shown.titles, "times the even spread"])
    figure = Figure(figsize=(side * across + 0.8, side * height / width * down + 0.4 * down))
    font: dict[str, Any] = dict(titles.font)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    table = lut("Inferno") / 255
    top = max(float(shown.maps.max()), 1e-12)
    drawn = None
    for axes in panels:
        axes.set_axis_off()
    for axes, heat, title, words in zip(panels, shown.maps, titles.words, shown.words, strict=False):
        axes.imshow(shown.picture, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        # opacity follows the heat, so that the picture shows where there is none
        alpha = np.clip(heat / top, 0, 1) * 0.75
        drawn = axes.imshow(
            heat, cmap=ListedColormap(table), vmin=0, vmax=top, alpha=alpha, interpolation="bilinear"
        )
        axes.set_title(title, fontsize=11, **font)
        for mask, word in zip(shown.masks, words, strict=False):
            _outline(axes, mask)
            y, x = np.nonzero(mask)
            if len(y):
                axes.text(
                    x.mean(), y.mean(), word, color="white", fontsize=10, ha="center", va="center", fontweight="bold",
                    bbox={"facecolor": "black", "alpha": 0.45, "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(panels), fraction=0.03, pad=0.02, alpha=1.0)
        bar.set_label(titles.words[-1], **font)
    return figure


def _letters(words: list[str], english: list[str]) -> report.Letters:
    """Words that a plot can show: the English ones where no font of this machine has the letters."""
    found = report.letters(words)
    return found if found.font or found.words == words else report.letters(english)


def _outline(axes: object, mask: NDArray[np.bool_]) -> None:
    """The border along the pixels' edges."""
    padded = np.pad(mask, 1).astype(float)
    height, width = padded.shape
    axes.contour(  # type: ignore[attr-defined]
        np.arange(width) - 1, np.arange(height) - 1, padded, levels=[0.5], colors="white", linewidths=1.0
    )
