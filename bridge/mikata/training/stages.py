"""Train a network in the stages of a recipe: from data sets and a recipe to a `Run`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mikata import datasets
from mikata.architecture import Classifier
from mikata.datasets import Dataset
from mikata.errors import Cancelled, DataError
from mikata.language import say
from mikata.training import order
from mikata.training.checkpoints import Checkpoints
from mikata.training.data import Part, Statistics, channels_of, input_of, look_through, part
from mikata.training.few_shot import fit_head
from mikata.training.fitting import StoppedBy, accelerator_for, device_name, fit
from mikata.training.losses import refuse_for_values
from mikata.training.named import Named
from mikata.training.plan import Parts, Planned, plan
from mikata.training.pretraining import Memory, learn_formula, learn_without_labels
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.run import Run, versions
from mikata.training.schedule import refuse_endless_warmup
from mikata.training.stage import Stage
from mikata.training.starting import start_network, start_of
from mikata.types import SILENT, Progress

FORMULA, STAGE = "formula", "stage "
"""What the folders of checkpoints inside a training's folder are called; a stage's number follows."""

_GIB = 2**30


def train(
    dataset: Dataset,
    recipe: Recipe,
    *,
    folder: Path,
    progress: Progress = SILENT,
    parts: Parts | None = None,
    read: Callable[[Path], Dataset] | None = None,
    memory: Memory | None = None,
    resume: bool = False,
) -> Run:
    """Train a network as a recipe says, one stage after another; each for classes or a value, as its data are.

    The same data, recipe, versions and number of threads give the same weights on the CPU. Ctrl-C or
    the door's cancel ends the training after the batch at hand; the weights of the last whole epoch
    and of the best one are kept.

    Parameters
    ----------
    dataset:
        Labelled images of the last stage, or images with values.
    recipe:
        How to train.
    folder:
        Gets the checkpoints ``best.pt`` and ``last.pt``, state dicts of plain tensors, and ``state.pt``, which the
        training goes on from; those of earlier stages come into folders inside.
    progress:
        Is told epoch, loss, selection accuracy and time left.
    parts:
        A split of `dataset` made before; None: by the recipe's shares and seed. Its test part is not looked at.
    read:
        Gives the data set of an earlier stage's path; None: reads it.
    memory:
        Is asked for stages that need not be trained again, and given those that were.
    resume:
        Whether to go on from the state that an earlier start of the same training has left in `folder`; the result
        is the same as without the break. Without such a state it begins anew.

    Returns
    -------
    Run
        Of the last stage, with the records of those before it.

    Raises
    ------
    DataError
        If the data cannot be split or learnt from.
    RecipeError
        If the recipe does not suit the data or this computer.
    NetworkError
        If the network or its weights do not exist or do not fit.
    TrainingError
        If the loss is no number any more, or the memory does not suffice; the best weights are kept.
    OutputError
        If a checkpoint cannot be written; the one before is kept.
    Cancelled
        If the user stopped it before the first epoch of the last stage had ended.
    """
    started = time.monotonic()
    progress = progress if main_process() else SILENT
    for stage in recipe.stages:
        accelerator_for(stage, recipe)
        refuse_endless_warmup(stage, recipe.source)
    planned = plan(dataset, recipe, parts, read or (lambda path: datasets.read(path, progress=progress)))
    for one in planned:
        if one.dataset.values:
            refuse_for_values(one.stage, recipe.source)
    run: Run | None = None
    earlier_starts = 0.0
    for one in planned:
        last = one.number == len(planned)
        key = "" if last or memory is None else _key(recipe.at(one.number - 1), planned[: one.number])
        if memory is not None and key in memory.runs:
            run = memory.runs[key]
            continue
        where = folder if last else folder / f"{STAGE}{one.number}"
        shown = progress if len(planned) == 1 else Named(progress, one.name)
        began = time.monotonic()
        try:
            run = _train_stage(one, recipe, run, where, shown, memory, resume)
        except KeyboardInterrupt as error:
            raise Cancelled(say("Stopped before the training had begun: nothing is kept.")) from error
        earlier_starts += run.seconds - (time.monotonic() - began)
        if memory is not None and key:
            memory.runs[key] = run
        if run.stopped_by == "interrupted" and not last:
            raise Cancelled(
                say(
                    "Stopped in {stage}, before the last stage had begun: no package is made. Its weights are "
                    "kept in {file}.",
                    stage=one.name,
                    file=run.checkpoint,
                )
            )
    assert run is not None
    return dataclasses.replace(run, seconds=time.monotonic() - started + earlier_starts)


def _key(recipe: Recipe, planned: list[Planned]) -> str:
    """What makes the stages up to here what they are: settings, seed and the images of each part."""
    said = recipe.to_dict()["stage"]
    images = [
        {name: [entry.picture.digest for entry in entries] for name, entries in one.parts.items()}
        for one in planned
    ]
    return hashlib.sha256(json.dumps([recipe.seed, said, images]).encode()).hexdigest()


def _train_stage(
    planned: Planned,
    recipe: Recipe,
    before: Run | None,
    folder: Path,
    progress: Progress,
    memory: Memory | None,
    resume: bool,
) -> Run:
    started = time.monotonic()
    stage, dataset, parts = planned.stage, planned.dataset, planned.parts
    accelerator = accelerator_for(stage, recipe)
    earlier = () if before is None else (*before.earlier, before.stage_record())
    with order.own_random_numbers(recipe.seed):
        learning, choosing, statistics = _load(parts, dataset, stage, memory, progress)
        target = _standardise(learning, choosing) if dataset.values else None
        spec = learning.spec
        start = start_of(stage, before)
        if stage.source == "formula":
            # numbers of its own: what follows must not depend on whether it is trained, read or remembered
            with order.own_random_numbers(recipe.seed):
                drawn = learn_formula(
                    stage, spec.channels, recipe, folder / FORMULA, progress, memory, resume=resume
                )
            start, earlier = drawn.start, (*earlier, drawn.record)
        classifier, fitted = start_network(
            stage, spec, dataset.classes, statistics, start, recipe, target, dataset.unit
        )
        if stage.source == "unlabelled":
            record = learn_without_labels(
                classifier, learning, parts, stage, recipe, statistics, progress, accelerator
            )
            earlier = (*earlier, record)
        taught = _fit(
            classifier, learning, choosing, stage, recipe, statistics, folder, progress, accelerator, resume
        )
    classifier = classifier.to("cpu")
    taught.kept.load_best(classifier)
    return Run(
        classifier=classifier.eval(),
        classes=dataset.classes,
        channels=spec.channels,
        size=stage.size,
        fit=stage.fit,
        value_unit=spec.value_unit,
        value_range=statistics.value_range,
        history=tuple(taught.history),
        recipe=recipe.at(planned.number - 1),
        dataset=dataset,
        parts=dict(parts),
        left_out=planned.left_out,
        seed=recipe.seed,
        best_epoch=taught.kept.best_epoch,
        stopped_by=taught.stopped_by,
        seconds=time.monotonic() - started + taught.seconds,
        device=device_name(accelerator),
        versions=versions(),
        checkpoint=taught.kept.best,
        last_checkpoint=taught.kept.last,
        parent=start.parent if before is None else before.parent,
        earlier=earlier,
        fitted=fitted,
        notes=tuple(taught.notes),
        base=start.base
        if start.base is not None and target is None and start.base.classes == dataset.classes
        else None,
    )


@dataclass(frozen=True, eq=False)
class _Taught:
    kept: Checkpoints
    history: list[dict[str, float]]
    stopped_by: StoppedBy
    notes: list[str]
    seconds: float  # of earlier starts


def _fit(
    classifier: Classifier,
    learning: Part,
    choosing: Part,
    stage: Stage,
    recipe: Recipe,
    statistics: Statistics,
    folder: Path,
    progress: Progress,
    accelerator: str,
    resume: bool,
) -> _Taught:
    """Train the network, or fit a head to it, as the recipe says."""
    if stage.head == "gradient":
        loop, stopped_by = fit(
            classifier,
            learning,
            choosing,
            stage,
            recipe,
            statistics,
            folder,
            progress,
            accelerator,
            resume=resume,
        )
        return _Taught(loop.checkpoints, loop.history, stopped_by, loop.notes, loop.seconds)
    found = fit_head(classifier, learning, choosing, stage, recipe.source, progress, accelerator)
    kept = Checkpoints(folder, writes=main_process())
    kept.prepare(resume=False)
    kept.note(classifier.state_dict(), 1, found.selection_loss)
    kept.keep()
    return _Taught(kept, [found.entry], "finished", [], 0.0)


def _standardise(learning: Part, choosing: Part) -> tuple[float, float]:
    """Bring values to standard deviations of the training values from their mean, and return both.

    Raises
    ------
    DataError
        If all training values are the same.
    """
    mean, std = float(learning.labels.mean()), float(learning.labels.std(correction=0))
    if not std > 0:
        raise DataError(say("All training images have the same value: nothing can be learnt."))
    for source in (learning, choosing):
        source.labels = ((source.labels - mean) / std).float()
    return mean, std


def _load(
    parts: Parts,
    dataset: Dataset,
    stage: Stage,
    memory: Memory | None,
    progress: Progress,
) -> tuple[Part, Part, Statistics]:
    """Training and selection images, and the statistics of the training images."""
    used = (*parts["training"], *parts["selection"])
    # all parts: what a test image is made of says nothing of its class, and one that does not fit cannot be judged
    channels = channels_of([entry for entries in parts.values() for entry in entries], stage.channels)
    spec = input_of(used, channels, stage.size, stage.fit)
    learning, choosing = (part(parts[name], dataset.classes, spec) for name in ("training", "selection"))
    needed, room = learning.nbytes() + choosing.nbytes(), stage.cache_gib * _GIB
    keep = needed <= room
    if memory is not None:
        # images of another size, say: a search tries many
        others = sum(image.nbytes for (*_, taken), image in memory.images.items() if taken != spec)
        if 2 * needed + others <= room:  # there is room for them beside those of this training
            learning.known = choosing.known = memory.images
    statistics = look_through(
        learning, keep=keep, workers=stage.workers, message=say("Reading training images"), progress=progress
    )
    if min(statistics.std) == 0:
        raise DataError(
            say("All training images have the same value everywhere in one channel: nothing can be learnt.")
        )
    if keep:
        look_through(
            choosing,
            keep=True,
            workers=stage.workers,
            message=say("Reading selection images"),
            progress=progress,
        )
    if all(entry.picture.eight_bit for entry in used):
        statistics = Statistics(statistics.mean, statistics.std, (0.0, 255.0))
    return learning, choosing, statistics
