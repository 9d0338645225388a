"""TorchScript run without ``torch.jit``: its code is walked, and each operation it names is one of a list.

``torch.jit.load`` runs code of the file at once, and the file's code may name operations that write files. Here only
assignments, branches, loops and calls of the file's own functions are followed, and of torch's operations only those
in `PURE`, which take and give tensors and plain values, with arguments that `refuse_odd` lets through. Whatever else a
file names is refused by its name. Every result is planned by its shape before there is memory for it, and what a run may
take is bounded (`mikata.networks.importing.limits`).
"""

from __future__ import annotations

import ast
import operator
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing import limits
from mikata.networks.importing.code import Script, TooLargeError, UnreadableError, dotted
from mikata.networks.importing.limits import Clock, Held, Plans, items_of, new_bytes, numel, refuse_work
from mikata.networks.importing.plain_values import (
    ALWAYS_PLAIN,
    NUMBERS,
    PLAIN,
    PRIMITIVES,
    items,
    number,
    small,
)
from mikata.networks.importing.pure import DTYPES, INSTEAD, PURE, refuse_odd
from mikata.networks.importing.refusals import first_line
from mikata.networks.memory import is_out_of_memory
from mikata.networks.torchscript import ScriptedModule

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
_LARGEST_PLAN = 1000  # items of arguments that are worth keeping
_LARGEST_TENSOR = 2**29  # numbers: 2 GB


def unknown_operations(script: Script) -> list[str]:
    """Operations that the code names and :func:`run` does not: it may have them in branches that it never takes."""
    known = {f"torch.{name}" for name in (*PURE, *PLAIN, "tensor")} | {
        f"ops.prim.{name}" for name in PRIMITIVES
    }
    return sorted(script.operations - known - {"ops.prim.RaiseException", "torch.device"})


class _Returned(Exception):
    """No error: how a return leaves the branches around it."""

    def __init__(self, value: Any) -> None:
        self.value = value


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
            found = _Walker(script, inputs[0].device, {} if plans is None else plans).method(
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
        self._made = 0
        self._held = Held()
        self._clock = Clock()

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
        self._clock.check()
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
        return list(items(self._value(node, names)))

    def _assign(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                names[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for part, item in zip(targets, items(value), strict=True):
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
            case ast.List(elts=parts):
                return self._counted([self._value(part, names) for part in parts])
            case ast.Tuple(elts=parts):
                return self._counted(tuple(self._value(part, names) for part in parts))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value = self._value(inner, names)
                return self._operation("neg", [value], {}) if isinstance(value, Tensor) else -number(value)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._value(inner, names)
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _BINARY:
                a, b = number(self._value(left, names)), number(self._value(right, names))
                if isinstance(a, Tensor) or isinstance(b, Tensor):
                    return self._operation(_TENSOR_BINARY[type(kind)], [a, b], {})
                return small(_BINARY[type(kind)](a, b))
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _COMPARED:
                values = [self._value(left, names), self._value(right, names)]
                if not isinstance(kind, ast.Is | ast.IsNot):
                    if any(isinstance(value, Tensor) for value in values):
                        return self._operation(_TENSOR_COMPARED[type(kind)], values, {})
                    self._steps += items_of(values) // 16
                return _COMPARED[type(kind)](*values)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._value(body if self._value(test, names) else other, names)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, names) for part in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(self._value(part, names) for part in parts)
            case ast.Subscript(value=inner, slice=index):
                return items(self._value(inner, names))[self._value(index, names)]
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
                return self._counted(small(self._range(node, names)))
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
                items_of(args)
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

    def _counted(self, made: Any) -> Any:
        """A list, tuple or text, whose length counts."""
        self._made += len(made)
        if self._made > limits.MOST_ITEMS:
            raise UnreadableError(say("it makes a list of {count} items", count=self._made))
        return made

    def _operation(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        self._clock.check()
        count = 0 if name in _AT_A_GLANCE else items_of([*args, *kwargs.values()])
        self._steps += count // 16
        if name in PLAIN and (name in ALWAYS_PLAIN or not any(map(_has_tensor, (*args, *kwargs.values())))):
            if name in NUMBERS:  # a list times a number would be as long as it likes, and so would a text
                args = [number(arg) for arg in args]
            made = small(PLAIN[name](*args))
            fresh = isinstance(made, list | tuple | str) and name not in ("__getitem__", "append")
            return self._counted(made) if fresh else made
        if name not in PURE:
            raise UnreadableError(
                say("it names operations that are not known to be harmless ({names})", names=f"torch.{name}")
            )
        if name == "tensor":
            result = torch.tensor(args[0])
            _refuse_odd_tensor(name, result, self._device)
            self._held.hold(result)
            return result
        operation = getattr(torch.ops.aten, name)
        known = count <= _LARGEST_PLAN and name not in _BY_NUMBERS
        key = (name, _shapes(args), _shapes(list(kwargs.items()))) if known else None
        if name in _ALWAYS_JUDGED or key not in self._planned:
            refuse_odd(name, args, kwargs)
        if key is None or key not in self._planned:
            size = self._plan(operation, name, args, kwargs)
            if key is not None and len(self._planned) < _MOST_PLANS:
                self._planned[key] = size
        else:
            size = self._planned[key]
        self._held.refuse(size)
        result = INSTEAD.get(name, operation)(*args, **kwargs)
        _refuse_large(name, result)
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, Tensor):
                _refuse_odd_tensor(name, tensor, self._device)
                self._held.hold(tensor)
        return result

    def _plan(self, operation: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> int:
        """Bytes that the result will take; refuses results that would be too large or take too long."""
        given, count = limits.counted(name, args, kwargs)
        if count >= 0:
            if count > _LARGEST_TENSOR:
                raise _too_large(name, count)
            return 8 * count
        empty = [_without_numbers(value) for value in given]
        try:
            planned = _planned(operation, name, empty, kwargs)
        # what the operation itself would complain of
        except Exception as error:
            raise UnreadableError(
                say("an operation in it fails ({reason})", reason=first_line(error))
            ) from error
        _refuse_large(name, planned)
        refuse_work(name, args, planned)
        return new_bytes(planned, empty)


_AT_A_GLANCE = frozenset("len __getitem__ append __is__ __isnot__ __not__".split())
"""Plain operations that do not go through a list."""

_BY_NUMBERS = frozenset("index index_put repeat_interleave one_hot item".split())
"""Operations whose result's size depends on numbers: what was right for others is not for these."""

_ALWAYS_JUDGED = frozenset("grid_sampler grid_sampler_2d tensor_split".split())
"""Operations whose arguments' numbers are judged."""

_KNOWN_DTYPES = frozenset(DTYPES.values())

_TENSOR_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floor_divide", ast.Mod: "remainder",
}  # fmt: skip
_TENSOR_COMPARED = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
}  # fmt: skip

_MAKERS = frozenset("arange empty eye full linspace ones scalar_tensor zeros".split())


def _planned(operation: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What an operation would give, without its numbers and their memory.

    Parameters
    ----------
    args:
        Without their numbers too.
    """
    planned = {key: _without_numbers(value) for key, value in kwargs.items()}
    if name in _MAKERS:
        planned["device"] = torch.device("meta")
    return operation(*args, **planned)


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
        if isinstance(tensor, Tensor) and numel(tensor) > _LARGEST_TENSOR:
            raise _too_large(name, numel(tensor))


def _too_large(name: str, count: int) -> TooLargeError:
    return TooLargeError(say("{operation} in it gives {count} numbers at once", operation=name, count=count))


def _refuse_odd_tensor(name: str, tensor: Tensor, device: torch.device) -> None:
    """Refuse tensors that kernels treat in ways of their own: sparse, quantised, complex, or elsewhere."""
    plain = tensor.layout == torch.strided and tensor.dtype in _KNOWN_DTYPES
    if not plain or tensor.device.type not in (device.type, "cpu"):
        raise UnreadableError(say("{operation} in it gives an unusual kind of tensor", operation=name))


class _Named:
    """A function of the file, as a value."""

    def __init__(self, name: str) -> None:
        self.name = name


def _primitive(name: str, args: list[Any]) -> Any:
    last = name.removeprefix("ops.prim.")
    if last not in PRIMITIVES or not name.startswith("ops.prim."):
        raise UnreadableError(
            say("it names operations that are not known to be harmless ({names})", names=name)
        )
    items_of(args)
    return PRIMITIVES[last](*args)


def _member(value: Any, name: str) -> Any:
    """An attribute of a module: of nothing else, since a Python object's would lead out of the file."""
    if isinstance(value, ScriptedModule) and name in value.attributes:
        return value.attributes[name]
    raise UnreadableError(say("it names {name}, which it does not have", name=name))


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))
