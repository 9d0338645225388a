"""Heat by region as a page: where the heat lies, for which class, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mikata import report
from mikata.evaluation import Interval, words
from mikata.evaluation.intervals import RESAMPLES
from mikata.explaining import figures
from mikata.explaining.collected import Maps
from mikata.explaining.figures import MOST_CLASSES, MOST_REGIONS, Shown
from mikata.explaining.summary import MOST_CROSSED, By, Group, RegionFigures, Summary
from mikata.language import say
from mikata.types import Table

_FEW = 10  # patients below which intervals by resampling are too short, as in mikata.evaluation.words


def region_name(name: str) -> str:
    """A region in the reader's language: the chest grid's have words of ours, others stay as they are called."""
    known = {
        "upper right lung": say("upper right lung"),
        "upper mediastinum": say("upper mediastinum"),
        "upper left lung": say("upper left lung"),
        "lower right lung": say("lower right lung"),
        "lower mediastinum": say("lower mediastinum"),
        "lower left lung": say("lower left lung"),
        "marks": say("marks"),
        "border": say("border"),
        "rest": say("rest"),
    }
    return known.get(name, name)


def leading(summary: Summary, values: bool) -> list[str]:
    """For each explained class, the region with most of its heat, in a sentence."""
    found = []
    for group, figures_ in summary.of("all").items():
        known = [one for one in figures_ if math.isfinite(one.mean)]
        if not known:
            continue
        most = max(known, key=lambda one: one.mean)
        facts = {
            "name": group.explained,
            "region": region_name(most.region),
            "share": 100 * most.mean,
            "area": 100 * most.area,
            "n": most.n_maps,
        }
        if not math.isfinite(most.interval.low):
            found.append(
                say(
                    "{name}: the largest share of the heat is in {region}, {share:.1f} % on {area:.1f} % of the area (n = {n}).",
                    **facts,
                )
            )
            continue
        found.append(
            say(
                "{name}: the largest share of the heat is in {region}, {share:.1f} % (95 % interval {low:.1f} to {high:.1f} %) on "
                "{area:.1f} % of the area (n = {n}).",
                low=100 * most.interval.low,
                high=100 * most.interval.high,
                **facts,
            )
        )
    return found


def notes(summary: Summary, maps: Maps, small: Mapping[str, float], cell: str) -> list[str]:
    """What a reader must know of the figures, in sentences; `cell` is the size of a cell of the grid in words."""
    found = []
    without = sum(
        max(one.n_without_heat for one in figures_) for figures_ in summary.of("all").values() if figures_
    )
    if without:
        found.append(
            say(
                "{count} of {total} heat maps have no heat at all: nothing speaks for the class. Their shares are not "
                "defined, and they are left out of means.",
                count=without,
                total=len(maps.subjects),
            )
        )
    if small:
        listed = ", ".join(f"{region_name(name)} ({cells:.1f})" for name, cells in list(small.items())[:6])
        found.append(
            say(
                "Smaller than two cells of the network's grid ({cell}), in cells: {regions}{more}. The network does not "
                "see that finely: their heat is mostly that of what lies around them.",
                cell=cell,
                regions=listed,
                more=", ..." if len(small) > 6 else "",
            )
        )
    if len(summary.of("all")) > MOST_CROSSED:
        found.append(
            say(
                "More than {most} classes are explained: they are not compared with each other, and by true and predicted "
                "class each is taken by its own images alone.",
                most=MOST_CROSSED,
            )
        )
    if summary.unit == "image":
        planes = len({(one.image, one.z, one.t) for one in maps.subjects})
        if summary.n_units < planes:
            found.append(
                say(
                    "Patients are not known, and the {planes} planes are of {files} file(s): files are resampled, since "
                    "planes of one file are not independent. A CSV with file, label and patient tells whose images "
                    "they are.",
                    planes=planes,
                    files=summary.n_units,
                )
            )
        else:
            found.append(
                say(
                    "Patients are not known: images are taken as independent, and intervals are too short if some "
                    "are of one patient."
                )
            )
    elif summary.n_units < _FEW:
        found.append(
            say("Only {n} patients: intervals from resampling so few are too short.", n=summary.n_units)
        )
    lonely = len({one.image for one in maps.subjects}) > 1 and all(
        one.n_images <= 1 for figures_ in summary.of("all").values() for one in figures_
    )
    if lonely:
        found.append(
            say(
                "No region has the same name in two images, so there is nothing to average: give ROIs that belong "
                "together the same name in every set (ROI Manager > Rename...)."
            )
        )
    return found


def page(
    summary: Summary,
    maps: Maps,
    *,
    shown: Shown | None,
    facts: Mapping[str, object],
    said: Sequence[str],
    controls: tuple[str, str] | None = None,
    tests: tuple[str, str] | None = None,
) -> str:
    """The whole page.

    Parameters
    ----------
    shown:
        Mean heat over the reference picture, None where no map has heat.
    facts:
        How it was done: names and values.
    said:
        Notes that a reader must know.
    controls:
        Heading and HTML of the control report.
    tests:
        The same of what was painted over, and of the subset.
    """
    ordered, cut = _ordered(maps)
    names = [region_name(name) for name in ordered]
    sentences = leading(summary, maps.values)
    first = _pivot(summary, "all", ordered)
    first += report.paragraph(
        say(
            "Mean share of the heat with its 95 % interval. Heat spread without any preference would give the area "
            "share. A share says where the network's reasons lie as this method shows them, not that they are right ones."
        )
    )
    if len(summary.of("all")) > 2 * MOST_CLASSES:
        first += report.paragraph(
            say(
                "Shown are the first {shown} classes of {total}; the CSV has all.",
                shown=2 * MOST_CLASSES,
                total=len(summary.of("all")),
            )
        )
    if cut:
        first += report.paragraph(
            say(
                "Shown are the {shown} regions with most heat of {total}; the CSV has all.",
                shown=len(ordered),
                total=len(maps.regions),
            )
        )
    sections = [
        (say("Where the heat lies"), first + "".join(map(report.paragraph, said))),
    ]
    if shown is not None:
        sections.append((
            say("Mean heat of each class"),
            report.plot(
                figures.heat_figure(shown),
                say(
                    "Mean of the heat maps, each divided by its own mean: 1 is heat spread evenly. All on one scale, over "
                    "the mean image or the reference that was given; in each region its mean share of the heat."
                ),
            ),
        ))  # fmt: skip
    sections.append((
        say("Spread over the images"),
        report.plot(
            figures.box_plot(maps, ordered, names),
            say(
                "Heat share of every image: box from the first to the third quartile, line: median, white point: mean, "
                "whiskers to the last value within 1.5 box lengths, dots beyond. Dotted: the region's share of the area."
            ),
        ),
    ))  # fmt: skip
    sections += _by_labels(summary, ordered)
    if summary.differences:
        sections.append((say("Differences"), _differences(summary, set(ordered))))
    if tests is not None:
        sections.append(tests)
    if controls is not None:
        sections.append(controls)
    sections += [
        (say("Pointing game"), _pointing(summary, ordered)),
        (say("How it was measured"), report.pairs(facts) + _sources()),
        (say("Versions"), report.pairs(report.versions())),
    ]
    return report.page(say("Heat by region"), " ".join(sentences[:MOST_CLASSES]), sections)


def _ordered(maps: Maps) -> tuple[list[str], bool]:
    """Regions in their order, or those with most heat where they are too many to show."""
    if len(maps.regions) <= MOST_REGIONS:
        return list(maps.regions), False
    filled = np.nan_to_num(maps.share).mean(0)
    kept = np.sort(np.argsort(-filled, kind="stable")[:MOST_REGIONS])
    return [maps.regions[index] for index in kept], True


def _pivot(summary: Summary, by: By, regions: Sequence[str]) -> str:
    """Regions down, groups across: mean share with interval."""
    groups = dict(list(summary.of(by).items())[: 2 * MOST_CLASSES])
    by_region = {group: {one.region: one for one in own} for group, own in groups.items()}
    rows: list[tuple[object, ...]] = []
    for region in regions:
        there = [own[region] for own in by_region.values() if region in own]
        if not there:
            continue
        area = sum(one.area for one in there) / len(there)
        cells = [_share(own.get(region)) for own in by_region.values()]
        rows.append((region_name(region), f"{100 * area:.1f} %", *cells))
    counts = [_counts(own, summary.unit) for own in groups.values()]
    rows.append((say("n"), "", *counts))
    columns = (say("region"), say("area share"), *(_title(group) for group in groups))
    return report.table(Table("", columns, tuple(rows)))


def _share(one: RegionFigures | None) -> str:
    if one is None:
        return ""
    return _bounds(one.mean, one.interval)


def _bounds(value: float, interval: Interval) -> str:
    if not math.isfinite(value):
        return say("not defined")
    if not math.isfinite(interval.low):
        return f"{100 * value:.1f}\u00a0%"
    # one line: a table that breaks in an interval is hard to read
    return f"{100 * value:.1f}\u00a0% ({100 * interval.low:.1f}\u00a0–\u00a0{100 * interval.high:.1f})"


def _counts(own: Sequence[RegionFigures], unit: str) -> str:
    most = max(own, key=lambda one: one.n_maps)
    if unit == "patient":
        return say("{n} images of {patients} patients", n=most.n_maps, patients=most.n_units)
    return say("{n} images", n=most.n_maps)


def _title(group: Group) -> str:
    if group.by == "all":
        return group.explained
    if group.by == "true class":
        return say("{name}, truly {value}", name=group.explained, value=group.value)
    if group.by == "predicted class":
        return say("{name}, predicted {value}", name=group.explained, value=group.value)
    if group.value == "correct":
        return say("{name}, predicted correctly", name=group.explained)
    return say("{name}, predicted wrongly", name=group.explained)


def _by_labels(summary: Summary, regions: Sequence[str]) -> list[tuple[str, str]]:
    headings: dict[By, str] = {
        "true class": say("By true class"),
        "predicted class": say("By predicted class"),
        "correctness": say("Correct and wrong predictions"),
    }
    found = []
    for by, heading in headings.items():
        count = len(summary.of(by))
        if not count:
            continue
        if count > 2 * MOST_CLASSES:
            found.append((heading, report.paragraph(say("{count} groups: see the CSV.", count=count))))
        else:
            found.append((heading, _pivot(summary, by, regions)))
    return found


def _differences(summary: Summary, regions: set[str]) -> str:
    shown = [one for one in summary.differences if one.region in regions]
    columns = (
        say("first"), say("second"), say("region"), say("difference (points)"), say("low"), say("high"),
        say("p (Holm)"),
    )  # fmt: skip
    rows = []
    for one in shown[:200]:
        numbers = (100 * one.value, 100 * one.interval.low, 100 * one.interval.high)
        rows.append((
            _title(one.first), _title(one.second), region_name(one.region),
            *(f"{x:+.1f}" if math.isfinite(x) else say("not defined") for x in numbers),
            _p(one.p_holm),
        ))  # fmt: skip
    lead = report.paragraph(
        say(
            "Mean heat share in the first less that in the second, in percentage points, with the 95 % interval by "
            "resampling; p adjusted for all differences of one kind (Holm)."
        )
    )
    if len(shown) > len(rows):
        lead += report.paragraph(
            say("The first {count} of {total}; the CSV has all.", count=len(rows), total=len(shown))
        )
    return lead + report.table(Table("", columns, tuple(rows)))


def _p(value: float) -> str:
    if not math.isfinite(value):
        return say("not defined")
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pointing(summary: Summary, regions: Sequence[str]) -> str:
    groups = dict(list(summary.of("all").items())[: 2 * MOST_CLASSES])
    own = {group: {one.region: one for one in found} for group, found in groups.items()}
    rows = []
    for region in regions:
        cells = [
            _bounds(found[region].pointing, found[region].pointing_interval) if region in found else ""
            for found in own.values()
        ]
        rows.append((region_name(region), *cells))
    columns = (say("region"), *(_title(group) for group in groups))
    return report.paragraph(
        say("Share of the maps whose hottest pixel is in the region, without any tolerance around it.")
    ) + report.table(Table("", columns, tuple(rows)))


def _sources() -> str:
    return report.paragraph(
        say(
            "Heat share: energy-based pointing game (Wang et al. 2020, arXiv 1910.01279), the positive heat of a region's "
            "pixels over that of all pixels, at the image's full resolution. Pointing game: Zhang et al. 2016, arXiv "
            "1608.00507. Intervals: expanded percentiles of {count} resamples (Hesterberg 2015).",
            count=RESAMPLES,
        )
    )


def method_words(summary: Summary) -> str:
    """How intervals were made, in the reader's language."""
    used = dict.fromkeys(
        words.method(one.interval.method) for one in summary.figures if math.isfinite(one.interval.low)
    )
    return "; ".join(used) or say("none: there are too few independent images")
