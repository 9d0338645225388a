"""Networks from images to images over images of any size: planned tiles, exact or blended, memory bounded."""

from __future__ import annotations

from mikata.tiling.kept import zeros
from mikata.tiling.plan import Plan, Side, Span, side
from mikata.tiling.planes import PlaneValues, bands
from mikata.tiling.running import Difference, Tiler, quick
from mikata.tiling.sinks import CHANCES, Channels, Masks, Sink, Winners

__all__ = [
    "CHANCES",
    "Channels",
    "Difference",
    "Masks",
    "Plan",
    "PlaneValues",
    "Side",
    "Sink",
    "Span",
    "Tiler",
    "Winners",
    "bands",
    "quick",
    "side",
    "zeros",
]
