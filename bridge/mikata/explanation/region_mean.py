"""A segmentation network's answer for one region, as class scores: what its heat maps explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.language import say


class RegionMean(nn.Module):
    """The mean of a segmentation network's class maps over a region: scores (N, K).

    Seg-Grad-CAM explains ``sum over M of y_c`` over a set of pixels M (Vinogradova et al., "Towards Interpretable
    Semantic Segmentation via Gradient-Weighted Class Activation Mapping", AAAI 2020, arXiv 2002.11434, equation
    3); the mean differs by the number of pixels only, and lets regions of different size be compared.

    Parameters
    ----------
    network:
        Images (N, C, H, W) to scores (N, K, H, W) before softmax, or to a dict with these as ``out``, as
        torchvision's networks do. It stays as it is.
    mask:
        (H, W), truth values: the region, at the size of the network's output.

    Attributes
    ----------
    whole:
        The network. Its layers have the same names in both.

    Raises
    ------
    NetworkError
        If the mask is not two-dimensional or holds no pixel; when called, if it does not fit the output.
    """

    def __init__(self, network: nn.Module, mask: Tensor) -> None:
        super().__init__()
        if mask.ndim != 2:
            raise NetworkError(
                say(
                    "The region must be a mask of (height, width) or one for each image, not {shape}.",
                    shape=tuple(mask.shape),
                )
            )
        if not bool(mask.any()):
            raise NetworkError(say("The region is empty: there is no output to explain."))
        # neither a buffer, which would follow the network's precision, nor a part under a name of its own
        vars(self).update(whole=network, inside=mask.bool())
        # the network's layers keep their names
        self._parameters, self._buffers, self._modules = (
            network._parameters,
            network._buffers,
            network._modules,
        )

    whole: nn.Module
    inside: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Mean scores (N, K) of images (N, C, H, W)."""
        return self._mean(self._maps(x))

    def probabilities(self, x: Tensor) -> Tensor:
        """Mean probabilities (N, K), softmax at each pixel, of images (N, C, H, W); of one class the scores."""
        maps = self._maps(x)
        return self._mean(torch.softmax(maps, 1) if maps.shape[1] > 1 else maps)

    def _mean(self, maps: Tensor) -> Tensor:
        inside = self.inside.flatten().to(maps.device, maps.dtype)
        return maps.flatten(2) @ (inside / inside.sum())

    def _maps(self, x: Tensor) -> Tensor:
        maps: Any = self.whole(x)
        if isinstance(maps, Mapping):
            maps = maps.get("out")
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise NetworkError(
                say(
                    "The network must give a score for each class and pixel, (images, classes, height, width), not "
                    "{shape}.",
                    shape=shape,
                )
            )
        if maps.shape[-2:] != self.inside.shape:
            raise NetworkError(
                say(
                    "The region is {region} px, the network's output {output} px (height x width): bring the region "
                    "to the output's size.",
                    region=" x ".join(map(str, self.inside.shape)),
                    output=" x ".join(map(str, maps.shape[-2:])),
                )
            )
        return maps
