"""What a training of a network for segmentation has found, and what it says of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.architecture import Segmenter
from mikata.datasets import Entry, Segmented
from mikata.networks.instances import label_image
from mikata.training import pixel_methods
from mikata.training.fitting import StoppedBy
from mikata.training.pixel_losses import Parting
from mikata.training.pixel_run import split_words
from mikata.training.recipe import Recipe
from mikata.training.run import NOTICE, data_record

Parts = Mapping[str, tuple[Entry, ...]]


@dataclass(frozen=True, eq=False)
class SegmentationRun:
    """A finished training of a network for segmentation.

    Attributes
    ----------
    segmenter:
        The network with the weights of the best epoch, on the CPU, in evaluation mode.
    classes:
        Names, background first.
    outputs:
        Names of its output's channels.
    instances:
        How touching objects are told apart.
    step:
        Sides of images must be multiples of it, in px.
    settings:
        What objects are made with, chosen on the selection part; empty before, and where they are not told apart.
    channels, value_unit, value_range, history, recipe, dataset, parts, seed, best_epoch, stopped_by, seconds, device,
    versions, checkpoint, last_checkpoint, parent, notes:
        As of `mikata.training.Run`; the history has mean Dice of images in place of accuracies.
    """

    segmenter: Segmenter
    classes: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: Parting
    step: int
    channels: int
    value_unit: str
    value_range: tuple[float, float]
    history: tuple[dict[str, float], ...]
    recipe: Recipe
    dataset: Segmented
    parts: Parts = field(repr=False)
    seed: int
    best_epoch: int
    stopped_by: StoppedBy
    seconds: float
    device: str
    versions: dict[str, str]
    checkpoint: Path
    last_checkpoint: Path
    parent: dict[str, str]
    notes: tuple[str, ...] = ()
    settings: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, Any] | None = None

    @property
    def split(self) -> str:
        """The same, and whether the table gave the split, in English words for records."""
        return split_words(self.dataset)

    @property
    def methods(self) -> str:
        """How it was trained, as an English paragraph for a methods section."""
        return pixel_methods.paragraph(self)

    def record(self) -> dict[str, Any]:
        """Everything for ``training.json``: plain JSON values; no patient, no file name."""
        data = data_record(self.dataset, self.parts, self.split)
        for name, entries in self.parts.items():
            masks = [entry.mask for entry in entries if entry.mask is not None]
            data["parts"][name]["objects"] = sum(mask.objects for mask in masks)
            data["parts"][name]["empty_masks"] = sum(not mask.present for mask in masks)
        return {
            "notice": NOTICE,
            "configuration": dict(self.segmenter.configuration),
            "classes": list(self.classes),
            "outputs": list(self.outputs),
            "masks": self.dataset.reading.kind,
            "value_unit": self.value_unit,
            "value_range": list(self.value_range),
            "data": data,
            "recipe": self.recipe.record(),
            "notes": list(self.notes),
            "methods": self.methods,
            "parent": dict(self.parent),
            "seed": self.seed,
            "history": [dict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best_by": "lowest selection loss",
            "settings": dict(self.settings),
            "settings_chosen": self.chosen,
            "stopped_by": self.stopped_by,
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "versions": dict(self.versions),
        }

    def class_image(self, outputs: NDArray[Any]) -> NDArray[np.uint8]:
        """Number of the class of each pixel (H, W) of what the network gives (K, H, W)."""
        if self.instances == "none":
            return np.asarray(outputs.argmax(0), np.uint8)
        return np.asarray(self.label_image(outputs) > 0, np.uint8)

    def label_image(self, outputs: NDArray[Any]) -> NDArray[np.int32]:
        """Number of the object of each pixel (H, W) of what the network gives (K, H, W), where objects are told apart."""
        return label_image(outputs, self.outputs, self.settings)
