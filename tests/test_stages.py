"""Learning in stages: what goes from one to the next, what is kept apart, and what is remembered."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from labelled import write_folders, write_picture
from mikata import datasets, images
from mikata.errors import DataError, NetworkError
from mikata.training import Memory, train
from mikata.training import recipe as recipes
from mikata.training.plan import plan
from mikata.types import Image, Progress

STAGE = 'network = "small_cnn"\nsize = [32, 32]\nepochs = 2\nbatch = 8\nlearning_rate = 0.01\n'
FORMULA = "[stage.formula]\nclasses = 4\nper_class = 5\nepochs = 1\nbatch = 8\n"


def write(path: Path, text: str) -> recipes.Recipe:
    path.write_text(text, encoding="utf-8")
    return recipes.read(path)


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    """Three classes, in another folder and of other pictures than those of `task`."""
    return write_folders(tmp_path / "textures", ("down", "across", "flat"), 8, size=(40, 40))


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "task", ("one", "two"), 10)


def two_stages(folder: Path, *, source: str = "none", more: str = "") -> recipes.Recipe:
    return write(
        folder / "two.toml",
        f'[[stage]]\nname = "textures"\ndata = "textures"\nsource = "{source}"\n{STAGE}{more}'
        '[[stage]]\nname = "task"\nepochs = 2\nbatch = 8\n',
    )


def test_each_stage_goes_on_where_the_one_before_ended(tmp_path: Path, textures: Path, task: Path) -> None:
    recipe = two_stages(tmp_path, source="formula", more=FORMULA)
    shown: list[str] = []

    class Listening(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            shown.append(message)

    memory = Memory()
    run = train(datasets.read(task), recipe, folder=tmp_path / "run", progress=Listening(), memory=memory)
    assert run.classes == ("one", "two")
    names = [stage["name"] for stage in run.earlier]
    assert names == ["formula", "textures"]
    assert run.earlier[1]["classes"] == ["across", "down", "flat"]
    assert len(run.earlier[0]["history"]) == 1
    assert any(message.startswith("textures: Epoch 1 of 2") for message in shown)
    # the whole chain is in the record, which names no folder
    record = json.dumps(run.record())
    assert str(tmp_path) not in record
    assert [stage["name"] for stage in json.loads(record)["earlier_stages"]] == names
    # the normalisation went along with the weights
    (first,) = memory.runs.values()
    assert run.classifier.configuration["mean"] == first.classifier.configuration["mean"]


def test_the_first_stage_changes_what_the_last_one_starts_from(
    tmp_path: Path, textures: Path, task: Path
) -> None:
    dataset = datasets.read(task)
    recipe = two_stages(tmp_path)
    staged = train(dataset, recipe, folder=tmp_path / "a")
    again = train(dataset, recipe, folder=tmp_path / "b")
    alone = train(dataset, recipe.change(source="none"), folder=tmp_path / "c")
    weights = staged.classifier.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in again.classifier.state_dict().items())
    assert not all(torch.equal(weights[key], value) for key, value in alone.classifier.state_dict().items())
    assert alone.earlier == ()


def test_what_tests_later_is_not_learnt_from_before(tmp_path: Path, task: Path) -> None:
    # the same pictures under other labels, as with tissue types first and tumour or not then
    rows = []
    for number, file in enumerate(sorted(task.rglob("*.png"))):
        rows.append((str(file), f"type {number % 2}"))
    with (tmp_path / "types.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label"), *rows])
    recipe = write(tmp_path / "r.toml", f'[[stage]]\ndata = "types.csv"\n{STAGE}[[stage]]\nepochs = 1\n')
    first, last = plan(datasets.read(task), recipe, None, datasets.read)
    digests = {
        part: {entry.picture.digest for entry in last.parts[part]}
        for part in ("training", "selection", "test")
    }
    used = {entry.picture.digest for part in first.parts.values() for entry in part}
    learnt = {entry.picture.digest for entry in first.parts["training"]}
    assert not used & digests["test"]
    assert not learnt & digests["selection"]
    assert first.left_out == len(last.parts["test"]) > 0
    run = train(datasets.read(task), recipe, folder=tmp_path / "run")
    assert run.earlier[0]["left_out"] == first.left_out


def test_a_patient_of_the_test_is_left_out_even_with_other_images(tmp_path: Path) -> None:
    rows: list[tuple[str, str, str]] = []
    for number in range(24):
        file = tmp_path / f"{number}.png"
        write_picture(file, number % 2, number)
        rows.append((file.name, ("one", "two")[number % 2], f"P{number // 2 % 6}{number % 2}"))
    for name, part in (("first.csv", rows[:12]), ("last.csv", rows[12:])):
        with (tmp_path / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([("file", "label", "patient"), *part])
    recipe = write(tmp_path / "r.toml", f'[[stage]]\ndata = "first.csv"\n{STAGE}[[stage]]\nepochs = 1\n')
    first, last = plan(datasets.read(tmp_path / "last.csv"), recipe, None, datasets.read)
    tested = {entry.patient for entry in last.parts["test"]}
    assert tested
    assert not tested & {entry.patient for part in first.parts.values() for entry in part}
    assert first.left_out == len(tested)


def test_a_stage_with_nothing_left_says_so(tmp_path: Path, task: Path) -> None:
    """One class of the first stage is the last stage's test and selection images alone."""
    dataset = datasets.read(task)
    recipe = write(tmp_path / "r.toml", f'[[stage]]\ndata = "types.csv"\n{STAGE}[[stage]]\nepochs = 1\n')
    last = plan(dataset, recipe.change(source="none"), None, datasets.read)[-1]
    held = {entry.file for part in ("selection", "test") for entry in last.parts[part]}
    with (tmp_path / "types.csv").open("w", newline="") as stream:
        rows = [(str(e.file), "held" if e.file in held else "free") for e in dataset.entries]
        csv.writer(stream).writerows([("file", "label"), *rows])
    with pytest.raises(DataError, match=r"types.csv.*'held'.*later stage"):
        plan(dataset, recipe, None, datasets.read)


def test_memory_saves_stages_that_do_not_depend_on_the_fold(
    tmp_path: Path, textures: Path, task: Path
) -> None:
    dataset = datasets.read(task)
    recipe = two_stages(tmp_path, source="formula", more=FORMULA)
    memory = Memory()
    first = train(dataset, recipe, folder=tmp_path / "a", memory=memory)
    kept = dict(memory.runs), dict(memory.drawn)
    assert [len(one) for one in kept] == [1, 1]
    again = train(dataset, recipe, folder=tmp_path / "b", memory=memory)
    assert (memory.runs, memory.drawn) == kept
    assert not (tmp_path / "b" / "stage 1").exists()
    state = first.classifier.state_dict()
    assert all(torch.equal(state[key], value) for key, value in again.classifier.state_dict().items())
    train(dataset, recipe.change(seed=1), folder=tmp_path / "c", memory=memory)
    assert [len(memory.runs), len(memory.drawn)] == [2, 2]


def test_trainings_that_share_a_memory_read_each_image_once(
    tmp_path: Path, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, memory = datasets.read(task), Memory()
    opened: list[Path] = []

    def noted(path: Path, **options: bool) -> Image:
        opened.append(path)
        return read(path, **options)

    read = images.read
    monkeypatch.setattr(images, "read", noted)
    recipe = recipes.read(changes={"network": "small_cnn", "size": [32, 32], "epochs": 1, "seed": 1})
    first = train(dataset, recipe, folder=tmp_path / "a", memory=memory)
    learnt = {entry.file for part in ("training", "selection") for entry in first.parts[part]}
    assert sorted(opened) == sorted(learnt)
    opened.clear()
    again = train(dataset, recipe, folder=tmp_path / "b", memory=memory)
    assert not opened
    assert again.history[0]["training_loss"] == first.history[0]["training_loss"]
    # another size is another image, and where there is no room nothing is kept beside the training's own
    train(dataset, recipe.change(size=[48, 48]), folder=tmp_path / "c", memory=memory)
    assert sorted(opened) == sorted(learnt)
    train(dataset, recipe.change(size=[40, 40], cache_gib=1e-6), folder=tmp_path / "d", memory=memory)
    assert {taken.size for *_, taken in memory.images} == {(32, 32), (48, 48)}


def test_colour_after_grey(tmp_path: Path, textures: Path) -> None:
    from PIL import Image

    for label, hue in (("red", (200, 40, 60)), ("blue", (40, 60, 200))):
        folder = tmp_path / "colours" / label
        folder.mkdir(parents=True)
        noise = np.random.default_rng(len(label))
        for number in range(8):
            pixels = np.clip(np.array(hue) + noise.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    recipe = write(
        tmp_path / "r.toml",
        f'[[stage]]\ndata = "textures"\n{STAGE}[[stage]]\nchannels = "auto"\nepochs = 3\nbatch = 8\n',
    )
    run = train(datasets.read(tmp_path / "colours"), recipe, folder=tmp_path / "run")
    assert run.channels == 3
    assert len(run.classifier.configuration["mean"]) == 3


def test_other_units_do_not_follow(tmp_path: Path, task: Path) -> None:
    import tifffile

    for label, level in (("low", 100), ("high", 900)):
        folder = tmp_path / "films" / label
        folder.mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(number).normal(level, 30, (32, 32))
            tifffile.imwrite(
                folder / f"{number}.tif", noise.astype(np.float32), imagej=True, metadata={"unit": "um"}
            )
    recipe = write(tmp_path / "r.toml", f'[[stage]]\ndata = "films"\n{STAGE}[[stage]]\nepochs = 1\n')
    with pytest.raises(NetworkError, match="normalisation"):
        train(datasets.read(task), recipe, folder=tmp_path / "run")
