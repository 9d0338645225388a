"""Images without files, with patients and probabilities, that tests of figures share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mikata.datasets import Entry, Picture


def entries(truth: np.ndarray, patients: np.ndarray | None = None, classes: str = "abc") -> list[Entry]:
    """Entries whose labels are the letters of `classes`."""
    picture = Picture(1, 8, 8, "grey", True, "")
    names = [""] * len(truth) if patients is None else [str(patient) for patient in patients]
    return [
        Entry(Path(f"{i}.png"), classes[k], picture, patient=name)
        for i, (k, name) in enumerate(zip(truth, names, strict=True))
    ]


def probabilities(
    truth: np.ndarray, generator: np.random.Generator, classes: int = 3, skill: float = 1.0, digits: int = 2
) -> np.ndarray:
    """Random probabilities (n, classes), higher by `skill` in logits for the true class, rounded so that ties occur."""
    logits = generator.normal(0, 1, (len(truth), classes)) + skill * np.eye(classes)[truth]
    found = np.exp(logits).round(digits) + 0.01
    return (found / found.sum(1, keepdims=True)).astype(np.float32)


def cohort(patients: int, images: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """True classes (n,) and patient numbers (n,): patients take turns in their class."""
    of_image = np.repeat(np.arange(patients), images)
    return (np.arange(patients) % classes)[of_image], of_image
