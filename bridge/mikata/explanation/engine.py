"""Heat maps of a classifier's decision, from one forward pass and a backward pass of its head only.

Up to the wanted layer the network runs without gradients. There its output is cut off as a new
leaf, and only what follows (the head: pooling and classifier) is recorded and differentiated, with
respect to that leaf alone; no parameter's gradient is ever computed. So a heat map costs hardly
more than the prediction, and a network's size does not matter for memory.

Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017, doi 10.1109/ICCV.2017.74, equations 1 and 2:
``alpha_kc = mean over cells of d score_k / d A_c``, ``map_k = max(0, sum over c of alpha_kc A_c)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.explanation.layers import as_evaluated, layer_names, layout_of, target_layer, uncompiled
from mikata.language import say

Method = Callable[[Tensor, Tensor], Tensor]
"""Activations (N, C, h, w) and gradients (K, N, C, h, w) to maps (N, K, h, w) before the positive part."""

_GRADIENT_BYTES = 256 * 2**20
"""How much memory the gradients of several classes may take at once."""


def _grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    return torch.einsum("knc,nchw->nkhw", gradients.mean((-2, -1)), activations)


METHODS: dict[str, Method] = {"Grad-CAM": _grad_cam}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heat maps of one batch, and how they were made. Tensors are on the batch's device.

    Attributes
    ----------
    maps:
        (N, H, W), or (N, K, H, W) for the target ``"all"``: the grid brought to the input's size,
        bilinear, cells' centres in place. Values from 0 up, in score per activation, not rescaled.
    grid:
        (N, h, w) or (N, K, h, w): the same before that, one value for each cell of the layer.
    classes:
        The class each image's map is for, N numbers; for ``"all"`` every class, 0 to K - 1.
    logits:
        (N, K) class scores before softmax.
    empty:
        (N,) or (N, K): maps without any heat. `warnings` says why.
    zero_gradient:
        (N,) or (N, K): where the layer does not influence the class at all: every gradient is 0.
    layer:
        Dotted name of the layer the maps are from.
    method:
        Name of the method.
    cell_px:
        Height and width of one cell of the grid, in pixels of the input.
    """

    maps: Tensor
    grid: Tensor
    classes: tuple[int, ...]
    logits: Tensor
    empty: Tensor
    zero_gradient: Tensor
    layer: str
    method: str
    cell_px: tuple[float, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each empty map; images are counted from 1."""
        sentences = []
        for index in self.empty.nonzero().tolist():
            number = self.classes[index[-1]] if len(index) == 2 else self.classes[index[0]]
            named = {"image": index[0] + 1, "number": number, "layer": self.layer}
            sentences.append(
                say(
                    "Image {image} has no heat for class {number}: the layer '{layer}' does not influence it (all "
                    "gradients are 0).",
                    **named,
                )
                if self.zero_gradient[tuple(index)]
                else say(
                    "Image {image} has no heat for class {number}: nothing in the layer '{layer}' speaks for it.",
                    **named,
                )
            )
        return tuple(sentences)


def heat_maps(
    network: nn.Module,
    batch: Tensor,
    target: int | Sequence[int] | Tensor | Literal["all"] | None = None,
    method: str = "Grad-CAM",
    layer: str | None = None,
) -> Explanation:
    """Show where in each image a network finds what speaks for a class.

    Parameters
    ----------
    network:
        Gives class scores before softmax (logits), (N, K). It runs in evaluation mode and is left
        exactly as found: modes, gradients, hooks, devices.
    batch:
        (N, C, H, W), floating point, as the network wants it (normalised, its dtype, its device).
    target:
        Class number from 0; None for the predicted class of each image; N numbers, one for each
        image; or ``"all"`` for every class.
    method:
        A name in `METHODS`.
    layer:
        Dotted name of the layer, as in ``network.named_modules()``; None: `target_layer` finds it.

    Returns
    -------
    Explanation

    Raises
    ------
    NetworkError
        If the batch, target, method or layer does not fit the network, or the network is of a kind
        whose layers cannot be reached.
    """
    if method not in METHODS:
        raise NetworkError(
            say("There is no method '{method}': known are {known}.", method=method, known=", ".join(METHODS))
        )
    network = uncompiled(network)
    _check_network(network, batch)
    with torch.inference_mode(False):
        if batch.is_inference():
            batch = batch.clone()
        batch = batch.detach()
        name = target_layer(network, batch) if layer is None else layer
        activations, logits = _run(network, batch, name)
        if not logits.requires_grad:
            # a `no_grad` block in the network's own forward has put our mode back to its entry's: record all
            activations, logits = _run(network, batch, name, record=True)
        if not logits.requires_grad:
            raise _independent(name)
        classes = _classes(target, logits)
        layout = layout_of(network, name, activations, batch)
        one_hot = F.one_hot(torch.tensor(classes, device=logits.device), logits.shape[1])
        if target == "all":
            seeds = one_hot.to(logits.dtype)[:, None].expand(-1, logits.shape[0], -1)
        else:
            seeds = one_hot.to(logits.dtype)[None]
        with torch.no_grad():
            grids, zero = [], []
            for gradients in _gradients(logits, activations, seeds, name):
                accurate = torch.promote_types(gradients.dtype, torch.float32)
                gradients = layout.to_maps(gradients.to(accurate))
                grids.append(METHODS[method](layout.to_maps(activations.detach().to(accurate)), gradients))
                zero.append(gradients.abs().amax((-3, -2, -1)).T == 0)
            grid = torch.cat(grids, 1).clamp_(min=0)
            maps = F.interpolate(grid, batch.shape[-2:], mode="bilinear", align_corners=False)
            zero_gradient = torch.cat(zero, 1)
    if target != "all":
        grid, maps, zero_gradient = grid[:, 0], maps[:, 0], zero_gradient[:, 0]
    return Explanation(
        maps=maps,
        grid=grid,
        classes=classes,
        logits=logits.detach(),
        empty=grid.amax((-2, -1)) == 0,
        zero_gradient=zero_gradient,
        layer=name,
        method=method,
        cell_px=(batch.shape[-2] / layout.grid[0], batch.shape[-1] / layout.grid[1]),
    )


def _check_network(network: nn.Module, batch: Tensor) -> None:
    if isinstance(network, torch.jit.ScriptModule):
        raise NetworkError(
            say(
                "A TorchScript network does not let its layers be watched: give the torch network that it was "
                "made from."
            )
        )
    if not isinstance(batch, Tensor) or batch.ndim != 4 or 0 in batch.shape:
        shape = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise NetworkError(
            say("The batch must be a tensor of (images, channels, height, width), not {shape}.", shape=shape)
        )
    if not batch.is_floating_point():
        raise NetworkError(say("The batch must hold floating point values, not {type}.", type=batch.dtype))
    # the sum shows NaN and infinity at once; where finite values overflow it is infinite too: then ask each
    if not bool(torch.isfinite(batch.detach().sum())):
        wrong = (~torch.isfinite(batch).flatten(1).all(1)).nonzero().flatten().tolist()
        if wrong:
            raise NetworkError(
                say(
                    "The batch holds values that are not numbers (NaN) or infinite, in image {numbers} of {count}.",
                    numbers=_listed(wrong),
                    count=len(batch),
                )
            )
    weight = next((p for p in network.parameters() if p.is_floating_point()), None)
    if weight is None:
        return
    if weight.device != batch.device and all(p.device != batch.device for p in network.parameters()):
        raise NetworkError(
            say(
                "The batch is on {batch}, the network on {network}: bring both to the same device.",
                batch=batch.device,
                network=weight.device,
            )
        )
    if weight.dtype != batch.dtype and not torch.is_autocast_enabled(batch.device.type):
        raise NetworkError(
            say(
                "The batch is of {batch}, the network of {network}: convert one of them.",
                batch=batch.dtype,
                network=weight.dtype,
            )
        )
    if weight.is_inference():
        raise NetworkError(
            say(
                "The network was made under torch.inference_mode, which forbids gradients: make or load it "
                "outside of that."
            )
        )


def _listed(indices: list[int]) -> str:
    first = ", ".join(str(index + 1) for index in indices[:5])
    return say("{first} and {more} more", first=first, more=len(indices) - 5) if len(indices) > 5 else first


def _independent(layer: str) -> NetworkError:
    return NetworkError(
        say("The class scores do not depend on the layer '{layer}': name another layer.", layer=layer)
    )


def _run(network: nn.Module, batch: Tensor, name: str, record: bool = False) -> tuple[Tensor, Tensor]:
    """The layer's output as a leaf, and the scores computed from it with a graph."""
    module = _find(network, batch, name)
    leaves: list[Tensor] = []

    def cut(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise NetworkError(
                say(
                    "The layer '{layer}' gives a {kind}, not one tensor: name another layer.",
                    layer=name,
                    kind=type(output).__name__,
                )
            )
        if leaves:
            raise NetworkError(
                say(
                    "The layer '{layer}' is used several times in one pass, so it has no single map: name the "
                    "block around it, or another layer.",
                    layer=name,
                )
            )
        leaf = output.detach().requires_grad_()
        leaves.append(leaf)
        torch.set_grad_enabled(True)
        # a copy: an in-place activation behind the layer would write into the leaf, which torch forbids
        return leaf.clone()

    with ExitStack() as stack:
        stack.enter_context(as_evaluated(network))
        stack.enter_context(torch.set_grad_enabled(record))  # on leaving, also undoes what `cut` has enabled
        stack.callback(module.register_forward_hook(cut).remove)
        logits = network(batch)
    if not leaves:
        raise NetworkError(
            say(
                "The layer '{layer}' takes no part in a prediction (it may work in training only): name another "
                "layer.",
                layer=name,
            )
        )
    _check_logits(logits, batch)
    return leaves[0], logits


def _find(network: nn.Module, batch: Tensor, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if name and name in modules:
        return modules[name]
    usable = layer_names(network, batch)
    near = difflib.get_close_matches(name, usable, n=5, cutoff=0.4) or list(usable)[-5:]
    raise NetworkError(
        say("The network has no layer '{layer}'. Near it: {near}.", layer=name, near=", ".join(near))
    )


def _check_logits(logits: Any, batch: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise NetworkError(
            say(
                "The network must give one score for each class, (images, classes), not {shape}.", shape=shape
            )
        )
    values = logits.detach()
    if not bool(torch.isfinite(values).all()):
        raise NetworkError(
            say("The network's scores are not numbers (NaN) or infinite: its weights may be broken.")
        )
    if logits.shape[1] > 1 and float(values.min()) >= 0 and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        raise NetworkError(
            say(
                "The network gives probabilities. A heat map needs the scores before softmax: give the network "
                "without its last step."
            )
        )


def _classes(target: int | Sequence[int] | Tensor | str | None, logits: Tensor) -> tuple[int, ...]:
    images, count = logits.shape
    if target is None:
        return tuple(logits.detach().argmax(1).tolist())
    if isinstance(target, str):
        if target != "all":
            raise NetworkError(
                say(
                    "The target must be a class number, a list of them or 'all', not {target!r}.",
                    target=target,
                )
            )
        return tuple(range(count))
    try:
        numbers = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.empty(0)
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.ndim > 1:
        raise NetworkError(
            say("The target must be a class number, a list of them or 'all', not {target!r}.", target=target)
        )
    if numbers.ndim == 1 and len(numbers) != images:
        raise NetworkError(
            say(
                "There are {targets} targets for {images} images: give one for each image.",
                targets=len(numbers),
                images=images,
            )
        )
    classes = tuple(int(number) for number in numbers.expand(images).tolist())
    for number in classes:
        if not 0 <= number < count:
            raise NetworkError(
                say(
                    "There is no class {number}: the network has {count}, numbered 0 to {last}.",
                    number=number,
                    count=count,
                    last=count - 1,
                )
            )
    return classes


def _gradients(logits: Tensor, leaf: Tensor, seeds: Tensor, name: str) -> list[Tensor]:
    """Gradients of the seeds' scores with respect to the leaf, (K, N, ...) in pieces of bounded size."""
    step = max(1, _GRADIENT_BYTES // (leaf.numel() * leaf.element_size()))
    pieces = []
    for start in range(0, len(seeds), step):
        part = seeds[start : start + step]
        # all classes of a piece together: the head's weights are read once, not once a class
        (gradient,) = torch.autograd.grad(
            logits, leaf, part if len(part) > 1 else part[0], retain_graph=start + step < len(seeds),
            is_grads_batched=len(part) > 1, allow_unused=True,
        )  # fmt: skip
        if gradient is None:
            raise _independent(name)
        pieces.append(gradient if len(part) > 1 else gradient[None])
    return pieces
