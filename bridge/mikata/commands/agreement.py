"""Explain > Reader Agreement...: who found what, of network and human, by a reference."""

from typing import Annotated, Literal

from mikata.command import InputPath, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Reader Agreement...", "Explain")
def agreement(
    data: InputPath,
    *,
    positive: str = "positive",
    negative: str = "negative",
    threshold_percent: Annotated[float, Range(0, 100)] = 0.0,
    prevalence_percent: Annotated[float, Range(0, 99.999)] = 0.0,
    reference: str = "",
    model: ModelPath | None = None,
    cell: Literal["none", "A", "B", "C", "D", "E", "F", "G", "H"] = "none",
    stack_size_px: Annotated[int, Range(16, 4096)] = 512,
    layer: str = "",
    out: OutputPath = None,
    batch: Annotated[int, Range(1, 4096)] = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """What network and human each found and missed by a reference such as pathology, with intervals and paired tests.

    Parameters
    ----------
    data : Data (CSV)
        Table with the columns file (or case), network, human, reference, and where they are known patient and lesion.
    positive : Positive (word)
        The word that means positive in the table (several with ; between); with a model, its positive classes.
    negative : Negative (word)
        The word that means negative in the table (several with ; between); with a model, its other classes.
    threshold_percent
        From which probability on the network's call is positive; 0: the column network holds words, or with a model
        the most probable class decides.
    prevalence_percent
        Share of positives for which predictive values are given; 0: the share in the table.
    reference : Reference (name)
        What the column reference rests on, such as pathology, for the report.
    model : Model (folder or .zip, in place of the column network)
        Folder or .zip of a BioImage.IO package that Mikata has trained; it is run on the column file. Or the
        name of one that comes with Mikata; ./name is what lies on the disk under that name.
    cell : Cell to open as a stack
        Whose images to open. Positive by the reference: A human only (the network missed it), B both, C network only, D
        neither. Negative by it: E human only, F both, G network only, H neither.
    stack_size_px
        Side of the stack's slices; images are scaled to fit.
    layer
        Dotted name of the network's layer for the heat maps on the stack; when left empty, the last one with spatial
        extent.
    out : Save to folder
        Folder for the report, the tables and the stack; when left empty, ImageJ shows tables and stack, and the
        command line makes a folder.
    batch : Batch size
        How many images go through the network at once; less needs less memory.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    keep_metadata
        Put the names of files, cases and lesions into results; they may name the patient.
    """
    from mikata.readers import agree

    return agree(
        data,
        positive=positive,
        negative=negative,
        threshold=threshold_percent / 100 or None,
        prevalence=prevalence_percent / 100 or None,
        reference=reference,
        model=model,
        cell=cell,
        stack_size=stack_size_px,
        layer=layer,
        out=out,
        batch=batch,
        overwrite=overwrite,
        keep_metadata=keep_metadata,
        progress=progress,
    )
