"""Burned-in marks and borders of each image as regions, found in the image itself."""

from __future__ import annotations

import re
import zlib
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from mikata.explanation.marks import border, burned_in
from mikata.explanation.region_frames import Frame
from mikata.explanation.region_sets import RegionSet, from_masks
from mikata.language import say
from mikata.types import Image

MARKS, BORDER, REST = "marks", "border", "rest"

_Place = tuple[str, int, int]


def kinds_of(text: str) -> tuple[str, ...]:
    """Which of ``marks`` and ``border`` a text names, as ``marks``, ``border`` or ``marks+border``; empty for none."""
    named = [word.casefold() for word in re.split(r"\s*\+\s*", text.strip())]
    if not named or len(set(named)) != len(named) or not set(named) <= {MARKS, BORDER}:
        return ()
    return tuple(kind for kind in (MARKS, BORDER) if kind in named)


class MarkSource:
    """``marks`` (where there are any), ``border`` without the marks on it, and ``rest``: every pixel is in one of them.

    Found in the mean of an image's channels, by `mikata.explanation.marks`; kept packed, as whole films would fill
    memory.
    """

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.kinds = kinds
        self._kept: dict[_Place, tuple[bytes, ...]] = {}
        self._shapes: dict[_Place, tuple[int, int]] = {}
        self._without: set[_Place] = set()

    def note(self, name: str, image: Image) -> None:
        """Find the regions of an image, which the run calls `name`; once."""
        if (name, 1, 1) in self._shapes:
            return
        for frame in image.frames():
            plane = np.nan_to_num(np.asarray(frame.values, np.float64).mean(0))
            place = name, frame.z, frame.t
            self._shapes[place] = plane.shape[0], plane.shape[1]
            found = []
            taken = np.zeros(plane.shape, bool)
            for kind in self.kinds:
                mask = (burned_in if kind == MARKS else border)(plane) & ~taken
                if kind == MARKS and not mask.any():
                    self._without.add(place)
                taken |= mask
                found.append(zlib.compress(np.packbits(mask).tobytes(), 1))
            self._kept[place] = tuple(found)

    @property
    def words(self) -> str:
        """The names of the regions."""
        return "+".join(self.kinds)

    def key(self, frame: Frame) -> Hashable:
        """By the image and its plane."""
        return frame.image, frame.z, frame.t

    def of(self, frame: Frame) -> RegionSet:
        """The plane's own; `rest` alone where there is nothing else."""
        masks = self._masks((frame.image, frame.z, frame.t))
        named = [(kind, mask) for kind, mask in zip(self.kinds, masks, strict=True) if mask.any()]
        rest = ~np.logical_or.reduce(masks)
        named += [(REST, rest)] if rest.any() else []
        return from_masks([name for name, _ in named], np.stack([mask for _, mask in named]))

    def covered(self, name: str, z: int, t: int) -> NDArray[np.bool_]:
        """What is not `rest`, (height, width)."""
        return np.asarray(np.logical_or.reduce(self._masks((name, z, t))), bool)

    def _masks(self, place: _Place) -> list[NDArray[np.bool_]]:
        shape = self._shapes[place]
        return [
            np.unpackbits(np.frombuffer(zlib.decompress(one), np.uint8), count=shape[0] * shape[1])
            .reshape(shape)
            .astype(bool)
            for one in self._kept[place]
        ]

    def notes(self) -> tuple[str, ...]:
        """How marks are found, in how many planes there are none, and what counts as border."""
        notes = []
        if MARKS in self.kinds:
            notes.append(
                say(
                    "Marks are burned-in letters and signs, found by brightness, size and sharp edges without reading: "
                    "some are missed, and some wires or electrodes are taken for them. No marks were found in {count} "
                    "of {total} planes; the region's figures are of the others.",
                    count=len(self._without),
                    total=len(self._shapes),
                )
            )
        if BORDER in self.kinds:
            notes.append(
                say(
                    "The border is the outer 5 % of each side, and lines of one grey value that come in from an edge "
                    "(collimation), up to 25 % of a side."
                )
            )
        return tuple(notes)
