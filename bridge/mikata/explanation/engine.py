"""Heat maps of a network's decision, or of any function from images to scores, by one of `METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.explanation.black_box import baseline_of, occlusion, rise, window_of
from mikata.explanation.checks import (
    check_batch,
    check_finite,
    check_logits,
    check_network,
    classes_of,
)
from mikata.explanation.explained import Explanation
from mikata.explanation.formulas import eigen_cam
from mikata.explanation.integrated import integrated_gradients
from mikata.explanation.layers import as_evaluated, check_scores, target_layer, uncompiled
from mikata.explanation.methods import DEFAULTS, METHODS, Settings, method_named
from mikata.explanation.recording import Recording
from mikata.explanation.region_mean import RegionMean
from mikata.explanation.scored import Scores, score_cam
from mikata.language import say

Target = int | Sequence[int] | Tensor | Literal["all"] | None
Check = Callable[[], object]

_MAP_BYTES = 2**31
"""How much memory the maps of one call may take."""


def go_on() -> None:
    """Nobody asks to stop."""


def heat_maps(
    network: nn.Module,
    batch: Tensor,
    target: Target = None,
    method: str = "Grad-CAM",
    layer: str | None = None,
    *,
    settings: Settings = DEFAULTS,
    check: Check = go_on,
) -> Explanation:
    """Show where in each image a network finds what speaks for a class.

    Parameters
    ----------
    network:
        Gives class scores before softmax (logits), (N, K). It runs in evaluation mode and is left
        exactly as found: modes, gradients, hooks, devices. For a method without a layer it may be TorchScript.
    batch:
        (N, C, H, W), floating point, as the network wants it (normalised, its dtype, its device).
    target:
        Class number from 0; None for the predicted class of each image; N numbers, one for each
        image; or ``"all"`` for every class.
    method:
        A name in `METHODS`.
    layer:
        Dotted name of the layer, as in ``network.named_modules()``; None: `target_layer` finds it. For a method
        without a layer None.
    settings:
        What only some methods need.
    check:
        Called before every forward pass of a method that takes many; what it raises ends the work.

    Returns
    -------
    Explanation

    Raises
    ------
    NetworkError
        If the batch, target, method or layer does not fit the network, or the network is of a kind
        whose layers cannot be reached.
    """
    chosen = method_named(method)
    network = uncompiled(network)
    if isinstance(network, torch.jit.ScriptModule) and chosen.needs_layer:
        raise NetworkError(
            say(
                "A TorchScript network does not let its layers be watched: give the torch network that it was "
                "made from, or take a method without a layer: {methods}.",
                methods=", ".join(name for name, one in METHODS.items() if not one.needs_layer),
            )
        )
    check_batch(batch)
    check_network(network, batch, not chosen.black_box)
    if layer and not chosen.needs_layer:
        raise NetworkError(
            say("{method} looks at the image, not at a layer: leave the layer out.", method=method)
        )
    with torch.inference_mode(False):
        batch = _plain(batch)
        if chosen.needs_layer:
            return _of_layer(network, batch, target, method, layer, settings, check)
        with as_evaluated(network):
            if chosen.needs_gradients:
                return _integrated(network, batch, target, method, settings, check)
            with torch.no_grad():
                logits = network(batch.clone())
                check_logits(logits, batch, network)
                asked = _probabilities(network) if method == "RISE" else network
                return _black_box(asked, batch, logits, target, method, settings, check)


def black_box_maps(
    scores_of: Scores,
    batch: Tensor,
    target: Target = None,
    method: str = "Occlusion",
    *,
    settings: Settings = DEFAULTS,
    check: Check = go_on,
) -> Explanation:
    """Heat maps of anything that gives scores for images: a network in ONNX or TorchScript, another program.

    Parameters
    ----------
    scores_of:
        Images (M, C, H, W) to a tensor of scores (M, K), for any M up to `Settings.forward`, whose images must not
        influence one another. RISE's paper gives it probabilities; of scores below 0, RISE's maps mean nothing.
    batch:
        (N, C, H, W), floating point, as the function wants it.
    target, settings, check:
        As for `heat_maps`.
    method:
        ``Occlusion`` or ``RISE``.

    Returns
    -------
    Explanation
        Its `logits` are what the function gave for the batch.

    Raises
    ------
    NetworkError
        If the method needs more than scores, or the batch, target or scores do not fit.
    """
    if not method_named(method).black_box:
        raise NetworkError(
            say(
                "{method} needs a torch network whose layers and gradients can be reached; here are scores only: "
                "take {methods}.",
                method=method,
                methods=say(" or ").join(name for name, one in METHODS.items() if one.black_box),
            )
        )
    check_batch(batch)
    with torch.inference_mode(False), torch.no_grad():
        batch = _plain(batch)
        check()
        scores = scores_of(batch.clone())
        check_scores(scores, len(batch))
        check_finite(scores)
        return _black_box(scores_of, batch, scores.to(batch.device), target, method, settings, check)


def _plain(batch: Tensor) -> Tensor:
    """The batch outside of inference mode, without a graph."""
    return (batch.clone() if batch.is_inference() else batch).detach()


def _of_layer(
    network: nn.Module,
    batch: Tensor,
    target: Target,
    method: str,
    layer: str | None,
    settings: Settings,
    check: Check,
) -> Explanation:
    """A map with one value for each cell of a layer."""
    name = target_layer(network, batch) if layer is None else layer
    chosen = METHODS[method]
    given = batch.clone() if method == "Score-CAM" else batch  # a network may write into its input
    recording = Recording(network, given, name, chosen.needs_gradients)
    logits, activations = recording.logits, recording.activations
    classes = classes_of(target, logits)
    single = None if target == "all" else classes
    count = logits.shape[1] if single is None else 1
    with torch.no_grad():
        zero = torch.zeros(len(batch), count, dtype=torch.bool, device=logits.device)
        if chosen.formula is not None:
            grids, zeros = [], []
            for gradients in recording.gradients(_seeds(logits, single)):
                grids.append(chosen.formula(activations, gradients))
                zeros.append(gradients.abs().amax((-3, -2, -1)).T == 0)
            grid, zero = torch.cat(grids, 1), torch.cat(zeros, 1)
        elif method == "Eigen-CAM":
            _check_maps(activations)
            grid = eigen_cam(activations).expand(-1, count, -1, -1)
        else:
            with as_evaluated(network):
                together = settings.together(len(batch))
                grid = score_cam(network, batch, activations, single, together, check)
        height, width = batch.shape[-2:]
        cell = (height / recording.grid[0], width / recording.grid[1])
        return _explanation(grid, batch, target, classes, logits, zero, name, method, cell)


def _seeds(logits: Tensor, classes: tuple[int, ...] | None) -> Tensor:
    """What the scores are multiplied with, (K, N, classes): each class in turn, or each image's own."""
    images, count = logits.shape
    numbers = torch.tensor(range(count) if classes is None else classes, device=logits.device)
    one_hot = F.one_hot(numbers, count).to(logits.dtype)
    return one_hot[None] if classes is not None else one_hot[:, None].expand(-1, images, -1)


def _integrated(
    network: nn.Module, batch: Tensor, target: Target, method: str, settings: Settings, check: Check
) -> Explanation:
    with torch.no_grad():
        logits = network(batch.clone())
    check_logits(logits, batch, network)
    classes = classes_of(target, logits)
    single = None if target == "all" else classes
    _check_memory(batch, logits, single)
    found = integrated_gradients(
        network,
        batch,
        baseline_of(batch, settings),
        single,
        settings.steps,
        settings.together(len(batch)),
        check,
    )
    with torch.no_grad():
        return _explanation(
            found.attributions, batch, target, classes, logits, found.still, "", method, (1.0, 1.0),
            score_change=found.change, completeness_error=found.error,
        )  # fmt: skip


def _black_box(
    scores_of: Scores,
    batch: Tensor,
    scores: Tensor,
    target: Target,
    method: str,
    settings: Settings,
    check: Check,
) -> Explanation:
    classes = classes_of(target, scores)
    single = None if target == "all" else classes
    _check_memory(batch, scores, single)
    height, width = int(batch.shape[-2]), int(batch.shape[-1])

    def on_device(images: Tensor) -> Tensor:
        found = scores_of(images)
        check_scores(found, len(images))
        return found.to(batch.device)

    if method == "Occlusion":
        maps = occlusion(on_device, batch, scores, single, settings, check)
        window, _ = window_of((height, width), settings)
        cell = (float(window[0]), float(window[1]))
    else:
        maps = rise(on_device, batch, single, settings, check)
        cell = (height / settings.mask_cells, width / settings.mask_cells)
    zero = torch.zeros(maps.shape[:2], dtype=torch.bool, device=batch.device)
    return _explanation(maps, batch, target, classes, scores, zero, "", method, cell)


def _probabilities(network: nn.Module) -> Scores:
    """RISE's function: the probability of each class, of one output the output itself."""
    if isinstance(network, RegionMean):
        return network.probabilities

    def probabilities(images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits.softmax(1) if logits.shape[1] > 1 else logits

    return probabilities


def _explanation(
    grid: Tensor,
    batch: Tensor,
    target: Target,
    classes: tuple[int, ...],
    logits: Tensor,
    zero: Tensor,
    layer: str,
    method: str,
    cell: tuple[float, float],
    score_change: Tensor | None = None,
    completeness_error: Tensor | None = None,
) -> Explanation:
    """The positive part of maps (N, K, h, w); what is (N, K, ...) loses K where there is one class an image."""
    _check_maps(grid)
    each: list[Tensor | None] = [grid.clamp(min=0), zero, score_change, completeness_error]
    if not (isinstance(target, str) and target == "all"):
        each = [None if one is None else one[:, 0] for one in each]
    heat, still = each[0], each[1]
    assert heat is not None
    assert still is not None
    return Explanation(
        grid=heat,
        size=(int(batch.shape[-2]), int(batch.shape[-1])),
        classes=classes,
        logits=logits.detach(),
        empty=heat.amax((-2, -1)) == 0,
        zero_gradient=still,
        layer=layer,
        method=method,
        cell_px=cell,
        score_change=each[2],
        completeness_error=each[3],
    )


def _check_maps(maps: Tensor) -> None:
    if not bool(torch.isfinite(maps).all()):
        raise NetworkError(
            say(
                "The heat map holds values that are not numbers (NaN) or infinite: the network's activations or "
                "gradients are too large, or its weights broken."
            )
        )


def _check_memory(batch: Tensor, logits: Tensor, classes: tuple[int, ...] | None) -> None:
    """Maps of every pixel for every class of every image may be more than there is memory."""
    count = logits.shape[1] if classes is None else 1
    needed = len(batch) * count * batch.shape[-2] * batch.shape[-1] * max(4, batch.element_size())
    if needed > _MAP_BYTES:
        raise NetworkError(
            say(
                "Maps of {classes} classes of {images} image(s) of {height} x {width} px need {size:.0f} GB at once: "
                "explain fewer images at a time, or single classes.",
                classes=count,
                images=len(batch),
                height=batch.shape[-2],
                width=batch.shape[-1],
                size=needed / 1e9,
            )
        )
