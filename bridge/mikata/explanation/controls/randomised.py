"""The same network with its weights taken away, layer by layer from the top: the cascade of Adebayo et al.

"Sanity Checks for Saliency Maps", NeurIPS 2018, doi 10.48550/arXiv.1810.03292, section 3: weights are drawn anew from
the layer next to the scores downwards, and a map that depends on what the network has learnt changes. Weights of
convolutions and linear layers are drawn as He et al. 2015 (doi 10.1109/ICCV.2015.123) start a network, so that
signals neither die nor grow on their way; normalisations and biases start as in a new network; single parameters of
other kinds are drawn from a normal distribution with their own mean and SD.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mikata.explanation.layers import as_evaluated

_MEMBER = re.compile(r"^members\.\d+")


class Randomised:
    """A copy of a network whose weights are taken away; the network itself is never touched.

    Parameters
    ----------
    network:
        On any device.
    image:
        (1, C, H, W) that it takes: shows the order in which its layers work.

    Attributes
    ----------
    layers:
        Names of the layers with weights of their own, from the scores down to the image. Those of the members of
        an ensemble stand side by side.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self._copy = copy.deepcopy(network)
        for parameter in self._copy.parameters():
            parameter.requires_grad_(False)
        self._state = {name: value.clone() for name, value in self._copy.state_dict().items()}
        self.layers = _from_the_top(self._copy, image)

    def depths(self) -> tuple[int, ...]:
        """How many layers from the top are drawn anew: one, a quarter, a half, three quarters, all."""
        count = len(self.layers)
        return tuple(sorted({max(1, -(-count * quarter // 4)) for quarter in range(5)})) if count else ()

    def cascade(self, seed: int, depths: tuple[int, ...]) -> Iterator[nn.Module]:
        """The copy with that many layers drawn anew, for each depth in rising order. One seed gives one network."""
        self._copy.load_state_dict(self._state)
        generator = torch.Generator().manual_seed(seed)
        done = 0
        for depth in depths:
            for name in self.layers[done:depth]:
                draw_anew(self._copy.get_submodule(name), generator)
            done = depth
            yield self._copy


def draw_anew(module: nn.Module, generator: torch.Generator) -> None:
    """Take away what a module itself has learnt, not its children; `generator` is on the CPU."""
    normalises = "norm" in type(module).__name__.lower()
    with torch.no_grad():
        for name, parameter in module.named_parameters(recurse=False):
            made = torch.empty(parameter.shape, dtype=torch.float32)
            if not parameter.is_floating_point() or not made.numel():
                continue
            if "bias" in name:
                made.zero_()
            elif normalises and made.ndim <= 1:
                made.fill_(1.0)
            elif made.ndim >= 2 and name.endswith("weight"):
                nn.init.kaiming_normal_(made, nonlinearity="relu", generator=generator)
            else:
                own = parameter.detach().float().cpu()
                spread = float(own.std()) if own.numel() > 1 else 0.0
                made.normal_(float(own.mean()), spread, generator=generator)
            parameter.copy_(made.to(parameter.dtype))
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()


def _from_the_top(network: nn.Module, image: Tensor) -> tuple[str, ...]:
    """Modules with parameters of their own in the reverse order of their first call."""
    called: dict[str, int] = {}
    handles = []
    for name, module in network.named_modules():

        def before(module: nn.Module, args: object, name: str = name) -> None:
            called.setdefault(name, len(called))

        handles.append(module.register_forward_pre_hook(before))
    try:
        with as_evaluated(network), torch.no_grad():
            network(image.clone())
    finally:
        for handle in handles:
            handle.remove()
    own = [
        name
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    places = {name: place for place, name in enumerate(own)}

    def at(name: str) -> tuple[int, int]:
        # weights that another module uses, without a call of their own, are where that module is
        user = name
        while user not in called and user:
            user = user.rpartition(".")[0]
        member = _MEMBER.match(name)
        start = called.get(member[0], 0) if member else 0
        return called.get(user, 0) - start, places[name]

    return tuple(sorted(own, key=at, reverse=True))
