"""Arrays of whole images: in memory, or where they are larger than a limit in a file that vanishes with them."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mikata.errors import OutputError
from mikata.language import say

IN_MEMORY = 256 * 2**20
"""Bytes of one array that are kept in memory."""


def zeros(shape: tuple[int, ...], dtype: DTypeLike, limit: int = IN_MEMORY) -> NDArray[Any]:
    """An array of zeros; of more than `limit` bytes it is mapped from a temporary file.

    Raises
    ------
    OutputError
        If the disk of the folder for temporary files is full.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= limit:
        return np.zeros(shape, dtype)
    try:
        # without a name, so that it goes when the last view of it goes, whatever ends the program
        with tempfile.TemporaryFile(prefix="mikata-") as file:
            _reserve(file.fileno(), size)
            return np.memmap(file, dtype=dtype, mode="r+", shape=shape)
    except OSError as error:
        raise OutputError(
            say(
                "The result needs {size:.1f} GB in the folder for temporary files ({folder}): {reason}. Free some space "
                "there, or take a smaller image.",
                size=size / 1e9,
                folder=tempfile.gettempdir(),
                reason=error.strerror or error,
            )
        ) from error


def _reserve(file: int, size: int) -> None:
    """Make a file that long with its room on the disk taken: a write into a map of a full disk ends the program."""
    import os

    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
