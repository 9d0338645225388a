"""Which parts of a network learn in which epoch, and how fast: functions of the recipe and the epoch alone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mikata.architecture import Network
from mikata.errors import RecipeError
from mikata.language import say
from mikata.networks import blocks as blocks_of
from mikata.training.stage import Stage, shown


def open_blocks(count: int, epoch: int, stage: Stage) -> int:
    """How many blocks learn, counted from the head back, apart from those that are frozen for good.

    Gradual unfreezing as in Howard and Ruder 2018 (arXiv 1801.06146): for ``head_epochs`` the head alone; then with
    ``unfreeze_every`` = 0 all blocks, else the head and one block, and one block more every so many epochs.

    Parameters
    ----------
    count:
        Number of blocks, head included.
    epoch:
        From 0.
    """
    if epoch < stage.head_epochs:
        return 1
    if not stage.unfreeze_every:
        return count
    return min(count, 2 + (epoch - stage.head_epochs) // stage.unfreeze_every)


@dataclass(frozen=True)
class Block:
    """A block of a network.

    Attributes
    ----------
    name:
        As messages call it.
    parameters:
        Dotted names in the plain network.
    learning:
        Those of them that the recipe does not freeze for good.
    """

    name: str
    parameters: tuple[str, ...]
    learning: tuple[str, ...]


class LearningParts:
    """The blocks of a network, and what of them learns.

    A parameter that does not learn has no gradient: torch's optimisers then leave it as it is, weight decay and
    momentum included, and count no step of it. It is with the optimiser from the beginning, so that nothing of the
    others starts anew when it joins in: its own moments begin with its own first step (Adam's bias correction too).

    A batch normalisation none of whose own parameters learns keeps its mean and variance too, as in Keras:
    otherwise a block that is called frozen would still change. With ``frozen_norm`` all of them keep theirs, while
    their scale and shift may learn.

    Attributes
    ----------
    blocks:
        From the input to the output, the head last; every parameter is in exactly one.
    """

    def __init__(self, classifier: Network, stage: Stage, recipe: str) -> None:
        """`recipe` is its name, for messages.

        Raises
        ------
        RecipeError
            If ``frozen`` names what the network does not have, or there is an epoch in which nothing learns.
        """
        self._network = classifier.network
        self._stage = stage
        names = {id(parameter): name for name, parameter in self._network.named_parameters()}
        named = [(block, tuple(names[id(p)] for p in own)) for block, own in blocks_of(self._network)]
        self._refuse_unknown(named, recipe)
        self.blocks = tuple(
            Block(name, own, tuple(p for p in own if not self._frozen(name, p))) for name, own in named
        )
        if not self.learning(0):  # a block that learns goes on learning, so that epoch 0 has the fewest
            raise RecipeError(
                say(
                    "{recipe}: frozen = {frozen} leaves nothing of {network} that learns in the first epoch.",
                    recipe=recipe,
                    frozen=f"[{', '.join(map(shown, stage.frozen))}]",
                    network=stage.network,
                )
            )

    def learning(self, epoch: int) -> frozenset[str]:
        """Names of the parameters that learn in an epoch (from 0)."""
        opened = self.blocks[-open_blocks(len(self.blocks), epoch, self._stage) :]
        return frozenset(name for block in opened for name in block.learning)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters that ever learn, with their learning rates (``lr``), as torch's optimisers take them.

        The rate of a block is the recipe's times ``rate_by_depth`` to the power of its distance from the head, in
        blocks. All parameters of a group begin to learn in the same epoch; where that and the rate are the same for
        all, there is one group, which is fastest.
        """
        stage = self._stage
        parameters = dict(self._network.named_parameters())
        if stage.rate_by_depth == 1 and open_blocks(len(self.blocks), 0, stage) == len(self.blocks):
            ever = self.learning(0)
            alike = [value for name, value in parameters.items() if name in ever]
            return [{"params": alike, "lr": stage.learning_rate}]
        return [
            {
                "params": [parameters[name] for name in block.learning],
                "lr": stage.learning_rate * stage.rate_by_depth**distance,
            }
            for distance, block in reversed(list(enumerate(reversed(self.blocks))))
            if block.learning
        ]

    def begin(self, epoch: int) -> None:
        """Make ready for an epoch (from 0), or for the rest of one, once the network is in training mode."""
        learning = self.learning(epoch)
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(name in learning)
            if name not in learning:
                parameter.grad = None  # a gradient that an optimiser finds is a step that it makes
        for name, module in self._network.named_modules():
            if isinstance(module, _BatchNorm):
                module.train(not (self._stage.frozen_norm or self._is_still(name, learning)))

    def _is_still(self, name: str, learning: frozenset[str]) -> bool:
        """Whether nothing of a batch normalisation learns; one without parameters goes with what it is part of."""
        while True:
            own = [p for p, _ in self._network.get_submodule(name).named_parameters(prefix=name)]
            if own or not name:
                return not learning.intersection(own)
            name = name.rpartition(".")[0]

    def _frozen(self, block: str, parameter: str) -> bool:
        return any(_under(block, prefix) or _under(parameter, prefix) for prefix in self._stage.frozen)

    def _refuse_unknown(self, named: Sequence[tuple[str, Sequence[str]]], recipe: str) -> None:
        known = [block for block, _ in named]
        parameters = [name for _, own in named for name in own]
        for prefix in self._stage.frozen:
            if any(_under(name, prefix) for name in (*known, *parameters)):
                continue
            values = {
                "recipe": recipe,
                "prefix": prefix,
                "network": self._stage.network,
                "blocks": ", ".join(known),
            }
            close = difflib.get_close_matches(prefix, [*known, *_beginnings(parameters)], 1)
            if close:
                raise RecipeError(
                    say(
                        "{recipe}: frozen: {network} has nothing named '{prefix}'; did you mean '{meant}'? "
                        "Its blocks are {blocks}.",
                        meant=close[0],
                        **values,
                    )
                )
            raise RecipeError(
                say(
                    "{recipe}: frozen: {network} has nothing named '{prefix}'. Its blocks are {blocks}.",
                    **values,
                )
            )


def _under(name: str, prefix: str) -> bool:
    """Whether a dotted name begins with a prefix; ``layer1`` begins ``layer1.0``, but not ``layer10``."""
    return name == prefix or name.startswith(f"{prefix}.")


def _beginnings(names: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        found.update({".".join(parts[:length]): None for length in range(1, len(parts) + 1)})
    return list(found)


def steps_done(optimiser: torch.optim.Optimizer, group: dict[str, Any]) -> int:
    """How many steps an Adam has done for a group's parameters; they begin together and go on together."""
    for parameter in group["params"]:
        state = optimiser.state.get(parameter)
        if state:
            return int(state["step"])
    return 0
