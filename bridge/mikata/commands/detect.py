"""Predict > Detect Objects...: where a network sees lesions, cells or other things, each with a score."""

from typing import Annotated, Literal

from mikata.command import Images, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Detect Objects...", "Predict")
def detect(
    images: Images,
    *,
    model: ModelPath,
    detections: Literal["boxes", "points"] = "boxes",
    min_score_percent: Annotated[float, Range(0, 100)] = 0.0,
    tile_px: Annotated[int, Range(0, 65_536)] = 0,
    subfolders: bool = False,
    out: OutputPath = None,
    overwrite: bool = False,
    roi_manager: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Boxes or points where a network finds something in each plane of the images, with scores, and a table of them.

    Parameters
    ----------
    images : Images (empty: current)
        A file, a folder, or several with ; between; in ImageJ, when left empty, the current image or stack.
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package whose network finds points, as Train Detection makes them.
    detections
        How places that a network finds are drawn: as boxes of the size that it gives, or as points.
    min_score_percent : Score at least (%)
        What has less than this score is left out; 0: as the package says, which was chosen at its training, else 50.
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
            "rois",
            mark=detections,
            least=min_score_percent / 100,
            tile_px=tile_px,
            menu="Detect Objects",
        ),
        subfolders=subfolders,
        out=out,
        overwrite=overwrite,
        roi_manager=roi_manager,
        progress=progress,
    )
