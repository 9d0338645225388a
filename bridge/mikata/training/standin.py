"""To go when networks has blocks and features."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.networks import head as head_of


def heads(network: nn.Module) -> tuple[str, ...]:
    """Names of the heads."""
    return (head_of(network),)


def blocks(network: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Name and parameters of each block, input to output, head last."""
    found: dict[str, list[nn.Parameter]] = {}
    top = head_of(network)
    for name, value in network.named_parameters():
        parts = name.split(".")
        long = parts[0] in ("features", "classifier")
        key = "head" if name.startswith(top + ".") else ".".join(parts[:2]) if long else parts[0]
        found.setdefault(key, []).append(value)
    return sorted(found.items(), key=lambda item: item[0] == "head")


class Features(nn.Module):
    """Images to what the head takes."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.top: Any = classifier.network.get_submodule(head_of(classifier.network))
        self.width = int(getattr(self.top, "in_features", 0) or self.top.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features."""
        seen: list[Tensor] = []

        def note(module: Any, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0])

        handle = self.top.register_forward_pre_hook(note)
        try:
            self.classifier.logits(x)
        finally:
            handle.remove()
        return seen[0] if seen[0].ndim == 2 else seen[0].mean((2, 3))


def features(classifier: Classifier) -> Features:
    """Images to what the head takes."""
    return Features(classifier)
