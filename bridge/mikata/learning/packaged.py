"""From labelled images to a tested package with a report: the work of the Train command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets, packaging, report
from mikata.errors import OutputError
from mikata.language import say
from mikata.learning.learnt import Learnt
from mikata.learning.page import sections
from mikata.learning.tuning import judge
from mikata.outputs import probe, write_csv, write_text
from mikata.training import recipe as recipes
from mikata.training import train
from mikata.training.checkpoints import is_checkpoint
from mikata.training.processes import main_process
from mikata.training.stages import FORMULA, STAGE
from mikata.types import SILENT, Progress


def train_package(
    data: Path,
    out: Path,
    *,
    recipe: Path | None = None,
    changes: dict[str, Any] | None = None,
    name: str,
    authors: tuple[str, ...] = (),
    licence: str = "",
    source: str = "",
    overwrite: bool = False,
    resume: bool = False,
    test_image: NDArray[np.float32] | None = None,
    cover: NDArray[np.uint8] | None = None,
    progress: Progress,
) -> Learnt:
    """Split, train, test once, package, check the package, report.

    Parameters
    ----------
    data:
        Folder of class folders, or a CSV with labels or values; the network is for what the data have.
    out:
        Folder of the package. Its zip and the report stand beside it.
    recipe:
        File or name of a recipe; None: the default one.
    changes:
        Settings that replace the recipe's where they are not None, such as ``epochs``.
    source:
        What the images are and under which licence, for the package's README.
    resume:
        Whether to go on from what a training of the same recipe and data has left that did not end.
    test_image:
        Input (C, H, W) of the package's test, of open licence; None draws one by formula, so that no
        patient's image leaves the building with a model.
    cover:
        Picture (H, W, 3) of the package, of open licence as well; None draws one.

    Raises
    ------
    DataError, RecipeError, TrainingError, PackageError, OutputError
        As the data, recipe, training, words and disk make it. What can be known before the training is
        said before it. Existing files are only replaced by complete new ones, and only with `overwrite`.
    Cancelled
        If the user stopped it before the first epoch had ended. Later, the best weights are packaged.
    """
    archive, page, predictions = (
        out.with_name(out.name + end) for end in (".zip", " report.html", " test images.csv")
    )
    checkpoints = out.with_name(f"{out.name} training")
    main = main_process()
    if main:
        packaging.refuse_target(out, overwrite)
        packaging.refuse_words(name=name, licence=licence)
        for path in (archive, page, predictions):
            if path.exists() and not overwrite:
                raise OutputError(
                    say(
                        "{path} is already there. Choose another name for the package, or let Train overwrite it.",
                        path=path,
                    )
                )
        probe(out.parent)
        _refuse_other_files(checkpoints, overwrite or resume)
    else:
        progress = SILENT
    settings = recipes.read(recipe).change(**(changes or {}))
    dataset = datasets.read(data, progress=progress)
    run = train(dataset, settings, folder=checkpoints, progress=progress, resume=resume)
    if not main:
        raise SystemExit(0)  # of several processes that train together, the main one has all that follows
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    progress.show(say("Test"))
    run, scores, tuning = judge(run, progress=SILENT)
    progress.show(say("Package"))
    packaging.write(
        out,
        run,
        scores,
        name=name,
        authors=authors,
        licence=licence,
        data=source,
        test_image=packaging.formula_image(run) if test_image is None else test_image,
        cover=cover,
        overwrite=overwrite,
    )
    packaging.zip_package(out, archive, overwrite=overwrite)
    progress.show(say("Check the package"))
    learnt = Learnt(run, scores, out, archive, page, predictions, packaging.check(out), tuning)
    versions = (say("Versions"), report.pairs(report.versions()))
    title = say("Training of {name}", name=name)
    write_text(page, report.page(title, learnt.summary, [*sections(learnt), versions]))
    write_csv(predictions, learnt.predictions)
    if run.stopped_by != "interrupted":
        _clear(checkpoints)
    return learnt


def _refuse_other_files(folder: Path, replace: bool) -> None:
    """Look at the folder in which a training keeps its checkpoints until their weights are in a package.

    Raises
    ------
    OutputError
        If something else is there, or checkpoints of a training that did not end and are not to be replaced.
    """
    inside = list(folder.iterdir()) if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or not all(map(_is_ours, inside)):
        raise OutputError(
            say(
                "{folder} is already there and holds other files; the training keeps its checkpoints in a "
                "folder of this name. Choose another name for the package.",
                folder=folder,
            )
        )
    if inside and not replace:
        raise OutputError(
            say(
                "{folder} holds the weights of a training that did not end. Go on with it (resume), or let Train "
                "overwrite it.",
                folder=folder,
            )
        )


def _is_ours(path: Path) -> bool:
    """Whether a training has made this: a checkpoint, or the folder of a stage with nothing else inside."""
    if path.is_dir():
        named = path.name == FORMULA or path.name.startswith(STAGE)
        return named and not path.is_symlink() and all(map(_is_ours, path.iterdir()))
    return is_checkpoint(path.name)


def _clear(folder: Path) -> None:
    """Delete checkpoints whose weights are in a package now; what is not ours stays."""
    for path in folder.iterdir():
        if not _is_ours(path):
            continue
        if path.is_dir():
            _clear(path)
        else:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
