"""A classifier whose Grad-CAM heat maps are compiled into its TorchScript, for readers without Python.

TorchScript runs forwards only, and deepImageJ without gradients. So the backward pass is written out: torch.fx's
`make_fx` runs the network forwards and backwards once and notes each operation, which gives one graph of plain
operations, and this graph is traced. A few operations of backward passes that libtorch 1.13.1 (which deepImageJ may
run) or the tracer does not take are written out in plainer ones.

The graph holds for the size that it was made at. A network that scales its images does this before it, so that any
size may come in, and the maps are brought back to that size behind it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.architecture import Classifier, SelfExplaining
from mikata.errors import NetworkError
from mikata.explanation import heat_maps, target_layer
from mikata.explanation.layers import layers_of, layout_of
from mikata.language import say
from mikata.packaging.weights import TOLERANCE, plain_attention, saved

METHOD = "Grad-CAM"


def self_explaining(classifier: Classifier, x: Tensor) -> tuple[SelfExplaining, str]:
    """The classifier with heat maps from the layer that `mikata.explanation` reads, and the layer's name.

    Parameters
    ----------
    classifier:
        On the CPU, in evaluation mode, its parameters without gradients; its weights are shared, not copied.
    x:
        (1, C, H, W), in the unit of the training images.

    Raises
    ------
    NetworkError
        If no layer has a map.
    """
    network = classifier.network
    with torch.no_grad():
        normalised = classifier.normalise(classifier.scale(x))
    name = target_layer(network, normalised)
    names = layers_of(network, name)
    held: list[Tensor] = []
    hook = network.get_submodule(names[0]).register_forward_hook(
        lambda module, args, output: held.append(output)
    )
    try:
        with torch.no_grad():
            network(normalised)
    finally:
        hook.remove()
    layout = layout_of(network, name, held[0], normalised)
    with torch.random.fork_rng(devices=[]):  # its own weights are thrown away
        twin = SelfExplaining(names, layout.kind, layout.grid, layout.prefix, **classifier.configuration)
    twin.network, twin.normalise = classifier.network, classifier.normalise
    return twin.eval(), name


def explaining_torchscript(explaining: SelfExplaining, layer: str, x: Tensor) -> bytes:
    """TorchScript that gives the outputs (1, K) and the heat maps (1, K, H, W), as a file's content.

    Parameters
    ----------
    explaining, layer:
        As `self_explaining` gives them.
    x:
        (1, C, H, W): the size it will take, unless the network scales.

    Raises
    ------
    NetworkError
        If it cannot be made, or its maps are not those of `mikata.explanation.heat_maps` on other images.
    """
    with torch.no_grad():
        inside = explaining.scale(x)
    try:
        with plain_attention(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's TorchScript deprecation, sizes that become constants
            graph = _graph(explaining, inside)
            example = x if explaining.size is None else F.pad(x, (0, 29, 0, 17), mode="replicate")
            with torch.no_grad():
                traced = torch.jit.trace(_Around(explaining, graph), example, check_trace=False)  # type: ignore[no-untyped-call]
            data = saved(traced)
    except Exception as error:  # what make_fx raises of a network that it cannot follow is of many kinds
        raise NetworkError(
            say(
                "The heat maps of {network} cannot be compiled into TorchScript: {reason}. Export it without heat maps.",
                network=explaining.configuration["network"],
                reason=(str(error) or type(error).__name__).splitlines()[0].rstrip(".。"),
            )
        ) from error
    difference = largest_difference(data, explaining, layer, [x, *others_like(x)])
    if not difference <= TOLERANCE:
        raise NetworkError(
            say(
                "{network} gives other heat maps as TorchScript (difference {difference:.2g} of the largest heat). "
                "Export it without heat maps.",
                network=explaining.configuration["network"],
                difference=difference,
            )
        )
    return data


def explains_other_sizes(torchscript: bytes, explaining: SelfExplaining, layer: str, x: Tensor) -> bool:
    """Whether the maps are right where height and width are others: of a network that scales they should be."""
    larger = [
        F.interpolate(x, (x.shape[2] + height, x.shape[3] + width), mode="nearest")
        for height, width in ((24, 41), (129, 64))
    ]
    try:
        return largest_difference(torchscript, explaining, layer, larger) <= TOLERANCE
    except (RuntimeError, AssertionError):
        return False


def largest_difference(
    torchscript: bytes, explaining: SelfExplaining, layer: str, images: Sequence[Tensor]
) -> float:
    """How far TorchScript is from the classifier's outputs and from `mikata.explanation.heat_maps`, at most.

    Outputs count as they are (values in their standard deviation), maps as a share of the largest heat of all `images`
    (1, C, H, W), so that a network with little heat is held to the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's TorchScript deprecation
        loaded = torch.jit.load(io.BytesIO(torchscript), "cpu")  # type: ignore[no-untyped-call]
    unit = 1.0 if explaining.target is None else explaining.target[1]
    away = off = top = 0.0
    for x in images:
        with torch.inference_mode():
            outputs, maps = loaded(x)
            normalised = explaining.normalise(explaining.scale(x))
        found = heat_maps(explaining.network, normalised, "all", METHOD, layer)
        expected = F.interpolate(found.grid, x.shape[-2:], mode="bilinear", align_corners=False)
        assert maps.shape == expected.shape, (maps.shape, expected.shape)
        off = max(off, float((outputs - explaining.outputs(found.logits)).abs().max()) / unit)
        away = max(away, float((maps - expected).abs().max()))
        top = max(top, float(expected.max()))
    return max(off, away / top if top else away)


def others_like(x: Tensor, count: int = 2) -> list[Tensor]:
    """Images (1, C, H, W) of chance with the range of `x`, coarse and fine, the same each time."""
    generator = torch.Generator().manual_seed(0)
    low, high = float(x.min()), float(x.max())
    made = []
    for number in range(count):
        side = 2 ** (3 + 2 * number)
        shape = (1, x.shape[1], min(side, x.shape[2]), min(side, x.shape[3]))
        coarse = low + (high - low) * torch.rand(shape, generator=generator)
        made.append(F.interpolate(coarse, x.shape[-2:], mode="nearest"))
    return made


class _Around(nn.Module):
    """Scaling before the graph where the network scales, and the maps brought to the images' size behind it."""

    def __init__(self, explaining: SelfExplaining, graph: nn.Module) -> None:
        super().__init__()
        self.size = explaining.size
        self.graph = graph

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scaled = x
        if self.size is not None:
            scaled = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=True)
        outputs, heat = self.graph(scaled)
        return outputs, F.interpolate(heat, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _graph(explaining: SelfExplaining, x: Tensor) -> nn.Module:
    from torch.fx.experimental.proxy_tensor import make_fx

    made: nn.Module = make_fx(lambda given: explaining.on_grid(given), decomposition_table=_decompositions())(
        x
    )
    return made


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """What is written out in plainer operations: backward passes whose arguments the tracer does not take."""
    from torch._decomp import get_decompositions

    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = dict(
        get_decompositions(
            [
                aten.native_layer_norm_backward,
                aten.native_batch_norm_backward,
                aten.native_group_norm_backward,
            ]
        )
    )
    table[aten.convolution_backward.default] = _convolution_backward
    return table


def _convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """The gradient of a convolution's input: the transposed convolution (Dumoulin and Visin 2016, arXiv 1603.07285)."""
    if transposed or list(wanted) != [True, False, False]:
        raise ValueError(say("it uses a kind of convolution that has not been made ready for it"))
    left = [
        x.shape[2 + axis]
        - (gradient.shape[2 + axis] - 1) * stride[axis]
        + 2 * padding[axis]
        - dilation[axis] * (weight.shape[2 + axis] - 1)
        - 1
        for axis in range(len(stride))
    ]
    given: Tensor = torch.ops.aten.convolution.default(
        gradient, weight, None, stride, padding, dilation, True, left, groups
    )
    return given, None, None
