"""Heat shares of many images: mean, spread and interval for each class and region, and differences of classes.

Patients are resampled, since images of one patient are not independent; where patients are not known, images are.
The planes of one image file are never taken as independent. Intervals are expanded percentiles of the bootstrap
(`mikata.evaluation.intervals.expanded`), as for all differences in Mikata.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mikata.evaluation.intervals import Interval
from mikata.evaluation.paired import (
    FEWEST,
    difference_interval,
    difference_p,
    holm,
    of_enough,
    share_interval,
)
from mikata.explaining.collected import NOT_DEFINED, Maps
from mikata.explaining.resamples import resampled_means
from mikata.language import say
from mikata.types import SILENT, Progress, Table

MOST_CROSSED = 16
"""Explained classes up to which each is crossed with each: by true and predicted class, and in differences."""

By = Literal["all", "true class", "predicted class", "correctness"]


@dataclass(frozen=True)
class Group:
    """Maps that explain one class, of some images.

    Attributes
    ----------
    by, value:
        What chose the images: ``all`` and empty, ``true class`` and its name, ``predicted class`` and its name, or
        ``correctness`` and ``correct`` or ``wrong``.
    explained:
        Name of the class that the maps explain.
    """

    by: By
    value: str
    explained: str


@dataclass(frozen=True)
class RegionFigures:
    """What a group's maps have in one region.

    Attributes
    ----------
    group, region:
        Whose, and where.
    n_maps, n_images, n_units:
        Maps, image files and independent units (patients or images) with heat that have the region; a plane has one
        map in a group.
    n_without_heat:
        Maps that have the region but no heat: they are left out of all figures.
    area:
        Mean area share, 0 to 1.
    mean, sd, median:
        Of the heat share, 0 to 1; every map counts the same. `sd` is NaN for fewer than 2 maps.
    interval:
        Of the mean.
    pointing, pointing_interval:
        Share of maps whose peak is in the region.
    """

    group: Group
    region: str
    n_maps: int
    n_images: int
    n_units: int
    n_without_heat: int
    area: float
    mean: float
    sd: float
    median: float
    interval: Interval
    pointing: float
    pointing_interval: Interval


@dataclass(frozen=True)
class RegionDifference:
    """How far a region's mean heat share in `first` is above that in `second`.

    Attributes
    ----------
    value:
        From -1 to 1.
    interval:
        By resampling the same patients for both.
    p, p_holm:
        Two-sided, of no difference; adjusted for all differences of the same kind in all regions (Holm 1979).
    """

    first: Group
    second: Group
    region: str
    value: float
    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True)
class Summary:
    """All figures of a run.

    Attributes
    ----------
    figures:
        For each group and region.
    differences:
        Of explained classes over all images, then of correct against wrong predictions of one class.
    unit:
        What was resampled: ``patient`` or ``image``.
    n_units:
        Number of these.
    """

    figures: tuple[RegionFigures, ...]
    differences: tuple[RegionDifference, ...]
    unit: Literal["patient", "image"]
    n_units: int

    def of(self, by: By) -> dict[Group, list[RegionFigures]]:
        """Figures of the groups of one kind."""
        found: dict[Group, list[RegionFigures]] = {}
        for one in self.figures:
            if one.group.by == by:
                found.setdefault(one.group, []).append(one)
        return found

    def table(self, *, whole: bool = True) -> Table:
        """One row for each group and region; not `whole`: of the groups of all images alone."""
        columns = (
            "by", "group", "class", "region", "n_maps", "n_images", f"n_{self.unit}s_resampled", "n_without_heat",
            "area_share", "heat_share_mean", "low", "high", "heat_share_sd", "heat_share_median", "pointing_game",
            "pointing_low", "pointing_high", "level", "interval", "pointing_interval",
        )  # fmt: skip
        rows = tuple(
            (
                one.group.by, one.group.value, one.group.explained, one.region, one.n_maps, one.n_images, one.n_units,
                one.n_without_heat,
                *map(_defined, (
                    one.area, one.mean, one.interval.low, one.interval.high, one.sd, one.median, one.pointing,
                    one.pointing_interval.low, one.pointing_interval.high,
                )),
                one.interval.level, one.interval.method, one.pointing_interval.method,
            )
            for one in self.figures
            if whole or one.group.by == "all"
        )  # fmt: skip
        return Table("Heat by Region summary", columns, rows, append=False)

    def difference_table(self, *, whole: bool = True) -> Table:
        """One row for each difference; not `whole`: of explained classes alone."""
        columns = (
            "by", "first", "second", "class", "region", "difference", "low", "high", "p", "p_holm", "level", "interval",
        )  # fmt: skip
        rows = []
        for one in self.differences:
            classes = one.first.by == "all"
            if not (whole or classes):
                continue
            named = (
                ("class", one.first.explained, one.second.explained, "")
                if classes
                else (one.first.by, one.first.value, one.second.value, one.first.explained)
            )
            numbers = (one.value, one.interval.low, one.interval.high, one.p, one.p_holm)
            rows.append((
                *named, one.region, *map(_defined, numbers), one.interval.level, one.interval.method,
            ))  # fmt: skip
        return Table("Heat by Region differences", columns, tuple(rows), append=False)


def _defined(value: float) -> float | str:
    return float(value) if math.isfinite(value) else NOT_DEFINED


def summarise(maps: Maps, *, seed: int = 0, progress: Progress = SILENT) -> Summary:
    """Figures for each explained class and region: of all images, and by true class, predicted class and correctness.

    Groups that would repeat another (by predicted class where the predicted class is explained) are left out, and
    maps of different classes are never mixed. Of more than `MOST_CROSSED` explained classes, each is only taken by
    its own images, and classes are not compared with each other: K * K tables would say nothing.

    Parameters
    ----------
    maps:
        Of at least one plane.
    seed:
        Of the resampling.
    """
    units, unit = units_of(maps)
    count = int(units.max()) + 1
    groups = list(_groups(maps))
    resampled = {}
    figures: list[RegionFigures] = []
    for done, (group, chosen) in enumerate(groups):
        progress.step(say("Resample"), done, len(groups))
        draws = resampled_means(maps.share[chosen], units[chosen], count, seed)
        pointing = resampled_means(maps.hit[chosen], units[chosen], count, seed)
        if group.by in ("all", "correctness"):
            resampled[group] = draws
        figures += _figures(maps, group, chosen, units, unit, draws, pointing)
    progress.step(say("Resample"), len(groups), len(groups))
    found = {(one.group, one.region): one for one in figures}
    classes = [group for group, _ in groups if group.by == "all"]
    judged = [group for group, _ in groups if group.by == "correctness"]
    pairs = [
        list(combinations(classes, 2)) if len(classes) <= MOST_CROSSED else [],
        [(a, b) for a, b in combinations(judged, 2) if a.explained == b.explained],
    ]
    differences = [
        one for family in pairs for one in _differences(family, maps.regions, found, resampled, unit)
    ]
    return Summary(tuple(figures), tuple(differences), unit, count)


def units_of(maps: Maps) -> tuple[NDArray[np.int64], Literal["patient", "image"]]:
    """Number of each map's patient, or of its image file where not all patients are known."""
    known = all(one.patient for one in maps.subjects)
    names = [one.patient if known else one.image for one in maps.subjects]
    return np.unique(names, return_inverse=True)[1].astype(np.int64), "patient" if known else "image"


def _groups(maps: Maps) -> Iterator[tuple[Group, NDArray[np.bool_]]]:
    """Groups with the maps that belong to them, (M,) each."""
    predicted = np.array([one.predicted for one in maps.subjects])
    truth = np.array([-1 if one.truth is None else one.truth for one in maps.subjects])
    names = maps.names
    explained = np.unique(maps.explained).tolist()
    for k in explained:
        yield Group("all", "", names[k]), maps.explained == k
    judged = not maps.values and not (truth < 0).any()
    if judged and (truth != maps.explained).any():
        yield from _by("true class", maps, truth)
    if not maps.values and (predicted != maps.explained).any():
        yield from _by("predicted class", maps, predicted)
    if judged:
        right = truth == predicted
        for k in explained:
            for value, chosen in (("correct", right), ("wrong", ~right)):
                if (both := chosen & (maps.explained == k)).any():
                    yield Group("correctness", value, names[k]), both


def _by(by: By, maps: Maps, numbers: NDArray[np.int64]) -> Iterator[tuple[Group, NDArray[np.bool_]]]:
    explained = np.unique(maps.explained).tolist()
    for k in explained:
        others = np.unique(numbers).tolist() if len(explained) <= MOST_CROSSED else [k]
        for number in others:
            if (both := (numbers == number) & (maps.explained == k)).any():
                yield Group(by, maps.names[number], maps.names[k]), both


def _figures(
    maps: Maps,
    group: Group,
    chosen: NDArray[np.bool_],
    units: NDArray[np.int64],
    unit: Literal["patient", "image"],
    draws: NDArray[np.float64],
    pointing: NDArray[np.float64],
) -> list[RegionFigures]:
    found = []
    rows = np.flatnonzero(chosen)
    for column, region in enumerate(maps.regions):
        there = rows[np.isfinite(maps.area[rows, column])]
        if not there.size:
            continue  # no image of the group has this region
        heated = there[np.isfinite(maps.share[there, column])]
        shares, hits = maps.share[heated, column], maps.hit[heated, column]
        own = len(np.unique(units[heated]))
        some = bool(heated.size)
        mean, hit = (float(values.mean()) if some else math.nan for values in (shares, hits))
        found.append(
            RegionFigures(
                group=group,
                region=region,
                n_maps=len(heated),
                n_images=len({maps.subjects[row].image for row in heated}),
                n_units=own,
                n_without_heat=len(there) - len(heated),
                area=float(maps.area[there, column].mean()),
                mean=mean,
                sd=float(shares.std(ddof=1)) if len(heated) > 1 else math.nan,
                median=float(np.median(shares)) if some else math.nan,
                interval=of_enough(share_interval(mean, draws[:, column], own, own, unit), own, unit),
                pointing=hit,
                pointing_interval=of_enough(
                    share_interval(hit, pointing[:, column], own, own, unit), own, unit
                ),
            )
        )
    return found


def _differences(
    pairs: list[tuple[Group, Group]],
    regions: tuple[str, ...],
    figures: dict[tuple[Group, str], RegionFigures],
    draws: dict[Group, NDArray[np.float64]],
    unit: Literal["patient", "image"],
) -> list[RegionDifference]:
    """Differences of one family, whose p are adjusted together."""
    found = []
    for first, second in pairs:
        for column, region in enumerate(regions):
            if (first, region) not in figures or (second, region) not in figures:
                continue
            a, b = figures[first, region], figures[second, region]
            value = a.mean - b.mean
            drawn = draws[first][:, column] - draws[second][:, column]
            own = min(a.n_units, b.n_units)
            interval = of_enough(difference_interval(value, drawn, own, own, unit), own, unit)
            p = difference_p(drawn, own) if own >= FEWEST else math.nan
            found.append((first, second, region, value, interval, p))
    adjusted = holm([one[-1] for one in found])
    return [RegionDifference(*one, p_holm) for one, p_holm in zip(found, adjusted, strict=True)]
