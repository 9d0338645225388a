"""A training that goes on after a kill, a full disk or a lack of memory, and one that several processes share."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from labelled import write_folders
from mikata import datasets
from mikata.errors import Cancelled, OutputError, RecipeError, TrainingError
from mikata.training import Run, checkpoints, losses, train
from mikata.training import recipe as recipes
from mikata.training.checkpoints import Checkpoints, is_checkpoint
from mikata.training.loop import Loop
from mikata.training.memory import is_out_of_memory
from mikata.training.processes import Processes, main_process, processes
from mikata.types import Progress

PROGRAM = Path(__file__).with_name("training_program.py")
QUICK: dict[str, Any] = {"size": [32, 32], "epochs": 3, "batch": 8, "learning_rate": 0.01}


def quick(**changes: Any) -> recipes.Recipe:
    return recipes.read(changes=QUICK | changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("stripes"), ("down", "across"), 15)


@pytest.fixture(scope="module")
def stripes(data: Path) -> datasets.Dataset:
    return datasets.read(data)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the state after every step and every epoch."""
    monkeypatch.setattr(checkpoints, "_WITHIN_EPOCH_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_PATIENCE", 0)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def figures(run: Run) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def assert_same(run: Run, whole: Run) -> None:
    assert figures(run) == figures(whole)
    assert (run.best_epoch, run.stopped_by) == (whole.best_epoch, whole.stopped_by)
    assert same(load(run.checkpoint), load(whole.checkpoint))
    assert same(load(run.last_checkpoint), load(whole.last_checkpoint))
    assert same(run.classifier.state_dict(), whole.classifier.state_dict())


class _Told(Progress):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        assert 0 <= done <= total
        self.messages.append(message)


def _every_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Keep a copy of each state that is written, as a kill just after it would leave it."""
    found: list[Path] = []
    original = Checkpoints.write_state

    def spy(self: Checkpoints, state: dict[str, Any]) -> None:
        original(self, state)
        found.append(folder / str(len(found)) / "state.pt")
        found[-1].parent.mkdir(parents=True)
        shutil.copy(self.state, found[-1])

    monkeypatch.setattr(Checkpoints, "write_state", spy)
    return found


KINDS: list[dict[str, Any]] = [
    {},
    {"adam_formula": "keras", "epsilon": 1e-7, "clipnorm": 0.001, "clipnorm_scope": "tensor"},
    {"optimiser": "sgd", "schedule": "constant", "balance": "sampling"},
    {"optimiser": "adamw", "precision": "bf16", "cache_gib": 0, "channels_last": True},
    {"network": "squeezenet1_1", "size": [48, 48], "epochs": 2, "batch": 12},  # has dropout
    {"learning_rate": 1e-9, "epochs": 6, "early_stopping": 1},
]


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: " ".join(map(str, changes)) or "default")
def test_going_on_from_every_step_gives_the_same(
    stripes: datasets.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    often: None,
    changes: dict[str, Any],
) -> None:
    with monkeypatch.context() as patch:
        states = _every_state(tmp_path / "states", patch)
        whole = train(stripes, quick(**changes), folder=tmp_path / "whole")
    steps = {(load(path)["epochs"], load(path)["steps"]) for path in states}
    assert {step for _, step in steps} >= {0, 1}  # between epochs and within them
    for path in {*states[:2], *states[3:-1:3], states[-1]}:
        told = _Told()
        run = train(stripes, quick(**changes), folder=path.parent, progress=told, resume=True)
        assert_same(run, whole)
        content = load(path.parent / "state.pt")
        assert content["ended"] == whole.stopped_by
        if path is not states[-1]:
            assert any(message.startswith("Goes on") for message in told.messages)
    assert load(states[0])["made_by"]["torch"] == torch.__version__


def test_going_on_after_pictures_drawn_by_formula(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    file = tmp_path / "formula.toml"
    pictures = "{ classes = 3, per_class = 4, epochs = 1, batch = 4 }"
    file.write_text(f'[[stage]]\nsource = "formula"\nformula = {pictures}\n', encoding="utf-8")
    recipe = recipes.read(file, changes=QUICK | {"epochs": 2})
    whole = train(stripes, recipe, folder=tmp_path / "whole")
    original = Loop.after_step

    def break_off(self: Loop) -> None:
        original(self)
        if self.checkpoints.folder.name != "formula":
            raise RuntimeError("the lights go out")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "after_step", break_off)
        with pytest.raises(RuntimeError, match="lights"):
            train(stripes, recipe, folder=tmp_path / "run")
    # the pictures are not learnt again, and what comes after them begins with the same weights all the same
    assert_same(train(stripes, recipe, folder=tmp_path / "run", resume=True), whole)


def test_going_on_twice_and_after_the_end(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    whole = train(stripes, quick(), folder=tmp_path / "whole")
    folder = tmp_path / "run"
    original = Loop.after_step
    left = 0

    def break_off(self: Loop) -> None:
        nonlocal left
        original(self)
        left -= 1
        if not left:
            raise RuntimeError("the lights go out")

    for steps in (2, 3, 4):  # each start gets this many steps further
        left = steps
        with monkeypatch.context() as patch:
            patch.setattr(Loop, "after_step", break_off)
            with pytest.raises(RuntimeError, match="lights"):
                train(stripes, quick(), folder=folder, resume=True)
    run = train(stripes, quick(), folder=folder, resume=True)
    assert_same(run, whole)
    (folder / "best.pt").unlink()

    def refuse(*_: Any) -> None:
        raise AssertionError("there is nothing left to learn")

    monkeypatch.setattr(Loop, "training_step", refuse)
    again = train(stripes, quick(), folder=folder, resume=True)
    assert figures(again) == figures(whole)
    assert same(again.classifier.state_dict(), whole.classifier.state_dict())


def test_without_resuming_it_begins_anew(stripes: datasets.Dataset, tmp_path: Path) -> None:
    first = train(stripes, quick(), folder=tmp_path)
    stray = tmp_path / ".abcd_123.pt"  # of a training that was killed while it wrote
    stray.write_bytes(b"half a file")
    assert is_checkpoint(stray.name)
    assert not is_checkpoint("mine.pt")
    second = train(stripes, quick(epochs=2), folder=tmp_path)
    assert (len(first.history), len(second.history)) == (3, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "state.pt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.02}, r"its learning_rate was 0\.01 and now is 0\.02"),
        ({"epochs": 4}, "its epochs was 3 and now is 4"),
        ({"seed": 1}, "its seed was 0 and now is 1"),
        ({"rotation_rad": 0.2}, "its augmentation was .*now is"),
        ({"network": "squeezenet1_1"}, "its network was .small_cnn. and now is .squeezenet1_1."),
    ],
)
def test_a_state_of_another_training_is_refused(
    stripes: datasets.Dataset, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    train(stripes, quick(), folder=tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(TrainingError, match=f"belongs to another training: .*({words})"):
        train(stripes, quick(**changes), folder=tmp_path, resume=True)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_a_state_of_other_images_or_weights_is_refused(stripes: datasets.Dataset, tmp_path: Path) -> None:
    first = train(stripes, quick(), folder=tmp_path / "run")
    parts = {name: entries[::-1] for name, entries in first.parts.items()}
    with pytest.raises(TrainingError, match="training images were others, or in another order"):
        train(stripes, quick(), folder=tmp_path / "run", parts=parts, resume=True)
    weights = load(first.checkpoint)
    for factor in (1, 2):
        weights["network.classifier.bias"] *= factor
        weights["network.classifier.weight"] *= factor
        torch.save(weights, tmp_path / f"{factor}.pt")
    train(stripes, quick(source=str(tmp_path / "1.pt")), folder=tmp_path / "tuned")
    with pytest.raises(TrainingError, match="it started from other weights"):
        train(stripes, quick(source=str(tmp_path / "2.pt")), folder=tmp_path / "tuned", resume=True)
    # what has no effect on the weights is free to change
    quicker = quick(workers=1, cache_gib=0, keep="tuned")
    assert figures(train(stripes, quicker, folder=tmp_path / "run", resume=True)) == figures(first)


@pytest.mark.parametrize("content", [b"", b"no archive at all", "cut", "other"])
def test_a_damaged_state_is_explained(
    stripes: datasets.Dataset, tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "state.pt"
    if content == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    elif content == "cut":
        train(stripes, quick(epochs=1), folder=tmp_path)
        path.write_bytes(path.read_bytes()[:-5000])
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"state\.pt is damaged, or not the state"):
        train(stripes, quick(epochs=1), folder=tmp_path, resume=True)
    assert train(stripes, quick(epochs=1), folder=tmp_path).stopped_by == "finished"


def test_the_average_of_the_weights_comes_back(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    recipe = quick(averaging="ema", ema_decay=0.9)
    with monkeypatch.context() as patch:
        states = _every_state(tmp_path / "states", patch)
        whole = train(stripes, recipe, folder=tmp_path / "whole")
    assert load(states[2])["extra"]["average"]
    again = train(stripes, recipe, folder=states[2].parent, resume=True)
    assert same(whole.classifier.state_dict(), again.classifier.state_dict())
    # and it is no copy of the raw weights
    raw = train(stripes, quick(), folder=tmp_path / "raw")
    assert not same(whole.classifier.state_dict(), raw.classifier.state_dict())


def test_ctrl_c_in_the_middle_of_a_step_goes_on_exactly(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(stripes, quick(), folder=tmp_path / "whole")

    class Stopping(Progress):
        asked = 0

        @property
        def cancelled(self) -> bool:
            type(self).asked += 1
            return self.asked >= limit

    for limit in (150, 163, 171):  # between layers, statistics of some of which have moved
        Stopping.asked = 0
        folder = tmp_path / str(limit)
        run = train(stripes, quick(), folder=folder, progress=Stopping())
        assert run.stopped_by == "interrupted"
        assert len(run.history) < 3
        assert_same(train(stripes, quick(), folder=folder, resume=True), whole)


def test_stopped_in_a_long_first_epoch(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    whole = train(stripes, quick(), folder=tmp_path / "whole")

    class Stopping(Progress):
        @property
        def cancelled(self) -> bool:
            return (tmp_path / "run" / "state.pt").exists()

    with pytest.raises(Cancelled, match=r"state\.pt is kept: train again, resuming, to go on"):
        train(stripes, quick(), folder=tmp_path / "run", progress=Stopping())
    assert_same(train(stripes, quick(), folder=tmp_path / "run", resume=True), whole)


# --- the disk


def test_states_are_written_rarely_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    kept = Checkpoints(tmp_path)
    kept.prepare(resume=False)
    now += 4.9
    assert not kept.due(50_000_000, within_epoch=False)  # 0.1 s are guessed for it, 50 times as long is due
    now += 0.2
    assert kept.due(50_000_000, within_epoch=False)
    assert not kept.due(50_000_000, within_epoch=True)  # a minute at least
    kept._took = 2.0
    assert not kept.due(50_000_000, within_epoch=False)
    now += 96
    assert kept.due(50_000_000, within_epoch=True)
    assert not Checkpoints(tmp_path, writes=False).due(0, within_epoch=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_full_disk_can_be_gone_on_from(stripes: datasets.Dataset, tmp_path: Path, often: None) -> None:
    import resource

    whole = train(stripes, quick(), folder=tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            if "selection accuracy" in message:
                resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    try:
        with pytest.raises(OutputError, match=r"state\.pt cannot be written: File too large\..* make room"):
            train(stripes, quick(), folder=tmp_path / "run", progress=Filling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["state.pt"]
    load(tmp_path / "run" / "state.pt")
    assert_same(train(stripes, quick(), folder=tmp_path / "run", resume=True), whole)


def test_folder_that_vanishes_is_made_again(stripes: datasets.Dataset, tmp_path: Path, often: None) -> None:
    class Deleting(Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            if "selection accuracy" in message:
                shutil.rmtree(tmp_path / "run", ignore_errors=True)

    run = train(stripes, quick(), folder=tmp_path / "run", progress=Deleting())
    assert same(load(run.checkpoint), run.classifier.state_dict())


# --- memory


def _forgetful(monkeypatch: pytest.MonkeyPatch, most: int, error: Callable[[], Exception]) -> list[int]:
    """Let the loss need more memory than there is for more than `most` images; how many there were each time."""
    seen: list[int] = []
    original = F.cross_entropy

    def cross_entropy(scores: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(len(scores))
        if len(scores) > most:
            raise error()
        return original(scores, *args, **kwargs)

    monkeypatch.setattr(losses.F, "cross_entropy", cross_entropy)
    return seen


ERRORS: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError,
    lambda: RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
    ),
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_batch_that_is_too_large_is_learnt_in_pieces(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    recipe = quick(network="squeezenet1_1", size=[48, 48], batch=9, optimiser="sgd", learning_rate=0.001)
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)  # draws anew for each piece
    whole = train(stripes, recipe, folder=tmp_path / "whole")
    told = _Told()
    with monkeypatch.context() as patch:
        seen = _forgetful(patch, 3, error)
        pieces = train(stripes, recipe, folder=tmp_path / "pieces", progress=told)
    assert seen[:6] == [9, 5, 3, 2, 2, 2]  # the step is done again: 9 images, then halves, then quarters
    assert max(seen[3:]) <= 6  # the selection images are counted in halves
    found, expected = pieces.classifier.state_dict(), whole.classifier.state_dict()
    assert all(torch.allclose(found[key], expected[key], rtol=1e-4, atol=1e-5) for key in found)
    for a, b in zip(figures(pieces), figures(whole), strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    assert any("The memory does not suffice for 9 images at once" in message for message in told.messages)
    assert not any("normalisation" in message for message in told.messages)


def test_statistics_are_those_of_the_pieces_alone(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    """What a step that failed has moved is put back, and a training that goes on keeps its pieces and notes."""
    told = _Told()
    with monkeypatch.context() as patch:
        states = _every_state(tmp_path / "states", patch)
        _forgetful(patch, 4, ERRORS[0])
        whole = train(stripes, quick(), folder=tmp_path / "whole", progress=told)
        steps = whole.classifier.state_dict()["network.features.1.num_batches_tracked"]
        assert int(steps) == 2 * 3 * whole.best_epoch  # two pieces of three batches, and no step that failed
        seen = _forgetful(patch, 4, ERRORS[0])
        assert_same(train(stripes, quick(), folder=states[1].parent, resume=True), whole)
        assert max(seen) <= 6
    assert any("Batch normalisation sees fewer images" in message for message in told.messages)
    notes = load(tmp_path / "whole" / "state.pt")["notes"]
    assert len(notes) == 1
    assert "3 at a time" in notes[0]


@pytest.mark.parametrize(("network", "least"), [("small_cnn", 2), ("squeezenet1_1", 1)])
def test_memory_that_suffices_for_nothing(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, least: int
) -> None:
    seen = _forgetful(monkeypatch, 0, ERRORS[0])
    with pytest.raises(
        TrainingError, match=rf"not suffice even for {least} image\(s\) of 48 x 48 px at once"
    ):
        train(stripes, quick(network=network, size=[48, 48], batch=8), folder=tmp_path)
    assert min(seen) == least
    assert not (tmp_path / "best.pt").exists()


def test_other_errors_are_no_lack_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


# --- as fast as the recipe says


def test_channels_last_reaches_the_network(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[bool, bool]] = set()
    original = torch.nn.Conv2d.forward

    def spy(self: torch.nn.Conv2d, x: Tensor) -> Tensor:
        if self.in_channels > 1:
            formats = [t.is_contiguous(memory_format=torch.channels_last) for t in (x, self.weight)]
            seen.add((formats[0], formats[1]))
        return original(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Conv2d, "forward", spy)
        run = train(stripes, quick(channels_last=True, epochs=1), folder=tmp_path / "1")
    assert (True, True) in seen
    assert all(value.is_contiguous() for value in run.classifier.state_dict().values())
    assert all(value.is_contiguous() for value in load(run.checkpoint).values())
    plain = train(stripes, quick(epochs=1), folder=tmp_path / "2")
    assert run.history[0]["selection_loss"] == pytest.approx(plain.history[0]["selection_loss"], rel=0.01)


def same_figures_compiled(stripes: datasets.Dataset, folder: Path) -> None:
    run = train(stripes, quick(compile=True, epochs=1), folder=folder / "1")
    plain = train(stripes, quick(epochs=1), folder=folder / "2")
    assert run.classifier.state_dict().keys() == plain.classifier.state_dict().keys()
    assert load(run.checkpoint).keys() == plain.classifier.state_dict().keys()
    assert run.history[0]["training_loss"] == pytest.approx(plain.history[0]["training_loss"], rel=0.01)


@pytest.mark.filterwarnings("default")  # torch's compiler warns of its own affairs
def test_compiled_network_gives_the_same_names_and_figures(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def without_a_compiler(*arguments: Any, **options: Any) -> Any:
        asked.append(options)
        return compile_(*arguments, **options | {"backend": "aot_eager"})

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", without_a_compiler)
    same_figures_compiled(stripes, tmp_path)
    assert asked


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_network_compiled_to_machine_code_gives_the_same_figures(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what other programs have left in the compiler's shared cache says nothing of Mikata
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    plain = "import torch; torch.compile(lambda x: x.sin() + 1)(torch.ones(9))"
    done = subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"torch cannot compile here: {done.stderr.strip().splitlines()[-1]}")
    same_figures_compiled(stripes, tmp_path)


@pytest.mark.slow
def test_a_missing_compiler_is_explained(stripes: datasets.Dataset, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from mikata import datasets
from mikata.errors import TrainingError
from mikata.training import recipe, train
try:
    train(datasets.read(Path({str(stripes.path)!r})), recipe.read(changes={QUICK | {"compile": True}!r}),
          folder=Path({str(tmp_path)!r}))
except TrainingError as error:
    print(error)
"""
    environment = os.environ | {
        "CXX": "no-such-compiler",
        "PATH": str(tmp_path),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert "small_cnn cannot be compiled on this computer" in done.stdout, done.stderr
    assert "say compile = false" in done.stdout


# --- kill -9


def start(*arguments: Any, changes: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
    words = [str(PROGRAM), *map(str, arguments), "--changes", json.dumps(changes)]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, **options)


def finish(program: subprocess.Popen[str]) -> str:
    words, _ = program.communicate(timeout=300)
    assert program.returncode == 0, words
    return words


@pytest.mark.slow
def test_killed_at_three_moments(data: Path, tmp_path: Path) -> None:
    changes = QUICK | {"epochs": 25, "early_stopping": 0}
    started = time.monotonic()
    program = start(data, tmp_path / "whole", "--often", changes=changes)
    assert program.stdout is not None
    while "begun" not in program.stdout.readline():
        pass
    began = time.monotonic()
    finish(program)
    took = time.monotonic() - began
    assert began > started
    chance = random.Random(0)
    goes_on = 0
    folder = tmp_path / "killed"
    for _ in range(3):
        program = start(data, folder, "--often", "--resume", changes=changes)
        assert program.stdout is not None
        while line := program.stdout.readline():
            goes_on += line.startswith("Goes on")
            if "begun" in line:
                break
        time.sleep(chance.uniform(0.05, 0.3) * took)
        program.kill()
        program.wait()
        program.stdout.close()
    finish(start(data, folder, "--often", "--resume", changes=changes))
    assert goes_on >= 2
    for name in ("best.pt", "last.pt"):
        assert same(load(folder / name), load(tmp_path / "whole" / name))
    assert (folder / "history.json").read_text() == (tmp_path / "whole" / "history.json").read_text()
    assert all(is_checkpoint(path.name) or path.name == "history.json" for path in folder.iterdir())


# --- several processes


def test_what_the_environment_says() -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
    assert processes(torchrun) == Processes(3, 4, 2, "torchrun")
    assert processes(torchrun | {"WORLD_SIZE": "1", "RANK": "0", "GROUP_WORLD_SIZE": "1"}) == Processes()
    srun = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_NUM_NODES": "2"}
    assert processes(srun) == Processes(0, 8, 2, "slurm")
    assert processes(srun).main
    assert processes({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Processes()  # a batch script without srun
    with pytest.raises(TrainingError, match="7 processes cannot be shared equally by 2 computers"):
        processes(srun | {"SLURM_STEP_NUM_TASKS": "7"})
    assert main_process()


def test_lightning_takes_a_batch_script_for_one_process(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "mine", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert train(stripes, quick(epochs=1), folder=tmp_path).stopped_by == "finished"


def test_shares_make_up_the_batches(stripes: datasets.Dataset) -> None:
    from mikata.networks import InputSpec
    from mikata.training.data import TrainingBatches, WholeBatches, part

    source = part(stripes.entries, stripes.classes, InputSpec(1, (32, 32), "resize"))
    options: dict[str, Any] = {"workers": 1}
    one = list(TrainingBatches(source, 8, 0, **options))
    shares = [list(TrainingBatches(source, 8, 0, **options, share=(rank, 3))) for rank in range(3)]
    for whole, *parts in zip(one, *shares, strict=True):
        for values, *pieces in zip(whole, *parts, strict=True):
            assert torch.equal(values, torch.cat(pieces))
    batches = TrainingBatches(source, 8, 0, **options)
    assert [batches.size(i) for i in range(len(batches))] == [len(labels) for _, labels, _ in one]
    counted = [WholeBatches(source, 7, workers=1, share=(rank, 3)) for rank in range(3)]
    numbers = torch.cat([numbers for some in counted for _, _, numbers in some])
    assert sorted(numbers.tolist()) == list(range(30))


def torchrun(count: int, *arguments: Any, changes: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    words = [str(PROGRAM), *map(str, arguments), "--changes", json.dumps(changes)]
    runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *runner, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="torchrun on Windows has no gloo of its own")


@POSIX
@pytest.mark.slow
def test_two_processes_learn_what_one_does(data: Path, tmp_path: Path) -> None:
    changes = QUICK | {"network": "squeezenet1_1", "size": [48, 48], "batch": 9, "optimiser": "sgd"}
    done = torchrun(2, data, tmp_path / "two", "--no-dropout", changes=changes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1  # the main process alone shows progress
    two = [json.loads((tmp_path / "two" / f"history {rank}.json").read_text()) for rank in (0, 1)]
    assert two[0] == two[1]
    finish(start(data, tmp_path / "one", "--no-dropout", changes=changes))
    one = json.loads((tmp_path / "one" / "history.json").read_text())
    assert two[0]["best_epoch"] == one["best_epoch"]
    for both, alone in zip(two[0]["history"], one["history"], strict=True):
        assert both == pytest.approx(alone, rel=1e-3, abs=1e-3)
    found, expected = load(tmp_path / "two" / "last.pt"), load(tmp_path / "one" / "last.pt")
    assert all(torch.allclose(found[key], expected[key], rtol=1e-3, atol=1e-4) for key in found)
    # one process may go on where two have been
    content = load(tmp_path / "two" / "state.pt")
    assert content["ended"] == "finished"
    run = finish(start(data, tmp_path / "two", "--no-dropout", "--resume", changes=changes))
    assert "begun" not in run


@POSIX
@pytest.mark.slow
def test_two_processes_go_on_after_a_kill(data: Path, tmp_path: Path) -> None:
    """With batch normalisation, whose statistics each process has of its own until an epoch's end."""
    changes = QUICK | {"epochs": 12, "early_stopping": 0}
    whole = torchrun(2, data, tmp_path / "whole", "--often", changes=changes)
    assert whole.returncode == 0, whole.stderr
    broken = torchrun(2, data, tmp_path / "run", "--often", "--kill-in-step", "20", changes=changes)
    assert broken.returncode != 0
    done = torchrun(2, data, tmp_path / "run", "--often", "--resume", changes=changes)
    assert done.returncode == 0, done.stderr
    assert "Goes on after epoch 6" in done.stdout
    results = [(tmp_path / name / "history 0.json").read_text() for name in ("whole", "run")]
    assert results[0] == results[1]


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("error", "Process 2 of this training ended: the second process has had enough"),
        ("cancel", ""),
        ("memory", "The memory does not suffice for"),
    ],
)
def test_what_happens_to_one_process_happens_to_all(data: Path, tmp_path: Path, how: str, words: str) -> None:
    changes = QUICK | {"batch": 18, "epochs": 6}  # large enough for pieces of two images in each process
    done = torchrun(2, data, tmp_path, "--second", how, changes=changes)
    assert (done.returncode != 0) == (how == "error"), done.stderr
    assert words in done.stdout + done.stderr
    if how != "error":
        found = [json.loads((tmp_path / f"history {rank}.json").read_text()) for rank in (0, 1)]
        assert found[0] == found[1]
        assert found[0]["stopped_by"] == ("interrupted" if how == "cancel" else "finished")


def test_batches_that_cannot_be_shared(
    stripes: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=r"batches of 1 image\(s\) cannot be shared by 2 processes"):
        train(stripes, quick(batch=1), folder=tmp_path)
