"""Base or tuned: which network is kept, and what is said of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mikata
from labelled import write_folders
from mikata.learning import train_package
from mikata.networks import read_package
from mikata.types import SILENT

RECIPE = '[[stage]]\nnetwork = "small_cnn"\nsize = [32, 32]\nbatch = 8\n'


def train(folder: Path, name: str, more: str) -> tuple[Any, dict[str, Any]]:
    recipe = folder / f"{name}.toml"
    recipe.write_text(RECIPE + more, encoding="utf-8")
    data = folder / "data"
    if not data.is_dir():
        write_folders(data, ("down", "across"), 15)
    learnt = train_package(data, folder / name, recipe=recipe, name=name, progress=SILENT)
    return learnt, json.loads((folder / name / "training.json").read_text(encoding="utf-8"))["training"]


@pytest.mark.slow
def test_the_better_of_both_is_kept_and_the_test_judges_both(hard_path: Path) -> None:
    poor, record = train(hard_path, "poor", "epochs = 1\nlearning_rate = 1e-9\n")
    assert poor.tuning is None
    assert record["base_or_tuned"] is None
    # something is learnt: the fine-tuned network is kept
    good, record = train(hard_path, "good", "source = 'poor'\nepochs = 12\nlearning_rate = 0.01\n")
    assert good.tuning.choice.kept == "tuned"
    assert record["base_or_tuned"]["kept"] == "tuned"
    assert record["base_or_tuned"]["test"]["verdict"] in ("better", "no loss shown")
    assert good.tuning.verdict.sentence() in good.message
    assert record["parent"]["name"] == "poor"
    assert record["parent"]["sha256"] == read_package(hard_path / "poor").weights_sha256
    # the base was trained on the same images, which is said
    assert "trained on the same images" in good.message
    # nothing is learnt: the network from before is kept, with its own weights
    still, record = train(hard_path, "still", "source = 'good'\nepochs = 1\nlearning_rate = 1e-9\n")
    assert still.tuning.choice.kept == "base"
    assert "before fine-tuning is kept" in still.message
    ours, theirs = (read_package(hard_path / name).classifier.state_dict() for name in ("still", "good"))
    assert all(value.equal(theirs[key]) for key, value in ours.items())
    assert still.tuning.verdict.word == "no loss shown"
    page = (hard_path / "still report.html").read_text(encoding="utf-8")
    assert "Before and after fine-tuning" in page
    # unless it is not wanted
    tuned, record = train(
        hard_path, "tuned", "source = 'good'\nkeep = 'tuned'\nepochs = 1\nlearning_rate = 1e-9\n"
    )
    assert tuned.tuning is None
    assert record["base_or_tuned"] is None


def test_undecided_images(hard_path: Path) -> None:
    train(hard_path, "model", "epochs = 1\nlearning_rate = 1e-9\n")
    images = str(hard_path / "data" / "down")
    every = mikata.predict(images, model=hard_path / "model").tables[0]
    strict = mikata.predict(images, model=hard_path / "model", min_confidence_percent=99.99)
    name, probability = (every.columns.index(column) for column in ("predicted", "probability"))
    assert {row[name] for row in every.rows} <= {"down", "across"}
    assert {row[name] for row in strict.tables[0].rows} == {"(undecided)"}
    assert "undecided" in strict.message
    assert [row[probability] for row in strict.tables[0].rows] == [row[probability] for row in every.rows]
    report = (hard_path / "model report.html").read_text(encoding="utf-8")
    assert "If it may abstain" in report
