"""What TorchScript does with plain values: numbers, texts, lists and None; not with tensors, whose operations are torch's."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing.code import UnreadableError

_LONGEST = 1_000_000  # items of a list, letters of a text


def items(value: Any) -> Any:
    """A list, tuple, text or map; not a tensor, whose rows would be tensors each.

    Raises
    ------
    UnreadableError
        If it is none.
    """
    if isinstance(value, list | tuple | str | dict):
        return value
    raise UnreadableError(say("it takes something for a list that is none"))


def number(value: Any) -> Any:
    """A number, or a tensor of them; else `UnreadableError`."""
    if isinstance(value, int | float | Tensor):
        return value
    raise UnreadableError(say("it reckons with something that is no number"))


def small(value: Any) -> Any:
    """A number that fits torch's 64 bits, or a list that fits the memory; a range becomes a list."""
    if isinstance(value, range | list | tuple | str) and len(value) > _LONGEST:
        raise UnreadableError(say("it makes a list of {count} items", count=len(value)))
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UnreadableError(say("it makes a number of more than 64 bits"))
    return list(value) if isinstance(value, range) else value


PLAIN: Mapping[str, Callable[..., Any]] = {
    "len": len, "__getitem__": lambda given, place: items(given)[place],
    "__contains__": lambda given, item: item in items(given), "__is__": operator.is_,
    "__isnot__": operator.is_not, "__not__": operator.not_, "eq": operator.eq, "ne": operator.ne,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "add": operator.add,
    "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "floordiv": operator.floordiv,
    "remainder": operator.mod, "neg": operator.neg, "Int": int, "Float": float, "Bool": bool, "floor": lambda v: int(v // 1),
    "ceil": lambda v: -int(-v // 1), "list": lambda given: list(items(given)), "append": lambda given, item: [given.append(item), given][1],
    "__and__": operator.and_, "__or__": operator.or_, "ScalarImplicit": lambda v: v.item(),
    "IntImplicit": lambda v: int(v), "FloatImplicit": lambda v: float(v), "format": lambda *_: "", "warn": lambda *_: None,
    "max": max, "min": min, "str": str,
}  # fmt: skip
"""What TorchScript calls on numbers, lists and None."""

ALWAYS_PLAIN = frozenset(
    "len __getitem__ __contains__ __is__ __isnot__ __not__ Int Float Bool list append ScalarImplicit IntImplicit "
    "FloatImplicit format warn".split()
)

PRIMITIVES: Mapping[str, Callable[..., Any]] = {
    "NumToTensor": lambda v: torch.tensor(number(v)), "dtype": lambda x: x.dtype, "device": lambda x: x.device, "min": min, "max": max,
    "layout": lambda x: x.layout, "unchecked_unwrap_optional": lambda x: x, "is_cuda": lambda x: x.is_cuda,
}  # fmt: skip

NUMBERS = frozenset("sub mul div floordiv remainder neg floor ceil".split())
"""Plain operations on numbers alone."""
