"""Help > Mikata Doctor...: on which device work will run, and what stands in its way."""

from mikata.command import OutputPath, command
from mikata.types import SILENT, Progress, Result


@command("Mikata Doctor...", "Help")
def doctor(
    *,
    skip_self_test: bool = False,
    report: OutputPath = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """On which device work will run, why if not on the GPU, and what to type; with a self-test.

    Parameters
    ----------
    skip_self_test : Skip self-test
        Leave out training, predicting and explaining once on small photographs, which takes up to a minute.
    report : Save report to (text file)
        Text file for the whole table; when left empty, it is only shown.
    overwrite : Overwrite existing files
        Replace the text file if it is already there.
    """
    from mikata.checkup import examine

    return examine(self_test=not skip_self_test, report=report, overwrite=overwrite, progress=progress)
