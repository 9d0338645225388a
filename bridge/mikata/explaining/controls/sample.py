"""Which planes the controls are made on, and these planes as the network takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mikata.explaining.controls.resampling import Unit
from mikata.images import Images
from mikata.networks import Model
from mikata.prediction import Plane, batches, device
from mikata.types import Progress


@dataclass(frozen=True)
class Candidate:
    """A plane that controls could be made on: one whose map has heat.

    Attributes
    ----------
    plane:
        Which one.
    explained:
        Number of the class that its map explains; 0 where the network gives a value.
    group:
        What the choice is spread over: the true class, or the predicted one.
    patient:
        Empty where not known.
    """

    plane: Plane
    explained: int
    group: Hashable = None
    patient: str = ""


def units(candidates: Sequence[Candidate]) -> tuple[list[str], Unit]:
    """Patient of each, or its image file where not all patients are known: planes of a file are not independent."""
    if all(one.patient for one in candidates):
        return [one.patient for one in candidates], "patient"
    return [one.plane.image for one in candidates], "image"


def choose(candidates: Sequence[Candidate], count: int, seed: int) -> list[Candidate]:
    """Up to `count` planes by chance, spread evenly over groups, and over patients within them.

    The same seed chooses the same planes. They come in the order of `candidates`.
    """
    if len(candidates) <= count:
        return list(candidates)
    names, _ = units(candidates)
    waiting: dict[Hashable, list[int]] = {}
    for index in np.random.default_rng(seed).permutation(len(candidates)).tolist():
        waiting.setdefault(candidates[index].group, []).append(index)
    taken: list[int] = []
    used: Counter[str] = Counter()
    while len(taken) < count:
        # by turns; a group that has no more is left out
        for group in list(waiting):
            if len(taken) == count:
                break
            index = min(waiting[group], key=lambda one: used[names[one]])
            waiting[group].remove(index)
            used[names[index]] += 1
            taken.append(index)
            if not waiting[group]:
                del waiting[group]
    return [candidates[index] for index in sorted(taken)]


@dataclass(frozen=True, eq=False)
class Alike:
    """Chosen planes of one size.

    Attributes
    ----------
    places:
        Their numbers among all chosen.
    images:
        (n, C, H, W) as the network takes them, normalised, on its device.
    classes:
        (n,) what is explained.
    """

    places: list[int]
    images: Tensor
    classes: list[int]


def subset(source: Images, names: set[str]) -> Images:
    """The images of those names alone."""
    return Images(
        [item for item in source._items if item.name in names],
        keep_metadata=source._keep_metadata,
        origin=source._origin,
    )


def read(
    model: Model, source: Images, chosen: Sequence[Candidate], batch: int, progress: Progress, message: str
) -> list[Alike]:
    """The chosen planes, together where they have one size; a plane that has gone meanwhile is left out."""
    numbers = {(one.plane.image, one.plane.z, one.plane.t): n for n, one in enumerate(chosen)}
    where = device()
    classifier = model.classifier.to(where).eval()
    found: dict[tuple[int, int], tuple[list[int], list[Tensor]]] = {}
    few = subset(source, {one.plane.image for one in chosen})
    for planes, tensor in batches(model, few, batch, progress, message):
        for plane, image in zip(planes, tensor, strict=True):
            number = numbers.get((plane.image, plane.z, plane.t))
            if number is None:
                continue
            with torch.no_grad():
                given = classifier.normalise(image[None].to(where))[0]
            places, images = found.setdefault((image.shape[-2], image.shape[-1]), ([], []))
            places.append(number)
            images.append(given)
    return [
        Alike(places, torch.stack(images), [chosen[n].explained for n in places])
        for places, images in found.values()
    ]
