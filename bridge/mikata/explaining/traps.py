"""What a network may go by that is not of the patient: figures with marks painted over, and on a subset of the data.

Each figure is a mean over planes; its interval and that of its paired difference come from resampling patients (files
where patients are not known): expanded percentiles, Hesterberg 2015, doi 10.1080/00031305.2015.1089789. p of a
difference of accuracy exchanges the two in whole patients, which is exact (`mikata.evaluation.pairs.exchange_p`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata import report
from mikata.evaluation import Interval, exchange_p
from mikata.evaluation.paired import difference_interval, of_enough, share_interval
from mikata.explaining.collected import NOT_DEFINED, Maps, Subject
from mikata.explaining.region_page import region_name
from mikata.explaining.resamples import resampled_means
from mikata.explaining.summary import units_of
from mikata.language import joined, say
from mikata.types import Table

ALL = "all"
_SHARE = "heat share"


@dataclass(frozen=True)
class Figure:
    """A mean as it is, with marks painted over, and the paired difference (painted over less as it is).

    Attributes
    ----------
    of:
        ``all`` images, or the subset's condition.
    name:
        ``accuracy``, ``changed predictions`` or ``heat share``.
    explained, region:
        Of a heat share: the class, ``all`` for every one, and the region; else empty.
    n_planes, n_units:
        Number of planes and of resampled patients (files) with the figure.
    n_pairs:
        Planes with the figure both as they are and painted over: those of the difference. Where the predicted class is
        explained and becomes another, there is no map of the same class to compare.
    before, after, difference:
        From 0 to 1, NaN where not known; `after` of ``changed predictions`` is the share of planes whose predicted
        class changed.
    p:
        Two-sided, of the difference of accuracy; else NaN.
    """

    of: str
    name: str
    explained: str
    region: str
    n_planes: int
    n_units: int
    n_pairs: int
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    difference: float
    difference_interval: Interval
    p: float = math.nan


def measured(
    maps: Maps, painted: Maps | None, subset: Collection[str] = (), condition: str = "", seed: int = 0
) -> tuple[Figure, ...]:
    """Figures of all planes and of those whose image is in `subset`.

    Parameters
    ----------
    maps, painted:
        Of the images as they are, and of the same with marks painted over; None where that was not asked for. Maps
        are paired by plane and, where several classes are explained, by class.
    subset, condition:
        Names of images, and what they have in common.
    """
    found = _of(maps, painted, np.ones(len(maps.subjects), bool), ALL, seed)
    if condition:
        chosen = np.array([one.image in subset for one in maps.subjects], bool)
        found += _of(maps, painted, chosen, condition, seed) if chosen.any() else ()
    return found


def _place(one: Subject) -> tuple[str, int, int]:
    return one.image, one.z, one.t


def _of(
    maps: Maps, painted: Maps | None, chosen: NDArray[np.bool_], of: str, seed: int
) -> tuple[Figure, ...]:
    rows = np.flatnonzero(chosen)
    subjects = [maps.subjects[row] for row in rows]
    of_all, unit = units_of(maps)
    units = np.unique(of_all[rows], return_inverse=True)[1]
    first = np.unique([str(_place(one)) for one in subjects], return_index=True)[1]  # one map of each plane
    once = np.zeros(len(rows), bool)
    once[first] = True
    other = _partners(maps, painted, rows) if painted else np.full(len(rows), -1)
    there = other >= 0
    answers = {_place(one): one.predicted for one in painted.subjects} if painted else {}
    nan = np.full(len(rows), np.nan)
    kinds: list[tuple[str, str, str]] = []
    columns: list[NDArray[np.float64]] = []

    def add(
        name: str, explained: str, region: str, before: NDArray[np.float64], after: NDArray[np.float64]
    ) -> None:
        kinds.append((name, explained, region))
        columns.extend((before, after, after - before))

    after_class = np.array([answers.get(_place(one), -1) for one in subjects])
    known = once & (after_class >= 0)
    if not maps.values:
        if all(one.truth is not None for one in subjects):
            truth = np.array([one.truth for one in subjects])
            right = np.array([one.predicted for one in subjects]) == truth
            add(
                "accuracy",
                "",
                "",
                np.where(once, right, np.nan),
                np.where(known, after_class == truth, np.nan),
            )
        if painted:
            changed = after_class != np.array([one.predicted for one in subjects])
            add("changed predictions", "", "", nan, np.where(known, changed, np.nan))
    explained = maps.explained[rows]
    groups = {ALL: np.ones(len(rows), bool)}
    groups |= {maps.names[k]: explained == k for k in np.unique(explained)} if not maps.values else {}
    for group, among in groups.items():
        for column, region in enumerate(maps.regions):
            before = np.where(among, maps.share[rows, column], np.nan)
            after = nan.copy()
            if painted and region in painted.regions:
                share = painted.share[:, painted.regions.index(region)]
                after[there & among] = share[other[there & among]]
            add(_SHARE, group, region, before, after)
    values = np.stack(columns, 1)
    draws = resampled_means(values, units.astype(np.int64), int(units.max()) + 1, seed)
    return tuple(
        _figure(of, kind, values[:, 3 * n : 3 * n + 3], draws[:, 3 * n : 3 * n + 3], units, unit)
        for n, kind in enumerate(kinds)
    )


def _partners(maps: Maps, painted: Maps, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Number of the map of the same plane and class in `painted` for each of `rows`; -1 for none."""
    exact = {
        (*_place(one), int(k)): n
        for n, (one, k) in enumerate(zip(painted.subjects, painted.explained, strict=True))
    }
    found = np.full(len(rows), -1, np.int64)
    for at, row in enumerate(rows):
        found[at] = exact.get((*_place(maps.subjects[row]), int(maps.explained[row])), -1)
    return found


def _figure(
    of: str,
    kind: tuple[str, str, str],
    values: NDArray[np.float64],
    draws: NDArray[np.float64],
    units: NDArray[np.intp],
    unit: str,
) -> Figure:
    found: list[tuple[float, Interval]] = []
    for column, interval in enumerate((share_interval, share_interval, difference_interval)):
        known = np.isfinite(values[:, column])
        value = float(values[known, column].mean()) if known.any() else math.nan
        own = len(np.unique(units[known]))
        found.append((value, of_enough(interval(value, draws[:, column], own, own, unit), own, unit)))
    main = np.isfinite(values[:, 1 if kind[0] == "changed predictions" else 0])
    p = math.nan
    paired = np.isfinite(values[:, 2])
    if kind[0] == "accuracy" and paired.any():  # exact, so that few patients do not make it wrong
        p = exchange_p(np.rint(np.bincount(units[paired], values[paired, 2])).astype(int))
    (a, a_in), (b, b_in), (d, d_in) = found
    return Figure(
        of, *kind, int(main.sum()), len(np.unique(units[main])), int(paired.sum()), a, a_in, b, b_in, d, d_in, p
    )  # fmt: skip


def table(figures: tuple[Figure, ...]) -> Table:
    """One row for each figure; shares from 0 to 1."""
    columns = (
        "of", "figure", "class", "region", "n_planes", "n_patients_or_images_resampled", "value", "low", "high",
        "painted_over", "painted_over_low", "painted_over_high", "n_planes_paired", "difference", "difference_low", "difference_high", "p",
        "interval", "difference_interval",
    )  # fmt: skip
    rows = []
    for one in figures:
        numbers = (
            one.before, one.before_interval.low, one.before_interval.high, one.after, one.after_interval.low,
            one.after_interval.high, one.n_pairs, one.difference, one.difference_interval.low,
            one.difference_interval.high, one.p,
        )  # fmt: skip
        rows.append((
            one.of, one.name, one.explained, one.region, one.n_planes, one.n_units,
            *(x if math.isfinite(x) else NOT_DEFINED for x in numbers),
            (one.after_interval if math.isnan(one.before) else one.before_interval).method,
            one.difference_interval.method if math.isfinite(one.difference) else "",
        ))  # fmt: skip
    return Table("Heat by Region traps", columns, tuple(rows), append=False)


def sentences(figures: tuple[Figure, ...]) -> list[str]:
    """What to read first: accuracy as it is and painted over, of all images and of the subset."""
    found = []
    changed = {one.of: one for one in figures if one.name == "changed predictions"}
    for one in figures:
        if one.name != "accuracy":
            continue
        whose = say("All images") if one.of == ALL else one.of
        said = say(
            "{whose}: accuracy {value} (n = {n}).",
            whose=whose,
            value=_bounds(one.before, one.before_interval),
            n=one.n_planes,
        )
        if math.isfinite(one.after):
            said = joined([
                said,
                say(
                    "With the regions painted over {value}, difference {difference} points (p = {p:.3f}); {count} "
                    "predictions changed.",
                    value=_bounds(one.after, one.after_interval),
                    difference=_points(one),
                    p=one.p,
                    count=round(changed[one.of].after * changed[one.of].n_planes),
                ),
            ])  # fmt: skip
        found.append(said)
    return found


def section(figures: tuple[Figure, ...], painted: bool) -> tuple[str, str]:
    """Heading and HTML."""
    columns = [say("images"), say("figure"), say("n"), say("as they are")]
    columns += [say("painted over"), say("difference (points)")] if painted else []
    rows = []
    for one in figures:
        row = [
            say("all") if one.of == ALL else one.of, _named(one), str(one.n_planes),
            _bounds(one.before, one.before_interval) if math.isfinite(one.before) else "",
        ]  # fmt: skip
        if painted:
            row += [
                _bounds(one.after, one.after_interval),
                _points(one, n=one.n_pairs != one.n_planes) if math.isfinite(one.difference) else "",
            ]
        rows.append(tuple(row))
    text = "".join(map(report.paragraph, sentences(figures)))
    text += report.table(Table("", tuple(columns), tuple(rows)))
    if painted:
        text += report.paragraph(
            say(
                "Painted over: marks or borders replaced by the values around them, in the original image. If accuracy "
                "falls or predictions change, the network has used what was there; if not, it can do without. Heat that "
                "stays where nothing is left was not about the marks. Painting is itself a change that the network has "
                "not learnt from. Heat of a film whose predicted class has changed is not compared: it is about another class."
            )
        )
    return say("Marks, borders and subsets"), text


def _named(one: Figure) -> str:
    if one.name == "accuracy":
        return say("accuracy")
    if one.name == "changed predictions":
        return say("changed predictions")
    region = region_name(one.region)
    if one.explained == ALL:
        return say("heat share, {region}", region=region)
    return say("heat share, {region}, {name}", region=region, name=one.explained)


def _bounds(value: float, interval: Interval) -> str:
    if not math.isfinite(value):
        return say("not defined")
    if not math.isfinite(interval.low):
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def _points(one: Figure, *, n: bool = False) -> str:
    said = f"{100 * one.difference:+.1f}"
    if math.isfinite(one.difference_interval.low):
        low, high = 100 * one.difference_interval.low, 100 * one.difference_interval.high
        said += f" ({low:+.1f} – {high:+.1f})"
    return f"{said}, n = {one.n_pairs}" if n else said
