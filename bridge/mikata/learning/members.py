"""The parts of a report that an ensemble has: its members alone, how each was trained, and its folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikata import report
from mikata.language import duration, say
from mikata.learning.alone import Alone
from mikata.learning.training_words import counted, end, normalisation
from mikata.training.ensembles import Ensemble
from mikata.types import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def alone(found: Alone) -> list[tuple[str, str]]:
    """The ensemble beside its members."""
    columns = (
        say("figure"), say("ensemble"), say("mean of the members"), say("SD of the members"), say("lowest"),
        say("highest"), say("difference"), say("low"), say("high"), say("interval"),
    )  # fmt: skip
    return [
        (
            say("The ensemble and its members"),
            report.paragraph(found.sentence())
            + report.table(Table("", columns, found.rows()))
            + report.paragraph(
                say(
                    "Each member was judged alone on the ensemble's test images, and none was chosen, weighted or left "
                    "out by that. The difference is the ensemble's figure less the mean of the members'. Its 95 % "
                    "interval comes from resampling the test patients (images, where patients are not known), the same "
                    "for all, and takes the trained networks as given: other trainings may differ more."
                )
            ),
        )
    ]


def training(ensemble: Ensemble, common: dict[str, object]) -> list[tuple[str, str]]:
    """How each member was trained.

    Parameters
    ----------
    common:
        What they have in common.
    """
    runs = ensemble.runs
    own = [normalisation(run) for run in runs]
    columns = (
        say("member"), say("training"), say("selection"), say("epochs"), say("kept"), say("selection loss"), say("ended"),
        say("time"),
    )  # fmt: skip
    rows = tuple(
        (
            number,
            counted(run.parts["training"], run.dataset),
            counted(run.parts["selection"], run.dataset),
            len(run.history),
            run.best_epoch,
            float(run.history[run.best_epoch - 1]["selection_loss"]),
            end(run),
            duration(run.seconds),
        )
        for number, run in enumerate(runs, 1)
    )
    same = len(set(own)) == 1
    return [
        (
            say("How it was trained"),
            report.plot(
                _curves(ensemble),
                say(
                    "Selection loss of each member over the epochs, each on the fold that it did not learn from. Points: "
                    "the epochs that were kept."
                ),
            )
            + report.table(Table("", columns, rows))
            + report.pairs(
                {
                    **common,
                    say("normalisation"): own[0]
                    if same
                    else say("of each member its own; of the first {normalisation}", normalisation=own[0]),
                    say("seed"): ", ".join(dict.fromkeys(str(run.seed) for run in runs)),
                    say("device"): ensemble.device,
                    say("time"): duration(ensemble.seconds),
                }
            ),
        )
    ]


def counts(ensemble: Ensemble) -> Table:
    """Images of each class in each fold and in the test part."""
    dataset, names = ensemble.dataset, {"test": say("test"), "used": say("training")}
    rows = []
    for number, (part, entries) in enumerate(ensemble.parts.items(), 1):
        of_classes = ([e for e in entries if e.label == label] for label in ensemble.classes)
        shown = names.get(part) or say("fold {number}", number=number)
        rows.append((shown, *(counted(own, dataset) for own in of_classes)))
    return Table("", (say("part"), *ensemble.classes), tuple(rows))


def _curves(ensemble: Ensemble) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4))
    axes = figure.subplots()
    for number, run in enumerate(ensemble.runs, 1):
        losses = [row["selection_loss"] for row in run.history]
        (line,) = axes.plot([row["epoch"] for row in run.history], losses, label=str(number))
        axes.plot([run.best_epoch], [losses[run.best_epoch - 1]], "o", color=line.get_color())
    axes.set_xlabel("epoch")
    axes.set_ylabel("selection loss")
    axes.legend(title="member", fontsize="small", ncols=1 + len(ensemble.runs) // 9)
    figure.tight_layout()
    return figure
