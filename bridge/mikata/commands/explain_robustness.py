"""Explain > Test Robustness...: whether small changes, or worse images, make the network say something else."""

from typing import Annotated, Literal

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.commands.choices import MethodName, Part
from mikata.types import SILENT, Progress, Result


@command("Test Robustness...", "Explain")
def robustness(
    images: Images,
    *,
    model: ModelPath,
    tests: Literal["all", "adversarial", "corruptions"] = "all",
    epsilon_grey: Annotated[float, Range(0, float("inf"))] = 8.0,
    steps: Annotated[int, Range(1, 1000)] = 10,
    levels: str = "",
    method: MethodName = "Grad-CAM",
    layer: str = "",
    part: Part = "all",
    limit: Annotated[int, Range(0, 1_000_000)] = 50,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    subfolders: bool = False,
    out: OutputPath = None,
    batch: Annotated[int, Range(1, 4096)] = 16,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """The smallest change found that flips the class, how the heat moves, and curves under noise, blur, JPEG and more.

    Parameters
    ----------
    images : Images or CSV (empty: current)
        Images, or labelled data: a CSV with the columns file, label, patient, and human (the class a reader called)
        where there is one, or a folder of class folders; in ImageJ, when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained and that tells classes apart. Or the
        name of one that comes with Mikata; ./name is what lies on the disk under that name.
    tests
        Adversarial: FGSM, PGD and the smallest change that flips the class. Corruptions: noise, blur, contrast, JPEG,
        rotation. Or all of these.
    epsilon_grey : Epsilon (grey levels)
        Largest change of any pixel in an attack, above 0, in the unit of the images' values (grey levels, HU).
    steps : Steps of PGD
        Steps of each attempt of PGD; more find smaller changes and take longer.
    levels
        Corruptions and their levels, such as noise=5,10; blur=1,2; contrast=50; jpeg=25; rotation=10; when left empty,
        four levels of each. Noise is in grey levels, blur in px, contrast in %, rotation in degrees.
    method
        How heat is found: from a layer and its gradients (Grad-CAM to LayerCAM), a layer alone (Eigen-CAM,
        Score-CAM), or the image (the others). From Score-CAM on it takes many passes for each plane.
    layer
        Dotted name of the network's layer to look at; when left empty, the last one with spatial extent.
    part : Part of the data
        Which images of a CSV with a column split: all, or those of one part.
    limit : Limit (images)
        Most planes to test; of more images a random sample is drawn. 0 tests all.
    seed
        Of the sample, the noise and the starts of PGD: the same seed gives the same figures.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for tables, changed images, differences, heat maps and the report; when left empty, ImageJ shows tables,
        curves and a few of the images, and the command line makes a folder.
    batch : Batch size
        How many planes go through the network at once; less needs less memory.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    """
    from mikata.explaining.robustness import Asking, measure_robustness

    asking = Asking(tests, epsilon_grey, steps, levels, method, layer, limit, seed)
    return measure_robustness(
        images,
        model,
        asking,
        part=part,
        subfolders=subfolders,
        out=out,
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
