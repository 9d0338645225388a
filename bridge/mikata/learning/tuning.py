"""Base or tuned: a fine-tuned network beside the one it started from; the better is kept, and the test says more."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata import evaluation
from mikata.datasets import Entry
from mikata.evaluation import Choice, Report, ValueReport, Verdict
from mikata.evaluation.running import ModelLike
from mikata.language import say
from mikata.learning.pairing import in_common
from mikata.networks import Model
from mikata.training import Run
from mikata.types import Progress

_Shares = NDArray[np.float32]


@dataclass(frozen=True)
class Tuning:
    """Which network was kept by the selection images, and what the test images say of both.

    Attributes
    ----------
    choice, verdict:
        Of the fine-tuned network against the one it started from.
    """

    choice: Choice
    verdict: Verdict


def judge(run: Run, progress: Progress) -> tuple[Run, Report | ValueReport, Tuning | None]:
    """Choose by the selection images, then use the test images once, for both networks.

    Parameters
    ----------
    run:
        A training. Where it started from a network that knew the same classes, and its recipe says
        ``keep = "better"``, both are compared.

    Returns
    -------
    tuple
        The run with the network that is kept, its test, and the comparison (None where there is none).
    """
    if run.values:
        return run, evaluation.evaluate_values(run, run.parts["test"], progress=progress), None
    base = run.base if run.recipe.stage.keep == "better" else None
    if base is None:
        return run, evaluation.evaluate(run, run.parts["test"], progress=progress), None
    choosing = [evaluation.evaluate(one, run.parts["selection"]) for one in (base, run)]
    choice = evaluation.better(*_both(choosing, run), seed=run.seed)
    testing = [evaluation.evaluate(one, run.parts["test"]) for one in (base, run)]
    verdict = evaluation.verdict(*_both(testing, run), seed=run.seed)
    notes = list(run.notes)
    if _has_seen(base, run):
        notes.append(
            say(
                "The network it started from was trained on the same images, perhaps on these test images too: the "
                "comparison with it may be too good for it."
            )
        )
    if choice.kept == "base":
        run = _with_base(run, base)
    tuning = Tuning(choice, verdict)
    record = {
        "kept": choice.kept,
        "selection": {"base": choice.base, "tuned": choice.tuned},
        "test": verdict.record(),
    }
    run = dataclasses.replace(run, notes=tuple(notes), tuning=record)
    # the test of the kept network alone goes with it, under its own name
    scores = testing[0] if choice.kept == "base" else testing[1]
    return run, dataclasses.replace(scores, test_of=run.dataset, seen=0), tuning


def _both(reports: list[Report], run: Run) -> tuple[tuple[Entry, ...], tuple[str, ...], _Shares, _Shares]:
    """Entries, classes and probabilities of both, of the images that both could judge."""
    entries, (base, tuned) = in_common(reports)
    return entries, run.classes, base, tuned


def _has_seen(base: ModelLike, run: Run) -> bool:
    """Whether the base's record names the same images."""
    if not isinstance(base, Model):
        return False  # a stage of this training: it has not seen later test images
    data = base.record.get("training", {}).get("data", {})
    return bool(data.get("fingerprint") == run.dataset.fingerprint)


def _with_base(run: Run, base: ModelLike) -> Run:
    """The run as if it had changed nothing."""
    return dataclasses.replace(
        run,
        classifier=base.classifier,
        channels=base.channels,
        size=base.size,
        fit=base.fit,
        value_unit=base.value_unit,
        value_range=base.value_range,
    )
