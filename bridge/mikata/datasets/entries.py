"""What a data set is made of, and the one order of its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mikata.datasets.boxes import Box
from mikata.language import english

PARTS = ("training", "selection", "test")
"""Parts of a split: the first trains, the second chooses the epoch, the third is used once, at the end."""

EVERY = "all"
"""Label of every image of masks or boxes: the parts of a split are not balanced by anything."""

NOT_STATED = "not stated"
"""Stands for an empty reference: what the truth of an image rests on is unknown."""


@dataclass(frozen=True)
class Picture:
    """What was seen of an image file when the data set was read.

    Attributes
    ----------
    channels, height, width:
        Of its one plane; a colour image whose three channels are equal counts as 1 channel.
    unit:
        Unit of its calibrated values, such as ``HU`` or ``grey``.
    eight_bit:
        Whether its values are plain 8-bit numbers (0..255).
    digest:
        SHA-256 of its calibrated values and their shape, hexadecimal: the same for a copy in another format.
    """

    channels: int
    height: int
    width: int
    unit: str
    eight_bit: bool
    digest: str


@dataclass(frozen=True)
class Mask:
    """What was seen of the mask of an image when the data set was read.

    Attributes
    ----------
    file:
        A label image, ROIs, or the image itself where the ROIs are its overlay.
    digest:
        SHA-256 of the classes and objects it holds, hexadecimal.
    present:
        Numbers of the classes in it, from 1, ascending; none where it is empty.
    objects:
        How many objects it holds.
    """

    file: Path
    digest: str
    present: tuple[int, ...]
    objects: int


@dataclass(frozen=True)
class Entry:
    """One labelled image.

    Attributes
    ----------
    file:
        The image file.
    label:
        Name of its class; empty where it has a value instead.
    patient:
        The table's own alias, or a salted hash of the patient's id out of the table or, where that has none,
        the DICOM header; never the id. Empty when unknown.
    study, phase, view, laterality, lesion, site, reference:
        As in the table; empty when it has no such column. `reference` is what the truth rests on.
    split:
        ``training``, ``selection``, ``test``, or empty when the table does not say.
    picture:
        What was seen when the file was read.
    value:
        What was measured, finite, in the data set's unit; None where the image has a class instead.
    mask:
        What each of its pixels is, where that is known; its label is then the same for all images.
    boxes:
        Where its objects are, where that is known, with none in an image without objects; its label is then the same
        for all images.
    """

    file: Path
    label: str
    picture: Picture
    patient: str = ""
    study: str = ""
    phase: str = ""
    view: str = ""
    laterality: str = ""
    lesion: str = ""
    site: str = ""
    split: str = ""
    reference: str = ""
    value: float | None = None
    mask: Mask | None = None
    boxes: tuple[Box, ...] | None = None


def references_of(entries: Iterable[Entry]) -> dict[str, int]:
    """What the truth of images rests on: number of images for each value of `reference`."""
    return dict(sorted(Counter(entry.reference or NOT_STATED for entry in entries).items()))


@dataclass(frozen=True)
class Dataset:
    """Labelled images that were all opened once and found readable.

    Attributes
    ----------
    path:
        The folder or table it was read from.
    entries:
        The images, in the order of the table or, from a folder, by class and natural order of names.
    classes:
        Names of the classes in natural order (``class 2`` before ``class 10``); none where images have values.
    skipped:
        Files that are named or found but cannot be used, each with the reason.
    fingerprint:
        SHA-256 over the pixels of all images with their labels; the order and the names do not matter.
    ignored_columns:
        Columns of the table that Mikata does not know.
    unit:
        Unit of the images' values, as the table's column ``value [unit]`` says; empty where it says none.
    """

    path: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]
    fingerprint: str
    ignored_columns: tuple[str, ...] = ()
    unit: str = ""

    @property
    def values(self) -> bool:
        """Whether images have a value each (a regression) instead of a class."""
        return bool(self.entries) and self.entries[0].value is not None

    @property
    def has_patients(self) -> bool:
        """Whether every image has a patient, so that a split can keep patients together."""
        return all(entry.patient for entry in self.entries)

    @property
    def grouping(self) -> str:
        """How a split keeps images together, in English words for records."""
        return self.grouping_words(english)

    def grouping_words(self, say: Callable[..., str]) -> str:
        """How a split keeps images together; `say` gives the words their language."""
        if self.has_patients:
            return say("patient-wise")
        known = sum(bool(entry.patient) for entry in self.entries)
        if known:
            return say(
                "patient-wise for {known} of {count} images, image-wise where no patient is known",
                known=known,
                count=len(self.entries),
            )
        if all(entry.study for entry in self.entries):
            return say("study-wise, no patient known")
        return say("image-wise, no patient known")

    @property
    def references(self) -> dict[str, int]:
        """What the truth rests on: number of images for each value of `reference`."""
        return references_of(self.entries)

    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        found = Counter(entry.label for entry in self.entries)
        return {name: found[name] for name in self.classes}
