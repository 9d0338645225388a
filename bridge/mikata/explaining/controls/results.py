"""What the controls of heat maps found: figures, what was asked of them, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mikata.explaining.collected import NOT_DEFINED
from mikata.explaining.controls.resampling import Estimate, Unit
from mikata.types import Table

Status = Literal["passed", "failed", "undecided", "not defined"]
Name = Literal[
    "weight randomisation", "deletion", "insertion", "simple maps", "stability", "repeated training", "small regions"
]  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A figure of a control.

    Attributes
    ----------
    name:
        What it is, in English.
    estimate:
        With its interval.
    limit, wanted:
        On which side of the limit it has to lie; None and empty for a figure that is only shown.
    """

    name: str
    estimate: Estimate
    limit: float | None = None
    wanted: Literal["above", "below", ""] = ""

    @property
    def verdict(self) -> Status | Literal[""]:
        """Passed: the whole interval is on the wanted side; failed: the figure itself is not; else undecided."""
        if self.limit is None:
            return ""
        value, interval = self.estimate.value, self.estimate.interval
        if not all(map(math.isfinite, (value, interval.low, interval.high))):
            return "not defined"
        side = 1 if self.wanted == "above" else -1
        if side * (value - self.limit) <= 0:
            return "failed"
        nearest = interval.low if self.wanted == "above" else interval.high
        return "passed" if side * (nearest - self.limit) > 0 else "undecided"


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes
    ----------
    name:
        Its name, in English.
    figures:
        What was measured.
    note:
        What must be known of it besides, a sentence in the user's language; why it is not defined.
    decided:
        The status where it does not follow from figures with intervals.
    """

    name: Name
    figures: tuple[Figure, ...] = ()
    note: str = ""
    decided: Status | None = None

    @property
    def status(self) -> Status:
        """The least favourable verdict of its figures."""
        if self.decided is not None:
            return self.decided
        verdicts = {one.verdict for one in self.figures} - {""}
        order: tuple[Status, ...] = ("failed", "not defined", "undecided", "passed")
        return next((status for status in order if status in verdicts), "not defined")

    def figure(self, name: str) -> Figure:
        """The figure of that name; KeyError if there is none."""
        return {one.name: one for one in self.figures}[name]


@dataclass(frozen=True)
class Curve:
    """Means at some points, to be drawn.

    Attributes
    ----------
    control, name:
        Where it belongs, and what it is of, in English.
    x:
        Shares from 0 to 1: of layers drawn anew, or of cells covered or shown.
    points:
        A figure at each x.
    """

    control: Name
    name: str
    x: tuple[float, ...]
    points: tuple[Estimate, ...]


@dataclass(frozen=True, eq=False)
class Example:
    """Maps of one image, to be drawn side by side.

    Attributes
    ----------
    image:
        Name of the image.
    picture:
        Grey values 0 to 1 (height, width) of what the network was given.
    original, edges:
        (h, w) the map, and the edge detector's.
    randomised:
        (depths, h, w) with so many layers drawn anew; none where weights could not be exchanged.
    """

    image: str
    picture: NDArray[np.float32]
    original: NDArray[np.float64]
    edges: NDArray[np.float64]
    randomised: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """Heat share of one region by the networks of repeated trainings.

    Attributes
    ----------
    region:
        Its name.
    shares:
        Mean heat share by each network, the explained one first; NaN without heat.
    area:
        Mean area share.
    n:
        Number of images.
    """

    region: str
    shares: tuple[float, ...]
    area: float
    n: int

    @property
    def sd(self) -> float:
        """Standard deviation over the networks; NaN where one has no share."""
        return float(np.std(self.shares, ddof=1)) if len(self.shares) > 1 else math.nan


@dataclass(frozen=True, eq=False)
class Controls:
    """The control report.

    Attributes
    ----------
    controls:
        In the order in which they are told.
    method, layer:
        Of the maps.
    n_images, n_units, unit, n_all:
        Planes that were taken, their patients (or image files), and of how many planes in all.
    seed:
        Of the choice of images and all that is drawn.
    depths:
        For the curve of the weight randomisation: how many layers were drawn anew, and of how many.
    curves, examples, spread:
        To be drawn.
    not_run:
        Why there are no controls at all, in the user's language; else empty.
    """

    controls: tuple[Control, ...] = ()
    method: str = ""
    layer: str = ""
    n_images: int = 0
    n_units: int = 0
    unit: Unit = "image"
    n_all: int = 0
    seed: int = 0
    depths: tuple[int, ...] = ()
    curves: tuple[Curve, ...] = ()
    examples: tuple[Example, ...] = ()
    spread: tuple[Spread, ...] = ()
    not_run: str = field(default="")

    def of(self, status: Status) -> tuple[Control, ...]:
        """The controls with that outcome."""
        return tuple(one for one in self.controls if one.status == status)

    def control(self, name: Name) -> Control:
        """The control of that name; KeyError if it was not made."""
        return {one.name: one for one in self.controls}[name]

    def table(self, title: str = "Controls") -> Table:
        """One row for each figure, in English; ``status`` is the control's, ``verdict`` the figure's."""
        unit = f"n_{self.unit}s_resampled"
        columns = (
            "control", "status", "figure", "value", "low", "high", "wanted", "limit", "verdict", "n_images", unit,
            "confidence", "interval", "method", "layer",
        )  # fmt: skip
        rows: list[tuple[object, ...]] = []
        for control in self.controls:
            for one in control.figures or (None,):
                if one is None:
                    rows.append(
                        (control.name, control.status, *("",) * (len(columns) - 4), self.method, self.layer)
                    )
                    continue
                found = one.estimate
                rows.append((
                    control.name, control.status, one.name, *_numbers(found), one.wanted,
                    "" if one.limit is None else one.limit, one.verdict, found.n, found.n_units,
                    found.interval.level, found.interval.method, self.method, self.layer,
                ))  # fmt: skip
        for region in self.spread:
            for number, share in enumerate(region.shares, 1):
                rows.append((
                    "repeated training", self.control("repeated training").status,
                    f"heat share of {region.region}, network {number}", *_defined((share,)), NOT_DEFINED, NOT_DEFINED,
                    "", "", "", region.n, "", "", "none", self.method, self.layer,
                ))  # fmt: skip
        return Table(title, columns, tuple(rows), append=False)

    def curve_table(self, title: str = "Control curves") -> Table:
        """One row for each point of each curve, in English."""
        columns = ("control", "curve", "share", "mean", "low", "high", "n_images", "interval")
        rows = tuple(
            (curve.control, curve.name, x, *_numbers(point), point.n, point.interval.method)
            for curve in self.curves
            for x, point in zip(curve.x, curve.points, strict=True)
        )
        return Table(title, columns, rows, append=False)


def _numbers(found: Estimate) -> tuple[object, ...]:
    return _defined((found.value, found.interval.low, found.interval.high))


def _defined(values: tuple[float, ...]) -> tuple[object, ...]:
    return tuple(float(value) if math.isfinite(value) else NOT_DEFINED for value in values)
