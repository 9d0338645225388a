"""What learns in which epoch: gradients, steps, statistics and learning rates, in real small trainings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from labelled import write_folders
from mikata import datasets
from mikata.architecture import Classifier
from mikata.errors import RecipeError
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.learning_parts import LearningParts, open_blocks, steps_done
from mikata.training.loop import Loop
from mikata.training.stage import Stage

QUICK: dict[str, Any] = {"size": [32, 32], "epochs": 2, "batch": 8, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return datasets.read(write_folders(tmp_path_factory.mktemp("stripes"), ("down", "across"), 12))


def small(name: str = "small_cnn") -> Classifier:
    torch.manual_seed(0)
    return Classifier(name, 2, 1, [0.0], [1.0])


def names(classifier: Classifier) -> list[str]:
    return [name for name, _ in classifier.network.named_parameters()]


def test_blocks_open_from_the_head_back() -> None:
    at_once = Stage(head_epochs=2, epochs=5)
    assert [open_blocks(6, epoch, at_once) for epoch in range(5)] == [1, 1, 6, 6, 6]
    one_by_one = Stage(head_epochs=1, unfreeze_every=2, epochs=9)
    assert [open_blocks(4, epoch, one_by_one) for epoch in range(9)] == [1, 2, 2, 3, 3, 4, 4, 4, 4]
    assert open_blocks(4, 0, Stage()) == 4


def test_what_is_frozen_has_no_gradient_and_the_rest_the_same_one() -> None:
    classifier = small("resnet18")
    x, labels = torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 0, 1])
    parts = LearningParts(classifier.train(), Stage(network="resnet18", frozen=("conv1", "layer1.0")), "r")
    parts.begin(0)
    nn.functional.cross_entropy(classifier.logits(x), labels).backward()
    for name, parameter in classifier.network.named_parameters():
        # the block conv1 has the normalisation behind it too
        still = name.startswith(("conv1.", "bn1.", "layer1.0."))
        assert (parameter.grad is None) == still, name
        assert still or float(parameter.grad.abs().sum()) > 0, name  # type: ignore[union-attr]
    assert not classifier.network.get_submodule("layer1.0.bn1").training
    assert classifier.network.get_submodule("layer1.1.bn1").training


def test_prefixes_end_at_dots() -> None:
    classifier = small("vgg16")
    parts = LearningParts(classifier, Stage(network="vgg16", frozen=("features.2",)), "r")
    frozen = set(names(classifier)) - parts.learning(0)
    assert frozen == {"features.2.weight", "features.2.bias"}  # and not those of 21, 24, 26 and 28


def test_unknown_names_are_refused_with_the_right_ones() -> None:
    with pytest.raises(
        RecipeError, match=r"my recipe: frozen: resnet18 has nothing named 'layr1'; did you mean"
    ):
        LearningParts(small("resnet18"), Stage(network="resnet18", frozen=("layr1",)), "my recipe")
    with pytest.raises(RecipeError, match=r"nothing named 'zzz'.*Its blocks are .*layer1.*head"):
        LearningParts(small("resnet18"), Stage(network="resnet18", frozen=("zzz",)), "r")
    with pytest.raises(RecipeError, match=r'frozen = \["features", "head"\] leaves nothing'):
        LearningParts(small(), Stage(frozen=("features", "head")), "r")
    with pytest.raises(RecipeError, match="learns in the first epoch"):
        LearningParts(small(), Stage(frozen=("head",), head_epochs=1), "r")


def test_rates_fall_with_the_distance_from_the_head() -> None:
    classifier = small("resnet18")
    stage = Stage(network="resnet18", rate_by_depth=0.5, learning_rate=0.8, frozen=("conv1",))
    parts = LearningParts(classifier, stage, "r")
    groups = parts.groups()
    rates = [group["lr"] for group in groups]
    assert rates[-1] == 0.8
    assert sorted(rates) == rates
    for group, block in zip(groups, [b for b in parts.blocks if b.learning], strict=True):
        distance = len(parts.blocks) - 1 - parts.blocks.index(block)
        assert group["lr"] == pytest.approx(0.8 * 0.5**distance)
    ids = [id(p) for group in groups for p in group["params"]]
    assert len(ids) == len(set(ids)) == len(names(classifier)) - 3


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """State after the start and after each epoch."""
    seen: list[dict[str, torch.Tensor]] = []
    begin, end = Loop.on_train_epoch_start, Loop.on_train_epoch_end

    def note(loop: Loop) -> None:
        seen.append({k: v.detach().clone() for k, v in loop.classifier.network.state_dict().items()})

    def before(self: Loop) -> None:
        if not seen:
            note(self)
        begin(self)

    def after(self: Loop) -> None:
        note(self)
        end(self)

    monkeypatch.setattr(Loop, "on_train_epoch_start", before)
    monkeypatch.setattr(Loop, "on_train_epoch_end", after)
    return seen


def test_a_training_unfreezes_as_the_recipe_says(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _watch(monkeypatch)
    recipe = recipes.read(
        changes=QUICK
        | {"epochs": 5, "head_epochs": 2, "unfreeze_every": 1, "optimiser": "adamw", "weight_decay": 0.1}
        | {"early_stopping": 0}
    )
    run = train(stripes, recipe, folder=tmp_path)
    parts = LearningParts(run.classifier, recipe.stage, "r")
    for epoch in range(5):
        before, after = seen[epoch : epoch + 2]
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        own = {name for name in changed if name in names(run.classifier)}
        assert own == parts.learning(epoch), epoch
        # buffers of batch normalisation: those of blocks that learn, and no others
        others = {name.rpartition(".")[0] for name in changed - own}
        assert others == {
            name
            for name, module in run.classifier.network.named_modules()
            if isinstance(module, nn.BatchNorm2d) and f"{name}.weight" in parts.learning(epoch)
        }
    assert parts.learning(1) == {"classifier.weight", "classifier.bias"}
    assert parts.learning(1) < parts.learning(2) < parts.learning(3) < parts.learning(4)


def test_frozen_norm_keeps_statistics_but_lets_scales_learn(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _watch(monkeypatch)
    train(stripes, recipes.read(changes=QUICK | {"frozen_norm": True}), folder=tmp_path)
    for name, value in seen[0].items():
        still = name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
        assert torch.equal(value, seen[2][name]) == still, name


def test_the_optimiser_goes_on_when_a_block_joins() -> None:
    """Against Adam written out: each parameter's own steps, none for those that wait."""
    classifier = small().double().train()
    stage = Stage(head_epochs=1, epochs=2, learning_rate=0.01, epsilon=1e-7, adam_formula="keras")
    parts = LearningParts(classifier, stage, "r")
    optimiser = torch.optim.Adam(parts.groups(), 0.01, (0.9, 0.999), 1e-7)
    parameters = dict(classifier.network.named_parameters())
    expected = {k: p.detach().numpy().copy() for k, p in parameters.items()}
    m = {k: np.zeros_like(e) for k, e in expected.items()}
    v, t = {k: np.zeros_like(e) for k, e in expected.items()}, dict.fromkeys(expected, 0)
    generator = np.random.default_rng(0)
    for epoch in (0, 0, 1, 1):
        parts.begin(epoch)
        for k, p in parameters.items():
            if not p.requires_grad:
                assert k not in parts.learning(epoch)
                continue
            g = generator.normal(0, 1, p.shape)
            p.grad = torch.from_numpy(g.copy())
            t[k] += 1
            m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g**2
            expected[k] -= (
                0.01 * math.sqrt(1 - 0.999 ** t[k]) / (1 - 0.9 ** t[k]) * m[k] / (np.sqrt(v[k]) + 1e-7)
            )
        for group in optimiser.param_groups:
            group["eps"] = 1e-7 / math.sqrt(1 - 0.999 ** (steps_done(optimiser, group) + 1))
        optimiser.step()
    assert set(t.values()) == {2, 4}
    for k, p in parameters.items():
        assert np.abs(p.detach().numpy() - expected[k]).max() < 1e-12
