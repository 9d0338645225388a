"""Explain > Overlap of Regions...: heat, a human's regions and a reference's, over each other."""

from typing import Annotated

from mikata.command import Images, InputPath, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Overlap of Regions...", "Explain")
def region_overlap(
    images: Images,
    *,
    human: InputPath,
    reference: InputPath | None = None,
    heat: InputPath | None = None,
    model: ModelPath | None = None,
    target: str = "predicted",
    layer: str = "",
    level_percent: Annotated[float, Range(1, 100)] = 50.0,
    out: OutputPath = None,
    batch: Annotated[int, Range(1, 4096)] = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Overlap of heat at 10 to 90 % of its maximum with a human's and a reference's regions: areas, IoU, Dice, colours.

    Parameters
    ----------
    images : Images (empty: current)
        A file, a folder, or several with ; between, of one plane each; in ImageJ, when left empty, the current image.
    human : Human's regions (ROI set, mask or folder)
        ROIs (.roi, .zip, or a TIFF with overlay), or a mask or label image; for several images a folder with one for each,
        named as the image.
    reference : Reference regions (ROI set, mask or folder)
        The same of a reference such as pathology; when left empty, only heat and human are compared.
    heat : Heat map (image or folder)
        A 32-bit heat map of one class; for several images a folder with NAME heat.tif for each. Or give a model.
    model : Model (folder or .zip, in place of a heat map)
        Folder or .zip of a BioImage.IO package that Mikata has trained; it makes the heat maps. Or the name
        of one that comes with Mikata; ./name is what lies on the disk under that name.
    target
        With a model, the class to explain: predicted, or the name of a class.
    layer
        Dotted name of the network's layer to look at; when left empty, the last one with spatial extent.
    level_percent : Draw heat at level (%)
        Level of the heat that is outlined beside the regions; the table has the levels 10 to 90 %.
    out : Save to folder
        Folder for the table and the images with their overlays; when left empty, ImageJ shows them, and the command
        line makes a folder.
    batch : Batch size
        How many images go through the network at once; less needs less memory.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    keep_metadata
        Carry the header of a DICOM file over into results; it may name the patient.
    roi_manager : Outlines into the ROI Manager
        Put the outlines into ImageJ's ROI Manager too; without ImageJ this changes nothing.
    """
    from mikata.readers import overlap_regions

    return overlap_regions(
        images,
        human=human,
        reference=reference,
        heat=heat,
        model=model,
        target=target,
        layer=layer,
        drawn_percent=level_percent,
        out=out,
        batch=batch,
        overwrite=overwrite,
        keep_metadata=keep_metadata,
        roi_manager=roi_manager,
        progress=progress,
    )
