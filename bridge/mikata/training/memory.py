"""Running out of memory while learning: a step that is undone and done again in pieces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mikata.networks.memory import is_out_of_memory, release

__all__ = ["Before", "has_batch_norm", "is_out_of_memory", "release"]


def has_batch_norm(network: nn.Module) -> bool:
    """Whether what a network makes of an image depends on the others of its batch while it learns."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


class Before:
    """What a forward pass changes, as it was before: buffers of a network and sums.

    Parameters
    ----------
    tensors:
        They are watched as they are, so they must stay the same objects.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        self._copies = [torch.empty_like(tensor) for tensor in tensors]

    def remember(self) -> None:
        """Note how they are."""
        torch._foreach_copy_(self._copies, self._tensors)

    def restore(self) -> None:
        """Make them what they were."""
        with torch.no_grad():
            torch._foreach_copy_(self._tensors, self._copies)
