"""Tiles whose borders are not exact, weighted into one output that has no seams."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mikata.tiling.plan import Plan, Span


class Blend:
    """Adds up tiles with their weights; holds one row of tiles at a time.

    Tiles come row by row. The rows of the output on which no tile to come lies are given out and forgotten.

    Parameters
    ----------
    plan:
        The tiles and their weights.
    scale:
        Output px an input px.
    channels:
        K of the output.
    """

    def __init__(self, plan: Plan, scale: int, channels: int) -> None:
        self._plan, self._scale, self._channels = plan, scale, channels
        self._sum: Tensor | None = None  # (K, rows, width), its first row the current tiles' first
        self._weights: dict[tuple[int, bool], Tensor] = {}
        self._left: tuple[tuple[int, int], Tensor] | None = None
        self._above: tuple[tuple[int, int], Tensor] | None = None
        self._apart = torch.zeros(2, dtype=torch.float64)  # sum and number of differences
        self._most = torch.zeros(())

    def add(self, number: tuple[int, int], values: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Add a tile (K, h, w); gives finished parts of the output with the place of their first pixel."""
        row, column = number
        rows, columns = self._plan.rows, self._plan.columns
        scale = self._scale
        span, across = rows.spans[row], columns.spans[column]
        if self._sum is None:
            longest = max(one.length for one in rows.spans)
            self._sum = values.new_zeros((self._channels, longest * scale, columns.padded * scale))
            self._apart, self._most = self._apart.to(values.device), self._most.to(values.device)
        self._compare(number, values)
        weighted = values
        if not rows.exact:
            weighted = weighted * self._weight(row, True, values.device)[None, :, None]
        if not columns.exact:
            weighted = weighted * self._weight(column, False, values.device)[None, None]
        # a side that is exact has spans that answer for a part each, without weights
        up, left = _within(span, rows.exact), _within(across, columns.exact)
        part = weighted[:, up.start * scale : up.stop * scale, left.start * scale : left.stop * scale]
        x = (across.start + left.start) * scale
        self._sum[:, up.start * scale : up.start * scale + part.shape[1], x : x + part.shape[2]] += part
        if column + 1 < len(columns.spans):
            return
        # what no row of tiles to come touches
        last = row + 1 == len(rows.spans)
        start = span.first if rows.exact else span.start
        if last:
            stop = rows.image
        else:
            following = rows.spans[row + 1]
            stop = min(following.first if rows.exact else following.start, rows.image)
        done = self._sum[
            :,
            (start - span.start) * scale : (stop - span.start) * scale,
            : columns.image * scale,
        ]
        if stop > start:
            yield start * scale, 0, done.clone()
        if not last:
            moved = (rows.spans[row + 1].start - span.start) * scale
            kept = self._sum[:, moved:].clone()
            self._sum.zero_()
            if not rows.exact:
                self._sum[:, : kept.shape[1]] = kept

    def difference(self) -> tuple[float, float]:
        """Mean and largest difference of neighbours where they overlap."""
        total, count = self._apart.tolist()
        return total / max(1.0, count), float(self._most)

    def _weight(self, number: int, row: bool, device: torch.device) -> Tensor:
        key = number, row
        if key not in self._weights:
            side = self._plan.rows if row else self._plan.columns
            self._weights[key] = (
                torch.from_numpy(side.weights[number]).to(device).repeat_interleave(self._scale)
            )
        return self._weights[key]

    def _compare(self, number: tuple[int, int], values: Tensor) -> None:
        """Each tile with the one before it in its row, or the first of a row with the first of the row above."""
        row, column = number
        scale = self._scale
        before = self._left if column else self._above
        if before is not None:
            (other_row, other_column), earlier = before
            down = (self._plan.rows.spans[row].start - self._plan.rows.spans[other_row].start) * scale
            right = (
                self._plan.columns.spans[column].start - self._plan.columns.spans[other_column].start
            ) * scale
            one = earlier[:, down:, right:]
            other = values[:, : one.shape[1], : one.shape[2]]
            one = one[:, : other.shape[1], : other.shape[2]]
            if one.numel():
                apart = (one - other).abs()
                self._apart += torch.stack(
                    [apart.sum(dtype=torch.float64), apart.new_tensor(apart.numel()).double()]
                )
                self._most = torch.maximum(self._most, apart.max())
        kept = number, values
        self._left = kept
        if column == 0:
            self._above = kept


def _within(span: Span, exact: bool) -> slice:
    return slice(span.first - span.start, span.last - span.start) if exact else slice(0, span.length)
