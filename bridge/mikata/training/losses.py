"""What training makes small, and what chooses the epoch: cross entropy, what rare classes need of it, and errors of values."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.errors import DataError, RecipeError
from mikata.language import say
from mikata.training.stage import Stage, shown

TAU = 1.0
"""Strength of the logit adjustment: with 1, the smallest loss is that of the smallest balanced error."""


Figure = Literal["accuracy", "mae", "dice", "f1"]
"""What the history tells beside the loss: share of right answers, mean absolute error of values, or mean Dice of images, or
mean F1 of objects in images."""


class ClassLoss(nn.Module):
    """Cross entropy of scores, one number an image; the two that a stage needs.

    The loss of *training* is -w_y sum_k q_k log softmax(f + tau log prior)_k, where q = (1 - s) [k = y] + s / K is
    the truth smoothed by s (Szegedy et al. 2016, arXiv 1512.00567); w_y are the class weights (1 but for
    ``class_weights``), tau log prior the logit adjustment of Menon et al. 2021 (arXiv 2007.07314, equation 10;
    0 but for ``logit_adjustment``).

    The loss of *selection*, which chooses the epoch, is -w_y log softmax(f)_y: plain, neither smoothed nor adjusted,
    of the scores that the network gives when it is used. With logit adjustment those scores are made for classes
    that are all equally common, so that the plain loss over images of which most are of one class would choose
    an epoch by what the network has just been taught to leave out. There w_y are the class weights, which make the
    classes equally common: the expected weighted loss is smallest for the very scores log p(y | x) / prior(y) for
    which the adjusted training loss is.

    Attributes
    ----------
    training_weights, selection_weights:
        Weight of each class (K,).
    offsets:
        tau log prior (K,), added to the scores in training.
    smoothing:
        From 0 to below 1.
    """

    figure: Figure = "accuracy"
    training_weights: Tensor
    selection_weights: Tensor
    offsets: Tensor

    def __init__(self, labels: Tensor, classes: int, stage: Stage) -> None:
        """Weights and priors of the training images' `labels` (N,), numbers below `classes`.

        Raises
        ------
        DataError
            If they are needed and a class has no image.
        """
        super().__init__()
        ones = torch.ones(classes)
        balance = stage.balance
        balanced = (
            class_weights(labels, classes) if balance in ("class_weights", "logit_adjustment") else ones
        )
        adjusted = balance == "logit_adjustment"
        self.smoothing = stage.label_smoothing
        self.register_buffer("training_weights", ones if adjusted else balanced)
        self.register_buffer("selection_weights", balanced.clone())
        self.register_buffer(
            "offsets", TAU * log_prior(labels, classes) if adjusted else torch.zeros(classes)
        )
        self._adjusted = adjusted

    def of_training(self, scores: Tensor, labels: Tensor) -> Tensor:
        """What is learnt from: losses (N,) of scores (N, K) and labels (N,)."""
        if self._adjusted:
            scores = scores + self.offsets
        losses = F.cross_entropy(scores, labels, reduction="none", label_smoothing=self.smoothing)
        return losses * self.training_weights[labels]

    def of_selection(self, scores: Tensor, labels: Tensor) -> Tensor:
        """What chooses: losses (N,) of scores (N, K) and labels (N,)."""
        return F.cross_entropy(scores, labels, reduction="none") * self.selection_weights[labels]

    def figures(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Whether each image's answer is right (N,), 1 or 0; their mean is `figure`."""
        return (scores.argmax(1) == labels).to(scores.dtype)


class ValueLoss(nn.Module):
    """Huber's loss of values in their standard deviations, one number an image.

    With d = f - (y - mean) / std, the loss is d^2 / 2 for abs(d) below 1 and abs(d) - 1/2 above (Huber 1964, with his
    k = 1), so that single images far off pull less than by squares. Mean and standard deviation are the training
    values'; they are known to the network, which gives y in its unit when it is used.

    Parameters
    ----------
    std:
        Of the training values, in their unit.
    """

    figure: Figure = "mae"

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def of_training(self, scores: Tensor, labels: Tensor) -> Tensor:
        """What is learnt from: losses (N,) of outputs (N, 1) and standardised values (N,)."""
        return F.smooth_l1_loss(scores[:, 0], labels, reduction="none")

    def of_selection(self, scores: Tensor, labels: Tensor) -> Tensor:
        """What chooses: the same."""
        return self.of_training(scores, labels)

    def figures(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Absolute errors (N,) in the value's unit; their mean is `figure`."""
        return (scores[:, 0] - labels).abs() * self.std


def refuse_for_values(stage: Stage, recipe: str) -> None:
    """Refuse what a recipe says of classes where values are to be learnt.

    Raises
    ------
    RecipeError
        If it balances classes, smooths labels, or fits a few-shot head.
    """
    said = {
        "balance": (stage.balance, "none"),
        "label_smoothing": (stage.label_smoothing, 0.0),
        "head": (stage.head, "gradient"),
    }
    for key, (value, wanted) in said.items():
        if value != wanted:
            raise RecipeError(
                say(
                    "{recipe}: {key} = {value} is for classes, but these images have values. Say {key} = {wanted}.",
                    recipe=recipe,
                    key=key,
                    value=shown(value),
                    wanted=shown(wanted),
                )
            )


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weight of each class (K,), N / (K n_k): 1 on average over the images, the same sum for every class.

    Raises
    ------
    DataError
        If a class has no image.
    """
    return len(labels) / (classes * _counts(labels, classes))


def log_prior(labels: Tensor, classes: int) -> Tensor:
    """Logarithm of the share that each class has of the images (K,).

    Raises
    ------
    DataError
        If a class has no image.
    """
    return (_counts(labels, classes) / len(labels)).log()


def _counts(labels: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(labels, minlength=classes).float()
    if not bool((counts > 0).all()):
        raise DataError(
            say(
                "Class number {number} has no training image, so that it cannot be balanced. Give it images, or say "
                'balance = "none".',
                number=int((counts == 0).nonzero()[0]) + 1,
            )
        )
    return counts
