"""Several trainings as one classifier: the mean of their probabilities, which varies less than any one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from mikata.architecture import MOST_MEMBERS, OF, Classifier, Members
from mikata.datasets import Dataset, Entry
from mikata.errors import NetworkError
from mikata.language import say
from mikata.training import methods
from mikata.training.fitting import StoppedBy
from mikata.training.recipe import Recipe
from mikata.training.run import NOTICE, Run, data_record


def ensemble(classifiers: Sequence[Classifier]) -> Classifier:
    """One classifier whose probabilities are the mean of those of several (Lakshminarayanan et al. 2017).

    It is an ordinary `Classifier`, whose network is named, say, ``5 x resnet18``: it can be packaged, and its package
    read, as any other. Each member keeps its own normalisation, as the folds of a cross-validation have.

    Parameters
    ----------
    classifiers:
        From 2 to 64, of one architecture and with their classes in the same order. They are left as they were.

    Returns
    -------
    Classifier
        On the CPU, in evaluation mode.

    Raises
    ------
    NetworkError
        If they are of different kinds, give a value, or are too few or too many.
    """
    refuse_members(len(classifiers), "")
    if any(classifier.target is not None for classifier in classifiers):
        raise NetworkError(
            say("An ensemble is of classifiers: networks that give a value cannot be members.")
        )
    first = classifiers[0].configuration
    for other in classifiers[1:]:
        for key in ("network", "classes", "channels", "size"):
            if other.configuration[key] != first[key]:
                raise NetworkError(
                    say(
                        "These classifiers cannot be one ensemble: one has {key} {one}, another {other}.",
                        key=key,
                        one=first[key],
                        other=other.configuration[key],
                    )
                )
    refuse_members(len(classifiers), first["network"])
    whole = Classifier(**first | {"network": f"{len(classifiers)}{OF}{first['network']}"})
    members = whole.network
    assert isinstance(members, Members)
    mean, deviation = (getattr(whole.normalise, name).double() for name in ("mean", "std"))
    with torch.no_grad():
        for classifier, member in zip(classifiers, members.members, strict=True):
            own = classifier.normalise
            # the classifier's normalisation comes first: what is left of the member's behind it
            normalise, network = _parts(member)
            normalise.mean.copy_((own.mean.detach().cpu().double() - mean) / deviation)
            normalise.std.copy_(own.std.detach().cpu().double() / deviation)
            network.load_state_dict(classifier.network.state_dict())
    return whole.eval()


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several runs as one trained classifier, to be judged and packaged like a `Run`.

    An image that any member has learnt from, or was chosen by, tells nothing of the whole. Of the folds of a
    cross-validation that is every image: such an ensemble needs test images that were kept apart from all folds.

    Attributes
    ----------
    runs:
        The members, of one recipe and data set but for the seed and the split.
    own_notes:
        What went otherwise than the recipe says, beside what the members say of themselves.
    alone:
        What the members are worth alone, on the ensemble's test images, as plain JSON values; None where that was not
        measured.

    Raises
    ------
    NetworkError
        If they do not fit together.
    """

    runs: tuple[Run, ...]
    own_notes: tuple[str, ...] = ()
    alone: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        first = self.runs[0]
        for other in self.runs[1:]:
            for key in ("classes", "size", "fit", "value_unit"):
                if getattr(other, key) != getattr(first, key):
                    raise NetworkError(
                        say(
                            "These trainings cannot be one ensemble: one has {key} {one}, another {other}.",
                            key=key,
                            one=getattr(first, key),
                            other=getattr(other, key),
                        )
                    )
            if other.dataset.fingerprint != first.dataset.fingerprint:
                raise NetworkError(
                    say("These trainings cannot be one ensemble: their data sets are not the same images.")
                )

    @cached_property
    def classifier(self) -> Classifier:
        """The mean of all runs, on the CPU, in evaluation mode."""
        return ensemble([run.classifier for run in self.runs])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the network's outputs."""
        return self.runs[0].classes

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.runs[0].channels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px, as of a `Run`."""
        return self.runs[0].size

    @property
    def fit(self) -> Literal["resize", "native"]:
        """Whether images are scaled to `size`, or keep their own scale."""
        return self.runs[0].fit

    @property
    def value_unit(self) -> str:
        """Unit of the training images' values."""
        return self.runs[0].value_unit

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of all members' training images."""
        low, high = zip(*(run.value_range for run in self.runs), strict=True)
        return min(low), max(high)

    @property
    def dataset(self) -> Dataset:
        """What the members were trained on."""
        return self.runs[0].dataset

    @property
    def recipe(self) -> Recipe:
        """The first member's; the others' differ in the seed at most."""
        return self.runs[0].recipe

    @property
    def tested(self) -> tuple[Entry, ...]:
        """The images of every member's test part."""
        others = [set(map(_mark, run.parts["test"])) for run in self.runs[1:]]
        return tuple(e for e in self.runs[0].parts["test"] if all(_mark(e) in other for other in others))

    @property
    def folded(self) -> bool:
        """Whether the members learnt from folds: of all images but one test part, each in one selection part."""
        tested = {_mark(entry) for entry in self.tested}
        chosen = [_mark(entry) for run in self.runs for entry in run.parts["selection"]]
        rest = {_mark(entry) for part in self.runs[0].parts.values() for entry in part} - tested
        return (
            all(len(run.parts["test"]) == len(tested) for run in self.runs)
            and len(chosen) == len(rest)
            and set(chosen) == rest
        )

    @property
    def parts(self) -> dict[str, tuple[Entry, ...]]:
        """Images by what they were used for.

        Of folds ``fold 1`` and so on, each of which chose the epoch of the member of this number and taught the others,
        else ``used`` by any member; and ``test``, as `tested`.
        """
        if self.folded:
            found = {f"fold {number}": run.parts["selection"] for number, run in enumerate(self.runs, 1)}
        else:
            tested = {_mark(entry) for entry in self.tested}
            found = {"used": tuple(e for e in self.dataset.entries if _mark(e) not in tested)}
        return found | {"test": self.tested}

    @property
    def stopped_by(self) -> StoppedBy:
        """``interrupted`` where any member's training was, else ``finished``."""
        return "interrupted" if any(run.stopped_by == "interrupted" for run in self.runs) else "finished"

    @property
    def seconds(self) -> float:
        """Wall-clock time of all trainings."""
        return sum(run.seconds for run in self.runs)

    @property
    def device(self) -> str:
        """Where they ran; each place once."""
        return "; ".join(dict.fromkeys(run.device for run in self.runs))

    @property
    def notes(self) -> tuple[str, ...]:
        """What went otherwise than the recipe says, each sentence once."""
        return tuple(dict.fromkeys([*self.own_notes, *(note for run in self.runs for note in run.notes)]))

    @property
    def grouping(self) -> str:
        """How the splits kept images together."""
        return self.runs[0].grouping

    @property
    def methods(self) -> str:
        """How its members were trained, as an English paragraph for a methods section."""
        return methods.ensemble_paragraph(self)

    def record(self) -> dict[str, Any]:
        """How its members were trained, as plain JSON values."""
        return {
            "notice": NOTICE,
            "configuration": dict(self.classifier.configuration),
            "classes": list(self.classes),
            "combined_by": "mean of probabilities",
            "data": data_record(self.dataset, self.parts, self.runs[0].split),
            "methods": self.methods,
            "notes": list(self.notes),
            "members_alone": self.alone,
            "seconds": round(self.seconds, 1),
            "members": [run.record() for run in self.runs],
        }


def refuse_members(count: int, network: str) -> None:
    """Say before any training why so many networks of this name cannot be one.

    Raises
    ------
    NetworkError
        If they are too few or too many, or ensembles themselves.
    """
    if not 2 <= count <= MOST_MEMBERS:
        raise NetworkError(
            say("An ensemble has from 2 to {most} members, not {count}.", most=MOST_MEMBERS, count=count)
        )
    if OF in network:
        raise NetworkError(say("An ensemble cannot be a member of another one. Give its members."))


def _mark(entry: Entry) -> tuple[str, str]:
    """What tells an image from the others of its data set."""
    return str(entry.file), entry.picture.digest


def _parts(member: Any) -> tuple[Any, Any]:
    return member[0], member[1]
