"""A folder of class folders of formula pictures, with a record of how they were drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mikata.errors import OutputError
from mikata.fractals.drawing import Style, picture
from mikata.fractals.gallery import Batch, batches, check_counts, enough_cores, first_systems
from mikata.fractals.systems import (
    FILLING_RATE,
    SEARCH_PADDING,
    SEARCH_POINTS,
    SEARCH_SIZE,
    WEIGHTS,
    System,
)
from mikata.fractals.workers import spread
from mikata.language import say
from mikata.outputs import probe, written_folder
from mikata.types import SILENT, Progress

RECORD = "formula.json"
"""The record in the folder: rule, seed, parameters and systems."""


@dataclass(frozen=True)
class Drawn:
    """A folder of formula pictures.

    `systems` are its classes in order; `count` says how many pictures there are in all.
    """

    folder: Path
    record: Path
    systems: tuple[System, ...]
    count: int


@dataclass(frozen=True)
class _Files:
    """A batch and the folder of its class, with the digits of its files' numbers."""

    batch: Batch
    folder: Path
    digits: int


def write_folder(
    folder: Path,
    classes: int,
    per_class: int,
    style: Style,
    seed: int,
    *,
    overwrite: bool = False,
    cores: int = 0,
    progress: Progress = SILENT,
) -> Drawn:
    """Write ``class_0001/image_0001.png`` and so on, and `RECORD`, all or nothing.

    Parameters
    ----------
    folder:
        Where; it must not exist, unless `overwrite` is set and it is a folder of formula pictures or empty.
    classes, per_class, style, seed, cores:
        As for `mikata.fractals.pictures`: class_0001 is class 0, image_0001 its picture 0.

    Raises
    ------
    OutputError
        If the folder is there already, or cannot be written.
    ParameterError
        If something is out of its range.
    Cancelled
        When the user asked to stop; nothing is left then.
    """
    check_counts(per_class)
    _check(folder, overwrite)
    probe(folder.parent)
    found = first_systems(classes, seed, cores=cores, progress=progress)
    total, done = classes * per_class, 0
    words = say("Drawing formula pictures")
    digits = max(4, len(str(per_class)))
    with written_folder(folder) as beside:
        names = class_names(classes)
        for name in names:
            (beside / name).mkdir()
        jobs = [
            _Files(batch, beside / names[batch.system.number], digits)
            for batch in batches(found, 0, per_class, style, seed)
        ]
        for _, count in spread(draw_files, jobs, enough_cores(cores, total), progress):
            done += count
            progress.step(words, done, total)
        (beside / RECORD).write_text(_record(found, per_class, style, seed), encoding="utf-8", newline="\n")
    return Drawn(folder, folder / RECORD, found, total)


def class_names(classes: int) -> list[str]:
    """``class_0001`` and so on; the digits suffice for all."""
    digits = max(4, len(str(classes)))
    return [f"class_{number + 1:0{digits}}" for number in range(classes)]


def draw_files(job: _Files) -> int:
    """Draw the pictures of a batch into their files, and say how many."""
    import PIL.Image

    batch = job.batch
    for index in range(batch.first, batch.first + batch.count):
        drawn = picture(batch.system, index, batch.style, batch.seed)
        # random dots hardly compress: a higher level takes twice the time for a tenth of the size
        PIL.Image.fromarray(drawn).save(job.folder / f"image_{index + 1:0{job.digits}}.png", compress_level=1)
    return batch.count


def _check(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(say("{folder} is a file; give a folder for the pictures.", folder=folder))
    if not overwrite:
        raise OutputError(
            say(
                "{folder} is already there. Choose another folder, or let the command overwrite it.",
                folder=folder,
            )
        )
    if not (folder / RECORD).is_file() and any(folder.iterdir()):
        # it would be deleted with all that is in it
        raise OutputError(
            say(
                "{folder} holds something else than formula pictures (there is no {record} in it), so it is not "
                "overwritten. Choose another folder.",
                folder=folder,
                record=RECORD,
            )
        )


def _record(found: tuple[System, ...], per_class: int, style: Style, seed: int) -> str:
    names = class_names(len(found))
    record: dict[str, Any] = {
        "rule": {
            "name": "FractalDB",
            "source": "Kataoka et al., Pre-training without Natural Images, ACCV 2020 (arXiv 2101.08515)",
            "maps": "2 to 7, parameters a..f from U(-1, 1): x' = a x + b y + e, y' = c x + d y + f",
            "probabilities": "proportional to |a d - b c|",
            "kept_from_filling_rate": FILLING_RATE,
            "search_points": SEARCH_POINTS,
            "search_size_px": SEARCH_SIZE,
            "search_padding_px": SEARCH_PADDING,
        },
        "seed": seed,
        "classes": len(found),
        "per_class": per_class,
        "size_px": list(style.size),
        "padding_px": style.padding,
        "variation": style.variation,
        "dots": style.dots,
        "colour": style.colour,
        "points": style.points,
        "weights": [list(row) for row in WEIGHTS] if style.variation == "weights" else [],
        "systems": [
            {
                "class": name,
                "filling_rate": one.filling_rate,
                "tries": one.tries,
                "weights_left_out": [row for row in range(len(WEIGHTS)) if row not in one.variations],
                "probabilities": list(one.probabilities),
                "maps": [list(row) for row in one.maps],
            }
            for name, one in zip(names, found, strict=True)
        ],
    }
    # one line for each entry and each system: a person finds what is sought, and a program reads it as well
    lines = []
    for key, value in record.items():
        if key == "systems":
            words = "[\n  " + ",\n  ".join(json.dumps(one) for one in value) + "\n ]"
        else:
            words = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {words}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
