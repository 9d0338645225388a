"""What a training has found: the network and everything that must be known of how it came about."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np

from mikata.architecture import Classifier
from mikata.datasets import Dataset, Entry, values_of
from mikata.language import english
from mikata.networks import Fit, Model
from mikata.training import methods
from mikata.training.fitting import StoppedBy
from mikata.training.recipe import Recipe

NOTICE = "Research use, not for diagnosis."

Base = Union[Model, "Run"]
"""A classifier from which a training started."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes
    ----------
    classifier:
        The network with the weights of the best epoch, on the CPU, in evaluation mode.
    classes:
        Names, in the order of the network's outputs; none where it gives a value.
    channels, size, fit, value_unit, value_range:
        What the network takes, as in `mikata.networks.InputSpec`; `value_range` is 0..255 for 8-bit
        images, else the lowest and highest value of the training images.
    history:
        One mapping an epoch: epoch (from 1), training_loss, training_accuracy, selection_loss,
        selection_accuracy, seconds; of values training_mae and selection_mae, mean absolute errors in the value's
        unit, in place of accuracies. Losses are weighted as in training. The training figures are of
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
        Name and SHA-256 of the weights' file that the first stage started from; empty for random and ImageNet's.
    earlier:
        What the stages before have done, in order, as plain JSON values: name, source, data, history, ...
    base:
        What the stage started from, where that knew the same classes: a `Model` or the `Run` of the stage before.
    left_out:
        Number of images of an earlier stage's data not used, since a later stage tests on them or their patients.
    fitted:
        What of the weights that this stage started from was taken, adapted and left out.
    notes:
        What went otherwise than the recipe says, in sentences.
    tuning:
        How the network compares with the one it started from, as plain JSON values; None where that was not measured.
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
    earlier: tuple[dict[str, Any], ...] = ()
    base: Base | None = field(default=None, repr=False)
    left_out: int = 0
    fitted: Fit = field(default_factory=Fit)
    notes: tuple[str, ...] = ()
    tuning: dict[str, Any] | None = None

    @property
    def values(self) -> bool:
        """Whether it gives a value (in ``classifier.unit``) instead of classes."""
        return self.classifier.target is not None

    @property
    def grouping(self) -> str:
        """How the split kept images together, in words for reports."""
        return self.dataset.grouping

    @property
    def split(self) -> str:
        """The same, and whether the table gave the split, in English words for records."""
        return self.split_words(english)

    def split_words(self, say: Callable[..., str]) -> str:
        """How the split was made; `say` gives the words their language."""
        grouping = self.dataset.grouping_words(say)
        if any(entry.split for entry in self.dataset.entries):
            return say("{grouping}, given in the table", grouping=grouping)
        return grouping

    @property
    def methods(self) -> str:
        """How it was trained, as an English paragraph for a methods section."""
        return methods.paragraph(self)

    def stage_record(self) -> dict[str, Any]:
        """What a later stage must tell of this one: plain JSON values; no patient, no file name."""
        stage = self.recipe.record()["stage"][-1]
        return {
            "name": stage["name"],
            "source": stage["source"],
            "classes": list(self.classes),
            "data": data_record(self.dataset, self.parts, self.split),
            "left_out": self.left_out,
            "weights": self.fitted.record(),
            "history": [dict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "stopped_by": self.stopped_by,
            "seconds": round(self.seconds, 1),
        }

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
            "data": data_record(self.dataset, self.parts, self.split),
            "recipe": self.recipe.record(),
            "earlier_stages": [dict(stage) for stage in self.earlier],
            "weights": self.fitted.record(),
            "notes": list(self.notes),
            "base_or_tuned": self.tuning,
            "methods": self.methods,
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


def data_record(dataset: Dataset, parts: Mapping[str, Sequence[Entry]], split: str) -> dict[str, Any]:
    """Numbers of images and patients of each class and part; no patient, no file name.

    Of values, of each part: mean, standard deviation, and the 5th and 95th percentile (the lowest and the highest
    would be single patients').
    """
    described: dict[str, dict[str, Any]] = {}
    for name, entries in parts.items():
        if dataset.values:
            described[name] = {"images": {"all": len(entries)}}
            if dataset.has_patients:
                described[name]["all_patients"] = {"all": len({entry.patient for entry in entries})}
            if entries:
                described[name]["values"] = _spread(entries)
            continue
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
        **({"unit": dataset.unit} if dataset.values else {}),
    }


def _spread(entries: Sequence[Entry]) -> dict[str, float]:
    values = values_of(entries)
    low, high = np.percentile(values, (5, 95))
    return {
        "mean": float(values.mean()),
        "standard_deviation": float(values.std()),
        "percentile_5": float(low),
        "percentile_95": float(high),
    }


def versions() -> dict[str, str]:
    """Of the programs that matter for a training."""
    found = {"python": platform.python_version()}
    for name in ("mikata", "torch", "torchvision", "timm", "lightning", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree that is not installed
            found[name] = "not installed"
    return found
