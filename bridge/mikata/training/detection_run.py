"""What a training of a network for detection has found, and what it says of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.architecture import Detector
from mikata.datasets import Detected, Entry
from mikata.networks.peaks import APART, DEFAULTS, SCORE, Point, peaks
from mikata.networks.pixelwise import SIZES
from mikata.training import detection_methods
from mikata.training.fitting import StoppedBy
from mikata.training.pixel_run import split_words
from mikata.training.recipe import Recipe
from mikata.training.run import NOTICE, data_record

Parts = Mapping[str, tuple[Entry, ...]]


@dataclass(frozen=True, eq=False)
class DetectionRun:
    """A finished training of a network for detection.

    Attributes
    ----------
    detector:
        The network with the weights of the best epoch, on the CPU, in evaluation mode.
    classes:
        Names; no background is among them.
    step:
        Sides of images must be multiples of it, in px.
    settings:
        What points are made with, chosen on the selection part: ``score`` from which a maximum counts, and ``apart_px``
        within which two of one class are one; empty before.
    channels, value_unit, value_range, history, recipe, dataset, parts, seed, best_epoch, stopped_by, seconds, device,
    versions, checkpoint, last_checkpoint, parent, notes, chosen:
        As of `mikata.training.SegmentationRun`; the history has F1 of images in place of Dice.
    """

    detector: Detector
    classes: tuple[str, ...]
    step: int
    channels: int
    value_unit: str
    value_range: tuple[float, float]
    history: tuple[dict[str, float], ...]
    recipe: Recipe
    dataset: Detected
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
    def network(self) -> Detector:
        """The network."""
        return self.detector

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output's channels: a heat map of each class, then `SIZES`."""
        return (*self.classes, *SIZES)

    @property
    def sized(self) -> bool:
        """Whether the network tells sizes."""
        return bool(self.detector.configuration["typical_px"])

    @property
    def near_px(self) -> float:
        """How far from the centre of an object without size a point may be to count as this object."""
        return self.recipe.stage.detection.near_px

    @property
    def split(self) -> str:
        """The same, and whether the table gave the split, in English words for records."""
        return split_words(self.dataset)

    @property
    def methods(self) -> str:
        """How it was trained, as an English paragraph for a methods section."""
        return detection_methods.paragraph(self)

    def record(self) -> dict[str, Any]:
        """Everything for ``training.json``: plain JSON values; no patient, no file name."""
        data = data_record(self.dataset, self.parts, self.split)
        for name, entries in self.parts.items():
            found = [entry.boxes or () for entry in entries]
            data["parts"][name]["objects"] = {
                label: sum(box.kind == number for boxes in found for box in boxes)
                for number, label in enumerate(self.classes)
            }
            data["parts"][name]["without_objects"] = sum(not boxes for boxes in found)
        return {
            "notice": NOTICE,
            "configuration": dict(self.detector.configuration),
            "classes": list(self.classes),
            "outputs": list(self.outputs),
            "objects_from": self.dataset.kind,
            "near_px": self.near_px,
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

    def points(self, outputs: NDArray[np.float32], least: float | None = None) -> list[Point]:
        """The centres (`mikata.networks.peaks.peaks`) in what the network gives.

        Parameters
        ----------
        least:
            Score from which a maximum counts; None: the chosen one.
        """
        settings = {**DEFAULTS, **self.settings}
        return peaks(
            outputs,
            len(self.classes),
            settings[SCORE] if least is None else least,
            apart_px=int(settings[APART]),
        )
