"""The network as attacks ask it: scores and heat of what may be changed, normalisation and continuation inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mikata.architecture import Members
from mikata.errors import NetworkError
from mikata.explanation import Explanation, heat_maps
from mikata.networks import Model
from mikata.prediction import device


class Asked:
    """A package's network, asked about images (N, c, h, w) in the unit of their values.

    Parameters
    ----------
    network:
        Gives classes.
    method, layer:
        Of heat maps; an empty layer is found by itself, once for all images.
    """

    def __init__(self, network: Model, method: str, layer: str) -> None:
        self.network = network
        self.device = device()
        self.classifier = network.classifier.to(self.device).eval()
        self.method = method
        self.layer = layer
        self.no_heat = ""

    def grown(self, images: Tensor) -> Tensor:
        """What the network takes (N, C, H, W): grey repeated, a small image continued as `to_input` does it."""
        if images.shape[1] != self.network.channels:
            images = images.expand(-1, self.network.channels, -1, -1)
        if self.network.fit != "native":
            return images
        for axis, least in zip((-2, -1), self.network.size, strict=True):
            missing = least - images.shape[axis]
            if missing > 0:
                order = np.pad(np.arange(images.shape[axis]), (0, missing), mode="reflect")
                images = images.index_select(axis, torch.from_numpy(order).to(images.device))
        return images

    def scores(self, images: Tensor) -> Tensor:
        """Class scores before softmax (N, K), with a gradient where one is wanted."""
        return self.classifier.logits(self.grown(images))

    def probabilities(self, images: Tensor) -> Tensor:
        """(N, K)."""
        with torch.no_grad():
            found: Tensor = self.classifier.outputs(self.scores(images)).float()
        return found

    def answers(self, inputs: Tensor) -> Tensor:
        """Probabilities (N, K), on the CPU, of what `to_input` gives (N, C, H, W)."""
        with torch.no_grad():
            found: Tensor = self.classifier(inputs.to(self.device)).float().cpu()
        return found

    def heat(self, images: Tensor, classes: Sequence[int]) -> Explanation | None:
        """Heat of one class each; None where an ensemble has none, which `no_heat` then says.

        Raises
        ------
        NetworkError
            For a layer or method that does not fit the network.
        """
        if self.no_heat:
            return None
        with torch.no_grad():
            given = self.classifier.normalise(self.grown(images))
        try:
            found = heat_maps(
                self.classifier.network, given, list(classes), self.method, layer=self.layer or None
            )
        except NetworkError as error:
            if self.layer or not isinstance(self.classifier.network, Members):
                raise
            # attacks work on an ensemble as on any network; only its heat is not there
            self.no_heat = str(error)
            return None
        self.layer = found.layer
        return found


def full(explanation: Explanation, height: int, width: int) -> NDArray[np.float32]:
    """Maps (N, height, width) of an explanation at the size of what may be changed."""
    return np.asarray(explanation.maps[:, :height, :width].float().cpu().numpy(), np.float32)
