"""The few-shot head: scikit-learn's own answers, written into the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from labelled import write_folders
from mikata import datasets, images
from mikata.datasets import Entry
from mikata.errors import Cancelled, RecipeError
from mikata.networks import build
from mikata.training import few_shot, train
from mikata.training import recipe as recipes
from mikata.training.few_shot import STRENGTHS, logistic_regression
from mikata.training.stage import Stage
from mikata.types import Progress

FEW: dict[str, Any] = {"size": [32, 32], "batch": 8, "head": "few_shot"}


def table(count: int = 40, classes: int = 3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    labels = np.arange(count) % classes
    features = generator.normal(0, 1, (count, 12)) * 10.0 ** generator.integers(-3, 3, 12) + 7
    features[:, :classes] += 1.5 * np.eye(classes)[labels] * features[:, :classes].std(0)
    features[:, -1] = 3.0  # a unit that never fires
    return features, labels


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("balance", ["none", "class_weights"])
def test_head_is_scikit_learns(classes: int, balance: Any) -> None:
    features, labels = table(classes=classes)
    labels[labels == 1] = np.where(np.arange((labels == 1).sum()) < 3, 1, 0)  # rare
    found = logistic_regression(features, labels, classes, 0.1, Stage(balance=balance))
    assert found is not None
    scaler = StandardScaler().fit(features)
    theirs = LogisticRegression(
        C=0.1, max_iter=5000, tol=1e-6, class_weight="balanced" if balance != "none" else None
    ).fit(scaler.transform(features), labels)
    ours = torch.softmax(torch.from_numpy(features) @ found[0].T + found[1], 1).numpy()
    assert np.abs(ours - theirs.predict_proba(scaler.transform(features))).max() < 1e-6
    assert found[0][:, -1].abs().max() == 0


def test_logit_adjustment_moves_the_intercepts_by_the_prior() -> None:
    features, labels = table(classes=2)
    plain = logistic_regression(features, labels, 2, 1.0, Stage())
    moved = logistic_regression(features, labels, 2, 1.0, Stage(balance="logit_adjustment"))
    assert plain is not None
    assert moved is not None
    assert torch.equal(plain[0], moved[0])
    assert (plain[1] - moved[1]).tolist() == pytest.approx(np.log([0.5, 0.5]), rel=1e-5)


def _pixels(entries: tuple[Entry, ...]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(next(images.read(e.file).frames()).values) for e in entries])


def test_run_is_a_classifier_whose_head_alone_is_new(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("down", "across"), 12))
    start = build("resnet18", classes=2, channels=1, mean=[120.0], std=[50.0], size=(32, 32))
    torch.save(start.state_dict(), tmp_path / "start.pt")
    recipe = recipes.read(changes=FEW | {"network": "resnet18", "source": str(tmp_path / "start.pt")})
    run = train(dataset, recipe, folder=tmp_path / "run")
    before, after = start.network.state_dict(), run.classifier.network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"fc.weight", "fc.bias"}
    assert (run.best_epoch, run.stopped_by, len(run.history)) == (1, "finished", 1)
    row = run.history[0]
    assert set(row) >= {"epoch", "training_loss", "training_accuracy", "selection_loss", "selection_accuracy"}
    assert row["few_shot_c"] in STRENGTHS
    json.dumps(run.record(), allow_nan=False)
    kept = torch.load(run.checkpoint, weights_only=True)
    assert all(torch.equal(value, kept[key]) for key, value in run.classifier.state_dict().items())

    # the same by hand: features by torchvision's own layers, scikit-learn's pipeline
    network = run.classifier.network
    body = torch.nn.Sequential(*list(network.children())[:-1])
    look = {}
    for name in ("training", "selection"):
        with torch.inference_mode():
            seen = body.eval()(run.classifier.normalise(_pixels(run.parts[name]))).flatten(1)
        look[name] = seen.double().numpy(), [dataset.classes.index(e.label) for e in run.parts[name]]
    scaler = StandardScaler().fit(look["training"][0])
    losses = []
    for strength in STRENGTHS:
        theirs = LogisticRegression(C=strength, max_iter=5000, tol=1e-6)
        theirs.fit(scaler.transform(look["training"][0]), look["training"][1])
        own = theirs.predict_log_proba(scaler.transform(look["selection"][0]))
        losses.append(-own[np.arange(len(own)), look["selection"][1]].mean())
    assert row["selection_loss"] == pytest.approx(min(losses), rel=1e-3)
    with torch.inference_mode():
        probabilities = run.classifier(_pixels(run.parts["selection"])).double().numpy()
    chosen = LogisticRegression(C=row["few_shot_c"], max_iter=5000, tol=1e-6)
    chosen.fit(scaler.transform(look["training"][0]), look["training"][1])
    theirs_now = chosen.predict_proba(scaler.transform(look["selection"][0]))
    assert np.abs(probabilities - theirs_now).max() < 1e-4


def test_same_again_gives_the_same(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 8))
    runs = [train(dataset, recipes.read(changes=FEW), folder=tmp_path / name) for name in "12"]
    first, second = (run.classifier.state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_network_without_a_linear_head_is_refused(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 6))
    recipe = recipes.read(changes=FEW | {"network": "squeezenet1_1"})
    with pytest.raises(RecipeError, match=r"ends in one linear layer.*squeezenet1_1 does not"):
        train(dataset, recipe, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    class Stopping(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            self.message = message

        @property
        def cancelled(self) -> bool:
            return getattr(self, "message", "").startswith("Fitting")

    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 6))
    with pytest.raises(Cancelled):
        train(dataset, recipes.read(changes=FEW), folder=tmp_path / "run", progress=Stopping())
    assert not (tmp_path / "run" / "best.pt").exists()


def test_a_fit_that_does_not_end_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "_MOST_ITERATIONS", 2)
    features, labels = table()
    assert logistic_regression(features, labels, 3, 100.0, Stage()) is None
