"""Many pictures at once, in memory, on all cores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mikata.errors import MikataError, ParameterError
from mikata.fractals import systems as finding
from mikata.fractals.drawing import Dots, Style, Variation, picture
from mikata.fractals.systems import System, system
from mikata.fractals.workers import available_cores, spread
from mikata.language import say
from mikata.types import SILENT, Progress

BATCH = 64
"""Pictures that a process draws between two words to its parent."""

_FEW = 16  # pictures, or a quarter as many systems, for which a further process is not worth its start


@dataclass(frozen=True)
class Batch:
    """Pictures `first` to `first + count - 1` of one class."""

    system: System
    first: int
    count: int
    style: Style
    seed: int


def batches(found: tuple[System, ...], first: int, per_class: int, style: Style, seed: int) -> list[Batch]:
    """All pictures of all classes, class by class, in pieces of at most `BATCH`."""
    return [
        Batch(one, start, min(BATCH, first + per_class - start), style, seed)
        for one in found
        for start in range(first, first + per_class, BATCH)
    ]


def first_systems(
    classes: int, seed: int, *, cores: int = 0, progress: Progress = SILENT
) -> tuple[System, ...]:
    """The systems of classes 0 to `classes` - 1, found on all cores (`cores` 0) or on as many as said.

    Raises
    ------
    ParameterError
        If `classes` is below 1, or `seed` negative.
    Cancelled
        When the user asked to stop.
    """
    if classes < 1:
        raise ParameterError(
            say("{classes} classes of formula pictures cannot be drawn; give 1 or more.", classes=classes)
        )
    finding.check_seed(seed)
    missing = [number for number in range(classes) if not finding.known(seed, number)]
    words = say("Finding fractals")
    progress.step(words, classes - len(missing), classes)
    jobs = [(seed, number) for number in missing]
    for done, (_, found) in enumerate(spread(find, jobs, enough_cores(cores, 4 * len(jobs)), progress), 1):
        finding.remember(seed, found)
        progress.step(words, classes - len(missing) + done, classes)
    return tuple(system(seed, number) for number in range(classes))


def find(job: tuple[int, int]) -> System:
    """`system` for a job of `spread`."""
    return system(*job)


def pictures(
    classes: int,
    per_class: int,
    size: int | tuple[int, int],
    seed: int,
    *,
    first: int = 0,
    variation: Variation = "weights",
    dots: Dots = "patch",
    colour: bool = False,
    points: int = 100_000,
    cores: int = 0,
    progress: Progress = SILENT,
) -> NDArray[np.uint8]:
    """Pictures of `classes` classes, without any file: what a training learns from.

    Picture j of the result is number ``first + j % per_class`` of class ``j // per_class``, and the same whatever
    else is drawn: a training that wants new pictures in each epoch draws with ``first = epoch * per_class``.

    Parameters
    ----------
    classes, per_class:
        How many classes, and pictures of each; 1 or more.
    size:
        Height and width in pixels, or one number for both.
    seed:
        0 or more.
    first:
        Number of the first picture of each class, 0 or more.
    variation, dots, colour, points:
        See `Style`.
    cores:
        Processes; 0: one for each core. The result is the same.
    progress:
        Shown the pictures that are drawn.

    Returns
    -------
    uint8 (classes * per_class, height, width) of 0 and 127, with colour (..., 3).

    Raises
    ------
    ParameterError
        If something is out of its range.
    MikataError
        If the memory does not suffice.
    Cancelled
        When the user asked to stop.
    """
    style = Style((size, size) if isinstance(size, int) else size, variation, dots, colour, points)
    check_counts(per_class, first)
    found = first_systems(classes, seed, cores=cores, progress=progress)
    total = classes * per_class
    try:
        canvas = np.empty((total, *style.shape), np.uint8)
    except (MemoryError, ValueError):  # NumPy's second word for it: more than an address can say
        raise MikataError(
            say(
                "{count} formula pictures need {size:.1f} GB of memory, which is not there; draw fewer or smaller ones.",
                count=total,
                size=total * int(np.prod(style.shape)) / 1e9,
            )
        ) from None
    jobs = batches(found, first, per_class, style, seed)
    words, done = say("Drawing formula pictures"), 0
    for number, drawn in spread(draw, jobs, enough_cores(cores, total), progress):
        job = jobs[number]
        start = job.system.number * per_class + job.first - first
        canvas[start : start + job.count] = drawn
        done += job.count
        progress.step(words, done, total)
    return canvas


def draw(job: Batch) -> NDArray[np.uint8]:
    """The pictures of a batch: (count, ...)."""
    return np.stack([picture(job.system, job.first + i, job.style, job.seed) for i in range(job.count)])


def check_counts(per_class: int, first: int = 0) -> None:
    """Raise `ParameterError` where a number of pictures cannot be."""
    if per_class < 1 or first < 0:
        raise ParameterError(
            say(
                "{count} formula pictures a class from number {first} cannot be drawn; give 1 or more, from 0 on.",
                count=per_class,
                first=first,
            )
        )


def enough_cores(cores: int, pictures: int) -> int:
    """Processes for so many pictures: `cores`, or where it is 0 all that are worth their start."""
    if cores < 0:
        raise ParameterError(
            say("{cores} cores cannot draw; give 0 for all of them, or 1 or more.", cores=cores)
        )
    return cores or min(available_cores(), max(1, pictures // _FEW))
