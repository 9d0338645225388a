"""The Train command: what it writes, what it refuses before it starts, and what it never touches."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

import mikata
from labelled import patients, write_folders, write_picture, write_table
from mikata import packaging
from mikata.errors import MikataError, OutputError, PackageError
from mikata.learning import packaged, tuning
from mikata.types import Progress

RECIPE = """
[[stage]]
network = "small_cnn"
size = [32, 32]
fit = "native"
epochs = 2
batch = 8
"""


@pytest.fixture
def quick(hard_path: Path) -> Path:
    recipe = hard_path / "quick.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def train(data: Path, out: Path, recipe: Path, **options: Any) -> mikata.Result:
    return mikata.train(data, out=out, recipe=str(recipe), **options)


def test_a_package_its_zip_and_a_report(hard_path: Path, quick: Path) -> None:
    data = write_folders(hard_path / "data", ("肺炎", "正常"), 10)
    before = set(hard_path.iterdir())
    result = train(data, hard_path / "model", quick, licence="CC0-1.0", authors="山田 太郎; B")
    made = {path.name for path in set(hard_path.iterdir()) - before}
    assert made == {"model", "model.zip", "model report.html", "model test images.csv"}
    rows = list(csv.DictReader((hard_path / "model test images.csv").read_text("utf-8-sig").splitlines()))
    assert len(rows) == 4
    assert {row["label"] for row in rows} == {"肺炎", "正常"}
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert f"test accuracy {100 * right / 4:.1f} %" in result.message
    assert all(float(row["p(肺炎)"]) + float(row["p(正常)"]) == pytest.approx(1, abs=1e-5) for row in rows)
    assert {path.name for path in result.files} == made
    assert "test accuracy" in result.message
    assert "Wilson, n = 4 images" in result.message
    assert result.message.endswith("Research use, not for diagnosis.")
    assert not result.stopped
    page = (hard_path / "model report.html").read_text(encoding="utf-8")
    assert "<th>肺炎</th>" in page  # as text: a plot would need a font that has it
    assert packaging.check(hard_path / "model.zip").passed


def test_nothing_published_names_a_person_or_a_place(hard_path: Path, quick: Path) -> None:
    rows = [(f, label, f"YAMADA-{patient}") for f, label, patient in patients(5)]
    table = write_table(hard_path / "ABE_HANAKO", rows)
    first = hard_path / "first model"
    train(table, first, quick)
    broken = hard_path / "ABE_HANAKO" / "a" / "0_0.png"
    broken.write_bytes(b"no picture")
    recipe = hard_path / "SUZUKI_JIRO.toml"
    recipe.write_text(RECIPE + f"source = '{first}'\n", encoding="utf-8")
    result = train(table, hard_path / "second", recipe)
    assert "0_0.png" in result.message  # the one who starts it is told the file
    record = json.loads((hard_path / "second" / "training.json").read_text(encoding="utf-8"))
    assert record["training"]["recipe"]["stage"][0]["source"] == "first model"
    assert len(record["training"]["parent"]["sha256"]) == 64
    assert record["training"]["data"]["split"] == "patient-wise"
    published = [
        *(hard_path / "second").iterdir(),
        hard_path / "second.zip",
        hard_path / "second report.html",
    ]
    for path in published:
        content = path.read_bytes()
        for word in ("YAMADA", "ABE_HANAKO", "0_0.png", str(hard_path)):
            for encoding in ("utf-8", "utf-16-le"):
                assert word.encode(encoding) not in content, (path, word)


def test_the_users_own_folder_is_not_taken_for_checkpoints(hard_path: Path, quick: Path) -> None:
    data = write_folders(hard_path / "lungs training", count=6)
    files = sorted(data.rglob("*.png"))
    with pytest.raises(OutputError, match="holds other files"):
        train(data, hard_path / "lungs", quick)
    with pytest.raises(OutputError, match="holds other files"):
        train(data, hard_path / "lungs", quick, overwrite=True)
    assert sorted(data.rglob("*.png")) == files
    (hard_path / "x training").mkdir()
    (hard_path / "x training" / "best.pt").write_bytes(b"a night's work")
    with pytest.raises(OutputError, match="did not end"):
        train(data, hard_path / "x", quick)


@pytest.mark.parametrize(
    ("prepare", "options", "error", "words"),
    [
        (lambda p: (p / "model").mkdir() or (p / "model" / "own.txt").write_text("x"), {}, OutputError, "no package"),
        (lambda p: (p / "model report.html").write_text("own"), {}, OutputError, "already there"),
        (lambda p: (p / "model.zip").write_text("own"), {}, OutputError, "already there"),
        (lambda p: None, {"licence": "Creative Commons"}, PackageError, "no SPDX name, such as CC-BY-4.0"),
        (lambda p: None, {"recipe": "no such"}, MikataError, "does not exist"),
    ],
)  # fmt: skip
def test_what_can_be_known_is_said_before_the_data_are_read(
    hard_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Any,
    options: dict[str, str],
    error: type[Exception],
    words: str,
) -> None:
    data = write_folders(hard_path / "data", count=6)
    prepare(hard_path)
    before = {p: p.read_bytes() for p in hard_path.rglob("*") if p.is_file()}
    monkeypatch.setattr(packaged.datasets, "read", lambda *a, **k: pytest.fail("the data were read"))
    with pytest.raises(error, match=words):
        mikata.train(data, out=hard_path / "model", **options)
    assert {p: p.read_bytes() for p in hard_path.rglob("*") if p.is_file()} == before


def test_a_place_that_cannot_be_written(hard_path: Path, quick: Path) -> None:
    data = write_folders(hard_path / "data", count=6)
    (hard_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        train(data, hard_path / "file" / "model", quick)


def test_test_images_of_another_kind_are_counted(hard_path: Path, quick: Path) -> None:
    rows = [(f"{label}{i}.png", label, part) for label in "ab" for i, part in enumerate(["training"] * 6 + ["selection"] * 2 + ["test"] * 2)]  # fmt: skip
    for i in (8, 9):
        write_picture(hard_path / f"a{i}.png", 0, i, colour=True)
    table = write_table(hard_path, rows, "file,label,split")
    result = train(table, hard_path / "model", quick)
    assert "n = 4 images" in result.message  # the grey training images became colour, and all are judged


def test_a_test_image_that_is_gone_is_told(
    hard_path: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_folders(hard_path / "data", count=10)
    evaluate = tuning.evaluation.evaluate

    def lose_one(run: Any, entries: Any, **options: Any) -> Any:
        entries[0].file.unlink()
        return evaluate(run, entries, **options)

    monkeypatch.setattr(tuning.evaluation, "evaluate", lose_one)
    result = train(data, hard_path / "model", quick)
    assert "1 test image(s) could not be judged" in result.message
    assert "n = 3 images" in result.message


def test_columns_that_were_not_used_are_told(hard_path: Path, quick: Path) -> None:
    rows = [(f, label, patient, "7") for f, label, patient in patients(5)]
    result = train(write_table(hard_path / "d", rows, "file,label,patient,kVp"), hard_path / "model", quick)
    assert "Columns that were not used: kVp." in result.message


@pytest.mark.slow
def test_weights_keep_their_normalisation(hard_path: Path, quick: Path) -> None:
    train(write_folders(hard_path / "data", count=10), hard_path / "first", quick)
    first = json.loads((hard_path / "first" / "training.json").read_text())["configuration"]
    darker = hard_path / "darker"
    for path in write_folders(darker, count=10).rglob("*.png"):
        with Pillow.open(path) as picture:
            picture.point(lambda v: v // 3).save(path)
    for normalisation, same in (("auto", True), ("weights", True), ("data", False)):
        recipe = hard_path / f"{normalisation}.toml"
        # the network from before, which may do as well, would be kept with its own normalisation
        recipe.write_text(f"{RECIPE}source = 'first'\nnormalisation = '{normalisation}'\nkeep = 'tuned'\n")
        train(darker, hard_path / f"by {normalisation}", recipe)
        found = json.loads((hard_path / f"by {normalisation}" / "training.json").read_text())["configuration"]
        assert (found["mean"] == first["mean"]) is same
    recipe.write_text(f"{RECIPE}normalisation = 'weights'\n")
    with pytest.raises(MikataError, match="needs weights to take it from"):
        train(darker, hard_path / "x", recipe)


def test_reading_shows_how_far_it_is(hard_path: Path, quick: Path) -> None:
    told = []

    class Listening(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            told.append((message, total))

    data = write_folders(hard_path / "data", count=8)
    train(data, hard_path / "model", quick, progress=Listening())
    assert ("Reading images", 16) in told


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_keeps_the_best_weights(hard_path: Path, quick: Path) -> None:
    data = write_folders(hard_path / "data", count=30)
    quick.write_text(RECIPE.replace("epochs = 2", "epochs = 100000\nearly_stopping = 0"))
    words = [sys.executable, "-m", "mikata", "train", data, "--out", hard_path / "model", "--recipe", quick]
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        end = time.monotonic() + 120
        while not (hard_path / "model training" / "best.pt").exists() and time.monotonic() < end:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert "The training was stopped in epoch" in out
    assert packaging.check(hard_path / "model").passed
    assert (hard_path / "model training" / "last.pt").exists()
