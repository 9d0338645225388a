"""The images that an explanation is about, and what is known of them: labels and patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mikata import datasets
from mikata.datasets import Dataset, Entry
from mikata.errors import DataError, ParameterError
from mikata.images import Images, looks_like_image
from mikata.language import say
from mikata.types import Progress

Part = Literal["all", "training", "selection", "test"]

_TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class Material:
    """Images, and their entries where they are labelled.

    Attributes
    ----------
    source:
        The images, read one after the other.
    entries:
        By the image's name in `source`; empty where nothing is known but the images.
    skipped:
        Files that the labels name but that cannot be used, each with the reason.
    """

    source: Images
    entries: dict[str, Entry]
    skipped: tuple[tuple[Path, str], ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether there are true classes."""
        return bool(self.entries) and all(entry.label for entry in self.entries.values())

    @property
    def has_patients(self) -> bool:
        """Whether the patient of every image is known."""
        return bool(self.entries) and all(entry.patient for entry in self.entries.values())


def material(given: Any, *, part: Part, subfolders: bool, progress: Progress) -> Material:
    """Take images, or labelled data: a CSV, or a folder of class folders without images of its own.

    Parameters
    ----------
    given:
        Whatever `Images.of` takes, or a table or folder as `mikata.datasets.read` takes it.
    part:
        Of the split that the table states; ``all`` for every image.
    subfolders:
        Whether a folder's folders are searched for images, which then have no labels.

    Raises
    ------
    DataError, ImageError
        As the data and images make it.
    ParameterError
        If a part is asked for where no table states one.
    """
    path = _labelled(given, subfolders)
    if path is None:
        if part != "all":
            raise ParameterError(
                say(
                    "part={part} needs labelled data: give a CSV with the columns file, label and split as images.",
                    part=part,
                )
            )
        return Material(Images.of(given, recursive=subfolders), {})
    data = datasets.read(path, for_training=False, progress=progress)
    entries = data.entries if part == "all" else _part(data, part)
    source = Images.of([entry.file for entry in entries])
    return Material(source, dict(zip(source.names, entries, strict=True)), data.skipped)


def subset_of(given: Any, condition: str, found: Material) -> frozenset[str]:
    """Names of the images of a table's rows that meet ``column=value``; of an empty condition none.

    Raises
    ------
    ParameterError, DataError
        As `mikata.datasets.files_where`; also where the images come without a table, or none of them is in the subset.
    """
    if not condition:
        return frozenset()
    path = _labelled(given, False)
    if path is None or path.suffix.lower() not in _TABLES:
        raise ParameterError(
            say("subset={condition} needs a CSV with that column as images.", condition=condition)
        )
    files = datasets.files_where(path, condition)
    names = frozenset(name for name, entry in found.entries.items() if entry.file in files)
    if not names:
        raise DataError(
            say(
                "{path}: no image of the part that was asked for has {condition}.",
                path=path,
                condition=condition,
            )
        )
    return names


def _labelled(given: Any, subfolders: bool) -> Path | None:
    """The table or the folder of class folders, None where images are given as such."""
    members = list(given) if isinstance(given, (list, tuple)) else [given]
    paths = [Path(member) for member in members if isinstance(member, (str, Path))]
    tables = [path for path in paths if path.suffix.lower() in _TABLES]
    if tables and len(members) > 1:
        raise ParameterError(
            say("{path} is a table of labels: give it alone, it names its images.", path=tables[0])
        )
    if tables:
        return tables[0]
    if len(members) != 1 or not paths or not paths[0].is_dir() or subfolders:
        return None
    inside = [item for item in paths[0].iterdir() if not item.name.startswith(".")]
    folders = [item for item in inside if item.is_dir()]
    return paths[0] if folders and not any(i.is_file() and looks_like_image(i) for i in inside) else None


def _part(data: Dataset, part: Part) -> tuple[Entry, ...]:
    found = tuple(entry for entry in data.entries if entry.split == part)
    if not found:
        stated = sorted({entry.split for entry in data.entries} - {""})
        if stated:
            raise DataError(
                say(
                    "{path} has no image whose split is {part}; it has {stated}.",
                    path=data.path,
                    part=part,
                    stated=", ".join(stated),
                )
            )
        raise DataError(
            say(
                "{path} states no split, so there is no part {part}: use part=all.", path=data.path, part=part
            )
        )
    return found


def class_numbers(entries: dict[str, Entry], classes: tuple[str, ...], model: str) -> dict[str, int]:
    """The number of each image's true class in a network's order.

    Raises
    ------
    DataError
        If the network has no class of that name.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({entry.label for entry in entries.values()} - numbers.keys())
    if unknown:
        raise DataError(
            say(
                "The labels {labels} are no classes of {model}, which has {classes}. Use the labels that it was trained "
                "with.",
                labels=", ".join(unknown),
                model=model,
                classes=", ".join(classes),
            )
        )
    return {name: numbers[entry.label] for name, entry in entries.items()}
