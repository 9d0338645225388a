"""From measurements to controls with figures, intervals and outcomes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mikata.evaluation.paired import FEWEST
from mikata.explaining.controls.measured import Disturbance, Ordered, Randomisation
from mikata.explaining.controls.resampling import Estimate, Resampling
from mikata.explaining.controls.results import Control, Curve, Figure
from mikata.explaining.controls.words import ALIKE, LEAST_FALL, MORE_THAN_OTHERS, STABLE
from mikata.explanation.controls import curves
from mikata.explanation.measuring import LEAST_CELLS
from mikata.language import say

Array = NDArray[np.float64]


def randomisation(
    found: Randomisation, others: Array, others_ssim: Array, sampled: Resampling
) -> tuple[Control, tuple[Curve, ...]]:
    """Likeness of maps of random weights, against that of maps of different images."""
    alike, unlike, difference = sampled.crossed(found.full, others)
    structure = sampled.mean(_over(found.ssim_full, 0))
    unlike_structure = _over(others_ssim, 1)
    empty = int((~np.isfinite(found.full))[:, np.isfinite(np.diagonal(others))].sum())
    total = found.full[:, np.isfinite(np.diagonal(others))].size
    note = (
        say(
            "{count} of {total} maps of random weights have no heat, or the same everywhere: for their image the other "
            "random networks count.",
            count=empty,
            total=total,
        )
        if empty
        else ""
    )
    control = Control(
        "weight randomisation",
        (
            Figure("likeness to random weights", alike, ALIKE, "below"),
            Figure("likeness of different images", unlike),
            Figure(
                "likeness to random weights less that of different images",
                difference,
                MORE_THAN_OTHERS,
                "below",
            ),
            Figure("SSIM with random weights", structure),
            Figure("SSIM of different images", sampled.mean(unlike_structure)),
        ),
        note,
    )
    itself = Estimate.alone(1.0, alike.n, alike.n_units)  # with nothing drawn anew
    x = (0.0, *(depth / found.layers for depth in found.depths))
    drawn = []
    for name, values, whole in (
        ("rank correlation", found.by_depth, alike),
        ("SSIM", found.ssim_by_depth, structure),
    ):
        points = [itself]
        points += [sampled.mean(_over(values[:, depth], 0)) for depth in range(len(found.depths))]
        # with all layers random more networks were drawn: those of the figure
        if found.depths[-1] == found.layers:
            points[-1] = whole
        drawn.append(Curve("weight randomisation", name, x, tuple(points)))
    drawn.append(Curve("weight randomisation", "different images", (0.0, 1.0), (unlike, unlike)))
    return control, tuple(drawn)


def _over(values: Array, axis: int) -> Array:
    """Mean of the defined values along an axis; NaN where there are none."""
    known = np.isfinite(values)
    counts = known.sum(axis)
    sums = np.where(known, values, 0.0).sum(axis)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def orders(
    deletion: Ordered,
    insertion: Ordered,
    likeness: Mapping[str, Array],
    heated: NDArray[np.bool_],
    sampled: Resampling,
) -> tuple[list[Control], tuple[Curve, ...]]:
    """Deletion, insertion and simple maps, from the images whose score there is something to say about.

    Parameters
    ----------
    likeness:
        Of the map to ``edges`` and ``centre`` (N,).
    heated:
        (N,) whether the map has any differences.
    """
    able = {
        "deletion": (deletion.start - deletion.end >= LEAST_FALL) & heated,
        "insertion": (insertion.end - insertion.start >= LEAST_FALL) & heated,
    }
    found = {
        name: {order: np.where(able[name], values, np.nan) for order, values in own.areas.items()}
        for name, own in (("deletion", deletion), ("insertion", insertion))
    }
    notes = {
        name: _left_out(name, int((~chosen).sum()), len(chosen), sampled.n_units)
        for name, chosen in able.items()
    }
    down, up = found["deletion"], found["insertion"]
    controls = [
        Control(
            "deletion",
            (
                Figure("score of the map", sampled.mean(down["map"])),
                Figure("score of random orders", sampled.mean(down["random orders"])),
                Figure(
                    "random orders less map", sampled.mean(down["random orders"] - down["map"]), 0.0, "above"
                ),
            ),
            notes["deletion"],
        ),
        Control(
            "insertion",
            (
                Figure("score of the map", sampled.mean(up["map"])),
                Figure("score of random orders", sampled.mean(up["random orders"])),
                Figure("score of edges", sampled.mean(up["edges"])),
                Figure("score of the centre", sampled.mean(up["centre"])),
                Figure("map less random orders", sampled.mean(up["map"] - up["random orders"]), 0.0, "above"),
            ),
            notes["insertion"],
        ),
        Control(
            "simple maps",
            (
                Figure("score of edges", sampled.mean(down["edges"])),
                Figure("score of the centre", sampled.mean(down["centre"])),
                Figure("edges less map", sampled.mean(down["edges"] - down["map"]), 0.0, "above"),
                Figure("centre less map", sampled.mean(down["centre"] - down["map"]), 0.0, "above"),
                Figure("likeness to edges", sampled.mean(likeness["edges"])),
                Figure("likeness to the centre", sampled.mean(likeness["centre"])),
            ),
            notes["deletion"],
        ),
    ]
    drawn = tuple(
        Curve(
            "deletion" if own is deletion else "insertion",
            order,
            curves.SHARES,
            tuple(
                sampled.mean(np.where(able["deletion" if own is deletion else "insertion"], column, np.nan))
                for column in values.T
            ),
        )
        for own in (deletion, insertion)
        for order, values in own.curves.items()
    )
    return controls, drawn


def _left_out(name: str, out: int, count: int, units: int) -> str:
    if not out:
        return ""
    facts = {"out": out, "count": count, "fall": LEAST_FALL}
    if name == "deletion":
        return say(
            "{out} of {count} images are left out, since they have no heat, or their score falls by less than {fall} when "
            "all is covered: covering says nothing about them.",
            **facts,
        )
    return say(
        "{out} of {count} images are left out, since they have no heat, or their score rises by less than {fall} from the "
        "blurred to the sharp image: showing says nothing about them.",
        **facts,
    )


def stability(moved: Disturbance, noisy: Disturbance, sampled: Resampling) -> Control:
    """Likeness of maps after changes that do not matter, and whether the prediction changes."""
    return Control(
        "stability",
        (
            Figure("likeness after moving", sampled.mean(moved.likeness), STABLE, "above"),
            Figure("likeness after noise", sampled.mean(noisy.likeness), STABLE, "above"),
            Figure("predictions changed by moving", sampled.share(moved.changed)),
            Figure("predictions changed by noise", sampled.share(noisy.changed)),
        ),
    )


def repeats(likeness: Array, others: Array, networks: int, sampled: Resampling) -> Control:
    """Likeness (N,) of maps between networks of repeated trainings, mean over their pairs."""
    alike, difference = sampled.above_others(likeness, others)
    return Control(
        "repeated training",
        (
            Figure("likeness of trainings", alike, ALIKE, "above"),
            Figure("likeness of trainings less that of different images", difference, 0.0, "above"),
        ),
        say("{count} networks were compared.", count=networks),
    )


def small_regions(small: Mapping[str, float], regions: int) -> Control:
    """Regions below two cells, each with its size in cells, of how many."""
    listed = ", ".join(f"{name} ({cells:.1f})" for name, cells in list(small.items())[:6])
    return Control(
        "small regions",
        (Figure("regions below 2 cells", Estimate.alone(float(len(small)), regions, 0)),),
        say(
            "Below {least:.0f} cells are: {names}{more}.",
            least=LEAST_CELLS,
            names=listed,
            more=", ..." if len(small) > 6 else "",
        )
        if small
        else "",
        decided="failed" if small else "passed",
    )


def too_few(units: int, unit: str) -> str:
    """Why there are no controls for so few patients or images."""
    if unit == "patient":
        return say(
            "The controls of the heat maps were not made: they need images with heat of at least {least} patients; here are "
            "{units}.",
            least=FEWEST,
            units=units,
        )
    return say(
        "The controls of the heat maps were not made: they need at least {least} independent images with heat; here are "
        "{units}.",
        least=FEWEST,
        units=units,
    )
