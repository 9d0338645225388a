"""Networks that give a value instead of a class: from the table to the package, and what is refused."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow

import mikata
from labelled import write_folders
from mikata import datasets, packaging, report
from mikata.architecture import Classifier
from mikata.datasets.values import strata
from mikata.errors import DataError, MikataError, NetworkError, PackageError, RecipeError
from mikata.evaluation import ValueReport, agreement
from mikata.networks import read_package
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.ensembles import ensemble
from mikata.training.losses import ValueLoss

RECIPE = """
[[stage]]
network = "small_cnn"
size = [32, 32]
fit = "native"
epochs = {epochs}
batch = 8
learning_rate = 0.003
{more}
[stage.augmentation]
brightness = 0.0
rotation_rad = 0.0
shift = 0.0
"""


def write_recipe(folder: Path, epochs: int = 12, more: str = "") -> Path:
    path = folder / "values.toml"
    path.write_text(RECIPE.format(epochs=epochs, more=more), encoding="utf-8")
    return path


def write_values(
    folder: Path, people: int = 30, each: int = 2, header: str = "file,value [mm],patient"
) -> Path:
    """Noisy pictures whose mean brightness is ten times the value, and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    lines = [header]
    for person in range(people):
        for image in range(each):
            value = round(float(generator.uniform(4, 20)), 2)
            pixels = np.clip(generator.normal(10 * value, 12, (32, 32)), 0, 255).astype(np.uint8)
            name = f"{person}_{image}.png"
            Pillow.fromarray(pixels).save(folder / name)
            lines.append(f"{name},{value},P{person}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, mikata.Result]:
    folder = tmp_path_factory.mktemp("山田 太郎 values")
    table = write_values(folder / "data")
    result = mikata.train(table, out=folder / "model", recipe=str(write_recipe(folder)))
    return folder, result


def test_it_learns_and_says_how_well(learnt: tuple[Path, mikata.Result]) -> None:
    folder, result = learnt
    figures = {row[0]: row[1] for row in result.tables[0].rows}
    assert figures["Pearson's correlation"] > 0.9
    assert figures["ICC(2,1), agreement"] > 0.8
    assert figures["Mean absolute error [mm]"] < 2
    rows = list(csv.DictReader((folder / "model test images.csv").read_text("utf-8-sig").splitlines()))
    errors = [float(row["predicted"]) - float(row["value"]) for row in rows]
    assert {row["unit"] for row in rows} == {"mm"}
    assert np.abs(errors).mean() == pytest.approx(figures["Mean absolute error [mm]"])
    assert np.mean(errors) == pytest.approx(figures["Bias (predicted less true) [mm]"])
    assert "mean absolute error of the test images" in result.message
    assert " mm" in result.message
    page = (folder / "model report.html").read_text(encoding="utf-8")
    assert "Bland and Altman" in page
    assert page.count("image/svg+xml") == 2  # the agreement and the curves
    assert "If it may abstain" not in page


def test_the_package_passes_its_own_test_and_tells_the_unit(learnt: tuple[Path, mikata.Result]) -> None:
    folder, _ = learnt
    checked = packaging.check(folder / "model.zip")
    assert checked.passed, checked.problems
    readme = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "the value in mm" in readme
    assert "| Lower limit of agreement [mm] |" in readme
    assert "classifier" not in readme.lower()
    assert "probability" not in readme.replace("without a probability", "")
    description = (folder / "model" / "rdf.yaml").read_text(encoding="utf-8")
    assert "id: value" in description
    assert "regression" in description
    record = json.loads((folder / "model" / "training.json").read_text(encoding="utf-8"))
    assert record["classes"] == []
    assert record["configuration"]["unit"] == record["evaluation"]["value_unit"] == "mm"
    assert record["evaluation"]["mae"]["independent"] == "patient"
    assert {"training_mae", "selection_mae"} <= set(record["training"]["history"][0])
    assert "Huber loss" in record["training"]["methods"]
    spread = record["training"]["data"]["parts"]["training"]["values"]
    mean, std = record["configuration"]["target"]
    assert (spread["mean"], spread["standard_deviation"]) == pytest.approx((mean, std))


def test_the_package_gives_the_values_of_the_training(learnt: tuple[Path, mikata.Result]) -> None:
    folder, _ = learnt
    model = read_package(folder / "model.zip")
    assert model.values
    assert model.classes == ()
    assert model.classifier.unit == "mm"
    result = mikata.predict(str(folder / "data"), model=folder / "model")
    table = result.tables[0]
    assert table.columns == ("image", "slice", "frame", "value", "unit")
    found = {Path(row[0]).stem: row[3] for row in table.rows}
    rows = csv.DictReader((folder / "model test images.csv").read_text("utf-8-sig").splitlines())
    for row in rows:
        assert found[Path(row["file"]).stem] == pytest.approx(float(row["predicted"]), abs=1e-3)
    with pytest.raises(NetworkError, match="has no probability"):
        mikata.predict(str(folder / "data"), model=folder / "model", min_confidence_percent=50)


def test_grad_cam_explains_the_value(learnt: tuple[Path, mikata.Result]) -> None:
    folder, _ = learnt
    image = folder / "data" / "0_0.png"
    result = mikata.grad_cam(str(image), model=folder / "model")
    row = dict(zip(result.tables[0].columns, result.tables[0].rows[0], strict=True))
    value = mikata.predict(str(image), model=folder / "model").tables[0].rows[0][3]
    assert row["value"] == pytest.approx(value, abs=1e-3)
    assert row["value_unit"] == "mm"
    assert "probability" not in row
    with pytest.raises(NetworkError, match="gives a value, not classes"):
        mikata.grad_cam(str(image), model=folder / "model", target="a")


def test_a_damaged_target_is_refused(learnt: tuple[Path, mikata.Result], tmp_path: Path) -> None:
    folder, _ = learnt
    copy = tmp_path / "model"
    copy.mkdir()
    for file in (folder / "model").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    whole = json.loads((copy / "training.json").read_text(encoding="utf-8"))
    for target in ("12", [1.0], [1.0, 0.0], [1.0, "2"], None):
        whole["configuration"]["target"] = target
        (copy / "training.json").write_text(json.dumps(whole), encoding="utf-8")
        with pytest.raises(PackageError):
            read_package(copy)


# --- stages


def test_a_class_stage_then_a_value_stage_and_back(tmp_path: Path) -> None:
    kinds = write_folders(tmp_path / "kinds", count=8)
    table = write_values(tmp_path / "data", people=12)
    stages = RECIPE.format(epochs=1, more="data = 'kinds'") + RECIPE.format(epochs=1, more="name = 'size'")
    path = tmp_path / "both.toml"
    path.write_text(stages, encoding="utf-8")
    run = train(datasets.read(table), recipes.read(path), folder=tmp_path / "one")
    assert run.values
    assert run.earlier[0]["classes"] == ["a", "b"]
    assert "classifier" in str(run.fitted.record())
    back = RECIPE.format(epochs=1, more="data = 'data/table.csv'") + RECIPE.format(epochs=1, more="")
    path.write_text(back, encoding="utf-8")
    again = train(datasets.read(kinds), recipes.read(path), folder=tmp_path / "two")
    assert again.classes == ("a", "b")
    assert again.base is None
    assert "it learnt a value" in again.methods


def test_formula_before_a_value(tmp_path: Path) -> None:
    table = write_values(tmp_path / "data", people=12)
    more = 'source = "formula"\n[stage.formula]\nclasses = 4\nper_class = 4\nepochs = 1'
    run = train(datasets.read(table), recipes.read(write_recipe(tmp_path, 1, more)), folder=tmp_path / "one")
    assert run.values
    assert run.earlier[0]["formula"]["classes"] == 4


def test_images_without_labels_before_a_value(tmp_path: Path) -> None:
    table = write_values(tmp_path / "data", people=12)
    more = 'source = "unlabelled"\n[stage.unlabelled]\nepochs = 1\nbatch = 8'
    run = train(datasets.read(table), recipes.read(write_recipe(tmp_path, 1, more)), folder=tmp_path / "one")
    assert run.values
    assert "without their labels" in run.methods


def test_a_finished_training_is_taken_up_as_it_was(tmp_path: Path) -> None:
    dataset = datasets.read(write_values(tmp_path / "data", people=12))
    recipe = recipes.read(write_recipe(tmp_path, 2, 'averaging = "ema"'))
    first = train(dataset, recipe, folder=tmp_path / "one")
    again = train(dataset, recipe, folder=tmp_path / "one", resume=True)
    assert again.history == first.history
    assert first.history[-1]["selection_mae"] > 0
    for name, tensor in first.classifier.state_dict().items():
        assert torch.equal(tensor, again.classifier.state_dict()[name])


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('balance = "class_weights"', "balance"),
        ('balance = "sampling"', "balance"),
        ("label_smoothing = 0.1", "label_smoothing"),
        ('head = "few_shot"', "head"),
    ],
)
def test_what_is_for_classes_is_refused(tmp_path: Path, more: str, key: str) -> None:
    table = write_values(tmp_path / "data", people=12)
    with pytest.raises(RecipeError, match=f"{key} = .* is for classes"):
        train(
            datasets.read(table), recipes.read(write_recipe(tmp_path, 1, more)), folder=tmp_path / "training"
        )


# --- data


def test_the_unit_is_in_the_header(tmp_path: Path) -> None:
    for number, (header, unit) in enumerate(
        {
            "value [mm]": "mm",
            "Value[mm²]": "mm²",
            "ｖａｌｕｅ　［年］": "年",
            "value": "",
            "value []": "",
        }.items()
    ):
        found = datasets.read(
            write_values(tmp_path / str(number), people=10, header=f"file,{header},patient")
        )
        assert found.values
        assert (found.unit, found.classes) == (unit, ())


def test_parts_keep_patients_and_the_range_of_values(tmp_path: Path) -> None:
    dataset = datasets.read(write_values(tmp_path, people=40))
    numbers, bins = strata(dataset)
    assert bins == 5
    assert np.bincount(numbers).tolist() == [16] * 5
    order = np.argsort(datasets.values_of(dataset.entries))
    assert (np.diff(numbers[order]) >= 0).all()
    parts = datasets.split(dataset, seed=1)
    whole = datasets.values_of(dataset.entries)
    patients = [{entry.patient for entry in entries} for entries in parts.values()]
    assert sum(map(len, patients)) == 40
    for entries in parts.values():
        assert abs(datasets.values_of(entries).mean() - whole.mean()) < 0.35 * whole.std()
    drawn = datasets.folds(dataset, count=4, seed=1)
    assert sorted(i for fold in drawn for i in fold.indices["test"]) == list(range(80))
    for fold in drawn:
        tested = {entry.patient for entry in fold.parts["test"]}
        assert tested.isdisjoint(entry.patient for entry in fold.parts["training"])
        assert abs(datasets.values_of(fold.parts["test"]).mean() - whole.mean()) < 0.35 * whole.std()


def change(table: Path, line: int, text: str) -> Path:
    lines = table.read_text(encoding="utf-8").split("\n")
    lines[line] = text
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (0, "file,value,label", "both the columns 'label' and 'value'"),
        (0, "file,value,value [mm]", "there twice"),
        (0, "file,valeu,patient", "did you mean 'value'"),
        (3, "1_0.png,12 mm,P1", "row 4: the column 'value' has '12 mm', which is no number"),
        (3, "1_0.png,nan,P1", "row 4: the column 'value' has 'nan', which is not finite"),
        (3, "1_0.png,-inf,P1", "not finite"),
        (3, "1_0.png,,P1", "row 4: the column 'value' is empty"),
        (3, "0_0.png,7.5,P0", "two values"),
    ],
)
def test_bad_tables(tmp_path: Path, line: int, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        datasets.read(change(write_values(tmp_path, people=10), line, text))


def test_too_little_to_learn_from(tmp_path: Path) -> None:
    table = write_values(tmp_path / "one", people=10)
    lines = table.read_text(encoding="utf-8").split("\n")
    grades = [lines[0], *(f"{line.split(',')[0]},{n % 4},P{n}" for n, line in enumerate(lines[1:]))]
    table.write_text("\n".join(grades), encoding="utf-8")
    with pytest.raises(DataError, match="only 4 different values"):
        datasets.read(table)
    assert datasets.read(table, for_training=False).values
    with pytest.raises(DataError, match="of 2 patient"):
        datasets.read(write_values(tmp_path / "two", people=2, each=8))
    few = datasets.read(write_values(tmp_path / "three", people=10, each=1))
    with pytest.raises(DataError, match=r"only 2 image\(s\) are left to test"):
        train(few, recipes.read(write_recipe(tmp_path, 1)), folder=tmp_path / "training")


def test_one_picture_with_two_values(tmp_path: Path) -> None:
    table = write_values(tmp_path, people=10)
    (tmp_path / "1_0.png").write_bytes((tmp_path / "0_0.png").read_bytes())
    with pytest.raises(DataError, match="the same picture with two values"):
        datasets.read(table)


def test_comparisons_say_that_they_are_for_classes(tmp_path: Path) -> None:
    table = write_values(tmp_path / "data", people=10)
    with pytest.raises(MikataError, match="are for classes only"):
        mikata.derive(table, out=tmp_path / "r.toml")


# --- figures


def test_the_limits_of_agreement_by_hand(tmp_path: Path) -> None:
    true, predicted = np.array([10.0, 20.0, 30.0, 40.0]), np.array([11.0, 19.0, 33.0, 41.0])
    found = agreement(true, predicted)
    # differences 1, -1, 3, 1: mean 1, squares about it 0, 4, 4, 0, so that sd is the root of 8 / 3
    sd = math.sqrt(8 / 3)
    assert found.bias.value == pytest.approx(1)
    assert found.upper_limit.value == pytest.approx(1 + 1.959964 * sd)
    assert found.mae.value == pytest.approx(1.5)
    entries = tuple(
        datasets.Entry(Path(f"{n}.png"), "", datasets.Picture(1, 8, 8, "grey", True, str(n)), value=value)
        for n, value in enumerate(true.tolist())
    )
    whole = ValueReport(entries, predicted, found, "mm²", (), {})
    figure = report.agreement_plot(whole)
    left, right = figure.axes
    points = right.lines[0]
    assert np.asarray(points.get_xdata()).tolist() == [10.5, 19.5, 31.5, 40.5]
    assert np.asarray(points.get_ydata()).tolist() == [1, -1, 3, 1]
    lines: list[Any] = [line.get_ydata()[0] for line in right.lines[1:]]
    assert lines == pytest.approx([1, 1 - 1.959964 * sd, 1 + 1.959964 * sd, 0])
    assert left.get_xlabel() == "true value [mm²]"
    names = {figure.name: figure.value for figure in whole.figures()}
    assert names["Bias (predicted less true) [mm²]"] == pytest.approx(1)


def test_hubers_loss() -> None:
    loss = ValueLoss(std=4.0)
    outputs, values = torch.tensor([[0.5], [3.0], [-2.0]]), torch.tensor([0.0, 0.0, 1.0])
    assert loss.of_training(outputs, values).tolist() == [0.125, 2.5, 2.5]
    assert torch.equal(
        loss.of_selection(outputs, values), F.huber_loss(outputs[:, 0], values, reduction="none")
    )
    assert loss.figures(outputs, values).tolist() == [2.0, 12.0, 12.0]


def test_a_network_gives_its_value_in_its_unit() -> None:
    network = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="a").eval()
    x = torch.rand(2, 1, 40, 40) * 255
    with torch.no_grad():
        assert torch.equal(network(x), network.logits(x) * 12 + 60)
    assert Classifier(**network.configuration).target == (60.0, 12.0)
    for bad in ((60.0, 0.0), (math.nan, 1.0), (1.0,)):
        with pytest.raises(ValueError, match="target"):
            Classifier("small_cnn", 1, 1, [0.0], [1.0], target=bad)
    for classes, name in ((2, "small_cnn"), (1, "2 x small_cnn")):
        with pytest.raises(ValueError, match="one output"):
            Classifier(name, classes, 1, [0.0], [1.0], target=(0.0, 1.0))
    with pytest.raises(NetworkError, match="cannot be members"):
        ensemble([network, network])
