"""Explain > Heat by Region...: how much of the heat lies in which region, for which class."""

from typing import Annotated

from mikata.command import Images, InputPath, ModelPath, OutputPath, Range, command
from mikata.commands.choices import MethodName, Part
from mikata.types import SILENT, Progress, Result


@command("Heat by Region...", "Explain")
def heat_by_region(
    images: Images,
    *,
    model: ModelPath,
    regions: str = "",
    target: str = "predicted",
    method: MethodName = "Grad-CAM",
    layer: str = "",
    part: Part = "all",
    reference: InputPath | None = None,
    subfolders: bool = False,
    out: OutputPath = None,
    batch: Annotated[int, Range(1, 4096)] = 16,
    no_controls: bool = False,
    control_images: Annotated[int, Range(5, 200)] = 12,
    repeats: str = "",
    mask_regions: bool = False,
    subset: str = "",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Share of the heat in each region, by image and by class with intervals, as tables and a page.

    Parameters
    ----------
    images : Images or CSV (empty: current)
        Images, or labelled data: a CSV with the columns file, label, patient, or a folder of class folders; in ImageJ,
        when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained. Or the name of one that comes with
        Mikata; ./name is what lies on the disk under that name.
    regions : Regions (file, folder or grid)
        chest (2x3: lungs and mediastinum), 3x3 or another grid, marks (burned-in letters, found by themselves), border
        or marks+border, an ROI set (.zip, .roi), a label image, or a folder
        with one of these for each image; when left empty, the overlay or selection of each image.
    target
        The class to explain: predicted, true (of labelled data), all, or the name of a class.
    method
        How heat is found: from a layer and its gradients (Grad-CAM to LayerCAM), a layer alone (Eigen-CAM,
        Score-CAM), or the image (the others). From Score-CAM on it takes many passes for each plane.
    layer
        Dotted name of the network's layer to look at; when left empty, the last one with spatial extent.
    part : Part of the data
        Which images of a CSV with a column split: all, or those of one part.
    reference : Reference image
        Image on which the mean heat is shown; when left empty, the mean of all images.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for the tables, the mean heat maps and the report; when left empty, ImageJ shows tables and maps, and the
        command line makes a folder.
    batch : Batch size
        How many planes go through the network at once; less needs less memory.
    no_controls : Leave the controls out
        Do not put the heat maps to controls (random weights, covering, small changes, edges), which takes some 100
        passes through the network for each control image.
    control_images : Control images
        On how many planes the controls are made, chosen by chance and spread over classes and patients.
    repeats : Repeated trainings (packages)
        Packages of the same training with other seeds, several with ; between: their maps are compared in the controls.
    mask_regions : Paint over marks and border
        As a test, replace marks and border by what lies around them and measure again: accuracy, changed predictions
        and heat. Regions must be marks, border or marks+border.
    subset : Subset (column=value)
        Column of the CSV and its value, such as origin_balanced=1: accuracy and heat are given for these images too.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    """
    from mikata.explaining.heat_by_region import heat_by_region as measure

    return measure(
        images,
        model,
        regions=regions,
        target=target,
        method=method,
        layer=layer,
        part=part,
        reference=reference,
        subfolders=subfolders,
        out=out,
        batch=batch,
        no_controls=no_controls,
        control_images=control_images,
        repeats=repeats,
        mask_regions=mask_regions,
        subset=subset,
        overwrite=overwrite,
        progress=progress,
    )
