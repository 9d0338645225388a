"""Facts of a training in words, for pages of one network and of several."""

from __future__ import annotations

from collections.abc import Sequence

from mikata.datasets import Dataset, Entry
from mikata.language import say
from mikata.training import Run
from mikata.training.fitting import StoppedBy


def end(run: Run) -> str:
    """How it ended."""
    ends: dict[StoppedBy, str] = {
        "finished": say("finished"),
        "early stopping": say("early stopping"),
        "interrupted": say("interrupted"),
    }
    return ends[run.stopped_by]


def counted(entries: Sequence[Entry], dataset: Dataset) -> str:
    """How many images, and patients where the data set knows all."""
    if not dataset.has_patients:
        return say("{n} images", n=len(entries))
    patients = len({entry.patient for entry in entries})
    return say("{n} images of {patients} patients", n=len(entries), patients=patients)


def normalisation(run: Run) -> str:
    """The numbers the network really uses, whatever they come from."""
    configuration = run.classifier.configuration
    pairs = zip(configuration["mean"], configuration["std"], strict=True)
    return "(value - mean) / std, " + ", ".join(f"mean {m:.4g}, std {s:.4g}" for m, s in pairs)
