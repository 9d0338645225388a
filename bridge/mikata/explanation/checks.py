"""What does not fit a heat map: batches, networks, scores, classes. Each is a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.explanation.layers import as_evaluated, check_scores
from mikata.language import say


def check_batch(batch: Any) -> None:
    """Raise `NetworkError` unless it is a batch of images (N, C, H, W) of finite floating point values."""
    if not isinstance(batch, Tensor) or batch.ndim != 4 or 0 in batch.shape:
        shape = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise NetworkError(
            say("The batch must be a tensor of (images, channels, height, width), not {shape}.", shape=shape)
        )
    if not batch.is_floating_point():
        raise NetworkError(say("The batch must hold floating point values, not {type}.", type=batch.dtype))
    # the sum shows NaN and infinity at once; where finite values overflow it is infinite too: then ask each
    if not bool(torch.isfinite(batch.detach().sum())):
        wrong = (~torch.isfinite(batch).flatten(1).all(1)).nonzero().flatten().tolist()
        if wrong:
            raise NetworkError(
                say(
                    "The batch holds values that are not numbers (NaN) or infinite, in image {numbers} of {count}.",
                    numbers=_listed(wrong),
                    count=len(batch),
                )
            )


def check_network(network: nn.Module, batch: Tensor, differentiated: bool) -> None:
    """Raise `NetworkError` if the network's device or precision is another than the batch's.

    `differentiated` says whether gradients are to be taken.
    """
    weight = next((p for p in network.parameters() if p.is_floating_point()), None)
    if weight is None:
        return
    if weight.device != batch.device and all(p.device != batch.device for p in network.parameters()):
        raise NetworkError(
            say(
                "The batch is on {batch}, the network on {network}: bring both to the same device.",
                batch=batch.device,
                network=weight.device,
            )
        )
    if weight.dtype != batch.dtype and not torch.is_autocast_enabled(batch.device.type):
        raise NetworkError(
            say(
                "The batch is of {batch}, the network of {network}: convert one of them.",
                batch=batch.dtype,
                network=weight.dtype,
            )
        )
    if differentiated and weight.is_inference():
        raise NetworkError(
            say(
                "The network was made under torch.inference_mode, which forbids gradients: make or load it "
                "outside of that."
            )
        )


def check_logits(logits: Any, batch: Tensor, network: nn.Module) -> None:
    """Raise `NetworkError` unless these, a network's scores for a batch, are finite and (N, K) before softmax.

    Scores may look like probabilities by chance, most easily those of a single image. So where they do, the network is
    asked about other images too: probabilities add up to 1 whatever the image is.
    """
    check_scores(logits, len(batch))
    check_finite(logits)
    if logits.shape[1] == 1 or not _like_probabilities(logits):
        return
    one = batch[:1].detach()
    with as_evaluated(network), torch.no_grad():
        if all(_like_probabilities(network(other)) for other in (one.flip(-1), one.flip(-2), one / 2, -one)):
            raise NetworkError(
                say(
                    "The network gives probabilities. A heat map needs the scores before softmax: give the network "
                    "without its last step."
                )
            )


def _like_probabilities(scores: Tensor) -> bool:
    values = scores.detach()
    return float(values.min()) >= 0 and bool(((values.sum(1) - 1).abs() < 1e-3).all())


def check_finite(scores: Tensor) -> None:
    """Raise `NetworkError` if a network's scores hold NaN or infinity."""
    if not bool(torch.isfinite(scores.detach()).all()):
        raise NetworkError(
            say("The network's scores are not numbers (NaN) or infinite: its weights may be broken.")
        )


def classes_of(target: int | Sequence[int] | Tensor | str | None, logits: Tensor) -> tuple[int, ...]:
    """The class each image's map is for, N numbers, or all K; `NetworkError` for a target that does not fit."""
    images, count = logits.shape
    if target is None:
        return tuple(logits.detach().argmax(1).tolist())
    if isinstance(target, str):
        if target != "all":
            raise NetworkError(
                say(
                    "The target must be a class number, a list of them or 'all', not {target!r}.",
                    target=target,
                )
            )
        return tuple(range(count))
    try:
        numbers = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.empty(0)
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.ndim > 1:
        raise NetworkError(
            say("The target must be a class number, a list of them or 'all', not {target!r}.", target=target)
        )
    if numbers.ndim == 1 and len(numbers) != images:
        raise NetworkError(
            say(
                "There are {targets} targets for {images} images: give one for each image.",
                targets=len(numbers),
                images=images,
            )
        )
    classes = tuple(int(number) for number in numbers.expand(images).tolist())
    for number in classes:
        if not 0 <= number < count:
            raise NetworkError(
                say(
                    "There is no class {number}: the network has {count}, numbered 0 to {last}.",
                    number=number,
                    count=count,
                    last=count - 1,
                )
            )
    return classes


def _listed(indices: list[int]) -> str:
    first = ", ".join(str(index + 1) for index in indices[:5])
    return say("{first} and {more} more", first=first, more=len(indices) - 5) if len(indices) > 5 else first
