"""Score-CAM: a layer's maps weighted by the scores of the image seen through each of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.explanation.checks import check_finite

Scores = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to class scores (N, K)."""


def score_cam(
    scores_of: Scores,
    batch: Tensor,
    activations: Tensor,
    classes: tuple[int, ...] | None,
    together: int,
    check: Callable[[], object],
) -> Tensor:
    """``sum over c of alpha_c A_c`` before the positive part, (N, K, h, w).

    ``alpha = softmax over c of score_k(X * s(A_c))``, where ``s`` brings a map to the image's size (bilinear,
    cells' centres in place) and to 0..1.

    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR Workshop
    2020, arXiv 1910.01279, algorithm 1. The baseline's score, which it takes off each score, falls out of the
    softmax. A map that is the same everywhere lets nothing through.

    Parameters
    ----------
    scores_of:
        Gives the scores before softmax. It is called once a channel and image, with `together` images at once.
    batch:
        (N, C, H, W), the images.
    activations:
        (N, channels, h, w) of the layer.
    classes:
        One class for each image, or None for all: K is 1, or all.
    check:
        Called before each pass; what it raises ends the work.
    """
    images, channels = activations.shape[:2]
    grids = []
    for n in range(images):
        found = []
        for start in range(0, channels, together):
            check()
            maps = activations[n, start : start + together, None]
            masks = F.interpolate(maps, batch.shape[-2:], mode="bilinear", align_corners=False)
            low, high = masks.amin((-2, -1), keepdim=True), masks.amax((-2, -1), keepdim=True)
            masks = torch.where(high > low, (masks - low) / (high - low), 0.0)
            scores = scores_of(batch[n] * masks.to(batch.dtype))
            check_finite(scores)
            scores = scores if classes is None else scores[:, classes[n], None]
            found.append(scores.to(activations.dtype))
        weights = torch.cat(found).softmax(0)  # (channels, K)
        grids.append(torch.einsum("ck,chw->khw", weights, activations[n]))
    return torch.stack(grids)
