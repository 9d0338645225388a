"""The agreement of network, human and reference as a page: the eight cells first, then figures, tests and cautions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from mikata import report
from mikata.evaluation.readers import Cell, Rate, Readers
from mikata.language import joined, say
from mikata.readers import words
from mikata.types import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, thinned with white: what both have right, what one and what both have wrong.
_RIGHT, _ONE_WRONG, _WRONG = "#d9f0e8", "#fdf0d2", "#f7dcc8"
_CONCERN = "#d55e00"
_COLOURS: dict[Cell, str] = {
    "A": _ONE_WRONG, "B": _RIGHT, "C": _ONE_WRONG, "D": _WRONG,
    "E": _ONE_WRONG, "F": _WRONG, "G": _ONE_WRONG, "H": _RIGHT,
}  # fmt: skip
_INK = {"network": "#0072b2", "human": "#e69f00"}


def page(found: Sequence[Readers], reference: str, notes: Sequence[str], data: dict[str, str]) -> str:
    """The whole page.

    Parameters
    ----------
    found:
        One for each level.
    reference:
        What the reference is called.
    notes:
        Cautions that are of no single level.
    data:
        What was asked, in two columns.
    """
    sections = []
    for one in found:
        sections.append((words.level(one.level), _level(one, reference)))
    methods = [
        say(
            "Shares of independent cases have Wilson's interval, differences Newcombe's for paired shares; the test is "
            "McNemar's, exact, with mid-p."
        ),
        say(
            "Where a patient has several cases or lesions, these are not independent: shares then have Wilson's interval "
            "with the number of independent cases that would vary as much over patients, differences and kappa come "
            "from resampling patients, and the test exchanges network and human in whole patients."
        ),
        say("p are adjusted by Holm for all tests of this page. Intervals hold with 95 %, each by itself."),
    ]
    sections += [
        (say("How it was done"), report.paragraph(joined(methods)) + "".join(map(report.paragraph, notes))),
        (say("Data"), report.pairs(data)),
        (say("Versions"), report.pairs(report.versions())),
    ]
    lead = joined([words.missed(found[0]), *map(words.verdict, found[0].gaps)])
    return report.page(say("Agreement of network, human and reference"), lead, sections)


def _level(one: Readers, reference: str) -> str:
    said = report.paragraph(words.basis(one))
    said += _square(one, True, reference) + _square(one, False, reference)
    said += report.paragraph(words.missed(one)) + "".join(
        report.paragraph(words.verdict(gap)) for gap in one.gaps
    )
    cautions = words.cautions(one)
    if cautions:
        items = "".join(f"<li>{escape(line)}</li>" for line in cautions)
        said += f"<h3>{escape(say('Cautions'))}</h3><ul>{items}</ul>"
    said += report.plot(
        _plot(one),
        say("Sensitivity and specificity of network and human (point) with their 95 % intervals (line)."),
    )
    said += (
        f"<h3>{escape(say('Figures'))}</h3>" + _figures(one) + report.paragraph(words.prevalence_note(one))
    )
    return said + f"<h3>{escape(say('Tests'))}</h3>" + _tests(one)


def _square(one: Readers, positive: bool, reference: str) -> str:
    """Four cells: rows are the human, columns the network."""
    names: tuple[tuple[Cell, Cell], tuple[Cell, Cell]] = (
        (("B", "A"), ("C", "D")) if positive else (("F", "E"), ("G", "H"))
    )
    of = one.positives if positive else one.negatives
    caption = (
        say("Positive by {reference}: {count}", reference=reference, count=of)
        if positive
        else say("Negative by {reference}: {count}", reference=reference, count=of)
    )
    heads = [escape(say("Network: positive")), escape(say("Network: negative"))]
    sides = [escape(say("Human: positive")), escape(say("Human: negative"))]
    rows = "".join(
        f'<tr><th scope="row">{side}</th>' + "".join(_cell(name, one.cells[name]) for name in line) + "</tr>"
        for side, line in zip(sides, names, strict=True)
    )
    return (
        '<div class="wide"><table style="margin: .8rem 0 1.4rem; min-width: 34rem">'
        f'<caption style="text-align: left; font-weight: 600; padding: .3rem 0">{escape(caption)}</caption>'
        f'<thead><tr><td></td><th scope="col">{heads[0]}</th><th scope="col">{heads[1]}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(name: Cell, rate: Rate) -> str:
    border = f"3px solid {_CONCERN}" if name == "A" else "1px solid #d5dce3"
    return (
        f'<td style="background: {_COLOURS[name]}; border: {border}; padding: .6rem .9rem; vertical-align: top; '
        f'width: 15rem"><strong style="font-size: 1.1rem">{name}</strong> '
        f'<span style="font-size: 1.5rem; font-weight: 600; margin-left: .5rem">{rate.count}</span><br>'
        f"{escape(words.cell(name))}<br>"
        f'<span style="color: #52606d">{escape(_share(rate))}</span></td>'
    )


def _share(rate: Rate) -> str:
    if not math.isfinite(rate.value):
        return say("not defined")
    if not math.isfinite(rate.interval.low):
        return f"{rate.value:.1%}"
    return say(
        "{value:.1%} ({low:.1%} to {high:.1%})",
        value=rate.value,
        low=rate.interval.low,
        high=rate.interval.high,
    )


def _figures(one: Readers) -> str:
    columns = (
        say("figure"), say("reader"), say("value"), say("low"), say("high"), say("count"), say("of"), say("interval"),
    )  # fmt: skip
    rows = [
        (words.figure(figure), words.reader(reader), *_numbers(rate), words.method(rate.interval.method))
        for (figure, reader), rate in one.rates.items()
    ]
    rows += [
        (words.figure(figure), words.reader("both"), *_numbers(rate), words.method(rate.interval.method))
        for figure, rate in (("agreement", one.agreement), ("kappa", one.kappa))
    ]
    return report.table(Table("", columns, tuple(rows)))


def _numbers(rate: Rate) -> tuple[object, ...]:
    return (*map(_defined, (rate.value, rate.interval.low, rate.interval.high)), rate.count, rate.of)


def _tests(one: Readers) -> str:
    columns = (
        say("figure"), say("network less human"), say("low"), say("high"), say("only the network right"),
        say("only the human right"), "p", "p (Holm)", say("test"), say("interval"),
    )  # fmt: skip
    rows = [
        (
            words.figure(gap.figure),
            *map(_defined, (gap.value, gap.interval.low, gap.interval.high)),
            gap.network_only,
            gap.human_only,
            *map(_defined, (gap.p, gap.p_holm)),
            words.method(gap.test),
            words.method(gap.interval.method),
        )
        for gap in one.gaps
    ]
    return report.table(Table("", columns, tuple(rows)))


def _plot(one: Readers) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.2))
    axes: Any = figure.subplots()
    keys = [(name, reader) for name in ("sensitivity", "specificity") for reader in ("network", "human")]
    letters = report.letters([f"{words.figure(name)}, {words.reader(reader)}" for name, reader in keys])
    places = range(len(keys))[::-1]
    for place, key in zip(places, keys, strict=True):
        rate = one.rates[key]
        if not math.isfinite(rate.value):
            continue
        if math.isfinite(rate.interval.low):
            axes.plot(
                [rate.interval.low, rate.interval.high], [place, place], color=_INK[key[1]], linewidth=2
            )
        axes.plot([rate.value], [place], "o", color=_INK[key[1]])
    axes.set_yticks(list(places), letters.words, **letters.font)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, 3.6)
    axes.grid(axis="x", color="0.9")
    figure.tight_layout()
    return figure


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else say("not defined")
