"""What a network for segmentation learns from: Dice and cross entropy, and what parts objects that touch."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.training.losses import Figure

IGNORED = -1
"""Class of pixels that are not part of an image, but of what it was filled up with."""

CLASS, OBJECT, DISTANCE = range(3)
"""Planes of what each pixel is: number of its class, number of its object, and how far inside of it (0 to 1)."""

Parting = Literal["none", "boundary", "distance"]

_SMOOTH = 1.0  # px: of a class that a patch does not hold, the Dice of no prediction is 1


class PixelLoss(nn.Module):
    """Loss of the scores of all pixels, one number an image.

    With probabilities p = softmax(scores) and truth t (1 where a pixel is of a class), over the pixels of an image:

    * ``cross_entropy``: the mean of -log p of the true class.
    * ``dice``: 1 less the mean over the classes but the background of (2 sum p t + 1) / (sum p + sum t + 1), the soft
      Dice of Milletari et al. 2016 (V-Net, arXiv 1606.04797) without the squares.
    * ``dice_ce``: the sum of both (Isensee et al. 2021, nnU-Net, doi 10.1038/s41592-020-01008-z).

    With ``boundary`` the classes are background, inside and boundary: the pixels of an object that have a pixel of
    another one, or of the background, among their eight neighbours (as Caicedo et al. 2019, doi
    10.1002/cyto.a.23863). With ``distance`` the mean absolute error of the sigmoid of the last channel is added, which
    says how far inside of its object a pixel lies.

    Parameters
    ----------
    classes:
        Number of classes that exclude each other, background and boundary included.
    loss, parting:
        As a recipe says them.
    """

    figure: Figure = "dice"

    def __init__(
        self, classes: int, loss: Literal["dice_ce", "cross_entropy", "dice"], parting: Parting
    ) -> None:
        super().__init__()
        self.classes = classes
        self.loss = loss
        self.parting = parting

    def of_training(self, scores: Tensor, planes: Tensor) -> Tensor:
        """Losses (N,) of scores (N, K, H, W) and planes (N, P, H, W)."""
        valid = planes[:, CLASS] != IGNORED
        target = self.targets(planes)
        own = scores[:, : self.classes]
        total = own.new_zeros(len(own))
        if self.loss != "dice":
            each = F.cross_entropy(own, target.clamp(min=0), reduction="none")
            total = total + _mean(each, valid)
        if self.loss != "cross_entropy":
            total = total + 1 - self._soft_dice(own, target, valid)
        if self.parting == "distance":
            error = (torch.sigmoid(scores[:, self.classes]) - planes[:, DISTANCE]).abs()
            total = total + _mean(error, valid)
        return total

    def of_selection(self, scores: Tensor, planes: Tensor) -> Tensor:
        """What chooses: the same."""
        return self.of_training(scores, planes)

    def figures(self, scores: Tensor, planes: Tensor) -> Tensor:
        """Dice of each image (N,): the mean over the classes that it or the prediction holds; 1 where there is none."""
        valid = planes[:, CLASS] != IGNORED
        said = scores[:, : self.classes].argmax(1)
        true = planes[:, CLASS].long()
        count = self.classes
        if self.parting == "boundary":  # which belongs to the object
            said, count = said.clamp(max=1), 2
        found = []
        for number in range(1, count):
            own, other = (said == number) & valid, (true == number) & valid
            both, either = (own & other).sum((1, 2)), own.sum((1, 2)) + other.sum((1, 2))
            found.append(torch.where(either > 0, 2 * both / either.clamp(min=1), torch.nan))
        return torch.stack(found).nanmean(0).nan_to_num(1.0)

    def targets(self, planes: Tensor) -> Tensor:
        """Number of the class (N, H, W) that each pixel is to be given; `IGNORED` where it does not count."""
        classes = planes[:, CLASS].long()
        if self.parting != "boundary":
            return classes
        return torch.where(boundaries(planes[:, OBJECT]) & (classes > 0), 2, classes)

    def _soft_dice(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        probabilities = torch.softmax(scores, 1)[:, 1:]
        truth = torch.stack([target == number for number in range(1, self.classes)], 1).to(scores.dtype)
        weight = valid[:, None].to(scores.dtype)
        both = (probabilities * truth * weight).sum((2, 3))
        either = ((probabilities + truth) * weight).sum((2, 3))
        return ((2 * both + _SMOOTH) / (either + _SMOOTH)).mean(1)


def boundaries(objects: Tensor) -> Tensor:
    """Where a pixel has one of another object or of the background beside it or at its corner (N, H, W).

    Parameters
    ----------
    objects:
        Whole numbers (N, H, W) up to 2^24, 0 for background.
    """
    numbers = objects[:, None].float()
    padded = F.pad(numbers, (1, 1, 1, 1), mode="replicate")  # an image's edge is no boundary
    highest, lowest = F.max_pool2d(padded, 3, 1), -F.max_pool2d(-padded, 3, 1)
    return ((highest != numbers) | (lowest != numbers))[:, 0] & (objects > 0)


def _mean(each: Tensor, valid: Tensor) -> Tensor:
    """Mean over the pixels that count, of each image."""
    return (each * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
