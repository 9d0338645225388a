"""Recipes compared, settings searched, recipes derived: on small pictures, from beginning to end."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

import mikata
from labelled import patients, write_folders, write_table
from mikata import datasets
from mikata.comparison import contestants
from mikata.comparison.deriving import rules_for
from mikata.comparison.running import compare_recipes
from mikata.comparison.search import search
from mikata.comparison.space import space_of
from mikata.errors import Cancelled, DataError, OutputError, RecipeError
from mikata.training import Recipe
from mikata.training import recipe as recipes
from mikata.training.writing import as_toml
from mikata.types import SILENT, Progress

STAGE = 'network = "small_cnn"\nsize = [32, 32]\nepochs = 1\nbatch = 8\nlearning_rate = 0.01\n'
FORMULA = "[stage.formula]\nclasses = 3\nper_class = 5\nepochs = 1\nbatch = 8\n"
STAGED = (
    f'[[stage]]\nname = "stripes"\ndata = "stripes"\nsource = "formula"\n{STAGE}{FORMULA}'
    f'[[stage]]\nname = "task"\ndata = "table.csv"\nepochs = 1\nbatch = 8\n'
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path, patients(6, 2))
    write_folders(tmp_path / "stripes", ("down", "across", "flat"), 6, size=(40, 40))
    return tmp_path


def compared(folder: Path, *files: Path, progress: Progress = SILENT, **options: object):  # type: ignore[no-untyped-def]
    settings = {"folds": 2, "repeats": 2, "seed": 3, "overwrite": False} | options
    return compare_recipes(files, None, folder / "out", progress=progress, **settings)  # type: ignore[arg-type]


def test_one_recipe_is_taken_apart(tmp_path: Path) -> None:
    recipe = recipes.read(write(tmp_path / "r.toml", STAGED))
    found = {one.name: one.recipe for one in contestants([recipe])}
    assert list(found) == ["none", "formula", "stripes", "in stages"]
    assert [[s.source for s in one.stages] for one in found.values()] == [
        ["none"],
        ["formula"],
        ["none", "previous"],
        ["formula", "previous"],
    ]
    assert found["formula"].stage.formula == recipe.stages[0].formula
    assert {one.stage.epochs for one in found.values()} == {1}
    frozen = recipes.read(
        write(tmp_path / "f.toml", f'[[stage]]\nsource = "formula"\nfrozen = ["block1"]\n{STAGE}{FORMULA}')
    )
    assert [one.recipe.stage.frozen for one in contestants([frozen])] == [(), ("block1",)]
    with pytest.raises(RecipeError, match="nothing to compare"):
        contestants([Recipe()])


def test_comparison_is_whole_and_goes_on(folder: Path) -> None:
    recipe = write(folder / "staged.toml", STAGED)

    class Impatient(Progress):
        """Stops in the fifth training."""

        def __init__(self) -> None:
            self.fifth = False

        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            self.fifth = self.fifth or "training 5 of 16" in message

        @property
        def cancelled(self) -> bool:
            return self.fifth

    with pytest.raises(Cancelled):
        compared(folder, recipe, progress=Impatient())
    done = sorted((folder / "out" / "trainings").glob("*.npz"))
    assert len(done) == 4
    assert not [path for path in (folder / "out" / "trainings").iterdir() if path.is_dir()]
    before = {path.name: path.stat().st_mtime_ns for path in done}
    shown: list[str] = []

    class Listening(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            shown.append(message)
            assert 0 <= done <= total or total == 0

    result = compared(folder, recipe, progress=Listening())
    assert {path.name: path.stat().st_mtime_ns for path in done} == before
    # what does not depend on the fold is learnt once a repeat, and for all that begin with it
    drew = {m.partition(":")[0] for m in shown if "pictures drawn by formula: Epoch 1 of 1" in m}
    assert len(drew) == 2
    assert [method.name for method in result.comparison.methods] == [
        "none",
        "formula",
        "stripes",
        "in stages",
    ]
    assert (result.comparison.repeats, result.comparison.folds, result.comparison.n) == (2, 2, 24)
    assert result.comparison.n_patients == 12
    for repeats in result.trials.probabilities.values():
        for one in repeats:
            np.testing.assert_allclose(one.sum(1), 1, atol=1e-5)
    # no patient is on both sides of any fold
    for fold in result.trials.folds:
        sides = [{entry.patient for entry in fold.parts[part]} for part in ("training", "selection", "test")]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
        assert not sides[0] & sides[1]
    page = result.page.read_text(encoding="utf-8")
    assert "against none" in page
    assert "Research use, not for diagnosis." in page
    assert "<svg" not in page  # pictures are inside as data
    with result.sheet.open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["method"] for row in rows} == {"none", "formula", "stripes", "in stages"}
    assert {"accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1", "auc"} <= {
        row["figure"] for row in rows
    }
    # the same again gives the same, and asks before it overwrites
    with pytest.raises(OutputError, match="already there"):
        compared(folder, recipe)
    again = compared(folder, recipe, overwrite=True)
    assert again.comparison.record() == result.comparison.record()


def test_another_setting_is_trained_anew(folder: Path) -> None:
    one = write(folder / "a.toml", f'[[stage]]\ndata = "table.csv"\n{STAGE}')
    other = write(folder / "b.toml", f'[[stage]]\ndata = "table.csv"\n{STAGE}')
    first = compared(folder, one, other, repeats=1)
    # equal recipes under two names have the same splits and seeds, so that they are equal to the last bit
    a, b = first.trials.probabilities.values()
    assert np.array_equal(a[0], b[0])
    assert first.comparison.methods[1].differences[0].value == 0
    write(other, f'[[stage]]\ndata = "table.csv"\n{STAGE.replace("0.01", "0.02")}')
    second = compared(folder, one, other, repeats=1, overwrite=True)
    c, d = second.trials.probabilities.values()
    assert np.array_equal(a[0], c[0])
    assert not np.array_equal(b[0], d[0])


def test_what_cannot_be_compared(folder: Path) -> None:
    recipe = write(folder / "r.toml", f'[[stage]]\nsource = "formula"\n{STAGE}{FORMULA}')
    with pytest.raises(RecipeError, match="names no data"):
        compared(folder, recipe)
    named = write(folder / "s.toml", f'[[stage]]\ndata = "table.csv"\nsource = "formula"\n{STAGE}{FORMULA}')
    with pytest.raises(DataError, match=r"'a'|'b'"):
        compared(folder, named, folds=20)


def test_command_takes_a_folder_of_recipes(folder: Path) -> None:
    (folder / "recipes").mkdir()
    for name, rate in (("slow", "0.0001"), ("fast", "0.01")):
        write(
            folder / "recipes" / f"{name}.toml",
            f'[[stage]]\ndata = "../table.csv"\n{STAGE.replace("0.01", rate)}',
        )
    result = mikata.compare(folder / "recipes", out=folder / "out", folds=2, repeats=1)
    assert "slow against fast" in result.message
    assert result.page == folder / "out" / "report.html"
    assert result.tables[0].columns[:3] == ("method", "figure", "value")


SEARCH = f'[search]\nlearning_rate = {{ low = 1e-4, high = 0.1, log = true }}\nsource = ["none", "formula"]\nbatch = [4, 8]\n[[stage]]\ndata = "table.csv"\n{STAGE}'


def searched(folder: Path, trials: int, text: str = SEARCH):  # type: ignore[no-untyped-def]
    file = write(folder / "s.toml", text)
    return search(file, None, folder / "found", trials=trials, folds=2, seed=0, progress=SILENT)


def test_search_goes_on_and_leaves_the_test_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mikata.comparison import search as module

    used: set[str] = set()
    real = module.train_fold

    def watched(recipe, dataset, fold, *args, **options):  # type: ignore[no-untyped-def]
        used.update(entry.picture.digest for part in fold.parts.values() for entry in part)
        return real(recipe, dataset, fold, *args, **options)

    monkeypatch.setattr(module, "train_fold", watched)
    text = SEARCH + FORMULA
    first = searched(folder, 2, text)
    assert len(first.table.rows) == 2
    found = searched(folder, 4, text)
    assert len(found.table.rows) == 4
    assert found.table.rows[:2] == first.table.rows
    assert len({row[3] for row in found.table.rows}) == 4  # not the same proposals once more
    dataset = datasets.read(folder / "table.csv")
    tested = {entry.picture.digest for entry in datasets.split(dataset)["test"]}
    assert tested
    assert not tested & used
    best = recipes.read(found.recipe)
    assert best.stage.learning_rate == pytest.approx(found.settings["learning_rate"])
    assert best.stage.source == found.settings["source"]
    assert not best.search
    assert found.value == max(row[2] for row in found.table.rows if row[1] == "complete")
    assert "test images were not used" in found.message
    with pytest.raises(OutputError, match="another recipe"):
        searched(folder, 5, text.replace("[4, 8]", "[4, 16]"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", ["nothing to search"]),
        ("[search]\nlerning_rate = [1, 2]", ["'lerning_rate'"]),
        ("[search]\nseed = [1, 2]", ["'seed'"]),
        ("[search]\nbatch = [8]", ["batch", "two or more"]),
        ("[search]\nbatch = [8, 8]", ["batch", "different"]),
        ("[search]\nlearning_rate = { low = 0.0, high = 1.0, log = true }", ["learning_rate", "above 0"]),
        ("[search]\nlearning_rate = { low = 2.0, high = 1.0 }", ["learning_rate"]),
        ("[search]\nlearning_rate = { low = 1.0, high = 100.0 }", ["learning_rate", "100"]),
        ('[search]\noptimiser = ["adam", "rmsprop"]', ["optimiser", "rmsprop"]),
    ],
)
def test_bad_search_tables(tmp_path: Path, table: str, words: list[str]) -> None:
    recipe = recipes.read(write(tmp_path / "r.toml", f"{table}\n[[stage]]\n"))
    with pytest.raises(RecipeError) as caught:
        space_of(recipe)
    assert [word for word in words if word not in str(caught.value)] == []


def test_derived_recipe_is_the_same_every_time(folder: Path) -> None:
    result = mikata.derive(folder / "table.csv", out=folder / "derived.toml")
    text = (folder / "derived.toml").read_text(encoding="utf-8")
    assert 'data = "table.csv"' in text
    recipe = recipes.read(folder / "derived.toml")
    assert recipe.stage.data == str(folder / "table.csv")
    assert recipe.stage.size == (32, 32)
    assert not recipe.stage.augmentation.flip_horizontal
    # reasons stand in the file and in the table
    for _, _, reason in result.tables[0].rows:
        assert reason
    assert "median image 32 x 32 px" in text
    mikata.derive(folder / "table.csv", out=folder / "again.toml")
    assert (folder / "again.toml").read_text(encoding="utf-8") == text
    with pytest.raises(OutputError, match="already there"):
        mikata.derive(folder / "table.csv", out=folder / "derived.toml")


def test_rules_follow_the_data(tmp_path: Path) -> None:
    write_folders(tmp_path / "many", ("left lung", "other"), 6, colour=True)
    for number in range(6, 60):
        from labelled import write_picture

        write_picture(tmp_path / "many" / "other" / f"{number}.png", 1, number, colour=True)
    found = {rule.key: rule.value for rule in rules_for(datasets.read(tmp_path / "many"))}
    assert not found["flip_horizontal"]
    assert found["balance"] == "class_weights"
    assert found["batch"] == 8


def test_written_recipes_read_back(tmp_path: Path) -> None:
    recipe = recipes.read(write(tmp_path / "r.toml", STAGED))
    again = recipes.read(write(tmp_path / "again.toml", as_toml(recipe)))
    assert json.dumps(again.to_dict()) == json.dumps(recipe.to_dict())
    assert math.isclose(again.stages[0].learning_rate, 0.01)


def test_a_recipe_without_the_source_that_was_tried_can_be_read(tmp_path: Path) -> None:
    text = '[[stage]]\nsource = "formula"\n[stage.formula]\nclasses = 4\nepochs = 2\n'
    recipe = recipes.read(write(tmp_path / "tried.toml", text))
    assert recipes.read(write(tmp_path / "with.toml", as_toml(recipe))).stages == recipe.stages
    none = dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stage, source="none"),))
    again = recipes.read(write(tmp_path / "without.toml", as_toml(none)))
    assert again.stage.source == "none"
