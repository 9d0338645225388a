"""Integrated gradients: what each pixel adds to the score on the way from a baseline to the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mikata.errors import NetworkError
from mikata.explanation.checks import check_finite
from mikata.explanation.scored import Scores
from mikata.language import say


@dataclass(frozen=True, eq=False)
class Integrated:
    """Attributions (N, K, H, W), summed over channels, of either sign; the rest (N, K).

    `change` is the score less that of the baseline, `error` how far the attributions' sum is from it, `still`
    where every gradient on the path was 0.
    """

    attributions: Tensor
    change: Tensor
    error: Tensor
    still: Tensor


def integrated_gradients(
    scores_of: Scores,
    batch: Tensor,
    baseline: Tensor,
    classes: tuple[int, ...] | None,
    steps: int,
    together: int,
    check: Callable[[], object],
) -> Integrated:
    """``sum over channels of (x - x') * integral over a in 0..1 of d score_k(x' + a (x - x')) / dx``.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv 1703.01365, equation
    1; the integral by Gauss and Legendre's rule of `steps` points, as captum does.

    Parameters
    ----------
    scores_of:
        Gives the scores before softmax, with a graph. It is called with `together` points of a path at once.
    batch:
        (N, C, H, W): x.
    baseline:
        x', of a shape that fits (C, H, W).
    classes:
        One class for each image, or None for all: K is 1, or all.
    check:
        Called before each pass; what it raises ends the work.

    Raises
    ------
    NetworkError
        If the scores have no gradient with respect to the image, or one that is no number.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    points, shares = (nodes + 1) / 2, weights / 2
    accurate = torch.promote_types(batch.dtype, torch.float32)
    baseline = baseline.to(batch).expand(batch.shape[1:])
    with torch.no_grad():
        check()
        below = scores_of(baseline[None].clone())
        check_finite(below)
    found, changes, moved = [], [], []
    for n, image in enumerate(batch):
        with torch.no_grad():
            check()
            above = scores_of(image[None].clone())
            check_finite(above)
        wanted = list(range(above.shape[1])) if classes is None else [classes[n]]
        changes.append((above - below)[0, wanted].to(accurate))
        difference = image - baseline
        total = torch.zeros(len(wanted), *image.shape[1:], dtype=accurate, device=image.device)
        any_gradient = torch.zeros(len(wanted), dtype=torch.bool, device=image.device)
        for start in range(0, steps, together):
            check()
            part = torch.as_tensor(points[start : start + together], dtype=batch.dtype, device=batch.device)
            share = torch.as_tensor(shares[start : start + together], dtype=accurate, device=batch.device)
            path = (baseline + part.reshape(-1, 1, 1, 1) * difference).requires_grad_()
            with torch.enable_grad():
                scores = scores_of(path.clone())  # a network may write into its input, but not into a leaf
            check_finite(scores)
            for k, number in enumerate(wanted):
                gradient = _gradient(scores, number, path, last=k == len(wanted) - 1)
                summed = torch.einsum("mchw,m->chw", gradient.to(accurate), share)
                total[k] += (summed * difference).sum(0)
                any_gradient[k] |= gradient.any()
        found.append(total)
        moved.append(any_gradient)
    attributions, change = torch.stack(found), torch.stack(changes)
    error = (attributions.sum((-2, -1)) - change).abs()
    return Integrated(attributions, change, error, ~torch.stack(moved))


def _gradient(scores: Tensor, number: int, path: Tensor, last: bool) -> Tensor:
    gradient = None
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(
            scores[:, number].sum(), path, retain_graph=not last, allow_unused=True
        )
    if gradient is None:
        raise NetworkError(
            say(
                "The network's scores have no gradient with respect to the image (a part of it may run without "
                "gradients): take Occlusion or RISE, which need none."
            )
        )
    if not bool(torch.isfinite(gradient).all()):
        raise NetworkError(
            say("The network's gradients are not numbers (NaN) or infinite: its weights may be broken.")
        )
    return gradient
