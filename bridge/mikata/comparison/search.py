"""Settings searched on validation folds: the images kept for the test are in none of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mikata import datasets
from mikata.comparison.kinds import refuse_values
from mikata.comparison.space import Space, space_of, suggest
from mikata.comparison.trials import train_fold
from mikata.datasets import Dataset
from mikata.errors import Cancelled, NetworkError, OutputError, TrainingError
from mikata.language import say
from mikata.outputs import probe, write_csv, write_text
from mikata.training import Memory, Recipe
from mikata.training import recipe as recipes
from mikata.training.named import Within
from mikata.training.writing import as_toml
from mikata.types import Plot, Progress, Table

if TYPE_CHECKING:
    import optuna

STUDY, BEST, SHEET = "search.db", "best.toml", "search.csv"
_TRIED_FIRST = 5  # trials that end before any is broken off for being worse than their median


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes
    ----------
    best:
        The recipe with the best settings.
    value:
        Its mean balanced accuracy over the validation folds. Being the best of many, it is too good: only the test
        says how good the network is.
    settings:
        What was chosen.
    table:
        A row for each trial.
    recipe, sheet:
        Files of the best recipe and of the table.
    """

    best: Recipe
    value: float
    settings: dict[str, Any]
    table: Table
    recipe: Path
    sheet: Path

    @property
    def message(self) -> str:
        """What came out."""
        chosen = ", ".join(f"{key} = {value}" for key, value in self.settings.items())
        ended = sum(row[1] == "complete" for row in self.table.rows)
        return say(
            "Best of {count} trials: {settings}, mean balanced accuracy {value:.1f} % on the validation folds (as the "
            "best of many it is too good; train with {recipe} and read the test). The test images were not used. "
            "Research use, not for diagnosis.",
            count=ended,
            settings=chosen,
            value=100 * self.value,
            recipe=self.recipe.name,
        )

    @property
    def plot(self) -> Plot:
        """Value of each trial that came to its end, and the best so far."""
        pairs = [(float(row[0]), float(row[2])) for row in self.table.rows if row[1] == "complete"]
        x = tuple(number for number, _ in pairs)
        best = tuple(float(v) for v in np.maximum.accumulate([value for _, value in pairs])) if pairs else ()
        series = (("trial", x, tuple(value for _, value in pairs)), ("best so far", x, best))
        return Plot("Search", "trial", "balanced accuracy", series)


def search(
    file: Path,
    data: Path | None,
    out: Path,
    *,
    trials: int,
    folds: int,
    seed: int,
    progress: Progress,
) -> Found:
    """Choose settings by the mean balanced accuracy over validation folds.

    The test part of the recipe's split (or the table's) is set aside first, and is in no fold. Optuna's
    tree-structured Parzen estimator proposes settings (Bergstra et al. 2011); a trial whose folds so far are worse than
    the median of the trials before is broken off. Everything is kept in `out`: the same call goes on where one was
    broken off.

    Parameters
    ----------
    file:
        A recipe with a table ``[search]``.
    data:
        Data of its last stage; None: what the recipe names there.
    out:
        Folder for the study, the table of trials and the best recipe.
    trials:
        Number of trials in all, with those of earlier calls.

    Raises
    ------
    RecipeError, DataError, NetworkError, TrainingError, OutputError
        As recipe, data, training and disk make it.
    Cancelled
        If the user stopped it before one trial had ended; later, what was found so far is returned.
    """
    recipe = recipes.read(file)
    space = space_of(recipe)
    data = data or recipe.own_data()
    out.mkdir(parents=True, exist_ok=True)
    probe(out)
    dataset = datasets.read(data, progress=progress)
    refuse_values(dataset)
    parts = datasets.split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    tested = set(parts["test"])
    # the table's own split is done with: what is left is folded anew
    left = tuple(dataclasses.replace(entry, split="") for entry in dataset.entries if entry not in tested)
    dataset = dataclasses.replace(dataset, entries=left)
    drawn = datasets.folds(dataset, count=folds, repeats=1, seed=seed, selection=recipe.selection)
    memory = Memory()
    read = cache(lambda path: datasets.read(path, progress=progress))
    with _quiet_optuna() as optuna:
        study = _study(optuna, out / STUDY, _fingerprint(recipe, dataset, folds, seed), seed)

        def judge(trial: Any) -> float:
            settings = suggest(space, trial)
            one = recipe.change(**settings)
            values: list[float] = []
            for fold in drawn:
                number = trial.number * folds + fold.number
                where = say(
                    "trial {trial} of {trials}, fold {fold} of {folds}",
                    trial=trial.number + 1,
                    trials=trials,
                    fold=fold.number + 1,
                    folds=folds,
                )
                shown = Within(progress, where, number, trials * folds)
                _, report = train_fold(one, dataset, fold, out, read=read, memory=memory, progress=shown)
                values.append(report.balanced_accuracy.value)
                trial.report(float(np.mean(values)), fold.number)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return float(np.mean(values))

        done = sum(trial.state.is_finished() for trial in study.trials)
        try:
            study.optimize(judge, n_trials=max(0, trials - done), catch=(NetworkError, TrainingError))
        except (Cancelled, KeyboardInterrupt) as error:
            if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
                raise Cancelled(
                    say("Stopped before the first trial had ended: nothing is found yet.")
                ) from error
        return _found(study, space, recipe, out)


def _study(optuna: Any, file: Path, fingerprint: str, seed: int) -> Any:
    """The study of this folder, or a new one.

    Raises
    ------
    OutputError
        If the folder holds a search of another recipe or other images.
    """
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_TRIED_FIRST, n_warmup_steps=0)
    study = optuna.create_study(
        storage=f"sqlite:///{file.absolute().as_posix()}",
        study_name="mikata",
        pruner=pruner,
        direction="maximize",
        load_if_exists=True,
    )
    # a study that goes on must not draw the numbers it began with once more
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    known = study.user_attrs.get("fingerprint")
    if known is None:
        study.set_user_attr("fingerprint", fingerprint)
    elif known != fingerprint:
        raise OutputError(
            say(
                "{file} is of a search with another recipe, other images, folds or seed. Choose another folder.",
                file=file,
            )
        )
    return study


def _fingerprint(recipe: Recipe, dataset: Dataset, folds: int, seed: int) -> str:
    said = [recipe.to_dict(), recipe.search, [entry.picture.digest for entry in dataset.entries], folds, seed]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=list).encode()).hexdigest()


def _found(study: optuna.Study, space: Space, recipe: Recipe, out: Path) -> Found:
    import optuna

    rows = []
    for trial in study.trials:
        settings = (
            suggest(space, optuna.trial.FixedTrial(trial.params)) if len(trial.params) == len(space) else {}
        )
        value = trial.value if trial.value is not None else "not defined"
        rows.append(
            (trial.number + 1, trial.state.name.lower(), value, *(_cell(settings.get(k)) for k in space))
        )
    table = Table("Search", ("trial", "state", "balanced_accuracy", *space), tuple(rows), append=False)
    write_csv(out / SHEET, table)
    ended = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not ended:
        raise TrainingError(
            say("None of the {count} trials came to its end: see {file}.", count=len(rows), file=out / SHEET)
        )
    settings = suggest(space, optuna.trial.FixedTrial(study.best_params))
    best = dataclasses.replace(recipe.change(**settings), search={})
    write_text(out / BEST, as_toml(best))
    return Found(best, study.best_value, settings, table, out / BEST, out / SHEET)


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)


@contextmanager
def _quiet_optuna() -> Iterator[Any]:
    """Optuna, whose notices of every trial stay off the console."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(before)
