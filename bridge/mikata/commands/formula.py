"""Learn > Formula Pictures...: fractals to learn from before there are images."""

from pathlib import Path
from typing import Annotated, Literal

from mikata.command import OutputPath as Out
from mikata.command import Range, command
from mikata.language import say
from mikata.types import SILENT, Progress, Result


@command("Formula Pictures...", "Learn")
def formula(
    *,
    out: Out,
    classes: Annotated[int, Range(2, 100000)] = 100,
    per_class: Annotated[int, Range(1, 100000)] = 25,
    size_px: Annotated[int, Range(16, 4096)] = 224,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    variation: Literal["weights", "perturbed"] = "weights",
    dots: Literal["patch", "point"] = "patch",
    colour: bool = False,
    points: Annotated[int, Range(1000, 10000000)] = 100000,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Fractal pictures drawn by a formula, as a folder of class folders: something to learn from first.

    Parameters
    ----------
    out : Picture folder
        Folder to make; it gets one folder of PNG images for each class, which Train Network reads, and
        formula.json, which says how they were drawn.
    classes
        Number of classes; each is a fractal of its own.
    per_class : Pictures a class
        Number of pictures of each class.
    size_px : Size (px)
        Height and width of a picture.
    seed
        The same seed draws the same pictures, on every computer.
    variation
        How the pictures of a class differ: weights changes the formula's numbers and flips, as FractalDB does;
        perturbed keeps the fractal and stretches, shears and flips it, for few pictures a class.
    dots
        How a point is drawn: patch takes 3 x 3 random pixels, point takes one.
    colour : In colour
        Draw in colours instead of grey.
    points
        Number of points of a picture.
    overwrite : Overwrite existing pictures
        Replace a folder of formula pictures that is already there.
    """
    from mikata.fractals import Style, montage, write_folder

    assert isinstance(out, Path)
    style = Style((size_px, size_px), variation, dots, colour, points)
    drawn = write_folder(out, classes, per_class, style, seed, overwrite=overwrite, progress=progress)
    return Result(
        say(
            "{count} pictures of {classes} fractal classes are in {folder}.",
            count=drawn.count,
            classes=classes,
            folder=drawn.folder,
        ),
        images=(montage(drawn.systems, style, seed),),
        files=(drawn.folder, drawn.record),
    )
