"""Operations of torch that the walk of TorchScript knows, and what it demands of their arguments before each call.

Torch's kernels trust one another: those that are meant to be called by other operations (backward passes, ``native_...``)
read and write wherever their arguments say. Here the arguments come from a stranger's file. An operation is in `PURE` only
if it compares shapes and indices itself, or `refuse_odd` does it before the call, or `INSTEAD` has another way to its
result, through autograd, whose own bookkeeping keeps the arguments in step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing.code import UnreadableError

PURE = frozenset(
    """abs acos adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d add add_ addcdiv
    addcmul addmm all alpha_dropout amax amin any arange argmax argmin argsort as_tensor asin atan atan2 avg_pool1d
    avg_pool2d avg_pool2d_backward avg_pool3d baddbmm batch_norm bilinear bitwise_and bitwise_not bitwise_or bmm
    broadcast_tensors broadcast_to bucketize cat ceil celu chunk clamp clamp_ clamp_max clamp_max_ clamp_min
    clamp_min_ clone concat constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution copy_ cos cosh cross cumprod cumsum detach diag diagonal dim
    div div_ dot dropout dropout_ einsum elu elu_ embedding empty empty_like eq erf exp expand expand_as expm1 eye
    fill fill_ flatten flip floor floor_divide fmod frac full full_like gather ge gelu gelu_backward glu grid_sampler
    grid_sampler_2d group_norm gt hardshrink hardsigmoid hardsigmoid_ hardsigmoid_backward hardswish hardswish_
    hardswish_backward hardtanh hardtanh_ hardtanh_backward im2col index index_put index_select instance_norm
    is_floating_point isfinite isinf isnan item kthvalue layer_norm le leaky_relu leaky_relu_ leaky_relu_backward
    lerp linear linspace log log10 log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or logsumexp
    lt masked_fill masked_fill_ matmul max max_pool1d max_pool2d max_pool2d_with_indices
    max_pool2d_with_indices_backward max_pool3d maximum mean median meshgrid min minimum mish mm movedim mul mul_
    multiply mv narrow native_batch_norm native_group_norm native_layer_norm ne neg new_empty
    new_full new_ones new_zeros norm numel one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu
    prod reciprocal reflection_pad1d reflection_pad2d relu relu6 relu6_ relu_ remainder repeat repeat_interleave
    replication_pad2d replication_pad3d reshape reshape_as roll round rsqrt rsub scalar_tensor scatter scatter_add
    select select_backward selu selu_ sigmoid sigmoid_ sigmoid_backward sign silu silu_ silu_backward sin sinh size slice
    slice_backward softmax softplus softshrink sort split split_with_sizes sqrt square squeeze squeeze_ stack
    std std_mean sub sub_ sum t tan tanh tanh_ tanh_backward tensor tensor_split threshold threshold_backward tile to
    topk transpose tril triu true_divide type_as unbind unflatten unfold unsqueeze unsqueeze_ upsample_bicubic2d
    upsample_bilinear2d upsample_bilinear2d_backward upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest2d_backward upsample_nearest3d upsample_trilinear3d var var_mean view view_as where zero_ zeros
    zeros_like _convolution _convolution_mode _softmax _log_softmax _softmax_backward_data _adaptive_avg_pool2d
    _adaptive_avg_pool2d_backward _to_copy _unsafe_view rms_norm scaled_dot_product_attention
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_nearest_exact2d alias""".split()
)
"""Operations of torch (aten) that take and give tensors and plain values, and touch nothing else."""

DTYPES = {
    0: torch.uint8, 1: torch.int8, 2: torch.int16, 3: torch.int32, 4: torch.int64, 5: torch.float16, 6: torch.float32,
    7: torch.float64, 11: torch.bool, 15: torch.bfloat16,
}  # fmt: skip
"""Types of numbers by the number that TorchScript has for them; with others torch reads past the end of its tables."""

_FORMATS = (0, 1, 2, 3)  # of memory: contiguous, as it was, channels last
_MOST = 2**20  # of a stride, a border and the like: kernels reckon with 32 bits
_MOST_PARTS = 10_000  # tensors that one tensor is taken apart into

Arguments = Sequence[Any]


def refuse_odd(name: str, args: Arguments, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that an operation's kernel would follow out of its tensors.

    Raises
    ------
    UnreadableError
        If there are any, with the operation.
    """
    names, kinds = _parameters(name)
    for key, value in kwargs.items():
        _demand(name, key in names)  # others are tensors to write into
        _demand(name, _known(key, value))
    for place, kind in kinds.items():
        if place < len(args) and isinstance(args[place], int) and not isinstance(args[place], bool):
            _demand(name, args[place] in (DTYPES if kind == "dtype" else _FORMATS))
    check = _CHECKS.get(name)
    if check is not None:
        try:
            check(name, *args, **kwargs)
        except (TypeError, AttributeError, IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
            raise _odd(name) from error


def _known(key: str, value: Any) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return True
    if key.endswith("dtype"):
        return value in DTYPES
    return {"layout": value == 0, "memory_format": value in _FORMATS}.get(key, True)


@cache
def _parameters(name: str) -> tuple[frozenset[str], Mapping[int, str]]:
    """Names of an operation's parameters but for those that it writes into; places of types and formats."""
    packet = getattr(torch.ops.aten, name)
    names: set[str] = set()
    kinds: dict[int, str] = {}
    for overload in packet.overloads():
        arguments = getattr(packet, overload)._schema.arguments
        if any(argument.is_out for argument in arguments):
            continue
        for place, argument in enumerate(arguments):
            names.add(argument.name)
            kind = str(argument.real_type)
            if not argument.kwarg_only and ("ScalarType" in kind or "MemoryFormat" in kind):
                kinds[place] = "dtype" if "ScalarType" in kind else "format"
    return frozenset(names), kinds


def _odd(name: str) -> UnreadableError:
    return UnreadableError(say("its {operation} has arguments that do not fit one another", operation=name))


def _demand(name: str, good: bool) -> None:
    if not good:
        raise _odd(name)


# ---- what is demanded


def _list(value: Any) -> list[int]:
    found = [value] if isinstance(value, int) else list(value)
    if not all(isinstance(one, int) for one in found):
        raise TypeError
    return found


def _between(value: Any, low: int, axes: int) -> bool:
    """Whether it is one whole number, or one for each axis, of a size that kernels reckon with."""
    found = _list(value)
    return len(found) in (1, axes) and all(low <= one <= _MOST for one in found)


def _floating(*tensors: Tensor | None) -> bool:
    kinds = {tensor.dtype for tensor in tensors if tensor is not None}
    return all(kind.is_floating_point for kind in kinds)


def _pool(
    name: str, x: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, *rest: Any, **more: Any
) -> None:
    axes = int(next(letter for letter in name if letter.isdigit()))
    _demand(name, x.dim() in (axes + 1, axes + 2) and _between(kernel_size, 1, axes))
    _demand(name, not isinstance(stride, list | tuple) or not stride or _between(stride, 1, axes))
    _demand(name, isinstance(stride, list | tuple) or _between(stride, 1, axes))
    _demand(name, _between(padding, 0, axes))
    if name.startswith("max"):
        dilation = rest[0] if rest else more.get("dilation", 1)
        _demand(name, _between(dilation, 1, axes))
    else:
        divisor = rest[2] if len(rest) > 2 else more.get("divisor_override")
        _demand(name, divisor is None or 1 <= divisor <= 2**31 - 1)


def _convolution(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    *rest: Any, **more: Any,
) -> None:  # fmt: skip
    axes = weight.dim() - 2
    if name in ("convolution", "_convolution"):
        dilation, transposed, output_padding, groups = rest[:4]
    elif "transpose" in name:
        transposed = True
        given = dict(zip(("output_padding", "groups", "dilation"), rest, strict=False)) | more
        output_padding, groups = given.get("output_padding", 0), given.get("groups", 1)
        dilation = given.get("dilation", 1)
    else:
        transposed, output_padding = False, 0
        given = dict(zip(("dilation", "groups"), rest, strict=False)) | more
        dilation, groups = given.get("dilation", 1), given.get("groups", 1)
    _demand(name, 1 <= axes <= 3 and x.dim() in (axes + 1, axes + 2) and 1 <= groups <= _MOST)
    _demand(name, _between(stride, 1, axes) and _between(dilation, 1, axes))
    _demand(name, padding in ("same", "valid") or _between(padding, 0, axes))
    _demand(name, _between(output_padding, 0, axes))
    inner, outer = (weight.shape[0], weight.shape[1] * groups) if transposed else (weight.shape[1] * groups, weight.shape[0])  # fmt: skip
    _demand(
        name, x.shape[x.dim() - axes - 1] == inner and weight.numel() > 0 and weight.shape[0] % groups == 0
    )
    _demand(name, bias is None or tuple(bias.shape) == (outer,))
    _demand(name, _floating(x, weight, bias) and x.dtype == weight.dtype)


def _batch_norm(
    name: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None,
    own: bool, *_: Any, **__: Any,
) -> None:  # fmt: skip
    _demand(name, x.dim() >= 2 and _floating(x, weight, bias, mean, variance))
    length = (x.shape[1],)
    _demand(name, all(t is None or tuple(t.shape) == length for t in (weight, bias, mean, variance)))
    _demand(name, own or (mean is not None and variance is not None))
    if name == "native_batch_norm":  # in training it gives statistics that nothing here needs
        _demand(name, not own)


def _layer_norm(
    name: str, x: Tensor, shape: Any, weight: Tensor | None = None, bias: Any = None, *_: Any, **__: Any
) -> None:
    sides = tuple(_list(shape))
    tensors = (weight, bias if isinstance(bias, Tensor) else None)
    _demand(name, 0 < len(sides) <= x.dim() and tuple(x.shape[x.dim() - len(sides) :]) == sides)
    _demand(name, all(t is None or tuple(t.shape) == sides for t in tensors) and _floating(x, *tensors))


def _group_norm(
    name: str, x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any
) -> None:  # fmt: skip
    _demand(name, x.dim() >= 2 and groups >= 1 and x.shape[1] % groups == 0 and _floating(x, weight, bias))
    _demand(name, all(t is None or tuple(t.shape) == (x.shape[1],) for t in (weight, bias)))


def _native_group_norm(
    name: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, cells: int, groups: int, eps: float
) -> None:  # fmt: skip
    _group_norm(name, x, groups, weight, bias)
    _demand(name, (n, c, cells) == (x.shape[0], x.shape[1], math.prod(x.shape[2:])))


def _upsample(name: str, x: Tensor, output_size: Any, *rest: Any, **more: Any) -> None:
    axes = int(next(letter for letter in name if letter.isdigit()))
    _demand(name, x.dim() == axes + 2 and min(x.shape[2:]) > 0)
    _refuse_odd_scales(name, x.shape[2:], output_size, rest, more)


def _refuse_odd_scales(
    name: str, sides: Sequence[int], output_size: Any, rest: Arguments, more: Mapping[str, Any]
) -> None:
    """A ratio that is not that of the sizes would lead kernels to pixels that are not there."""
    given = [value for value in rest if not isinstance(value, bool)]
    given += [more.get(key) for key in ("scales", "scales_d", "scales_h", "scales_w") if key in more]
    factors = next(
        (one for one in (*given, more.get("scale_factors")) if isinstance(one, list | tuple)), None
    )
    if output_size is None:
        _demand(name, factors is not None and len(factors) == len(sides))
        _demand(name, all(2.0**-12 <= float(one) <= 2.0**12 for one in factors or ()))
        return
    wanted = _list(output_size)
    _demand(name, factors is None and len(wanted) == len(sides))
    _demand(name, all(1 <= one <= _MOST for one in wanted))
    ratios = [value for value in given if value is not None]
    _demand(name, len(ratios) in (0, len(sides)))
    for ratio, side, out in zip(ratios, sides, wanted, strict=False):
        _demand(name, ratio > 0 and abs(side * ratio - out) <= 1)


def _upsample_backward(
    name: str, gradient: Tensor, output_size: Any, input_size: Any, *rest: Any, **more: Any
) -> None:
    sides = _list(input_size)
    _demand(name, len(sides) == 4 and all(1 <= one <= _MOST for one in sides))
    _demand(name, tuple(gradient.shape) == (*sides[:2], *_list(output_size)))
    _refuse_odd_scales(name, sides[2:], output_size, rest, more)


def _im2col(name: str, x: Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> None:
    _demand(name, x.dim() in (3, 4) and all(_between(value, 1, 2) for value in (kernel, dilation, stride)))
    _demand(name, _between(padding, 0, 2))


def _attention(
    name: str, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any,
    enable_gqa: bool = False, **__: Any,
) -> None:  # fmt: skip
    _demand(name, query.dim() == key.dim() == value.dim() and 2 <= query.dim() <= 5 and not enable_gqa)
    _demand(name, query.shape[:-2] == key.shape[:-2] == value.shape[:-2])
    _demand(name, query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2])
    _demand(name, _floating(query, key, value) and query.dtype == key.dtype == value.dtype)
    _demand(name, min(*query.shape, *value.shape) > 0)
    if attn_mask is not None:
        wanted = (*query.shape[:-1], key.shape[-2])
        _demand(name, attn_mask.dim() <= len(wanted) and attn_mask.dtype in (torch.bool, query.dtype))
        _demand(name, all(a in (1, b) for a, b in zip(attn_mask.shape[::-1], wanted[::-1], strict=False)))


def _grid(name: str, x: Tensor, grid: Tensor, mode: int, padding: int, corners: bool) -> None:
    _demand(name, mode in (0, 1, 2) and padding in (0, 1, 2) and x.dim() == grid.dim() == 4)
    _demand(name, x.shape[0] == grid.shape[0] and grid.shape[3] == 2 and min(x.shape) > 0)
    # where such a place would be is not defined
    _demand(name, x.dtype == grid.dtype and _floating(x) and bool(grid.abs().max() < 2**30))


def _embedding(name: str, weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> None:
    _demand(name, weight.dim() == 2 and indices.dtype in (torch.int32, torch.int64))


def _alike(name: str, *args: Any, **kwargs: Any) -> None:
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    _demand(
        name, len(tensors) >= 2 and len({(t.shape, t.dtype) for t in tensors}) == 1 and _floating(*tensors)
    )


def _softmax_backward(name: str, gradient: Tensor, output: Tensor, dim: int, input_dtype: Any) -> None:
    _alike(name, gradient, output)
    _demand(name, -output.dim() <= dim < max(1, output.dim()) and output.numel() > 0)
    _demand(name, (DTYPES.get(input_dtype) if isinstance(input_dtype, int) else input_dtype) == output.dtype)


def _max_pool_backward(
    name: str, gradient: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: Tensor
) -> None:  # fmt: skip
    _pool("max_pool2d", x, kernel, stride, padding, dilation, ceil)
    _demand(name, gradient.shape == indices.shape and _floating(x, gradient) and gradient.dtype == x.dtype)
    _demand(
        name,
        gradient.dim() == x.dim() and gradient.shape[:-2] == x.shape[:-2] and indices.dtype == torch.int64,
    )


def _avg_pool_backward(
    name: str, gradient: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil: bool, count: bool, divisor: Any
) -> None:  # fmt: skip
    _pool("avg_pool2d", x, kernel, stride, padding, ceil, count, divisor)
    _demand(
        name, gradient.dim() == x.dim() and gradient.shape[:-2] == x.shape[:-2] and _floating(x, gradient)
    )
    _demand(name, gradient.dtype == x.dtype)


def _adaptive_backward(name: str, gradient: Tensor, x: Tensor) -> None:
    _demand(name, x.dim() in (3, 4) and gradient.dim() == x.dim() and gradient.shape[:-2] == x.shape[:-2])
    _demand(name, gradient.dtype == x.dtype and _floating(x) and min(*x.shape, *gradient.shape) > 0)


def _within(name: str, grown: Any, input_sizes: Any, *_: Any) -> None:
    _demand(name, isinstance(grown, Tensor) and all(0 <= side <= 2**31 for side in _list(input_sizes)))


def _factor(name: str, x: Tensor, factor: int) -> None:
    _demand(name, 1 <= factor <= _MOST and x.dim() >= 3)


def _parts(name: str, x: Tensor, *args: Any, **kwargs: Any) -> None:
    dim = kwargs.get("dim", args[0 if name == "unbind" else 1] if len(args) > (name != "unbind") else 0)
    side = x.shape[dim]
    if name == "unbind":
        count = side
    else:
        first = args[0] if args else next(iter(kwargs.values()))
        if isinstance(first, Tensor):
            count = int(first) if first.dim() == 0 else first.numel()
        elif isinstance(first, list | tuple):
            count = len(first)
        else:
            _demand(name, first >= 1)
            count = -(-side // first) if name == "split" else first
    _demand(name, count <= _MOST_PARTS)


def _no_more(name: str, *args: Any, **kwargs: Any) -> None:
    """Lists of tensors multiply their sizes."""
    tensors = args[0] if len(args) == 1 else args
    _demand(name, len(tensors) <= 64)


_CHECKS: Mapping[str, Callable[..., None]] = {
    **dict.fromkeys("avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices".split(), _pool),
    **dict.fromkeys(
        """conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution
        _convolution_mode""".split(),
        _convolution,
    ),
    **dict.fromkeys("batch_norm instance_norm native_batch_norm".split(), _batch_norm),
    **dict.fromkeys("layer_norm native_layer_norm rms_norm".split(), _layer_norm),
    "group_norm": _group_norm, "native_group_norm": _native_group_norm,
    **dict.fromkeys(
        """upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
        upsample_nearest3d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
        _upsample_nearest_exact2d""".split(),
        _upsample,
    ),
    **dict.fromkeys("upsample_bilinear2d_backward upsample_nearest2d_backward".split(), _upsample_backward),
    **dict.fromkeys(
        """gelu_backward hardsigmoid_backward hardswish_backward hardtanh_backward leaky_relu_backward sigmoid_backward
        silu_backward tanh_backward threshold_backward""".split(),
        _alike,
    ),
    **dict.fromkeys("select_backward slice_backward".split(), _within),
    **dict.fromkeys("grid_sampler grid_sampler_2d".split(), _grid),
    **dict.fromkeys("pixel_shuffle pixel_unshuffle".split(), _factor),
    **dict.fromkeys("unbind split split_with_sizes chunk tensor_split".split(), _parts),
    **dict.fromkeys("meshgrid broadcast_tensors".split(), _no_more),
    "im2col": _im2col, "scaled_dot_product_attention": _attention, "embedding": _embedding,
    "_softmax_backward_data": _softmax_backward, "max_pool2d_with_indices_backward": _max_pool_backward,
    "avg_pool2d_backward": _avg_pool_backward, "_adaptive_avg_pool2d_backward": _adaptive_backward,
}  # fmt: skip


# ---- other ways to the same result


def _gradient(name: str, forward: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of an operation's input, by autograd: what it keeps of the forward pass fits the backward pass."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().requires_grad_()
        made = forward(leaf)
        _demand(name, made.shape == gradient.shape)
        (found,) = torch.autograd.grad(made, leaf, gradient.clone())
    return found


def _max_pool_gradient(
    gradient: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: Tensor
) -> Tensor:  # fmt: skip
    name = "max_pool2d_with_indices_backward"
    own = torch.ops.aten.max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil)[1]
    _demand(name, torch.equal(own, indices))  # of this very pooling
    return _gradient(
        name,
        lambda leaf: torch.ops.aten.max_pool2d_with_indices(leaf, kernel, stride, padding, dilation, ceil)[0],
        x,
        gradient,
    )


def _avg_pool_gradient(gradient: Tensor, x: Tensor, *rest: Any) -> Tensor:
    return _gradient("avg_pool2d_backward", lambda leaf: torch.ops.aten.avg_pool2d(leaf, *rest), x, gradient)


def _adaptive_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    sides = list(gradient.shape[-2:])
    return _gradient(
        "_adaptive_avg_pool2d_backward",
        lambda leaf: torch.ops.aten._adaptive_avg_pool2d(leaf, sides),
        x,
        gradient,
    )


def _upsample_gradient(kind: str) -> Callable[..., Tensor]:
    forward = getattr(torch.ops.aten, kind)

    def found(gradient: Tensor, output_size: Any, input_size: Any, *rest: Any, **more: Any) -> Tensor:
        x = gradient.new_zeros(input_size)
        return _gradient(
            f"{kind}_backward", lambda leaf: forward(leaf, output_size, *rest, **more), x, gradient
        )

    return found


def _nothing_left(made: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def found(*args: Any, memory_format: Any = None, **kwargs: Any) -> Tensor:
        return made(*args, **kwargs)

    return found


INSTEAD: Mapping[str, Callable[..., Any]] = {
    "max_pool2d_with_indices_backward": _max_pool_gradient,
    "avg_pool2d_backward": _avg_pool_gradient,
    "_adaptive_avg_pool2d_backward": _adaptive_gradient,
    "upsample_bilinear2d_backward": _upsample_gradient("upsample_bilinear2d"),
    "upsample_nearest2d_backward": _upsample_gradient("upsample_nearest2d"),
    # else they hold what the memory held before
    "empty": _nothing_left(torch.ops.aten.zeros),
    "empty_like": _nothing_left(torch.ops.aten.zeros_like),
    "new_empty": _nothing_left(torch.ops.aten.new_zeros),
}
"""Operations that are reckoned in another way than by their own kernels."""
