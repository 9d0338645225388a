"""Learning without labels: the loss falls, what is seen is of use, and nothing leaves the computer."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from labelled import write_folders
from mikata import datasets
from mikata.architecture import Classifier
from mikata.datasets import read_unlabelled
from mikata.errors import Cancelled, DataError, RecipeError, TrainingError
from mikata.networks import InputSpec
from mikata.training import order, train
from mikata.training import recipe as recipes
from mikata.training.data import Part
from mikata.training.stage import Stage, Unlabelled
from mikata.training.unlabelled import Flips, images_of, learn_unlabelled, view
from mikata.types import SILENT, Progress

RANGE = (0.0, 255.0)
NO_FLIPS = Flips()


def crops(places: range, step: int = 48, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares of three photographs of textures, from columns `places`; each of mean 120 and standard deviation 40."""
    found, labels = [], []
    for label, name in enumerate(("brick", "grass", "gravel")):
        photograph = getattr(skimage.data, name)().astype(np.float32)
        for y in range(0, 512 - side + 1, step):
            for x in places:
                square = photograph[y : y + side, x : x + side]
                # without brightness and contrast, which would tell the photographs apart
                square = (square - square.mean()) / square.std() * 40 + 120
                found.append(torch.from_numpy(square.clip(0, 255))[None])
                labels.append(label)
    return torch.stack(found), torch.tensor(labels)


def part_of(pictures: torch.Tensor) -> Part:
    side = pictures.shape[-1]
    part = Part(
        (None,) * len(pictures),
        torch.zeros(len(pictures), dtype=torch.int64),
        InputSpec(1, (side, side), "resize"),
    )  # type: ignore[arg-type]
    part.kept = pictures
    return part


def network(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier("small_cnn", 3, 1, [120.0], [45.0]).eval()


def learn(
    classifier: Classifier, pictures: torch.Tensor, settings: Unlabelled, **options: Any
) -> list[dict[str, float]]:
    given: dict[str, Any] = {
        "seed": 0,
        "progress": SILENT,
        "recipe": "r",
        "value_range": RANGE,
        "flips": NO_FLIPS,
    }
    return learn_unlabelled(classifier, part_of(pictures), settings, **given | options)


@pytest.mark.parametrize("method", ["simclr", "vicreg", "byol"])
def test_loss_falls_and_the_head_stays(method: Any) -> None:
    pictures, _ = crops(range(0, 192, 64), 64, 32)
    classifier = network()
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    state = torch.get_rng_state()
    history = learn(classifier, pictures, Unlabelled(method=method, epochs=4, batch=24))
    assert torch.equal(torch.get_rng_state(), state)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < history[0]["loss"]
    after = classifier.state_dict()
    assert {k for k in before if torch.equal(before[k], after[k])} == {
        "normalise.mean", "normalise.std", "network.classifier.weight", "network.classifier.bias",
    }  # fmt: skip
    assert not classifier.training
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
    again = network()
    assert (
        learn(again, pictures, Unlabelled(method=method, epochs=4, batch=24))[-1]["loss"]
        == history[-1]["loss"]
    )
    assert all(torch.equal(v, after[k]) for k, v in again.state_dict().items())


def separate(classifier: Classifier, training: Any, test: Any) -> float:
    """Accuracy on other parts of the photographs of a linear head on the features, three labels of each texture."""
    from mikata.training.unlabelled import features

    look = features(classifier)
    with torch.inference_mode():
        seen, other = (look(x).double().numpy() for x in (training[0], test[0]))
    mean, std = seen.mean(0), seen.std(0) + 1e-9
    labels = training[1].numpy()
    right = []
    for draw in range(20):
        generator = np.random.default_rng(draw)
        few = np.concatenate([generator.choice(np.flatnonzero(labels == k), 3, False) for k in range(3)])
        head = LogisticRegression(max_iter=2000).fit((seen[few] - mean) / std, labels[few])
        right.append(head.score((other - mean) / std, test[1].numpy()))
    return float(np.mean(right))


@pytest.mark.slow
def test_simclrs_features_separate_textures_better_than_random_weights() -> None:
    training, test = crops(range(0, 289, 36), 36), crops(range(368, 465, 48))
    gains = []
    for seed in (0, 1):
        classifier = network(seed)
        random = separate(classifier, training, test)
        history = learn(classifier, training[0], Unlabelled(epochs=12, batch=64), seed=seed)
        assert history[-1]["loss"] < 0.9 * history[0]["loss"]
        learnt = separate(classifier, training, test)
        gains.append(learnt - random)
    assert np.mean(gains) > 0.03


def test_views_differ_and_stay_in_the_range() -> None:
    pictures, _ = crops(range(0, 192, 64), 64, 32)
    first, second = (view(pictures, order.draws(len(pictures), 0, 0, name), RANGE, NO_FLIPS) for name in "12")
    assert first.shape == pictures.shape
    assert float(first.min()) >= 0
    assert float(first.max()) <= 255
    assert float((first - second).abs().mean()) > 5
    # a gradient of grey from left to right goes on doing so in every view that may not be mirrored
    slope = torch.arange(32.0).expand(200, 1, 32, 32) * 4 + 60
    seen = view(slope, order.draws(200, 0, 0, "1"), RANGE, NO_FLIPS)
    assert bool((seen[..., -1] > seen[..., 0]).all())
    both = view(slope, order.draws(200, 0, 0, "1"), RANGE, Flips(horizontal=True))
    assert 60 < int((both[:, 0, 16, -1] > both[:, 0, 16, 0]).sum()) < 140


def test_it_stops_where_it_is_told_to_and_leaves_the_network() -> None:
    pictures, _ = crops(range(0, 192, 64), 64, 32)
    classifier = network()
    before = {k: v.clone() for k, v in classifier.state_dict().items()}

    class Stopping(Progress):
        asked = 0

        @property
        def cancelled(self) -> bool:
            self.asked += 1
            return self.asked > 100

    with pytest.raises(Cancelled):
        learn(classifier, pictures, Unlabelled(epochs=50, batch=24), progress=Stopping())
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())
    with torch.no_grad():
        next(classifier.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match=r"not a number any more in epoch 1.*lower than 0.001"):
        learn(classifier, pictures, Unlabelled(epochs=1))


def test_too_few_images_and_too_small_batches_are_refused() -> None:
    pictures, _ = crops(range(0, 192, 64), 64, 32)
    with pytest.raises(DataError, match=r"7 image\(s\).*at least 8"):
        learn(network(), pictures[:7], Unlabelled())
    with pytest.raises(RecipeError, match="batch = 1"):
        learn(network(), pictures, Unlabelled(batch=1))


def test_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "lightly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightly", None)
    pictures, _ = crops(range(0, 192, 64), 64, 32)
    with pytest.raises(RecipeError, match=r'pip install "mikata\[unlabelled\]"'):
        learn(network(), pictures, Unlabelled())


_ALONE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("REFUSED", event, arguments)
sys.addaudithook(refuse)
import mikata.training.run
assert not any(name.split(".")[0] == "lightly" for name in sys.modules)
from mikata.training.unlabelled import _lightly
library = _lightly("r")
library.loss.NTXentLoss(); library.loss.VICRegLoss(); library.loss.NegativeCosineSimilarity()
library.heads.SimCLRProjectionHead(8, 8, 8)
print("done")
"""


def test_lightly_calls_nobody_and_is_imported_when_needed_only() -> None:
    done = subprocess.run([sys.executable, "-c", _ALONE], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr
    assert "REFUSED" not in done.stdout
    source = Path(sys.modules["mikata"].__file__ or "").parent
    users = [
        p.name
        for p in source.rglob("*.py")
        if "import lightly" in p.read_text("utf-8") or "from lightly" in p.read_text("utf-8")
    ]
    assert users == ["unlabelled.py"]


def test_a_stage_learns_without_labels_first(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 12))
    recipe_file = tmp_path / "r.toml"
    text = """
        [[stage]]
        size = [32, 32]
        epochs = 1
        batch = 8
        source = "unlabelled"
        [stage.unlabelled]
        epochs = 2
        batch = 8
        images = '{images}'
        """
    recipe_file.write_text(text.format(images=""))
    run = train(dataset, recipes.read(recipe_file), folder=tmp_path / "run")
    (before,) = run.earlier
    assert before["name"] == "unlabelled"
    assert [row["epoch"] for row in before["history"]] == [1, 2]
    assert run.record()["earlier_stages"][0]["history"] == before["history"]
    again = train(dataset, recipes.read(recipe_file), folder=tmp_path / "again")
    first, second = run.classifier.state_dict(), again.classifier.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    (tmp_path / "more" / "deeper").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(9):
        pixels = generator.integers(0, 256, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "more" / ("deeper" if i % 2 else ".") / f"{i}.png")
    recipe_file.write_text(text.format(images="more"))
    other = train(dataset, recipes.read(recipe_file), folder=tmp_path / "other")
    assert other.earlier[0]["history"][0]["loss"] != before["history"][0]["loss"]
    assert str(tmp_path) not in json.dumps(other.record())


def test_images_of_the_test_part_are_left_out(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path / "data", ("a", "b"), 6))
    stage = Stage(size=(32, 32))
    learning = Part(dataset.entries[:6], torch.zeros(6, dtype=torch.int64), InputSpec(1, (32, 32), "resize"))
    settings = Unlabelled(images=str(tmp_path / "data"))
    found = images_of(settings, learning, dataset.entries[6:], stage, SILENT)
    assert {e.picture.digest for e in found.entries} == {e.picture.digest for e in learning.entries}
    assert isinstance(found.kept, torch.Tensor)
    with pytest.raises(DataError, match="selection or test part"):
        images_of(settings, learning, dataset.entries, stage, SILENT)
    assert images_of(Unlabelled(), learning, (), stage, SILENT) is learning


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist, or is no folder"):
        read_unlabelled(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="no image that can be used"):
        read_unlabelled(tmp_path)
