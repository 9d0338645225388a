"""Losses: against other hands' formulas, and what they bring where a class is rare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from torch import Tensor

from labelled import write_folders
from mikata import datasets
from mikata.errors import DataError
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.losses import ClassLoss, class_weights
from mikata.training.stage import Stage

LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])


def some() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.randint(0, 3, (20,), generator=generator)


def test_plain_loss_is_cross_entropy() -> None:
    scores, labels = some()
    loss = ClassLoss(LABELS, 3, Stage())
    expected = F.cross_entropy(scores, labels, reduction="none")
    assert torch.equal(loss.of_training(scores, labels), expected)
    assert torch.equal(loss.of_selection(scores, labels), expected)


def test_class_weights_are_one_on_average() -> None:
    weights = class_weights(LABELS, 3)
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert float(weights[LABELS].mean()) == pytest.approx(1)
    scores, labels = some()
    loss = ClassLoss(LABELS, 3, Stage(balance="class_weights"))
    expected = F.cross_entropy(scores, labels, weight=weights, reduction="none")
    assert torch.allclose(loss.of_training(scores, labels), expected)
    assert torch.allclose(loss.of_selection(scores, labels), expected)
    with pytest.raises(DataError, match="Class number 4 has no training image"):
        class_weights(LABELS, 4)


def test_label_smoothing_spreads_the_truth() -> None:
    scores, labels = some()
    loss = ClassLoss(LABELS, 3, Stage(label_smoothing=0.3, balance="class_weights"))
    truth = F.one_hot(labels, 3).double().numpy() * 0.7 + 0.1
    expected = (
        -(truth * log_softmax(scores.double().numpy(), 1)).sum(1) * class_weights(LABELS, 3)[labels].numpy()
    )
    assert loss.of_training(scores, labels).numpy() == pytest.approx(expected, rel=1e-5)
    plain = F.cross_entropy(scores, labels, reduction="none") * class_weights(LABELS, 3)[labels]
    assert torch.allclose(loss.of_selection(scores, labels), plain)


def test_logit_adjustment_is_the_papers_equation_10() -> None:
    scores, labels = some()
    loss = ClassLoss(LABELS, 3, Stage(balance="logit_adjustment"))
    f, prior = scores.double().numpy(), np.array([0.6, 0.3, 0.1])
    y = labels.numpy()
    # log(1 + sum over y' != y of (prior_y' / prior_y) exp(f_y' - f_y)), the form of equation 11 with tau = 1
    ratios = (prior[None, :] / prior[y][:, None]) * np.exp(f - f[np.arange(20), y][:, None])
    ratios[np.arange(20), y] = 0
    assert loss.of_training(scores, labels).numpy() == pytest.approx(np.log1p(ratios.sum(1)), rel=1e-5)
    assert torch.allclose(
        loss.of_selection(scores, labels),
        F.cross_entropy(scores, labels, reduction="none") * class_weights(LABELS, 3)[labels],
    )


def test_both_losses_are_smallest_for_the_same_scores() -> None:
    """What logit adjustment learns is what its selection loss looks for."""
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(4000, generator=generator) < 0.1).long()
    x = torch.randn(4000, generator=generator) + 1.5 * labels
    loss = ClassLoss(labels, 2, Stage(balance="logit_adjustment"))
    minima = []
    for rule in (loss.of_training, loss.of_selection):
        ab = torch.zeros(2, requires_grad=True)
        optimiser = torch.optim.LBFGS([ab], max_iter=200, line_search_fn="strong_wolfe")

        def closure(rule: Any = rule, ab: Tensor = ab, optimiser: Any = optimiser) -> Tensor:
            optimiser.zero_grad()
            found: Tensor = rule(torch.stack([torch.zeros_like(x), ab[0] * x + ab[1]], 1), labels).mean()
            found.backward()  # type: ignore[no-untyped-call]
            return found

        optimiser.step(closure)
        minima.append(ab.detach())
    # two normal classes, one apart by 1.5: log p(x | 1) / p(x | 0) = 1.5 x - 1.125
    for found in minima:
        assert found.tolist() == pytest.approx([1.5, -1.125], abs=0.15)


def test_logit_adjustment_helps_the_rare_class(tmp_path: Path) -> None:
    """Two kinds of noise that overlap, one of them rare: the plain loss calls nearly all images common."""
    generator = np.random.default_rng(0)
    rows = ["file,label,split"]
    for split, counts in {"training": (90, 10), "selection": (36, 4), "test": (40, 40)}.items():
        for name, count, middle in (("common", counts[0], 0.0), ("rare", counts[1], 1.3)):
            for i in range(count):
                level = generator.normal(middle, 1)
                np.save(
                    tmp_path / f"{split}{name}{i}.npy",
                    (generator.normal(0, 1, (32, 32)) + level).astype(np.float32),
                )
                rows.append(f"{split}{name}{i}.npy,{name},{split}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    dataset = datasets.read(tmp_path / "table.csv")
    recalls = {}
    for balance in ("none", "logit_adjustment"):
        changes = {"size": [32, 32], "epochs": 6, "batch": 20, "brightness": 0.0, "balance": balance}
        run = train(dataset, recipes.read(changes=changes), folder=tmp_path / balance)
        images = {
            n: torch.stack([torch.from_numpy(np.load(e.file)) for e in run.parts["test"] if e.label == n])
            for n in dataset.classes
        }
        with torch.inference_mode():
            recalls[balance] = [
                float((run.classifier(images[n][:, None]).argmax(1) == k).double().mean())
                for k, n in enumerate(dataset.classes)
            ]
    assert np.mean(recalls["logit_adjustment"]) > np.mean(recalls["none"]) + 0.05
    assert recalls["logit_adjustment"][1] > recalls["none"][1]


@pytest.mark.parametrize("changes", [{"balance": "logit_adjustment"}, {"label_smoothing": 0.2}])
def test_history_is_of_the_stated_losses(tmp_path: Path, changes: dict[str, Any]) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 8))
    quick = {"size": [32, 32], "epochs": 1, "batch": 8, "learning_rate": 0.01}
    run = train(dataset, recipes.read(changes=quick | changes), folder=tmp_path / "run")
    from mikata import images

    pixels = [images.read(e.file) for e in run.parts["selection"]]
    x = torch.stack([torch.from_numpy(next(p.frames()).values) for p in pixels])
    labels = torch.tensor([dataset.classes.index(e.label) for e in run.parts["selection"]])
    with torch.inference_mode():
        plain = float(F.cross_entropy(run.classifier.logits(x), labels))
    assert run.history[0]["selection_loss"] == pytest.approx(plain, rel=1e-4)  # equal classes: weights of 1
