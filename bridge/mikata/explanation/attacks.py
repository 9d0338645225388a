"""How little an image must change for a network to say something else: FGSM, PGD, and the smallest change found.

All changes are bounded in every single value: no value of the image moves by more than ``epsilon`` (the L-infinity
norm), which is in the unit of the images' values, so that the network's normalisation must lie inside what is asked
for scores. All changed images stay within the lowest and highest value that their kind can have.

FGSM: Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv 1412.6572,
``x + epsilon * sign(d loss / d x)``. PGD: Madry et al., "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018, arXiv 1706.06083: several such steps from a random start, each brought back into the bound.

Their loss is the cross-entropy. It is ``log(1 + exp(odds))`` of the log-odds against the class, ``odds = logsumexp of
the other scores - the class's score``, and its gradient is that of the odds times a number from 0 to 1. The sign is
that of the odds' own gradient, which is taken here: where a network is very sure, the cross-entropy's gradient is 0
in floating point, and the attack would fail for no good reason (gradient masking: Carlini and Wagner 2017, arXiv
1608.04644, section V).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mikata.errors import NetworkError, ParameterError
from mikata.language import say

Scores = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in the unit of their values to class scores before softmax (N, K), K at least 2."""

STEP = 2.5
"""Length of all steps of PGD together in times of epsilon: far enough to reach the bound's far side (Madry et al.)."""

_CLEAR = 1e-3
_ROUNDING = 1e-5
_HALVINGS = 6
"""Of the line between the image and a changed one, which costs a forward pass each."""


def _go_on() -> None:
    """Nobody asks to stop."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lowest and highest value that N images can have; each (N,) or one number for all."""

    low: Tensor | float
    high: Tensor | float

    def of(self, index: Tensor) -> Bounds:
        """The bounds of some of the images."""
        return Bounds(*(one[index] if isinstance(one, Tensor) else one for one in (self.low, self.high)))

    def keep(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) with values beyond the bounds set to these."""
        low, high = (_column(one, images) for one in (self.low, self.high))
        return torch.minimum(torch.maximum(images, low), high)


@dataclass(frozen=True, eq=False)
class Flips:
    """The smallest change of each of N images that was found to change the class.

    Attributes
    ----------
    changed:
        (N, C, H, W) the changed images; the image itself where no change was found.
    distance:
        (N,) the largest change of a single value, in the unit of the values; infinite where none was found. It is an
        upper bound: a smaller change may exist that the search did not find.
    """

    changed: Tensor
    distance: Tensor

    @property
    def flipped(self) -> Tensor:
        """(N,) whether a change was found."""
        return torch.isfinite(self.distance)


def against(scores: Tensor, classes: Tensor) -> Tensor:
    """Log-odds against a class, (N,): ``log((1 - p) / p)`` of its probability p, from scores (N, K)."""
    others = scores.scatter(1, classes[:, None], -math.inf)
    return torch.logsumexp(others, 1) - scores.gather(1, classes[:, None])[:, 0]


def fgsm(
    scores_of: Scores, images: Tensor, classes: Tensor, epsilon: Tensor | float, bounds: Bounds
) -> Tensor:
    """One step of length `epsilon` in every value, away from a class (Goodfellow et al. 2015).

    Parameters
    ----------
    scores_of:
        The network with its normalisation, in evaluation mode.
    images:
        (N, C, H, W), floating point, within `bounds`.
    classes:
        (N,) numbers of the classes to lead away from: those predicted, where no truth is to be given away.
    epsilon:
        Largest change of a value, above 0, in the unit of the values; (N,) or one for all.
    bounds:
        Of the images' values.

    Returns
    -------
    Tensor
        The changed images.

    Raises
    ------
    ParameterError
        If `epsilon` is not a finite number above 0.
    NetworkError
        If the scores have no gradient, or are not finite.
    """
    step = _checked(epsilon, images)
    _, gradient = _ascent(scores_of, images, classes)
    return bounds.keep(images + step * gradient.sign())


def pgd(
    scores_of: Scores,
    images: Tensor,
    classes: Tensor,
    epsilon: Tensor | float,
    bounds: Bounds,
    *,
    steps: int = 10,
    start: Tensor | None = None,
    until_flipped: bool = False,
    check: Callable[[], object] = _go_on,
) -> Tensor:
    """Several steps away from a class, never further than `epsilon` in any value (Madry et al. 2018).

    Parameters
    ----------
    scores_of, images, classes, epsilon, bounds:
        As for `fgsm`.
    steps:
        At least 1, each of `STEP` * `epsilon` / `steps`.
    start:
        Where to start from, (N, C, H, W) in times of `epsilon` from -1 to 1; None: the images. `random_start` draws
        one.
    until_flipped:
        Whether an image is left alone as soon as another class has the largest score; else all steps are taken.
    check:
        Called before every step; what it raises ends the work.

    Returns
    -------
    Tensor
        Of the images on the way, those with the class furthest behind another, or least ahead of it.

    Raises
    ------
    ParameterError, NetworkError
        As `fgsm`; also if `steps` is below 1.
    """
    _check_steps(steps)
    lead = torch.zeros(len(images), device=images.device) if until_flipped else None
    return _stepwise(scores_of, images, classes, _checked(epsilon, images), bounds, steps, start, lead, check)


def _stepwise(
    scores_of: Scores,
    images: Tensor,
    classes: Tensor,
    reach: Tensor,
    bounds: Bounds,
    steps: int,
    start: Tensor | None,
    lead: Tensor | None,
    check: Callable[[], object],
) -> Tensor:
    """The steps of `pgd`; an image is left alone once another class leads by more than `lead` (N,), if that is given."""
    lowest, highest = images - reach, images + reach
    now = images if start is None else bounds.keep(images + reach * start)
    best = now.clone()
    most = torch.full((len(images),), -math.inf, device=images.device)
    left = torch.arange(len(images), device=images.device)
    for number in range(steps + 1):
        check()
        last = number == steps
        current = now[left]
        scores, gradient = _ascent(scores_of, current, classes[left], wanted=not last)
        behind = _behind(scores, classes[left])
        better = behind > most[left]
        best[left[better]] = current[better]
        most[left] = torch.maximum(most[left], behind)
        if last:
            break
        moved = current + reach[left] * (STEP / steps) * gradient.sign()
        inside = torch.minimum(torch.maximum(moved, lowest[left]), highest[left])
        now = now.index_copy(0, left, bounds.of(left).keep(inside))
        if lead is not None:
            left = left[behind <= lead[left]]
            if not len(left):
                break
    return best


def random_start(images: Tensor, seeds: list[int]) -> Tensor:
    """Uniform numbers from -1 to 1 like `images`, each image's from its own seed, whatever else is in the batch."""
    drawn = []
    for one, seed in zip(images, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        drawn.append(torch.rand(one.shape, generator=generator, dtype=torch.float32) * 2 - 1)
    return torch.stack(drawn).to(images)


def smallest_flips(
    scores_of: Scores,
    images: Tensor,
    classes: Tensor,
    most: float,
    bounds: Bounds,
    *,
    steps: int = 10,
    start: Tensor | None = None,
    rounds: int = 8,
    tolerance: float = 0.02,
    check: Callable[[], object] = _go_on,
) -> Flips:
    """Search for the smallest change that makes another class the predicted one, by bisection over epsilon with PGD.

    The first attempts are at `most`, with FGSM and then with PGD, and at an eighth of it. Each changed image that is
    found is drawn back towards the original as far as the class stays changed, and the next attempt is half way
    between the least change known to do and the largest that failed. A failed attempt proves nothing, so that what
    comes out is an upper bound.

    Parameters
    ----------
    scores_of, images, bounds, steps, start, check:
        As for `pgd`.
    classes:
        (N,) the predicted classes.
    most:
        Largest epsilon to try, above 0.
    rounds:
        Attempts after the first two, at most.
    tolerance:
        Where an attempt this share below the least change known has failed, the search ends.

    Returns
    -------
    Flips
        Every change was verified: another class leads by more than rounding can undo.

    Raises
    ------
    ParameterError, NetworkError
        As `pgd`.
    """
    _checked(most, images)
    _check_steps(steps)
    with torch.no_grad():
        clear = _needed(_finite(scores_of(images)), classes)
    found = images.clone()
    distance = torch.full((len(images),), math.inf, device=images.device)
    failed = torch.zeros(len(images), device=images.device)

    def attempt(index: Tensor, epsilon: Tensor, *, quick: bool = False) -> Tensor:
        """Search within epsilon; gives which of the images have a smaller change now."""
        own, numbers, limits = images[index], classes[index], bounds.of(index)
        if quick:
            changed = fgsm(scores_of, own, numbers, epsilon, limits)
        else:
            from_ = None if start is None else start[index]
            reach = _checked(epsilon, own)
            changed = _stepwise(scores_of, own, numbers, reach, limits, steps, from_, clear[index], check)
        there = _flipped(scores_of, changed, numbers, clear[index])
        shorter = _drawn_back(
            scores_of, own[there], changed[there], numbers[there], clear[index[there]], check
        )
        size = (shorter - own[there]).abs().amax((1, 2, 3))
        done = index[there]
        better = size < distance[done]
        distance[done[better]] = size[better]
        found[done[better]] = shorter[better]
        smaller = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        smaller[done[better]] = True
        return smaller[index]

    with torch.no_grad():
        everything = torch.arange(len(images), device=images.device)
        attempt(everything, torch.full_like(distance, most), quick=True)
        for level in (most, most / 8):
            index = (~torch.isfinite(distance)).nonzero()[:, 0]
            if len(index):
                attempt(index, torch.full((len(index),), level, device=images.device))
        for _ in range(rounds):
            unsettled = torch.isfinite(distance) & (distance - failed > tolerance * distance)
            index = unsettled.nonzero()[:, 0]
            if not len(index):
                break
            middle = (failed[index] + distance[index]) / 2
            in_vain = ~attempt(index, middle)
            failed[index[in_vain]] = middle[in_vain]
    return Flips(found, distance)


def _ascent(scores_of: Scores, images: Tensor, classes: Tensor, wanted: bool = True) -> tuple[Tensor, Tensor]:
    """Scores (N, K), and where `wanted` the gradient of the log-odds against the classes (N, C, H, W)."""
    with torch.inference_mode(False), torch.set_grad_enabled(wanted):
        given = images.detach().clone().requires_grad_(wanted)
        # a copy: a network may write into its input, and a leaf must not be written to
        scores = _finite(scores_of(given.clone()))
        if not wanted:
            return scores, images
        if not scores.requires_grad:
            raise NetworkError(
                say("The network's scores have no gradient towards the image, which these attacks need.")
            )
        odds = against(scores, classes).sum()
        # zeros where the scores do not depend on the image at all
        (gradient,) = torch.autograd.grad(odds, given, materialize_grads=True)
    # a root or a norm at 0 has no slope: that value then stays as it is
    return scores.detach(), torch.nan_to_num(gradient)


def _finite(scores: Tensor) -> Tensor:
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise NetworkError(
            say(
                "The network must give scores of at least two classes, not {shape}.",
                shape=tuple(scores.shape),
            )
        )
    if not bool(torch.isfinite(scores.detach()).all()):
        raise NetworkError(
            say("The network's scores are not numbers (NaN) or infinite: its weights may be broken.")
        )
    return scores


def _needed(scores: Tensor, classes: Tensor) -> Tensor:
    """By how much another class must lead (N,): more than rounding, which differs from batch to batch, can undo."""
    lead = -_behind(scores, classes)
    return torch.maximum(_CLEAR * lead.clamp(min=0), _ROUNDING * scores.abs().amax(1))


def _behind(scores: Tensor, classes: Tensor) -> Tensor:
    """How far the class is behind the best other one (N,); negative where it leads."""
    others = scores.scatter(1, classes[:, None], -math.inf)
    return others.amax(1) - scores.gather(1, classes[:, None])[:, 0]


def _flipped(scores_of: Scores, images: Tensor, classes: Tensor, clear: Tensor | float = 0.0) -> Tensor:
    with torch.no_grad():
        return _behind(_finite(scores_of(images.clone())), classes) > clear


def _drawn_back(
    scores_of: Scores,
    images: Tensor,
    changed: Tensor,
    classes: Tensor,
    clear: Tensor,
    check: Callable[[], object],
) -> Tensor:
    """Flipped images brought as near to the images as the class stays changed on the line between the two."""
    if not len(images):
        return changed
    near = torch.zeros(len(images), device=images.device)
    far = torch.ones(len(images), device=images.device)
    change = changed - images
    for _ in range(_HALVINGS):
        check()
        middle = (near + far) / 2
        there = _flipped(scores_of, images + _column(middle, images) * change, classes, clear)
        far = torch.where(there, middle, far)
        near = torch.where(there, near, middle)
    # where it is whole the changed image itself, which rounding would move
    return torch.where(_column(far, images) == 1, changed, images + _column(far, images) * change)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ParameterError(say("steps must be at least 1, not {steps}.", steps=steps))


def _checked(epsilon: Tensor | float, images: Tensor) -> Tensor:
    """Epsilon (N, 1, 1, 1)."""
    values = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device)
    if not bool(torch.isfinite(values).all()) or bool((values <= 0).any()):
        raise ParameterError(
            say("The bound of the change must be a number above 0, not {epsilon}.", epsilon=epsilon)
        )
    return _column(values, images).expand(len(images), 1, 1, 1)


def _column(value: Tensor | float, images: Tensor) -> Tensor:
    """One number for each image, or for all, to go with (N, C, H, W)."""
    return torch.as_tensor(value, dtype=images.dtype, device=images.device).reshape(-1, 1, 1, 1)
