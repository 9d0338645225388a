"""The report of a training, part by part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mikata import datasets, evaluation, report
from mikata.evaluation import Report, Score, ValueReport, words
from mikata.language import duration, say
from mikata.learning.figures import amount, error_words, interval_words, share
from mikata.learning.learnt import Learnt
from mikata.training import Run, methods
from mikata.training.fitting import StoppedBy
from mikata.training.run import data_record
from mikata.types import Table


def sections(learnt: Learnt) -> list[tuple[str, str]]:
    """The parts of a training's report, for pages that hold more than that."""
    run, scores = learnt.run, learnt.scores
    return [
        *(_of_values(scores) if isinstance(scores, ValueReport) else _of_classes(learnt, scores)),
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
                    say("network"): run.recipe.stage.network,
                    say("recipe"): Path(run.recipe.source).name,
                    say("started from"): _start(run),
                    say("weights"): run.fitted.sentence() or say("random"),
                    say("normalisation"): _normalisation(run),
                    say("epochs"): say(
                        "{count}, kept: {best} (lowest selection loss)",
                        count=len(run.history),
                        best=run.best_epoch,
                    ),
                    say("ended"): _end(run),
                    say("seed"): run.seed,
                    say("device"): run.device,
                    say("time"): say("{seconds:.0f} s", seconds=run.seconds),
                }
            ),
        ),
        (
            say("Data"),
            report.paragraph(
                say(
                    "The split is {split}. The test images were used once, after the training.",
                    split=run.split_words(say),
                )
            )
            + report.table(_counts(run))
            + report.pairs(
                {
                    say("truth rests on"): _listed(
                        (say("not stated") if name == datasets.NOT_STATED else name, count)
                        for name, count in run.dataset.references.items()
                    ),
                    **_kinds(run),
                    say("files that could not be used"): len(run.dataset.skipped),
                    say("test images that could not be judged"): len(scores.skipped),
                    say("columns not used"): ", ".join(run.dataset.ignored_columns) or say("none"),
                    say("fingerprint"): run.dataset.fingerprint,
                }
            ),
        ),
        *_stages(run),
        (say("For the methods section"), report.paragraph(methods.paragraph(run, say))),
        (say("The package"), _package(learnt)),
    ]


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


def _stages(run: Run) -> list[tuple[str, str]]:
    """What came before the last stage, where anything did."""
    if not run.earlier:
        return []
    columns = (say("stage"), say("classes"), say("images left out"), say("epochs"), say("time"))
    rows = [
        (
            record["name"] or say("stage {number}", number=number),
            ", ".join(record.get("classes", ())) or "–",
            record.get("left_out", 0),
            len(record["history"]),
            duration(record["seconds"]),
        )
        for number, record in enumerate(run.earlier, 1)
    ]
    return [(say("The stages before"), report.table(Table("", columns, tuple(rows))))]


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


def _end(run: Run) -> str:
    ends: dict[StoppedBy, str] = {
        "finished": say("finished"),
        "early stopping": say("early stopping"),
        "interrupted": say("interrupted"),
    }
    return ends[run.stopped_by]


def _count(run: Run, part: str, label: str) -> str:
    entries = [entry for entry in run.parts[part] if entry.label == label]
    if not run.dataset.has_patients:
        return say("{n} images", n=len(entries))
    patients = len({entry.patient for entry in entries})
    return say("{n} images of {patients} patients", n=len(entries), patients=patients)


def _normalisation(run: Run) -> str:
    """The numbers the network really uses, whatever they come from."""
    configuration = run.classifier.configuration
    pairs = zip(configuration["mean"], configuration["std"], strict=True)
    return "(value - mean) / std, " + ", ".join(f"mean {m:.4g}, std {s:.4g}" for m, s in pairs)


def _kinds(run: Run) -> dict[str, str]:
    """How many images there are of each site, view and so on, where the table says it."""
    found = {}
    for column in ("site", "view", "phase", "laterality"):
        counts = Counter(getattr(entry, column) for entry in run.dataset.entries)
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
