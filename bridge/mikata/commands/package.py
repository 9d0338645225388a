"""Package > Export, Check and Import Package...: for a reader, what readers will refuse, and what others made."""

from pathlib import Path
from typing import Annotated, Literal

from mikata.command import InputPath, ModelPath, OutputPath, Range, command
from mikata.types import SILENT, Progress, Result


@command("Export Package...", "Package")
def export_package(
    *,
    model: ModelPath,
    out: OutputPath,
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
        Folder or .zip of a BioImage.IO package that Mikata has trained; it stays as it is. Or the name of one
        that comes with Mikata; ./name is what lies on the disk under that name.
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


@command("Check Package...", "Package")
def check_package(
    *,
    model: ModelPath,
    reader: Literal["both", "deepimagej", "zoo"] = "both",
    out: OutputPath = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Whether deepImageJ and the zoo's readers run a package: each point with its reason, and test tensors compared.

    Parameters
    ----------
    model : Package (folder or .zip)
        Folder or .zip of a BioImage.IO package of format 0.4 or 0.5, of Mikata or of another program. None of
        its code is executed. Or the name of one that comes with Mikata; ./name is what lies on the disk under
        that name.
    reader
        Whom the package is for: deepimagej, the programs that read the BioImage.IO zoo (bioimageio.core), or both.
    out : Save to folder
        Folder for the page and the tables; when left empty, ImageJ shows the tables, and the command line makes a folder.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    """
    from mikata.checkup.package import check_package as check

    return check(model, reader, out=out, overwrite=overwrite, progress=progress)


@command("Import Package...", "Package")
def import_package(
    *,
    out: OutputPath,
    model: InputPath | None = None,
    address: str = "",
    sha256: str = "",
    run_package_code: bool = False,
    run_torchscript: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """A BioImage.IO package of another program, judged and copied into a folder with a record of what can be used here.

    Parameters
    ----------
    out : Save to folder
        Folder for the package and its record, import.json.
    model : Package (folder or .zip)
        Folder or .zip of a BioImage.IO package of format 0.4 or 0.5; or leave it empty and give an address.
    address : Address (https)
        Where the package's .zip is on the internet, beginning with https://. Nothing else is fetched.
    sha256 : Checksum (SHA-256)
        Of the .zip, as its publisher states it: another file is refused, and a file fetched before is taken from the cache.
    run_package_code : Run code of the package
        Consent that the Python file that makes this package's network runs, now and later. It can do whatever you can on
        this computer: choose it only for a package whose code you or somebody you trust has read.
    run_torchscript : Unchecked TorchScript
        Consent that TorchScript with operations that Mikata does not know runs, now and later, as torch runs it. It can read
        and write files of yours: choose it only for a package whose makers you trust.
    overwrite : Overwrite an existing package
        Replace a package that is already there.
    """
    from mikata.packaging.import_words import import_message
    from mikata.packaging.importing import import_package as take

    assert isinstance(out, Path)
    made = take(
        model,
        out,
        address=address,
        sha256=sha256,
        run_package_code=run_package_code,
        run_torchscript=run_torchscript,
        overwrite=overwrite,
        progress=progress,
    )
    return Result(import_message(made), files=(made.folder,))
