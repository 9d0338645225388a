"""Predict > Predict Images...: class and probabilities of images."""

from typing import Annotated

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Predict Images...", "Predict")
def predict(
    images: Images,
    *,
    model: ModelPath,
    subfolders: bool = False,
    out: OutputPath = None,
    min_confidence_percent: Annotated[float, Range(0, 100)] = 0.0,
    batch: Annotated[int, Range(1, 4096)] = 16,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Class and probabilities of every plane of the images, by a trained classifier.

    Parameters
    ----------
    images : Images (empty: current)
        A file, a folder, or several with ; between; in ImageJ, when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained, or of another program's classifier
        (imported first). Or the name of one that comes with Mikata; ./name is what lies on the disk under
        that name.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for Predict.csv; when left empty, ImageJ shows the table, and the command line makes a folder.
    min_confidence_percent
        Where the most probable class has less than this probability, the class is given as (undecided); 0: never.
    batch : Batch size
        How many planes go through the network at once; less needs less memory.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    """
    from mikata.predicting import predict_images

    return predict_images(
        images,
        model,
        subfolders=subfolders,
        out=out,
        min_confidence=min_confidence_percent / 100,
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
