"""From labelled images to a tested package of an ensemble: the work of the Train Ensemble command."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

from mikata import datasets, evaluation
from mikata.datasets import Dataset, Fold
from mikata.errors import Cancelled, DataError
from mikata.language import say
from mikata.learning.alone import beside_members_or_why
from mikata.learning.learnt import Learnt
from mikata.learning.packaged import Told, finish
from mikata.learning.places import Places
from mikata.training import Memory, Recipe, Run, train
from mikata.training import recipe as recipes
from mikata.training.ensembles import Ensemble, refuse_members
from mikata.training.named import Within
from mikata.training.processes import main_process
from mikata.types import SILENT, Progress


def train_ensemble(
    data: Path,
    out: Path,
    *,
    folds: int,
    recipe: Path | None = None,
    changes: dict[str, Any] | None = None,
    name: str,
    authors: tuple[str, ...] = (),
    licence: str = "",
    source: str = "",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress,
) -> Learnt:
    """Split off a test part, train a network on each fold of the rest, test and package the mean of all.

    Member k learns from all folds but fold k, which chooses its epoch. All have the recipe's seed, so that stages that
    do not depend on the fold are trained once; start weights are then the same too, while images, and with them the
    steps, are others. The test images are used after all trainings, once for the ensemble, and once for each member to
    show how far they differ.

    Parameters
    ----------
    data:
        Folder of class folders, or a CSV with labels.
    folds:
        Number of folds and of members, from 2 to 64.
    out, recipe, changes, name, authors, licence, source:
        As of `mikata.learning.train_package`. The recipe's share of selection only settles, as it does there, which
        images are the test part.
    resume:
        Whether to go on from what a call with the same recipe, folds and data has left that did not end.

    Raises
    ------
    DataError, RecipeError, TrainingError, PackageError, OutputError
        As of `mikata.learning.train_package`; `DataError` also if images have values, or are of too few patients for
        the folds.
    Cancelled
        If the user stopped it. Members that are done are kept, and a call that resumes goes on.
    """
    places = Places(out, members=True)
    main = main_process()
    if main:
        places.refuse(name=name, licence=licence, overwrite=overwrite, resume=resume)
    else:
        progress = SILENT
    settings = recipes.read(recipe).change(**(changes or {}))
    refuse_members(folds, settings.stage.network)
    dataset = datasets.read(data, progress=progress)
    _refuse_values(dataset)
    dealt = datasets.selection_folds(
        dataset, count=folds, test=settings.test, selection=settings.selection, seed=settings.seed
    )
    runs = _train_members(dataset, settings, dealt, places, resume, progress)
    if not main:
        raise SystemExit(0)  # of several processes that train together, the main one has all that follows
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show(say("Test"))
    ensemble = Ensemble(runs, _notes(runs[0]))
    scores = evaluation.evaluate(ensemble, dealt[0].parts["test"])
    alone, why = beside_members_or_why(ensemble, scores)
    ensemble = dataclasses.replace(
        ensemble,
        own_notes=(*ensemble.own_notes, *why),
        alone=None if alone is None else alone.record(),
    )
    told = Told(name, authors, licence, source)
    return finish(places, ensemble, scores, told, overwrite=overwrite, progress=progress, alone=alone)


def _train_members(
    dataset: Dataset,
    settings: Recipe,
    dealt: tuple[Fold, ...],
    places: Places,
    resume: bool,
    progress: Progress,
) -> tuple[Run, ...]:
    read = cache(lambda path: datasets.read(path, progress=progress))
    memory = Memory()
    runs: list[Run] = []
    for number, fold in enumerate(dealt, 1):
        where = say("member {number} of {total}", number=number, total=len(dealt))
        stopped = Cancelled(
            say(
                "Stopped while member {number} of {total} was trained: no package is made. What was learnt is kept "
                "in {folder}; train the ensemble again, resuming, to go on.",
                number=number,
                total=len(dealt),
                folder=places.checkpoints,
            )
        )
        try:
            run = train(
                dataset,
                settings,
                folder=places.member(number),
                progress=Within(progress, where, number - 1, len(dealt)),
                parts=fold.parts,
                read=read,
                memory=memory,
                resume=resume,
            )
        except Cancelled as error:
            if not runs:
                raise
            raise stopped from error  # it knows nothing of the members before
        if run.stopped_by == "interrupted":
            raise stopped
        runs.append(run)
    return tuple(runs)


def _notes(run: Run) -> tuple[str, ...]:
    """What Train does with a network that started from a classifier for the same classes, and an ensemble does not."""
    if run.base is None or run.recipe.stage.keep != "better":
        return ()
    return (
        say(
            "The members were not compared with the network that they started from (keep): every image outside the test "
            "part has taught a member."
        ),
    )


def _refuse_values(dataset: Dataset) -> None:
    if dataset.values:
        raise DataError(
            say(
                "{path}: its images have values, but an ensemble is for classes only. Train one network with mikata train.",
                path=dataset.path,
            )
        )
