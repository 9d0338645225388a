"""Objects, moved as the random changes of training images move their pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from mikata.training.augmentation import augment, matrices, moves
from mikata.training.centre_losses import ABSENT, HEIGHT, KIND, WIDTH, X, Y
from mikata.training.order import DRAWS
from mikata.training.stage import Augmentation

_TURNS = (0, 1, -1, 2, -2)  # how often a line is mirrored at its ends, either way


def augment_objects(
    images: Tensor, objects: Tensor, draws: Tensor, options: Augmentation, value_range: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Change images as `mikata.training.augmentation.augment` does, and move their objects along with them.

    Where an image goes on as in a mirror, so do its objects. Those whose centre is not seen any more are left out.

    Parameters
    ----------
    images, draws, options, value_range:
        As of `augment`.
    objects:
        (N, M, 5), see `mikata.training.centre_losses.KIND`; others are `ABSENT`. An object is taken for the upright
        ellipse in its box, so that a round one keeps its size when it is turned.

    Returns
    -------
    tuple of Tensor
        Images, and objects (N, M', 5).
    """
    changed = augment(images, draws, options, value_range)
    if not moves(options) or not objects.shape[1]:
        return changed, objects
    column = {name: draws[:, i] for i, name in enumerate(DRAWS)}
    height, width = images.shape[2:]
    if options.fill == "reflect":
        objects = _with_mirror_images(objects, height, width)
    # from places in the result to places in the image, both from -1 to 1: inverted, in px
    matrix = matrices(column, options, images.shape).double()
    half = torch.tensor([width / 2, height / 2], device=images.device, dtype=torch.float64)
    inverse = torch.linalg.inv(half[:, None] * matrix[:, :, :2] / half[None, :])
    centres = objects[:, :, [X, Y]].double() - half - half * matrix[:, None, :, 2]
    moved = (centres[:, :, None, :] * inverse[:, None]).sum(3) + half
    # half axes of the ellipse along x and y
    axes = objects[:, :, [WIDTH, HEIGHT]].double()
    sizes = (inverse[:, None] * axes[:, :, None, :]).square().sum(3).sqrt()
    seen = (moved >= 0).all(2) & (moved < 2 * half).all(2) & (objects[:, :, KIND] >= 0)
    kinds = torch.where(seen, objects[:, :, KIND], ABSENT)
    found = torch.cat([kinds[:, :, None], moved.to(objects.dtype), sizes.to(objects.dtype)], 2)
    order = seen.long().argsort(dim=1, descending=True, stable=True)
    most = int(seen.sum(1).max())
    return changed, found.gather(1, order[:, :most, None].expand(-1, -1, found.shape[2]))


def _with_mirror_images(objects: Tensor, height: int, width: int) -> Tensor:
    """The objects and what mirrors at the image's edges, and mirrors of these, show of them."""
    for at, side in ((X, width), (Y, height)):
        copies = []
        for turn in _TURNS:
            copy = objects.clone()
            mirrored = side - objects[:, :, at] if turn % 2 else objects[:, :, at]
            copy[:, :, at] = mirrored + turn * side
            copies.append(copy)
        objects = torch.cat(copies, 1)
    return objects
