"""Learn > Train Detection...: from images with points, boxes or ROIs to a packaged network that finds such things."""

from pathlib import Path
from typing import Annotated

from mikata.command import InputPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Train Detection...", "Learn")
def train_detection(
    data: InputPath,
    *,
    out: OutputPath,
    recipe: str = "cells",
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
    """A network that finds lesions, cells or other things, from points, boxes or ROIs, tested on images it has not seen.

    Parameters
    ----------
    data : Data (folder or CSV)
        A folder with the folders images and rois (.roi or .zip of the same names) and, of images without objects, empty; a
        folder of TIFFs with overlays; or a CSV with a row an object: file, class, xmin, ymin, xmax, ymax, or x and y.
    out : Package folder
        Folder for the BioImage.IO package; its zip for deepImageJ, the report and a table of the test images
        are put beside it.
    recipe
        TOML file of the training, or the name of one that comes with Mikata (cells: many things in an image; lesions:
        few or none).
    network
        Name of the network (unet, smp:Unet/resnet18, ...); when left empty, the recipe's.
    epochs
        How often the training images are gone through; 0 takes the recipe's number.
    seed
        Seed of the split, the start weights, the patches and the augmentation; -1 takes the recipe's.
    test_percent
        Share of the patients (of the images where no patient is known) kept for the test; 0: the recipe's.
    selection_percent
        Share kept to choose the best epoch and the least score; 0: the recipe's.
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
    from mikata.learning.detected import train_detection_package

    assert isinstance(out, Path)
    learnt = train_detection_package(
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
        authors=tuple(a.strip() for a in authors.split(";") if a.strip()),
        licence=licence,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
    )
    return learnt.result
