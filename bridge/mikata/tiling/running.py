"""A network from images to images over planes of any size: tile by tile, with a bound on memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mikata.errors import ImageError, NetworkError
from mikata.language import say
from mikata.networks.memory import is_out_of_memory, release
from mikata.networks.pixelwise import PixelNetwork, unchanged
from mikata.networks.stopping import asked_between_layers
from mikata.prediction import device as best_device
from mikata.tiling import budget, heap
from mikata.tiling.blending import Blend
from mikata.tiling.kept import zeros
from mikata.tiling.plan import Plan, Span
from mikata.tiling.planes import PlaneValues, bands
from mikata.tiling.sinks import Channels, Sink

Told = Callable[[int, int], None]
"""Called between tiles with how many are done and how many there are; what it raises ends the run."""

_BATCH = 16  # tiles in a pass on a GPU at most: more do not fill it better


@dataclass(frozen=True)
class Difference:
    """How far tiles that are blended contradict each other: where two neighbours overlap, in the output's unit."""

    mean: float
    largest: float


@dataclass(frozen=True)
class _Piece:
    """One tile: its place in the plan, what it sees, and what the network is given."""

    row: Span
    column: Span
    number: tuple[int, int]


class Tiler:
    """Runs a network over planes, one after another.

    Parameters
    ----------
    network:
        What to run.
    tile_px:
        Side of a tile; 0: chosen by `memory` and by what is fastest.
    memory:
        Bytes that the layers of one pass may take; None: see `mikata.tiling.budget`.

    Attributes
    ----------
    halved:
        How often a tile had to be made smaller since memory did not suffice; later planes start with that size.
    difference:
        Of the plane just run, where its tiles were blended, else None.
    """

    def __init__(self, network: PixelNetwork, *, tile_px: int = 0, memory: int | None = None) -> None:
        self.network = network
        self.tile_px = tile_px
        self.halved = 0
        self.difference: Difference | None = None
        self._memory = memory
        self._most: int | None = None
        self._per_px = 0.0
        self._plans: dict[tuple[int, int], Plan] = {}
        self.device = quick(network.network)

    @property
    def keeps_output(self) -> bool:
        """Whether the result is the network's output as it is, so that parts of it can be worked on at once."""
        return self.network.after is unchanged

    def plan(self, height: int, width: int) -> Plan:
        """How an image of that size is divided."""
        if self.tile_px:
            return budget.given(self.network, height, width, self.tile_px)
        self._measure()
        assert self._most is not None
        if (height, width) not in self._plans:  # of thousands of images most have one size
            self._plans[height, width] = budget.choose(
                self.network, height, width, per_px=self._per_px, most_px=self._most, device=self.device
            )
        return self._plans[height, width]

    def run(self, plane: PlaneValues, sinks: Sequence[Sink], told: Told) -> Plan:
        """Run a plane through the network into sinks of (height, width) x scale.

        Where memory does not suffice, the tile is made half as large and the plane begun again.

        Returns
        -------
        Plan
            How it was divided.

        Raises
        ------
        NetworkError
            If the output has another shape than the package says, or if memory does not suffice for the smallest tile.
        ImageError
            If the output is not a number.
        """
        direct = self.keeps_output
        scale = self.network.scale
        size = plane.height * scale, plane.width * scale
        whole = None if direct else Channels(zeros((len(self.network.outputs), *size), np.float32))
        while True:
            plan = self.plan(plane.height, plane.width)
            try:
                with heap.reused() if self.device.type == "cpu" else nullcontext():
                    self._tiles(plane, plan, sinks if whole is None else [whole], told)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                problem = str(error)
            # outside of the handler, which holds the tensors of the failed pass
            release()
            self._halve(plan, plane, problem)
        if whole is not None:
            self._after(whole.values, sinks, told)
        return plan

    def _measure(self) -> None:
        if self._per_px:
            return
        network = self.network
        at_least = 64 if network.halo is None else max(64, network.halo)
        sample = torch.zeros(
            1, network.channels, network.height.at_least(at_least), network.width.at_least(at_least)
        )
        self._per_px = budget.bytes_per_px(network.network, sample.to(self.device))
        self._most = budget.largest_tile(
            budget.budget_on(self.device) if self._memory is None else self._memory, self._per_px
        )

    def _halve(self, plan: Plan, plane: PlaneValues, problem: str) -> None:
        """Make the tiles to come half as large."""
        rows = max(span.length for span in plan.rows.spans)
        columns = max(span.length for span in plan.columns.spans)
        smaller = None
        if self.tile_px:
            self.tile_px = max(1, max(rows, columns) // 2)
            smaller = budget.given(self.network, plane.height, plane.width, self.tile_px)
        else:
            self._most = max(1, plan.largest // 2)
            self._plans.clear()
            smaller = self.plan(plane.height, plane.width)
        if smaller.largest >= plan.largest:
            raise NetworkError(
                say(
                    "{model}: there is not enough memory for the smallest tile that it takes, {width} x {height} px of "
                    "{image}. Close other programs, or use a computer with more memory. ({reason})",
                    model=self.network.path.name,
                    width=columns,
                    height=rows,
                    image=plane.name,
                    reason=problem.splitlines()[0][:200] if problem else "-",
                )
            )
        self.halved += 1

    def _batch(self, plan: Plan) -> int:
        """How many tiles go through in one pass: on the CPU one fills all cores."""
        if self.device.type == "cpu" or self._most is None:
            return 1
        return max(1, min(_BATCH, self._most // plan.largest))

    def _tiles(self, plane: PlaneValues, plan: Plan, sinks: Sequence[Sink], told: Told) -> None:
        self.difference = None
        blend = None if plan.exact else Blend(plan, self.network.scale, len(self.network.outputs))
        size = self._batch(plan)
        done = 0
        told(done, plan.count)
        waiting: list[_Piece] = []
        on_way: _Reduced | None = None
        with torch.inference_mode(), _asked(self.network.network, lambda: told(done, plan.count)):
            for row, column in plan.tiles():
                piece = _Piece(plan.rows.spans[row], plan.columns.spans[column], (row, column))
                if waiting and (len(waiting) == size or not _alike(waiting[0], piece)):
                    on_way = self._pass(plane, waiting, blend, sinks, on_way)
                    done += len(waiting)
                    told(done, plan.count)
                    waiting = []
                waiting.append(piece)
            on_way = self._pass(plane, waiting, blend, sinks, on_way)
            on_way.keep(plane, self.network)
        if blend is not None:
            self.difference = Difference(*blend.difference())
        told(plan.count, plan.count)

    def _pass(
        self,
        plane: PlaneValues,
        pieces: list[_Piece],
        blend: Blend | None,
        sinks: Sequence[Sink],
        earlier: _Reduced | None,
    ) -> _Reduced:
        """Start a batch, and only then wait for what the one before it has made: a GPU works on meanwhile."""
        tiles = [
            plane.tile(one.row.start, one.column.start, one.row.length, one.column.length) for one in pieces
        ]
        x = _channels_last(tiles[0][None] if len(tiles) == 1 else np.stack(tiles))
        if self.device.type == "cuda":
            x = x.pin_memory().to(self.device, non_blocking=True)
        elif self.device.type != "cpu":
            x = x.to(self.device)
        out = self.network.network(x)
        self._check(out, x)
        ready = _Reduced(torch.isfinite(out).all(), [])
        for one, values in zip(pieces, out, strict=True):
            for y, x0, part in blend.add(one.number, values) if blend else [self._cropped(one, values)]:
                ready.parts += [(sink, y, x0, sink.reduce(part)) for sink in sinks]
        if self.device.type == "cpu":
            ready.keep(plane, self.network)
            return _Reduced(ready.finite, [])
        if earlier is not None:
            earlier.keep(plane, self.network)
        return ready

    def _cropped(self, piece: _Piece, values: Tensor) -> tuple[int, int, Tensor]:
        """What a tile answers for, and its place in the output."""
        scale, row, column = self.network.scale, piece.row, piece.column
        part = values[
            :,
            (row.first - row.start) * scale : (row.last - row.start) * scale,
            (column.first - column.start) * scale : (column.last - column.start) * scale,
        ]
        return row.first * scale, column.first * scale, part

    def _check(self, out: Tensor, x: Tensor) -> None:
        scale = self.network.scale
        wanted = (x.shape[0], len(self.network.outputs), x.shape[2] * scale, x.shape[3] * scale)
        if tuple(out.shape) != wanted:
            raise NetworkError(
                say(
                    "{model}: its network makes an output of shape {made} of an input of shape {given}; by its package "
                    "it should be {wanted}.",
                    model=self.network.path.name,
                    made=tuple(out.shape),
                    given=tuple(x.shape),
                    wanted=wanted,
                )
            )

    def _after(self, values: NDArray[np.float32], sinks: Sequence[Sink], told: Told) -> None:
        """What the package does with the whole output, and then what is kept of it, some rows at a time."""
        made = np.asarray(self.network.after(values))
        if made.shape != values.shape:
            raise NetworkError(
                say(
                    "{model}: what it does with its output makes a shape of {made} of {given}.",
                    model=self.network.path.name,
                    made=made.shape,
                    given=values.shape,
                )
            )
        for rows in bands(made.shape[1]):
            part = torch.from_numpy(np.ascontiguousarray(made[:, rows], np.float32))
            ready = _Reduced(
                torch.isfinite(part).all(), [(sink, rows.start, 0, sink.reduce(part)) for sink in sinks]
            )
            ready.keep(None, self.network)
        told(1, 1)


@dataclass
class _Reduced:
    """What is to be kept of a batch, still on its device."""

    finite: Tensor
    parts: list[tuple[Sink, int, int, tuple[Tensor, ...]]]

    def keep(self, plane: PlaneValues | None, network: PixelNetwork) -> None:
        if not bool(self.finite):
            raise ImageError(
                say(
                    "{model} gives values that are not numbers (NaN or infinite) for {image}.",
                    model=network.path.name,
                    image=plane.name if plane else "-",
                )
            )
        for sink, y, x, parts in self.parts:
            sink.put(y, x, tuple(part.cpu().numpy() for part in parts))


def quick(network: Callable[[Tensor], Tensor]) -> torch.device:
    """Put a network where it runs fastest: on the GPU where there is one, its weights with channels last.

    What is no module follows its input.
    """
    where = best_device()
    if isinstance(network, nn.Module):
        network.eval()
        network.to(where)
        network.to(memory_format=torch.channels_last)
    return where


def _channels_last(tiles: NDArray[np.float32]) -> Tensor:
    """Tiles (N, C, h, w) with the channels of a pixel side by side, in which convolutions are up to twice as fast.

    The same memory with one channel: only its strides say which layout all that follows gets.
    """
    _, channels, height, width = tiles.shape
    x = torch.from_numpy(tiles)
    if channels == 1:
        return x.as_strided(x.shape, (height * width, 1, width, 1))
    return x.contiguous(memory_format=torch.channels_last)


def _asked(network: Callable[[Tensor], Tensor], ask: Callable[[], object]) -> Any:
    """Between the layers too, where they can be seen: a large tile may take a minute."""
    if isinstance(network, nn.Module) and not any(
        isinstance(part, torch.jit.ScriptModule) for part in network.modules()
    ):
        return asked_between_layers(network, ask)
    return nullcontext()


def _alike(one: _Piece, other: _Piece) -> bool:
    return (one.row.length, one.column.length) == (other.row.length, other.column.length)
