"""Several networks on the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mikata.datasets import Entry
from mikata.evaluation import Report


def in_common(reports: Sequence[Report]) -> tuple[tuple[Entry, ...], list[NDArray[np.float32]]]:
    """Entries that all of the networks could judge, in the last report's order, and what each says of them (n, K)."""
    known = [{entry.file: n for n, entry in enumerate(report.entries)} for report in reports]
    entries = tuple(entry for entry in reports[-1].entries if all(entry.file in places for places in known))
    rows = [[places[entry.file] for entry in entries] for places in known]
    return entries, [report.probabilities[row] for report, row in zip(reports, rows, strict=True)]
