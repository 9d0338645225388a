"""What a training keeps: the weights of the best and the last epoch, and the state that it can go on from.

While it runs, the weights are kept in memory and ``state.pt`` is written from time to time: it holds everything,
the best weights too, so that a training that is killed at any moment leaves one whole file that agrees with
itself. ``best.pt`` and ``last.pt`` are written when the training ends, however it ends.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mikata.architecture import Network
from mikata.outputs import probe, written

BEST, LAST, STATE = "best.pt", "last.pt", "state.pt"
CHECKPOINTS = (BEST, LAST, STATE)
"""Files of a training's folder: the weights of the best epoch, of the last whole one, and what it goes on from."""

_PATIENCE = 50  # a state is due once this many times as long has passed as writing one takes
_FIRST_GUESS = 5e8  # bytes a second, before anything was written
_WITHIN_EPOCH_SECONDS = 60.0  # an epoch shorter than that is not worth a state in its middle
_UNFINISHED = re.compile(r"\.[a-z0-9_]{8}\.pt")  # what `written` calls its files before they are whole

Weights = dict[str, Tensor]


def is_checkpoint(name: str) -> bool:
    """Whether a training has made a file of this name, or was killed while it did."""
    return name in CHECKPOINTS or _UNFINISHED.fullmatch(name) is not None


@dataclass
class Checkpoints:
    """The weights after the last epoch and after the best one, in memory and as files of plain tensors.

    Attributes
    ----------
    folder:
        Gets ``last.pt``, ``best.pt`` and ``state.pt``, each written beside and then moved into place.
    writes:
        Whether this process writes files; of several, only the main one does.
    best_epoch:
        Counts from 1; 0 before the first epoch has ended.
    best_loss:
        Selection loss of the best epoch.
    best_weights, last_weights:
        On the processor; empty before the first epoch has ended. The same object while the last epoch is the best.
    """

    folder: Path
    writes: bool = True
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: Weights = field(default_factory=dict, repr=False)
    last_weights: Weights = field(default_factory=dict, repr=False)
    _written: float = field(default_factory=time.monotonic)
    _took: float | None = None

    @property
    def last(self) -> Path:
        """State dict after the last whole epoch."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """State dict after the epoch with the lowest selection loss, the earlier of two equal ones."""
        return self.folder / BEST

    @property
    def state(self) -> Path:
        """Everything that the training goes on from."""
        return self.folder / STATE

    def prepare(self, *, resume: bool) -> None:
        """Find out whether the folder can be written, and clear away what an earlier training left unfinished.

        Raises
        ------
        OutputError
            If it cannot.
        """
        if not self.writes:
            return
        probe(self.folder)
        for path in self.folder.iterdir():
            if _UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)
        if not resume:
            self.state.unlink(missing_ok=True)
        self._written = time.monotonic()

    def note(self, weights: Weights, epoch: int, loss: float) -> None:
        """Keep the weights of an epoch in memory.

        Parameters
        ----------
        weights:
            On any device; they are copied.
        epoch:
            From 1.
        loss:
            Selection loss.
        """
        # the memory of weights that are neither is used again: getting new memory takes longer than copying
        spare = {} if self.last_weights is self.best_weights else self.last_weights
        self.last_weights = _copied(weights, spare)
        if loss < self.best_loss:
            self.best_epoch, self.best_loss, self.best_weights = epoch, loss, self.last_weights

    def keep(self) -> None:
        """Write the weights of the best and the last epoch, where there are any.

        Raises
        ------
        OutputError
            If the disk is full or the folder cannot be written; the files are then as they were.
        """
        if not self.writes or not self.best_weights:
            return
        _write(self.best_weights, self.best)
        if self.last_weights is self.best_weights:
            _link(self.best, self.last)
        else:
            _write(self.last_weights, self.last)

    def due(self, nbytes: int, *, within_epoch: bool) -> bool:
        """Whether it is time to write a state of about `nbytes`: rarely enough to cost next to nothing."""
        passed = time.monotonic() - self._written
        if not self.writes or (within_epoch and passed < _WITHIN_EPOCH_SECONDS):
            return False
        took = nbytes / _FIRST_GUESS if self._took is None else self._took
        return passed >= _PATIENCE * took

    def write_state(self, state: dict[str, Any]) -> None:
        """Write what the training goes on from.

        Raises
        ------
        OutputError
            If the disk is full or the folder cannot be written; the state before is then kept.
        """
        if not self.writes:
            return
        started = time.monotonic()
        _write(state, self.state)
        self._written = time.monotonic()
        self._took = self._written - started

    def load_best(self, classifier: Network) -> None:
        """Put the best weights into the network."""
        classifier.load_state_dict(self.best_weights)


def _copied(weights: Weights, spare: Weights) -> Weights:
    copies: Weights = {}
    for name, tensor in weights.items():
        place = spare.get(name)
        if place is None or place.shape != tensor.shape:
            # pinned memory is what a GPU can copy to at full speed
            place = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)
        copies[name] = place.copy_(tensor.detach())
    return copies


def _link(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it where the disk knows no second names.

    `source` is only ever replaced as a whole, so that `path` keeps what it holds now.
    """
    with written(path) as beside:
        beside.unlink()
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)


def _write(state: Any, path: Path) -> None:
    with written(path) as beside, beside.open("wb") as file:
        try:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave the new name on an empty file
        except RuntimeError as error:
            # torch turns the disk's error into one of its own while it closes its archive
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
