"""Train a classifier: from a data set and a recipe to a `Run`."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from mikata.architecture import Classifier
from mikata.datasets import PARTS, Dataset, Entry, split
from mikata.errors import Cancelled, DataError
from mikata.language import say
from mikata.training import order
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.data import (
    Part,
    Statistics,
    channels_of,
    input_of,
    look_through,
    part,
)
from mikata.training.fitting import StoppedBy, accelerator_for, device_name, fit
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage
from mikata.training.starting import start_network, start_weights
from mikata.types import SILENT, Progress

NOTICE = "Research use, not for diagnosis."
_GIB = 2**30


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes
    ----------
    classifier:
        The network with the weights of the best epoch, on the CPU, in evaluation mode.
    classes:
        Names, in the order of the network's outputs.
    channels, size, fit, value_unit, value_range:
        What the network takes, as in `mikata.networks.InputSpec`; `value_range` is 0..255 for 8-bit
        images, else the lowest and highest value of the training images.
    history:
        One mapping an epoch: epoch (from 1), training_loss, training_accuracy, selection_loss,
        selection_accuracy, seconds. Losses are weighted as in training. The training figures are of
        augmented images while the weights still change, the selection figures are of whole images.
    recipe:
        The recipe, every key filled in.
    dataset:
        What it was trained on.
    parts:
        The split: ``training``, ``selection``, ``test``. The test part was not looked at.
    seed:
        Of everything random.
    best_epoch:
        The epoch with the lowest selection loss, from 1.
    stopped_by:
        ``finished``, ``early stopping`` or ``interrupted``.
    seconds:
        Wall-clock time, reading the images included.
    device:
        Where it ran, such as ``CPU, 2 threads`` or the GPU's name.
    versions:
        Of the programs that matter.
    checkpoint, last_checkpoint:
        Files of the weights of the best and the last epoch.
    parent:
        Name and SHA-256 of the weights' file that it started from; empty for random and ImageNet's.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    fit: Literal["resize", "native"]
    value_unit: str
    value_range: tuple[float, float]
    history: tuple[dict[str, float], ...]
    recipe: Recipe
    dataset: Dataset
    parts: Mapping[str, tuple[Entry, ...]] = field(repr=False)
    seed: int
    best_epoch: int
    stopped_by: StoppedBy
    seconds: float
    device: str
    versions: dict[str, str]
    checkpoint: Path
    last_checkpoint: Path
    parent: dict[str, str]

    @property
    def grouping(self) -> str:
        """How the split kept images together, in words for reports."""
        return self.dataset.grouping

    @property
    def split(self) -> str:
        """The same, and whether the table gave the split."""
        given = any(entry.split for entry in self.dataset.entries)
        return self.grouping + (", given in the table" if given else "")

    def record(self) -> dict[str, Any]:
        """Everything for ``training.json``: plain JSON values; no patient, no file name."""
        return {
            "notice": NOTICE,
            "configuration": dict(self.classifier.configuration),
            "classes": list(self.classes),
            "size": list(self.size),
            "fit": self.fit,
            "value_unit": self.value_unit,
            "value_range": list(self.value_range),
            "data": _data_record(self.dataset, self.parts, self.split),
            "recipe": self.recipe.record(),
            "parent": dict(self.parent),
            "seed": self.seed,
            "history": [dict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best_by": "lowest selection loss",
            "stopped_by": self.stopped_by,
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "versions": dict(self.versions),
        }


def _data_record(dataset: Dataset, parts: Mapping[str, Sequence[Entry]], split: str) -> dict[str, Any]:
    described = {}
    for name in PARTS:
        entries = parts[name]
        images = Counter(entry.label for entry in entries)
        described[name] = {"images": {label: images[label] for label in dataset.classes}}
        if dataset.has_patients:
            patients = {label: {e.patient for e in entries if e.label == label} for label in dataset.classes}
            described[name]["patients"] = {label: len(found) for label, found in patients.items()}
            described[name]["all_patients"] = {"all": len({entry.patient for entry in entries})}
    return {
        "fingerprint": dataset.fingerprint,
        "images": len(dataset.entries),
        "skipped": len(dataset.skipped),
        "split": split,
        "parts": described,
        "references": dataset.references,
    }


def train(
    dataset: Dataset,
    recipe: Recipe,
    *,
    folder: Path,
    progress: Progress = SILENT,
    parts: Mapping[str, tuple[Entry, ...]] | None = None,
    resume: bool = False,
) -> Run:
    """Train a classifier as a recipe says.

    The same data, recipe, versions and number of threads give the same weights on the CPU. Ctrl-C or
    the door's cancel ends the training after the batch at hand; the weights of the last whole epoch
    and of the best one are kept.

    Parameters
    ----------
    dataset:
        Labelled images.
    recipe:
        How to train.
    folder:
        Gets the checkpoints ``best.pt`` and ``last.pt``, state dicts of plain tensors, and ``state.pt``, which the
        training goes on from.
    progress:
        Is told epoch, loss, selection accuracy and time left.
    parts:
        A split made before; None: by the recipe's shares and seed. Its test part is not looked at.
    resume:
        Whether to go on from the state that an earlier start of the same training has left in `folder`; the result
        is the same as without the break. Without such a state it begins anew.

    Raises
    ------
    DataError
        If the data cannot be split or learnt from.
    RecipeError
        If the recipe does not suit the data or this computer.
    NetworkError
        If the network or its weights do not exist or do not fit.
    TrainingError
        If the loss is no number any more, or the memory does not suffice; the best weights are kept.
    OutputError
        If a checkpoint cannot be written; the one before is kept.
    Cancelled
        If the user stopped it before the first epoch had ended.
    """
    started = time.monotonic()
    stage = recipe.stage
    progress = progress if main_process() else SILENT
    refuse_flips_of_sides(recipe, dataset)
    accelerator = accelerator_for(stage, recipe)
    parts = parts or split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    try:
        with _own_random_numbers(recipe.seed):
            learning, choosing, statistics = _load(parts, dataset, stage, recipe, progress)
            spec = learning.spec
            weights, parent = start_weights(stage, spec, recipe)
            classifier = start_network(stage, spec, len(dataset.classes), statistics, weights, recipe)
            loop, stopped_by = fit(
                classifier,
                learning,
                choosing,
                stage,
                recipe,
                statistics,
                folder,
                progress,
                accelerator,
                resume=resume,
            )
    except KeyboardInterrupt as error:
        raise Cancelled(say("Stopped before the training had begun: nothing is kept.")) from error
    classifier = classifier.to("cpu")
    loop.checkpoints.load_best(classifier)
    return Run(
        classifier=classifier.eval(),
        classes=dataset.classes,
        channels=spec.channels,
        size=stage.size,
        fit=stage.fit,
        value_unit=spec.value_unit,
        value_range=statistics.value_range,
        history=tuple(loop.history),
        recipe=recipe,
        dataset=dataset,
        parts=dict(parts),
        seed=recipe.seed,
        best_epoch=loop.checkpoints.best_epoch,
        stopped_by=stopped_by,
        seconds=time.monotonic() - started + loop.seconds,
        device=device_name(accelerator),
        versions=_versions(),
        checkpoint=loop.checkpoints.best,
        last_checkpoint=loop.checkpoints.last,
        parent=parent,
    )


def _load(
    parts: Mapping[str, tuple[Entry, ...]],
    dataset: Dataset,
    stage: Stage,
    recipe: Recipe,
    progress: Progress,
) -> tuple[Part, Part, Statistics]:
    """Training and selection images, and the statistics of the training images."""
    used = (*parts["training"], *parts["selection"])
    # all parts: what a test image is made of says nothing of its class, and one that does not fit cannot be judged
    channels = channels_of([entry for entries in parts.values() for entry in entries], stage.channels)
    spec = input_of(used, channels, stage.size, stage.fit)
    learning, choosing = (part(parts[name], dataset.classes, spec) for name in ("training", "selection"))
    keep = learning.nbytes() + choosing.nbytes() <= stage.cache_gib * _GIB
    statistics = look_through(
        learning, keep=keep, workers=stage.workers, message=say("Reading training images"), progress=progress
    )
    if min(statistics.std) == 0:
        raise DataError(
            say("All training images have the same value everywhere in one channel: nothing can be learnt.")
        )
    if keep:
        look_through(
            choosing,
            keep=True,
            workers=stage.workers,
            message=say("Reading selection images"),
            progress=progress,
        )
    if all(entry.picture.eight_bit for entry in used):
        statistics = Statistics(statistics.mean, statistics.std, (0.0, 255.0))
    return learning, choosing, statistics


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("mikata", "torch", "torchvision", "lightning", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree that is not installed
            found[name] = "not installed"
    return found


@contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, and afterwards as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(order.seed_of(seed, 0, "weights"))
        yield
