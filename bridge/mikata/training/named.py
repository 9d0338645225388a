"""Progress of one part of a training, under its name."""

from __future__ import annotations

from mikata.types import Progress


class Named(Progress):
    """Says which stage it is that goes on."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show it under the name."""
        self._progress.show(f"{self._name}: {message}", done, total)

    @property
    def cancelled(self) -> bool:
        """Whether the user asked to stop."""
        return self._progress.cancelled
