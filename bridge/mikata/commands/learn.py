"""Learn > Train Network... and Train Ensemble...: from labelled images to a packaged network."""

from pathlib import Path
from typing import Annotated

from mikata.command import InputPath, Range, command
from mikata.command import OutputPath as Out
from mikata.types import SILENT, Progress, Result


@command("Train Network...", "Learn")
def train(
    data: InputPath,
    *,
    out: Out,
    recipe: str = "default",
    network: str = "",
    epochs: Annotated[int, Range(0, 100000)] = 0,
    seed: Annotated[int, Range(-1, 2**31 - 1)] = -1,
    test_percent: Annotated[float, Range(0, 60)] = 0.0,
    selection_percent: Annotated[float, Range(0, 60)] = 0.0,
    name: str = "",
    authors: str = "",
    licence: str = "",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """A classifier from a folder of class folders or a CSV, tested on patients it has not seen, as a package.

    Parameters
    ----------
    data : Data (folder or CSV)
        A folder with one folder of images for each class, or a CSV with the columns file, label, patient; with a
        column value (or value [mm]) instead of label, the network learns this number.
    out : Package folder
        Folder for the BioImage.IO package; its zip for deepImageJ, the report and a table of the test images
        are put beside it.
    recipe
        TOML file of the training, in one stage or several, or the name of one that comes with Mikata (default, texture).
    network
        Name of the network (small_cnn, resnet18, vgg16, alexnet, ...); when left empty, the recipe's.
    epochs
        How often every training image is seen; 0 takes the recipe's number.
    seed
        Seed of the split, the start weights, the order and the augmentation; -1 takes the recipe's.
    test_percent
        Share of the patients (of the images where no patient is known) kept for the test; 0: the recipe's.
    selection_percent
        Share kept to choose the best epoch; 0: the recipe's.
    name
        Name of the model in its package; when left empty, the folder's name.
    authors
        Names for the package, separated by semicolons; when left empty, none is stated.
    licence
        SPDX name of the licence under which the package may be given on; when left empty, see its README.
    overwrite : Overwrite an existing package
        Replace a package that is already there.
    resume : Go on with a training that did not end
        Go on from what a training with the same data and settings has left that was killed or stopped; the result is
        the same as without the break.
    """
    from mikata.learning import train_package

    assert isinstance(out, Path)
    learnt = train_package(
        data,
        out,
        recipe=Path(recipe),
        changes={
            "network": network or None,
            "epochs": epochs or None,
            "seed": None if seed < 0 else seed,
            "test": test_percent / 100 or None,
            "selection": selection_percent / 100 or None,
        },
        name=name or out.name,
        authors=_names(authors),
        licence=licence,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
    )
    return Result(
        learnt.message,
        tables=learnt.tables,
        plots=(learnt.curves,),
        files=learnt.files,
        page=learnt.page,
        stopped=learnt.run.stopped_by == "interrupted",
    )


@command("Train Ensemble...", "Learn")
def ensemble(
    data: InputPath,
    *,
    out: Out,
    recipe: str = "default",
    folds: Annotated[int, Range(2, 64)] = 5,
    network: str = "",
    epochs: Annotated[int, Range(0, 100000)] = 0,
    seed: Annotated[int, Range(-1, 2**31 - 1)] = -1,
    test_percent: Annotated[float, Range(0, 60)] = 0.0,
    name: str = "",
    authors: str = "",
    licence: str = "",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Several classifiers, each trained on all folds of the images but one; the mean of their probabilities is a package.

    Parameters
    ----------
    data : Data (folder or CSV)
        A folder with one folder of images for each class, or a CSV with the columns file, label, patient.
    out : Package folder
        Folder for the BioImage.IO package; its zip for deepImageJ, the report and a table of the test images
        are put beside it.
    recipe
        TOML file of the training, in one stage or several, or the name of one that comes with Mikata (default, texture).
    folds
        Parts into which all images but the test part are dealt, patients whole, and number of networks: each learns from
        all folds but one, which chooses its epoch.
    network
        Name of the network (small_cnn, resnet18, vgg16, alexnet, ...); when left empty, the recipe's.
    epochs
        How often each network sees its training images; 0 takes the recipe's number.
    seed
        Seed of the split, the folds, the start weights, the order and the augmentation; -1 takes the recipe's.
    test_percent
        Share of the patients (of the images where no patient is known) kept for the test; 0: the recipe's.
    name
        Name of the model in its package; when left empty, the folder's name.
    authors
        Names for the package, separated by semicolons; when left empty, none is stated.
    licence
        SPDX name of the licence under which the package may be given on; when left empty, see its README.
    overwrite : Overwrite an existing package
        Replace a package that is already there.
    resume : Go on with a training that did not end
        Go on from what a training with the same data and settings has left that was killed or stopped; networks that are
        done are not trained again.
    """
    from mikata.learning import train_ensemble

    assert isinstance(out, Path)
    learnt = train_ensemble(
        data,
        out,
        folds=folds,
        recipe=Path(recipe),
        changes={
            "network": network or None,
            "epochs": epochs or None,
            "seed": None if seed < 0 else seed,
            "test": test_percent / 100 or None,
        },
        name=name or out.name,
        authors=_names(authors),
        licence=licence,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
    )
    return Result(
        learnt.message, tables=learnt.tables, plots=(learnt.curves,), files=learnt.files, page=learnt.page
    )


def _names(authors: str) -> tuple[str, ...]:
    return tuple(a.strip() for a in authors.split(";") if a.strip())
