"""Progress of one part of a training under its name, and of one training among many."""

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


class Within(Named):
    """One training among many: the bar shows all of them."""

    def __init__(self, progress: Progress, where: str, done: int, total: int) -> None:
        super().__init__(progress, where)
        self._done = done
        self._total = total

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show it within the whole."""
        inner = done / total if total else 0.0
        steps = 1000  # a bar of whole numbers that also moves within a training
        super().show(message, round(steps * (self._done + min(inner, 1.0))), steps * self._total)
