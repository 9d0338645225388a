"""Heat maps plane by plane on the network's grid, as the network gives them: nothing is drawn and nothing kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mikata.explanation.cells import Cells
from mikata.explanation.engine import heat_maps
from mikata.images import Images
from mikata.networks import Model, asked_between_layers
from mikata.prediction import Plane, batches, device
from mikata.types import Progress

Target = Literal["all"] | int | Callable[[Plane], int] | None
"""What to explain: every class, one, one for each plane, or None for the predicted one."""


@dataclass(frozen=True, eq=False)
class PlaneHeat:
    """Heat of one plane.

    Attributes
    ----------
    plane:
        Which plane of which image.
    classes:
        Numbers of the K classes explained; 0 where the network gives a value.
    predicted:
        Number of the predicted class.
    outputs:
        Probabilities, or the value alone.
    grid:
        (K, h, w) heat on the network's grid, from 0 up.
    cells:
        How this grid lies over the image.
    pixels:
        (C, height, width) what the network was given, without what continues a small image.
    layer, method:
        Of the explanation.
    """

    plane: Plane
    classes: tuple[int, ...]
    predicted: int
    outputs: tuple[float, ...]
    grid: NDArray[np.float32]
    cells: Cells
    pixels: Tensor
    layer: str
    method: str


def plane_heat(
    network: Model,
    source: Images,
    *,
    target: Target,
    method: str = "Grad-CAM",
    layer: str = "",
    batch: int = 16,
    progress: Progress,
    message: str,
) -> Iterator[PlaneHeat]:
    """Explain every plane of all images, in order; the parameters are those of `explain_images`.

    `message` says what is being done. Planes that do not suit the network are listed in ``source.skipped``.

    Raises
    ------
    NetworkError
        For a method, layer or target that does not fit the network.
    ImageError
        If no plane can be used.
    """
    where = device()
    classifier = network.classifier.to(where).eval()
    for planes, tensor in batches(network, source, batch, progress, message):
        given = tensor.to(where)
        with torch.no_grad():
            normalised = classifier.normalise(given)
        wanted = [target(plane) for plane in planes] if callable(target) else target
        # one layer for all images, though they may differ in size
        with asked_between_layers(classifier.network, progress.check):
            found = heat_maps(
                classifier.network, normalised, target=wanted, method=method, layer=layer or None
            )
        layer = found.layer
        outputs = classifier.outputs(found.logits.float()).cpu()
        grid = found.grid.float().cpu().numpy()
        for index, plane in enumerate(planes):
            own = grid[index] if target == "all" else grid[index][None]
            image = plane.height, plane.width
            native = network.fit == "native"
            given_size = tensor.shape[2], tensor.shape[3]
            covered = given_size if native else image
            resolved = (
                found.cell_px[0] * covered[0] / given_size[0],
                found.cell_px[1] * covered[1] / given_size[1],
            )
            yield PlaneHeat(
                plane,
                found.classes if target == "all" else (found.classes[index],),
                int(outputs[index].argmax()),
                tuple(outputs[index].tolist()),
                own,
                Cells((own.shape[1], own.shape[2]), image, covered, resolved),
                tensor[index][:, : plane.height, : plane.width] if native else tensor[index],
                found.layer,
                found.method,
            )
