"""Which image comes when, and its random numbers: functions of seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

DRAWS = (
    "rotation",
    "shift_x",
    "shift_y",
    "brightness",
    "flip_horizontal",
    "flip_vertical",
    "crop_y",
    "crop_x",
    "scale",
    "quarter_turns",
    "blur",
    "contrast",
    "gamma",
    "noise",
    "noise_seed",
    "erase",
    "erase_shape",
    "erase_y",
    "erase_x",
)
"""What the random numbers of an image are for, in the order of their columns. New ones come last."""

_FIRST_DRAWS = 8  # drawn on their own, so that more columns leave their numbers as they are


def seed_of(seed: int, epoch: int, purpose: str) -> int:
    """A seed for one purpose in one epoch, unlike those of its neighbours."""
    digest = hashlib.sha256(f"{seed} {epoch} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits


def seed_device(seed: int, device: torch.device) -> None:
    """Begin torch's random numbers anew on the processor and on one device.

    ``torch.manual_seed`` does so on every kind of device there may be and, for each that is not in use, notes where
    in the program it was called: 10 ms, too long for every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A random number generator for one purpose in one epoch."""
    return torch.Generator().manual_seed(seed_of(seed, epoch, purpose))


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The numbers 0 to `count` - 1 in the order of an epoch."""
    return torch.randperm(count, generator=generator(seed, epoch, "order"))


def balanced(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """As many numbers as there are labels, every class equally often (within one).

    Within a class, every image comes before any comes again.
    """
    random = generator(seed, epoch, "order")
    classes = sorted(set(labels.tolist()))
    share, rest = divmod(len(labels), len(classes))
    chosen = []
    # an epoch that does not divide evenly gives the odd places to other classes each time
    lucky = set(torch.randperm(len(classes), generator=random)[:rest].tolist())
    for number, name in enumerate(classes):
        own = (labels == name).nonzero().flatten()
        wanted = share + (number in lucky)
        rounds = [own[torch.randperm(len(own), generator=random)] for _ in range(-(-wanted // len(own)))]
        chosen.append(torch.cat(rounds)[:wanted])
    order = torch.cat(chosen)
    return order[torch.randperm(len(order), generator=random)]


def fewest(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Numbers of as many images of each class as the rarest has, others in each epoch."""
    random = generator(seed, epoch, "order")
    own = [(labels == name).nonzero().flatten() for name in sorted(set(labels.tolist()))]
    least = min(map(len, own))
    chosen = torch.cat([one[torch.randperm(len(one), generator=random)[:least]] for one in own])
    return chosen[torch.randperm(len(chosen), generator=random)]


def draws(count: int, seed: int, epoch: int, purpose: str = "augmentation") -> Tensor:
    """Random numbers from 0 to below 1 (count, len(DRAWS)): one row for each place in an epoch's order."""
    first = torch.rand(count, _FIRST_DRAWS, generator=generator(seed, epoch, purpose))
    more = torch.rand(count, len(DRAWS) - _FIRST_DRAWS, generator=generator(seed, epoch, f"more {purpose}"))
    return torch.cat([first, more], 1)


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, and afterwards as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, 0, "weights"))
        yield
