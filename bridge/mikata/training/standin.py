"""To go when networks has blocks and features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.networks import head


def blocks(network: nn.Module) -> list[tuple[str, tuple[str, ...]]]:
    """Name and names of parameters of each block, input to output, head last."""
    found: dict[str, list[str]] = {}
    top = head(network)
    for name, _ in network.named_parameters():
        parts = name.split(".")
        key = top if name.startswith(top + ".") else ".".join(parts[:2]) if parts[0] in ("features", "classifier") else parts[0]
        found.setdefault(key, []).append(name)
    last = found.pop(top)
    return [*((key, tuple(value)) for key, value in found.items()), (top, tuple(last))]


def features(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """Images to what the head takes."""
    top = classifier.network.get_submodule(head(classifier.network))

    def run(x: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def note(module: Any, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0])

        handle = top.register_forward_pre_hook(note)
        try:
            classifier.logits(x)
        finally:
            handle.remove()
        return seen[0].flatten(1)

    return run
