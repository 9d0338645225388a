"""The report of a training, part by part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mikata import datasets, evaluation, report
from mikata.datasets import Dataset
from mikata.evaluation import Report, Score, ValueReport, words
from mikata.language import duration, say
from mikata.learning import members
from mikata.learning.figures import amount, error_words, interval_words, share
from mikata.learning.learnt import Learnt
from mikata.learning.training_words import counted, end, normalisation
from mikata.training import Run, methods
from mikata.training.ensembles import Ensemble
from mikata.training.run import data_record
from mikata.types import Table


def sections(learnt: Learnt) -> list[tuple[str, str]]:
    """The parts of a training's report, for pages that hold more than that."""
    run, scores = learnt.run, learnt.scores
    return [
        *(_of_values(scores) if isinstance(scores, ValueReport) else _of_classes(learnt, scores)),
        *(_training(run) if isinstance(run, Run) else members.training(run, _common(run.runs[0]))),
        (
            say("Data"),
            report.paragraph(_split(run))
            + report.table(_counts(run) if isinstance(run, Run) else members.counts(run))
            + report.pairs(
                {
                    say("truth rests on"): _listed(
                        (say("not stated") if name == datasets.NOT_STATED else name, count)
                        for name, count in run.dataset.references.items()
                    ),
                    **_kinds(run.dataset),
                    say("files that could not be used"): len(run.dataset.skipped),
                    say("test images that could not be judged"): len(scores.skipped),
                    say("columns not used"): ", ".join(run.dataset.ignored_columns) or say("none"),
                    say("fingerprint"): run.dataset.fingerprint,
                }
            ),
        ),
        *_stages(run),
        (say("For the methods section"), report.paragraph(_methods(run))),
        (say("The package"), _package(learnt)),
    ]


def _training(run: Run) -> list[tuple[str, str]]:
    """How one network was trained."""
    return [
        (
            say("How it was trained"),
            report.plot(
                report.curves_plot(run.history, run.best_epoch, run.classifier.unit),
                say(
                    "Training figures are of augmented images while the weights still change; the selection "
                    "images, which choose the epoch, are shown as they are."
                ),
            )
            + report.pairs(
                {
                    **_common(run),
                    say("normalisation"): normalisation(run),
                    say("epochs"): say(
                        "{count}, kept: {best} (lowest selection loss)",
                        count=len(run.history),
                        best=run.best_epoch,
                    ),
                    say("ended"): end(run),
                    say("seed"): run.seed,
                    say("device"): run.device,
                    say("time"): say("{seconds:.0f} s", seconds=run.seconds),
                }
            ),
        )
    ]


def _common(run: Run) -> dict[str, object]:
    """What networks of one recipe and one start have in common."""
    return {
        say("network"): run.recipe.stage.network,
        say("recipe"): Path(run.recipe.source).name,
        say("started from"): _start(run),
        say("weights"): run.fitted.sentence() or say("random"),
    }


def _split(run: Run | Ensemble) -> str:
    """Who learnt from what, in sentences."""
    if isinstance(run, Run):
        return say(
            "The split is {split}. The test images were used once, after the training.",
            split=run.split_words(say),
        )
    return say(
        "The split is {split}: the test part, and {count} folds of all other images. Each member learnt from all folds but "
        "the one of its number, which chose its epoch. The test images were used once, after all trainings, for the "
        "ensemble and for each member alone; nothing was chosen by them.",
        split=run.runs[0].split_words(say),
        count=len(run.runs),
    )


def _methods(run: Run | Ensemble) -> str:
    if isinstance(run, Run):
        return methods.paragraph(run, say)
    return methods.ensemble_paragraph(run, say)


def _of_classes(learnt: Learnt, scores: Report) -> list[tuple[str, str]]:
    """How well it tells classes apart."""
    notes = "".join(report.paragraph(note) for note in words.notes(scores))
    return [
        (
            say("How well it does on images it has not seen"),
            report.headline(
                share(scores.accuracy.value), say("accuracy: {interval}", interval=interval_words(scores))
            )
            + report.paragraph(words.protocol(scores))
            + notes
            + report.matrix(scores.confusion.tolist(), learnt.run.classes)
            + report.scores(scores),
        ),
        *_tuning(learnt),
        *([] if learnt.alone is None else members.alone(learnt.alone)),
        (say("If it may abstain"), _abstention(scores)),
    ]


def _of_values(scores: ValueReport) -> list[tuple[str, str]]:
    """How well its values agree with the true ones."""
    notes = "".join(report.paragraph(note) for note in words.image_notes(scores))
    return [
        (
            say("How well it does on images it has not seen"),
            report.headline(
                amount(scores.agreement.mae.value, scores.value_unit),
                say("mean absolute error: {interval}", interval=error_words(scores)),
            )
            + report.paragraph(words.protocol(scores))
            + notes
            + report.plot(
                report.agreement_plot(scores),
                say(
                    "Each point is a test image. Left: the dotted line is equality. Right (Bland and Altman): the solid "
                    "line is the bias, the dashed ones are the limits of agreement, between which about 95 % of "
                    "differences lie if they are about normal and do not grow with the value."
                ),
            )
            + report.scores(scores),
        )
    ]


def _counts(run: Run) -> Table:
    """Images of each part: of each class, or with the spread of their values."""
    parts = _parts()
    if not run.values:
        rows = [
            (parts[part], *(_count(run, part, label) for label in run.classes)) for part in datasets.PARTS
        ]
        return Table("", (say("part"), *run.classes), tuple(rows))
    spread = data_record(run.dataset, run.parts, run.split)["parts"]
    unit = f" [{run.classifier.unit}]" if run.classifier.unit else ""
    figures = (say("mean"), say("standard deviation"), say("5th percentile"), say("95th percentile"))
    columns = (say("part"), say("images"), *(figure + unit for figure in figures))
    keys = ("mean", "standard_deviation", "percentile_5", "percentile_95")
    values = [
        (parts[part], _count(run, part, ""), *(spread[part]["values"][key] for key in keys))
        for part in datasets.PARTS
    ]
    return Table("", columns, tuple(values))


def _tuning(learnt: Learnt) -> list[tuple[str, str]]:
    """Base or tuned, where both were compared."""
    if learnt.tuning is None:
        return []
    said = [learnt.tuning.choice.sentence(), learnt.tuning.verdict.sentence()]
    return [(say("Before and after fine-tuning"), "".join(map(report.paragraph, said)))]


def _abstention(scores: Report) -> str:
    """Coverage and accuracy of the test images at fixed thresholds."""
    rows = []
    for threshold in _THRESHOLDS:
        found = evaluation.abstain(scores.entries, scores.classes, scores.probabilities, threshold)
        cells = [f"{found.answered} / {found.n}", _bounds(found.coverage), _bounds(found.accuracy)]
        rows.append((f"{threshold:.0%}", *cells))
    columns = (
        say("least confidence"),
        say("answered"),
        say("share answered"),
        say("right among the answers"),
    )
    return report.paragraph(
        say(
            "An image whose most probable class has less than this probability is left undecided (Predict Images... "
            "with min_confidence_percent). Probabilities of networks are often too high: choose a threshold by images "
            "that are not among these."
        )
    ) + report.table(Table("", columns, tuple(rows)))


def _bounds(score: Score) -> str:
    if not math.isfinite(score.value):
        return say("not defined")
    return f"{share(score.value)} ({share(score.interval.low)} – {share(score.interval.high)})"


def _stages(run: Run | Ensemble) -> list[tuple[str, str]]:
    """What came before the last stage, where anything did; of an ensemble, what its members do not share as well."""
    runs = (run,) if isinstance(run, Run) else run.runs
    if not any(one.earlier for one in runs):
        return []
    columns = (say("stage"), say("classes"), say("images left out"), say("epochs"), say("time"))
    rows = [[_stage(number, record) for number, record in enumerate(one.earlier, 1)] for one in runs]
    heading = say("The stages before")
    if all(one.earlier == runs[0].earlier for one in runs):
        return [(heading, report.table(Table("", columns, tuple(rows[0]))))]
    of_each = tuple((number, *row) for number, own in enumerate(rows, 1) for row in own)
    return [(heading, report.table(Table("", (say("member"), *columns), of_each)))]


def _stage(number: int, record: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        record["name"] or say("stage {number}", number=number),
        ", ".join(record.get("classes", ())) or "–",
        record.get("left_out", 0),
        len(record["history"]),
        duration(record["seconds"]),
    )


def _parts() -> dict[str, str]:
    return {"training": say("training"), "selection": say("selection"), "test": say("test")}


def _start(run: Run) -> str:
    starts = {
        "none": say("random weights"),
        "imagenet": say("ImageNet weights"),
        "previous": say("the stage before"),
        "formula": say("pictures drawn by formula"),
        "unlabelled": say("images without labels"),
    }
    source = run.recipe.stage.source
    return starts[source] if source in starts else Path(source).name


def _count(run: Run, part: str, label: str) -> str:
    return counted([entry for entry in run.parts[part] if entry.label == label], run.dataset)


def _kinds(dataset: Dataset) -> dict[str, str]:
    """How many images there are of each site, view and so on, where the table says it."""
    found = {}
    for column in ("site", "view", "phase", "laterality"):
        counts = Counter(getattr(entry, column) for entry in dataset.entries)
        if 1 < len(counts) <= _MOST_KINDS or (len(counts) == 1 and "" not in counts):
            found[column] = _listed((k or say("not stated"), n) for k, n in sorted(counts.items()))
    return found


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts)


_THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_MOST_KINDS = 12  # more values than that are no kinds, and might tell of single patients


def _package(learnt: Learnt) -> str:
    formats = {
        f.weights: say("passed") if f.passed else "; ".join(f.messages) for f in learnt.checked.formats
    }
    size = sum(f.stat().st_size for f in learnt.package.iterdir()) / 1e6
    return report.paragraph(
        say(
            "{package} is a BioImage.IO package of {size:.1f} MB: install {archive} in deepImageJ. Its own test "
            "with each kind of weights:",
            package=learnt.package.name,
            size=size,
            archive=learnt.archive.name,
        )
    ) + report.pairs(formats or {say("description"): "; ".join(learnt.checked.problems)})
