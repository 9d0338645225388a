"""A report in words: English for packages and records, the user's language for pages and messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mikata.datasets import NOT_STATED, Dataset
from mikata.evaluation.intervals import RESAMPLES
from mikata.language import say

if TYPE_CHECKING:
    from mikata.evaluation.report import Report

Say = Callable[..., str]
"""`mikata.language.say`, or `english`, which does the same without a catalogue."""

BOOTSTRAP = {
    "patient": f"bootstrap over patients, {RESAMPLES} resamples, percentiles",
    "image": f"bootstrap over images, {RESAMPLES} resamples, percentiles",
}
WILSON_ALL = {
    "patient": "Wilson over patients, since all resamples agree",
    "image": "Wilson over images, since all resamples agree",
}
WILSON_F1 = "Wilson of TP / (TP + FP + FN), as F1"

FEW_PATIENTS = 20  # below, resampling patients is known to give intervals that are too short


def protocol(report: Images, say: Say = say) -> str:
    """Which images these are and what is known of them, in a sentence or two."""
    if report.n_patients is None:
        images = say("{n} images (patients not known)", n=report.n)
    elif report.n_patients == 1:
        images = say("{n} images of 1 patient", n=report.n)
    else:
        images = say("{n} images of {patients} patients", n=report.n, patients=report.n_patients)
    if report.test_of is not None:
        measured = say(
            "Measured on {images}: the test part ({grouping}), not used to train or to choose the epoch.",
            images=images,
            grouping=grouping(report.test_of, say),
        )
    else:
        measured = say("Measured on {images}.", images=images)
    if set(report.references) == {NOT_STATED}:
        rests = say("The truth rests on: not stated (no column 'reference').")
    else:
        shown = {NOT_STATED: say("not stated")}
        counts = [f"{shown.get(name, name)} ({count})" for name, count in report.references.items()]
        rests = say("The truth rests on: {references}.", references=", ".join(counts))
    return f"{measured} {rests}"


def grouping(dataset: Dataset, say: Say = say) -> str:
    """How a split of the data set keeps images together, `Dataset.grouping`."""
    return dataset.grouping_words(say)


class Images(Protocol):
    """What a report knows of its images: a `Report` or a `ValueReport`."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def n_patients(self) -> int | None:
        """Number of patients; None where they are not known."""

    @property
    def seen(self) -> int:
        """How many the training has learnt from."""

    @property
    def skipped(self) -> Sequence[tuple[Path, str]]:
        """Those that could not be judged."""

    @property
    def references(self) -> Mapping[str, int]:
        """What the truth rests on."""

    @property
    def test_of(self) -> Dataset | None:
        """The data set whose test part they are."""


def image_notes(report: Images, say: Say = say) -> tuple[str, ...]:
    """What a reader must know of the images, in sentences."""
    return (*_independence(report, say), *_left_out(report, say))


def _left_out(report: Images, say: Say) -> list[str]:
    if not report.skipped:
        return []
    return [say("{n} images could not be judged and are left out.", n=len(report.skipped))]


def _independence(report: Images, say: Say) -> list[str]:
    found = []
    if report.seen:
        found.append(
            say(
                "{n} of the images, or others of their patients, were used in training: too good.",
                n=report.seen,
            )
        )
    if report.n_patients is None:
        found.append(
            say(
                "Patients are not known: images are taken as independent, and intervals are too short if some "
                "are of one patient."
            )
        )
    elif report.n_patients == 1 < report.n:
        found.append(say("Only 1 patient: intervals from resampling so few are too short."))
    elif report.n_patients < min(report.n, FEW_PATIENTS):
        found.append(
            say("Only {n} patients: intervals from resampling so few are too short.", n=report.n_patients)
        )
    return found


def notes(report: Report, say: Say = say) -> tuple[str, ...]:
    """What a reader must know, in sentences."""
    found = _independence(report, say)
    absent = [name for name, row in zip(report.classes, report.confusion, strict=True) if not row.sum()]
    if absent:
        found.append(
            say(
                "No image of {classes}: its recall, macro averages with balanced accuracy, and AUC are not "
                "defined.",
                classes=", ".join(absent),
            )
        )
    never = [
        name
        for name, column in zip(report.classes, report.confusion.T, strict=True)
        if not column.sum() and name not in absent
    ]
    if never:
        found.append(
            say(
                "No image was taken for {classes}: averages count its precision as 0.",
                classes=", ".join(never),
            )
        )
    return (*found, *_left_out(report, say))


def method(name: str) -> str:
    """How an interval was made, `Interval.method`, in the user's language."""
    known = {
        "Wilson": say("Wilson"),
        "Clopper-Pearson": say("Clopper-Pearson"),
        "MOVER over Wilson": say("MOVER over Wilson"),
        WILSON_F1: say("Wilson of TP / (TP + FP + FN), as F1"),
        WILSON_ALL["patient"]: say("Wilson over patients, since all resamples agree"),
        WILSON_ALL["image"]: say("Wilson over images, since all resamples agree"),
        "Student's t": say("Student's t"),
        "Bland and Altman (1999)": say("Bland and Altman (1999)"),
        "F distribution (Shrout and Fleiss)": say("F distribution (Shrout and Fleiss)"),
        "Fisher's z": say("Fisher's z"),
        "bootstrap over patients, expanded percentiles": say("bootstrap over patients, expanded percentiles"),
        "bootstrap over images, expanded percentiles": say("bootstrap over images, expanded percentiles"),
        BOOTSTRAP["patient"]: say("bootstrap over patients, {count} resamples, percentiles", count=RESAMPLES),
        BOOTSTRAP["image"]: say("bootstrap over images, {count} resamples, percentiles", count=RESAMPLES),
    }
    return known.get(name, name)


def unit(name: str) -> str:
    """What was taken as independent, `Score.unit`, in the user's language."""
    return {"image": say("image"), "patient": say("patient")}[name]


def averages(name: str, say: Say = say) -> tuple[str, str, str]:
    """Names of recall, precision and F1 of an average, `AverageScores.name`."""
    return {
        "macro": (say("Macro recall"), say("Macro precision"), say("Macro F1")),
        "micro": (say("Micro recall"), say("Micro precision"), say("Micro F1")),
        "weighted": (say("Weighted recall"), say("Weighted precision"), say("Weighted F1")),
    }[name]


def area(report: Report, say: Say = say) -> str:
    """Name of the area under the curve, which says what it is of."""
    if len(report.classes) == 2:
        return say("AUC of {name}", name=report.classes[1])
    if report.auc_kind == "hand-till":
        return say("AUC of all pairs of classes (Hand and Till)")
    return say("AUC, each class against the rest, macro")


def agreement(key: str, value_unit: str = "", say: Say = say) -> str:
    """Name of a figure of values by its key, one of `AGREEMENT`, with the unit of those that have one."""
    unit = f" [{value_unit}]" if value_unit else ""
    return {
        "mae": say("Mean absolute error") + unit,
        "rmse": say("Root of the mean squared error") + unit,
        "bias": say("Bias (predicted less true)") + unit,
        "lower_limit": say("Lower limit of agreement") + unit,
        "upper_limit": say("Upper limit of agreement") + unit,
        "icc_2_1": say("ICC(2,1), agreement"),
        "icc_3_1": say("ICC(3,1), consistency"),
        "pearson": say("Pearson's correlation"),
        "spearman": say("Spearman's correlation"),
    }[key]


def figure(key: str, say: Say = say) -> str:
    """Name of a figure by its key, one of `mikata.evaluation.comparison.COMPARED`."""
    return {
        "accuracy": say("Accuracy"),
        "balanced_accuracy": say("Balanced accuracy"),
        "macro_precision": say("Macro precision"),
        "macro_f1": say("Macro F1"),
        "micro_f1": say("Micro F1"),
        "weighted_precision": say("Weighted precision"),
        "weighted_f1": say("Weighted F1"),
        "auc": say("AUC"),
    }[key]
