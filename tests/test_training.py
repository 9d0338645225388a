"""Training: what it gives, that it repeats itself, and every way it can end."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from labelled import patients, write_folders, write_picture, write_table
from mikata import datasets
from mikata.errors import Cancelled, DataError, NetworkError, OutputError, RecipeError, TrainingError
from mikata.evaluation import evaluate
from mikata.language import duration
from mikata.training import order, train
from mikata.training import recipe as recipes
from mikata.training.augmentation import augment
from mikata.training.checkpoints import Checkpoints
from mikata.training.data import Part, TrainingBatches, WholeBatches, look_through, part
from mikata.training.learning_parts import LearningParts
from mikata.training.loop import Loop, Watch
from mikata.training.losses import ClassLoss
from mikata.training.recipe import Recipe
from mikata.training.stage import Augmentation, Stage
from mikata.types import SILENT, Progress

QUICK: dict[str, Any] = {"size": [32, 32], "epochs": 2, "batch": 8, "learning_rate": 0.01}


def quick(**changes: Any) -> Recipe:
    return recipes.read(changes=QUICK | changes)


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return datasets.read(write_folders(tmp_path_factory.mktemp("stripes"), ("down", "across"), 15))


def weights(run: Any) -> dict[str, torch.Tensor]:
    return run.classifier.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_run_learns_and_remembers(
    stripes: datasets.Dataset,
    hard_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(hard_path)
    told: list[str] = []

    class Listening(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            told.append(message)
            assert 0 <= done <= total

    before = torch.get_rng_state()
    run = train(stripes, quick(epochs=6), folder=hard_path / "run", progress=Listening())
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in hard_path.iterdir()) == ["run"]
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4, 5, 6]
    assert run.best_epoch == 1 + int(np.argmin([row["selection_loss"] for row in run.history]))
    assert run.history[-1]["training_loss"] < run.history[0]["training_loss"]
    assert run.stopped_by == "finished"
    assert any(
        m.startswith("Epoch 6 of 6, loss ") and "selection accuracy" in m and "left" in m for m in told
    )
    saved = torch.load(run.checkpoint, weights_only=True)
    assert same(saved, weights(run))
    assert all(isinstance(value, torch.Tensor) for value in saved.values())
    assert not any(module.training for module in run.classifier.modules())
    record = json.loads(json.dumps(run.record(), allow_nan=False))
    assert record["notice"] == "Research use, not for diagnosis."
    assert record["data"]["parts"]["training"]["images"] == {"down": 9, "across": 9}
    assert record["data"]["split"] == "image-wise, no patient known"
    assert record["data"]["references"] == {"not stated": 30}
    assert torch.__version__.startswith(record["versions"]["torch"])
    assert (run.value_unit, run.value_range, run.channels, run.size) == ("grey", (0.0, 255.0), 1, (32, 32))
    report = evaluate(run, run.parts["test"])
    assert "the test part (image-wise, no patient known)" in report.protocol
    assert any("too good" in note for note in evaluate(run, run.parts["training"]).notes)


def test_record_counts_patients_without_naming_them(tmp_path: Path) -> None:
    rows = [(file, label, f"secret-{patient}") for file, label, patient in patients(6, 3)]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient_alias"))
    run = train(dataset, quick(epochs=1), folder=tmp_path / "run")
    text = json.dumps(run.record())
    assert "secret" not in text
    assert ".png" not in text
    counted = run.record()["data"]["parts"]
    assert sum(part["patients"]["a"] for part in counted.values()) == 6
    assert run.record()["data"]["split"] == "patient-wise"


@pytest.mark.parametrize("changes", [{}, {"fit": "native", "size": [24, 24]}, {"balance": "sampling"}])
def test_same_seed_gives_the_same_weights(
    stripes: datasets.Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    first = train(stripes, quick(**changes), folder=tmp_path / "1")
    torch.rand(7)  # what happened before must not matter
    second = train(stripes, quick(**changes), folder=tmp_path / "2")
    assert same(weights(first), weights(second))
    unkept = train(stripes, quick(**changes, cache_gib=0, workers=2), folder=tmp_path / "3")
    assert same(weights(first), weights(unkept))
    other = train(stripes, quick(**changes, seed=1), folder=tmp_path / "4", parts=first.parts)
    assert not same(weights(first), weights(other))


def test_each_epoch_has_its_own_order(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = order.shuffled

    def spy(count: int, seed: int, epoch: int) -> torch.Tensor:
        asked.append(epoch)
        return original(count, seed, epoch)

    monkeypatch.setattr(order, "shuffled", spy)
    train(stripes, quick(epochs=3), folder=tmp_path)
    assert asked == [0, 1, 2]
    assert not torch.equal(original(50, 0, 0), original(50, 0, 1))
    assert not torch.equal(original(50, 0, 0), original(50, 1, 0))


def test_balanced_order_shows_classes_equally() -> None:
    labels = torch.tensor([0] * 90 + [1] * 7 + [2] * 3)
    chosen = order.balanced(labels, 0, 0)
    assert sorted(Counter(labels[chosen].tolist()).values()) == [33, 33, 34]
    seen = Counter(chosen.tolist())
    for name in (1, 2):  # every image before any again
        counts = [seen[i] for i in (labels == name).nonzero().flatten().tolist()]
        assert max(counts) - min(counts) <= 1
    assert not torch.equal(chosen, order.balanced(labels, 0, 1))


def test_down_sampling_takes_as_many_of_each_class(stripes: datasets.Dataset, tmp_path: Path) -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [2] * 5)
    epochs = [order.fewest(labels, 1, epoch) for epoch in range(40)]
    for chosen in epochs:
        assert Counter(labels[chosen].tolist()) == {0: 3, 1: 3, 2: 3}
        assert len(set(chosen.tolist())) == 9
    assert set(torch.cat(epochs).tolist()) == set(range(17))
    assert torch.equal(order.fewest(labels, 1, 7), epochs[7])
    run = train(
        dataclasses.replace(stripes, entries=stripes.entries[:22]),
        quick(balance="down_sampling", epochs=1),
        folder=tmp_path,
    )
    assert len(run.history) == 1


def test_batches_are_even_and_complete(stripes: datasets.Dataset) -> None:
    source = _part(stripes, (32, 32), "resize")
    batches = TrainingBatches(source, 16, 0, workers=1)
    sizes = [len(labels) for _, labels, _ in batches]
    assert (sizes, len(batches)) == ([15, 15], 2)
    whole = [numbers for _, _, numbers in WholeBatches(source, 7, workers=1)]
    assert sorted(torch.cat(whole).tolist()) == list(range(30))


def _part(dataset: datasets.Dataset, size: tuple[int, int], fit: Any) -> Part:
    from mikata.networks import InputSpec

    return part(dataset.entries, dataset.classes, InputSpec(1, size, fit))


def test_statistics_equal_numpy(tmp_path: Path) -> None:
    for i in range(4):
        write_picture(tmp_path / "ab"[i % 2] / f"{i}.png", i % 2, i, size=(30 + i, 40))
    dataset = datasets.read(tmp_path)
    source = _part(dataset, (16, 16), "native")
    found = look_through(source, keep=True, workers=2, message="", progress=SILENT)
    pixels = np.concatenate([np.asarray(Image.open(e.file), np.float64).ravel() for e in dataset.entries])
    assert found.mean[0] == pytest.approx(pixels.mean(), rel=1e-12)
    assert found.std[0] == pytest.approx(pixels.std(), rel=1e-12)
    assert found.value_range == (pixels.min(), pixels.max())
    assert isinstance(source.kept, list)


# --- augmentation


def _draws(count: int = 1, **values: float) -> torch.Tensor:
    draws = torch.full((count, len(order.DRAWS)), 0.5)
    for name, value in values.items():
        draws[:, order.DRAWS.index(name)] = value
    return draws


NONE = Augmentation(0, 0, 0)
RANGE = (0.0, 255.0)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 1, 6, 10)])
def test_augmentation_moves_pixels_where_it_should(shape: tuple[int, ...]) -> None:
    x = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    middle = {"rotation": 0.5, "shift_x": 0.5, "shift_y": 0.5}
    still = augment(x, _draws(**middle), Augmentation(1, 0.5, 0.5), RANGE)
    assert torch.allclose(still, x, atol=1e-4)
    flips = dataclasses.replace(NONE, flip_horizontal=True, flip_vertical=True)
    assert torch.allclose(
        augment(x, _draws(flip_horizontal=0, flip_vertical=1), flips, RANGE), x.flip(3), atol=1e-4
    )
    assert torch.allclose(
        augment(x, _draws(flip_horizontal=1, flip_vertical=0), flips, RANGE), x.flip(2), atol=1e-4
    )
    height, width = shape[2:]
    for name, axis, size in (("shift_x", 3, width), ("shift_y", 2, height)):
        one = dataclasses.replace(NONE, shift=1 / size, fill="nearest")
        moved = augment(x, _draws(**{name: 1.0}), one, RANGE)
        assert torch.allclose(moved.narrow(axis, 0, size - 1), x.narrow(axis, 1, size - 1), atol=1e-3)
        assert torch.allclose(moved.narrow(axis, size - 1, 1), x.narrow(axis, size - 1, 1), atol=1e-3)


def test_rotation_turns_pixels_also_in_oblong_images() -> None:
    x = torch.zeros(1, 1, 9, 21)
    x[0, 0, 4, 13] = 100  # three pixels right of the middle
    quarter = dataclasses.replace(NONE, rotation_rad=math.pi / 2, fill="lowest")
    turned = augment(x, _draws(rotation=1.0), quarter, RANGE)
    assert (turned[0, 0] > 50).nonzero().tolist() == [[1, 10]]  # three pixels above it
    square = torch.rand(1, 3, 8, 8) * 255
    turned = augment(square, _draws(rotation=1.0), quarter, RANGE)
    assert torch.allclose(turned, square.rot90(1, (2, 3)), atol=1e-3)


def test_brightness_and_fill_know_the_lowest_value() -> None:
    ct = torch.tensor([[[[-1000.0, 0.0, 1000.0]] * 3]])
    brighter = augment(ct, _draws(brightness=1.0), Augmentation(0, 0, 0.1), (-1000.0, 1000.0))
    assert brighter[0, 0, 0].tolist() == pytest.approx([-1000, 100, 1000])
    darker = augment(ct, _draws(brightness=0.0), Augmentation(0, 0, 0.1), (-1000.0, 1000.0))
    assert darker[0, 0, 0].tolist() == pytest.approx([-1000, -100, 800])
    bright = torch.full((1, 1, 6, 6), 500.0)
    moved = augment(bright, _draws(shift_x=1.0), Augmentation(0, 0.5, 0, fill="lowest"), (-1000.0, 1000.0))
    assert moved[0, 0, 0].tolist() == pytest.approx([500, 500, 500, -1000, -1000, -1000])


def test_every_image_is_changed_on_its_own() -> None:
    x = torch.rand(1, 1, 16, 16).repeat(4, 1, 1, 1) * 255
    changed = augment(x, order.draws(4, 0, 0), Augmentation(), RANGE)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 4


SIDES = [
    (("Left lung", "other"), True),
    (("RIGHT", "other"), True),
    (("LeftBreast", "other"), True),
    (("右肺", "正常"), True),
    (("view_L", "view_R"), True),
    (("od", "os"), True),
    (("leftlung", "other"), True),
    (("ＬＥＦＴ", "other"), True),
    (("ひだり", "ほか"), True),
    (("LMLO", "RMLO"), True),
    (("LUL", "RUL"), True),
    (("class L", "class S"), False),
    (("brightness", "leftover"), False),
    (("normal", "upright"), False),
]


@pytest.mark.parametrize(("names", "refused"), SIDES)
@pytest.mark.parametrize("flip", ["flip_horizontal", "flip_vertical"])
def test_flips_are_refused_for_sides(
    tmp_path: Path, names: tuple[str, str], refused: bool, flip: str
) -> None:
    dataset = datasets.read(write_folders(tmp_path, names, 3))
    recipe = quick(epochs=1, **{flip: True})
    if refused:
        with pytest.raises(RecipeError, match="flips are on"):
            train(dataset, recipe, folder=tmp_path / "run")
    else:
        train(dataset, recipe, folder=tmp_path / "run")


def test_flips_are_refused_when_labels_follow_laterality(tmp_path: Path) -> None:
    rows = [(f"{label}{i}.png", label, side) for label, side in (("x", "R"), ("y", "L")) for i in range(3)]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,laterality"))
    with pytest.raises(RecipeError, match="laterality"):
        train(dataset, quick(flip_horizontal=True), folder=tmp_path / "run")


# --- optimiser


def _loop(stage: Stage, tmp_path: Path) -> Loop:
    from mikata.architecture import Classifier

    torch.manual_seed(0)
    classifier = Classifier("small_cnn", 2, 1, [0.0], [1.0]).double()
    entry_part = Part((), torch.zeros(0, dtype=torch.int64), None)  # type: ignore[arg-type]
    batches = TrainingBatches(entry_part, 1, 0, workers=1)
    watch = Watch(SILENT, 1, 1, lambda: False)
    loss, parts = ClassLoss(torch.tensor([0, 1]), 2, stage), LearningParts(classifier, stage, "r")
    return Loop(classifier, stage, batches, loss, parts, RANGE, 0, Checkpoints(tmp_path), watch)


@pytest.mark.parametrize("formula", ["keras", "torch"])
@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_adam_with_clipnorm_is_exact(tmp_path: Path, formula: Any, scope: Any) -> None:
    stage = Stage(
        learning_rate=1e-5,
        epsilon=1e-7,
        adam_formula=formula,
        clipnorm=0.001,
        clipnorm_scope=scope,
        schedule="constant",
    )
    loop = _loop(stage, tmp_path)
    optimiser = loop.configure_optimizers()
    parameters = list(loop.classifier.parameters())
    expected = [p.detach().numpy().copy() for p in parameters]
    m, v = [np.zeros_like(p) for p in expected], [np.zeros_like(p) for p in expected]
    generator = np.random.default_rng(0)
    for t in range(1, 4):
        gradients = [generator.normal(0, 10.0 ** -generator.integers(1, 8), p.shape) for p in expected]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.from_numpy(g.copy())
        loop.on_before_optimizer_step(optimiser)
        optimiser.step()
        whole = math.sqrt(sum((g**2).sum() for g in gradients))
        for i, g in enumerate(gradients):
            norm = whole if scope == "global" else math.sqrt((g**2).sum())
            g = g * 0.001 / norm if norm > 0.001 else g
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
            one, two = 1 - 0.9**t, 1 - 0.999**t
            if formula == "keras":
                expected[i] -= 1e-5 * math.sqrt(two) / one * m[i] / (np.sqrt(v[i]) + 1e-7)
            else:
                expected[i] -= 1e-5 / one * m[i] / (np.sqrt(v[i] / two) + 1e-7)
    for p, e in zip(parameters, expected, strict=True):
        assert np.abs(p.detach().numpy() - e).max() < 1e-13


def test_clipping_and_formula_reach_the_training(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    original = Loop.configure_gradient_clipping

    def spy(self: Loop, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        norms.append(
            math.sqrt(sum(float(p.grad.square().sum()) for p in self.parameters() if p.grad is not None))
        )

    monkeypatch.setattr(Loop, "configure_gradient_clipping", spy)
    recipe = quick(clipnorm=0.001, adam_formula="keras", epsilon=1e-7)
    train(stripes, recipe, folder=tmp_path)
    assert norms == pytest.approx([0.001] * 6, rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "sgd", "schedule": "constant"},
        {"optimiser": "adamw", "weight_decay": 0.01},
        {"precision": "bf16"},
        {"balance": "class_weights"},
        {"network": "resnet18"},
        {"channels": 3},
        {"batch": 1},
    ],
)
def test_other_settings_train(stripes: datasets.Dataset, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = train(stripes, quick(epochs=1, **changes), folder=tmp_path)
    assert math.isfinite(run.history[0]["selection_loss"])
    assert run.channels == changes.get("channels", 1)


def test_cosine_ends_at_zero_and_early_stopping_stops(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(
        Loop,
        "on_before_optimizer_step",
        lambda self, optimizer: rates.append(optimizer.param_groups[0]["lr"]),
    )
    train(stripes, quick(), folder=tmp_path)
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)])
    run = train(stripes, quick(learning_rate=1e-9, epochs=50, early_stopping=2), folder=tmp_path)
    assert run.stopped_by == "early stopping"
    assert len(run.history) == run.best_epoch + 2


def test_start_from_weights_of_a_file(stripes: datasets.Dataset, tmp_path: Path) -> None:
    first = train(stripes, quick(epochs=3), folder=tmp_path / "1")
    again = train(
        stripes, quick(epochs=1, learning_rate=1e-12, source=str(first.checkpoint)), folder=tmp_path / "2"
    )
    key = "network.features.0.weight"
    assert torch.allclose(weights(first)[key], weights(again)[key], atol=1e-9)
    with pytest.raises(NetworkError, match="do not exist"):
        train(stripes, quick(source=str(tmp_path / "none.pt")), folder=tmp_path / "3")


# --- images of several kinds


def test_native_takes_images_of_all_sizes(tmp_path: Path) -> None:
    for kind, name in enumerate(("down", "across")):
        for i in range(9):
            write_picture(tmp_path / name / f"{i}.png", kind, i, size=(20 + 12 * (i % 3), 64))
    dataset = datasets.read(tmp_path)
    run = train(dataset, quick(fit="native", epochs=1), folder=tmp_path / "run")
    assert evaluate(run, run.parts["test"]).n == len(run.parts["test"])


def test_colour_and_grey_together(tmp_path: Path) -> None:
    write_folders(tmp_path, ("a", "b"), 6)
    write_folders(tmp_path, ("a",), 3, colour=True)
    dataset = datasets.read(tmp_path)
    run = train(dataset, quick(epochs=1), folder=tmp_path / "run")
    assert run.channels == 3
    with pytest.raises(DataError, match=r"is in colour, but the recipe says channels = 1"):
        train(dataset, quick(channels=1), folder=tmp_path / "run")


def test_values_beyond_8_bit(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, middle in (("a", -300.0), ("b", 500.0)):
        (tmp_path / name).mkdir()
        for i in range(5):
            np.save(tmp_path / name / f"{i}.npy", generator.normal(middle, 100, (32, 32)).astype(np.float32))
    dataset = datasets.read(tmp_path)
    run = train(dataset, quick(epochs=1), folder=tmp_path / "run")
    pixels = np.stack([np.load(entry.file) for entry in run.parts["training"]])
    assert run.value_range == (float(pixels.min()), float(pixels.max()))
    assert run.classifier.configuration["mean"] == pytest.approx([pixels.mean()], rel=1e-4)
    with pytest.raises(RecipeError, match="8-bit"):
        train(dataset, quick(normalisation="imagenet", network="resnet18"), folder=tmp_path / "run")


def test_imagenet_normalisation(stripes: datasets.Dataset, tmp_path: Path) -> None:
    run = train(
        stripes, quick(normalisation="imagenet", network="resnet18", channels=3, epochs=1), folder=tmp_path
    )
    assert run.classifier.configuration["mean"] == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize("count", range(2, 20))
@pytest.mark.parametrize("batch", [2, 3, 4, 16])
def test_no_image_comes_alone(stripes: datasets.Dataset, count: int, batch: int) -> None:
    source = _part(stripes, (32, 32), "native")
    source = Part(source.entries[:count], source.labels[:count], source.spec)
    sizes = [len(labels) for _, labels, _ in TrainingBatches(source, batch, 0, workers=1)]
    assert sum(sizes) == count
    assert 2 <= min(sizes) <= max(sizes) <= batch + 1


def test_a_single_image_at_once_is_explained(stripes: datasets.Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch = 2 or more"):
        train(stripes, quick(network="resnet18", batch=1, epochs=1), folder=tmp_path)


def test_a_network_of_one_size_is_refused_images_of_many(stripes: datasets.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="vit_b_32 takes images of one size only"):
        train(stripes, quick(network="vit_b_32", size=[224, 224], fit="native"), folder=tmp_path)


def test_size_that_the_network_cannot_take(stripes: datasets.Dataset, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="alexnet cannot take images of 32 x 32 px"):
        train(stripes, quick(network="alexnet"), folder=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which can do it")
def test_half_precision_needs_a_gpu(stripes: datasets.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs a GPU"):
        train(stripes, quick(precision="16"), folder=tmp_path)


# --- how it ends


class _After(Progress):
    """Does something once, after an epoch has been shown."""

    def __init__(self, words: str, act: Callable[[], None]) -> None:
        self.words, self.act, self.acted, self.stop = words, act, False, False

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        if self.words in message and not self.acted:
            self.acted = True
            self.act()

    @property
    def cancelled(self) -> bool:
        return self.stop


def _press_keys() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _raise() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["cancel", "Ctrl-C", "KeyboardInterrupt"])
@pytest.mark.parametrize("words", ["selection accuracy", "Epoch 1 of"])
def test_interrupt_keeps_what_there_is(
    stripes: datasets.Dataset, tmp_path: Path, how: str, words: str
) -> None:
    if how == "Ctrl-C" and sys.platform == "win32":
        pytest.skip("a program cannot press Ctrl-C in its own console alone")
    progress = _After(words, {"Ctrl-C": _press_keys, "KeyboardInterrupt": _raise}.get(how, lambda: None))
    if how == "cancel":
        progress.act = lambda: setattr(progress, "stop", True)
    before = signal.getsignal(signal.SIGINT)
    recipe = quick(epochs=200, early_stopping=0)
    if words == "Epoch 1 of":
        with pytest.raises(Cancelled, match="nothing is kept"):
            train(stripes, recipe, folder=tmp_path, progress=progress)
        assert list(tmp_path.iterdir()) == []
    else:
        run = train(stripes, recipe, folder=tmp_path, progress=progress)
        assert run.stopped_by == "interrupted"
        assert 1 <= len(run.history) < 200
        assert same(torch.load(run.checkpoint, weights_only=True), weights(run))
        assert run.last_checkpoint.is_file()
        assert run.record()["stopped_by"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before


def test_train_in_another_thread(stripes: datasets.Dataset, tmp_path: Path) -> None:
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(train(stripes, quick(), folder=tmp_path)))
    thread.start()
    thread.join()
    assert runs[0].stopped_by == "finished"


def test_loss_that_is_no_number(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Loop.on_train_epoch_start

    def poison(self: Loop) -> None:
        original(self)
        if self.epoch == poisoned:
            with torch.no_grad():
                next(self.classifier.parameters()).fill_(math.nan)

    monkeypatch.setattr(Loop, "on_train_epoch_start", poison)
    poisoned = 0
    with pytest.raises(TrainingError, match=r"loss of epoch 1 is not a number.*Nothing is kept"):
        train(stripes, quick(), folder=tmp_path)
    poisoned = 1
    with pytest.raises(TrainingError, match=r"loss of epoch 2 is not a number.*weights of epoch 1 are kept"):
        train(stripes, quick(), folder=tmp_path)
    saved = torch.load(tmp_path / "best.pt", weights_only=True)
    assert all(bool(value.isfinite().all()) for value in saved.values())


def test_memory_does_not_suffice(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    # smaller batches do not help where the optimiser's averages find no room
    monkeypatch.setattr(torch.optim.Adam, "step", no_room)
    with pytest.raises(TrainingError, match=r"8 images of 32 x 32 px.*batch = 4"):
        train(stripes, quick(), folder=tmp_path)


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no limit of a file's size to stand for a full disk"
)
def test_full_disk_keeps_the_checkpoint_before(stripes: datasets.Dataset, tmp_path: Path) -> None:
    import resource

    train(stripes, quick(), folder=tmp_path)
    before = [(tmp_path / name).read_bytes() for name in ("best.pt", "last.pt")]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    progress = _After(
        "selection accuracy", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    )
    try:
        with pytest.raises(OutputError, match=r"(best|state)\.pt cannot be written: File too large"):
            train(stripes, quick(epochs=3), folder=tmp_path, progress=progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt"]
    assert before == [(tmp_path / name).read_bytes() for name in ("best.pt", "last.pt")]


@pytest.mark.parametrize("links", [True, False])
def test_best_stays_while_last_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no second names on this disk")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    loop = _loop(Stage(), tmp_path)
    bias = loop.classifier.network.get_parameter("classifier.bias")
    for epoch, loss in enumerate((3.0, 1.0, 2.0), start=1):
        bias.data.fill_(epoch)
        loop.checkpoints.note(loop.classifier.state_dict(), epoch, loss)
        loop.checkpoints.keep()
    kept = [torch.load(tmp_path / name, weights_only=True) for name in ("best.pt", "last.pt")]
    assert [float(state["network.classifier.bias"][0]) for state in kept] == [2, 3]
    assert loop.checkpoints.best_epoch == 2


def test_folder_that_cannot_be_written(stripes: datasets.Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        train(stripes, quick(), folder=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3725, "1 h 2 min")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# --- real images


def _texture_table(folder: Path) -> Path:
    columns = {"training": (0, 256, 32), "selection": (256, 352, 32), "test": (384, 512, 64)}
    rows = ["file,label,split"]
    for name in ("brick", "grass", "gravel"):
        photograph = getattr(skimage.data, name)()
        for split, (start, stop, step) in columns.items():
            for y in range(0, 449, 32 if split == "training" else 64):
                for x in range(start, stop - 63, step):
                    path = folder / name / f"{split} {x} {y}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(photograph[y : y + 64, x : x + 64]).save(path)
                    rows.append(f"{name}/{path.name},{name},{split}")
    table = folder / "textures.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    return table


def test_textures_are_learnt_within_a_minute(hard_path: Path) -> None:
    dataset = datasets.read(_texture_table(hard_path))
    started = time.process_time()
    run = train(dataset, recipes.read(Path("texture")), folder=hard_path / "run")
    used = time.process_time() - started
    report = evaluate(run, run.parts["test"])
    assert report.n == 48
    assert report.accuracy.value >= 0.95
    # processor time of all threads, so that a busy machine does not count: a minute on two cores
    assert used < 120


def test_chest_radiographs_with_patients(shared: Path, tmp_path: Path) -> None:
    dataset = datasets.read(shared / "data" / "cxr-view" / "labels.csv")
    recipe = recipes.read(changes={"size": [64, 64], "epochs": 1})
    run = train(dataset, recipe, folder=tmp_path)
    groups = [{entry.patient for entry in entries} for entries in run.parts.values()]
    assert not (groups[0] & groups[1])
    assert not (groups[0] & groups[2])
    assert not (groups[1] & groups[2])
    report = evaluate(run, run.parts["test"])
    assert (report.unit, report.n_patients) == ("patient", len(groups[2]))
    assert "bootstrap over patients" in report.accuracy.interval.method
    assert "patient-wise" in report.protocol
