"""Inputs and outputs of a description, the same words for formats 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mikata.networks.importing.reading import Package

_LETTERS = {"batch": "b", "channel": "c", "time": "t", "index": "i"}


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    letter:
        ``b``, ``c``, ``t``, ``i``, or a space axis' own name.
    fixed:
        Its size where it is one number, else None.
    smallest, step:
        Of a size that may vary, else None.
    reference:
        Whether its size is another axis'.
    scale:
        As the format means it: in 0.5 the size of a pixel, in 0.4 the ratio to the input. None where not stated.
    halo:
        Border of an output that is cut off, in px.
    named:
        Whether a channel axis has its channels' names.
    """

    letter: str
    fixed: int | None = None
    smallest: int | None = None
    step: int | None = None
    reference: bool = False
    scale: float | None = None
    halo: int = 0
    named: bool = True
    count: int | None = None
    """Number of a channel axis' channels, None where it is not known."""
    names: tuple[str, ...] = ()
    """Of a channel axis' channels, where they are stated."""
    halo_stated: bool = False
    """Whether the description says how wide the border is."""
    offset: float = 0.0
    """Of a size that is another axis': px of the output at both sides together, on top of that axis' size times the ratio."""


@dataclass(frozen=True)
class Step:
    """An operation before or after the network."""

    name: str
    kwargs: Mapping[str, Any]
    place: str


@dataclass(frozen=True)
class Tensor:
    """An input or output tensor; `place` is its field in the description."""

    name: str
    place: str
    output: bool
    axes: tuple[Axis, ...]
    dtype: str
    unit: str
    lowest: float | None
    highest: float | None
    words: str
    steps: tuple[Step, ...]
    test: str

    @property
    def letters(self) -> str:
        """The axes' letters together, such as ``bcyx``."""
        return "".join(axis.letter for axis in self.axes)

    @property
    def channels(self) -> int | None:
        """Number of channels, 1 without such an axis, None where it is not known."""
        return next((axis.count for axis in self.axes if axis.letter == "c"), 1)


def tensors(package: Package) -> tuple[Tensor, ...]:
    """All inputs, then all outputs; what is no map is left out (the format's own check names it)."""
    found = []
    for field in ("inputs", "outputs"):
        entries = package.description.get(field)
        for n, entry in enumerate(entries if isinstance(entries, Sequence) else ()):
            if isinstance(entry, Mapping):
                found.append(_tensor(package, entry, field, n))
    return tuple(found)


def _tensor(package: Package, entry: Mapping[str, Any], field: str, n: int) -> Tensor:
    place, output = f"{field}[{n}]", field == "outputs"
    data: Any = (
        entry.get("data")
        if not package.old
        else {"type": entry.get("data_type"), "range": entry.get("data_range")}
    )
    data = data if isinstance(data, Mapping) else {}
    ends = data.get("range")
    low, high = (_number(_at(ends, n)) for n in range(2))
    process = "postprocessing" if output else "preprocessing"
    if package.old:
        names = package.description.get(f"test_{field}")
        test = names[n] if isinstance(names, list) and len(names) > n else None
    else:
        test = entry.get("test_tensor")
    return Tensor(
        name=str(entry.get("name" if package.old else "id") or f"{field[:-1]}{n}"),
        place=place,
        output=output,
        axes=_old_axes(entry) if package.old else _axes(entry),
        dtype=str(data.get("type") or "float32"),
        unit=str(data.get("unit") or ""),
        lowest=low,
        highest=high,
        words=str(entry.get("description") or ""),
        steps=tuple(_steps(entry.get(process), "name" if package.old else "id", f"{place}.{process}")),
        test=package.source(test),
    )


def _steps(entries: Any, key: str, place: str) -> list[Step]:
    found = []
    for n, entry in enumerate(entries if isinstance(entries, Sequence) else ()):
        if isinstance(entry, Mapping):
            kwargs = entry.get("kwargs")
            found.append(
                Step(str(entry.get(key)), kwargs if isinstance(kwargs, Mapping) else {}, f"{place}[{n}]")
            )
    return found


def _axes(entry: Mapping[str, Any]) -> tuple[Axis, ...]:
    found = []
    entries = entry.get("axes")
    for axis in entries if isinstance(entries, Sequence) else ():
        if not isinstance(axis, Mapping):
            continue
        kind = str(axis.get("type"))
        size = axis.get("size")
        parts = size if isinstance(size, Mapping) else {}
        names = axis.get("channel_names")
        scale, halo = axis.get("scale"), axis.get("halo")
        fixed = size if isinstance(size, int) else None
        found.append(
            Axis(
                letter=_LETTERS.get(kind, str(axis.get("id"))),
                fixed=fixed,
                smallest=_whole(parts.get("min")),
                step=_whole(parts.get("step")),
                reference="tensor_id" in parts,
                scale=float(scale) if isinstance(scale, int | float) else None,
                halo=_whole(halo) or 0,
                named=kind != "channel" or isinstance(names, list),
                count=len(names) if isinstance(names, list) else fixed,
                names=tuple(map(str, names)) if isinstance(names, list) else (),
                halo_stated=_whole(halo) is not None,
                offset=_number(parts.get("offset")) or 0.0,
            )
        )
    return tuple(found)


def _old_axes(entry: Mapping[str, Any]) -> tuple[Axis, ...]:
    letters, shape, halo = str(entry.get("axes") or ""), entry.get("shape"), entry.get("halo")
    parts = shape if isinstance(shape, Mapping) else {}
    found = []
    for n, letter in enumerate(letters):
        scale = _at(parts.get("scale"), n)
        fixed = _whole(_at(shape, n))
        smallest, step = _whole(_at(parts.get("min"), n)), _whole(_at(parts.get("step"), n))
        if smallest is not None and not step:
            fixed, smallest, step = smallest, None, None
        offset = _at(parts.get("offset"), n)
        count = fixed
        if count is None and not scale and isinstance(offset, int | float):
            count = int(2 * offset)  # an output's size is the input's times scale, plus twice the offset
        found.append(
            Axis(
                letter=letter,
                fixed=fixed,
                smallest=smallest,
                step=step,
                reference="reference_tensor" in parts,
                scale=float(scale) if isinstance(scale, int | float) else None,
                halo=_whole(_at(halo, n)) or 0,
                count=count,
                halo_stated=_whole(_at(halo, n)) is not None,
                offset=2 * offset if isinstance(offset, int | float) and letter != "c" else 0.0,
            )
        )
    return tuple(found)


def _at(values: Any, n: int) -> Any:
    return values[n] if isinstance(values, list) and len(values) > n else None


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return float(value) if good else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
