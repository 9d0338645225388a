"""TorchScript run without ``torch.jit``: its code is walked, and each operation it names is one of a list.

``torch.jit.load`` runs code of the file at once, and the file's code may name operations that write files. Here only
assignments, branches, loops and calls of the file's own functions are followed, and of torch's operations only those
in `PURE`, which take and give tensors and plain values. Whatever else a file names is refused by its name.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing.code import Script, TooLargeError, UnreadableError, dotted
from mikata.networks.importing.refusals import first_line
from mikata.networks.memory import is_out_of_memory
from mikata.networks.torchscript import ScriptedModule

PURE = frozenset(
    """abs acos adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d add add_ addcdiv
    addcmul addmm all alpha_dropout amax amin any arange argmax argmin argsort as_tensor asin atan atan2 avg_pool1d
    avg_pool2d avg_pool2d_backward avg_pool3d baddbmm batch_norm bilinear bitwise_and bitwise_not bitwise_or bmm
    broadcast_tensors broadcast_to bucketize cat ceil celu chunk clamp clamp_ clamp_max clamp_max_ clamp_min
    clamp_min_ clone concat constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution convolution_backward copy_ cos cosh cross cumprod cumsum detach diag diagonal dim
    div div_ dot dropout dropout_ einsum elu elu_ embedding empty empty_like eq erf exp expand expand_as expm1 eye
    fill fill_ flatten flip floor floor_divide fmod frac full full_like gather ge gelu gelu_backward glu grid_sampler
    grid_sampler_2d group_norm gt hardshrink hardsigmoid hardsigmoid_ hardsigmoid_backward hardswish hardswish_
    hardswish_backward hardtanh hardtanh_ hardtanh_backward im2col index index_put index_select instance_norm
    is_floating_point isfinite isinf isnan item kthvalue layer_norm le leaky_relu leaky_relu_ leaky_relu_backward
    lerp linear linspace log log10 log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or logsumexp
    lt masked_fill masked_fill_ matmul max max_pool1d max_pool2d max_pool2d_with_indices
    max_pool2d_with_indices_backward max_pool3d maximum mean median meshgrid min minimum mish mm movedim mul mul_
    multiply mv narrow native_batch_norm native_batch_norm_backward native_group_norm native_layer_norm ne neg new_empty
    new_full new_ones new_zeros norm numel one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu
    prod reciprocal reflection_pad1d reflection_pad2d relu relu6 relu6_ relu_ remainder repeat repeat_interleave
    replication_pad2d replication_pad3d reshape reshape_as roll round rsqrt rsub scalar_tensor scatter scatter_add
    select select_backward selu selu_ sigmoid sigmoid_ sigmoid_backward sign silu silu_ silu_backward sin sinh size slice
    slice_backward softmax softplus softshrink sort split split_with_sizes sqrt square squeeze squeeze_ stack
    std std_mean sub sub_ sum t tan tanh tanh_ tanh_backward tensor tensor_split threshold threshold_backward tile to
    topk transpose tril triu true_divide type_as unbind unflatten unfold unsqueeze unsqueeze_ upsample_bicubic2d
    upsample_bilinear2d upsample_bilinear2d_backward upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest2d_backward upsample_nearest3d upsample_trilinear3d var var_mean view view_as where zero_ zeros
    zeros_like _convolution _softmax _log_softmax _softmax_backward_data _adaptive_avg_pool2d
    _adaptive_avg_pool2d_backward _to_copy _unsafe_view rms_norm scaled_dot_product_attention
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_nearest_exact2d _native_batch_norm_legit_no_training alias""".split()
)
"""Operations of torch (aten) that take and give tensors and plain values, and touch nothing else."""

_PLAIN: Mapping[str, Callable[..., Any]] = {
    "len": len, "__getitem__": operator.getitem, "__contains__": operator.contains, "__is__": operator.is_,
    "__isnot__": operator.is_not, "__not__": operator.not_, "eq": operator.eq, "ne": operator.ne,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "add": operator.add,
    "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "floordiv": operator.floordiv,
    "remainder": operator.mod, "neg": operator.neg, "Int": int, "Float": float, "Bool": bool, "floor": lambda v: int(v // 1),
    "ceil": lambda v: -int(-v // 1), "list": list, "append": lambda items, item: [items.append(item), items][1],
    "__and__": operator.and_, "__or__": operator.or_, "ScalarImplicit": lambda v: v.item(),
    "IntImplicit": lambda v: int(v), "FloatImplicit": lambda v: float(v), "format": lambda *_: "", "warn": lambda *_: None,
    "max": max, "min": min, "str": str,
}  # fmt: skip
"""What TorchScript calls on numbers, lists and None."""

_ALWAYS_PLAIN = frozenset(
    "len __getitem__ __contains__ __is__ __isnot__ __not__ Int Float Bool list append ScalarImplicit IntImplicit "
    "FloatImplicit format warn".split()
)

_PRIM: Mapping[str, Callable[..., Any]] = {
    "NumToTensor": torch.tensor, "dtype": lambda x: x.dtype, "device": lambda x: x.device, "min": min, "max": max,
    "layout": lambda x: x.layout, "unchecked_unwrap_optional": lambda x: x, "is_cuda": lambda x: x.is_cuda,
}  # fmt: skip

_BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip

_MOST_STEPS = 1_000_000
_DEEPEST_CALL = 64
_MOST_PLANS = 10_000
_LARGEST_TENSOR = 2**29  # numbers: 2 GB


def unknown_operations(script: Script) -> list[str]:
    """Operations that the code names and :func:`run` does not: it may have them in branches that it never takes."""
    known = {f"torch.{name}" for name in (*PURE, *_PLAIN, "tensor")} | {f"ops.prim.{name}" for name in _PRIM}
    return sorted(script.operations - known - {"ops.prim.RaiseException", "torch.device"})


class _Returned(Exception):
    """No error: how a return leaves the branches around it."""

    def __init__(self, value: Any) -> None:
        self.value = value


Plans = set[Any]
"""Operations, with the shapes and numbers they were given, whose results are known to fit the memory."""


def run(script: Script, inputs: list[Tensor], plans: Plans | None = None) -> list[Tensor]:
    """The network's outputs, without gradients.

    Parameters
    ----------
    script:
        With its tensors on the inputs' device.
    inputs:
        One tensor for each input, as its ``forward`` takes them, all on one device.
    plans:
        Of earlier runs of this script: what is in it is not planned again, and what is planned is added.

    Raises
    ------
    UnreadableError
        If it calls something that is not in the list, never ends, or an operation fails; says which.
    """
    try:
        with torch.inference_mode():
            found = _Walker(script, inputs[0].device, set() if plans is None else plans).method(
                script.top, "forward", [x.clone() for x in inputs], {}
            )
    except UnreadableError:
        raise
    except RecursionError as error:
        raise UnreadableError(say("it calls itself without end")) from error
    # operations raise all kinds of errors on arguments that do not suit them
    except Exception as error:
        kind = TooLargeError if is_out_of_memory(error) else UnreadableError
        raise kind(say("an operation in it fails ({reason})", reason=first_line(error))) from error
    outputs = list(found) if isinstance(found, list | tuple) else [found]
    if not outputs or not all(isinstance(output, Tensor) for output in outputs):
        raise UnreadableError(say("it gives something else than tensors"))
    return outputs


class _Walker:
    def __init__(self, script: Script, device: torch.device, plans: Plans) -> None:
        self._script = script
        self._planned = plans
        self._device = device
        self._steps = 0
        self._depth = 0

    def method(self, module: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if not isinstance(module, ScriptedModule):
            raise UnreadableError(say("it calls {name} of something that is no module", name=name))
        return self._function(f"{module.kind}.{name}", [module, *args], kwargs)

    def _function(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        function = self._script.functions.get(name)
        if function is None:
            raise UnreadableError(say("it calls {name}, which it does not have", name=name))
        names = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        values: dict[str, Any] = {
            key: self._value(node, {})
            for key, node in zip(names[len(names) - len(defaults) :], defaults, strict=True)
        }
        values |= dict(zip(names, args, strict=False)) | kwargs
        self._depth += 1
        if self._depth > _DEEPEST_CALL:
            raise UnreadableError(say("it calls itself without end"))
        try:
            self._block(function.body, values)
        except _Returned as returned:
            return returned.value
        finally:
            self._depth -= 1
        return None

    def _block(self, body: list[ast.stmt], names: dict[str, Any]) -> None:
        for statement in body:
            self._statement(statement, names)

    def _statement(self, statement: ast.stmt, names: dict[str, Any]) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise UnreadableError(say("it takes more than {count} steps", count=_MOST_STEPS))
        match statement:
            case ast.Assign(targets=[target], value=value):
                self._assign(target, self._value(value, names), names)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names[name] = self._value(value, names)
            case ast.Return(value=None):
                raise _Returned(None)
            case ast.Return(value=ast.expr() as value):
                raise _Returned(self._value(value, names))
            case ast.Expr(value=value):
                self._value(value, names)
            case ast.If(test=test, body=body, orelse=other):
                self._block(body if self._value(test, names) else other, names)
            case ast.While(test=test, body=body):
                while self._value(test, names):
                    self._block(body, names)
                    self._steps += 1
            case ast.For(target=ast.Name(id=name), body=body):
                for value in self._range(statement.iter, names):
                    names[name] = value
                    self._block(body, names)
            case ast.Pass():
                pass
            case _:
                raise UnreadableError(
                    say("it has a {statement} statement", statement=type(statement).__name__)
                )

    def _range(self, node: ast.expr, names: dict[str, Any]) -> Any:
        match node:
            case ast.Call(func=ast.Name(id="range"), args=args):
                return range(*(int(self._value(arg, names)) for arg in args))
        return list(self._value(node, names))

    def _assign(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                names[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for part, item in zip(targets, value, strict=True):
                    self._assign(part, item, names)
            case _:
                raise UnreadableError(
                    say("it has a {statement} statement", statement=f"{type(target).__name__} =")
                )

    def _value(self, node: ast.expr, names: dict[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=("inf" | "nan") as name) if name not in names:
                return float(name)
            case ast.Name(id=name):
                if name not in names:
                    raise UnreadableError(say("it names {name}, which it does not have", name=name))
                return names[name]
            case ast.List(elts=items):
                return [self._value(item, names) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._value(item, names) for item in items)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._value(inner, names)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._value(inner, names)
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _BINARY:
                a, b = self._value(left, names), self._value(right, names)
                return _small(_BINARY[type(kind)](_number(a), _number(b)))
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _COMPARED:
                return _COMPARED[type(kind)](self._value(left, names), self._value(right, names))
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._value(body if self._value(test, names) else other, names)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, names) for part in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(self._value(part, names) for part in parts)
            case ast.Subscript(value=inner, slice=index):
                return self._value(inner, names)[self._value(index, names)]
            case ast.Attribute():
                return self._attribute(node, names)
            case ast.Call():
                return self._call(node, names)
        raise UnreadableError(say("it has an expression of the kind {kind}", kind=type(node).__name__))

    def _attribute(self, node: ast.Attribute, names: dict[str, Any]) -> Any:
        name = dotted(node)
        if name is not None and name.startswith("CONSTANTS.c"):
            return self._script.constants[int(name.removeprefix("CONSTANTS.c"))]
        if name is not None and name.startswith("__torch__."):
            return _Named(name)
        return _member(self._value(node.value, names), node.attr)

    def _call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        function = node.func
        name = dotted(function)
        match name:
            case "annotate" | "unchecked_cast":
                return self._value(node.args[1], names)
            case "uninitialized":
                return None
            case "range":
                return _small(self._range(node, names))
        args = [self._value(argument, names) for argument in node.args]
        kwargs = {str(item.arg): self._value(item.value, names) for item in node.keywords}
        match name:
            case "getattr":
                return _member(args[0], args[1])
            case "int":
                return int(args[0])
            case "float":
                return float(args[0])
            case "bool":
                return bool(args[0])
            case "torch.device":
                return self._device  # whatever the file names
            case str() if name.startswith("torch."):
                return self._operation(name.removeprefix("torch."), args, kwargs)
            case "ops.prim.RaiseException":
                raise UnreadableError(say("it stops with '{reason}'", reason=str(args[0])[:200]))
            case str() if name.startswith("ops."):
                return _primitive(name, args)
            case str() if name.startswith("__torch__."):
                return self._function(name, args, kwargs)
        if isinstance(function, ast.Attribute):
            return self.method(self._value(function.value, names), function.attr, args, kwargs)
        called = self._value(function, names)
        if isinstance(called, _Named):
            return self._function(called.name, args, kwargs)
        raise UnreadableError(say("it calls something that is no function"))

    def _operation(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        plain = not any(_has_tensor(arg) for arg in (*args, *kwargs.values()))
        if name in _PLAIN and (name in _ALWAYS_PLAIN or plain):
            if name == "mul":  # a list times a number would be as long as it likes
                args = [_number(arg) for arg in args]
            return _small(_PLAIN[name](*args))
        if name not in PURE:
            raise UnreadableError(
                say("it names operations that are not known to be harmless ({names})", names=f"torch.{name}")
            )
        if name == "tensor":
            return torch.tensor(args[0])
        operation = getattr(torch.ops.aten, name)
        key = (name, _shapes(args), _shapes(list(kwargs.items())))
        if key not in self._planned:
            _refuse_large(name, _planned(operation, name, args, kwargs))
            if len(self._planned) < _MOST_PLANS:
                self._planned.add(key)
        result = operation(*args, **kwargs)
        _refuse_large(name, result)  # what could not be planned
        return result


_MAKERS = frozenset("arange empty eye full linspace ones scalar_tensor zeros".split())


def _planned(operation: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What an operation would give, without its numbers and their memory; None where that cannot be known."""
    planned = {key: _without_numbers(value) for key, value in kwargs.items()}
    if name in _MAKERS:
        planned["device"] = torch.device("meta")
    try:
        return operation(*map(_without_numbers, args), **planned)
    # shapes that depend on the numbers, and whatever else the operation itself will complain of
    except Exception:
        return None


def _shapes(value: Any) -> Any:
    """Shapes of tensors and all plain values, to be looked up by."""
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.dtype)
    if isinstance(value, list | tuple):
        return tuple(map(_shapes, value))
    return (type(value), value)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, torch.device):
        return torch.device("meta")
    if isinstance(value, list | tuple):
        return [_without_numbers(item) for item in value]
    return value


def _refuse_large(name: str, result: Any) -> None:
    for tensor in result if isinstance(result, list | tuple) else [result]:
        if isinstance(tensor, Tensor) and tensor.numel() > _LARGEST_TENSOR:
            raise TooLargeError(
                say("{operation} in it gives {count} numbers at once", operation=name, count=tensor.numel())
            )


def _small(value: Any) -> Any:
    """A number that fits torch's 64 bits, or a list that fits the memory; a range becomes a list."""
    if isinstance(value, range | list | str) and len(value) > _MOST_STEPS:
        raise UnreadableError(say("it makes a list of {count} items", count=len(value)))
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UnreadableError(say("it makes a number of more than 64 bits"))
    return list(value) if isinstance(value, range) else value


class _Named:
    """A function of the file, as a value."""

    def __init__(self, name: str) -> None:
        self.name = name


def _primitive(name: str, args: list[Any]) -> Any:
    last = name.removeprefix("ops.prim.")
    if last not in _PRIM or not name.startswith("ops.prim."):
        raise UnreadableError(
            say("it names operations that are not known to be harmless ({names})", names=name)
        )
    return _PRIM[last](*args)


def _member(value: Any, name: str) -> Any:
    """An attribute of a module: of nothing else, since a Python object's would lead out of the file."""
    if isinstance(value, ScriptedModule) and name in value.attributes:
        return value.attributes[name]
    raise UnreadableError(say("it names {name}, which it does not have", name=name))


def _number(value: Any) -> Any:
    if isinstance(value, int | float | Tensor):
        return value
    raise UnreadableError(say("it reckons with something that is no number"))


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))
