"""What a check finds: one finding a point, one difference a pair of weight formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "warning", "failed", "not applicable"]
Reader = Literal["deepimagej", "zoo", "both"]

COLUMNS = ("point", "status", "what", "why", "what to do")


@dataclass(frozen=True)
class Finding:
    """One point of a check.

    Attributes
    ----------
    point:
        ``1`` to ``18`` are deepImageJ's (see `mikata.packaging.checks.points`); words are for every reader.
    status:
        Whether it stands in the way (``failed``), may do so (``warning``), or does not.
    what:
        What was found, and where: the file, the field.
    why:
        What the reader does then; empty where it passed.
    todo:
        What to change; empty where it passed.
    """

    point: str
    status: Status
    what: str
    why: str = ""
    todo: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """A row under `COLUMNS`."""
        return self.point, self.status, self.what, self.why, self.todo


@dataclass(frozen=True)
class Difference:
    """How far the output of one weight format is from another's, or from the package's test output.

    Attributes
    ----------
    weights, against:
        Names of weight formats; `against` may be ``test output``.
    output:
        The output tensor's name.
    largest, mean:
        Of the absolute differences, in the output's unit; NaN where the shapes differ.
    magnitude:
        Largest absolute value of what it is compared with.
    agrees:
        Whether all numbers but 100 in a million are within 0.001 plus 0.001 of `magnitude`, which are the tolerances of
        bioimageio.core and of deepImageJ's own check.
    """

    weights: str
    against: str
    output: str
    largest: float
    mean: float
    magnitude: float
    agrees: bool
