"""What the processes of one training tell each other: after each step, at each epoch's end, and when one leaves.

Lightning's own data-parallel strategy adds gradients up while the backward pass still runs. That is faster where
the line between the computers is slow, but a process that runs out of memory half-way leaves all others waiting.
Here every process first finishes its share of a batch, or fails; then all agree on what comes next, and only then
the gradients are added up. So all halve their batches together, stop together, and end together.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mikata.errors import TrainingError
from mikata.language import say
from mikata.training.processes import Processes

_LEAVING = timedelta(seconds=60)  # after that, a process that ends waits no longer for the others
_BUCKET_BYTES = 2**26  # of gradients that are sent at once: large enough for speed, small enough for memory


class Stopped(Exception):
    """The user asked to stop."""


@dataclass(frozen=True)
class Agreed:
    """What at least one of the processes wants after a step."""

    out_of_memory: bool = False
    write: bool = False


class Together:
    """The agreement of all processes; with one process, every word is its own and nothing is sent.

    Parameters
    ----------
    processes:
        Who they are.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.settled = False
        """Whether the others know that this one ends."""
        self._words: Any = None

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.processes.count > 1

    def begin(self, belongs: str) -> None:
        """Open a line of words beside that of the gradients, and refuse to train on different things.

        Parameters
        ----------
        belongs:
            What the training is made of and where it goes on, in one text that must be the same everywhere.

        Raises
        ------
        TrainingError
            If it is not.
        """
        if not self.several:
            return
        # on the processor, so that a word never waits for a GPU's work
        self._words = dist.new_group(backend="gloo")
        all_texts: list[str] = [""] * self.processes.count
        dist.all_gather_object(all_texts, belongs, group=self._words)
        if len(set(all_texts)) > 1:
            self.settled = True
            raise TrainingError(
                say(
                    "The processes of this training do not have the same images, recipe, start weights or state "
                    "of an earlier training. Give all computers the same files and the same folder."
                )
            )

    def agree(
        self,
        *,
        out_of_memory: bool = False,
        stop: bool = False,
        error: str = "",
        write: bool = False,
        at_most: timedelta | None = None,
    ) -> Agreed:
        """Tell the others how this process fares, and hear of them.

        Raises
        ------
        Stopped
            If any was asked to stop.
        TrainingError
            If another one ended with an error, or without a word.
        """
        if not self.several:
            if stop:
                raise Stopped
            return Agreed(out_of_memory, write)
        words = torch.tensor([out_of_memory, stop, bool(error), write], dtype=torch.int32)
        try:
            sent: Any = dist.all_reduce(words, dist.ReduceOp.MAX, group=self._words, async_op=True)
            _ = sent.wait() if at_most is None else sent.wait(at_most)
            memory, stopping, failing, writing = map(bool, words.tolist())
            errors: list[str] = [""] * self.processes.count
            if failing:
                dist.all_gather_object(errors, error, group=self._words)
        except RuntimeError as lost:
            self.settled = True
            raise TrainingError(
                say("Another process of this training ended without a word. Look at its own messages.")
            ) from lost
        if failing:
            self.settled = True
            rank, reason = next((rank, text) for rank, text in enumerate(errors) if text)
            raise TrainingError(
                say("Process {number} of this training ended: {reason}", number=rank + 1, reason=reason)
            )
        if stopping:
            self.settled = True
            raise Stopped
        return Agreed(memory, writing)

    def leave(self, *, stop: bool = False, error: str = "") -> None:
        """Say once, before this process ends, why it does; nothing happens where all know it already."""
        if not self.several or self.settled or self._words is None:
            return
        with suppress(Stopped, TrainingError):  # its own word, come back
            self.agree(stop=stop, error=error, at_most=_LEAVING)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients."""
        if not self.several:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if parameter.grad is None:
                continue
            if bucket and (bucket[0].dtype != parameter.grad.dtype or size > _BUCKET_BYTES):
                _add_up(bucket)
                bucket, size = [], 0
            bucket.append(parameter.grad)
            size += parameter.grad.nbytes
        if bucket:
            _add_up(bucket)

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, the same on each to the last bit."""
        if not self.several:
            return values
        total = values.clone()
        dist.all_reduce(total)
        dist.broadcast(total, 0)
        return total

    def average_buffers(self, network: nn.Module) -> None:
        """Give every process the mean of all processes' statistics of batch normalisation."""
        if not self.several:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.processes.count


def _add_up(gradients: list[Tensor]) -> None:
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(whole)
    parts = torch.split(whole, [gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])


def strategy(processes: Processes, accelerator: str) -> Any:
    """Lightning's strategy for these processes: its own, without the wrapper that adds gradients up by itself."""
    if processes.count == 1:
        return "auto"
    from lightning.pytorch.strategies import DDPStrategy

    class Plain(DDPStrategy):
        """The processes, devices and groups of lightning's strategy; gradients are left to `Together`."""

        def configure_ddp(self) -> None:
            """Leave the network as it is."""

    return Plain(process_group_backend="nccl" if accelerator == "cuda" else "gloo")
