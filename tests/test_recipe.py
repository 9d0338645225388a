"""Recipes: the shipped ones, and every way to get one wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mikata import shipped
from mikata.errors import RecipeError
from mikata.training import recipe as recipes
from mikata.training.recipe import Recipe
from mikata.training.stage import Augmentation, Detection, Formula, Segmentation, Stage, Unlabelled


def test_default_file_states_the_defaults() -> None:
    # so that "a key that is left out has the value it has here" is true
    assert recipes.read() == Recipe()
    text = (shipped.recipes()["default"]).read_text(encoding="utf-8")
    keys = {line.split("=")[0].strip() for line in text.splitlines() if "=" in line and line[0].isalpha()}
    kinds = (Stage, Augmentation, Segmentation, Detection, Formula, Unlabelled)
    fields = {key for kind in kinds for key in kind.__dataclass_fields__} | {"seed", "test", "selection"}
    assert keys == fields - {"augmentation", "segmentation", "detection", "formula", "unlabelled"}


@pytest.mark.parametrize("name", shipped.recipes())
def test_shipped_recipes_are_read_by_name_and_path(name: str) -> None:
    by_name = recipes.read(Path(name))
    assert by_name.source == name
    by_path = recipes.read(shipped.recipes()[name])
    assert by_path.stages == by_name.stages


def test_published_mammography_settings_can_be_said(hard_path: Path) -> None:
    path = hard_path / "レシピ.toml"
    text = (
        '[[stage]]\nnetwork = "vgg16"\nlearning_rate = 1e-5\nepsilon = 1e-7\nadam_formula = "keras"\n'
        "clipnorm = 0.001\nepochs = 50\n[stage.augmentation]\nrotation_rad = 0.1\nshift = 0.1\n"
        "brightness = 0.1\nflip_horizontal = true\nflip_vertical = true\n"
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # as Notepad saves it
    stage = recipes.read(path).stage
    assert (stage.network, stage.learning_rate, stage.epsilon, stage.clipnorm) == ("vgg16", 1e-5, 1e-7, 0.001)
    assert (stage.adam_formula, stage.clipnorm_scope, stage.optimiser) == ("keras", "global", "adam")


def test_weights_are_found_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[stage]]\nsource = "models/my.pt"', encoding="utf-8")
    assert recipes.read(tmp_path / "r.toml").stage.source == str(tmp_path / "models" / "my.pt")


def test_dictionary_is_json_and_reads_back(tmp_path: Path) -> None:
    recipe = recipes.read(changes={"epochs": 3, "seed": 5, "shift": 0.0, "size": [64, 96], "network": None})
    assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()
    assert (recipe.stage.epochs, recipe.seed, recipe.stage.augmentation.shift) == (3, 5, 0.0)
    assert recipe.stage.size == (64, 96)
    assert recipe.stage.network == "small_cnn"
    assert recipe.change().to_dict() == recipe.to_dict()


BAD: dict[str, tuple[str, list[str]]] = {
    "typo": ("[[stage]]\nlerning_rate = 1", ["'lerning_rate'", "did you mean 'learning_rate'"]),
    "typo below": ("[[stage]]\n[stage.augmentation]\nrotation = 1", ["'rotation'", "'rotation_rad'"]),
    "typo on top": ("sead = 1", ["'sead'", "'seed'"]),
    "stage key on top": ("epochs = 3\n", ["'epochs'", "unknown"]),
    "text for number": ('[[stage]]\nlearning_rate = "fast"', ["learning_rate", "above 0", '"fast"']),
    "true for number": ("[[stage]]\nepochs = true", ["epochs", "whole number from 1", "true"]),
    "number for flag": (
        "[[stage]]\n[stage.augmentation]\nflip_vertical = 1",
        ["flip_vertical", "true or false"],
    ),
    "negative": ("[[stage]]\nlearning_rate = -1.0", ["learning_rate", "-1.0"]),
    "not finite": ("[[stage]]\nlearning_rate = nan", ["learning_rate", "nan"]),
    "half an epoch": ("[[stage]]\nepochs = 2.5", ["epochs", "2.5"]),
    "unknown choice": (
        '[[stage]]\noptimiser = "rmsprop"',
        ["optimiser", '"adam", "adamw", "sgd"', '"rmsprop"'],
    ),
    "two channels": ("[[stage]]\nchannels = 2", ["channels", '"auto", 1, 3']),
    "true channels": ("[[stage]]\nchannels = true", ["channels", "true"]),
    "one side": ("[[stage]]\nsize = 64", ["size", "[height, width]"]),
    "tiny": ("[[stage]]\nsize = [8, 8]", ["size", "from 16"]),
    "stage without data": ("[[stage]]\n[[stage]]", ["stage 1", "data"]),
    "old key": ('[[stage]]\nweights = "imagenet"', ["'weights'", "'source'"]),
    "nothing before": ('[[stage]]\nsource = "previous"', ["stage 1", "before"]),
    "weights thrown away": (
        '[[stage]]\ndata = "a"\n[[stage]]\nsource = "imagenet"',
        ["stage 2", '"imagenet"', "would be lost"],
    ),
    "another network": (
        '[[stage]]\ndata = "a"\nnetwork = "resnet18"\n[[stage]]\nnetwork = "vgg16"',
        ["stage 2", "vgg16", "resnet18"],
    ),
    "formula without need": (
        "[[stage]]\n[stage.formula]\nclasses = 3",
        ["[stage.formula]", "another source"],
    ),
    "typo in formula": (
        '[[stage]]\nsource = "formula"\n[stage.formula]\nclases = 3',
        ["stage.formula", "'clases'", "'classes'"],
    ),
    "frozen is a list": ('[[stage]]\nfrozen = "layer1"', ["frozen", "list"]),
    "stage in single brackets": ("[stage]\nepochs = 3", ["[[stage]]"]),
    "no stage left": ("stage = []", ["[[stage]]"]),
    "shares": ("[split]\ntest = 0.6\nselection = 0.5", ["test and selection", "leave"]),
    "keras for sgd": ('[[stage]]\noptimiser = "sgd"\nadam_formula = "keras"', ["adam_formula", "sgd"]),
    "windows path": ('[[stage]]\nsource = "C:\\Users\\my.pt"', ["not valid TOML", "single quotes"]),
    "no toml": ("epochs 3", ["not valid TOML", "line 1"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recipes_are_explained(hard_path: Path, name: str) -> None:
    text, words = BAD[name]
    path = hard_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        recipes.read(path)
    message = str(caught.value)
    assert "bad.toml" in message
    assert [word for word in words if word not in message] == []


def test_a_file_in_the_working_folder_does_not_hide_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texture").mkdir()
    (tmp_path / "default").write_text("not TOML")
    assert recipes.read(Path("texture")).source == "texture"
    assert recipes.read().source == "default"


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"does not exist.*default.*texture"):
        recipes.read(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipes.read(tmp_path)
    (tmp_path / "sjis.toml").write_bytes("# 日本語".encode("cp932"))
    with pytest.raises(RecipeError, match="UTF-8"):
        recipes.read(tmp_path / "sjis.toml")


@pytest.mark.parametrize("changes", [{"epoch": 3}, {"epochs": 0}, {"seed": -1}, {"network": " "}])
def test_bad_changes(changes: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        recipes.read(changes=changes)
