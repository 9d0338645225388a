"""From what a network says of every pixel to objects that may touch: a watershed from their insides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mikata.errors import NetworkError
from mikata.language import say

FOREGROUND, SEED, SMALLEST = "foreground", "seed", "smallest_px"
"""Names of the settings: see `label_image`."""

DEFAULTS: dict[str, float] = {FOREGROUND: 0.5, SEED: 0.5, SMALLEST: 0.0}

_CONNECTED = np.ones((3, 3))


def label_image(
    outputs: NDArray[Any], names: Sequence[str], settings: Mapping[str, float] | None = None
) -> NDArray[np.int32]:
    """Objects, each with its own number.

    Where the probability of background is at most 1 - ``foreground``, a pixel is of an object. Which one, a watershed
    settles (Meyer 1994, in scikit-image) that floods from seeds: pixels of objects whose inside (with ``boundary``), or
    whose distance to the object's border (with ``distance``), is at least ``seed``, those that hang together being one.
    What hangs together and has no seed is one object. Objects below ``smallest_px`` are left out.

    Parameters
    ----------
    outputs:
        (K, H, W) of a network: background, inside, and then boundary or distance.
    names:
        Of the K channels.
    settings:
        ``foreground``, ``seed`` (from 0 to 1) and ``smallest_px``; those left out have their value in `DEFAULTS`.

    Returns
    -------
    ndarray
        (H, W), int32: 0 for background, then 1, 2, ... from top to bottom.

    Raises
    ------
    NetworkError
        If the outputs are not those of a network that tells objects apart.
    """
    if len(outputs) != 3 or len(names) != 3 or names[-1] not in ("boundary", "distance"):
        raise NetworkError(
            say(
                "Objects are made of background, inside, and boundary or distance, not of {names}.",
                names=", ".join(names),
            )
        )
    from skimage.segmentation import watershed

    chosen = {**DEFAULTS, **(settings or {})}
    inside = outputs[1] if names[-1] == "boundary" else outputs[2]
    foreground = outputs[0] <= 1 - chosen[FOREGROUND]
    seeds, count = ndimage.label(foreground & (inside >= chosen[SEED]), structure=_CONNECTED)
    whole, _ = ndimage.label(foreground, structure=_CONNECTED)
    seeded = np.zeros(int(whole.max()) + 1, bool)
    seeded[whole[seeds > 0]] = True
    without = foreground & ~seeded[whole]
    seeds = np.where(without, whole + count, seeds)
    flood: Any = watershed
    objects = np.asarray(flood(-inside, seeds, mask=foreground, connectivity=2), np.int32)
    sizes = np.bincount(objects.ravel())
    kept = sizes >= chosen[SMALLEST]
    kept[0] = False
    return _numbered(np.where(kept[objects], objects, 0))


def _numbered(objects: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same objects with the numbers 1, 2, ... in the order of their first pixels."""
    numbers, first = np.unique(objects, return_index=True)
    present = numbers > 0
    order = numbers[present][np.argsort(first[present])]
    table = np.zeros(int(objects.max()) + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return table[objects]
