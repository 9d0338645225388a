"""Every recipe trained on every fold, each result kept on the disk, so that nothing is done twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets
from mikata.comparison.variants import Contestant
from mikata.datasets import Dataset
from mikata.datasets.folding import Fold, Given, folds
from mikata.errors import Cancelled, DataError
from mikata.evaluation import Report, evaluate
from mikata.language import say
from mikata.outputs import written
from mikata.training import Memory, Recipe, Run, train
from mikata.training.named import Within
from mikata.types import SILENT, Progress


@dataclass(frozen=True)
class Trials:
    """What networks said of images that they had not seen.

    Attributes
    ----------
    dataset:
        The images.
    folds:
        Of all repeats, in order.
    probabilities:
        For each contestant and repeat (n, K), rows as the data set's entries.
    seconds:
        For each contestant, of each training with all its stages.
    histories:
        For each contestant, of each training: the record of its stages.
    """

    dataset: Dataset
    folds: tuple[Fold, ...]
    probabilities: Mapping[str, tuple[NDArray[np.float32], ...]]
    seconds: Mapping[str, tuple[float, ...]]
    histories: Mapping[str, tuple[dict[str, Any], ...]]


def run_trials(
    found: Sequence[Contestant],
    dataset: Dataset,
    *,
    count: int,
    repeats: int,
    seed: int,
    selection: float,
    folder: Path,
    given: Given = "folded",
    progress: Progress = SILENT,
) -> Trials:
    """Train every contestant on the same folds with the same seeds.

    Repeat r has the seed `seed` + r, for its folds, start weights, order and augmentation alike. A result that is
    already in `folder`, of the same recipe, seed and images, is taken from there. Stages that do not depend on the
    fold (formula, other images) are trained once a repeat.

    Parameters
    ----------
    found:
        The recipes.
    dataset:
        Of their last stage.
    count, repeats:
        Numbers of folds and repeats.
    selection:
        Share of the images that chooses the epoch in each fold.
    folder:
        Gets a file for each training.
    given:
        What becomes of images that the table marks as ``test``, as in `mikata.datasets.folds`.

    Raises
    ------
    DataError
        If the folds cannot be drawn, or an image cannot be read any more.
    RecipeError, NetworkError, TrainingError, OutputError
        As `mikata.training.train`.
    Cancelled
        If the user stopped it; what is done is kept.
    """
    drawn = folds(dataset, count=count, repeats=repeats, seed=seed, selection=selection, given=given)
    read = cache(lambda path: datasets.read(path, progress=progress))
    classes = len(dataset.classes)
    probabilities = {
        one.name: [np.full((len(dataset.entries), classes), np.nan, np.float32) for _ in range(repeats)]
        for one in found
    }
    seconds: dict[str, list[float]] = {one.name: [] for one in found}
    histories: dict[str, list[dict[str, Any]]] = {one.name: [] for one in found}
    total = len(drawn) * len(found)
    done = 0
    folder.mkdir(parents=True, exist_ok=True)
    memory, repeat = Memory(), -1
    for fold in drawn:
        if fold.repeat != repeat:
            # other seeds: of the last repeat only the images fit
            memory, repeat = Memory(images=memory.images), fold.repeat
        for one in found:
            where = say("{name}, training {number} of {total}", name=one.name, number=done + 1, total=total)
            trial = _trial(
                one, dataset, fold, seed, folder, read, memory, Within(progress, where, done, total)
            )
            probabilities[one.name][fold.repeat][list(fold.indices["test"])] = trial.probabilities
            seconds[one.name].append(trial.seconds)
            histories[one.name].append(trial.record)
            done += 1
    return Trials(
        dataset,
        drawn,
        {name: tuple(values) for name, values in probabilities.items()},
        {name: tuple(values) for name, values in seconds.items()},
        {name: tuple(values) for name, values in histories.items()},
    )


@dataclass(frozen=True)
class _Trial:
    probabilities: NDArray[np.float32]
    seconds: float
    record: dict[str, Any]


def _trial(
    one: Contestant,
    dataset: Dataset,
    fold: Fold,
    seed: int,
    folder: Path,
    read: Callable[[Path], Dataset],
    memory: Memory,
    progress: Progress,
) -> _Trial:
    recipe = dataclasses.replace(one.recipe, seed=seed + fold.repeat)
    key = _key(recipe, dataset, fold, read)
    file = folder / f"{one.name} repeat {fold.repeat + 1} fold {fold.number + 1}.npz"
    kept = _kept(file, key)
    if kept is not None:
        progress.step(say("done before"))
        return kept
    run, report = train_fold(recipe, dataset, fold, folder, read=read, memory=memory, progress=progress)
    record = {
        "stages": [{key: stage[key] for key in ("name", "seconds")} for stage in run.earlier],
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "stopped_by": run.stopped_by,
    }
    own = sum(epoch["seconds"] for epoch in run.history)
    trial = _Trial(report.probabilities, own + sum(s["seconds"] for s in run.earlier), record)
    with written(file) as beside, beside.open("wb") as stream:
        np.savez(
            stream,
            key=np.array(key),
            probabilities=trial.probabilities,
            seconds=np.array(trial.seconds),
            record=np.array(json.dumps(record)),
        )
    return trial


def train_fold(
    recipe: Recipe,
    dataset: Dataset,
    fold: Fold,
    folder: Path,
    *,
    read: Callable[[Path], Dataset],
    memory: Memory,
    progress: Progress,
) -> tuple[Run, Report]:
    """Train on a fold's training and selection parts, and judge its test part.

    Parameters
    ----------
    folder:
        Holds the checkpoints while it lasts.

    Raises
    ------
    DataError
        If an image cannot be read any more.
    Cancelled
        If the user stopped it.
    """
    checkpoints = Path(tempfile.mkdtemp(prefix="training", dir=folder))
    try:
        run = train(
            dataset, recipe, folder=checkpoints, progress=progress, parts=fold.parts, read=read, memory=memory
        )
    finally:
        shutil.rmtree(checkpoints, ignore_errors=True)
    if run.stopped_by == "interrupted":
        raise Cancelled(
            say("Stopped. What was trained before is kept in {folder}; the same call goes on.", folder=folder)
        )
    report = evaluate(run, fold.parts["test"])
    if report.skipped:
        file, reason = report.skipped[0]
        raise DataError(
            say("{file}: could be read before, but not any more: {reason}", file=file, reason=reason)
        )
    return run, report


def _key(recipe: Recipe, dataset: Dataset, fold: Fold, read: Callable[[Path], Dataset]) -> str:
    """What makes a trial what it is: settings, seed, the images of each part and of earlier stages."""
    images = {
        name: [(entry.picture.digest, entry.label) for entry in entries]
        for name, entries in fold.parts.items()
    }
    earlier = [read(Path(stage.data)).fingerprint for stage in recipe.stages[:-1]]
    source = Path(recipe.stages[0].source)
    state = source.stat() if source.is_absolute() and source.exists() else None
    weights = [state.st_size, state.st_mtime_ns] if state else []
    said = [recipe.to_dict(), dataset.classes, images, earlier, weights]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _kept(file: Path, key: str) -> _Trial | None:
    """A result of before; None where there is none, or one of other settings or images."""
    try:
        with np.load(file, allow_pickle=False) as found:
            if str(found["key"]) != key:
                return None
            return _Trial(found["probabilities"], float(found["seconds"]), json.loads(str(found["record"])))
    except (OSError, ValueError, KeyError, EOFError):  # none, or damaged: it is trained again
        return None
