"""What the commands of this folder can work with."""

from __future__ import annotations

from mikata.datasets import Dataset
from mikata.errors import DataError
from mikata.language import say


def refuse_values(dataset: Dataset) -> None:
    """Refuse images with values, of which recipes are judged by accuracy here.

    Raises
    ------
    DataError
        If they have values instead of classes.
    """
    if dataset.values:
        raise DataError(
            say(
                "{path}: its images have values, but compare, search and derive are for classes only. Train each recipe "
                "with mikata train, with the same seed, and compare the errors in their reports.",
                path=dataset.path,
            )
        )
