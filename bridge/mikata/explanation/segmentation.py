"""Heat maps of a segmentation network: what in the image speaks for a class in one region."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.explanation.checks import check_batch
from mikata.explanation.engine import Check, Target, go_on, heat_maps
from mikata.explanation.explained import Explanation
from mikata.explanation.layers import uncompiled
from mikata.explanation.methods import DEFAULTS, Settings
from mikata.explanation.region_mean import RegionMean
from mikata.language import say


def segment_heat_maps(
    network: nn.Module,
    batch: Tensor,
    region: Tensor,
    target: Target = None,
    method: str = "Grad-CAM",
    layer: str | None = None,
    *,
    settings: Settings = DEFAULTS,
    check: Check = go_on,
) -> Explanation:
    """Show where in each image a segmentation network finds what speaks for a class in a region.

    The class's score is its mean over the region (see `RegionMean`: Seg-Grad-CAM, for any method); RISE takes the
    mean of its probability there.

    Parameters
    ----------
    network:
        Gives a score for each class and pixel before softmax, (N, K, H, W), or a dict with it as ``out``.
    batch, method, settings, check:
        As for `heat_maps`.
    region:
        (H, W) for all images, or (N, H, W), truth values: the region, at the size of the network's output.
    target:
        As for `heat_maps`; None is the class whose mean over the region is highest.
    layer:
        As for `heat_maps`; None: the end of the network's narrowest part.

    Returns
    -------
    Explanation
        Its `logits` are the means over the region (N, K).

    Raises
    ------
    NetworkError
        As for `heat_maps`, or if the region is empty or does not fit the images or the output.
    """
    network = uncompiled(network)
    if isinstance(network, torch.jit.ScriptModule):
        raise NetworkError(
            say("A TorchScript network for segmentation cannot be explained: give the torch network.")
        )
    check_batch(batch)

    def explain(mask: Tensor, part: Tensor, what: Target) -> Explanation:
        scores = RegionMean(network, mask)
        return heat_maps(scores, part, what, method, layer, settings=settings, check=check)

    if region.ndim != 3:
        return explain(region, batch, target)
    if len(region) != len(batch):
        raise NetworkError(
            say(
                "There are {regions} regions for {images} images: give one for each image.",
                regions=len(region),
                images=len(batch),
            )
        )
    each = [
        explain(region[n], batch[n : n + 1], _target_of(target, n, len(batch))) for n in range(len(batch))
    ]
    return _joined(each, every=isinstance(target, str))


def _target_of(target: Target, image: int, images: int) -> Target:
    """What is asked of one image; a target that does not fit is left for `heat_maps` to refuse."""
    if target is None or isinstance(target, (str, int)):
        return target
    numbers = torch.as_tensor(target)
    if numbers.ndim == 0:
        return target
    if len(numbers) != images:
        raise NetworkError(
            say(
                "There are {targets} targets for {images} images: give one for each image.",
                targets=len(numbers),
                images=images,
            )
        )
    return numbers[image : image + 1]


def _joined(each: list[Explanation], every: bool) -> Explanation:
    """The explanations of single images as that of a batch."""

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.cat(there) if there else None

    first = each[0]
    return replace(
        first,
        grid=torch.cat([one.grid for one in each]),
        classes=first.classes if every else tuple(one.classes[0] for one in each),
        logits=torch.cat([one.logits for one in each]),
        empty=torch.cat([one.empty for one in each]),
        zero_gradient=torch.cat([one.zero_gradient for one in each]),
        score_change=joined([one.score_change for one in each]),
        completeness_error=joined([one.completeness_error for one in each]),
    )
