"""The methods by name: what each needs, and what the values of its maps mean."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mikata.errors import NetworkError, ParameterError
from mikata.explanation import formulas
from mikata.language import say


@dataclass(frozen=True)
class Method:
    """One way to make a heat map.

    Attributes
    ----------
    meaning:
        Gives the sentence that says what a map's values are.
    needs_layer:
        Whether it looks at a layer; else at the image.
    needs_gradients:
        Whether it needs a torch network that can be differentiated.
    by_class:
        Whether the map depends on the class.
    many_passes:
        Whether it takes many forward passes for one image.
    formula:
        Of a method that needs nothing but a layer and its gradients: activations (N, C, h, w) and gradients
        (K, N, C, h, w) to maps (N, K, h, w) before the positive part.
    """

    meaning: Callable[[], str]
    needs_layer: bool = True
    needs_gradients: bool = True
    by_class: bool = True
    many_passes: bool = False
    formula: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def black_box(self) -> bool:
        """Whether a function from images to scores is enough."""
        return not (self.needs_layer or self.needs_gradients)


METHODS: dict[str, Method] = {
    "Grad-CAM": Method(
        lambda: say(
            "Sum of the layer's maps, each times the mean of the score's gradient over it; not below 0."
        ),
        formula=formulas.grad_cam,
    ),
    "Grad-CAM++": Method(
        lambda: say(
            "Sum of the layer's maps, each times a weighted sum of the score's positive gradients; not below 0."
        ),
        formula=formulas.grad_cam_plus_plus,
    ),
    "HiResCAM": Method(
        lambda: say("Sum of the layer's maps times the score's gradient, cell by cell; not below 0."),
        formula=formulas.hires_cam,
    ),
    "LayerCAM": Method(
        lambda: say(
            "Sum of the layer's maps times the score's positive gradient, cell by cell; not below 0."
        ),
        formula=formulas.layer_cam,
    ),
    "Eigen-CAM": Method(
        lambda: say(
            "First principal component of the layer's maps; not below 0. It is the same for every class: it shows "
            "what the layer holds, not what speaks for a class."
        ),
        needs_gradients=False,
        by_class=False,
    ),
    "Score-CAM": Method(
        lambda: say(
            "Sum of the layer's maps, each times the share (softmax) of the score of the image seen through it; "
            "not below 0."
        ),
        needs_gradients=False,
        many_passes=True,
    ),
    "Integrated-Gradients": Method(
        lambda: say(
            "Share of each pixel, summed over channels, in the change of the score from the baseline to the "
            "image; not below 0."
        ),
        needs_layer=False,
        many_passes=True,
    ),
    "Occlusion": Method(
        lambda: say(
            "Fall of the score when a window over the pixel is covered, mean over the windows; not below 0."
        ),
        needs_layer=False,
        needs_gradients=False,
        many_passes=True,
    ),
    "RISE": Method(
        lambda: say(
            "Mean probability of the class when the pixel is seen through random masks. It is above 0 everywhere: "
            "only its differences show what speaks for a class."
        ),
        needs_layer=False,
        needs_gradients=False,
        many_passes=True,
    ),
}
"""The methods of `heat_maps` by name."""


@dataclass(frozen=True)
class Settings:
    """What only some methods need.

    Attributes
    ----------
    forward:
        How many changed images go through the network at once; None: as many as the batch holds, at least 16.
    baseline:
        What stands for nothing, in the network's input: a number, or a tensor that fits (C, H, W). 0 is the mean
        of the training images where these were normalised. Occlusion covers with it, the path of
        Integrated-Gradients begins at it. RISE and Score-CAM darken towards 0 by definition.
    window_px:
        Height and width of Occlusion's window; None: an eighth of the image's shorter side each.
    stride_px:
        Step of the window downwards and to the right, at most its size; None: half the window.
    masks:
        Number of RISE's masks. The paper took 4000 for VGG-16 and 8000 for ResNet-50.
    mask_cells:
        Cells of RISE's masks along each side.
    kept:
        Share of RISE's cells that stay visible.
    seed:
        Of RISE's masks: the same seed gives the same masks on every machine.
    steps:
        Points on the path of Integrated-Gradients.

    Raises
    ------
    ParameterError
        If a number is out of range.
    """

    forward: int | None = None
    baseline: float | Tensor = 0.0
    window_px: tuple[int, int] | None = None
    stride_px: tuple[int, int] | None = None
    masks: int = 1000
    mask_cells: int = 7
    kept: float = 0.5
    seed: int = 0
    steps: int = 50

    def __post_init__(self) -> None:
        counts: dict[str, int] = {"masks": self.masks, "mask_cells": self.mask_cells, "steps": self.steps}
        if self.forward is not None:
            counts["forward"] = self.forward
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParameterError(
                    say("{name} must be a whole number from 1 up, not {value!r}.", name=name, value=value)
                )
        for name, pair in (("window_px", self.window_px), ("stride_px", self.stride_px)):
            if pair is not None and (len(pair) != 2 or any(side != int(side) or side < 1 for side in pair)):
                raise ParameterError(
                    say(
                        "{name} must be a height and a width in whole pixels from 1 up, not {value!r}.",
                        name=name,
                        value=pair,
                    )
                )
        if not 0 < self.kept < 1:
            raise ParameterError(
                say("{name} must be above 0 and below 1, not {value:g}.", name="kept", value=self.kept)
            )

    def together(self, images: int) -> int:
        """How many changed images go through the network at once, of a batch of `images`."""
        return self.forward or max(images, 16)


DEFAULTS = Settings()


def method_named(name: str) -> Method:
    """The method of a name, or `NetworkError` with those that there are."""
    if name in METHODS:
        return METHODS[name]
    lower = {known.lower(): known for known in METHODS}
    near = difflib.get_close_matches(str(name).lower(), lower, 1)
    hint = say(" (did you mean '{near}'?)", near=lower[near[0]]) if near else ""
    raise NetworkError(
        say(
            "There is no method '{method}'{hint}: known are {known}.",
            method=name,
            hint=hint,
            known=", ".join(METHODS),
        )
    )
