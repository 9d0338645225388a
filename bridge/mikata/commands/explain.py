"""Explain > Grad-CAM Heat Map...: where in the image the network found its reasons."""

from typing import Annotated, Literal

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.commands.choices import Lut, MethodName
from mikata.types import SILENT, Progress, Result


@command("Grad-CAM Heat Map...", "Explain")
def grad_cam(
    images: Images,
    *,
    model: ModelPath,
    target: str = "predicted",
    method: MethodName = "Grad-CAM",
    layer: str = "",
    result: Literal["both", "overlay", "heat-map"] = "both",
    lut: Lut = "Fire",
    opacity_percent: Annotated[float, Range(0, 100)] = 60.0,
    contour_percent: str = "50",
    scale_maximum: Annotated[float, Range(0, float("inf"))] = 0.0,
    hide_colour_bar: bool = False,
    hide_label: bool = False,
    subfolders: bool = False,
    out: OutputPath = None,
    window_percent: Annotated[float, Range(0.1, 100)] = 12.5,
    masks: Annotated[int, Range(1, 1_000_000)] = 1000,
    steps: Annotated[int, Range(1, 10_000)] = 50,
    baseline: Literal["mean", "zero"] = "mean",
    batch: Annotated[int, Range(1, 4096)] = 16,
    controls: bool = False,
    control_images: Annotated[int, Range(5, 200)] = 12,
    repeats: str = "",
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Heat map of the places that speak for a class, as overlay, 32-bit image, ROIs and table.

    Parameters
    ----------
    images : Images (empty: current)
        A file, a folder, or several with ; between; in ImageJ, when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained. Or the name of one that comes with
        Mikata; ./name is what lies on the disk under that name.
    target
        The class to explain: predicted, all, or the name of a class.
    method
        How heat is found: from a layer and its gradients (Grad-CAM to LayerCAM), a layer alone (Eigen-CAM,
        Score-CAM), or the image (the others). From Score-CAM on it takes many passes for each plane.
    layer
        Dotted name of the network's layer to look at; when left empty, the last one with spatial extent. Methods that
        look at the image take none.
    result : Make
        What to make: the overlay, the 32-bit heat map (the one to measure in), or both.
    lut : LUT
        Colours of the overlay and the heat map.
    opacity_percent
        Opacity of the overlay at the scale's maximum; it follows the heat down to nothing.
    contour_percent
        Level of the contour ROIs in per cent of each map's own maximum, several with ; between (30;50;80); 0 draws none.
    scale_maximum
        Heat at the top of the colour scale, the same for all images; 0 takes the largest heat found.
    hide_colour_bar
        Leave the colour bar out of the overlay.
    hide_label
        Leave the class, its probability and the method out of the overlay.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for the results (TIFF with overlay, TIFF of heat, table); when left empty, ImageJ shows them, and
        the command line makes a folder.
    window_percent : Window (Occlusion), %
        Side of the square that Occlusion moves over the image by half its side, in per cent of the image's shorter
        side.
    masks : Masks (RISE)
        How many random masks RISE takes, the same for every plane; more give less noise.
    steps : Steps (Integrated-Gradients)
        How many points from the baseline to the image Integrated-Gradients takes; more give a smaller error.
    baseline : Baseline (Occlusion, Integrated-Gradients)
        What stands for nothing: the mean of the training images, or the grey value 0.
    batch : Batch size
        How many planes, or copies of a plane, go through the network at once; less needs less memory.
    controls : Put the maps to controls
        Test the maps (random weights, covering, small changes, edges) and report it in tables and a page. It takes some
        100 passes through the network for each control image, 30 of them to make maps: long with methods of many passes.
    control_images : Control images
        On how many planes the controls are made, chosen by chance and spread over classes and files; they need images
        of at least 5 files.
    repeats : Repeated trainings (packages)
        Packages of the same training with other seeds, several with ; between: their maps are compared in the controls.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    keep_metadata
        Carry the header of a DICOM file over into results; it may name the patient.
    roi_manager : Contours into the ROI Manager
        Put the contours into ImageJ's ROI Manager too; without ImageJ this changes nothing.
    """
    from mikata.explaining.map_controls import map_controls
    from mikata.explanation.display import contour_levels
    from mikata.explanation.runs import HeatMethod, HeatStyle, explain_images

    levels = contour_levels(contour_percent)
    style = HeatStyle(
        lut, opacity_percent, levels, scale_maximum, not hide_colour_bar, not hide_label, result
    )
    beside = map_controls(controls, control_images, repeats)
    return explain_images(
        images,
        model,
        target=target,
        layer=layer,
        method=HeatMethod(method, window_percent, masks, steps, baseline),
        style=style,
        subfolders=subfolders,
        out=out,
        batch=batch,
        overwrite=overwrite,
        keep_metadata=keep_metadata,
        roi_manager=roi_manager,
        beside=beside,
        progress=progress,
    )
