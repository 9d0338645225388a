"""The state that a training goes on from, and which training it belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mikata.architecture import Network
from mikata.errors import TrainingError
from mikata.language import say
from mikata.training.data import Part
from mikata.training.stage import Stage

_FORMAT = 1
# what changes how fast or where a training runs, or what is done after it, but not what it learns; the weights that
# `source` names are known by their values
_WITHOUT_EFFECT = {"name", "data", "source", "workers", "cache_gib", "keep", "formula", "unlabelled"}

Belonging = dict[str, str]
"""What a training is made of, in words: the keys of its stage, and digests of its images and start weights."""


@dataclass
class State:
    """A training between two steps.

    Attributes
    ----------
    epochs, steps:
        Whole epochs that are over, and steps of the next one.
    ended:
        How the training ended: ``finished``, ``early stopping``, or empty where it goes on.
    history:
        One mapping a whole epoch.
    best_epoch, best_loss:
        As in `mikata.training.checkpoints.Checkpoints`.
    weights, best_weights, last_weights:
        Of the network now, after its best epoch and after its last whole one.
    optimiser, schedule, scaler:
        What torch calls their state dicts; empty where there is none, or where the training has ended.
    sums:
        Losses, right answers and images of the epoch so far (2, 3).
    pieces:
        How many parts a batch is learnt in, since memory did not suffice for a whole one.
    notes:
        What the user was told and has to be remembered.
    seconds, epoch_seconds:
        Wall-clock time used so far, in all and for the epoch at hand.
    extra:
        What rules keep beside the weights, by the rule's name: named tensors.
    """

    epochs: int
    steps: int
    ended: str
    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float
    weights: dict[str, Tensor]
    best_weights: dict[str, Tensor]
    last_weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    sums: Tensor
    pieces: int
    notes: list[str]
    seconds: float
    epoch_seconds: float
    extra: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def plain(self, belongs: Belonging) -> dict[str, Any]:
        """As a mapping of plain values and tensors, which ``torch.load(weights_only=True)`` reads."""
        content = {key.name: getattr(self, key.name) for key in dataclasses.fields(self)}
        return {"format": _FORMAT, "belongs": belongs, "made_by": _made_by(), **content}


def _made_by() -> dict[str, str]:
    """For a reader's information: with others, a training may differ in its last digits."""
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "threads": str(torch.get_num_threads()),
    }


def belonging(classifier: Network, learning: Part, choosing: Part, stage: Stage, seed: int) -> Belonging:
    """What makes a training this one and no other.

    Parameters
    ----------
    classifier:
        With its start weights.
    learning, choosing:
        The images in their order.
    """
    found = {"seed": str(seed)}
    found |= {
        f"stage.{key}": json.dumps(value, sort_keys=True)
        for key, value in dataclasses.asdict(stage).items()
        if key not in _WITHOUT_EFFECT
    }
    found["training images"] = learning.digest()
    found["selection images"] = choosing.digest()
    found["network"] = json.dumps(classifier.configuration, sort_keys=True)
    found["start weights"] = _digest_of_weights(classifier)
    return found


def _digest_of_weights(classifier: Network) -> str:
    digest = hashlib.sha256()
    for name, tensor in classifier.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read(path: Path, belongs: Belonging) -> State | None:
    """The state of an earlier start of the same training; None where there is none.

    Raises
    ------
    TrainingError
        If it cannot be read, or belongs to another training.
    """
    try:
        with path.open("rb") as file:
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainingError(
            say(
                "The state of the training {file} cannot be read: {reason}.",
                file=path,
                reason=error.strerror or error,
            )
        ) from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise TrainingError(_damaged(path)) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise TrainingError(_damaged(path))
    _refuse_others(path, content.get("belongs", {}), belongs)
    names = [key.name for key in dataclasses.fields(State)]
    if any(name not in content for name in names):
        raise TrainingError(_damaged(path))
    return State(**{name: content[name] for name in names})


def _damaged(path: Path) -> str:
    return say(
        "{file} is damaged, or not the state of a training that this version knows. Delete it, or train without "
        "resuming, to start anew.",
        file=path,
    )


def _refuse_others(path: Path, before: Mapping[str, str], now: Belonging) -> None:
    # in the order of causes: other images have another mean, which the network's normalisation then has as well
    different = [key for key in {**now, **before} if before.get(key) != now.get(key)]
    if not different:
        return
    key = different[0]
    if key.startswith("stage.") or key == "seed":
        what = say(
            "its {key} was {before} and now is {now}",
            key=key.removeprefix("stage."),
            before=before.get(key, "?"),
            now=now.get(key, "?"),
        )
    else:
        what = {
            "training images": say("its training images were others, or in another order"),
            "selection images": say("its selection images were others, or in another order"),
            "network": say("its network or normalisation was another one"),
        }.get(key, say("it started from other weights"))
    raise TrainingError(
        say(
            "{file} belongs to another training: {what}. Go back to what it was, or train without resuming to "
            "start anew.",
            file=path,
            what=what,
        )
    )
