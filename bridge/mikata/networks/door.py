"""The one door to networks from images to images, whoever made their package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.package import TRAINING_FILE, kind_of_record, read_pixel_network
from mikata.networks.package_files import opened
from mikata.networks.pixelwise import PixelNetwork

_LARGEST_RECORD = 16 * 2**20


def kind_of(path: Path) -> Literal["classifier", "segmentation", "detection", "foreign"]:
    """What a package holds, by the ``kind`` in its training record: a classifier's has none.

    Raises
    ------
    PackageError
        If it is missing, damaged or unsafe, or of a kind that only a newer Mikata knows.
    """
    with opened(path) as files:
        if not files.has(TRAINING_FILE):
            return "foreign"
        try:
            record = json.loads(files.read(TRAINING_FILE, _LARGEST_RECORD).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise PackageError(
                say("{path}: {file} is damaged and cannot be read.", path=path, file=TRAINING_FILE)
            ) from error
    if not isinstance(record, dict) or "mikata_format" not in record:
        return "foreign"
    return kind_of_record(record, path)


def pixel_network(path: Path) -> PixelNetwork:
    """Read a network from images to images from its package.

    Raises
    ------
    NetworkError
        If it is a classifier.
    PackageError
        If it is missing, damaged, unsafe, or cannot be run.
    """
    kind = kind_of(path)
    if kind == "classifier":
        raise NetworkError(
            say(
                "{model} is a classifier, which says what a whole image is. Use Predict Images for it, or give a network "
                "for segmentation or detection here.",
                model=path.name,
            )
        )
    if kind != "foreign":
        return read_pixel_network(path)
    from mikata.networks.importing import read_foreign_network  # bioimageio.core takes a second to load

    return read_foreign_network(path)
