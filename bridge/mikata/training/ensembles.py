"""Several trainings as one classifier: the mean of their probabilities, which varies less than any one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from mikata.architecture import MOST_MEMBERS, OF, Classifier, Members
from mikata.errors import NetworkError
from mikata.language import say
from mikata.training.run import NOTICE, Run


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
    if not 2 <= len(classifiers) <= MOST_MEMBERS:
        raise NetworkError(
            say(
                "An ensemble has from 2 to {most} members, not {count}.",
                most=MOST_MEMBERS,
                count=len(classifiers),
            )
        )
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
    if OF in first["network"]:
        raise NetworkError(say("An ensemble cannot be a member of another one. Give its members."))
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
        The members, of one recipe but for the seed and the split.

    Raises
    ------
    NetworkError
        If they do not fit together.
    """

    runs: tuple[Run, ...]

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
    def grouping(self) -> str:
        """How the splits kept images together."""
        return self.runs[0].grouping

    @property
    def methods(self) -> str:
        """How its members were trained, as a paragraph for a methods section."""
        return (
            f"The mean of the probabilities of {len(self.runs)} networks, trained with other seeds or folds. "
            f"Of the first: {self.runs[0].methods}"
        )

    def record(self) -> dict[str, Any]:
        """How its members were trained, as plain JSON values."""
        return {
            "notice": NOTICE,
            "configuration": dict(self.classifier.configuration),
            "combined_by": "mean of probabilities",
            "members": [run.record() for run in self.runs],
        }


def _parts(member: Any) -> tuple[Any, Any]:
    return member[0], member[1]
