"""What a heat map is, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.language import say


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heat maps of one batch, and how they were made. Tensors are on the batch's device.

    Attributes
    ----------
    grid:
        (N, h, w), or (N, K, h, w) for the target ``"all"``: of a method with a layer one value for each cell of
        the layer, of the others one for each pixel of the input. Values from 0 up, not rescaled; what they
        mean differs from method to method: see `METHODS`.
    size:
        Height and width of the input, in pixels.
    classes:
        The class each image's map is for, N numbers; for ``"all"`` every class, 0 to K - 1.
    logits:
        (N, K) class scores before softmax, or what a function without a network gave.
    empty:
        (N,) or (N, K): maps without any heat. `warnings` says why.
    zero_gradient:
        (N,) or (N, K): where the layer (or image) does not influence the class at all: every gradient is 0.
        False everywhere for a method without gradients.
    layer:
        Dotted name of the layer the maps are from; ``*`` in it stands for every member of an ensemble. Empty
        for a method without a layer.
    method:
        Name of the method.
    cell_px:
        Height and width, in pixels of the input, of what a map resolves: a cell of the layer's grid, the window
        of Occlusion, a cell of RISE's masks, one pixel of Integrated-Gradients.
    score_change:
        Of Integrated-Gradients, (N,) or (N, K): the class's score less its score on the baseline; else None.
    completeness_error:
        Of Integrated-Gradients, (N,) or (N, K): by how much the sum of all attributions, positive and negative,
        misses `score_change`, as an absolute value; more steps make it smaller. Else None.
    """

    grid: Tensor
    size: tuple[int, int]
    classes: tuple[int, ...]
    logits: Tensor
    empty: Tensor
    zero_gradient: Tensor
    layer: str
    method: str
    cell_px: tuple[float, float]
    score_change: Tensor | None = None
    completeness_error: Tensor | None = None

    @cached_property
    def maps(self) -> Tensor:
        """(N, H, W), or (N, K, H, W): the grid brought to the input's size, bilinear, cells' centres in place.

        Made when first asked for, since of many classes it takes much memory.
        """
        if tuple(self.grid.shape[-2:]) == self.size:
            return self.grid
        with torch.inference_mode(False), torch.no_grad():
            grid = self.grid if self.grid.ndim == 4 else self.grid[:, None]
            maps = F.interpolate(grid, self.size, mode="bilinear", align_corners=False)
        return maps if self.grid.ndim == 4 else maps[:, 0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each empty map; images are counted from 1."""
        sentences = []
        for index in self.empty.nonzero().tolist():
            number = self.classes[index[-1]] if len(index) == 2 else self.classes[index[0]]
            named = {"image": index[0] + 1, "number": number}
            zero = bool(self.zero_gradient[tuple(index)])
            if not self.layer:
                sentences.append(
                    say(
                        "Image {image} has no heat for class {number}: the image does not influence it (all "
                        "gradients are 0).",
                        **named,
                    )
                    if zero
                    else say(
                        "Image {image} has no heat for class {number}: by {method}, nothing in the image speaks "
                        "for it.",
                        **named,
                        method=self.method,
                    )
                )
                continue
            sentences.append(
                say(
                    "Image {image} has no heat for class {number}: the layer '{layer}' does not influence it (all "
                    "gradients are 0).",
                    **named,
                    layer=self.layer,
                )
                if zero
                else say(
                    "Image {image} has no heat for class {number}: nothing in the layer '{layer}' speaks for it.",
                    **named,
                    layer=self.layer,
                )
            )
        return tuple(sentences)
