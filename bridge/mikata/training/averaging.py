"""A running average of the weights over the steps, which is judged and kept in place of the raw weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mikata.architecture import Network

_STEPS = "steps"


class Average(torch.nn.Module):
    """Exponential moving average of a network's weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017).

    After t steps it is the weighted mean of the weights after each of them, a step counting d times as much as the
    one after it: a_t = sum_i d^(t-i) w_i / sum_i d^(t-i), which is the usual a_t = d a_(t-1) + (1 - d) w_t with
    Adam's correction for the start (Kingma and Ba 2015, section 3). Without it, a training of a few hundred
    steps would still carry much of its random start: 0.99^90 is 0.40.

    The mean and variance of batch normalisation are averaged like weights: they belong to the weights they were
    measured with, and those of the last step alone would not belong to the average. Counters (whole numbers) are
    copied. Nothing waits for the device.

    Attributes
    ----------
    classifier:
        The averaged network, a copy on the same device, without gradients.
    steps:
        How many steps it has seen.
    """

    def __init__(self, classifier: Network, decay: float) -> None:
        """`decay` is d above, from 0 (the last weights alone) to below 1."""
        super().__init__()
        self.classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, classifier: Network) -> None:
        """Take in the weights after one more step of the optimiser."""
        self.steps += 1
        own, new = self._tensors(), classifier.state_dict()
        moving = [key for key, value in own.items() if value.is_floating_point()]
        share = 1 - (1 - self.decay) / (1 - self.decay**self.steps)  # of the old average
        average = get_ema_multi_avg_fn(share)  # type: ignore[no-untyped-call]
        average([own[key] for key in moving], [new[key] for key in moving], None)
        for key in own.keys() - set(moving):
            own[key].copy_(new[key])

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on, as plain tensors on the CPU."""
        state = {key: value.detach().to("cpu", copy=True) for key, value in self._tensors().items()}
        return state | {_STEPS: torch.tensor(self.steps)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a :meth:`state`, which stays as it is."""
        self.steps = int(state[_STEPS])
        self.classifier.load_state_dict({key: value for key, value in state.items() if key != _STEPS})

    def _tensors(self) -> dict[str, Tensor]:
        return self.classifier.state_dict()
