"""What can go wrong, as a tree.

    MikataError                 one sentence for the user: what is wrong, in which file, what to do
    ├── ParameterError          a parameter's name, value or range (also unknown macro keys)
    ├── ImageError              an image that is missing, unreadable or of the wrong kind
    ├── RegionError             a ROI or overlay that is missing, unreadable or of the wrong kind
    ├── DataError               a data set, its table, labels or split
    ├── RecipeError             a training recipe
    ├── TrainingError           a training that cannot go on
    ├── PackageError            a BioImage.IO package that is missing, corrupt or foreign
    ├── NetworkError            a network, a layer or a target class
    ├── OutputError             a disk or folder that cannot be written
    ├── ImageJError             ImageJ or Java cannot be started or reached
    │   └── MacroError          a macro that stopped; holds ImageJ's and Python's words
    └── Cancelled               the user asked to stop; what was finished is kept

Doors show a `MikataError` as its sentence alone; every other exception keeps its traceback.
"""

from __future__ import annotations

from mikata.language import say


class MikataError(Exception):
    """Something the user can act on."""


class ParameterError(MikataError):
    """A parameter's name, value or range is wrong."""


class ImageError(MikataError):
    """An image is missing, unreadable or of the wrong kind."""


class RegionError(MikataError):
    """A ROI or overlay is missing, unreadable or of the wrong kind."""


class DataError(MikataError):
    """A data set, its table, its labels or its split is wrong."""


class RecipeError(MikataError):
    """A training recipe is wrong."""


class TrainingError(MikataError):
    """A training cannot go on."""


class PackageError(MikataError):
    """A BioImage.IO package is missing, corrupt or not one that Mikata can use."""


class NetworkError(MikataError):
    """A network, a layer or a target class does not exist or does not fit."""


class OutputError(MikataError):
    """A disk or folder cannot be written."""


class ImageJError(MikataError):
    """ImageJ or Java cannot be started or reached."""


class MacroError(ImageJError):
    """A macro stopped with an error."""


class Cancelled(MikataError):
    """The user asked to stop."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(say("Cancelled.") if message is None else message)
