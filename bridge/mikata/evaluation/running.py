"""Running a classifier over labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.architecture import Classifier
from mikata.datasets import Entry
from mikata.errors import DataError
from mikata.evaluation.report import Report
from mikata.evaluation.scoring import score
from mikata.networks.inputs import TakesImages
from mikata.training.data import WholeBatches, part
from mikata.training.run import Run
from mikata.types import SILENT, Progress


class ModelLike(TakesImages, Protocol):
    """What :func:`evaluate` needs: a `mikata.networks.Model` or a `mikata.training.Run`."""

    @property
    def classifier(self) -> Classifier:
        """Images (N, C, H, W) in, probabilities (N, K) out."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the outputs."""


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
    """
    if not entries:
        raise DataError("There are no images to evaluate.")
    source = part(entries, model.classes, model)
    skipped: dict[int, str] = {}
    batches = WholeBatches(
        source, batch, workers=workers, on_error=lambda index, error: skipped.update({index: str(error)})
    )
    probabilities = _predict(model.classifier, batches, len(source), len(model.classes), progress)
    good = [index for index in range(len(source)) if index not in skipped]
    if not good:
        index, reason = next(iter(skipped.items()))
        raise DataError(
            f"None of the {len(source)} images can be evaluated. The first is {entries[index].file}: {reason}"
        )
    origin, seen_before = _origin(model, entries)
    return score(
        tuple(entries[index] for index in good),
        model.classes,
        probabilities[good],
        skipped=tuple((entries[index].file, reason) for index, reason in sorted(skipped.items())),
        seed=seed,
        origin=origin,
        notes=seen_before,
    )


def _origin(model: ModelLike, entries: Sequence[Entry]) -> tuple[str, tuple[str, ...]]:
    """Which images these are, and a warning where the training that is at hand has seen them."""
    if not isinstance(model, Run):
        return "", ()
    if tuple(entries) == model.parts["test"]:
        return f"the test part ({model.grouping}), not used to train or to choose the epoch", ()
    used = (*model.parts["training"], *model.parts["selection"])
    pictures = {entry.picture.digest for entry in used}
    patients = {entry.patient for entry in used} - {""}
    known = sum(entry.picture.digest in pictures or entry.patient in patients for entry in entries)
    if not known:
        return "", ()
    return "", (f"{known} of the images, or others of their patients, were used in training: too good.",)


def _predict(
    classifier: Classifier, batches: WholeBatches, count: int, classes: int, progress: Progress
) -> NDArray[np.float32]:
    result = np.full((count, classes), np.nan, np.float32)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = classifier.normalise.mean.device
    training = {name: module.training for name, module in classifier.named_modules()}
    done = 0
    progress.step("Evaluating", 0, count)
    try:
        classifier.to(device).eval()
        with torch.inference_mode():
            for images, _, numbers in batches:
                result[numbers.numpy()] = classifier(images.to(device)).float().cpu().numpy()
                done += len(numbers)
                progress.step("Evaluating", done, count)
    finally:
        classifier.to(before)
        for name, module in classifier.named_modules():
            module.training = training[name]
    return result
