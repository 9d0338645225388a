"""The learning rate over the steps."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from labelled import write_folders
from mikata import datasets
from mikata.errors import RecipeError
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.loop import Loop
from mikata.training.schedule import rate_factor
from mikata.training.stage import Stage


def factors(stage: Stage, steps: int = 4) -> list[float]:
    return [rate_factor(step, steps, stage) for step in range(steps * stage.epochs)]


def test_without_warmup() -> None:
    assert factors(Stage(schedule="constant", epochs=2)) == [1.0] * 8
    assert factors(Stage(schedule="linear", epochs=2)) == pytest.approx([1 - i / 8 for i in range(8)])
    assert factors(Stage(schedule="cosine", epochs=2)) == pytest.approx(
        [(1 + math.cos(math.pi * i / 8)) / 2 for i in range(8)]
    )


def test_cosine_is_torchs() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=12)
    rates = []
    for _ in range(12):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    assert factors(Stage(epochs=3)) == pytest.approx(rates)


def test_warmup_rises_evenly_and_then_falls_to_zero() -> None:
    for schedule in ("cosine", "linear", "constant"):
        stage = Stage(schedule=schedule, epochs=4, warmup_epochs=1.0)  # type: ignore[arg-type]
        found = factors(stage)
        assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        assert rate_factor(16, 4, stage) == pytest.approx(1.0 if schedule == "constant" else 0.0)
        assert all(a >= b for a, b in itertools.pairwise(found[4:]))
    linear = factors(Stage(schedule="linear", epochs=4, warmup_epochs=1.0))
    assert linear[4:] == pytest.approx([1 - i / 12 for i in range(12)])


def test_warmup_of_part_of_an_epoch() -> None:
    found = factors(Stage(schedule="constant", epochs=2, warmup_epochs=0.625))  # two and a half steps
    assert found == pytest.approx([1 / 3.5, 2 / 3.5, 3 / 3.5, 1, 1, 1, 1, 1])


def test_training_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 8))
    rates: list[list[float]] = []
    original = Loop.on_before_optimizer_step

    def spy(self: Loop, optimizer: Any) -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        original(self, optimizer)

    monkeypatch.setattr(Loop, "on_before_optimizer_step", spy)
    changes = {"size": [32, 32], "epochs": 2, "batch": 4, "learning_rate": 0.01, "schedule": "linear"}
    recipe = recipes.read(changes=changes | {"warmup_epochs": 0.5, "rate_by_depth": 0.5})
    train(dataset, recipe, folder=tmp_path / "run")
    steps = len(rates) // 2
    for step, found in enumerate(rates):
        assert found[-1] == pytest.approx(0.01 * rate_factor(step, steps, recipe.stage))
        assert found[-2] == pytest.approx(found[-1] / 2)
    with pytest.raises(RecipeError, match=r"warmup_epochs = 2 must be less than epochs = 2"):
        train(dataset, recipes.read(changes=changes | {"warmup_epochs": 2}), folder=tmp_path / "run")
