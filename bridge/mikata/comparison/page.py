"""What a comparison found, as a page: verdicts first, then figures, plots, and how it was done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mikata import report
from mikata.comparison.trials import Trials
from mikata.comparison.variants import Contestant
from mikata.evaluation import Comparison, words
from mikata.evaluation.cautions import basis, cautions
from mikata.evaluation.comparison import Difference, Measured, Method
from mikata.language import duration, joined, say
from mikata.training import Stage
from mikata.types import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEADING = "balanced_accuracy"
"""The figure that verdicts and plots are about: it does not reward a network for saying the commonest class."""


def verdicts(comparison: Comparison) -> list[str]:
    """For each method but the first, whether and by how much it differs in balanced accuracy."""
    first, *others = comparison.methods
    return [_verdict(method, first, _leading(method.differences)) for method in others]


def _verdict(method: Method, first: Method, found: Difference) -> str:
    values = {
        "name": method.name,
        "first": first.name,
        "points": 100 * found.value,
        "low": 100 * found.interval.low,
        "high": 100 * found.interval.high,
        "p": found.p_holm,
        "t": found.t_p_holm,
    }
    alpha = 1 - found.interval.level
    if not (found.p_holm < alpha and found.t_p_holm < alpha):
        return say(
            "{name} against {first}: no difference shown in balanced accuracy ({points:+.1f} points, 95 % interval "
            "{low:+.1f} to {high:+.1f}; Holm-adjusted p {p:.3f} by resampling, {t:.3f} by the corrected t-test).",
            **values,
        )
    if found.value > 0:
        return say(
            "{name} against {first}: better in balanced accuracy by {points:.1f} points (95 % interval {low:+.1f} to "
            "{high:+.1f}; Holm-adjusted p {p:.3f} by resampling, {t:.3f} by the corrected t-test).",
            **values,
        )
    return say(
        "{name} against {first}: worse in balanced accuracy ({points:+.1f} points, 95 % interval {low:+.1f} to "
        "{high:+.1f}; Holm-adjusted p {p:.3f} by resampling, {t:.3f} by the corrected t-test).",
        **values,
    )


def _leading(found: Sequence[Difference]) -> Difference:
    return next(one for one in found if one.figure == LEADING)


def page(comparison: Comparison, trials: Trials, found: Sequence[Contestant], seed: int) -> str:
    """The whole report."""
    said = verdicts(comparison)
    sections = [
        (
            say("What each source of weights brought"),
            "".join(map(report.paragraph, said))
            + "".join(report.paragraph(note) for note in cautions(comparison))
            + report.plot(
                _plot(comparison),
                say(
                    "Balanced accuracy of each method (point: mean; line: 95 % interval by resampling; grey: range over "
                    "the folds of all repeats), and its difference to the first."
                ),
            ),
        ),
        (say("All figures"), report.paragraph(basis(comparison)) + _figures(comparison)),
        (say("Differences to the first"), _differences(comparison)),
        (say("Time of a training"), _times(trials)),
        (say("The recipes"), _recipes(found)),
        (say("Data"), _data(trials, comparison, seed)),
        (say("Versions"), report.pairs(report.versions())),
    ]
    return report.page(say("Comparison of recipes"), joined(said), sections)


def _figures(comparison: Comparison) -> str:
    columns = (
        say("method"), say("figure"), say("value"), say("low"), say("high"), say("SD over repeats"),
        say("SD over folds"),
    )  # fmt: skip
    rows = [
        (
            method.name,
            words.figure(m.figure),
            *map(_defined, (m.value, m.interval.low, m.interval.high, m.over_repeats.sd, m.over_folds.sd)),
        )
        for method in comparison.methods
        for m in method.measured
    ]
    return report.table(Table("", columns, tuple(rows)))


def _differences(comparison: Comparison) -> str:
    columns = (
        say("method"), say("figure"), say("difference"), say("low"), say("high"), say("p (Holm), resampling"),
        say("p (Holm), corrected t-test"),
    )  # fmt: skip
    rows = [
        (
            method.name,
            words.figure(d.figure),
            *map(_defined, (d.value, d.interval.low, d.interval.high, d.p_holm, d.t_p_holm)),
        )
        for method in comparison.methods[1:]
        for d in method.differences
    ]
    return report.table(Table("", columns, tuple(rows)))


def _times(trials: Trials) -> str:
    return report.paragraph(
        say("Mean of all trainings, with their stages; a stage that several trainings share counts in each.")
    ) + report.pairs({name: duration(float(np.mean(taken))) for name, taken in trials.seconds.items()})


def _recipes(found: Sequence[Contestant]) -> str:
    return report.pairs(
        {one.name: say(", then ").join(_stage(stage) for stage in one.recipe.stages) for one in found}
    )


def _stage(stage: Stage) -> str:
    name = stage.name or say("the task")
    said = {
        "none": say("{name} from random weights", name=name),
        "imagenet": say("{name} from ImageNet weights", name=name),
        "formula": say("{name} after pictures drawn by formula", name=name),
        "unlabelled": say("{name} after images without labels", name=name),
        "previous": name,
    }
    start = said.get(stage.source) or say("{name} from the given weights", name=name)
    return say(
        "{start} ({network}, {width} x {height} px, up to {epochs} epochs)",
        start=start,
        network=stage.network,
        width=stage.size[1],
        height=stage.size[0],
        epochs=stage.epochs,
    )


def _data(trials: Trials, comparison: Comparison, seed: int) -> str:
    return report.pairs(
        {
            say("folds"): say(
                "{repeats} repeats of {folds} folds, {grouping}",
                repeats=comparison.repeats,
                folds=comparison.folds,
                grouping=words.grouping(trials.dataset),
            ),
            say("images of each class"): ", ".join(f"{n} ({c})" for n, c in trials.dataset.counts().items()),
            say("seeds"): say(
                "{first} to {last}, one a repeat", first=seed, last=seed + comparison.repeats - 1
            ),
            say("fingerprint"): trials.dataset.fingerprint,
        }
    )


def _plot(comparison: Comparison) -> Figure:
    """Left: balanced accuracy with its interval; right: differences to the first."""
    from matplotlib.figure import Figure

    methods = comparison.methods
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(methods)))
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(methods))[::-1]
    letters = report.letters([method.name for method in methods])
    for place, method in zip(places, methods, strict=True):
        measured: Measured = next(m for m in method.measured if m.figure == LEADING)
        low, high = measured.interval.low, measured.interval.high
        left.plot(
            [measured.over_folds.low, measured.over_folds.high], [place, place], color="0.8", linewidth=6
        )
        left.plot([low, high], [place, place], color="#1f4e79")
        left.plot([measured.value], [place], "o", color="#1f4e79")
        if method.differences:
            found = _leading(method.differences)
            right.plot([found.interval.low, found.interval.high], [place, place], color="#1f4e79")
            right.plot([found.value], [place], "o", color="#1f4e79")
    right.axvline(0, color="grey", linestyle=":")
    left.set_yticks(list(places), letters.words, **letters.font)
    left.set_xlabel("balanced accuracy")
    right.set_xlabel(f"difference to {letters.words[0]}", **letters.font)
    figure.tight_layout()
    return figure


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else say("not defined")
