"""Which cases a montage shows: what the network says of every plane, and a sample of those asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mikata.errors import ParameterError
from mikata.language import say
from mikata.prediction import Plane

Wanted = Literal["all", "correct", "wrong", "both"]


@dataclass(frozen=True)
class Case:
    """A plane and what the network says of it.

    Attributes
    ----------
    plane:
        Which one.
    outputs:
        Probabilities, or the value alone.
    truth:
        Number of the true class, None where it is not known.
    """

    plane: Plane
    outputs: tuple[float, ...]
    truth: int | None = None

    @property
    def predicted(self) -> int:
        """Number of the class with the highest probability, the first of several."""
        return max(range(len(self.outputs)), key=self.outputs.__getitem__)

    @property
    def correct(self) -> bool | None:
        """Whether the predicted class is the true one; None where that is not known."""
        return None if self.truth is None else self.predicted == self.truth


@dataclass(frozen=True)
class Block:
    """Cases that stand together in a montage.

    Attributes
    ----------
    kind:
        Which cases they are a sample of.
    cases:
        Those shown; may be none.
    available:
        How many there are.
    """

    kind: Literal["all", "correct", "wrong"]
    cases: tuple[Case, ...]
    available: int


def blocks(cases: Sequence[Case], wanted: Wanted, limit: int, seed: int) -> tuple[Block, ...]:
    """Draw the cases to show.

    Parameters
    ----------
    cases:
        Of all planes, in their order.
    wanted:
        ``all``, ``correct`` or ``wrong`` ones in one block, or ``both`` of these in two, half of the limit each.
    limit:
        Most cases of all blocks together, at least 1 (2 for ``both``). Of more cases a sample is drawn, each with
        the same chance.
    seed:
        The same seed draws the same cases.

    Returns
    -------
    tuple of Block
        One or two; cases in their order, of ``both`` by true class first, so that like stands beside like.

    Raises
    ------
    ParameterError
        If true classes are needed and not known, or there is no such case.
    """
    if wanted != "all" and any(case.truth is None for case in cases):
        raise ParameterError(
            say(
                "cases={cases} needs the true classes: give labelled data as images, a CSV with the columns file and "
                "label or a folder of class folders.",
                cases=wanted,
            )
        )
    random = np.random.default_rng(seed)

    def block(kind: Literal["all", "correct", "wrong"], most: int) -> Block:
        found = [case for case in cases if kind == "all" or case.correct == (kind == "correct")]
        chosen = np.sort(random.permutation(len(found))[:most])
        return Block(kind, tuple(found[index] for index in chosen), len(found))

    if wanted != "both":
        made = block(wanted, limit)
        if not made.cases and made.kind == "correct":
            raise ParameterError(
                say("None of the {count} plane(s) is correct: take cases=all.", count=len(cases))
            )
        if not made.cases:
            raise ParameterError(
                say("None of the {count} plane(s) is wrong: take cases=all.", count=len(cases))
            )
        return (made,)
    pair = block("correct", max(1, limit // 2)), block("wrong", max(1, limit // 2))
    return tuple(
        Block(one.kind, tuple(sorted(one.cases, key=lambda case: case.truth or 0)), one.available)
        for one in pair
    )
