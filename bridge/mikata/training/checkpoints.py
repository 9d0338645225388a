"""The weights that a training keeps on the disk while it runs."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mikata.architecture import Classifier
from mikata.networks import read_state
from mikata.outputs import written

BEST, LAST = "best.pt", "last.pt"
CHECKPOINTS = (BEST, LAST)
"""Files of a training's folder: the weights of the best epoch, and of the last whole one."""


@dataclass
class Checkpoints:
    """The weights after the last epoch and after the best one, as files of plain tensors.

    Attributes
    ----------
    folder:
        Gets ``last.pt`` and ``best.pt``, each written beside and then moved into place.
    best_epoch:
        Counts from 1; 0 before the first epoch has ended.
    best_loss:
        Selection loss of the best epoch.
    """

    folder: Path
    best_epoch: int = 0
    best_loss: float = math.inf

    @property
    def last(self) -> Path:
        """State dict after the last whole epoch."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """State dict after the epoch with the lowest selection loss, the earlier of two equal ones."""
        return self.folder / BEST

    def save(self, classifier: Classifier, epoch: int, loss: float) -> None:
        """Keep the weights of an epoch.

        Raises
        ------
        OutputError
            If the disk is full or the folder cannot be written; the files are then as they were.
        """
        state = {key: value.detach().cpu() for key, value in classifier.state_dict().items()}
        _write(state, self.last)
        if loss < self.best_loss:
            _link(self.last, self.best)
            self.best_epoch, self.best_loss = epoch, loss

    def load_best(self, classifier: Classifier) -> None:
        """Put the best weights into the network."""
        classifier.load_state_dict(read_state(self.best))


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


def _write(state: dict[str, Tensor], path: Path) -> None:
    with written(path) as beside, beside.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch turns the disk's error into one of its own while it closes its archive
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
