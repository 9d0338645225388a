"""Folds: patients whole, classes in proportion, every image tested once a repeat."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from labelled import patients, write_folders, write_table
from mikata import datasets
from mikata.datasets import Dataset, Entry, Fold, Picture, fold_of_each, folds
from mikata.datasets.splitting import deal
from mikata.errors import DataError, ParameterError


def _dataset(rows: list[tuple[str, str]], splits: list[str] | None = None, digests: str = "") -> Dataset:
    """A data set without files: (label, patient) of each image."""
    entries = tuple(
        Entry(
            Path(f"{i}.png"),
            label,
            Picture(1, 8, 8, "grey", True, digests[i : i + 1] or str(i)),
            patient=patient,
            split=splits[i] if splits else "",
        )
        for i, (label, patient) in enumerate(rows)
    )
    return Dataset(Path("table.csv"), entries, tuple(sorted({label for label, _ in rows})), (), "")


def _check(dataset: Dataset, found: tuple[Fold, ...], count: int, repeats: int, tested: int) -> None:
    assert [(f.repeat, f.number) for f in found] == [(r, n) for r in range(repeats) for n in range(count)]
    for fold in found:
        assert list(fold.parts) == list(fold.indices) == ["training", "selection", "test"]
        every = sorted(i for part in fold.indices.values() for i in part)
        assert len(every) == len(set(every)) == tested
        homes: dict[str, set[str]] = {}
        for part, entries in fold.parts.items():
            assert entries == tuple(dataset.entries[i] for i in fold.indices[part])
            assert {e.label for e in entries} == set(dataset.classes)
            for entry in entries:
                homes.setdefault(entry.patient or entry.picture.digest, set()).add(part)
                homes.setdefault("digest " + entry.picture.digest, set()).add(part)
        assert max(map(len, homes.values())) == 1
    for repeat in range(repeats):
        mine = [i for f in found if f.repeat == repeat for i in f.indices["test"]]
        assert len(mine) == len(set(mine)) == tested


@pytest.mark.parametrize("seed", range(3))
def test_folds_keep_patients_and_proportions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [
        (label, f"{label}{p}")
        for label, number in (("common", 30), ("rare", 12))
        for p in range(number)
        for _ in range(int(generator.integers(1, 6)))
    ]
    rows += [("common", f"rare{p}") for p in range(3)]  # patients with images of both classes
    dataset = _dataset(rows)
    found = folds(dataset, count=5, repeats=3, seed=seed)
    _check(dataset, found, 5, 3, len(rows))
    for fold in found:
        for part, share in (("training", 0.6), ("selection", 0.2), ("test", 0.2)):
            for label, count in dataset.counts().items():
                images = sum(e.label == label for e in fold.parts[part])
                assert abs(images - share * count) <= max(2, 0.05 * count)
    again = folds(dataset, count=5, repeats=2, seed=seed)
    assert again == found[:10]  # a repeat does not depend on how many there are
    assert folds(dataset, count=5, repeats=3, seed=seed + 1) != found


def test_without_patients_folds_are_exact(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path, ("a", "b"), 12))
    found = folds(dataset, count=4, repeats=2, selection=0.25)
    _check(dataset, found, 4, 2, 24)
    for fold in found:
        for part, number in (("training", 6), ("selection", 3), ("test", 3)):
            assert Counter(e.label for e in fold.parts[part]) == {"a": number, "b": number}


def test_repeats_differ_even_where_every_patient_has_another_number_of_images() -> None:
    sizes = range(1, 31)
    dataset = _dataset([("ab"[p % 2], str(p)) for p in sizes for _ in range(p)])
    found = folds(dataset, count=5, repeats=12, selection=0.2)
    _check(dataset, found, 5, 12, len(dataset.entries))
    first = [dataset.entries.index(next(e for e in dataset.entries if e.patient == str(p))) for p in sizes]
    of_patient = np.array([numbers[first] for numbers in fold_of_each(found, len(dataset.entries))])
    together = of_patient[:, :, None] == of_patient[:, None, :]
    upper = np.triu_indices(30, 1)
    # of pairs of patients that were in one fold at first, about one in five is again
    assert 0.1 < together[1:, *upper][:, together[0][upper]].mean() < 0.25


def test_copies_of_one_picture_stay_together() -> None:
    rows = [("ab"[i % 2], f"p{i}") for i in range(20)]
    dataset = _dataset(rows, digests="xbxdefghijklmnopqrst")  # patients 0 and 2 share a picture
    for seed in range(3):
        _check(dataset, folds(dataset, count=4, repeats=2, seed=seed), 4, 2, 20)


def test_no_fold_lacks_a_class_that_it_could_have() -> None:
    """Where scikit-learn's StratifiedGroupKFold leaves a class out of a fold, though it has patients for all."""
    theirs = ours = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        members = np.repeat(np.arange(10), generator.integers(1, 6, 10))
        labels = np.zeros(len(members), np.int64)
        for kind in (1, 2):
            for group in generator.permutation(10)[:3]:
                labels[generator.choice(np.flatnonzero(members == group))] = kind
        if min(len(set(members[labels == kind])) for kind in range(3)) < 3:
            continue

        def lacks(folded: np.ndarray, labels: np.ndarray = labels) -> bool:
            return any(set(labels[folded == f]) != {0, 1, 2} for f in range(3))

        folded = np.zeros(len(labels), np.int64)
        cut = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(cut.split(labels, labels, members)):
            folded[test] = number
        theirs += lacks(folded)
        ours += lacks(deal(labels, members, np.full(3, 1 / 3), 3, seed, largest_first=False))
    assert theirs > 0
    assert ours == 0


def test_images_marked_as_test_are_reserved_or_folded(tmp_path: Path) -> None:
    rows = [(*row, "test" if i % 16 < 4 else "training") for i, row in enumerate(patients(8, 2))]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,split"))
    reserved = folds(dataset, count=3)
    _check(dataset, reserved, 3, 1, 24)
    assert not any(e.split == "test" for f in reserved for part in f.parts.values() for e in part)
    (numbers,) = fold_of_each(reserved, 32)
    assert [(n == -1) == (e.split == "test") for n, e in zip(numbers, dataset.entries, strict=True)] == [
        True
    ] * 32
    everything = folds(dataset, count=3, given="folded")
    _check(dataset, everything, 3, 1, 32)


def test_a_patient_on_both_sides_of_a_reserved_test_part_is_refused() -> None:
    rows = [("ab"[p % 2], str(p)) for p in range(20) for _ in range(2)]
    splits = ["test" if i in (3, 8, 9, 10, 11) else "training" for i in range(40)]
    dataset = _dataset(rows, splits)
    with pytest.raises(DataError, match=r"2\.png .* and 3\.png .* are of one patient"):
        folds(dataset, count=3)
    _check(dataset, folds(dataset, count=3, given="folded"), 3, 1, 40)


def test_too_few_patients_or_images_of_a_class_are_refused() -> None:
    rows = [("a", f"a{p}") for p in range(9)] + [("b", f"b{p % 3}") for p in range(12)]
    with pytest.raises(DataError, match=r"table\.csv: the class 'b' has only 3 patients .* for 4 folds"):
        folds(_dataset(rows), count=4)
    _check(_dataset(rows), folds(_dataset(rows), count=3), 3, 1, 21)
    with pytest.raises(DataError, match="'b' has only 12 images that can be told apart, too few for 13"):
        folds(_dataset([(label, "") for label, _ in rows] + [("a", "")] * 9), count=13, selection=0.1)
    # two patients fill two test parts, but leave only one for training and selection
    with pytest.raises(DataError, match=r"'b' has no image in the (selection|training) part of fold 1"):
        folds(_dataset([(f, p) for f, p in rows if p != "b2"]), count=2)
    marked = ["test" if label == "b" else "training" for label, _ in rows]
    with pytest.raises(DataError, match="'b' has only 0 patients"):
        folds(_dataset(rows, marked), count=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 1}, "at least 2 folds"),
        ({"repeats": 0}, "at least 1 repeat"),
        ({"selection": 0.0}, "above 0 and below 0.8, not 0"),
        ({"count": 2, "selection": 0.5}, r"below 0.5, not 0.5"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        folds(_dataset([("ab"[p % 2], str(p)) for p in range(20)]), **options)  # type: ignore[arg-type]


def test_chest_radiographs_are_folded_by_patient(shared: Path) -> None:
    dataset = datasets.read(shared / "data" / "cxr-view" / "labels.csv")
    everything = folds(dataset, count=5, repeats=2, given="folded")
    _check(dataset, everything, 5, 2, 238)
    for fold in everything:
        for count in Counter(e.label for e in fold.parts["test"]).values():
            assert abs(count - 119 / 5) <= 2
    kept = sum(entry.split == "test" for entry in dataset.entries)
    assert kept > 0
    _check(dataset, folds(dataset, count=5), 5, 1, 238 - kept)
