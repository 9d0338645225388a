"""Heat of single images at their own size, as the Grad-CAM command draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mikata.explanation import heat_maps
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model, asked_between_layers
from mikata.prediction import Plane, batches, device
from mikata.types import Progress


@dataclass(frozen=True, eq=False)
class Heat:
    """Heat of one plane.

    Attributes
    ----------
    plane:
        Which plane of which image.
    values:
        (H, W) of the image's size, from 0 up.
    target:
        Number of the class it speaks for.
    cell_px:
        Height and width of one cell of the network's grid, in pixels of the image.
    layer:
        Dotted name of the layer.
    """

    plane: Plane
    values: NDArray[np.float32]
    target: int
    cell_px: tuple[float, float]
    layer: str


def heats(
    model: Model,
    source: Images,
    target: Callable[[Plane], int] | int | None,
    *,
    layer: str = "",
    batch: int = 16,
    progress: Progress,
) -> Iterator[Heat]:
    """Explain every plane of images by Grad-CAM, one after the other.

    Parameters
    ----------
    target:
        Number of the class to explain, or what tells it for a plane; None: the predicted one.
    layer:
        Dotted name; empty: found by itself.

    Raises
    ------
    NetworkError
        For a layer that does not exist or has no spatial extent.
    """
    where = device()
    classifier = model.classifier.to(where).eval()
    name = layer
    for planes, tensor in batches(model, source, batch, progress, say("Heat maps")):
        tensor = tensor.to(where)
        with torch.no_grad():
            normalised = classifier.normalise(tensor)
        wanted = [target(plane) for plane in planes] if callable(target) else target
        # one layer for all images, though they may differ in size
        with asked_between_layers(classifier.network, progress.check):
            found = heat_maps(classifier.network, normalised, target=wanted, layer=name or None)
        name = found.layer
        grid = found.grid.float().cpu()
        for index, plane in enumerate(planes):
            native = model.fit == "native"  # small images were padded at their lower and right border
            size = (tensor.shape[2], tensor.shape[3]) if native else (plane.height, plane.width)
            full = F.interpolate(grid[index][None, None], size, mode="bilinear", align_corners=False)
            values = full[0, 0, : plane.height, : plane.width].numpy()
            cell = (size[0] / grid.shape[-2], size[1] / grid.shape[-1])
            yield Heat(plane, np.ascontiguousarray(values), found.classes[index], cell, name)
