"""From recipes to a comparison with its table and its report: the work of the Compare command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mikata import datasets, evaluation
from mikata.comparison import page as pages
from mikata.comparison.kinds import refuse_values
from mikata.comparison.trials import Trials, run_trials
from mikata.comparison.variants import contestants
from mikata.errors import OutputError
from mikata.language import joined, say
from mikata.outputs import probe, write_csv, write_text
from mikata.training import recipe as recipes
from mikata.types import Plot, Progress, Table

_SHOWN = (
    "method", "figure", "value", "low", "high", "difference", "difference_low", "difference_high", "p_holm", "t_p_holm",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """What a comparison has found.

    Attributes
    ----------
    comparison, trials:
        Figures with intervals, and what they were made of.
    sheet, page:
        Files: every figure as CSV, and the report.
    """

    comparison: evaluation.Comparison
    trials: Trials
    sheet: Path
    page: Path

    @property
    def message(self) -> str:
        """The verdicts, in sentences."""
        return joined([*pages.verdicts(self.comparison), say("Research use, not for diagnosis.")])

    @property
    def table(self) -> Table:
        """The figures that are read first; all of them are in the CSV."""
        whole = self.comparison.table()
        places = [whole.columns.index(name) for name in _SHOWN]
        rows = tuple(tuple(row[place] for place in places) for row in whole.rows)
        return Table(whole.title, _SHOWN, rows, append=False)

    @property
    def plot(self) -> Plot:
        """Balanced accuracy of each method with the ends of its interval."""
        measured = [
            next(m for m in method.measured if m.figure == pages.LEADING)
            for method in self.comparison.methods
        ]
        x = tuple(float(n) for n in range(1, len(measured) + 1))
        series = (
            ("value", x, tuple(m.value for m in measured)),
            ("low", x, tuple(m.interval.low for m in measured)),
            ("high", x, tuple(m.interval.high for m in measured)),
        )
        names = ", ".join(f"{n} {method.name}" for n, method in enumerate(self.comparison.methods, 1))
        return Plot("Balanced accuracy", f"method ({names})", "balanced accuracy", series)


def compare_recipes(
    files: Sequence[Path],
    data: Path | None,
    out: Path,
    *,
    folds: int,
    repeats: int,
    seed: int,
    overwrite: bool,
    progress: Progress,
) -> Compared:
    """Compare recipes on the same patients, folds and seeds.

    Parameters
    ----------
    files:
        Recipes; one alone is taken apart into its sources of weights.
    data:
        Data of the last stage; None: what the first recipe names there.
    out:
        Folder for ``comparison.csv``, ``report.html`` and ``trainings/``, a file for each training that a call which
        was broken off goes on from.

    Raises
    ------
    RecipeError, DataError, TrainingError, OutputError
        As recipes, data, training and disk make it.
    Cancelled
        If the user stopped it; trainings that are done are kept.
    """
    sheet, page = out / "comparison.csv", out / "report.html"
    for path in (sheet, page):
        if path.exists() and not overwrite:
            raise OutputError(
                say("{path} is already there. Choose another folder, or let Compare overwrite it.", path=path)
            )
    found = contestants([recipes.read(file) for file in files])
    data = data or found[0].recipe.own_data()
    out.mkdir(parents=True, exist_ok=True)
    probe(out)
    dataset = datasets.read(data, progress=progress)
    refuse_values(dataset)
    trials = run_trials(
        found,
        dataset,
        count=folds,
        repeats=repeats,
        seed=seed,
        selection=found[0].recipe.selection,
        folder=out / "trainings",
        progress=progress,
    )
    progress.show(say("Judging"))
    learnt = [len(fold.parts["training"]) for fold in trials.folds]
    comparison = evaluation.compare(
        dataset.entries,
        dataset.classes,
        trials.probabilities,
        datasets.fold_of_each(trials.folds, len(dataset.entries)),
        training=sum(learnt) / len(learnt),
        seed=seed,
    )
    compared = Compared(comparison, trials, sheet, page)
    write_csv(sheet, comparison.table())
    write_text(page, pages.page(comparison, trials, found, seed))
    return compared
