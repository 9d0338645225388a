"""From labelled images to a tested package with a report: the work of the Train command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import datasets, packaging, report
from mikata.evaluation import Report, ValueReport
from mikata.language import say
from mikata.learning.alone import Alone
from mikata.learning.learnt import Learnt
from mikata.learning.page import sections
from mikata.learning.places import Places
from mikata.learning.tuning import Tuning, judge
from mikata.outputs import write_csv, write_text
from mikata.training import Run, train
from mikata.training import recipe as recipes
from mikata.training.ensembles import Ensemble
from mikata.training.processes import main_process
from mikata.types import SILENT, Progress


@dataclass(frozen=True, eq=False)
class Told:
    """What a package says of itself that nobody can know but who makes it.

    Attributes
    ----------
    name, authors, licence:
        As `mikata.packaging.write` takes them.
    source:
        What the images are and under which licence, for the README.
    test_image:
        Input (C, H, W) of the package's test, of open licence; None draws one by formula, so that no
        patient's image leaves the building with a model.
    cover:
        Picture (H, W, 3), of open licence as well; None draws one.
    """

    name: str
    authors: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    test_image: NDArray[np.float32] | None = None
    cover: NDArray[np.uint8] | None = None


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
    name, authors, licence, source, test_image, cover:
        As of `Told`.
    resume:
        Whether to go on from what a training of the same recipe and data has left that did not end.

    Raises
    ------
    DataError, RecipeError, TrainingError, PackageError, OutputError
        As the data, recipe, training, words and disk make it. What can be known before the training is
        said before it. Existing files are only replaced by complete new ones, and only with `overwrite`.
    Cancelled
        If the user stopped it before the first epoch had ended. Later, the best weights are packaged.
    """
    places = Places(out)
    told = Told(name, authors, licence, source, test_image, cover)
    main = main_process()
    if main:
        places.refuse(name=name, licence=licence, overwrite=overwrite, resume=resume)
    else:
        progress = SILENT
    settings = recipes.read(recipe).change(**(changes or {}))
    dataset = datasets.read(data, progress=progress)
    run = train(dataset, settings, folder=places.checkpoints, progress=progress, resume=resume)
    if not main:
        raise SystemExit(0)  # of several processes that train together, the main one has all that follows
    # from here on nothing asks `progress` whether to stop: what was learnt is to be kept
    if run.stopped_by == "interrupted":
        progress.show(
            say("Stopped: what was learnt is tested and packaged, Ctrl-C again breaks that off too")
        )
    progress.show(say("Test"))
    run, scores, tuning = judge(run, progress=SILENT)
    return finish(places, run, scores, told, overwrite=overwrite, progress=progress, tuning=tuning)


def finish(
    places: Places,
    run: Run | Ensemble,
    scores: Report | ValueReport,
    told: Told,
    *,
    overwrite: bool,
    progress: Progress,
    tuning: Tuning | None = None,
    alone: Alone | None = None,
) -> Learnt:
    """Package what was trained and tested, check the package, report, and clear the checkpoints away.

    Parameters
    ----------
    tuning, alone:
        As of `Learnt`.

    Raises
    ------
    PackageError, OutputError
        As words and disk make it.
    """
    progress.show(say("Package"))
    packaging.write(
        places.package,
        run,
        scores,
        name=told.name,
        authors=told.authors,
        licence=told.licence,
        data=told.source,
        test_image=packaging.formula_image(run) if told.test_image is None else told.test_image,
        cover=told.cover,
        overwrite=overwrite,
    )
    packaging.zip_package(places.package, places.archive, overwrite=overwrite)
    progress.show(say("Check the package"))
    checked = packaging.check(places.package)
    learnt = Learnt(
        run, scores, places.package, places.archive, places.page, places.test_images, checked, tuning, alone
    )
    versions = (say("Versions"), report.pairs(report.versions()))
    title = say("Training of {name}", name=told.name)
    write_text(places.page, report.page(title, learnt.summary, [*sections(learnt), versions]))
    write_csv(places.test_images, learnt.predictions)
    if run.stopped_by != "interrupted":
        places.clear()
    return learnt
