"""Running a network over labelled images, or images with values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.architecture import Classifier
from mikata.datasets import Dataset, Entry
from mikata.errors import DataError
from mikata.evaluation.report import Report
from mikata.evaluation.scoring import score
from mikata.language import say
from mikata.networks.inputs import TakesImages
from mikata.training.data import WholeBatches, part
from mikata.training.ensembles import Ensemble
from mikata.training.run import Run
from mikata.types import SILENT, Progress


class ModelLike(TakesImages, Protocol):
    """What :func:`evaluate` needs: a `mikata.networks.Model`, a `mikata.training.Run` or an `Ensemble`."""

    @property
    def classifier(self) -> Classifier:
        """Images (N, C, H, W) in, probabilities (N, K) or values (N, 1) out."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the outputs; none where it gives a value."""


def evaluate(
    model: ModelLike,
    entries: Sequence[Entry],
    *,
    progress: Progress = SILENT,
    batch: int = 16,
    workers: int = 0,
    seed: int = 0,
) -> Report:
    """Judge a classifier on labelled images.

    Parameters
    ----------
    model:
        A `Model` or a `Run`; it is left as found.
    entries:
        Images whose labels are among the model's classes.
    batch:
        Most images of the network's size at once.
    workers:
        Threads that read images; 0: one for each core.
    seed:
        Of the resampling of patients.

    Raises
    ------
    DataError
        If there are no images, a label is unknown to the model, or no image can be judged.
    Cancelled
        If the user stopped it.
    ValueError
        If the network gives a value.
    """
    if model.classifier.target is not None:
        raise ValueError("the network gives a value, not classes: use evaluate_values")
    found = judged(model, entries, progress=progress, batch=batch, workers=workers)
    return score(
        found.entries,
        model.classes,
        found.outputs,
        skipped=found.skipped,
        seed=seed,
        test_of=found.test_of,
        seen=found.seen,
    )


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network says of images.

    Attributes
    ----------
    entries:
        The images that could be read.
    outputs:
        Probabilities (n, K) or values (n, 1) of these, float32.
    skipped:
        The others, each with the reason.
    test_of, seen:
        As of a `Report`.
    """

    entries: tuple[Entry, ...]
    outputs: NDArray[np.float32]
    skipped: tuple[tuple[Path, str], ...]
    test_of: Dataset | None
    seen: int


def judged(
    model: ModelLike, entries: Sequence[Entry], *, progress: Progress, batch: int, workers: int
) -> Outputs:
    """Run a network over images, as `evaluate` does, which has the parameters and errors."""
    if not entries:
        raise DataError(say("There are no images to evaluate."))
    source = part(entries, model.classes, model)
    skipped: dict[int, str] = {}
    batches = WholeBatches(
        source, batch, workers=workers, on_error=lambda index, error: skipped.update({index: str(error)})
    )
    outputs = _predict(model.classifier, batches, len(source), max(1, len(model.classes)), progress)
    good = [index for index in range(len(source)) if index not in skipped]
    if not good:
        index, reason = next(iter(skipped.items()))
        raise DataError(
            say(
                "None of the {count} images can be evaluated. The first is {file}: {reason}",
                count=len(source),
                file=entries[index].file,
                reason=reason,
            )
        )
    test_of, seen = _known(model, entries)
    return Outputs(
        tuple(entries[index] for index in good),
        outputs[good],
        tuple((entries[index].file, reason) for index, reason in sorted(skipped.items())),
        test_of,
        seen,
    )


def _known(model: ModelLike, entries: Sequence[Entry]) -> tuple[Dataset | None, int]:
    """The data set where these are its test part and the model is of the others; how many it has learnt from."""
    if not isinstance(model, Run | Ensemble):
        return None, 0
    runs = (model,) if isinstance(model, Run) else model.runs
    if all(tuple(entries) == run.parts["test"] for run in runs):
        return model.dataset, 0
    used = [entry for run in runs for part in ("training", "selection") for entry in run.parts[part]]
    pictures = {entry.picture.digest for entry in used}
    patients = {entry.patient for entry in used} - {""}
    return None, sum(entry.picture.digest in pictures or entry.patient in patients for entry in entries)


def _predict(
    classifier: Classifier, batches: WholeBatches, count: int, classes: int, progress: Progress
) -> NDArray[np.float32]:
    result = np.full((count, classes), np.nan, np.float32)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = classifier.normalise.mean.device
    training = {name: module.training for name, module in classifier.named_modules()}
    done = 0
    progress.step(say("Evaluating"), 0, count)
    try:
        classifier.to(device).eval()
        with torch.inference_mode():
            for images, _, numbers in batches:
                result[numbers.numpy()] = classifier(images.to(device)).float().cpu().numpy()
                done += len(numbers)
                progress.step(say("Evaluating"), done, count)
    finally:
        classifier.to(before)
        for name, module in classifier.named_modules():
            module.training = training[name]
    return result
