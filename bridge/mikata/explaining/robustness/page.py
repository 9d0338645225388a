"""Robustness as a page: what flips the network, how fast it fails, and examples to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from mikata import report
from mikata.evaluation import words as evaluation_words
from mikata.evaluation.intervals import RESAMPLES
from mikata.explaining.robustness import figures, words
from mikata.explaining.robustness.outcomes import FGSM, PGD, SMALLEST, UNCHANGED, Figures, kinds
from mikata.explaining.robustness.pictures import Example
from mikata.explaining.robustness.words import Found
from mikata.language import joined, say
from mikata.types import Table

_WIDTH = 142  # six side by side


def page(
    found: Found, examples: Sequence[Example], *, facts: Mapping[str, object], said: Sequence[str]
) -> str:
    """The whole page.

    Parameters
    ----------
    examples:
        Planes to show, those first that the least change flips.
    facts:
        How it was done: names and values.
    said:
        Notes that a reader must know.
    """
    sections = []
    caution = report.paragraph(
        say(
            "These tests show how a network can fail, not that it will: nobody changes a patient's image on purpose in "
            "this way. Where they find nothing, that is no proof that nothing is there."
        )
    )
    notes = "".join(map(report.paragraph, said))
    if found.adversarial:
        sections.append((say("Changes that flip the class"), _adversarial(found) + caution + notes))
        sections.append((say("Examples"), _examples(found, examples)))
    if kinds(found.figures):
        sections.append((
            say("Images made worse"),
            _corruptions(found) + ("" if found.adversarial else caution + notes),
        ))  # fmt: skip
    sections += [
        (say("How it was measured"), report.pairs(facts) + _method(found)),
        (say("Versions"), report.pairs(report.versions())),
    ]
    return report.page(say("Robustness"), joined([words.tested(found), *words.leading(found)]), sections)


def _adversarial(found: Found) -> str:
    plot = report.plot(
        figures.smallest_figure(found),
        say(
            "Share of planes whose class the search flipped with a change of no value by more than that. Each plane's step "
            "is an upper bound of its smallest change, so that the true curve is here or further left. Bars: 95 % intervals."
        ),
    )
    rows = [
        _row(one)
        for name in (UNCHANGED, FGSM, PGD, SMALLEST)
        for one in found.of(name)
    ]  # fmt: skip
    return plot + _table(found, rows)


def _corruptions(found: Found) -> str:
    plot = report.plot(
        figures.corruption_figure(found),
        say(
            "Bands: 95 % intervals of the solid line. Mean probability is that of the class predicted on the unchanged "
            "image. Worse images are to the right."
        ),
    )
    rows = [_row(one) for name in (UNCHANGED, *kinds(found.figures)) for one in found.of(name)]
    return plot + _table(found, rows)


def _table(found: Found, rows: Sequence[tuple[object, ...]]) -> str:
    human = found.unchanged.n_human > 0
    columns = (
        say("test"), say("level"), say("n"), say("flips"), say("class kept"), say("accuracy"), say("mean probability"),
        say("agrees with human"),
    )  # fmt: skip
    kept = [True, True, True, True, True, found.outcomes.judged, True, human]
    return report.table(
        Table(
            "",
            tuple(name for name, there in zip(columns, kept, strict=True) if there),
            tuple(tuple(cell for cell, there in zip(row, kept, strict=True) if there) for row in rows),
        )
    )


def _row(one: Figures) -> tuple[object, ...]:
    level = "" if one.test.name == UNCHANGED else f"{one.test.level:.4g} {one.test.unit}"
    return (
        words.kind(one.test.name), level, one.n_planes, one.flips,
        words.share(one.agreement, one.agreement_interval), words.share(one.accuracy, one.accuracy_interval),
        words.share(one.probability, one.probability_interval), words.share(one.human, one.human_interval),
    )  # fmt: skip


def _examples(found: Found, examples: Sequence[Example]) -> str:
    lead = report.paragraph(
        say(
            "The planes that the least change flips come first: these are the worst, not typical ones. The difference is "
            "shown from blue (darker) over white (unchanged) to red (brighter), amplified to its own largest value. Heat "
            "of the class predicted before has one scale in both pictures."
        )
    )
    return lead + "".join(_example(found, one, number) for number, one in enumerate(examples, 1))


def _example(found: Found, one: Example, number: int) -> str:
    facts, classes, unit = one.facts, found.network.classes, found.network.value_unit
    before, after = facts.before, facts.after
    name = _named(one, number)
    first = classes[before.predicted]
    if facts.smallest:
        heading = say(
            "{image}: {before} becomes {after} by a change of at most {size:.3g} {unit} ({percent:.2g} % of its range)",
            image=name,
            before=first,
            after=classes[after.predicted],
            size=facts.distance,
            unit=unit,
            percent=facts.percent,
        )
    else:
        heading = say(
            "{image}: {before} stays; no change up to {bound} flipped it",
            image=name,
            before=first,
            bound=found.bound,
        )
    captions = [
        say("Original: {name}, p = {p:.3f}", name=first, p=before.probability),
        say("Difference, from -{reach:.3g} to {reach:.3g} {unit}", reach=one.reach, unit=unit),
        say("Changed: {name}, p = {p:.3f}", name=classes[after.predicted], p=after.probability),
    ]
    shown = list(zip((one.original, one.difference, one.changed), captions, strict=True))
    if one.heat:
        moved = facts.moved
        if moved and math.isfinite(moved.kept):
            stays = say(
                "Heat for {name}, changed: {kept:.0f} % in place, centre moved {shift:.1f} px",
                name=first,
                kept=100 * moved.kept,
                shift=moved.shift_px,
            )
        else:
            stays = say("Heat for {name}, changed", name=first)
        shown += [
            (one.heat[0], say("Heat for {name}, unchanged", name=first)),
            (one.heat[1], stays),
        ]
        if after.predicted != before.predicted:
            shown.append((one.heat[2], say("Heat for {name}, changed", name=classes[after.predicted])))
    return f"<h3>{escape(heading)}</h3>" + report.pictures(
        # a box of the picture's width, since captions would else make room for themselves
        f'<div style="width: {_WIDTH}px">{report.picture(picture, caption, _WIDTH)}</div>'
        for picture, caption in shown
    )


def _named(one: Example, number: int) -> str:
    """Not by its file, whose name may be a patient's."""
    plane, image = one.plane, say("Image {number}", number=number)
    if (plane.z, plane.t) == (1, 1):
        return image
    return say("{image}, slice {z}, frame {t}", image=image, z=plane.z, t=plane.t)


def _method(found: Found) -> str:
    said = []
    if found.adversarial:
        said += [
            say(
                "FGSM: Goodfellow et al. 2015, arXiv 1412.6572. PGD: Madry et al. 2018, arXiv 1706.06083. Both lead away "
                "from the class that the network predicts, not from the true one. The gradient is taken of the log-odds, whose "
                "sign is that of the cross-entropy's but which does not vanish where the network is sure. Every value "
                "stays within the range of the image's type (32-bit: within the image's own). Changed images are not "
                "rounded: a change may be finer than a step of an 8-bit image."
            ),
            say(
                "Smallest change: bisection over the bound with PGD; each change found was checked to flip the class. It "
                "is an upper bound: a smaller one may exist. Heat in place: intersection of both maps, each divided by its "
                "sum (Swain and Ballard 1991); centre: mean place weighted by heat (Ghorbani et al. 2019, arXiv 1710.10547)."
            ),
        ]
    if kinds(found.figures):
        said.append(
            say(
                "Corruptions are made in the image at its own size and with its own values, before it is scaled for the "
                "network: px are the image's. Contrast is about each channel's mean; JPEG holds 8 bits, from the least to the "
                "largest value of images that have more; rotation is to a side drawn at random, with corners filled as in a "
                "mirror. Noise is drawn once for an image and made stronger from level to level."
            )
        )
    used = dict.fromkeys(
        evaluation_words.method(interval.method)
        for one in found.figures
        for interval in (one.agreement_interval, one.accuracy_interval, one.probability_interval)
        if math.isfinite(interval.low)
    )
    if used:
        said.append(say("Intervals: {methods}; {count} resamples.", methods="; ".join(used), count=RESAMPLES))
    return "".join(map(report.paragraph, said))
