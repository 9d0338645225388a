"""What runs of all networks from images to images have in common."""

from __future__ import annotations

from collections.abc import Callable

from mikata.datasets import Dataset
from mikata.language import english


def split_words(dataset: Dataset, say: Callable[..., str] = english) -> str:
    """How the split kept images together, and whether the table gave it; `say` gives the words their language."""
    grouping = dataset.grouping_words(say)
    if any(entry.split for entry in dataset.entries):
        return say("{grouping}, given in the table", grouping=grouping)
    return grouping
