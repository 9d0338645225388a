"""What the user is told of a training while it runs, and whether it was asked to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mikata.language import duration, say
from mikata.training.together import Stopped
from mikata.types import Progress

_SHOW_SECONDS = 0.2  # between two messages; each asks the device for the loss, which makes it wait


@dataclass
class Watch:
    """Tells the user how far it is, and the loop when to stop."""

    progress: Progress
    steps: int
    epochs: int
    interrupted: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0
    accuracy: float = math.nan
    dice: float = math.nan
    f1: float = math.nan
    error: float = math.nan
    """Mean absolute error of the selection images' values, in `unit`."""
    unit: str = ""
    done: int = 0
    before: int = 0
    """Steps that an earlier start has done."""

    def due(self) -> bool:
        """Whether it is time to show something."""
        return time.monotonic() - self.shown >= _SHOW_SECONDS

    def show(self, epoch: int, loss: float) -> None:
        """Show the state of an epoch that counts from 1."""
        self.shown = time.monotonic()
        words = [
            say("Epoch {epoch} of {epochs}, loss {loss:.3g}", epoch=epoch, epochs=self.epochs, loss=loss)
        ]
        if not math.isnan(self.accuracy):
            words.append(say("selection accuracy {accuracy:.1f} %", accuracy=100 * self.accuracy))
        if not math.isnan(self.dice):
            words.append(say("Dice of selection images {dice:.3f}", dice=self.dice))
        if not math.isnan(self.f1):
            words.append(say("F1 of selection images {f1:.3f}", f1=self.f1))
        if not math.isnan(self.error):
            error = f"{self.error:.3g} {self.unit}".rstrip()
            words.append(say("mean error of selection images {error}", error=error))
        total = self.steps * self.epochs
        if self.done > self.before:
            left = (self.shown - self.started) / (self.done - self.before) * (total - self.done)
            words.append(say("{time} left", time=duration(left)))
        try:
            self.progress.show(", ".join(words), self.done, total)
        except KeyboardInterrupt as error:  # lightning would end the whole program
            raise Stopped from error

    def say(self, message: str) -> None:
        """Show something that is not a step."""
        try:
            self.progress.show(message, self.done, self.steps * self.epochs)
        except KeyboardInterrupt as error:
            raise Stopped from error

    def asked(self) -> bool:
        """Whether the user asked to stop."""
        return self.interrupted() or self.progress.cancelled

    def check(self) -> None:
        """Leave the loop if the user asked to stop.

        Raises
        ------
        Stopped
            If so.
        """
        if self.asked():
            raise Stopped
