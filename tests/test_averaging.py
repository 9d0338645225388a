"""The running average of weights: by hand, saved and restored, and what a training keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from labelled import write_folders
from mikata import datasets
from mikata.architecture import Classifier
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.averaging import Average
from mikata.training.loop import Loop


def network(seed: int) -> Classifier:
    torch.manual_seed(seed)
    classifier = Classifier("small_cnn", 2, 1, [5.0], [2.0]).double()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.num_batches_tracked.fill_(seed)  # type: ignore[union-attr]
    return classifier


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_average_is_the_weighted_mean_of_all_steps(decay: float) -> None:
    steps = [network(seed) for seed in range(1, 6)]
    average = Average(network(9), decay)
    for number, step in enumerate(steps, 1):
        average.update(step)
        weights = [decay ** (number - i) if decay or i == number else 0.0 for i in range(1, number + 1)]
        states = [each.state_dict() for each in steps[:number]]
        for key, value in average.classifier.state_dict().items():
            if value.is_floating_point():
                expected = sum(w * s[key] for w, s in zip(weights, states, strict=True)) / sum(weights)
                assert torch.allclose(value, expected, rtol=1e-12, atol=1e-12), key
            else:
                assert int(value) == number
    assert not any(p.requires_grad for p in average.parameters())
    assert torch.equal(average.classifier.normalise.mean, steps[0].normalise.mean)


def test_average_is_the_usual_one_once_the_start_is_forgotten() -> None:
    average = Average(network(9), 0.5)
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    theirs = AveragedModel(network(9), multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)  # type: ignore[no-untyped-call]
    for step in range(60):
        now = network(step)
        average.update(now)
        theirs.update_parameters(now)
    for ours, other in zip(average.classifier.parameters(), theirs.module.parameters(), strict=True):
        assert torch.allclose(ours, other, atol=1e-12)


def test_saved_and_restored_it_goes_on_exactly(tmp_path: Path) -> None:
    whole, first = Average(network(9), 0.9), Average(network(9), 0.9)
    for step in range(1, 4):
        whole.update(network(step))
        first.update(network(step))
    torch.save(first.state(), tmp_path / "state.pt")
    first.update(network(77))  # what is saved stays as it was
    second = Average(network(5), 0.9)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for step in range(4, 6):
        whole.update(network(step))
        second.update(network(step))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state().values(), second.state().values(), strict=True)
    )


def test_training_judges_and_keeps_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 10))
    loops: list[Loop] = []
    raw: list[dict[str, torch.Tensor]] = []
    original = Loop.after_step

    def spy(self: Loop) -> None:
        original(self)
        if not loops:
            loops.append(self)
        raw.append({k: v.detach().clone() for k, v in self.classifier.state_dict().items()})

    monkeypatch.setattr(Loop, "after_step", spy)
    changes = {"size": [32, 32], "epochs": 3, "batch": 4, "learning_rate": 0.01, "early_stopping": 0}
    recipe = recipes.read(changes=changes | {"averaging": "ema", "ema_decay": 0.8})
    run = train(dataset, recipe, folder=tmp_path / "run")
    weights = [0.8**i for i in reversed(range(len(raw)))]
    kept = torch.load(run.last_checkpoint, weights_only=True)
    for key, value in kept.items():
        if value.is_floating_point():
            expected = sum(w * state[key] for w, state in zip(weights, raw, strict=True)) / sum(weights)
            assert torch.allclose(value, expected, atol=1e-4), key
    assert not torch.equal(kept["network.classifier.weight"], raw[-1]["network.classifier.weight"])
    plain = train(dataset, recipes.read(changes=changes), folder=tmp_path / "plain")
    assert [row["training_loss"] for row in plain.history] == [row["training_loss"] for row in run.history]
    assert [row["selection_loss"] for row in plain.history] != [row["selection_loss"] for row in run.history]
