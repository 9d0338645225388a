"""What a network of others may take of the computer while its code is walked: memory, time, numbers at once."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing.code import TooLargeError, UnreadableError

MOST_BYTES = 2**33
"""Of all tensors that a network has made and still holds."""

MOST_WORK = 2**44
"""Multiplications of one operation: a convolution cannot be stopped, and this one takes minutes."""

MOST_SECONDS = 600.0
"""Of one run: of one tile, or one image."""

MOST_ITEMS = 2**21
"""Items of all lists together that a run makes, and of one list with the lists in it that an operation takes."""

_AT_ONCE = 2**17

Plans = dict[Any, int]
"""Operations, with the shapes and numbers they were given, and the bytes of their results."""


class Held:
    """The bytes of all tensors that are still held."""

    def __init__(self) -> None:
        self.bytes = 0
        self._counts: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[Tensor]] = {}
        self._number = 0

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor until it is gone; views count once with what they are of."""
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not size:
            return
        if place not in self._counts:
            self._counts[place] = 0
            self.bytes += size
        self._counts[place] += 1
        self._number += 1
        number = self._number

        def gone(_: weakref.ref[Tensor]) -> None:
            del self._watched[number]
            self._counts[place] -= 1
            if not self._counts[place]:
                del self._counts[place]
                self.bytes -= size

        self._watched[number] = weakref.ref(tensor, gone)

    def refuse(self, more: int) -> None:
        """Refuse what would come on top.

        Raises
        ------
        TooLargeError
            If it would be too much.
        """
        if self.bytes + more > MOST_BYTES:
            raise TooLargeError(say("it would hold {size:.0f} MB at once", size=(self.bytes + more) / 2**20))


class Clock:
    """The end of a run."""

    def __init__(self) -> None:
        self._end = time.monotonic() + MOST_SECONDS

    def check(self) -> None:
        """Raise `UnreadableError` when it has come."""
        if time.monotonic() > self._end:
            raise UnreadableError(say("it takes longer than {count:.0f} seconds", count=MOST_SECONDS))


def items_of(values: Sequence[Any]) -> int:
    """How many values there are in lists within lists, each counted as often as it is met.

    A list of twice the list before it is short to write and endless to go through.

    Raises
    ------
    UnreadableError
        If there are too many.
    """
    count, left = 0, list(values)
    while left:
        value = left.pop()
        count += 1
        if isinstance(value, list | tuple):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
        if count + len(left) > _AT_ONCE:
            raise UnreadableError(say("it makes a list of {count} items", count=count + len(left)))
    return count


def new_bytes(planned: Any, given: Sequence[Any]) -> int:
    """Bytes that a planned result takes on top of what the operation was given: views take none."""
    known = {tensor.untyped_storage()._cdata for tensor in _tensors(given)}
    found = {
        storage._cdata: storage.nbytes()
        for storage in (tensor.untyped_storage() for tensor in _tensors([planned]))
        if storage._cdata not in known
    }
    return sum(found.values())


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def refuse_work(name: str, args: Sequence[Any], planned: Any) -> None:
    """Refuse an operation that would take longer, or more memory for itself, than anyone has.

    Parameters
    ----------
    planned:
        Its result, or the first of them; None where it is not known.

    Raises
    ------
    TooLargeError
        With the operation.
    """
    work, own = 0, 0
    first = planned[0] if isinstance(planned, list | tuple) and planned else planned
    size = numel(first) if isinstance(first, Tensor) else 0
    tensors = _tensors(args)
    if "conv" in name and len(tensors) > 1:
        x, weight = tensors[:2]
        work = max(size, numel(x)) * numel(weight) // max(1, weight.shape[0])
        if x.dtype == torch.float64:  # the other types are reckoned without a table of all windows
            own = (
                8 * max(size, numel(x)) // max(1, weight.shape[0]) * numel(weight) // max(1, weight.shape[1])
            )
    elif name in ("matmul", "mm", "bmm", "mv", "dot", "linear") and tensors:
        work = size * tensors[0].shape[-1]
    elif name in ("addmm", "baddbmm", "bilinear") and len(tensors) > 1:
        work = size * tensors[1].shape[-1] * (tensors[0].shape[-1] if name == "bilinear" else 1)
    elif name == "scaled_dot_product_attention" and len(tensors) > 1:
        rows = numel(tensors[0]) // max(1, tensors[0].shape[-1]) * tensors[1].shape[-2]
        work, own = 2 * rows * tensors[0].shape[-1], rows * tensors[0].itemsize
    elif "pool" in name and "adaptive" not in name and len(args) > 1:
        kernel = args[2 if "backward" in name else 1]
        kernel = kernel if isinstance(kernel, list | tuple) else [kernel] * (tensors[0].dim() - 2)
        work = 64 * size * math.prod(kernel)  # by comparison slow
    elif name == "einsum" and tensors:
        letters = _letters(str(args[0]), tensors)
        work = letters
        own = 4 * letters if len(tensors) > 2 else 0
    if work > MOST_WORK or own > MOST_BYTES:
        raise TooLargeError(say("{operation} in it takes {count:.1e} steps", operation=name, count=float(max(work, own))))  # fmt: skip


def _letters(equation: str, tensors: Sequence[Tensor]) -> int:
    """Numbers that an einsum goes through: the product of the sizes of all its letters."""
    sizes: dict[str, int] = {}
    rest = 1
    for term, tensor in zip(equation.replace(" ", "").partition("->")[0].split(","), tensors, strict=False):
        before, _, after = term.partition("...")
        count = tensor.dim() - len(before) - len(after)
        named = [*zip(before, tensor.shape, strict=False)]
        named += zip(after[::-1], tuple(tensor.shape)[::-1], strict=False)
        for letter, side in named:
            sizes[letter] = max(side, sizes.get(letter, 1))
        rest = max(rest, math.prod(tensor.shape[len(before) : len(before) + max(0, count)]))
    return rest * math.prod(sizes.values())


def numel(tensor: Tensor) -> int:
    """How many numbers, reckoned without an end: torch's own count starts anew at 64 bits."""
    return math.prod(tensor.shape)


def counted(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], int]:
    """Arguments whose result's size depends on numbers, with tensors of that size in their place; and what it has.

    Returns
    -------
    tuple
        The arguments to plan with, and the numbers of a result that cannot be planned, -1 where it can.
    """
    if name in ("index", "index_put"):
        places = [_counts(place) for place in args[1]]
        return [args[0], [one for places_of in places for one in places_of], *args[2:]], -1
    if name == "repeat_interleave":
        repeats = args[1] if len(args) > 1 else kwargs.get("repeats", args[0])
        if isinstance(repeats, Tensor):
            total = int(repeats.sum()) if repeats.numel() else 0
            if (repeats.numel() and int(repeats.min()) < 0) or kwargs.get("output_size") not in (None, total):
                raise UnreadableError(
                    say("its {operation} has arguments that do not fit one another", operation=name)
                )
            if len(args) < 2 and "repeats" not in kwargs:
                return args, total
            dim = args[2] if len(args) > 2 else kwargs.get("dim")
            side = 1 if dim is None else max(1, args[0].shape[dim])
            whole = numel(args[0]) if dim is None else numel(args[0]) // side
            each = total * (whole if repeats.numel() == 1 and dim is None else 1)
            if dim is not None:
                each = (total * side if repeats.numel() == 1 else total) * whole
            return args, each
    if name == "one_hot":
        stated = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
        classes = int(args[0].max()) + 1 if stated == -1 and args[0].numel() else stated
        return args, numel(args[0]) * max(1, classes)
    if name == "item":
        return args, 1
    return args, -1


def _counts(place: Any) -> list[Any]:
    if isinstance(place, Tensor) and place.dtype in (torch.bool, torch.uint8):
        found = torch.empty(int(place.count_nonzero()), dtype=torch.int64, device="meta")
        return [found] * place.dim()
    return [place]
