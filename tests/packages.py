"""A small package to work with: an untrained network whose answers are as good as any for plumbing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mikata import packaging
from mikata.architecture import Classifier
from mikata.networks import build

CLASSES = ("brick", "grass (wet)", "砂利")


@dataclass(frozen=True)
class Untrained:
    """What `packaging.write` needs, with random weights."""

    classifier: Classifier
    fit: Literal["resize", "native"] = "native"
    size: tuple[int, int] = (64, 64)
    channels: int = 1
    classes: tuple[str, ...] = CLASSES
    value_unit: str = "grey"
    value_range: tuple[float, float] = (0.0, 255.0)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> str:
        return "It was not trained at all."

    def record(self) -> dict[str, Any]:
        return {
            "notice": "Research use, not for diagnosis.",
            "configuration": dict(self.classifier.configuration),
            "classes": list(self.classes),
            "size": list(self.size),
            "fit": self.fit,
            "value_unit": self.value_unit,
            "value_range": list(self.value_range),
        }


def write_package(folder: Path, network: str = "small_cnn", **changes: Any) -> Path:
    """A package of a network with random weights that are the same every time."""
    torch.manual_seed(7)
    channels = changes.get("channels", 1)
    classes = changes.get("classes", CLASSES)
    classifier = build(
        network,
        classes=len(classes),
        channels=channels,
        mean=[110.0] * channels,
        std=[50.0] * channels,
        size=changes.get("size", Untrained.size) if changes.get("fit") == "resize" else None,
    )
    made = Untrained(classifier.eval(), **changes)
    return packaging.write(folder, made, name="Untrained", test_image=packaging.formula_image(made))
