"""Explain > Heat Montage...: original, heat and contours of many cases in one picture."""

from typing import Annotated, Literal

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.commands.choices import Lut, MethodName, Part
from mikata.types import SILENT, Progress, Result


@command("Heat Montage...", "Explain")
def montage(
    images: Images,
    *,
    model: ModelPath,
    cases: Literal["all", "correct", "wrong", "both"] = "all",
    target: str = "predicted",
    method: MethodName = "Grad-CAM",
    layer: str = "",
    part: Part = "all",
    limit: Annotated[int, Range(1, 1000)] = 12,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    columns: Annotated[int, Range(1, 20)] = 2,
    tile_px: Annotated[int, Range(64, 1024)] = 224,
    lut: Lut = "Fire",
    opacity_percent: Annotated[float, Range(0, 100)] = 60.0,
    contour_percent: str = "50",
    scale_maximum: Annotated[float, Range(0, float("inf"))] = 0.0,
    subfolders: bool = False,
    out: OutputPath = None,
    batch: Annotated[int, Range(1, 4096)] = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Original, heat and contours of many cases as one picture on one colour scale, correct and wrong side by side.

    Parameters
    ----------
    images : Images or CSV (empty: current)
        Images, or labelled data: a CSV with the columns file, label, patient, or a folder of class folders; in ImageJ,
        when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained. Or the name of one that comes with
        Mikata; ./name is what lies on the disk under that name.
    cases
        Which cases to show: all, the correct or the wrong ones, or both side by side. All but the first need labelled
        data.
    target
        The class to explain: predicted, true (of labelled data), or the name of a class.
    method
        How heat is found: from a layer and its gradients (Grad-CAM to LayerCAM), a layer alone (Eigen-CAM,
        Score-CAM), or the image (the others). From Score-CAM on it takes many passes for each plane.
    layer
        Dotted name of the network's layer to look at; when left empty, the last one with spatial extent.
    part : Part of the data
        Which images of a CSV with a column split: all, or those of one part.
    limit : Limit (cases)
        Most cases to show; of more a random sample is drawn. Both takes half of it from each side.
    seed
        Of the sample: the same seed shows the same cases.
    columns : Cases in a row
        How many cases, of three tiles each, stand beside each other; both shares them between its two sides.
    tile_px
        Side of a tile; images keep their proportions inside it.
    lut : LUT
        Colours of the heat.
    opacity_percent
        Opacity of the heat at the scale's maximum; it follows the heat down to nothing.
    contour_percent
        Level of the contours in per cent of each map's own maximum, several with ; between (30;50;80); 0 draws none.
    scale_maximum
        Heat at the top of the colour scale, the same for all cases; 0 takes the largest heat shown.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for the picture (TIFF and PNG) and a table of its cases; when left empty, ImageJ shows them, and the
        command line makes a folder.
    batch : Batch size
        How many planes go through the network at once; less needs less memory.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    keep_metadata : Write names of images
        Write each image's name under its tiles, which may name the patient; else a number that the table explains.
        Words burnt into an image are shown in any case.
    """
    from mikata.explaining.montage.running import asked_of
    from mikata.explaining.montage.running import montage as show

    asked = asked_of(
        cases=cases,
        limit=limit,
        seed=seed,
        tile_px=tile_px,
        columns=columns,
        lut=lut,
        opacity_percent=opacity_percent,
        contour_percent=contour_percent,
        scale_maximum=scale_maximum,
        names=keep_metadata,
    )
    return show(
        images,
        model,
        target=target,
        method=method,
        layer=layer,
        part=part,
        asked=asked,
        subfolders=subfolders,
        out=out,
        batch=batch,
        overwrite=overwrite,
        progress=progress,
    )
