"""Ensembles: the mean of probabilities, as one classifier that packages like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labelled import write_folders
from mikata import datasets, packaging
from mikata.architecture import Classifier
from mikata.errors import NetworkError
from mikata.networks import read_package
from mikata.packaging.trained import formula_image
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.ensembles import Ensemble, ensemble


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
