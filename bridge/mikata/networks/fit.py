"""Weights put into a network that is not quite the one they come from, and what did not fit.

A first convolution for other channels is adapted so that a grey image gives the same response: weights
for colours are summed over the colours, and spread evenly over the new channels (as timm does,
Wightman, doi:10.5281/zenodo.4414861, and Carreira and Zisserman 2017 do for frames of a film).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mikata.architecture import FlatHead, first_convolution
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.parts import heads

_SHOWN = 6  # so that a list of keys in a message stays readable

# What heads are called in torchvision, timm, transformers and common training programs; auxiliary heads serve
# the ImageNet training only and are left out of our networks
_HEADS = ("head", "heads", "head_dist", "fc", "classifier", "last_linear", "logits", "linear", "AuxLogits", "aux1", "aux2", "aux_classifier")  # fmt: skip

# What records say, in English as all that is in JSON
NEW_HEAD = "another number of classes: starts from random weights"
ASKED_HEAD = "a new head was asked for: starts from random weights"
NO_HEAD = "not in the weights: starts from random weights"
COUNTER = "not in the weights: counts batches only, starts from 0"
OTHER_HEAD = "a head of another network"
OTHER_PART = "belongs to another part than the network"


@dataclass(frozen=True)
class Fit:
    """What became of the weights that a network started from.

    Attributes
    ----------
    taken:
        Names of the network's tensors that were taken as they are.
    exchanged:
        Name of each tensor of the network that was adapted or starts anew, and why in (English) words.
    not_taken:
        Name of each tensor of the source that has no place in the network, and why.
    prefix:
        What was stripped from the source's names, such as ``module.``; empty: nothing.
    """

    taken: tuple[str, ...] = ()
    exchanged: tuple[tuple[str, str], ...] = ()
    not_taken: tuple[tuple[str, str], ...] = ()
    prefix: str = ""

    def record(self) -> dict[str, Any]:
        """For a training record, as plain JSON values; of the tensors that were taken only the number."""
        return {
            "taken": len(self.taken),
            "exchanged": dict(self.exchanged),
            "not_taken": dict(self.not_taken),
            "prefix": self.prefix,
        }

    def sentence(self) -> str:
        """The same in one sentence for people; empty where no weights were taken."""
        if not self.taken:
            return ""
        parts = [say("{count} tensors were taken as they are", count=len(self.taken))]
        if self.exchanged:
            parts.append(say("adapted or new: {keys}", keys=some([key for key, _ in self.exchanged])))
        if self.not_taken:
            parts.append(say("not taken: {keys}", keys=some([key for key, _ in self.not_taken])))
        return "; ".join(parts) + "."


def take(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    channels: int,
    source: str,
    name: str,
    new_head: bool = False,
) -> Fit:
    """Load weights into a plain network.

    Names may have one common prefix (``module.``, ``backbone.``, lightning's ``model.``), which is found
    by itself. The head may be for other classes, missing, or under another name: then it keeps the random
    weights that `network` has. The first convolution may be for grey (1) or colour (3) where the network
    takes another number of channels. All else must be there in the same shape.

    Parameters
    ----------
    channels:
        Number of the network's input channels.
    source, name:
        What messages call the weights and the network.
    new_head:
        Whether the head starts anew even where it would fit: other classes of the same number.

    Raises
    ------
    NetworkError
        If they do not fit: the message lists what is missing, unknown or of another shape. Nothing is loaded then.
    """
    own = network.state_dict()
    prefix = _prefix(own, state, source, name)
    inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    unused = [(key, OTHER_PART) for key in state if not key.startswith(prefix)]
    head_keys = {key for key in own if key.rpartition(".")[0] in heads(network)}
    for part, module in network.named_modules():
        if isinstance(module, FlatHead):  # a head of our own, which no weights but ours bring
            head_keys |= {key for key in own if key.startswith(f"{part}.")}
    # buffers that a state dict leaves out, and TorchScript does not
    silent = {key for key, _ in network.named_buffers()} - own.keys()
    exchanged: dict[str, str] = {}
    for key in inner.keys() - own.keys() - silent:
        if key.partition(".")[0] in _HEADS:
            unused.append((prefix + key, OTHER_HEAD))
            del inner[key]
    for key in _first_weights(network):
        if key in inner and key in own and inner[key].shape != own[key].shape:
            adapted = _for_channels(inner[key], own[key], channels)
            if adapted is not None:
                exchanged[key] = (
                    f"adapted from {inner[key].shape[1]} to {own[key].shape[1]} channels: a grey image gives the "
                    "same response"
                )
                inner[key] = adapted
    missing = own.keys() - inner.keys() - head_keys
    for key in [key for key in missing if key.endswith(".num_batches_tracked")]:
        exchanged[key] = COUNTER
    missing -= exchanged.keys()
    foreign = inner.keys() - own.keys() - silent
    unlike = [key for key in own if key in inner and own[key].shape != inner[key].shape]
    wrong = [key for key in unlike if key not in head_keys]
    if missing or foreign or wrong:
        shapes = [(key, tuple(inner[key].shape), tuple(own[key].shape)) for key in wrong]
        raise _misfit(source, name, sorted(missing), sorted(prefix + key for key in foreign), shapes)
    # a head for other classes starts from random weights, all its tensors together
    if new_head or head_keys & set(unlike) or head_keys - inner.keys():
        for key in sorted(head_keys):
            absent = key not in inner
            exchanged[key] = NO_HEAD if absent else ASKED_HEAD if new_head else NEW_HEAD
            inner.pop(key, None)
    # into the network's own state dict, which also carries the versions of its layers
    own.update({key: inner[key] for key in own.keys() & inner.keys()})
    network.load_state_dict(own)
    taken = tuple(key for key in own if key in inner and key not in exchanged)
    return Fit(taken, tuple(sorted(exchanged.items())), tuple(sorted(unused)), prefix)


def _prefix(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str, name: str) -> str:
    """The common prefix of the names with which most of the network's tensors are found."""
    found: dict[str, int] = {}
    for key in state:
        start = 0
        while start >= 0:
            if key[start:] in own:
                found[key[:start]] = found.get(key[:start], 0) + 1
            start = key.find(".", start) + 1 or -1
    most = max(found.values(), default=0)
    if 2 * most <= len(own):
        return ""  # names that match by chance (a few) say nothing
    best = [prefix for prefix, count in found.items() if count == most]
    if len(best) > 1:
        raise NetworkError(
            say(
                "The weights {source} hold more than one {name} ({prefixes}). Save the tensors of one of them "
                "alone.",
                source=source,
                name=name,
                prefixes=", ".join(f"{prefix}*" for prefix in sorted(best)),
            )
        )
    return best[0]


def _first_weights(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights that see the image."""
    stated = getattr(network, "pretrained_cfg", {}).get("first_conv")  # timm's networks may have two
    names = (stated,) if isinstance(stated, str) else tuple(stated or ())
    if not names:
        try:
            names = (first_convolution(network),)
        except StopIteration:
            return ()
    return tuple(f"{name}.weight" for name in names)


def _for_channels(found: Tensor, wanted: Tensor, channels: int) -> Tensor | None:
    """A convolution's weights (O, I, h, w) for another I, or None where they cannot be adapted.

    I is the number of the image's channels, or a multiple where a network folds neighbouring pixels into
    channels first; the image's channels are innermost then.
    """
    if found.ndim != 4 or wanted.ndim != 4 or wanted.shape[1] % channels:
        return None
    if found.shape[0] != wanted.shape[0] or found.shape[2:] != wanted.shape[2:]:
        return None
    folded = int(wanted.shape[1]) // channels
    if int(found.shape[1]) not in (folded, 3 * folded):
        return None
    grey = found.reshape(found.shape[0], folded, -1, *found.shape[2:]).sum(2, keepdim=True) / channels
    return grey.expand(-1, -1, channels, -1, -1).reshape(wanted.shape)


def _misfit(
    source: str,
    name: str,
    missing: Sequence[str],
    foreign: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> NetworkError:
    parts = [say("{keys} missing", keys=some(missing))] if missing else []
    parts += [say("{keys} unknown", keys=some(foreign))] if foreign else []
    if shapes:
        listed = [
            say("{key} {found} instead of {expected}", key=key, found=found, expected=expected)
            for key, found, expected in shapes
        ]
        parts.append(say("of another shape {keys}", keys=some(listed)))
    return NetworkError(
        say(
            "The weights {source} do not fit {name}: {reasons}.",
            source=source,
            name=name,
            reasons="; ".join(parts),
        )
    )


def some(keys: Sequence[str]) -> str:
    """The first few of many keys, and how many more there are."""
    listed = ", ".join(keys[:_SHOWN])
    if len(keys) <= _SHOWN:
        return listed
    return say("{listed} and {count} more", listed=listed, count=len(keys) - _SHOWN)
