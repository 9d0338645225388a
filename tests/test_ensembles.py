"""Ensembles: the mean of probabilities, as one classifier that packages like any other, and the command for them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mikata
from labelled import patients, write_folders, write_table
from mikata import datasets, images, packaging
from mikata.architecture import Classifier
from mikata.errors import Cancelled, DataError, NetworkError, OutputError, ParameterError
from mikata.evaluation import evaluate
from mikata.learning import ensembling
from mikata.networks import read_package
from mikata.packaging.trained import formula_image
from mikata.training import Run, fitting, stages, train
from mikata.training import plan as plans
from mikata.training import recipe as recipes
from mikata.training.ensembles import Ensemble, ensemble
from mikata.types import Progress
from packages import write_package

STAGE = """
[[stage]]
network = "small_cnn"
size = [32, 32]
epochs = 1
batch = 8
learning_rate = 0.01
"""


def member(seed: int, network: str = "small_cnn", classes: int = 3) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(network, classes, 2, [10.0 * seed, 5.0], [1.0 + seed, 30.0], (40, 36)).eval()


def test_probabilities_are_the_mean() -> None:
    members = [member(seed) for seed in range(4)]
    whole = ensemble(members)
    x = torch.rand(5, 2, 50, 45) * 100
    with torch.inference_mode():
        expected = torch.stack([one(x) for one in members]).double().mean(0)
        assert torch.allclose(whole(x).double(), expected, atol=1e-5)
    assert whole.configuration["network"] == "4 x small_cnn"
    assert not whole.training
    again = Classifier(**whole.configuration)
    again.load_state_dict(whole.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(x), whole(x))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"one has classes 3, another 2"):
        ensemble([member(0), member(1, classes=2)])
    with pytest.raises(NetworkError, match=r"one has network small_cnn, another resnet18"):
        ensemble([member(0), member(1, "resnet18")])
    with pytest.raises(NetworkError, match="from 2 to 64 members, not 1"):
        ensemble([member(0)])
    whole = ensemble([member(0), member(1)])
    with pytest.raises(NetworkError, match="Give its members"):
        ensemble([whole, whole])
    for name in ("1 x small_cnn", "65 x small_cnn", "2 x nothing", "2 x 2 x small_cnn", "-2 x small_cnn"):
        with pytest.raises(ValueError, match=r"members, not|no network named"):
            Classifier(name, 2, 1, [0.0], [1.0])


def test_runs_become_one_package(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("down", "across"), 12))
    quick = {"size": [32, 32], "epochs": 1, "batch": 8, "learning_rate": 0.01}
    runs = tuple(
        train(dataset, recipes.read(changes=quick | {"seed": seed}), folder=tmp_path / str(seed))
        for seed in range(3)
    )
    whole = Ensemble(runs)
    image = formula_image(whole)
    path = packaging.write(tmp_path / "package", whole, test_image=image, name="three of a kind")
    package = read_package(path)
    x = torch.from_numpy(np.stack([image]))
    with torch.inference_mode():
        expected = torch.stack([run.classifier(x) for run in runs]).mean(0)
        assert torch.allclose(package.classifier(x), expected, atol=1e-5)
    assert packaging.check(path).passed
    assert [row["seed"] for row in whole.record()["members"]] == [0, 1, 2]
    assert not whole.folded
    assert set(whole.parts) == {"used", "test"}
    images_of = [{entry.file for entry in run.parts["test"]} for run in runs]
    assert {entry.file for entry in whole.tested} == set.intersection(*images_of)
    # an image that one member has learnt from is no test of the whole
    assert evaluate(whole, runs[0].parts["test"]).seen > 0
    other = datasets.read(write_folders(tmp_path / "other", ("down", "across"), 13))
    with pytest.raises(NetworkError, match="not the same images"):
        Ensemble((runs[0], train(other, recipes.read(changes=quick), folder=tmp_path / "o")))


# --- folds beside a test part


def test_folds_beside_one_test_part(tmp_path: Path) -> None:
    rows = [*patients(9, 2), *patients(6, 3, ("c",))]
    dataset = datasets.read(write_table(tmp_path, rows))
    found = datasets.selection_folds(dataset, count=4, test=0.2, selection=0.1, seed=3)
    assert [fold.number for fold in found] == [0, 1, 2, 3]
    test = found[0].parts["test"]
    # that of Train with the same seed and shares, so that both can be compared
    assert test == datasets.split(dataset, test=0.2, selection=0.1, seed=3)["test"]
    chosen = [i for fold in found for i in fold.indices["selection"]]
    assert sorted(chosen) == sorted(set(range(len(dataset.entries))) - set(found[0].indices["test"]))
    for fold in found:
        assert fold.parts["test"] == test
        people = {part: {entry.patient for entry in entries} for part, entries in fold.parts.items()}
        assert not people["training"] & people["selection"]
        assert not people["test"] & (people["training"] | people["selection"])
        assert all({entry.label for entry in entries} == {"a", "b", "c"} for entries in fold.parts.values())
        assert sum(map(len, fold.parts.values())) == len(dataset.entries)
    assert found == datasets.selection_folds(dataset, count=4, test=0.2, selection=0.1, seed=3)


def test_the_tables_own_test_part_wins(tmp_path: Path) -> None:
    words = ["training", "selection", "training", "test", "training", "selection", "test", "training"]
    rows = [(f, label, patient, words[int(patient[1:])]) for f, label, patient in patients(8, 2)]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient,split"))
    tested = {row[2] for row in rows if row[3] == "test"}
    for fold in datasets.selection_folds(dataset, count=2):
        assert [entry.split for entry in fold.parts["test"]] == ["test"] * 8
        assert len({entry.patient for entry in fold.parts["test"]}) == len(tested)
        assert {entry.split for entry in fold.parts["selection"]} == {"training", "selection"}
    with pytest.raises(
        DataError, match=r"outside the test part the class 'a' has only 6 patients .* 7 folds"
    ):
        datasets.selection_folds(dataset, count=7)
    with pytest.raises(ParameterError, match="at least 2 folds, not 1"):
        datasets.selection_folds(dataset, count=1)


# --- the command


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Every training of a member, as it ends."""
    runs: list[Run] = []

    def spy(*arguments: Any, **options: Any) -> Run:
        runs.append(train(*arguments, **options))
        return runs[-1]

    monkeypatch.setattr(ensembling, "train", spy)
    return runs


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folder of every fit that takes steps; one that only reads what was learnt before is none."""
    folders: list[Path] = []
    original = fitting._run

    def spy(loop: Any, *arguments: Any) -> bool:
        folders.append(loop.checkpoints.folder)
        return original(loop, *arguments)

    monkeypatch.setattr(fitting, "_run", spy)
    return folders


def write_recipe(folder: Path, text: str) -> str:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def learnt_from(parts: Any) -> Iterator[datasets.Entry]:
    return (entry for name in ("training", "selection") for entry in parts[name])


def test_an_ensemble_from_a_table(
    hard_path: Path, trained: list[Run], fitted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(hard_path / "data", [*patients(9, 2), *patients(9, 1, ("c",))])
    # the stage before has the very same images, those of the later test part too
    before = write_table(hard_path / "data", patients(9, 2), name="before.csv")
    recipe = write_recipe(hard_path, f"{STAGE}data = '{before}'\n{STAGE}source = 'previous'\n")
    planned: list[Any] = []
    plan = plans.plan

    def spy(*arguments: Any) -> Any:
        planned.append(plan(*arguments))
        return planned[-1]

    monkeypatch.setattr(stages, "plan", spy)
    result = mikata.ensemble(table, out=hard_path / "多数", recipe=recipe, folds=3, licence="CC0-1.0")
    made = {"多数", "多数.zip", "多数 report.html", "多数 test images.csv"}
    assert {path.name for path in result.files} == made
    assert {path.name for path in hard_path.iterdir()} == made | {"data", "recipe.toml"}

    # no test image, nor another of its patient, is in any part of any stage of any member
    assert len(trained) == len(planned) == 3
    tested = trained[0].parts["test"]
    digests = {entry.picture.digest for entry in tested}
    people = {entry.patient for entry in tested}
    for member, of_stages in zip(trained, planned, strict=True):
        assert member.parts["test"] == tested
        assert len(of_stages) == 2
        assert of_stages[0].left_out > 0
        for stage in of_stages:
            for entry in learnt_from(stage.parts):
                assert entry.picture.digest not in digests
                assert entry.patient not in people
    # the stage before has images of every fold, so that no two members can share it
    assert len(fitted) == 6

    # the network is the mean of its members, and the table of test images is what it says
    package = read_package(hard_path / "多数")
    assert package.classifier.configuration["network"] == "3 x small_cnn"
    assert "NOT pass" not in result.message
    rows = list(csv.DictReader((hard_path / "多数 test images.csv").read_text("utf-8-sig").splitlines()))
    alone = [evaluate(run, tested) for run in trained]
    mean = np.mean([report.probabilities for report in alone], axis=0)
    said = [[float(row[f"p({name})"]) for name in "abc"] for row in rows]
    np.testing.assert_allclose(said, mean, atol=1e-5)
    assert [row["file"] for row in rows] == [entry.file.name for entry in tested]
    predicted = mikata.predict(str(tested[0].file), model=hard_path / "多数").tables[0]
    assert predicted.rows[0][-3:] == pytest.approx(mean[0], abs=1e-4)

    # its members alone, as they were measured
    balanced = [report.balanced_accuracy.value for report in alone]
    whole = evaluate(package, tested)
    own = next(row for row in result.tables[1].rows if row[0] == "balanced_accuracy")
    assert own[1:7] == pytest.approx(
        [
            whole.balanced_accuracy.value, np.mean(balanced), np.std(balanced, ddof=1), min(balanced), max(balanced),
            whole.balanced_accuracy.value - np.mean(balanced),
        ]
    )  # fmt: skip
    assert own[7] <= own[6] <= own[8]
    assert (
        f"members alone {np.mean(balanced):.3f} on average (SD {np.std(balanced, ddof=1):.3f}"
        in result.message
    )
    assert {name for name, *_ in result.plots[0].series} == {
        f"{part} {number}" for part in ("training", "selection") for number in (1, 2, 3)
    }

    record = json.loads((hard_path / "多数" / "training.json").read_text(encoding="utf-8"))
    assert record["evaluation"]["protocol"].startswith(f"Measured on {len(tested)} images")
    assert "the test part (patient-wise)" in record["evaluation"]["protocol"]
    kept = record["training"]
    assert [one["best_epoch"] for one in kept["members"]] == [1, 1, 1]
    assert set(kept["data"]["parts"]) == {"fold 1", "fold 2", "fold 3", "test"}
    assert kept["members_alone"]["figures"]["balanced_accuracy"]["mean"] == pytest.approx(np.mean(balanced))
    page = (hard_path / "多数 report.html").read_text(encoding="utf-8")
    for words in ("The ensemble and its members", "fold 3", "dealt into 3 folds", "The stages before"):
        assert words in page
    readme = (hard_path / "多数" / "README.md").read_text(encoding="utf-8")
    assert "3 networks were trained, each on all folds but one" in readme

    # what the whole gives is explained, by the feature maps of all members together
    picture = images.read(tested[0].file)
    explained = mikata.grad_cam(picture, model=hard_path / "多数")
    column = explained.tables[0].columns.index("layer")
    assert explained.tables[0].rows[0][column].startswith("members.*.")
    assert mikata.grad_cam(picture, model=hard_path / "多数", layer="members.0.1.features.14").images


def test_members_that_are_done_are_not_trained_again(
    hard_path: Path, fitted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_folders(hard_path / "data", count=8)
    recipe = write_recipe(
        hard_path,
        f"{STAGE}source = 'formula'\nformula = {{ classes = 3, per_class = 4, epochs = 1, batch = 4 }}\n",
    )
    options: dict[str, Any] = {"recipe": recipe, "folds": 2}
    whole: list[Ensemble] = []

    def keep(places: Any, run: Ensemble, *arguments: Any, **more: Any) -> None:
        whole.append(run)
        raise RuntimeError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(ensembling, "finish", keep)
        with pytest.raises(RuntimeError, match="enough"):
            mikata.ensemble(data, out=hard_path / "whole", **options)
    # what does not depend on the fold is learnt once
    names = ["member 1/formula", "member 1", "member 2"]
    assert [path.relative_to(hard_path / "whole training").as_posix() for path in fitted] == names
    fitted.clear()

    def break_off(*arguments: Any, folder: Path, **more: Any) -> Run:
        if folder.name == "member 2":
            raise RuntimeError("the lights go out")
        return train(*arguments, folder=folder, **more)

    out = hard_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(ensembling, "train", break_off)
        with pytest.raises(RuntimeError, match="lights"):
            mikata.ensemble(data, out=out, **options)
    assert len(fitted) == 2
    assert not out.exists()
    with pytest.raises(OutputError, match="did not end"):
        mikata.ensemble(data, out=out, **options)
    with pytest.raises(OutputError, match="holds other files"):  # a single network's checkpoints are others
        mikata.train(data, out=out, recipe=recipe, overwrite=True)
    mikata.ensemble(data, out=out, resume=True, **options)
    assert [path.name for path in fitted] == ["formula", "member 1", "member 2"]
    weights = read_package(out).classifier.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in whole[0].classifier.state_dict().items())
    assert not (hard_path / "broken training").exists()


@pytest.mark.parametrize(("epoch", "ended"), [("poch 2", ["finished", "interrupted"]), ("", ["finished"])])
def test_stopping_keeps_what_was_learnt(
    hard_path: Path, trained: list[Run], epoch: str, ended: list[str]
) -> None:
    class Stopping(Progress):
        def __init__(self) -> None:
            self.messages = [""]

        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            assert 0 <= done <= total
            self.messages.append(message)

        @property
        def cancelled(self) -> bool:
            return len(trained) == 1 and epoch in self.messages[-1]

    data = write_folders(hard_path / "data", count=8)
    recipe = write_recipe(hard_path, STAGE.replace("epochs = 1", "epochs = 3\nearly_stopping = 0"))
    stopping = Stopping()
    with pytest.raises(Cancelled, match=r"member 2 of 2 was trained: no package is made.*resuming"):
        mikata.ensemble(data, out=hard_path / "model", recipe=recipe, folds=2, progress=stopping)
    assert any(message.startswith("member 2 of 2: ") for message in stopping.messages)
    assert [run.stopped_by for run in trained] == ended
    assert not any("packaged" in message for message in stopping.messages)
    assert (hard_path / "model training" / "member 1" / "state.pt").exists()
    assert not (hard_path / "model").exists()


def test_what_an_ensemble_cannot_be_made_of(hard_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensembling, "train", lambda *a, **k: pytest.fail("it was trained"))
    recipe = write_recipe(hard_path, STAGE)
    few = write_table(hard_path / "few", patients(5, 3))
    with pytest.raises(DataError, match="outside the test part the class 'a' has only 4 patients"):
        mikata.ensemble(few, out=hard_path / "x", recipe=recipe, folds=5)
    rows = [(f"{i}.png", str(i), f"p{i}") for i in range(20)]
    values = write_table(hard_path / "values", rows, "file,value,patient")
    with pytest.raises(DataError, match="an ensemble is for classes only"):
        mikata.ensemble(values, out=hard_path / "x", recipe=recipe)
    with pytest.raises(NetworkError, match="cannot be a member of another one"):
        mikata.ensemble(few, out=hard_path / "x", recipe=recipe, network="2 x small_cnn", folds=2)
    with pytest.raises(ParameterError, match="folds"):
        mikata.ensemble(few, out=hard_path / "x", recipe=recipe, folds=1)
    before = write_package(hard_path / "model")
    kept = {path: path.read_bytes() for path in before.iterdir()}
    with pytest.raises(OutputError, match="already a package"):
        mikata.ensemble(few, out=before, recipe=recipe, folds=3)
    assert {path: path.read_bytes() for path in before.iterdir()} == kept
    (hard_path / "y training").mkdir()
    (hard_path / "y training" / "best.pt").write_bytes(b"a night's work")
    with pytest.raises(OutputError, match="holds other files"):
        mikata.ensemble(few, out=hard_path / "y", recipe=recipe, folds=3, overwrite=True)
