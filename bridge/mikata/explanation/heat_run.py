"""A run of heat maps: how they are found, what was explained, and what may be made beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch

from mikata.explanation.kept import ExplainedPlane
from mikata.explanation.methods import Method, Settings, method_named
from mikata.explanation.planes import SettingsOf
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model
from mikata.outputs import ResultFolder
from mikata.types import Progress, Result


@dataclass(frozen=True)
class HeatMethod:
    """How heat is found: see the parameters of the heat map command. What a method does not need is not used."""

    name: str = "Grad-CAM"
    window_percent: float = 12.5
    masks: int = 1000
    steps: int = 50
    baseline: Literal["mean", "zero"] = "mean"

    @property
    def method(self) -> Method:
        """What the method needs."""
        return method_named(self.name)

    def settings(self, network: Model, tensor: torch.Tensor, batch: int) -> Settings:
        """The same in the network's input: for images (N, C, H, W) on their device, `batch` copies at once."""
        side = max(1, round(min(tensor.shape[-2:]) * self.window_percent / 100))
        baseline: float | torch.Tensor = 0.0
        if self.baseline == "zero":
            with torch.no_grad():
                baseline = network.classifier.normalise(torch.zeros_like(tensor[:1, :, :1, :1]))[0]
        return Settings(
            forward=batch, baseline=baseline, window_px=(side, side), masks=self.masks, steps=self.steps
        )

    def settings_by(self, batch: int) -> SettingsOf:
        """`settings` for images to come."""
        return partial(self.settings, batch=batch)


@dataclass(frozen=True, eq=False)
class HeatRun:
    """A run whose maps are made.

    Attributes
    ----------
    network, source:
        The package and the images.
    explained:
        The planes of each image by its name.
    target:
        What was asked for: ``predicted``, ``all`` or a class's name.
    layer, method, batch:
        How they were made; `layer` is empty for a method without one.
    """

    network: Model
    source: Images
    explained: dict[str, list[ExplainedPlane]]
    target: str
    layer: str
    method: HeatMethod
    batch: int

    @property
    def planes(self) -> list[ExplainedPlane]:
        """All planes in order."""
        return [one for planes in self.explained.values() for one in planes]

    def headline(self) -> str:
        """What was explained, by what, in a sentence."""
        named = {"method": self.method.name, "count": len(self.planes), "model": self.network.path.name}
        if self.method.method.needs_layer:
            return say("{method} of {count} plane(s) by {model}, layer {layer}.", **named, layer=self.layer)
        return say("{method} of {count} plane(s) by {model}.", **named)


class Beside(Protocol):
    """What is made beside the heat maps of a run, by a part of the program that this one does not know."""

    def check(self, network: Model, method: str) -> tuple[str, ...]:
        """Refuse what cannot be made, before anything is explained; gives the names of the files to come."""

    def make(self, run: HeatRun, folder: ResultFolder | None, progress: Progress) -> Result:
        """Its message, tables, files and page go into the run's result."""
