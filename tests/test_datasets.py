"""Data sets: folders and tables, good and bad, and the split that keeps patients together."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from labelled import patients, write_folders, write_picture, write_table
from mikata import datasets
from mikata.errors import Cancelled, DataError, ParameterError
from mikata.types import Progress


@pytest.fixture(autouse=True)
def _own_salt(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "salt"
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(folder))


def test_folder_gives_classes_in_natural_order(hard_path: Path) -> None:
    write_folders(hard_path, ("class 10", "class 2", "正常"), 3)
    (hard_path / "class 2" / "Thumbs.db").write_bytes(b"x")
    (hard_path / ".hidden").mkdir()
    dataset = datasets.read(hard_path)
    assert dataset.classes == ("class 2", "class 10", "正常")
    assert dataset.counts() == {"class 2": 3, "class 10": 3, "正常": 3}
    assert not dataset.has_patients
    assert dataset.references == {"not stated": 9}
    picture = dataset.entries[0].picture
    assert (picture.channels, picture.height, picture.width, picture.unit, picture.eight_bit) == (
        1,
        32,
        32,
        "grey",
        True,
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_table_encodings_and_delimiters(hard_path: Path, encoding: str, delimiter: str) -> None:
    rows = [(f"画像/{label}{i}.png", label, f"患者{i}") for label in ("正常", "異常") for i in range(3)]
    path = write_table(hard_path, rows, " File ,ＬＡＢＥＬ,Patient")
    path.write_bytes(path.read_bytes().decode().replace(",", delimiter).encode(encoding))
    dataset = datasets.read(path)
    assert dataset.counts() == {"正常": 3, "異常": 3}
    assert len({entry.patient for entry in dataset.entries}) == 3


def test_patients_become_hashes_and_aliases_stay(tmp_path: Path) -> None:
    dataset = datasets.read(write_table(tmp_path, patients()))
    assert dataset.has_patients
    assert len({entry.patient for entry in dataset.entries}) == 16
    assert not {entry.patient for entry in dataset.entries} & {row[2] for row in patients()}
    rows = [(*row, f"case {row[2]}") for row in patients()]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,patient alias"))
    assert {entry.patient for entry in dataset.entries} == {f"case {row[2]}" for row in rows}


def test_every_column_is_read_and_others_are_listed(tmp_path: Path) -> None:
    names = ("study", "phase", "view", "laterality", "lesion", "site", "reference")
    rows = [
        (f"{label}{i}.png", label, *(f"{name} {i}" for name in names), "x")
        for label in "ab"
        for i in range(3)
    ]
    dataset = datasets.read(write_table(tmp_path, rows, ",".join(("file", "label", *names, "licence"))))
    assert [getattr(dataset.entries[1], name) for name in names] == [f"{name} 1" for name in names]
    assert dataset.ignored_columns == ("licence",)
    assert dataset.references == {f"reference {i}": 2 for i in range(3)}


def test_windows_and_mac_spellings_of_files(tmp_path: Path) -> None:
    for i in range(3):
        write_picture(tmp_path / "絵" / f"か\u3099{i}.png", 0, i)  # as a Mac writes it: the sound mark apart
        write_picture(tmp_path / "絵" / f"b{i}.png", 1, i)
    rows = [(f"絵\\が{i}.png", "a") for i in range(3)] + [(f"絵\\b{i}.png", "b") for i in range(3)]
    lines = "\n".join(["file,label", *(",".join(row) for row in rows)])
    (tmp_path / "table.csv").write_text(lines, encoding="utf-8")
    dataset = datasets.read(tmp_path / "table.csv")
    assert len(dataset.entries) == 6
    assert not dataset.skipped


def test_unreadable_files_are_skipped_and_listed(tmp_path: Path) -> None:
    write_folders(tmp_path, count=4)
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    (tmp_path / "a" / "notes.txt").write_text("words")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(tmp_path / "b" / "flat.png")
    np.save(tmp_path / "b" / "nan.npy", np.array([[0, np.nan], [1, 2]], np.float32))
    dataset = datasets.read(tmp_path)
    assert len(dataset.entries) == 8
    assert {path.name for path, _ in dataset.skipped} == {"broken.png", "notes.txt", "flat.png", "nan.npy"}
    assert all(reason for _, reason in dataset.skipped)


def test_missing_files_are_skipped(tmp_path: Path) -> None:
    path = write_table(tmp_path, patients())
    (tmp_path / "a" / "0_0.png").unlink()
    dataset = datasets.read(path)
    assert [(path.name, reason) for path, reason in dataset.skipped] == [
        ("0_0.png", "The file is not there.")
    ]


def test_fingerprint_follows_contents_and_labels_only(tmp_path: Path) -> None:
    first = datasets.read(write_folders(tmp_path / "one")).fingerprint
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "a" / "0.png").rename(tmp_path / "two" / "a" / "z.png")
    assert datasets.read(tmp_path / "two").fingerprint == first
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "c")
    assert datasets.read(tmp_path / "two").fingerprint != first


def test_cancel_while_reading(tmp_path: Path) -> None:
    class Impatient(Progress):
        @property
        def cancelled(self) -> bool:
            return True

    with pytest.raises(Cancelled):
        datasets.read(write_folders(tmp_path), progress=Impatient())


GOOD = [("a1.png", "a"), ("a2.png", "a"), ("a3.png", "a"), ("b1.png", "b"), ("b2.png", "b"), ("b3.png", "b")]


def _with(*extra: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [*GOOD, *extra]


BAD_TABLES: dict[str, tuple[str, list[tuple[str, ...]], list[str]]] = {
    "no label column": ("file,patient", GOOD, ["'label' is missing", "file, patient"]),
    "misspelt optional column": (
        "file,label,spilt",
        [(*r, "test") for r in GOOD],
        ["'spilt'", "mean 'split'"],
    ),
    "column twice": ("file,label,label", [(*r, "a") for r in GOOD], ["'label' is there twice"]),
    "empty label": ("file,label", _with(("c.png", "")), ["row 8", "'label' is empty"]),
    "empty file": ("file,label", _with(("", "a")), ["row 8", "'file' is empty"]),
    "same row twice": ("file,label", _with(("a1.png", "a")), ["rows 2 and 8", "a1.png"]),
    "two labels": ("file,label", _with(("a1.png", "b")), ["a1.png", "two labels", "row 2", "row 8"]),
    "too many cells": ("file,label", _with(("c.png", "a", "x")), ["row 8", "3 cells"]),
    "unknown split": ("file,label,split", [(*r, "trian") for r in GOOD], ["row 2", "'split' has 'trian'"]),
    "half a split": (
        "file,label,split",
        [*[(*r, "train") for r in GOOD], ("c.png", "a", "")],
        ["row 8", "'split'"],
    ),
    "half the patients": (
        "file,label,patient",
        [*[(*r, "1") for r in GOOD], ("c.png", "a", "")],
        ["row 8", "'patient'"],
    ),
    "alias of two": (
        "file,label,patient,patient_alias",
        [(*r, str(i), "same") for i, r in enumerate(GOOD)],
        ["row 3", "'same' stands for two patients"],
    ),
    "two aliases": (
        "file,label,patient,patient_alias",
        [(*r, "one", str(i)) for i, r in enumerate(GOOD)],
        ["row 3", "aliases '0' and '1'"],
    ),
    "labels alike": ("file,label", _with(("c.png", "Ａ")), ["'a' (3 images)", "'Ａ' (1 images)"]),
    "one class": ("file,label", GOOD[:3], ["only one class, 'a'"]),
    "one image": ("file,label", GOOD[:1], ["only one image"]),
    "class of one image": ("file,label", GOOD[:4], ["class 'b' has only one image"]),
    "class of one patient": (
        "file,label,patient",
        [(*r, "x" if r[1] == "b" else r[0]) for r in GOOD],
        ["class 'b' are of one patient"],
    ),
    "no rows": ("file,label", [], ["no rows"]),
    "patients alike": (
        "file,label,patient",
        [(*r, "Pa 0" if i else "ｐａ0") for i, r in enumerate(GOOD)],
        ["'patient' of rows 2 and 3", "one spelling"],
    ),
    "patients under another name": (
        "file,label,患者番号",
        [(*r, str(i)) for i, r in enumerate(GOOD)],
        ["'患者番号' may tell patients apart", "Name it patient"],
    ),
    "cases in the reference": (
        "file,label,reference",
        [(*r, f"pathology 2020 No. {i}") for i, r in enumerate(GOOD)],
        ["'reference' has 6 different values", "kinds of truth"],
    ),
    "open quotation mark": ("file,label", _with(('"c.png', "a")), ["line", "quotation mark"]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_explained(tmp_path: Path, name: str) -> None:
    header, rows, words = BAD_TABLES[name]
    path = write_table(tmp_path, rows, header)
    with pytest.raises(DataError) as caught:
        datasets.read(path)
    message = str(caught.value)
    assert "table.csv" in message
    assert [word for word in words if word not in message] == []


def test_one_class_may_be_evaluated(tmp_path: Path) -> None:
    dataset = datasets.read(write_table(tmp_path, GOOD[:3], "file,label"), for_training=False)
    assert dataset.classes == ("a",)


def _missing(path: Path) -> Path:
    return path / "nowhere"


def _empty(path: Path) -> Path:
    return path


def _empty_class(path: Path) -> Path:
    write_folders(path)
    (path / "c").mkdir()
    return path


def _nested(path: Path) -> Path:
    write_folders(path / "train")
    return path


def _table_inside(path: Path) -> Path:
    write_table(path, GOOD, "file,label", name="labels.csv")
    return path


def _nothing_readable(path: Path) -> Path:
    for name in "ab":
        (path / name).mkdir()
        (path / name / "x.png").write_bytes(b"no image")
    return path


def _same_picture(path: Path) -> Path:
    write_folders(path)
    shutil.copy(path / "a" / "0.png", path / "b" / "copy.png")
    return path


def _binary_table(path: Path) -> Path:
    (path / "t.csv").write_bytes(b"PK\x03\x04\x00\x81\xff\xff")
    return path / "t.csv"


def _mixed_depths(path: Path) -> Path:
    write_folders(path)
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 4096, (32, 32)).astype(np.uint16)
        Image.fromarray(pixels).save(path / "b" / f"wide{i}.png")
    return path


def _mixed_units(path: Path) -> Path:
    write_folders(path)
    shutil.copy(__import__("pydicom.data").data.get_testdata_file("CT_small.dcm"), path / "a" / "ct.dcm")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, ["does not exist"]),
        (_empty, ["no class folders"]),
        (_empty_class, ["holds no images"]),
        (_nested, ["holds the folder a", "CSV"]),
        (_table_inside, ["labels.csv"]),
        (_nothing_readable, ["None of the 2 images", "x.png"]),
        (_same_picture, ["same picture", "0.png", "copy.png"]),
        (_binary_table, ["not a text table"]),
        (_mixed_depths, ["different kinds", "8-bit values", "wide"]),
        (_mixed_units, ["different kinds", "ct.dcm"]),
    ],
)
def test_bad_folders_are_explained(hard_path: Path, make: object, words: list[str]) -> None:
    path = make(hard_path)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        datasets.read(path)
    assert [word for word in words if word not in str(caught.value)] == []


# --- split


def _check_split(dataset: datasets.Dataset, parts: dict[str, tuple[datasets.Entry, ...]]) -> None:
    assert list(parts) == ["training", "selection", "test"]
    assert sorted(e.file for part in parts.values() for e in part) == sorted(e.file for e in dataset.entries)
    for key in (lambda e: e.patient, lambda e: e.picture.digest):
        if dataset.has_patients or key(dataset.entries[0]):
            homes = Counter(group for part in parts.values() for group in {key(e) for e in part} - {""})
            assert max(homes.values()) == 1


def test_split_without_patients_is_exact(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path, ("a", "b"), 20))
    parts = datasets.split(dataset, test=0.25, selection=0.15, seed=3)
    _check_split(dataset, parts)
    for name, count in (("training", 12), ("selection", 3), ("test", 5)):
        assert Counter(e.label for e in parts[name]) == {"a": count, "b": count}
    assert datasets.split(dataset, test=0.25, selection=0.15, seed=3) == parts
    assert datasets.split(dataset, test=0.25, selection=0.15, seed=4) != parts


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_patients_and_proportions(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [
        (f"{label}/{p}_{i}.png", label, f"{label}{p}")
        for label, number in (("common", 30), ("rare", 10))
        for p in range(number)
        for i in range(int(generator.integers(1, 6)))
    ]
    # some patients have images of both classes
    rows += [(f"common/both{p}.png", "common", f"rare{p}") for p in range(3)]
    dataset = datasets.read(write_table(tmp_path, rows))
    parts = datasets.split(dataset, seed=seed)
    _check_split(dataset, parts)
    for part, share in (("training", 0.6), ("selection", 0.2), ("test", 0.2)):
        for label, count in dataset.counts().items():
            assert abs(sum(e.label == label for e in parts[part]) - share * count) <= max(2, 0.04 * count)


def test_copies_of_one_picture_stay_together(tmp_path: Path) -> None:
    write_folders(tmp_path, count=9)
    for i in range(6):
        shutil.copy(tmp_path / "a" / "0.png", tmp_path / "a" / f"copy{i}.png")
    dataset = datasets.read(tmp_path)
    for seed in range(4):
        _check_split(dataset, datasets.split(dataset, seed=seed))


def test_copies_in_another_format_stay_together(tmp_path: Path) -> None:
    write_folders(tmp_path, count=9)
    for i in range(9):
        with Image.open(tmp_path / "a" / f"{i}.png") as picture:
            picture.save(tmp_path / "a" / f"copy {i}.tif")
    dataset = datasets.read(tmp_path)
    assert len({e.picture.digest for e in dataset.entries}) == 18
    for seed in range(4):
        _check_split(dataset, datasets.split(dataset, seed=seed))


def _scan(path: Path, patient: str, seed: int) -> None:
    """A small DICOM file of a patient."""
    scan = pydicom.Dataset()
    scan.SOPClassUID, scan.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
    scan.PatientID, scan.PatientName, scan.Modality = patient, "NAME^OF", "OT"
    scan.Rows = scan.Columns = 32
    scan.SamplesPerPixel, scan.PhotometricInterpretation, scan.PixelRepresentation = 1, "MONOCHROME2", 0
    scan.BitsAllocated = scan.BitsStored = 8
    scan.HighBit = 7
    scan.PixelData = np.random.default_rng(seed).integers(0, 256, (32, 32)).astype(np.uint8).tobytes()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    scan.save_as(path, enforce_file_format=True)


def test_dicom_headers_tell_patients_apart(tmp_path: Path) -> None:
    for kind, label in enumerate("ab"):
        for i in range(24):
            written = (
                f"pat{i // 4} " if i % 2 else f"PAT{i // 4}"
            )  # padded and in capitals, as systems differ
            _scan(tmp_path / label / f"{i}.dcm", written, 100 * kind + i)
    dataset = datasets.read(tmp_path)
    assert dataset.has_patients
    assert dataset.grouping == "patient-wise"
    assert len({e.patient for e in dataset.entries}) == 6
    assert not any("pat" in e.patient.lower() for e in dataset.entries)
    for seed in range(4):
        _check_split(dataset, datasets.split(dataset, seed=seed))


def test_one_id_for_everyone_is_explained(tmp_path: Path) -> None:
    for kind, label in enumerate("ab"):
        for i in range(4):
            _scan(tmp_path / label / f"{i}.dcm", "ANONYMOUS", 100 * kind + i)
    with pytest.raises(
        DataError, match=r"of one patient by their DICOM headers.*CSV with the column patient"
    ):
        datasets.read(tmp_path)


def test_a_study_stays_together_where_no_patient_is_known(tmp_path: Path) -> None:
    rows = [(f, label, f"exam {patient}") for f, label, patient in patients(8, 3)]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,study"))
    assert dataset.grouping == "study-wise, no patient known"
    parts = datasets.split(dataset)
    homes = Counter(study for part in parts.values() for study in {e.study for e in part})
    assert max(homes.values()) == 1


def test_given_split_wins(tmp_path: Path) -> None:
    words = {0: "Test", 1: "VAL", 2: "train", 3: "training"}
    rows = [(*row, words.get(i % 4, "")) for i, row in enumerate(patients(8, 1))]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,split"))
    parts = datasets.split(dataset)
    assert {name: len(entries) for name, entries in parts.items()} == {
        "training": 8,
        "selection": 4,
        "test": 4,
    }
    assert all(e.split == name for name, entries in parts.items() for e in entries)


@pytest.mark.parametrize(("given", "absent"), [("test", "selection"), ("selection", "test")])
def test_missing_part_comes_from_training(tmp_path: Path, given: str, absent: str) -> None:
    rows = [(*row, given if i % 5 == 0 else "training") for i, row in enumerate(patients(20, 1))]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,split"))
    parts = datasets.split(dataset)
    assert {len(parts[given]), len(parts[absent])} == {8}
    assert {e.split for e in parts[given]} == {given}
    assert {e.split for e in parts[absent]} == {"training"}
    _check_split(dataset, parts)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (lambda i: "test", ["no row for training"]),
        (lambda i: "test" if i % 2 else "training", ["one patient"]),
        (lambda i: "test" if i < 2 else "training", ["'b'", "test part"]),
    ],
)
def test_bad_given_splits(tmp_path: Path, splits: object, words: list[str]) -> None:
    rows = [(*row, splits(i)) for i, row in enumerate(patients(8, 2))]  # type: ignore[operator]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,split"))
    with pytest.raises(DataError) as caught:
        datasets.split(dataset)
    assert [word for word in words if word not in str(caught.value)] == []


def test_too_few_patients_for_three_parts(tmp_path: Path) -> None:
    rows = [*patients(8, 1, ("a",)), *((f"b{i}.png", "b", f"p{i % 2}") for i in range(6))]
    dataset = datasets.read(write_table(tmp_path, rows))
    with pytest.raises(DataError, match=r"'b' has no image in the \w+ part: it has only 2 patients"):
        datasets.split(dataset)


@pytest.mark.parametrize(("test", "selection"), [(0, 0.2), (0.2, 0), (0.6, 0.4), (-0.1, 0.2)])
def test_bad_shares(tmp_path: Path, test: float, selection: float) -> None:
    dataset = datasets.read(write_folders(tmp_path))
    with pytest.raises(ParameterError):
        datasets.split(dataset, test=test, selection=selection)


def test_chest_radiographs_split_by_patient(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "cxr-view"
    with (source / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["file,label,patient", *(f"{source / r['file']},{r['label']},{r['patient']}" for r in rows)]
    (tmp_path / "all.csv").write_text("\n".join(lines), encoding="utf-8")
    dataset = datasets.read(tmp_path / "all.csv")
    assert dataset.counts() == {"AP": 119, "PA": 119}
    parts = datasets.split(dataset, seed=1)
    _check_split(dataset, parts)
    for part, share in (("training", 0.6), ("selection", 0.2), ("test", 0.2)):
        for count in Counter(e.label for e in parts[part]).values():
            assert abs(count - share * 119) <= 2
    given = datasets.read(source / "labels.csv")
    by_table = datasets.split(given)
    _check_split(given, by_table)
    assert {e.split for e in by_table["test"]} == {"test"}
