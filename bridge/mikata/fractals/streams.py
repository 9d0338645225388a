"""Random numbers that are functions of numbers alone.

Only the raw output of PCG64 and SeedSequence is used, which NumPy promises never to change; its distributions
(`Generator`) may change between versions, and pictures with them.
"""

from __future__ import annotations

import numpy as np
from numpy.random import PCG64, SeedSequence
from numpy.typing import NDArray

# The first number of a key says what the stream is for.
SYSTEM, SETTLING, PICTURE = range(3)


def stream(seed: int, *key: int) -> PCG64:
    """A stream of its own for each `seed` (0 or more) and `key`."""
    return PCG64(SeedSequence(seed, spawn_key=key))


def words(source: PCG64, count: int) -> NDArray[np.uint32]:
    """The next `count` numbers, each from 0 to 2**32 - 1, the same on machines of either byte order."""
    return source.random_raw((count + 1) // 2).astype("<u8", copy=False).view("<u4")[:count]


def uniform(source: PCG64, count: int) -> NDArray[np.float64]:
    """The next `count` numbers from 0 (included) to 1 (not), in steps of 2**-53."""
    return np.asarray((source.random_raw(count) >> np.uint64(11)) * 2.0**-53, np.float64)
