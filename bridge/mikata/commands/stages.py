"""Learn: recipes compared on the same patients, and their settings searched."""

from pathlib import Path
from typing import Annotated

from mikata.command import InputPath, Range, command
from mikata.command import OutputPath as Out
from mikata.types import SILENT, Progress, Result


@command("Compare Recipes...", "Learn")
def compare(
    recipes: InputPath,
    *,
    out: Out,
    data: InputPath | None = None,
    folds: Annotated[int, Range(2, 100)] = 5,
    repeats: Annotated[int, Range(1, 100)] = 5,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Recipes on the same patients, folds and seeds: what each source of weights brings, with intervals.

    Parameters
    ----------
    recipes : Recipe (or folder of recipes)
        A folder of TOML files, compared with the first by name; or one file with a source of weights or several
        stages, compared with what is left when they are taken away.
    out : Result folder
        Gets the report, a table of all figures, and each training's result, from which a call that was broken off
        goes on.
    data : Data (folder or CSV)
        Images of the last stage; when left empty, those that the recipe names.
    folds
        Parts of the images; each is tested once a repeat, by a network that has not seen its patients.
    repeats
        How often all folds are drawn and trained anew, each time with another seed.
    seed
        Of the first repeat: its folds, start weights, order and augmentation.
    overwrite : Overwrite an existing comparison
        Replace a report and a table that are already there.
    """
    from mikata.comparison.running import compare_recipes

    assert isinstance(out, Path)
    files = sorted(recipes.glob("*.toml")) if recipes.is_dir() else [recipes]
    compared = compare_recipes(
        files,
        data,
        out,
        folds=folds,
        repeats=repeats,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )
    return Result(
        compared.message,
        tables=(compared.table,),
        plots=(compared.plot,),
        files=(compared.page, compared.sheet),
        page=compared.page,
    )


@command("Search Settings...", "Learn")
def search(
    recipe: InputPath,
    *,
    out: Out,
    data: InputPath | None = None,
    trials: Annotated[int, Range(1, 100_000)] = 20,
    folds: Annotated[int, Range(2, 100)] = 3,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    progress: Progress = SILENT,
) -> Result:
    """Settings of a recipe chosen by what they give on validation folds; the test images are in none of them.

    Parameters
    ----------
    recipe
        TOML file with a table [search], which names the settings and what they may be.
    out : Result folder
        Gets the best recipe, a table of all trials, and the study; the same call goes on with a study that is there.
    data : Data (folder or CSV)
        Images of the last stage; when left empty, those that the recipe names.
    trials
        How many settings are tried in all, those of earlier calls included.
    folds
        Parts of the images that are not kept for the test; each judges the networks trained on the others.
    seed
        Of the folds and of the proposals.
    """
    from mikata.comparison.search import search as search_settings

    assert isinstance(out, Path)
    found = search_settings(recipe, data, out, trials=trials, folds=folds, seed=seed, progress=progress)
    return Result(
        found.message, tables=(found.table,), plots=(found.plot,), files=(found.recipe, found.sheet)
    )


@command("Derive Recipe...", "Learn")
def derive(
    data: InputPath,
    *,
    out: Out,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """A first recipe for a data set, by rules that are written beside each setting.

    Parameters
    ----------
    data : Data (folder or CSV)
        A folder with one folder of images for each class, or a CSV with the columns file, label, patient.
    out : Recipe file
        TOML file of the recipe, for Train Network..., Compare Recipes... and Search Settings...
    overwrite : Overwrite an existing recipe
        Replace a file that is already there.
    """
    from mikata.comparison.deriving import derive as derive_recipe

    assert isinstance(out, Path)
    derived = derive_recipe(data, out, overwrite=overwrite, progress=progress)
    return Result(derived.message, tables=(derived.table,), files=(derived.file,))
