"""Images and what lies beside them under the same names, or on them as an overlay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mikata import regions
from mikata.datasets.entries import PARTS, Entry
from mikata.datasets.reading import is_litter
from mikata.errors import DataError, RegionError
from mikata.images import looks_like_image, natural_key
from mikata.language import say

_BEHIND = (" labels", " ROIs", "_labels", "_label", "_mask", "_masks", "-labels", "-mask")
"""What follows an image's name in that of its mask where the two are not the same: Segment Images' own and usual ones."""


def files_of(folder: Path) -> list[Path]:
    """The files of a folder in natural order, without what systems leave there."""
    return sorted(
        (item for item in folder.iterdir() if item.is_file() and not is_litter(item)),
        key=lambda item: natural_key(item.name),
    )


def by_name(
    images: Path,
    folders: Sequence[Path],
    accepts: Callable[[Path], bool],
    missing: Callable[[Path, Sequence[Path]], str],
) -> dict[Path, Path]:
    """For each image of a folder the one file of the same name, whatever its ending, in other folders.

    Where there is none, one with a word for what it is behind the name will do.

    Parameters
    ----------
    accepts:
        Whether a file is looked at.
    missing:
        What is said of an image that has none.

    Raises
    ------
    DataError
        If an image has none or two, two images have one name, or there is no image.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for file in filter(accepts, files_of(folder)):
            found.setdefault(file.stem, []).append(file)
    pairs = {}
    stems: dict[str, Path] = {}
    for file in filter(looks_like_image, files_of(images)):
        if file.stem in stems:
            raise DataError(
                say(
                    "{one} and {other} have the same name, so that their masks cannot be told apart.",
                    one=stems[file.stem],
                    other=file,
                )
            )
        stems[file.stem] = file
        own = found.get(file.stem) or [one for end in _BEHIND for one in found.get(file.stem + end, [])]
        if not own:
            raise DataError(missing(file, folders))
        if len(own) > 1:
            raise DataError(
                say(
                    "{file} has two files of its name: {one} and {other}. Keep one.",
                    file=file,
                    one=own[0],
                    other=own[1],
                )
            )
        pairs[file] = own[0]
    if not pairs:
        raise DataError(say("{folder} holds no image that can be used.", folder=images))
    return pairs


def with_overlays(folder: Path) -> list[Path]:
    """The TIFFs of a folder, each of which has an overlay.

    Raises
    ------
    DataError
        If one has none, or it cannot be read.
    """
    pairs = []
    for file in files_of(folder):
        if file.suffix.lower() in (".tif", ".tiff") and looks_like_image(file):
            try:
                drawn = bool(regions.read(file))
            except RegionError as error:
                raise DataError(str(error)) from error
            if not drawn:
                raise DataError(
                    say(
                        "{file} has no overlay. Draw its objects and save it with them (Image > Overlay > Add Selection...), "
                        "or give a folder with the folders images and masks (or, for detection, images, rois and empty).",
                        file=file,
                    )
                )
            pairs.append(file)
    return pairs


def refuse_none(path: Path, entries: Sequence[Entry], skipped: Sequence[tuple[Path, str]]) -> None:
    """Refuse a data set (`DataError`) of which no image can be used."""
    if entries:
        return
    file, reason = skipped[0]
    raise DataError(
        say(
            "None of the {count} images of {path} can be used. The first is {file}: {reason}",
            count=len(skipped),
            path=path,
            file=file,
            reason=reason,
        )
    )


def refuse_two_truths(path: Path, entries: Sequence[Entry], truth: Callable[[Entry], object]) -> None:
    """Refuse a data set (`DataError`) that has the same picture twice with different objects, whatever its files are called."""
    first: dict[str, Entry] = {}
    for entry in entries:
        before = first.setdefault(entry.picture.digest, entry)
        if before is not entry and truth(before) != truth(entry):
            raise DataError(
                say(
                    "{path}: {one} and {other} are the same picture with different objects. Remove one, or put all of its "
                    "objects together.",
                    path=path,
                    one=before.file,
                    other=entry.file,
                )
            )


def refuse_few(path: Path, entries: Sequence[Entry]) -> None:
    """Refuse a data set (`DataError`) that is too small for three parts."""
    patients = {entry.patient for entry in entries}
    if len(entries) < len(PARTS) or (all(patients) and len(patients) < len(PARTS)):
        raise DataError(
            say(
                "{path}: its {images} image(s) are too few, or of fewer than three patients. It takes at least three, one "
                "each to train, to choose the best epoch and to test.",
                path=path,
                images=len(entries),
            )
        )
