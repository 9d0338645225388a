"""One forward pass cut at a layer, so that only what follows it is recorded and differentiated.

Up to the wanted layer the network runs without gradients. There its output is cut off as a new
leaf, and only what follows (the head: pooling and classifier) is recorded and differentiated, with
respect to that leaf alone; no parameter's gradient is ever computed. So a heat map costs hardly
more than the prediction, and a network's size does not matter for memory.

Of an ensemble every member is cut at the same layer. Its heat maps are those of one network whose layer holds
the members' channels side by side: the gradient is that of what the ensemble gives, the logarithm of the mean of
the members' probabilities, so a member counts by its share in the class's probability.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from mikata.architecture import Members
from mikata.errors import NetworkError
from mikata.explanation.checks import check_logits
from mikata.explanation.layers import Layout, as_evaluated, layer_names, layers_of, layout_of
from mikata.language import say

_GRADIENT_BYTES = 256 * 2**20
"""How much memory the gradients of several classes may take at once."""


class Recording:
    """A layer's activations for a batch, and the scores computed from them.

    Parameters
    ----------
    network, batch:
        As for `heat_maps`; the network is not compiled, and is left exactly as found.
    name:
        Dotted name of the layer.
    gradients:
        Whether gradients will be asked for; without, nothing is recorded.

    Attributes
    ----------
    activations:
        (N, C, h, w), without a graph, in float32 or better; of an ensemble the members' channels side by side.
    logits:
        (N, K), without a graph.
    grid:
        Height and width of the layer's map in cells.

    Raises
    ------
    NetworkError
        If there is no such layer, it has no spatial size, or the scores do not depend on it.
    """

    def __init__(self, network: nn.Module, batch: Tensor, name: str, gradients: bool) -> None:
        self._name = name
        self._leaves, logits = _run(network, batch, name, gradients)
        if gradients and not logits.requires_grad:
            # a `no_grad` block in the network's own forward has put our mode back to its entry's: record all
            self._leaves, logits = _run(network, batch, name, gradients, record=True)
        if gradients and not logits.requires_grad:
            raise _independent(name)
        self._scores = logits
        self.logits = logits.detach()
        self._layout: Layout = layout_of(network, name, self._leaves[0], batch)
        self.grid = self._layout.grid
        self.activations = self._joined([leaf.detach() for leaf in self._leaves])

    def gradients(self, seeds: Tensor) -> Iterator[Tensor]:
        """Gradients (k, N, C, h, w) of the seeds' scores with respect to the activations, in order.

        `seeds` is (K, N, classes): each is multiplied with the scores. They come in pieces of bounded size.
        """
        size = sum(leaf.numel() * leaf.element_size() for leaf in self._leaves)
        step = max(1, _GRADIENT_BYTES // size)
        for start in range(0, len(seeds), step):
            part = seeds[start : start + step]
            several = len(part) > 1
            # all classes of a piece together: the head's weights are read once, not once a class
            found = torch.autograd.grad(
                self._scores, self._leaves, part if several else part[0],
                retain_graph=start + step < len(seeds), is_grads_batched=several, allow_unused=True,
            )  # fmt: skip
            if any(gradient is None for gradient in found):
                raise _independent(self._name)
            with torch.no_grad():
                yield self._joined([gradient if several else gradient[None] for gradient in found])

    def _joined(self, parts: list[Tensor]) -> Tensor:
        accurate = torch.promote_types(parts[0].dtype, torch.float32)
        maps = [self._layout.to_maps(part.to(accurate)) for part in parts]
        return maps[0] if len(maps) == 1 else torch.cat(maps, -3)


def _independent(layer: str) -> NetworkError:
    return NetworkError(
        say("The class scores do not depend on the layer '{layer}': name another layer.", layer=layer)
    )


def _run(
    network: nn.Module, batch: Tensor, name: str, gradients: bool, record: bool = False
) -> tuple[list[Tensor], Tensor]:
    """The layer's output as a leaf (of an ensemble one a member), and the scores computed from it."""
    modules = _find(network, batch, name)
    leaves: list[Tensor] = []
    seen: list[nn.Module] = []

    def cut(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise NetworkError(
                say(
                    "The layer '{layer}' gives a {kind}, not one tensor: name another layer.",
                    layer=name,
                    kind=type(output).__name__,
                )
            )
        if module in seen:
            raise NetworkError(
                say(
                    "The layer '{layer}' is used several times in one pass, so it has no single map: name the "
                    "block around it, or another layer.",
                    layer=name,
                )
            )
        seen.append(module)
        leaf = output.detach()
        leaves.append(leaf)
        if gradients:
            leaf.requires_grad_()
            torch.set_grad_enabled(True)
        # a copy: an in-place activation behind the layer would write into the leaf, which torch forbids
        return leaf.clone()

    def unrecorded(module: nn.Module, args: tuple[Any, ...]) -> None:
        torch.set_grad_enabled(False)

    with ExitStack() as stack:
        stack.enter_context(as_evaluated(network))
        stack.enter_context(torch.set_grad_enabled(record))  # on leaving, also undoes what `cut` has enabled
        if isinstance(network, Members) and not record:
            # the member before has switched gradients on; this one needs none up to its layer
            for member in network.members:
                stack.callback(member.register_forward_pre_hook(unrecorded).remove)
        for module in modules:
            stack.callback(module.register_forward_hook(cut).remove)
        logits = network(batch)
    if len(leaves) < len(modules):
        raise NetworkError(
            say(
                "The layer '{layer}' takes no part in a prediction (it may work in training only): name another "
                "layer.",
                layer=name,
            )
        )
    check_logits(logits, batch, network)
    return leaves, logits


def _find(network: nn.Module, batch: Tensor, name: str) -> list[nn.Module]:
    modules: dict[str, nn.Module] = dict(network.named_modules())
    names = layers_of(network, name)
    if name and all(one in modules for one in names):
        return [modules[one] for one in names]
    usable = layer_names(network, batch)
    near = difflib.get_close_matches(name, usable, n=5, cutoff=0.4) or list(usable)[-5:]
    raise NetworkError(
        say("The network has no layer '{layer}'. Near it: {near}.", layer=name, near=", ".join(near))
    )
