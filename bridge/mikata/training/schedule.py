"""The learning rate over the steps of a training, as a function of the step alone."""

from __future__ import annotations

import math

from mikata.errors import RecipeError
from mikata.language import say
from mikata.training.stage import Stage


def rate_factor(step: int, steps_of_an_epoch: int, stage: Stage) -> float:
    """The share of its learning rate that the optimiser uses.

    Warm-up: with W = ``warmup_epochs`` x `steps_of_an_epoch`, which need not be a whole number, the share rises by
    the same amount each step, (step + 1) / (W + 1), as from 0 before the first step (Goyal et al. 2017,
    arXiv 1706.02677). From step W on, with p = (step - W) / (all steps - W):

    * ``constant``: 1
    * ``cosine``: (1 + cos(pi p)) / 2 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts)
    * ``linear``: 1 - p

    Parameters
    ----------
    step:
        Steps of the optimiser done so far, from 0.
    steps_of_an_epoch:
        Steps of one epoch.

    Returns
    -------
    float
        From 0 to 1; 0 beyond the last step, but for ``constant``.
    """
    warm = stage.warmup_epochs * steps_of_an_epoch
    if step < warm:
        return (step + 1) / (warm + 1)
    if stage.schedule == "constant":
        return 1.0
    total = steps_of_an_epoch * stage.epochs
    done = min(1.0, (step - warm) / (total - warm)) if total > warm else 1.0
    return (1 + math.cos(math.pi * done)) / 2 if stage.schedule == "cosine" else 1 - done


def refuse_endless_warmup(stage: Stage, recipe: str) -> None:
    """Refuse a warm-up that leaves no epoch with the whole learning rate.

    Raises
    ------
    RecipeError
        If ``warmup_epochs`` is not less than ``epochs``.
    """
    if stage.warmup_epochs >= stage.epochs and stage.head == "gradient":
        raise RecipeError(
            say(
                "{recipe}: warmup_epochs = {warmup:g} must be less than epochs = {epochs}: the learning rate would "
                "never be reached. Give more epochs, or a recipe with a shorter warm-up.",
                recipe=recipe,
                warmup=stage.warmup_epochs,
                epochs=stage.epochs,
            )
        )
