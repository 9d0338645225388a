"""What a stranger's outputs are, as far as its description says so; the rest stays unknown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    last = next((step for step in reversed(output.steps) if step.name != "ensure_dtype"), None)
    if last is not None and last.name == "softmax":
        axis = last.kwargs.get("axis") if isinstance(last.kwargs, Mapping) else None
        return axis in (None, "channel")
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
