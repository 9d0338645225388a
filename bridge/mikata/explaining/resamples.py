"""Means over planes in resamples of patients, or of files where patients are not known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mikata.evaluation.intervals import drawings


def resampled_means(
    values: NDArray[np.float64], units: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.float64]:
    """Means of the columns over their defined values in each resample of all units.

    Parameters
    ----------
    values:
        (M, R), NaN where a plane has no such figure.
    units:
        (M,) number of each plane's patient or file, from 0 to `count` - 1; not every one need be there.
    count:
        How many units are resampled.
    seed:
        The same draws the same units, so that the results of two calls are paired.

    Returns
    -------
    ndarray
        (resamples, R), NaN where no drawn unit has the figure.
    """
    own, places = np.unique(units, return_inverse=True)
    sums, numbers = (np.zeros((len(own), values.shape[1])) for _ in range(2))
    np.add.at(sums, places, np.nan_to_num(values))
    np.add.at(numbers, places, np.isfinite(values))
    blocks = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for drawn in drawings(count, seed=seed, size=2 * values.shape[1]):
            here = drawn[own].T
            blocks.append((here @ sums) / (here @ numbers))
    return np.concatenate(blocks)
