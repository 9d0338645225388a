"""Repeated folds: every image is tested once a repeat, by a network that has not seen its patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mikata.datasets.entries import PARTS, Dataset, Entry
from mikata.datasets.splitting import check_given, deal, groups_of, split
from mikata.datasets.values import refuse_empty_parts, strata
from mikata.errors import DataError, ParameterError
from mikata.language import say

Given = Literal["reserved", "folded"]
"""What becomes of the images that the table's column ``split`` marks as ``test``."""


@dataclass(frozen=True)
class Fold:
    """One fold of one repeat.

    Attributes
    ----------
    repeat, number:
        Which, both from 0.
    parts:
        Images of ``training``, ``selection`` and ``test``, in the data set's order.
    indices:
        The same as positions in the data set's entries, ascending.
    """

    repeat: int
    number: int
    parts: dict[str, tuple[Entry, ...]] = field(repr=False)
    indices: dict[str, tuple[int, ...]] = field(repr=False)


def folds(
    dataset: Dataset,
    *,
    count: int = 5,
    repeats: int = 1,
    seed: int = 0,
    selection: float = 0.2,
    given: Given = "reserved",
) -> tuple[Fold, ...]:
    """Draw stratified folds that keep patients whole, again and again.

    Over the folds of a repeat the test parts share no image and are together all folded images. All images of a
    patient, and exact copies of one image, are in one part of a fold; where an image's patient is not known, all of
    its study are. Images and patients of each class are spread in proportion, as in `split` and by the same rule:
    scikit-learn's StratifiedGroupKFold does not balance patients, leaves a fold without a class that could have had
    it, and knows no parts of unequal size, which the selection part needs. Groups are dealt in any order, since
    dealing the largest first gives the same folds in every repeat where patients differ in their numbers of images.

    A column ``split`` in the table: images marked ``test`` are kept for the end, and are in no part of any fold, by
    default. That is what choosing a network, a recipe or a setting by folds needs, or the test is not untouched. A
    comparison whose result is the folds' own figures may fold them too (``given="folded"``); then there is no test
    part left for anything else. Whether an image is marked ``training`` or ``selection`` makes no difference, since
    each fold needs its own.

    Parameters
    ----------
    count:
        Number of folds K, at least 2.
    repeats:
        How often the images are dealt anew, at least 1.
    seed:
        The same seed gives the same folds of the same entries; repeat r is the same however many there are.
    selection:
        Share of the selection part in all folded images, above 0 and below 1 - 1 / K.
    given:
        Whether images that the table marks as ``test`` are kept out (``reserved``) or folded like the others.

    Returns
    -------
    tuple of Fold
        ``repeats`` times ``count``, ordered by repeat and number.

    Raises
    ------
    DataError
        If a part is empty, or a class has fewer patients (images) that can be told apart than folds, or is missing from a part; if the
        column ``split`` has a patient or a picture in two parts, where it counts.
    ParameterError
        If a number is out of range.
    """
    _check_numbers(count, repeats, selection)
    entries = dataset.entries
    groups = groups_of(entries)
    if given == "reserved" and any(entry.split for entry in entries):
        check_given(dataset, groups, {entry.split for entry in entries} - {""})
    open_ = np.array(
        [i for i, entry in enumerate(entries) if given == "folded" or entry.split != "test"], np.int64
    )
    _refuse_few_groups(dataset, open_, groups, count)
    numbers, classes = strata(dataset)
    labels = numbers[open_]
    members = np.array([groups[i] for i in open_])
    found = []
    for repeat in range(repeats):
        equal = np.full(count, 1 / count)
        tested = deal(labels, members, equal, classes, [seed, repeat], largest_first=False)
        for number in range(count):
            test, rest = np.flatnonzero(tested == number), np.flatnonzero(tested != number)
            share = min(selection * len(open_) / len(rest), 0.99)
            shares = np.array([1 - share, share])
            chosen = deal(labels[rest], members[rest], shares, classes, [seed, repeat, number + 1])
            training, choosing = open_[rest[chosen == 0]], open_[rest[chosen == 1]]
            found.append(_fold(dataset, repeat, number, training, choosing, open_[test]))
    return tuple(found)


def selection_folds(
    dataset: Dataset, *, count: int = 5, test: float = 0.2, selection: float = 0.2, seed: int = 0
) -> tuple[Fold, ...]:
    """Split off one test part, and deal the rest into folds, each of which is the selection part once.

    The test part is that of `split` with the same shares and seed, so that one network and an ensemble of as many as
    there are folds are tested on the same images. All others are dealt as in `folds`: patients and copies of one image
    stay together, and images and patients of each class are spread in proportion. Whether the table marks one of them
    as ``training`` or ``selection`` makes no difference, since each fold is both.

    Parameters
    ----------
    count:
        Number of folds K, at least 2.
    test, selection, seed:
        As of `split`; images that the table's column ``split`` marks as ``test`` are the test part.

    Returns
    -------
    tuple of Fold
        K, of one repeat. The test part is the same in all; the selection parts share no image and are together all
        others; what is in neither is the training part.

    Raises
    ------
    DataError
        If the data cannot be split, or a class has fewer patients (images) outside the test part than folds.
    ParameterError
        If a number is out of range.
    """
    if count < 2:
        raise ParameterError(say("There must be at least 2 folds, not {count}.", count=count))
    entries = dataset.entries
    tested = {id(entry) for entry in split(dataset, test=test, selection=selection, seed=seed)["test"]}
    kept = np.array([i for i, entry in enumerate(entries) if id(entry) in tested], np.int64)
    open_ = np.array([i for i, entry in enumerate(entries) if id(entry) not in tested], np.int64)
    groups = groups_of(entries)
    _refuse_few_groups(dataset, open_, groups, count, beside_test=True)
    numbers, classes = strata(dataset)
    members = np.array([groups[i] for i in open_])
    chosen = deal(numbers[open_], members, np.full(count, 1 / count), classes, [seed, 0])
    found = []
    for number in range(count):
        found.append(_fold(dataset, 0, number, open_[chosen != number], open_[chosen == number], kept))
    return tuple(found)


def _fold(
    dataset: Dataset,
    repeat: int,
    number: int,
    training: NDArray[np.int64],
    selection: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Fold:
    """A fold of these positions, or `DataError` where a part of it lacks a class or is empty."""
    positions = zip(PARTS, (training, selection, test), strict=True)
    indices = {part: tuple(own.tolist()) for part, own in positions}
    parts = {part: tuple(dataset.entries[i] for i in own) for part, own in indices.items()}
    fold = Fold(repeat, number, parts, indices)
    _refuse_missing_classes(dataset, fold)
    refuse_empty_parts(dataset, fold.parts)
    return fold


def fold_of_each(found: Sequence[Fold], size: int) -> tuple[NDArray[np.int64], ...]:
    """In which fold each image is tested.

    Parameters
    ----------
    found:
        Folds of whole repeats.
    size:
        Number of the data set's entries.

    Returns
    -------
    tuple of ndarray
        For each repeat (size,): the number of the fold, -1 where an image is in no test part (it is reserved).
    """
    numbers = [np.full(size, -1, np.int64) for _ in range(1 + max(fold.repeat for fold in found))]
    for fold in found:
        numbers[fold.repeat][list(fold.indices["test"])] = fold.number
    return tuple(numbers)


def _check_numbers(count: int, repeats: int, selection: float) -> None:
    if count < 2:
        raise ParameterError(say("There must be at least 2 folds, not {count}.", count=count))
    if repeats < 1:
        raise ParameterError(say("There must be at least 1 repeat, not {repeats}.", repeats=repeats))
    if not 0 < selection < 1 - 1 / count:
        raise ParameterError(
            say(
                "With {count} folds the share of selection must be above 0 and below {limit:g}, not "
                "{selection:g}.",
                count=count,
                limit=1 - 1 / count,
                selection=selection,
            )
        )


def _refuse_few_groups(
    dataset: Dataset, open_: NDArray[np.int64], groups: list[int], count: int, *, beside_test: bool = False
) -> None:
    if dataset.values:
        return
    found: dict[str, set[int]] = {name: set() for name in dataset.classes}
    for i in open_:
        found[dataset.entries[i].label].add(groups[i])
    name, few = min(found.items(), key=lambda item: len(item[1]))
    if len(few) >= count:
        return
    if beside_test and dataset.has_patients:
        raise DataError(
            say(
                "{path}: outside the test part the class '{name}' has only {found} patients that can be told apart, "
                "too few for {count} folds. Use fewer folds (at least 2), add some, or leave the class out.",
                path=dataset.path,
                name=name,
                found=len(few),
                count=count,
            )
        )
    if beside_test:
        raise DataError(
            say(
                "{path}: outside the test part the class '{name}' has only {found} images that can be told apart, "
                "too few for {count} folds. Use fewer folds (at least 2), add some, or leave the class out.",
                path=dataset.path,
                name=name,
                found=len(few),
                count=count,
            )
        )
    if dataset.has_patients:
        raise DataError(
            say(
                "{path}: the class '{name}' has only {found} patients that can be told apart, too few for "
                "{count} folds. Use fewer folds (at least 2), add some, or leave the class out.",
                path=dataset.path,
                name=name,
                found=len(few),
                count=count,
            )
        )
    raise DataError(
        say(
            "{path}: the class '{name}' has only {found} images that can be told apart, too few for {count} "
            "folds. Use fewer folds (at least 2), add some, or leave the class out.",
            path=dataset.path,
            name=name,
            found=len(few),
            count=count,
        )
    )


def _refuse_missing_classes(dataset: Dataset, fold: Fold) -> None:
    for part, entries in fold.parts.items():
        present = {entry.label for entry in entries}
        for name in dataset.classes:
            if name not in present:
                raise DataError(
                    say(
                        "{path}: the class '{name}' has no image in the {part} part of fold {number}. Use "
                        "another number of folds or share of selection, or add images of other patients.",
                        path=dataset.path,
                        name=name,
                        part=part,
                        number=fold.number + 1,
                    )
                )
