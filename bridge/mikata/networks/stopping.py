"""Asks between a network's layers whether to go on: one batch of a large network may take a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def asked_between_layers(network: nn.Module, ask: Callable[[], object]) -> Iterator[None]:
    """Call `ask` before every layer of a network while the block runs; what it raises ends the forward pass.

    The network is left as it was found.
    """

    def before(*_: Any) -> None:
        ask()

    layers = [layer for layer in network.modules() if next(layer.children(), None) is None]
    handles = [layer.register_forward_pre_hook(before) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
