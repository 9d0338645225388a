"""The control report as a section of a page."""

from __future__ import annotations

import math

from mikata import report
from mikata.explaining.controls import figures, words
from mikata.explaining.controls.measured import CASCADES, RANDOM_NETWORKS, RANDOM_ORDERS
from mikata.explaining.controls.results import Controls, Figure
from mikata.explanation.controls.disturbed import NOISE_SD
from mikata.language import say
from mikata.types import Table


def section(found: Controls) -> tuple[str, str]:
    """Heading and HTML."""
    heading = say("Controls of the heat maps")
    if found.not_run:
        return heading, report.paragraph(found.not_run)
    parts = [
        report.paragraph(words.sentence(found)),
        report.paragraph(_taken(found)),
        _outcomes(found),
        report.paragraph(
            say(
                "A map that passes these controls has not been shown to be wrong by them. They say nothing about whether "
                "the network's reasons are good ones."
            )
        ),
    ]
    drawn = figures.curves_figure(found)
    if drawn is not None:
        parts.append(
            report.plot(
                drawn,
                say(
                    "Means with 95 % intervals. Weight randomisation: weights are replaced by random ones from the scores "
                    "downwards ({cascades} random networks; {full} with all layers). Deletion and insertion: the map's order against "
                    "edges, the middle, and {orders} random orders.",
                    cascades=CASCADES,
                    full=RANDOM_NETWORKS,
                    orders=RANDOM_ORDERS,
                ),
            )
        )
    if found.examples:
        parts.append(
            report.plot(
                figures.maps_figure(found.examples, found.depths),
                say(
                    "The first of the chosen images. Each map is on its own scale. Random: with so many layers' weights "
                    "replaced, from the scores downwards."
                ),
            )
        )
    parts += [
        _figures(found),
        _spread(found),
        *(report.paragraph(words.question(one.name)) for one in found.controls),
    ]
    parts += [report.paragraph(words.rule()), report.paragraph(_sources())]
    return heading, "".join(parts)


def _taken(found: Controls) -> str:
    facts = {"images": found.n_images, "all": found.n_all, "units": found.n_units, "seed": found.seed}
    if found.unit == "patient":
        return say(
            "Made on {images} of {all} planes with heat, of {units} patients, chosen by chance (seed {seed}) and spread over classes "
            "and patients.",
            **facts,
        )
    return say(
        "Made on {images} of {all} planes with heat, of {units} files, chosen by chance (seed {seed}) and spread over classes and "
        "files.",
        **facts,
    )


def _outcomes(found: Controls) -> str:
    columns = (say("control"), say("outcome"), say("what it means"))
    rows = tuple(
        (words.title(one.name), words.status(one.status), words.meaning(one)) for one in found.controls
    )
    return report.table(Table("", columns, rows))


def _figures(found: Controls) -> str:
    columns = (
        say("control"),
        say("figure"),
        say("value"),
        say("95 % interval"),
        say("asked for"),
        say("outcome"),
        say("n"),
    )
    rows = [
        (
            words.title(control.name), words.figure(one.name), words.number(one.estimate.value), _interval(one), _asked(one),
            words.status(one.verdict) if one.verdict else "", one.estimate.n,
        )
        for control in found.controls
        for one in control.figures
    ]  # fmt: skip
    return report.table(Table("", columns, tuple(rows)))


def _interval(one: Figure) -> str:
    low, high = one.estimate.interval.low, one.estimate.interval.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{low:.2f}\u00a0–\u00a0{high:.2f}"


def _asked(one: Figure) -> str:
    if one.limit is None:
        return ""
    sign = ">" if one.wanted == "above" else "<"
    return f"{sign}\u00a0{one.limit:g}"


def _spread(found: Controls) -> str:
    """Heat shares of each region by the networks of repeated trainings."""
    if not found.spread:
        return ""
    count = len(found.spread[0].shares)
    networks = [say("network {n}", n=n) for n in range(1, count + 1)]
    columns = (say("region"), say("area share"), *networks, say("SD between networks"))
    rows = [
        (one.region, _percent(one.area), *map(_percent, one.shares), _percent(one.sd)) for one in found.spread
    ]
    lead = say(
        "Mean heat share of the chosen images in each region, by each network. What lies between networks adds to every "
        "interval that is taken over the images of one of them."
    )
    return report.paragraph(lead) + report.table(Table("", columns, tuple(rows)))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%" if math.isfinite(value) else say("not defined")


def _sources() -> str:
    return say(
        "Sources: weight randomisation, edges: Adebayo et al. 2018, arXiv 1810.03292; deletion and insertion: Petsiuk et al. "
        "2018, arXiv 1806.07421, by cells of the map's grid; repeated training, stability: Arun et al. 2021, doi "
        "10.1148/ryai.2021200267. Noise: SD {noise:.0%} of the image's own. The limits are conventions of this program, set "
        "before any data was seen.",
        noise=NOISE_SD,
    )
