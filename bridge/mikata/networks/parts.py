"""The parts of a network: its head, its blocks from input to output, and the features that its head sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.errors import NetworkError
from mikata.language import say

_FEWEST = 4  # blocks before the head: fewer say little of depth, so the largest is divided
_MOST = 0.9  # share of the parameters: a block with more is divided too

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)


def heads(network: nn.Module) -> tuple[str, ...]:
    """Dotted names of the layers that give one score a class: one, but for some of timm's networks.

    A plain network's last linear layer or convolution; of timm's those in what it calls the classifier.
    """
    layers = {
        str(name): layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    if hasattr(network, "get_classifier"):
        stated: Any = network.get_classifier()  # type: ignore[operator]
        stated = stated if isinstance(stated, tuple | list) else (stated,)
        inside = {id(layer) for module in stated for layer in module.modules()}
        found = tuple(
            name
            for name, layer in layers.items()
            if id(layer) in inside and _outputs(layer) == network.num_classes
        )
        if found:
            return found
    if not layers:
        raise NetworkError(say("The network has no head: neither a linear layer nor a convolution."))
    return (list(layers)[-1],)


def head(network: nn.Module) -> str:
    """Dotted name of the layer that gives one score a class; the last one where a network has two."""
    return heads(network)[-1]


def blocks(network: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Divide a network into blocks from input to output, for learning rates by depth and gradual unfreezing.

    The blocks are a network's parts in the order in which an image passes them; the largest is divided
    into its own parts until there are at least four before the head and none has nine tenths of the
    parameters. A normalisation goes with the block before it, and what belongs to no part (class tokens,
    embeddings of positions) with the first.

    Parameters
    ----------
    network:
        A `Classifier`, or a plain network of torchvision's, timm's or Mikata's. It is left as it was.

    Returns
    -------
    list
        Name and parameters of each block: every parameter of the network in exactly one, the head's alone
        in the last, named ``head``. Other names are those of the parts, such as ``layer3`` or ``features.4``.

    Raises
    ------
    NetworkError
        If the order cannot be found: the network is none of these.
    """
    network = _plain(network)
    head_names = heads(network)
    head_ids = {
        id(parameter) for name in head_names for parameter in network.get_submodule(name).parameters()
    }
    order = _order(network)
    total = sum(p.numel() for p in network.parameters() if id(p) not in head_ids)
    names = list(_parts(network, "", head_names))
    while True:
        found = _in_order(network, names, order, head_ids)
        sizes = {name: sum(p.numel() for p in parameters) for name, parameters in found}
        divisible = [
            name
            for name in sizes
            if len(list(_parts(network.get_submodule(name), name, head_names))) > 1
            or isinstance(network.get_submodule(name), nn.ModuleList)
        ]
        largest = max(divisible, key=lambda name: sizes[name], default=None)
        if largest is None or (len(found) >= _FEWEST and sizes[largest] <= _MOST * total):
            break
        at = names.index(largest)
        names[at : at + 1] = _parts(network.get_submodule(largest), largest, head_names)
    placed = {id(parameter) for _, parameters in found for parameter in parameters}
    loose = [p for p in network.parameters() if id(p) not in placed | head_ids]
    if loose and found:
        found[0] = (found[0][0], [*loose, *found[0][1]])
    return [*found, ("head", [p for p in network.parameters() if id(p) in head_ids])]


class Features(nn.Module):
    """What the head of a classifier sees: images (N, C, H, W) in their own unit to features (N, F).

    It shares its layers with the classifier: what is trained here is trained there. In training mode the
    features are behind the dropout that a network may have before its head.

    Parameters
    ----------
    classifier:
        The classifier, which is left as it was.

    Attributes
    ----------
    width:
        F.

    Raises
    ------
    NetworkError
        If the network has two heads, which see different features.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        found = heads(classifier.network)
        if len(found) > 1:
            raise NetworkError(
                say(
                    "{name} has {count} heads, which see different features: use another network.",
                    name=classifier.configuration["network"],
                    count=len(found),
                )
            )
        self._head = found[0]
        layer = classifier.network.get_submodule(self._head)
        self.width = int(layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, F) of images (N, C, H, W); a convolution's input is averaged over its cells."""
        seen: list[Tensor] = []

        def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen.append(args[0])

        handle = self.classifier.network.get_submodule(self._head).register_forward_pre_hook(before)
        try:
            self.classifier.logits(x)
        finally:
            handle.remove()
        found = seen[-1]
        if found.ndim == 4:
            found = found.mean((2, 3))
        if found.ndim != 2:
            raise NetworkError(
                say(
                    "The head of {name} does not see one row of features for each image: use another network.",
                    name=self.classifier.configuration["network"],
                )
            )
        return found


def features(classifier: Classifier) -> Features:
    """The input of a classifier's head as a function of images; see `Features`."""
    return Features(classifier)


def _plain(network: nn.Module) -> nn.Module:
    return network.network if isinstance(network, Classifier) else network


def _outputs(layer: nn.Module) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]


def _parts(module: nn.Module, name: str, head_names: tuple[str, ...]) -> Iterator[str]:
    """Children with parameters, but no head; a child with a head in it is replaced by its children."""
    for child_name, child in module.named_children():
        whole = f"{name}.{child_name}" if name else child_name
        if whole in head_names or next(child.parameters(), None) is None:
            continue
        if any(other.startswith(whole + ".") for other in head_names):
            yield from _parts(child, whole, head_names)
        else:
            yield whole


def _in_order(
    network: nn.Module, names: list[str], order: dict[str, int], head_ids: set[int]
) -> list[tuple[str, list[nn.Parameter]]]:
    """Parts in the order of their first call, normalisations with the part before; shared ones with the first."""
    last = len(order)
    first = {
        name: min((at for called, at in order.items() if (called + ".").startswith(name + ".")), default=last)
        for name in names
    }
    found: list[tuple[str, list[nn.Parameter]]] = []
    placed = set(head_ids)
    for name in sorted(names, key=lambda name: first[name]):  # stable: as registered where not called
        part = network.get_submodule(name)
        own = [p for p in part.parameters() if id(p) not in placed]
        placed |= {id(p) for p in own}
        if not own:
            continue
        # a block learns something of its own: a normalisation, a scale or a token alone does not
        if found and not any(isinstance(layer, _LAYERS) for layer in part.modules()):
            found[-1][1].extend(own)
        else:
            found.append((name, own))
    return found


def _order(network: nn.Module) -> dict[str, int]:
    """Name of each module that is called -> its place, found on one image without data or computing."""
    called: dict[str, int] = {}
    with torch.device("meta"):
        bare = {
            name: torch.empty_like(tensor, device="meta")
            for name, tensor in (*network.named_parameters(), *network.named_buffers())
        }
        image = torch.zeros(2, *_image(network))
    handles = []
    for name, module in network.named_modules():

        def before(module: nn.Module, args: object, name: str = name) -> None:
            called.setdefault(name, len(called))

        handles.append(module.register_forward_pre_hook(before))
    training = [module for module in network.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            torch.func.functional_call(network, bare, (image,))
    except (RuntimeError, AssertionError, ValueError, NotImplementedError, TypeError) as error:
        raise NetworkError(
            say(
                "The order of the network's blocks cannot be found ({reason}).",
                reason=(str(error).splitlines() or [type(error).__name__])[0].rstrip("."),
            )
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True
    return called


def _image(network: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of an image that the network takes."""
    stated = getattr(network, "pretrained_cfg", {}).get("input_size")
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if stated:
        return (
            int(getattr(network, "in_chans", 0)) or _channels(first, stated[0]),
            int(stated[1]),
            int(stated[2]),
        )
    return _channels(first, 3), 224, 224


def _channels(first: nn.Conv2d | None, otherwise: int) -> int:
    return otherwise if first is None else int(first.in_channels)
