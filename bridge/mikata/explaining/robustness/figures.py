"""Curves of robustness, as plots for the page and as series for ImageJ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mikata import report
from mikata.explaining.robustness import words
from mikata.explaining.robustness.outcomes import SMALLEST, Figures, kinds
from mikata.explaining.robustness.words import Found
from mikata.language import say
from mikata.types import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/)
_SHARE, _PROBABILITY, _HUMAN = "#0072B2", "#E69F00", "#009E73"
_FALLS = ("contrast", "jpeg")  # less is worse, so that these axes run down
_ACROSS = 3


def plots(found: Found) -> tuple[Plot, ...]:
    """A plot of each kind of corruption, and of the smallest changes found."""
    made = []
    if found.adversarial:
        x, y = _flipped(found)
        made.append(
            Plot(
                "Robustness: smallest change",
                f"change of at most ({found.network.value_unit})",
                "planes flipped (%)",
                (("flipped", x, y),),
            )
        )
    for name in kinds(found.figures):
        own = found.of(name)
        leading = "accuracy" if found.outcomes.judged else "agreement"
        series = [(leading, *_series(own, lambda one: one.leading[0]))]
        if math.isfinite(own[0].leading[1].low):
            series.append((f"{leading}, low", *_series(own, lambda one: one.leading[1].low)))
            series.append((f"{leading}, high", *_series(own, lambda one: one.leading[1].high)))
        series.append(("mean probability", *_series(own, lambda one: one.probability)))
        made.append(Plot(f"Robustness: {name}", f"{name} ({own[0].test.unit})", "%", tuple(series)))
    return tuple(made)


def _series(own: list[Figures], value: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    there = [one for one in own if math.isfinite(value(one))]
    return tuple(one.test.level for one in there), tuple(100 * float(value(one)) for one in there)


def _flipped(found: Found) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Share of planes, %, that a change of at most so much flips; a step at each plane."""
    distances = np.sort([row.facts.distance for row in found.rows])
    known = distances[np.isfinite(distances)]
    shares = 100 * np.arange(1, len(known) + 1) / len(distances)
    x = [0.0, *np.repeat(known, 2).tolist(), found.epsilon]
    y = [0.0, 0.0, *np.repeat(shares, 2).tolist()] if len(known) else [0.0, 0.0]
    return tuple(x), tuple(y)


def smallest_figure(found: Found) -> Figure:
    """Share of planes flipped by a change of at most so much, with the intervals at tabulated levels."""
    from matplotlib.figure import Figure

    names = [say("change of no value by more than"), say("planes flipped, %")]
    letters = report.letters([*names, found.network.value_unit])
    if not letters.font and letters.words[:2] != names:
        letters = report.letters(
            ["change of no value by more than", "planes flipped, %", found.network.value_unit]
        )
    font: dict[str, Any] = dict(letters.font)
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.subplots()
    x, y = _flipped(found)
    axes.plot(x, y, color=_SHARE)
    for one in found.of(SMALLEST):
        interval = one.agreement_interval
        if math.isfinite(interval.low):
            axes.plot(
                [one.test.level] * 2,
                [100 * (1 - interval.high), 100 * (1 - interval.low)],
                color=_SHARE,
                alpha=0.45,
                linewidth=3,
            )
    least = min((value for value in x if value > 0), default=found.epsilon)
    if least < found.epsilon / 10:
        axes.set_xscale("log")
        axes.set_xlim(least / 2, found.epsilon)
    else:
        axes.set_xlim(0, found.epsilon)
    axes.set_ylim(-2, 102)
    axes.set_xlabel(f"{letters.words[0]} ({letters.words[2]})", **font)
    axes.set_ylabel(letters.words[1], **font)
    axes.grid(color="#dddddd")
    figure.tight_layout()
    return figure


def corruption_figure(found: Found) -> Figure:
    """A panel for each kind: accuracy, or agreement with the unchanged image, and mean probability over the levels."""
    from matplotlib.figure import Figure

    tested = kinds(found.figures)
    judged = found.outcomes.judged
    human = found.unchanged.n_human > 0
    english = ["accuracy" if judged else "class kept", "mean probability", "agrees with human", "unchanged"]
    said = [
        say("accuracy") if judged else say("class kept"), say("mean probability"), say("agrees with human"), say("unchanged"),
    ]  # fmt: skip
    titles = [f"{words.kind(name)}, {words.unit(name, found.network.value_unit)}" for name in tested]
    plain = [f"{name}, {found.of(name)[0].test.unit}" for name in tested]
    letters = report.letters([*said, *titles])
    if not letters.font and letters.words != [*said, *titles]:
        letters = report.letters([*english, *plain])
    share, probability, humans, unchanged = letters.words[:4]
    font: dict[str, Any] = dict(letters.font)
    across = min(len(tested), _ACROSS)
    down = -(-len(tested) // across)
    figure = Figure(figsize=(3.4 * across + 0.4, 2.7 * down + 0.5))
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes in panels[len(tested) :]:
        axes.set_axis_off()
    base = found.unchanged.leading[0]
    for axes, name, title in zip(panels, tested, letters.words[4:], strict=False):
        own = found.of(name)
        x = [one.test.level for one in own]
        values = np.array([one.leading[0] for one in own])
        low = np.array([one.leading[1].low for one in own])
        high = np.array([one.leading[1].high for one in own])
        axes.axhline(100 * base, color="#777777", linestyle=":", label=unchanged)
        axes.plot(x, 100 * values, marker="o", color=_SHARE, label=share)
        if np.isfinite(low).all():
            axes.fill_between(x, 100 * low, 100 * high, color=_SHARE, alpha=0.18, linewidth=0)
        axes.plot(
            x,
            [100 * one.probability for one in own],
            marker=".",
            linestyle="--",
            color=_PROBABILITY,
            label=probability,
        )
        if human:
            axes.plot(
                x, [100 * one.human for one in own], marker="x", linestyle="-.", color=_HUMAN, label=humans
            )
        if name in _FALLS:
            axes.invert_xaxis()
        axes.set_title(title, fontsize=10, **font)
        axes.set_ylim(-3, 103)
        axes.grid(color="#dddddd")
    for axes in panels[::across]:
        axes.set_ylabel("%")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=4, frameon=False, prop=letters.font or None)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    return figure
