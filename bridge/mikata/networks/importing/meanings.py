"""What a stranger's outputs are, as far as its description says so; the rest stays unknown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mikata.networks.importing.reading import Package
from mikata.networks.importing.tensors import Tensor, tensors
from mikata.networks.pixelwise import Meaning

_BACKGROUND = ("background", "bg")
_OTHER = (
    "boundar",
    "border",
    "edge",
    "distance",
    "flow",
    "affinit",
    "contour",
    "membrane",
    "ray",
    "offset",
    "vector",
)
_RESTORING = frozenset(
    "denoising restoration image-restoration super-resolution superresolution deconvolution".split()
)
_SUM = 1e-3  # how far the sum of probabilities may be from 1 in a test output
_TRIED_SUM = 1e-4  # the same of what was just reckoned
_UNSURE = 1e-2  # a second largest output above this is no chance end of two sigmoids


def meaning_of(package: Package, channels: int, count: int) -> Meaning:
    """What the channels of a network's outputs are.

    ``classes``: one output of several channels, the first of them named background, that ends in a softmax or whose test
    output adds up to 1. ``mask``: one that ends in a sigmoid, or a threshold behind one, and no channel is named after
    something else than a region (boundaries, distances and so on). ``image``: tagged as restoring, with as many
    channels as the image. Else ``unknown``.

    Parameters
    ----------
    channels, count:
        Of the input, and of all outputs together.
    """
    outputs = [tensor for tensor in tensors(package) if tensor.output]
    if len(outputs) != 1:
        return "unknown"
    (output,) = outputs
    names = [name.casefold() for axis in output.axes for name in axis.names]
    last = next(
        (step.name for step in reversed(output.steps) if step.name not in ("ensure_dtype", "binarize")), ""
    )
    if count > 1 and names and names[0] in _BACKGROUND and is_probability(package, output):
        return "classes"
    odd = any(word in name for name in (*names, output.name.casefold()) for word in _OTHER)
    if last == "sigmoid" and not odd and not any(name in _BACKGROUND for name in names):
        return "mask"
    tags = package.description.get("tags")
    stated = {str(tag).casefold() for tag in tags} if isinstance(tags, list) else set()
    if stated & _RESTORING and count == channels:
        return "image"
    return "unknown"


def is_probability(package: Package, output: Tensor) -> bool:
    """Whether an output's channels are probabilities that add up to 1: by its softmax, or by its test output."""
    stated = _by_softmax(output)
    if stated is not None:
        return stated
    letters = output.letters
    array = package.array(output.test)
    if array is None or "c" not in letters or array.ndim != len(letters) or not array.size:
        return False
    values = array.astype(np.float64)
    sums = values.sum(axis=letters.index("c"))
    return bool(
        values.shape[letters.index("c")] > 1
        and values.min() >= -_SUM
        and values.max() <= 1 + _SUM
        and np.abs(sums - 1).max() <= _SUM
    )


def excludes(output: Tensor, tried: Sequence[NDArray[np.floating]]) -> bool:
    """Whether the largest of a classifier's outputs is its class, since the classes exclude each other.

    So it is where a softmax over the channels comes last, or where nothing is stated that speaks against it and all
    that was tried adds up to 1, at least once without being sure: two sigmoids at their ends, 1 and 0, add up to 1 too.
    One output alone names no class. Scores that are no probabilities (before their softmax or sigmoid) name none either:
    whether several of them may be high at once is not stated anywhere.

    Parameters
    ----------
    output:
        With the axes batch and channel.
    tried:
        Outputs (K,) of several images, operations behind the network included.
    """
    if not output.dtype.startswith("float") or not tried or len(tried[0]) < 2:
        return False
    stated = _by_softmax(output)
    if stated is False:
        return False
    for values in tried:
        if not (values.min() >= -_TRIED_SUM and abs(float(values.sum()) - 1) <= _TRIED_SUM):  # NaN is neither
            return False
    return stated is True or any(float(np.sort(values)[-2]) >= _UNSURE for values in tried)


def _by_softmax(output: Tensor) -> bool | None:
    """Whether what is stated behind the network makes the channels add up to 1; None where nothing is stated."""
    kept = [step for step in output.steps if step.name != "ensure_dtype"]
    if any(not str(step.kwargs.get("dtype", "float")).startswith("float") for step in output.steps):
        return False
    if not kept:
        return None
    if kept[-1].name in ("sigmoid", "binarize"):  # each by itself
        return False
    if kept[-1].name != "softmax":
        return None
    return kept[-1].kwargs.get("axis") in (None, "channel")
