"""Predict > Segment Images...: what a network says of every pixel."""

from typing import Annotated, Literal

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Segment Images...", "Predict")
def segment(
    images: Images,
    *,
    model: ModelPath,
    result: Literal["both", "labels", "rois", "table"] = "both",
    numbers: Literal["automatic", "classes", "objects"] = "automatic",
    detections: Literal["boxes", "points"] = "boxes",
    probabilities: bool = False,
    min_probability_percent: Annotated[float, Range(0, 100)] = 0.0,
    min_size_px: Annotated[int, Range(0, 1_000_000_000)] = 0,
    tile_px: Annotated[int, Range(0, 65_536)] = 0,
    subfolders: bool = False,
    out: OutputPath = None,
    overwrite: bool = False,
    roi_manager: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Labels, ROIs, points or a restored image of every plane of the images, and a table of what is found.

    Parameters
    ----------
    images : Images (empty: current)
        A file, a folder, or several with ; between; in ImageJ, when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package whose network makes an image of an image. Or the name of one
        that comes with Mikata; ./name is what lies on the disk under that name.
    result : Make
        What to make besides the tables: label images, ROIs, both, or nothing more (table). Of networks that find points
        there are no label images; of networks that restore an image there is that image alone.
    numbers : Labels show
        What the numbers of a label image stand for: classes, or objects one by one; automatic: objects where the network
        tells touching ones apart, else classes.
    detections
        How places that a network finds are drawn: as boxes of the size that it gives, or as points.
    probabilities : Keep all probabilities
        Give all channels of the network's output as a 32-bit image too; it takes much memory.
    min_probability_percent : Probability at least (%)
        What has less than this probability counts as background; 0: as the package says, or the most probable class, and
        50 for masks and points.
    min_size_px : Smallest object (px)
        Objects of fewer pixels are left out, also of the label image; 0: as the package says, and 1 for all.
    tile_px : Tile side (px)
        Side of the tiles in which large images go through the network; 0: as is fastest and fits into memory.
    subfolders : Search folders in folders
        Take the images of folders inside a folder too.
    out : Save to folder
        Folder for the results; when left empty, ImageJ shows them, and the command line makes a folder.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    roi_manager : ROIs into the ROI Manager
        Put the ROIs into ImageJ's ROI Manager too; without ImageJ this changes nothing.
    """
    from mikata.segmenting.asked import Asked
    from mikata.segmenting.running import segment_images

    return segment_images(
        images,
        model,
        asked=Asked(
            result,
            numbers,
            detections,
            probabilities,
            min_probability_percent / 100,
            min_size_px,
            tile_px,
        ),
        subfolders=subfolders,
        out=out,
        overwrite=overwrite,
        roi_manager=roi_manager,
        progress=progress,
    )
