"""Training, selection and test: whole patients, classes in proportion, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mikata.datasets.entries import PARTS, Dataset, Entry
from mikata.datasets.values import refuse_empty_parts, strata
from mikata.errors import DataError, ParameterError
from mikata.language import say

_EMPTY_CLASS = 1e9  # cost of a part without a class: more than any imbalance
_SWAPS = 20  # tries for each group in the search for better swaps


def split(
    dataset: Dataset, *, test: float = 0.2, selection: float = 0.2, seed: int = 0
) -> dict[str, tuple[Entry, ...]]:
    """Split a data set into ``training``, ``selection`` and ``test``.

    All images of a patient, and exact copies of one image, go to one part; where an image's patient is not
    known, all of its study do. Classes (of values, the bins between their quantiles) are spread in proportion, images
    and patients alike: groups are dealt
    largest first to the part that lacks them most, then moved and swapped while that lowers the
    chi-square distance from the wanted shares. scikit-learn's StratifiedGroupKFold knows equal folds
    only, and may leave a part without a class that could have had it.

    A split given in the table wins. Where it names only some of the parts, the others are split off
    from its training part, with shares that are of the whole data set.

    Parameters
    ----------
    test, selection:
        Shares of the images, each above 0, together below 1.
    seed:
        The same seed gives the same split of the same entries.

    Returns
    -------
    dict
        The three parts in the order of ``PARTS``; entries keep their order.

    Raises
    ------
    DataError
        If a class is missing from a part, a part is empty, or the given split has a patient or an image in two parts.
    ParameterError
        If the shares are out of range.
    """
    if not (test > 0 and selection > 0 and test + selection < 1):
        raise ParameterError(
            say(
                "The shares of test ({test:g}) and selection ({selection:g}) must be above 0, together "
                "below 1.",
                test=test,
                selection=selection,
            )
        )
    shares = {"training": 1 - test - selection, "selection": selection, "test": test}
    groups = groups_of(dataset.entries)
    given = {entry.split for entry in dataset.entries} - {""}
    if given:
        check_given(dataset, groups, given)
    parts = [entry.split for entry in dataset.entries]
    wanted = [part for part in PARTS if part not in given]
    if wanted:
        wanted = ["training", *(part for part in wanted if part != "training")]
        open_entries = [i for i, part in enumerate(parts) if part in ("", "training")]
        numbers, classes = strata(dataset)
        labels = numbers[open_entries]
        members = np.array([groups[i] for i in open_entries])
        fractions = np.array([shares[part] for part in wanted])
        chosen = deal(labels, members, fractions / fractions.sum(), classes, seed)
        for i, number in zip(open_entries, chosen, strict=True):
            parts[i] = wanted[number]
    result = {
        part: tuple(entry for entry, own in zip(dataset.entries, parts, strict=True) if own == part)
        for part in PARTS
    }
    _refuse_missing_classes(dataset, result, groups)
    refuse_empty_parts(dataset, result)
    return result


def groups_of(entries: Sequence[Entry]) -> list[int]:
    """A number for each entry, equal for those that must stay together: same patient (or study) or picture."""
    parent = list(range(len(entries)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, entry in enumerate(entries):
        person = ("patient", entry.patient) if entry.patient else ("study", entry.study)
        for key in (("picture", entry.picture.digest), person):
            if key[1]:
                a, b = root(first.setdefault(key, i)), root(i)
                parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(entries))]


def check_given(dataset: Dataset, groups: list[int], given: set[str]) -> None:
    """Refuse a column ``split`` that has no training part, or a group (`groups_of`) in two parts.

    Raises
    ------
    DataError
        With the two files in question.
    """
    if "training" not in given:
        raise DataError(say("{path}: the column 'split' has no row for training.", path=dataset.path))
    first: dict[int, Entry] = {}
    for entry, group in zip(dataset.entries, groups, strict=True):
        before = first.setdefault(group, entry)
        if before.split == entry.split:
            continue
        if before.patient == entry.patient and entry.patient:
            raise DataError(
                say(
                    "{path}: {one} ({one_part}) and {other} ({other_part}) are of one patient. The column "
                    "'split' must keep a patient in one part.",
                    path=dataset.path,
                    one=before.file.name,
                    one_part=before.split,
                    other=entry.file.name,
                    other_part=entry.split,
                )
            )
        raise DataError(
            say(
                "{path}: {one} ({one_part}) and {other} ({other_part}) are the same picture, or of "
                "patients who share one. The column 'split' must keep them in one part.",
                path=dataset.path,
                one=before.file.name,
                one_part=before.split,
                other=entry.file.name,
                other_part=entry.split,
            )
        )


def deal(
    labels: NDArray[np.int64],
    members: NDArray[np.int64],
    fractions: NDArray[np.float64],
    classes: int,
    seed: int | Sequence[int],
    *,
    largest_first: bool = True,
) -> NDArray[np.int64]:
    """Number of the part (N,) for each entry.

    Parameters
    ----------
    labels, members:
        (N,) number of the class, and of the group that stays together.
    fractions:
        (parts,) wanted shares, which add up to 1.
    largest_first:
        Gives the shares that are met best, but where groups differ in size nearly the same parts for every
        seed; else groups are dealt in any order before they are moved and swapped.
    """
    _, group = np.unique(members, return_inverse=True)
    count = int(group.max()) + 1
    images = np.zeros((count, classes))
    np.add.at(images, (group, labels), 1)
    # images of each class, and groups (patients) with that class: both are wanted in proportion
    weight = np.concatenate([images, images > 0], axis=1)
    target = fractions[:, None] * weight.sum(0)
    target = np.maximum(target, 1e-9)  # a class that this call does not see: no cost, no division by 0
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(count)
    order = shuffled[np.argsort(-images.sum(1)[shuffled], kind="stable")] if largest_first else shuffled
    part = np.zeros(count, np.int64)
    held = np.zeros_like(target)
    for g in order:
        gain = ((2 * weight[g] * (held - target) + weight[g] ** 2) / target).sum(1)
        part[g] = int(np.argmin(gain))
        held[part[g]] += weight[g]
    # single images are dealt in exact proportion already, but a rare class may round to none
    if images.sum(1).max() > 1 or _cost(held, target) >= _EMPTY_CLASS:
        _improve(part, held, weight, target, generator)
    return part[group]


def _cost(held: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    seen = target > 1e-6
    return float((((held - target) ** 2 / target)[seen]).sum() + _EMPTY_CLASS * ((held < 0.5) & seen).sum())


def _improve(
    part: NDArray[np.int64],
    held: NDArray[np.float64],
    weight: NDArray[np.float64],
    target: NDArray[np.float64],
    generator: np.random.Generator,
) -> None:
    """Move single groups, then swap pairs, while that lowers the cost; changes `part` and `held`."""
    cost = _cost(held, target)

    def attempt(changes: list[tuple[int, int]]) -> None:
        nonlocal cost
        trial = held.copy()
        for g, to in changes:
            trial[part[g]] -= weight[g]
            trial[to] += weight[g]
        found = _cost(trial, target)
        if found < cost - 1e-9:
            cost = found
            held[:] = trial
            for g, to in changes:
                part[g] = to

    count = len(part)
    before = np.inf
    while cost < before:
        before = cost
        for g in generator.permutation(count):
            for to in range(len(target)):
                if to != part[g]:
                    attempt([(int(g), to)])
        for a, b in generator.integers(count, size=(min(_SWAPS * count, 20_000), 2)):
            if part[a] != part[b]:
                attempt([(int(a), int(part[b])), (int(b), int(part[a]))])


def _refuse_missing_classes(dataset: Dataset, parts: dict[str, tuple[Entry, ...]], groups: list[int]) -> None:
    for part, entries in parts.items():
        found = Counter(entry.label for entry in entries)
        for name in dataset.classes:
            if found[name]:
                continue
            mine = {g for g, entry in zip(groups, dataset.entries, strict=True) if entry.label == name}
            raise DataError(_missing(dataset, name, part, len(mine)))


def _missing(dataset: Dataset, name: str, part: str, count: int) -> str:
    """That a class with `count` patients (or images) to deal has none in a part."""
    if count >= len(PARTS):
        return say(
            "{path}: the class '{name}' has no image in the {part} part: change the shares or the column "
            "'split'.",
            path=dataset.path,
            name=name,
            part=part,
        )
    if dataset.has_patients:
        return say(
            "{path}: the class '{name}' has no image in the {part} part: it has only {count} patients that "
            "can be told apart. Add some, or leave it out.",
            path=dataset.path,
            name=name,
            part=part,
            count=count,
        )
    return say(
        "{path}: the class '{name}' has no image in the {part} part: it has only {count} images that can "
        "be told apart. Add some, or leave it out.",
        path=dataset.path,
        name=name,
        part=part,
        count=count,
    )
