"""What an ONNX file says, looked through before onnxruntime reads it: whether it names other files.

An ONNX file may keep its numbers in files beside it, whose names lead wherever they like. Only the structure of the file is
followed here (protocol buffers: fields of a number, a kind and a content; the numbers are those of onnx.proto3), so that
neither the package onnx nor anything of its size is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mikata.language import say
from mikata.networks.importing.refusals import NotRunError

LARGEST = 2**31 - 1
"""Bytes: a protocol buffer's own limit."""

_INNER: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Of each kind of message, the fields that hold messages in which a tensor may be."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 64
_MOST = 5_000_000  # messages


def refuse_other_files(data: bytes) -> None:
    """Refuse an ONNX file that takes numbers from other files.

    Raises
    ------
    NotRunError
        If it does, or it is too large or damaged.
    """
    if len(data) > LARGEST:
        raise NotRunError(say("its ONNX file is too large ({size} bytes)", size=len(data)))
    left = [(memoryview(data), "model", 0)]
    seen = 0
    try:
        while left:
            message, kind, depth = left.pop()
            seen += 1
            if depth > _DEEPEST or seen > _MOST:
                raise ValueError
            for number, value in _fields(message):
                if kind == "tensor" and (
                    number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
                ):
                    raise NotRunError(
                        say("its ONNX file takes numbers from other files, which are not opened")
                    )
                inner = _INNER[kind].get(number)
                if inner is not None and isinstance(value, memoryview):
                    left.append((value, inner, depth + 1))
    except (ValueError, IndexError) as error:
        raise NotRunError(say("its ONNX file is damaged")) from error


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    at, end = 0, len(message)
    while at < end:
        key, at = _whole(message, at)
        number, kind = key >> 3, key & 7
        value: memoryview | int = 0
        if kind == 0:
            value, at = _whole(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _whole(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError
        if at > end:
            raise ValueError
        yield number, value


def _whole(message: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = message[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
        if shift > 63:
            raise ValueError
