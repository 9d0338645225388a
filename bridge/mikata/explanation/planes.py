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
from mikata.explanation.explained import Explanation
from mikata.explanation.methods import Settings, method_named
from mikata.images import Images
from mikata.networks import Model, asked_between_layers
from mikata.prediction import Plane, batches, device
from mikata.types import Progress

Target = Literal["all"] | int | Callable[[Plane], int] | None
"""What to explain: every class, one, one for each plane, or None for the predicted one."""

SettingsOf = Callable[[Model, Tensor], Settings]
"""What the method needs besides, for a network and images (N, C, H, W) on its device."""


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
    extra:
        For each class explained, how far its score changes on the way of Integrated-Gradients, and what of this the
        map misses; empty for other methods.
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
    extra: tuple[tuple[float, float], ...] = ()

    @property
    def maps(self) -> NDArray[np.float32]:
        """The maps at the image's size (K, height, width), made anew each time."""
        return self.cells.interpolated(self.grid)


def plane_heat(
    network: Model,
    source: Images,
    *,
    target: Target,
    method: str = "Grad-CAM",
    layer: str = "",
    settings: SettingsOf | None = None,
    batch: int = 16,
    progress: Progress,
    message: str,
) -> Iterator[PlaneHeat]:
    """Explain every plane of all images, in order; the parameters are those of `explain_images`.

    `settings` of None are the defaults. `message` says what is being done. Planes that do not suit the network are
    listed in ``source.skipped``.

    Raises
    ------
    NetworkError
        For a method, layer or target that does not fit the network.
    ImageError
        If no plane can be used.
    """
    # a method of many passes fills the batch with one image's changed copies
    together = 1 if method_named(method).many_passes else batch
    where = device()
    classifier = network.classifier.to(where).eval()
    for planes, tensor in batches(network, source, together, progress, message):
        given = tensor.to(where)
        with torch.no_grad():
            normalised = classifier.normalise(given)
        wanted = [target(plane) for plane in planes] if callable(target) else target
        # one layer for all images, though they may differ in size
        with asked_between_layers(classifier.network, progress.check):
            found = heat_maps(
                classifier.network,
                normalised,
                wanted,
                method,
                layer or None,
                settings=settings(network, given) if settings else Settings(forward=batch),
                check=progress.check,
            )
        layer = found.layer
        outputs = classifier.outputs(found.logits.float()).cpu()
        grid = found.grid.float().cpu().numpy()
        extra = _extra(found)
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
                extra[index] if extra else (),
            )


def _extra(found: Explanation) -> list[tuple[tuple[float, float], ...]]:
    """For each image what `PlaneHeat.extra` is; empty for methods that report nothing more."""
    if found.score_change is None or found.completeness_error is None:
        return []
    both = torch.stack([found.score_change, found.completeness_error], -1).float().cpu()
    rows = both.reshape(len(both), -1, 2).tolist()
    return [tuple((change, error) for change, error in row) for row in rows]
