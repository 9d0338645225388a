"""Package > Export Package...: a trained package anew for a reader, with heat maps inside if wanted."""

from pathlib import Path
from typing import Annotated, Literal

from mikata.command import InputPath, Range, command
from mikata.command import OutputPath as Out
from mikata.types import SILENT, Progress, Result


@command("Export Package...", "Package")
def export_package(
    *,
    model: InputPath,
    out: Out,
    reader: Literal["deepimagej", "zoo"] = "deepimagej",
    explain: bool = False,
    width_px: Annotated[int, Range(0, 4096)] = 0,
    height_px: Annotated[int, Range(0, 4096)] = 0,
    authors: str = "",
    licence: str = "",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """A trained package anew, for deepImageJ or the model zoo, on request with heat maps that need no Python.

    Parameters
    ----------
    model : Model (folder or .zip)
        Folder or .zip of a BioImage.IO package that Mikata has trained; it stays as it is.
    out : Package folder
        Folder for the new package; its zip for deepImageJ is put beside it.
    reader : For
        deepimagej: format 0.5.10 with TorchScript, which deepImageJ runs. zoo: the newest format, and ONNX too where
        the programs that write it are installed.
    explain : Heat maps as an output
        Compile Grad-CAM of every class into the network: deepImageJ then gives heat maps beside the probabilities.
    width_px : Width (heat maps)
        Width of the images that a network with heat maps takes, where it does not scale images; 0: its smallest. deepImageJ
        cuts larger images into tiles.
    height_px : Height (heat maps)
        Height of these images; 0: its smallest.
    authors
        Names for the package, separated by semicolons; when left empty, those of the package.
    licence
        SPDX name of the licence under which the package may be given on; when left empty, that of the package.
    overwrite : Overwrite an existing package
        Replace a package that is already there.
    """
    from mikata.language import joined, say
    from mikata.packaging import export

    assert isinstance(out, Path)
    made = export(
        model,
        out,
        reader=reader,
        explain=explain,
        size_px=(height_px, width_px) if height_px or width_px else None,
        authors=tuple(authors.split(";")),
        licence=licence,
        overwrite=overwrite,
        progress=progress,
    )
    size = {"height": made.size[0], "width": made.size[1]}
    sentences = [say("{folder} is written and passes its own test.", folder=made.folder)]
    if made.layer:
        sentences.append(
            say("It gives heat maps of every output (Grad-CAM, layer {layer}) beside it.", layer=made.layer)
        )
    if not made.dynamic:
        sentences.append(say("It takes images of exactly {width} x {height} px (width x height).", **size))
    if made.onnx:
        sentences.append(made.onnx)
    sentences.append(say("Research use, not for diagnosis."))
    return Result(joined(sentences), files=(made.folder, made.archive))
