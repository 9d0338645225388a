"""Many images, read one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mikata.errors import ImageError
from mikata.images.arrays import from_array
from mikata.images.natural import natural_key
from mikata.images.reading import looks_like_image, read
from mikata.language import say
from mikata.types import Image


@dataclass(frozen=True)
class _Item:
    name: str
    path: Path | None
    image: Image | None


class Images:
    """A sequence of images that reads each file when its turn comes.

    Made by :meth:`of`. Iterating gives an `Image` for each readable source; files that cannot be
    read are left out and listed in `skipped`. Iterating again reads again. At most one
    file's image is held in memory by this object.

    Attributes
    ----------
    names:
        One name for each source, unique: the file's stem, its whole name or its folder added where
        two are the same; the title of an `Image`.
    skipped:
        (file, reason) for each file that the latest iteration could not read.
    """

    def __init__(self, items: Iterable[_Item], *, keep_metadata: bool = False, origin: str = "") -> None:
        self._items = tuple(items)
        self._keep_metadata = keep_metadata
        self._origin = origin
        self.skipped: list[tuple[Path, str]] = []

    @classmethod
    def of(cls, source: Any, *, keep_metadata: bool = False, recursive: bool = False) -> Images:
        """Take images from a file, a folder, an `Image`, an array, or a list of these.

        Parameters
        ----------
        source:
            A path, a folder (its images in natural order: 2 before 10; hidden files and files that
            are no images are left out), an `Image`, a NumPy array (axes as in `from_array`,
            rounded to float32), `Images`, or a list of any of these.
        keep_metadata:
            As in `read`.
        recursive:
            Whether folders inside a folder are searched too.

        Raises
        ------
        ImageError
            If there is nothing to read: no such path, a folder without images, an empty list.
        """
        if isinstance(source, Images):
            return source
        members = list(source) if isinstance(source, (list, tuple)) else [source]
        found: list[_Item] = []
        for member in members:
            found.extend(_items_of(member, recursive))
        origin = str(source) if isinstance(source, (str, Path)) else ""
        if not found:
            deeper = not recursive and any(_holds_folders(member) for member in members)
            raise ImageError(_nothing_found(origin, deeper))
        return cls(_uniquely_named(found), keep_metadata=keep_metadata, origin=origin)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        """One unique name for each source, read or not."""
        return tuple(item.name for item in self._items)

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """The file of each source, None for those in memory."""
        return tuple(item.path for item in self._items)

    def __iter__(self) -> Iterator[Image]:
        for _, image in self.items():
            yield image

    def items(self) -> Iterator[tuple[str, Image]]:
        """The readable images with their names.

        Raises
        ------
        ImageError
            At the end, if none of them could be read.
        """
        self.skipped = []
        unread: list[str] = []  # on its own, since who uses the images adds planes to `skipped`
        for item in self._items:
            image = item.image
            if image is None:
                assert item.path is not None
                try:
                    image = read(item.path, keep_metadata=self._keep_metadata)
                except ImageError as error:
                    self.skipped.append((item.path, str(error)))
                    unread.append(str(error))
                    continue
            yield item.name, image
            del image  # the next file is read while nothing of this one is held here
        if len(unread) == len(self._items):
            first = unread[0]
            if len(self._items) == 1:
                raise ImageError(first)
            count = len(self._items)
            if self._origin:
                raise ImageError(
                    say(
                        "None of the {count} images in {folder} could be read. The first: {reason}",
                        count=count,
                        folder=self._origin,
                        reason=first,
                    )
                )
            raise ImageError(
                say(
                    "None of the {count} images could be read. The first: {reason}", count=count, reason=first
                )
            )


def _items_of(member: Any, recursive: bool) -> Iterator[_Item]:
    if isinstance(member, Images):
        yield from member._items
    elif isinstance(member, Image):
        yield _Item(_stem(Path(member.title)) if member.title else "image", member.path, member)
    elif isinstance(member, (str, Path)):
        path = Path(member)
        if path.is_dir():
            for file in _files(path, recursive):
                yield _Item(_stem(file), file, None)
        elif path.exists():
            yield _Item(_stem(path), path, None)
        else:
            raise ImageError(say("{path} does not exist.", path=path))
    elif isinstance(member, np.ndarray):
        yield _Item("array", None, from_array(member, exact=False))
    else:
        raise ImageError(
            say(
                "An image is a path, a folder, an Image or a NumPy array, not {kind}.",
                kind=type(member).__name__,
            )
        )


def _nothing_found(folder: str, deeper: bool) -> str:
    if folder and deeper:
        return say(
            "The folder {folder} holds no images (TIFF, PNG, JPEG, DICOM, NIfTI, .npy). "
            "There may be some in its folders: ask for subfolders, or name them.",
            folder=folder,
        )
    if folder:
        return say(
            "The folder {folder} holds no images (TIFF, PNG, JPEG, DICOM, NIfTI, .npy).", folder=folder
        )
    if deeper:
        return say(
            "There are no images (TIFF, PNG, JPEG, DICOM, NIfTI, .npy). "
            "There may be some in its folders: ask for subfolders, or name them."
        )
    return say("There are no images (TIFF, PNG, JPEG, DICOM, NIfTI, .npy).")


def _holds_folders(member: Any) -> bool:
    return isinstance(member, (str, Path)) and any(
        item.is_dir() and not item.name.startswith(".") for item in Path(member).iterdir()
    )


def _files(folder: Path, recursive: bool) -> list[Path]:
    try:
        found = [
            path
            for path in (folder.rglob("*") if recursive else folder.iterdir())
            if not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
            and looks_like_image(path)
        ]
    except OSError as error:
        raise ImageError(
            say(
                "The folder {folder} cannot be read: {reason}.", folder=folder, reason=error.strerror or error
            )
        ) from error
    return sorted(found, key=lambda path: [natural_key(part) for part in path.relative_to(folder).parts])


def _stem(path: Path) -> str:
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def _uniquely_named(items: list[_Item]) -> list[_Item]:
    candidates = [
        [item.name, *([item.path.name, f"{item.path.parent.name}/{item.path.name}"] if item.path else [])]
        for item in items
    ]
    names = [choices[0] for choices in candidates]
    for level in (1, 2):
        counts = Counter(names)
        names = [
            choices[level] if counts[name] > 1 and len(choices) > level else name
            for name, choices in zip(names, candidates, strict=True)
        ]
    taken: set[str] = set()
    for index, name in enumerate(names):
        number, unique = 1, name
        while unique in taken or (number > 1 and unique in names):
            number += 1
            unique = f"{name} ({number})"
        taken.add(unique)
        names[index] = unique
    return [_Item(name, item.path, item.image) for name, item in zip(names, items, strict=True)]
