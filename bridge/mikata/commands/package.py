"""Package > Check Package...: what deepImageJ and the zoo's readers will refuse or silently get wrong, and why."""

from typing import Literal

from mikata.command import InputPath, OutputPath, command
from mikata.types import SILENT, Progress, Result


@command("Check Package...", "Package")
def check_package(
    *,
    model: InputPath,
    reader: Literal["both", "deepimagej", "zoo"] = "both",
    out: OutputPath = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Whether deepImageJ and the zoo's readers run a package: each point with its reason, and test tensors compared.

    Parameters
    ----------
    model : Package (folder or .zip)
        Folder or .zip of a BioImage.IO package of format 0.4 or 0.5, of Mikata or of another program. None of its code
        is executed.
    reader
        Whom the package is for: deepimagej, the programs that read the BioImage.IO zoo (bioimageio.core), or both.
    out : Save to folder
        Folder for the page and the tables; when left empty, ImageJ shows the tables, and the command line makes a folder.
    overwrite : Overwrite existing files
        Replace result files that are already in the folder.
    """
    from mikata.checkup.package import check_package as check

    return check(model, reader, out=out, overwrite=overwrite, progress=progress)
