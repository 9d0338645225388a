"""What a package that is exported again brings with it: its words, figures, test input and cover."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.package_files import Files, opened, read_description
from mikata.packaging.description import COVER, README, RESEARCH_USE, TEST_INPUT, Words
from mikata.packaging.pages import DATA, TRAINING, VALIDATION, sections

_LARGEST_TEXT, _LARGEST_IMAGE = 2**20, 2**28  # bytes


@dataclass(frozen=True, eq=False)
class Parent:
    """The package's own files, as far as a new one takes them over.

    Attributes
    ----------
    words:
        What its description says.
    told:
        The lines of its README's sections on figures, data and training.
    test_input:
        (1, C, H, W) float32; drawn by formula where the package has none.
    cover:
        Its picture (PNG), or None.
    """

    words: Words
    told: dict[str, list[str]]
    test_input: NDArray[np.float32]
    cover: bytes | None


class Saved(Protocol):
    """A package that was read."""

    @property
    def path(self) -> Path:
        """Folder or zip."""

    @property
    def record(self) -> dict[str, Any]:
        """Its ``training.json``."""

    @property
    def channels(self) -> int:
        """Number of input channels."""


def read_parent(model: Saved, drawn: Callable[[], NDArray[np.float32]]) -> Parent:
    """Read it from a package that `mikata.networks.read_package` has read; `drawn` makes a test image where it has none.

    Raises
    ------
    PackageError
        If a file is damaged.
    """
    with opened(model.path) as source:
        description = read_description(source)
        return Parent(
            _words(description, model),
            _told(source, model),
            _test_input(source, model, drawn),
            source.read(COVER, _LARGEST_IMAGE) if source.has(COVER) else None,
        )


def _words(description: Mapping[str, Any], model: Saved) -> Words:
    authors = description.get("authors")
    tags = description.get("tags")
    parent = description.get("parent")
    written = str(description.get("description") or "")
    return Words(
        name=str(model.record.get("name") or description.get("name") or Path(model.path).stem),
        description=written.removesuffix(RESEARCH_USE).strip(),
        authors=tuple(
            str(author["name"])
            for author in (authors if isinstance(authors, list) else [])
            if isinstance(author, dict) and author.get("name")
        ),
        licence=str(description.get("license") or ""),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        parent=str(parent.get("id") or "") if isinstance(parent, dict) else "",
    )


def _told(source: Files, model: Saved) -> dict[str, list[str]]:
    text = ""
    if source.has(README):
        try:
            text = source.read(README, _LARGEST_TEXT).decode("utf-8")
        except UnicodeDecodeError as error:
            raise PackageError(
                say("{path}: {file} is damaged ({error}).", path=source.path, file=README, error=error)
            ) from error
    training = model.record.get("training")
    methods = training.get("methods") if isinstance(training, dict) else None
    silent = {
        VALIDATION: ["The package that this one was made from tells no figures. Do not rely on this model."],
        DATA: ["The training data are not described. Ask the authors."],
        TRAINING: [methods if isinstance(methods, str) and methods else "How it was trained is not told."],
    }
    return silent | sections(text, tuple(silent))


def _test_input(source: Files, model: Saved, drawn: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    if not source.has(TEST_INPUT):
        return drawn()[None]
    try:
        array = np.load(io.BytesIO(source.read(TEST_INPUT, _LARGEST_IMAGE)), allow_pickle=False)
        fits = array.ndim == 4 and array.shape[:2] == (1, model.channels) and min(array.shape) > 0
        if not fits or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{array.dtype} {array.shape}")
    except (ValueError, EOFError) as error:
        raise PackageError(
            say("{path}: {file} is damaged ({error}).", path=source.path, file=TEST_INPUT, error=error)
        ) from error
    return np.asarray(array, np.float32)
