"""One plane's heat maps, kept small or on disk until they are drawn."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mikata.errors import OutputError
from mikata.explanation.cells import Cells
from mikata.language import say
from mikata.prediction import Plane

_IN_MEMORY = 64 * 2**20
"""Bytes of maps that are kept in memory; beyond that they go to a file that vanishes with the work."""


class GridFile:
    """Arrays of float32 kept out of the way: maps of every pixel of thousands of images are too much to hold."""

    def __init__(self) -> None:
        # closed on leaving the block; a file comes into being only when there is more than fits
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, array: NDArray[np.float32]) -> tuple[int, tuple[int, ...]]:
        """Keep an array; gives where it is, for `get`. Raises `OutputError` if the disk is full."""
        where = (self._end, array.shape)
        try:
            self._file.seek(self._end)
            self._file.write(np.ascontiguousarray(array, np.float32).tobytes())
        except OSError as error:
            raise OutputError(
                say(
                    "The heat maps do not fit into the folder for temporary files ({folder}): {error}. Free some space "
                    "there, or explain fewer images at a time.",
                    folder=tempfile.gettempdir(),
                    error=error,
                )
            ) from error
        self._end += array.nbytes
        return where

    def get(self, where: tuple[int, tuple[int, ...]]) -> NDArray[np.float32]:
        """The array that was kept there."""
        start, shape = where
        self._file.seek(start)
        data = self._file.read(4 * int(np.prod(shape)))
        return np.frombuffer(bytearray(data), np.float32).reshape(shape)


@dataclass(frozen=True, eq=False)
class ExplainedPlane:
    """One plane's maps as the network gave them, (classes explained, h, w); a value is as one class.

    Attributes
    ----------
    outputs:
        Probabilities, or the value.
    kept, where:
        The file that holds the maps, and the place in it.
    any_heat:
        Whether any of the maps has heat.
    cells:
        How their grid lies over the image.
    extra:
        What the method reports besides, a row for each class explained.
    """

    plane: Plane
    classes: tuple[int, ...]
    predicted: int
    outputs: tuple[float, ...]
    kept: GridFile
    where: tuple[int, tuple[int, ...]]
    any_heat: bool
    cells: Cells
    extra: tuple[tuple[float, ...], ...] = ()

    @property
    def shown(self) -> int:
        """Place, among the classes explained, of the one that is drawn: of several, the predicted one."""
        return self.classes.index(self.predicted) if len(self.classes) > 1 else 0

    @property
    def grids(self) -> NDArray[np.float32]:
        """The maps as the network gave them (classes explained, h, w), read anew each time."""
        return self.kept.get(self.where)

    @property
    def maps(self) -> NDArray[np.float32]:
        """The maps at the image's size (classes explained, height, width), made anew each time."""
        return self.cells.interpolated(self.grids)
