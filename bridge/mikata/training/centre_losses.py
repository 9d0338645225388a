"""What a network for detection learns from: heat maps of centres, and sizes at them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.training.losses import Figure

KIND, X, Y, WIDTH, HEIGHT = range(5)
"""What is known of an object, in px as ImageJ counts them: its class (`ABSENT`: none), its centre, and its size or 0."""

ABSENT = -1.0

_SPREAD = 0.54 / 6
"""Standard deviation of a centre's Gaussian as a share of the object's size (Liu et al. 2020)."""

_NARROWEST = 0.7  # of a Gaussian, in px that the network sees
_UNKNOWN = 0.2  # of what is near to an object without size
_LEAST_SHARE = 0.1  # objects a patch: a class with fewer is weighed as one with so many
_COUNTED = 0.3  # score from which `figures` counts a maximum


class CentreLoss(nn.Module):
    """Loss of heat maps and sizes, one number an image.

    All is in the pixels that the network sees. Each object has a Gaussian in the heat map of its class (Zhou et al. 2019, "Objects as Points", arXiv 1904.07850),
    Y = 1 in the pixel of its centre, whose standard deviations are 0.09 of its width and height (Liu et al. 2020, TTFNet,
    arXiv 1909.00700), at least 0.7 px; 0.2 `near_px` where the size is not known. With
    the network's probability p, the penalty-reduced focal loss (Law and Deng 2018, CornerNet, arXiv 1808.01244) is

    * -(1 - p)^2 log p where Y = 1,
    * -(1 - Y)^4 p^2 log(1 - p) elsewhere.

    Both are added up over the pixels of a class and divided by its mean number of objects; the loss is the mean over
    the classes, so that rare ones weigh as much as common ones. To this, the absolute errors of the logarithms of height
    and width in each centre's pixel are added, weighed alike, where the size is known.

    Parameters
    ----------
    objects_per_patch, objects_per_image:
        Mean number of objects of each class in the patches that are learnt from and in the images that choose.
    typical_px:
        The size of which the network gives a multiple; 0: it learns none.
    shrink:
        How many times smaller the image is that the network sees.
    near_px:
        How near to an object without size a mark is a hit.
    """

    figure: Figure = "f1"

    def __init__(
        self,
        objects_per_patch: Sequence[float],
        objects_per_image: Sequence[float],
        typical_px: float,
        shrink: int,
        near_px: float,
    ) -> None:
        super().__init__()
        self.classes = len(objects_per_patch)
        self.typical_px, self.shrink, self.near_px = typical_px, shrink, near_px
        self.register_buffer("patch_weights", _weights(objects_per_patch))
        self.register_buffer("image_weights", _weights(objects_per_image))

    patch_weights: Tensor
    image_weights: Tensor

    def of_training(self, scores: Tensor, objects: Tensor) -> Tensor:
        """Losses (N,) of scores (N, K + 2, h, w), of what the network sees, and objects (N, M, 5); see `KIND`."""
        return self._loss(scores, objects, self.patch_weights)

    def of_selection(self, scores: Tensor, objects: Tensor) -> Tensor:
        """What chooses: the same, of whole images."""
        return self._loss(scores, objects, self.image_weights)

    def _loss(self, scores: Tensor, objects: Tensor, weights: Tensor) -> Tensor:
        heat = self.targets(objects, scores.shape[2:])
        own = scores[:, : self.classes]
        p = torch.sigmoid(own)
        right = (1 - p).square() * F.logsigmoid(own) * (heat == 1)
        wrong = (1 - heat).square().square() * p.square() * F.logsigmoid(-own)
        each = -(right + wrong).sum((2, 3))
        if self.typical_px:
            each = each + self._size_errors(scores[:, self.classes :], objects)
        return (each * weights).mean(1)

    def _size_errors(self, sizes: Tensor, objects: Tensor) -> Tensor:
        """Errors of sizes, added up over the objects of each class (N, K)."""
        n, m = objects.shape[:2]
        found = sizes.new_zeros(n, self.classes)
        if not m:
            return found
        rows, columns = self._pixels(objects, sizes.shape[2:])
        places = (rows * sizes.shape[3] + columns)[:, None].expand(n, 2, m)
        said = sizes.flatten(2).gather(2, places)
        known = (objects[:, :, KIND] >= 0) & (objects[:, :, WIDTH] > 0) & (objects[:, :, HEIGHT] > 0)
        true = torch.stack([objects[:, :, HEIGHT], objects[:, :, WIDTH]], 1)
        target = (torch.where(known[:, None], true, self.typical_px) / self.typical_px).log()
        errors = (said - target).abs().sum(1) * known
        return found.scatter_add(1, objects[:, :, KIND].long().clamp(min=0), errors)

    def targets(self, objects: Tensor, shape: Sequence[int]) -> Tensor:
        """Heat maps (N, K, h, w) that the objects (N, M, 5) are to have in what the network sees."""
        height, width = shape
        n, m = objects.shape[:2]
        heat = objects.new_zeros(n, self.classes, height, width)
        rows, columns = self._pixels(objects, shape)
        down = torch.arange(height, device=objects.device)
        across = torch.arange(width, device=objects.device)
        number = torch.arange(n, device=objects.device)
        for index in range(m):
            one = objects[:, index]
            spreads = [
                torch.where(one[:, size] > 0, _SPREAD * one[:, size], _UNKNOWN * self.near_px) / self.shrink
                for size in (HEIGHT, WIDTH)
            ]
            y, x = (
                torch.exp(
                    -0.5 * ((line - at[:, index, None]) / spread[:, None].clamp(min=_NARROWEST)).square()
                )
                for line, at, spread in zip((down, across), (rows, columns), spreads, strict=True)
            )
            own = y[:, :, None] * x[:, None, :] * (one[:, KIND] >= 0)[:, None, None]
            kind = one[:, KIND].long().clamp(min=0)
            heat[number, kind] = torch.maximum(heat[number, kind], own)
        return heat

    def _pixels(self, objects: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Row and column of each object's centre (N, M), inside of what the network sees, (height, width)."""
        rows, columns = (
            (objects[:, :, at] / self.shrink).floor().long().clamp(0, side - 1)
            for at, side in zip((Y, X), shape, strict=True)
        )
        return rows, columns

    def figures(self, scores: Tensor, objects: Tensor) -> Tensor:
        """F1 of each image (N,), the mean over its classes: of maxima of 0.3 and more in objects, and objects with one.

        Maxima are those of 3 x 3 px; 1 for classes of which there is neither an object nor a maximum.
        """
        own = torch.sigmoid(scores[:, : self.classes])
        tops = (own == F.max_pool2d(own, 3, 1, 1)) & (own >= _COUNTED)
        n, m = objects.shape[:2]
        inside = torch.zeros_like(tops)
        found = own.new_zeros(n, self.classes)
        count = torch.zeros_like(found)
        down, across = (
            self.shrink * (torch.arange(side, device=scores.device) + 0.5) for side in scores.shape[2:]
        )
        number = torch.arange(n, device=scores.device)
        for index in range(m):
            one = objects[:, index]
            reach = [
                torch.where(one[:, size] > 0, one[:, size] / 2, self.near_px) for size in (HEIGHT, WIDTH)
            ]
            y, x = (
                (line - one[:, at, None]).abs() <= far[:, None]
                for line, at, far in zip((down, across), (Y, X), reach, strict=True)
            )
            present = one[:, KIND] >= 0
            area = y[:, :, None] & x[:, None, :] & present[:, None, None]
            kind = one[:, KIND].long().clamp(min=0)
            inside[number, kind] |= area
            count[number, kind] += present
            found[number, kind] += (area & tops[number, kind]).flatten(1).any(1)
        marks = tops.sum((2, 3))
        precision = (tops & inside).sum((2, 3)) / marks.clamp(min=1)
        recall = found / count.clamp(min=1)
        f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
        return torch.where((marks == 0) & (count == 0), 1.0, f1).mean(1)


def _weights(objects: Sequence[float]) -> Tensor:
    return torch.tensor([1 / max(one, _LEAST_SHARE) for one in objects])


def mirrored(objects: Tensor, shape: Sequence[int], filled: Sequence[int]) -> Tensor:
    """The objects (M, 5) of an image that goes on to the right and below as in a mirror, those of the mirror with them.

    The outermost pixels stand once, as numpy's padding "reflect" has it.

    Parameters
    ----------
    shape, filled:
        Height and width before and after.
    """
    for at, side, whole in ((Y, shape[0], filled[0]), (X, shape[1], filled[1])):
        if whole == side:
            continue
        period = max(1, 2 * (side - 1))
        found = []
        for turn in range(math.ceil(whole / period) + 1):
            for sign in (1, -1):
                copy = objects.clone()
                copy[:, at] = sign * (objects[:, at] - 0.5) + turn * period + 0.5
                # the first ones are the objects themselves, and lie inside
                own = turn == 0 and sign == 1
                found.append(copy if own else copy[(copy[:, at] > side) & (copy[:, at] < whole)])
        objects = torch.cat(found)
    return objects
