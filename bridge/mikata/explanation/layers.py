"""Which layer of a network a heat map is taken from, found by watching one forward pass.

A convolutional network is read at its last feature map before pooling and classifier: the latest
module whose output has the size of the last convolution's output, under its outermost name
(``layer4`` of a ResNet, ``features.29`` of VGG-16, that is, the activation and not the pooled map
behind it). A 1 x 1 convolution that itself makes the class scores (SqueezeNet) belongs to the
classifier.

A transformer is read where its last attention reads: the patch tokens behind the last attention
no longer reach the scores when only the class token does.

A network for segmentation is read at the end of its narrowest part (the bottleneck of a U-Net): behind it the
maps are almost the output itself (Vinogradova et al., "Towards Interpretable Semantic Segmentation via
Gradient-Weighted Class Activation Mapping", AAAI 2020, arXiv 2002.11434).

An ensemble is read at the same layer of every member: in names ``*`` stands for each of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mikata.architecture import Members
from mikata.errors import NetworkError
from mikata.explanation.region_mean import RegionMean
from mikata.language import say

EACH_MEMBER = "members.*."
"""What names of an ensemble's layers begin with: the same layer of each member."""

_POOLING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
)

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds its map.

    Attributes
    ----------
    grid:
        Height and width of the map in cells.
    kind:
        ``channels first`` (N, C, h, w), ``channels last`` (N, h, w, C) or ``tokens``
        (N, prefix + h * w, C).
    prefix:
        Tokens before the map's own (the class token, registers).
    """

    grid: Grid
    kind: str = "channels first"
    prefix: int = 0

    def to_maps(self, output: Tensor) -> Tensor:
        """The output as (..., C, h, w); leading axes before N are kept."""
        if self.kind == "channels first":
            return output
        if self.kind == "tokens":
            output = output[..., self.prefix :, :]
            output = output.reshape(*output.shape[:-2], *self.grid, output.shape[-1])
        return output.movedim(-1, -3)


@dataclass(frozen=True)
class _Call:
    """One module's call in the watched pass, in the order of return."""

    name: str
    module: nn.Module
    output: Tensor | None  # None: not a single tensor
    source: Tensor | None  # its first input
    changed: bool  # whether it returned anything but its untouched input


_found: weakref.WeakKeyDictionary[nn.Module, dict[Any, str]] = weakref.WeakKeyDictionary()


def target_layer(network: nn.Module, batch: Tensor) -> str:
    """Find the layer that a heat map is best taken from.

    Parameters
    ----------
    network:
        Gives scores (N, K). It is left exactly as found.
    batch:
        (N, C, H, W) in the network's own dtype and on its device. Only the first image is used,
        and only the first time that a network meets images of this size.

    Returns
    -------
    str
        The layer's dotted name, as in ``network.named_modules()``.

    Raises
    ------
    NetworkError
        If no layer has a map of more than one cell, or the network is an ensemble.
    """
    network = uncompiled(network)
    if isinstance(network, Members):
        return EACH_MEMBER + target_layer(network.members[0], batch)
    key = (tuple(batch.shape[1:]), tuple((name, type(module)) for name, module in network.named_modules()))
    known = _found.setdefault(network, {})
    if key not in known:
        known.clear()  # a network that was changed, or images of another size: keep only the last answer
        calls, scores = _watch(network, batch)
        check_scores(scores)
        known[key] = _choose(calls, scores, _image_size(batch), narrowest=isinstance(network, RegionMean))
    return known[key]


def layer_names(network: nn.Module, batch: Tensor) -> dict[str, Grid]:
    """List the layers that a heat map can be taken from.

    Parameters are those of `target_layer`; a network for segmentation does too.

    Returns
    -------
    dict
        Dotted name to (height, width) of the layer's grid in cells, in the order of execution.
    """
    network = uncompiled(network)
    if isinstance(network, Members):
        return {EACH_MEMBER + name: grid for name, grid in layer_names(network.members[0], batch).items()}
    calls, _ = _watch(network, batch)
    patches = _patch_grid(calls)
    usable: dict[str, Grid] = {}
    names = [call.name for call in calls]
    for call in calls:
        layout = _layout(call.output, _image_size(batch), patches)
        if call.changed and layout is not None and names.count(call.name) == 1:
            usable[call.name] = layout.grid
    return usable


def layout_of(network: nn.Module, name: str, output: Tensor, batch: Tensor) -> Layout:
    """Say how the output of the layer `name` holds its map, or raise `NetworkError` if it has none."""
    patches = None
    if output.ndim == 3:
        member = network.members[0] if isinstance(network, Members) else network
        calls, _ = _watch(member, batch)
        patches = _patch_grid(calls)
    layout = _layout(output, _image_size(batch), patches, len(batch))
    if layout is None:
        raise NetworkError(
            say(
                "The layer '{layer}' has no spatial size (its output is {shape}), so it has no heat map. Name a "
                "layer before the pooling, or let the layer be found by itself.",
                layer=name,
                shape=tuple(output.shape),
            )
        )
    return layout


def layers_of(network: nn.Module, name: str) -> list[str]:
    """The layers that a name stands for: itself, or one of each member of an ensemble."""
    if isinstance(network, Members) and name.startswith(EACH_MEMBER):
        rest = name.removeprefix(EACH_MEMBER)
        return [f"members.{number}.{rest}" for number in range(len(network.members))]
    return [name]


def uncompiled(network: nn.Module) -> nn.Module:
    """The plain network inside one from `torch.compile`; its layers have the names that were written."""
    inner = getattr(network, "_orig_mod", network)
    return inner if isinstance(inner, nn.Module) else network


@contextmanager
def as_evaluated(network: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, run its plain (not compiled) code, and put all back.

    The flags are set one by one: `train()` may be overridden to do more than set a flag, and a
    network may hold some modules in one mode and some in the other.
    """
    modules = list(network.modules())
    if isinstance(network, RegionMean):
        modules.append(network.whole)
    training = [module for module in modules if module.training]
    with ExitStack() as stack:
        if any("_orig_mod" in m._modules or m._compiled_call_impl for m in modules):
            # hooks set after compilation are not run by compiled code
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


def _watch(network: nn.Module, batch: Tensor) -> tuple[list[_Call], Any]:
    """Run one image through the network and note every module's calls."""
    calls: list[_Call] = []
    versions: dict[int, list[int]] = {}

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        first = args[0] if args and isinstance(args[0], Tensor) else None
        versions.setdefault(id(module), []).append(first._version if first is not None else -1)

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())  # the graph tells which outputs the scores come from
        stack.enter_context(as_evaluated(network))
        for name, module in network.named_modules():

            def after(module: nn.Module, args: tuple[Any, ...], output: Any, name: str = name) -> None:
                version = versions[id(module)].pop()
                first = args[0] if args and isinstance(args[0], Tensor) else None
                if not isinstance(output, Tensor):
                    calls.append(_Call(name, module, None, first, True))
                    return
                # in-place activations return their input, but with another content
                changed = output is not first or output._version != version
                calls.append(_Call(name, module, output, first, changed))

            if name:  # the whole network is no layer of it
                stack.callback(module.register_forward_pre_hook(before).remove)
                stack.callback(module.register_forward_hook(after).remove)
        # a copy of a copy, since a network may write into its input, and a leaf must not be written to
        scores = network(batch[:1].detach().clone().requires_grad_().clone())
    return calls, scores


def check_scores(scores: Any, images: int = 1) -> None:
    """Raise `NetworkError` if these are not class scores (N, K) of so many images."""
    if isinstance(scores, Tensor) and scores.ndim == 2 and len(scores) == images:
        return
    shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if (isinstance(scores, Tensor) and scores.ndim == 4) or isinstance(scores, Mapping):
        raise NetworkError(
            say(
                "The network gives {shape}, as for segmentation, not one score for each class: its heat maps need a "
                "region (segment_heat_maps).",
                shape=shape,
            )
        )
    raise NetworkError(
        say("The network must give one score for each class, (images, classes), not {shape}.", shape=shape)
    )


def _choose(calls: list[_Call], scores: Tensor, size: Grid, narrowest: bool) -> str:
    calls, past = _leading_to(scores, [call for call in calls if call.changed], size)
    names = [call.name for call in calls]
    patches = _patch_grid(calls)
    layouts = [None if id(call) in past else _layout(call.output, size, patches) for call in calls]
    grids = [layout.grid if layout else None for layout in layouts]
    pooled = {id(call.output) for call in calls if isinstance(call.module, _POOLING)}
    attentions = [i for i, call in enumerate(calls) if _is_attention(call)]
    convolutions = [
        i for i, call in enumerate(calls) if isinstance(call.module, nn.Conv2d) and grids[i] is not None
    ]
    end = len(calls)
    if attentions and (not convolutions or attentions[-1] > convolutions[-1]):
        reference = None if _unrolled(calls) else _attended(calls, grids, attentions[-1])
        if reference is not None and names.count(calls[reference].name) == 1:
            return calls[reference].name
        raise NetworkError(
            say(
                "No layer for the heat map was found in this transformer: name one (such as the normalisation "
                "before the last attention)."
            )
        )
    if convolutions and _makes_scores(calls, convolutions[-1], scores):
        end = convolutions.pop()
    if convolutions:
        last = convolutions[-1]
        if narrowest:
            last = min(reversed(convolutions), key=lambda i: _cells(grids[i]))
        wanted = grids[last]
        for i in range(end - 1, last - 1, -1):
            if grids[i] == wanted and id(calls[i].output) not in pooled and names.count(calls[i].name) == 1:
                return calls[i].name
    raise NetworkError(
        say(
            "No layer for the heat map was found: no convolution of the network has an output of more than one "
            "cell for images of {height} x {width} px. Give larger images, or name a layer.",
            height=size[0],
            width=size[1],
        )
    )


def _cells(grid: Grid | None) -> int:
    return grid[0] * grid[1] if grid else 0


def _leading_to(scores: Tensor, calls: list[_Call], size: Grid) -> tuple[list[_Call], set[int]]:
    """Leave out side branches; and the ids of those calls whose tokens no longer reach the scores.

    Outputs without a graph (computed under `no_grad`) are given the benefit.
    """
    asked = [call for call in calls if call.output is not None and call.output.requires_grad]
    if not scores.requires_grad or not asked:
        return calls, set()
    # each score with a weight of its own: of scores that always have the same sum, the sum has no gradient
    weights = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype)
    gradients = torch.autograd.grad(
        (scores * weights).sum(), [c.output for c in asked if c.output is not None], allow_unused=True
    )
    aside = {id(call) for call, gradient in zip(asked, gradients, strict=True) if gradient is None}
    # behind the last attention of a class token the other tokens' gradients are 0
    patches = _patch_grid(calls)
    reaching = {
        id(call): bool(layout.to_maps(gradient).any())
        for call, gradient in zip(asked, gradients, strict=True)
        if gradient is not None
        and (layout := _layout(call.output, size, patches)) is not None
        and layout.kind == "tokens"
    }
    # of a network whose head is still 0, none reach them
    past = {call for call, there in reaching.items() if not there} if any(reaching.values()) else set()
    return [call for call in calls if id(call) not in aside], past


def _makes_scores(calls: list[_Call], index: int, scores: Tensor) -> bool:
    convolution = calls[index].module
    assert isinstance(convolution, nn.Conv2d)
    return (
        convolution.kernel_size == (1, 1)
        and convolution.out_channels == scores.shape[1]
        and not any(isinstance(call.module, nn.Linear) for call in calls[index:])
    )


def _is_attention(call: _Call) -> bool:
    # every library writes its own attention; the word in the class name is what they share. Short forms count over
    # tokens only: convolutional networks have modules of such names that weight channels.
    name = type(call.module).__name__.lower()
    short = any(word in name for word in ("attn", "mhsa", "gpsa"))
    return "attention" in name or (short and call.source is not None and call.source.ndim == 3)


def _attended(calls: list[_Call], grids: list[Grid | None], attention: int) -> int | None:
    """The call that made what the attention reads, or, where that is cut into windows first, the nearest."""
    inside = calls[attention].name + "."
    before = [i for i in range(attention) if grids[i] and not calls[i].name.startswith(inside)]
    same = [i for i in before if calls[i].output is calls[attention].source]
    return max(same or before, default=None)


def _patch_grid(calls: list[_Call]) -> Grid | None:
    """The grid that a transformer's tokens come from: the output of its last convolution."""
    if _unrolled(calls):
        return None
    for call in reversed(calls):
        if isinstance(call.module, nn.Conv2d) and call.output is not None and call.output.ndim == 4:
            return int(call.output.shape[2]), int(call.output.shape[3])
    return None


def _unrolled(calls: list[_Call]) -> bool:
    """Whether the tokens are in another order than the grid's: Hiera's (timm.models.hiera.Unroll)."""
    return any(type(call.module).__name__ == "Unroll" for call in calls)


def _image_size(batch: Tensor) -> Grid:
    return int(batch.shape[-2]), int(batch.shape[-1])


def _layout(output: Tensor | None, size: Grid, patches: Grid | None, images: int = 1) -> Layout | None:
    """How an output of so many images holds a map of more than one cell, or None."""
    if output is None or output.ndim == 0 or len(output) != images:
        return None
    if output.ndim == 4:
        _, a, b, c = (int(n) for n in output.shape)
        if _same_aspect((b, c), size):
            return Layout((b, c)) if b * c > 1 else None
        if _same_aspect((a, b), size) and a * b > 1:
            return Layout((a, b), "channels last")
    if output.ndim == 3 and patches is not None:
        prefix = int(output.shape[1]) - patches[0] * patches[1]
        if 0 <= prefix <= 16 and patches[0] * patches[1] > 1:  # class token and registers, at most a few
            return Layout(patches, "tokens", prefix)
    return None


def _same_aspect(grid: Grid, size: Grid) -> bool:
    """Whether a grid can be an image's map: shrunk alike along both axes, but for rounding."""
    step_y, step_x = size[0] / grid[0], size[1] / grid[1]
    return max(step_y, step_x) <= 2 * min(step_y, step_x)
