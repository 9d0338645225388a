"""A head for few images: logistic regression on what the network, as it is, makes of the training images."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.errors import RecipeError, TrainingError
from mikata.language import say
from mikata.networks import asked_between_layers, features, heads
from mikata.training.data import Part, WholeBatches
from mikata.training.losses import ClassLoss
from mikata.training.stage import Stage
from mikata.types import Progress

STRENGTHS = tuple(float(10.0**power) for power in range(-4, 5))
"""The C that are tried, from the simplest head on: one over the weight of the L2 penalty against the sum of losses."""

_MOST_ITERATIONS = 5000
_TOLERANCE = 1e-6

Features = tuple[NDArray[np.float64], NDArray[np.int64]]
"""What the head sees of each image (N, F), and the number of its class (N,)."""


@dataclass(frozen=True)
class FewShot:
    """What :func:`fit_head` found.

    Attributes
    ----------
    entry:
        The one row of the history: as of an epoch of training by gradients, with ``few_shot_c`` besides.
    selection_loss:
        The lowest one.
    strength:
        The C that gave it.
    """

    entry: dict[str, float]
    selection_loss: float
    strength: float


def fit_head(
    classifier: Classifier,
    learning: Part,
    choosing: Part,
    stage: Stage,
    recipe: str,
    progress: Progress,
    accelerator: str,
) -> FewShot:
    """Fit a new head at once, and write it into the classifier, which stays what it was otherwise.

    Multinomial logistic regression with an L2 penalty (scikit-learn's, by L-BFGS) on standardised features of the
    whole training images, not augmented, dropout and batch normalisation as when the network is used. Each of
    STRENGTHS is tried; the lowest selection loss chooses, the stronger penalty of two that are equal. The
    standardisation is folded into the head's weights.

    ``balance``: both ``class_weights`` and ``sampling`` weigh the classes as if they were equally common;
    ``logit_adjustment`` takes the logarithm of the prior from the intercepts afterwards, which is the same as
    having added it in training, since intercepts are not penalised.

    Parameters
    ----------
    recipe:
        Its name, for messages.
    accelerator:
        Lightning's name of the device that computes the features. The classifier comes back on the CPU.

    Raises
    ------
    RecipeError
        If the network's head is no linear layer.
    TrainingError
        If the features are no numbers, or no penalty lets the fit come to an end.
    ImageError
        If an image can no longer be read.
    Cancelled
        If the user asked to stop; the classifier is then as it was.
    """
    started = time.monotonic()
    layer = _linear_head(classifier, stage, recipe)
    classes = int(classifier.configuration["classes"])
    device = torch.device("cuda" if accelerator == "cuda" else accelerator)
    classifier.to(device).eval()
    try:
        seen = _seen(classifier, learning, stage, say("Looking at training images"), progress)
        chosen_by = _seen(classifier, choosing, stage, say("Looking at selection images"), progress)
    finally:
        classifier.to("cpu")
    losses = ClassLoss(learning.labels, classes, stage)
    best: tuple[float, float, Tensor, Tensor] | None = None
    for number, strength in enumerate(STRENGTHS):
        progress.step(say("Fitting the head"), number, len(STRENGTHS))
        found = logistic_regression(*seen, classes, strength, stage)
        if found is None:
            continue
        loss, _ = _judge(found, chosen_by, losses.of_selection)
        if best is None or loss < best[0]:
            best = (loss, strength, *found)
    progress.step(say("Fitting the head"), len(STRENGTHS), len(STRENGTHS))
    if best is None:
        raise TrainingError(
            say(
                "The few-shot head cannot be fitted: no penalty lets the fit come to an end within {count} steps. "
                'Say head = "gradient".',
                count=_MOST_ITERATIONS,
            )
        )
    loss, strength, *found_weights = best
    weight, bias = found_weights
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    trained, right = _judge((weight, bias), seen, losses.of_training)
    entry = {
        "epoch": 1,
        "training_loss": trained,
        "training_accuracy": right,
        "selection_loss": loss,
        "selection_accuracy": _judge((weight, bias), chosen_by, losses.of_selection)[1],
        "few_shot_c": strength,
        "seconds": time.monotonic() - started,
    }
    return FewShot(entry, loss, strength)


def logistic_regression(
    features: NDArray[np.float64], labels: NDArray[np.int64], classes: int, strength: float, stage: Stage
) -> tuple[Tensor, Tensor] | None:
    """Weights (K, F) and intercepts (K,) of a linear head, float64; None where the fit does not come to an end.

    Parameters
    ----------
    features:
        (N, F), of any scale: they are standardised for the fit, and a feature that is always the same weighs nothing.
    labels:
        (N,), numbers below `classes`, each at least once.
    strength:
        scikit-learn's C.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(0), features.std(0)
    # what is left of a constant by rounding is no signal either
    constant = deviation <= 1e-10 * np.maximum(1e-30, np.abs(mean))
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
    balanced = stage.balance in ("class_weights", "sampling")
    regression: Any = LogisticRegression(
        C=strength,
        class_weight="balanced" if balanced else None,
        max_iter=_MOST_ITERATIONS,
        tol=_TOLERANCE,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            regression.fit((features - mean) * scale, labels)
        except ConvergenceWarning:
            return None
    weights, intercepts = regression.coef_, regression.intercept_
    if len(weights) == 1:  # of two classes the difference alone: half of it to each side is the same softmax
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.hstack([-intercepts, intercepts]) / 2
    weights = weights * scale
    weight = torch.from_numpy(weights)
    bias = torch.from_numpy(intercepts - weights @ mean)
    if stage.balance == "logit_adjustment":
        bias = bias - ClassLoss(torch.from_numpy(labels), classes, stage).offsets.double()
    return weight, bias


def _linear_head(classifier: Classifier, stage: Stage, recipe: str) -> nn.Linear:
    layers = [classifier.network.get_submodule(name) for name in heads(classifier.network)]
    if len(layers) == 1 and isinstance(layers[0], nn.Linear) and layers[0].bias is not None:
        return layers[0]
    raise RecipeError(
        say(
            '{recipe}: head = "few_shot" needs a network that ends in one linear layer, as resnet18 does; '
            '{network} does not. Choose another network, or say head = "gradient".',
            recipe=recipe,
            network=stage.network,
        )
    )


def _seen(classifier: Classifier, source: Part, stage: Stage, message: str, progress: Progress) -> Features:
    look = features(classifier)
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    done = 0
    device = classifier.normalise.mean.device
    with torch.inference_mode(), asked_between_layers(classifier, progress.check):
        for images, numbers, _ in WholeBatches(source, stage.batch, workers=stage.workers):
            progress.step(message, done, len(source))
            rows.append(look(images.to(device)).float().cpu())
            labels.append(numbers)
            done += len(numbers)
    progress.step(message, len(source), len(source))
    whole = torch.cat(rows).double().numpy()
    if not np.isfinite(whole).all():
        raise TrainingError(
            say("The network's features are not numbers: its weights are damaged. Choose another source.")
        )
    return whole, torch.cat(labels).numpy()


def _judge(head: tuple[Tensor, Tensor], seen: Features, loss: Any) -> tuple[float, float]:
    """Mean loss and share of right answers."""
    scores = torch.from_numpy(seen[0]) @ head[0].T + head[1]
    labels = torch.from_numpy(seen[1])
    return float(loss(scores, labels).mean()), float((scores.argmax(1) == labels).double().mean())
