"""A network, a human and a reference side by side: what each says of a case, and where each looks."""

from mikata.readers.overlap import Overlap, overlap
from mikata.readers.overlapping import overlap_regions
from mikata.readers.running import agree
from mikata.readers.table import Reading, Readings, read_readings

__all__ = [
    "Overlap",
    "Reading",
    "Readings",
    "agree",
    "overlap",
    "overlap_regions",
    "read_readings",
]
