"""A classifier as the two weight files of a package."""

from __future__ import annotations

import copy
import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.architecture import Detector, Network
from mikata.errors import NetworkError
from mikata.language import say

TOLERANCE = 1e-4
"""Largest difference between two weight formats: of a probability, of a value in its standard deviations, of a size in px as a
share of it."""

_Network = TypeVar("_Network", bound=Network)

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first day: equal weights give equal files


def on_cpu(classifier: _Network) -> _Network:
    """Return a copy on the CPU in evaluation mode; the given one stays as it is."""
    twin = copy.deepcopy(classifier)
    twin.to("cpu", torch.float32).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    return twin


def state_dict_bytes(classifier: Network) -> bytes:
    """The state dict as a file's content, readable with ``weights_only=True``."""
    buffer = io.BytesIO()
    # as torch gives it, since it also carries the versions of layers, without which some do not load
    torch.save(classifier.state_dict(), buffer)
    return buffer.getvalue()


def torchscript_bytes(classifier: Network, x: Tensor) -> bytes:
    """The network traced on `x` (1, C, H, W), as a file's content.

    The names of source files that TorchScript carries for its error messages are left out: they hold
    the folder, and with it often the name, of whoever trained the network.

    Raises
    ------
    NetworkError
        If the traced network gives other outputs.
    """
    try:
        with plain_attention(), warnings.catch_warnings(), torch.no_grad():
            # torch's own TorchScript deprecation, and its hints about sizes that become constants: what
            # the traced network really gives is measured below
            warnings.simplefilter("ignore")
            # a network that scales images is traced while it does so, on one of another size
            example = x if classifier.size is None else F.pad(x, (0, 29, 0, 17), mode="replicate")
            traced = torch.jit.trace(classifier, example, check_trace=False)  # type: ignore[no-untyped-call]
            data = saved(traced)
    except (RuntimeError, ValueError) as error:
        raise NetworkError(
            say(
                "{network} cannot be made into TorchScript: {reason}.",
                network=classifier.configuration["network"],
                reason=str(error).splitlines()[0].rstrip(".。"),
            )
        ) from error
    difference = _difference(data, classifier, x)
    if not difference <= TOLERANCE:
        values = {"network": classifier.configuration["network"], "difference": difference}
        if classifier.target is not None:
            raise NetworkError(
                say(
                    "{network} gives other values as TorchScript (difference {difference:.2g} standard deviations).",
                    **values,
                )
            )
        raise NetworkError(
            say("{network} gives other probabilities as TorchScript (difference {difference:.2g}).", **values)
        )
    return data


def saved(traced: torch.jit.ScriptModule) -> bytes:
    """A traced network as a file's content, without the names of source files."""
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    return _without_source_names(buffer.getvalue())


def runs_at_other_sizes(
    torchscript: bytes,
    classifier: Network,
    x: Tensor,
    extras: Sequence[tuple[int, int]] = ((24, 41), (129, 64)),
) -> bool:
    """Whether the traced network gives the same as the network where height and width are larger by these."""
    generator = torch.Generator().manual_seed(0)
    low, high = float(x.min()), float(x.max())
    for extra_height, extra_width in extras:
        shape = (1, x.shape[1], x.shape[2] + extra_height, x.shape[3] + extra_width)
        other = low + (high - low) * torch.rand(shape, generator=generator)
        try:
            if not _difference(torchscript, classifier, other) <= TOLERANCE:
                return False
        except (RuntimeError, AssertionError):
            return False
    return True


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as plain operations in a block: libtorch 1.13.1, which deepImageJ may run, has no others."""
    fused, fast_path = F.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    F.scaled_dot_product_attention = _attention  # type: ignore[assignment]  # only what torch's layers give
    try:
        yield
    finally:
        F.scaled_dot_product_attention = fused
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """softmax(q k' / sqrt(d) + mask) v of (..., L, d), as Vaswani et al. 2017 (equation 1) define it."""
    if dropout_p or is_causal or (attn_mask is not None and attn_mask.dtype == torch.bool):
        raise ValueError(say("it uses a kind of attention that has not been made ready for it"))
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = scores + attn_mask
    return torch.softmax(scores, dim=-1) @ value


def _difference(torchscript: bytes, classifier: Network, x: Tensor) -> float:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch's TorchScript deprecation
        loaded = torch.jit.load(io.BytesIO(torchscript), "cpu")  # type: ignore[no-untyped-call]
        return largest_difference(loaded(x), classifier(x), classifier)


def largest_difference(found: Tensor, expected: Tensor, network: Network) -> float:
    """The largest difference of two outputs, as `TOLERANCE` has it; NaN where there is one in them."""
    apart = (found - expected).abs()
    if isinstance(network, Detector):
        classes: int = network.configuration["classes"]
        apart[:, classes:] /= expected[:, classes:].clamp(min=1)
    difference = float(apart.max())
    return difference if network.target is None else difference / network.target[1]


def _without_source_names(data: bytes) -> bytes:
    slim = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(slim, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name, _EPOCH), old.read(name))
    return slim.getvalue()
