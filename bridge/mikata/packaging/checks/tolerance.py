"""How far an output may be from its test output: as bioimageio.core judges, which a package may make wider or narrower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tolerance:
    """Of each number by itself: `absolute` + `relative` times what is expected.

    Attributes
    ----------
    relative, absolute:
        Both 0.001 where a package does not state them.
    per_million:
        How many of a million numbers may be further apart.
    """

    relative: float = 1e-3
    absolute: float = 1e-3
    per_million: float = 100.0

    def allows(self, apart: NDArray[np.float64], expected: NDArray[Any]) -> bool:
        """Whether differences `apart` from `expected` are within it. What is not a number (NaN) is outside."""
        outside = ~(apart <= self.absolute + self.relative * np.abs(expected.astype(np.float64)))
        return not outside.size or float(outside.mean()) * 1e6 <= self.per_million

    def __or__(self, other: Tolerance) -> Tolerance:
        """The wider one in each respect: between two weight formats, each may be so far from the test output."""
        return Tolerance(
            max(self.relative, other.relative),
            max(self.absolute, other.absolute),
            max(self.per_million, other.per_million),
        )


def tolerance_of(model: Any, kind: str, output: str) -> Tolerance:
    """What bioimageio.core allows a weight format at an output.

    Format 0.5 may state it in ``config.bioimageio.reproducibility_tolerance``, where the first entry counts that names the
    format and the output or none of them, or, as was done before, in ``config.bioimageio.test_kwargs`` by format. In
    format 0.4 it is fixed, and no number may be further apart.

    Parameters
    ----------
    model:
        The description as bioimageio.spec reads it; None where it is not valid.
    kind, output:
        Weight format, and the output's name.
    """
    from bioimageio.spec.model import v0_4, v0_5

    if isinstance(model, v0_4.ModelDescr):
        return Tolerance(per_million=0.0)
    if not isinstance(model, v0_5.ModelDescr):
        return Tolerance()
    config = model.config.bioimageio
    for stated in config.reproducibility_tolerance:
        if (not stated.weights_formats or kind in stated.weights_formats) and (
            not stated.output_ids or output in stated.output_ids
        ):
            return Tolerance(
                float(stated.relative_tolerance),
                float(stated.absolute_tolerance),
                float(stated.mismatched_elements_per_million),
            )
    former = (config.model_extra or {}).get("test_kwargs")
    kwargs = former.get(kind) if isinstance(former, Mapping) else None
    if isinstance(kwargs, Mapping):
        # through bioimageio.spec, which holds them to the widths that it allows
        made = v0_5.ReproducibilityTolerance(
            relative_tolerance=kwargs.get("relative_tolerance", 1e-3),
            absolute_tolerance=kwargs.get("absolute_tolerance", 1e-3),
        )
        return Tolerance(float(made.relative_tolerance), float(made.absolute_tolerance))
    return Tolerance()
