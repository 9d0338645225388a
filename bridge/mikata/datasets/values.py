"""Images that have a value each instead of a class: what can be learnt from, and how values are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mikata.datasets.entries import PARTS, Dataset, Entry
from mikata.errors import DataError
from mikata.language import say

FEWEST_VALUES = 10
"""Different values below which a data set is one of classes, or too small to learn a value from."""

_BINS = 5
_A_BIN = 5  # different values at least


def strata(dataset: Dataset) -> tuple[NDArray[np.int64], int]:
    """What is spread in proportion over parts and folds: number of each entry's class, and how many there are.

    Values are cut at their quantiles into at most 5 bins of about as many images each, which take the place of
    classes; equal values are in one bin.
    """
    if not dataset.values:
        numbers = {name: number for number, name in enumerate(dataset.classes)}
        return np.array([numbers[entry.label] for entry in dataset.entries], np.int64), len(numbers)
    values = values_of(dataset.entries)
    bins = max(1, min(_BINS, len(np.unique(values)) // _A_BIN))
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.searchsorted(edges, values, side="left"), len(edges) + 1


def values_of(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """The values (n,) of entries that have some.

    Raises
    ------
    DataError
        If one has a class instead.
    """
    found = []
    for entry in entries:
        if entry.value is None:
            raise DataError(
                say(
                    "{file} has no value, but a class is of no use here. Give a CSV with a column 'value'.",
                    file=entry.file,
                )
            )
        found.append(entry.value)
    return np.array(found, np.float64)


def refuse_few_values(dataset: Dataset) -> None:
    """Refuse values that nothing can be learnt from.

    Raises
    ------
    DataError
        If there are fewer than 10 different values, or fewer than 3 patients where they are known.
    """
    different = len({entry.value for entry in dataset.entries})
    if different < FEWEST_VALUES:
        raise DataError(
            say(
                "{path}: the column 'value' has only {count} different values among the images that can be used; to "
                "learn a value takes at least {least}. For classes or grades name the column label.",
                path=dataset.path,
                count=different,
                least=FEWEST_VALUES,
            )
        )
    patients = len({entry.patient for entry in dataset.entries})
    if dataset.has_patients and patients < len(PARTS):
        raise DataError(
            say(
                "{path}: its images are of {count} patient(s) only. It takes at least three, one each to train, to "
                "choose the best epoch and to test.",
                path=dataset.path,
                count=patients,
            )
        )


def refuse_empty_parts(dataset: Dataset, parts: Mapping[str, Sequence[Entry]]) -> None:
    """Refuse parts of a split or fold without any image.

    Raises
    ------
    DataError
        With the part.
    """
    for part, entries in parts.items():
        if not entries:
            raise DataError(
                say(
                    "{path}: no image is left for the {part} part: change the shares or the column 'split', or add "
                    "images of other patients.",
                    path=dataset.path,
                    part=part,
                )
            )
