"""Learn > Train Segmentation...: from images with masks to a packaged network that says of every pixel what it is."""

from pathlib import Path
from typing import Annotated

from mikata.command import InputPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Train Segmentation...", "Learn")
def train_segmentation(
    data: InputPath,
    *,
    out: OutputPath,
    recipe: str = "nuclei",
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
    """A network that outlines regions or objects, from images with masks or ROIs, tested on images it has not seen.

    Parameters
    ----------
    data : Data (folder or CSV)
        A folder with the folders images and masks (label images, masks, or ROIs as .roi or .zip, of the same names); a
        folder of TIFFs with overlays; or a CSV with the columns file, mask, patient.
    out : Package folder
        Folder for the BioImage.IO package; its zip for deepImageJ, the report and a table of the test images
        are put beside it.
    recipe
        TOML file of the training, or the name of one that comes with Mikata (nuclei: objects that may touch; lungs:
        regions).
    network
        Name of the network (unet, smp:Unet/resnet18, ...); when left empty, the recipe's.
    epochs
        How often the training images are gone through; 0 takes the recipe's number.
    seed
        Seed of the split, the start weights, the patches and the augmentation; -1 takes the recipe's.
    test_percent
        Share of the patients (of the images where no patient is known) kept for the test; 0: the recipe's.
    selection_percent
        Share kept to choose the best epoch and the settings of objects; 0: the recipe's.
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
    from mikata.learning.segmented import train_segmentation_package

    assert isinstance(out, Path)
    learnt = train_segmentation_package(
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
