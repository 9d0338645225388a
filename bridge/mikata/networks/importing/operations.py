"""Operations before and after a network, with bioimageio.core's own, on whole images.

Statistics (percentiles, mean and deviation) are of the one image, also where a description leaves open whether they are
of all images: bioimageio.core then averages over those seen so far, and a result would depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.language import say
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError, first_line
from mikata.networks.importing.tensors import Tensor
from mikata.networks.quiet import quiet

Array = NDArray[Any]

KNOWN = frozenset(
    """binarize clip ensure_dtype fixed_zero_mean_unit_variance scale_linear scale_mean_variance scale_range sigmoid
    softmax zero_mean_unit_variance""".split()
)
"""Operations of formats 0.4 and 0.5 that reckon and do nothing else. (``custom`` is code of the package.)"""


def described(package: Package) -> tuple[Any, tuple[str, ...]]:
    """The description as bioimageio.spec reads it, or None and what it finds wrong. No file or address is opened."""
    from bioimageio.spec import ValidationContext, build_description
    from bioimageio.spec.model import v0_4, v0_5

    content: dict[str, Any] = dict(package.description)
    try:
        with quiet():
            model = build_description(content, context=ValidationContext(perform_io_checks=False))
    # a description can be wrong in ways that its validation does not expect
    except Exception as error:
        return None, (f"{type(error).__name__}: {str(error)[:200]}",)
    if isinstance(model, v0_4.ModelDescr | v0_5.ModelDescr):
        return model, ()
    found = [
        f"{'.'.join(str(part) for part in error.loc)}: {error.msg}".lstrip(": ")
        for detail in model.validation_summary.details
        for error in detail.errors
    ]
    return None, tuple(dict.fromkeys(found)) or (say("It does not describe a model."),)


def refuse_unknown(found: Sequence[Tensor]) -> None:
    """Refuse operations that are code of the package, of other programs, or not known.

    Raises
    ------
    NotRunError
        With their names and places.
    """
    unknown = [
        f"{step.name} ({step.place})" for tensor in found for step in tensor.steps if step.name not in KNOWN
    ]
    if unknown:
        raise NotRunError(
            say("it has operations that Mikata does not run: {steps}", steps=", ".join(unknown))
        )


def refuse_references(found: Sequence[Tensor]) -> None:
    """Refuse operations that reckon with another tensor than their own.

    Raises
    ------
    NotRunError
        With their names and places.
    """
    referring = [
        f"{step.name} ({step.place})"
        for tensor in found
        for step in tensor.steps
        if step.kwargs.get("reference_tensor") not in (None, tensor.name)
    ]
    if referring:
        raise NotRunError(
            say("it has operations that refer to another tensor: {steps}", steps=", ".join(referring))
        )


def input_operations(model: Any, index: int = 0) -> Callable[[Array], Array]:
    """What comes before the network for one input, as a function of the array in the description's axes.

    Parameters
    ----------
    model:
        As :func:`described` gives it; its operations have been judged by :func:`refuse_unknown`.
    index:
        Of the input.

    Raises
    ------
    NotRunError
        By the function, if an operation does not suit its array.
    """
    one = model.inputs[index]
    return _operations(SimpleNamespace(inputs=[one], outputs=[]), one)


def output_operations(model: Any, index: int) -> Callable[[Array], Array]:
    """What comes after the network for one output: see :func:`input_operations`.

    Statistics are of the whole output that the function is given.
    """
    one = model.outputs[index]
    return _operations(SimpleNamespace(inputs=[], outputs=[one]), one)


def _operations(part: Any, described_tensor: Any) -> Callable[[Array], Array]:
    name = str(getattr(described_tensor, "id", None) or described_tensor.name)
    dims = [axis_name(axis) for axis in described_tensor.axes]

    def apply(array: Array) -> Array:
        from bioimageio.core import Tensor as CoreTensor
        from bioimageio.core.proc_setup import setup_pre_and_postprocessing
        from bioimageio.core.sample import Sample

        members: dict[Any, Any] = {name: CoreTensor.from_numpy(array, dims=dims)}
        sample: Any = Sample(members=members, stat={}, id=None)
        try:
            with quiet(), np.errstate(over="ignore"):  # a sigmoid of -100 is 0
                steps = setup_pre_and_postprocessing(part, dataset_for_initial_statistics=[sample])
                for step in (*steps.pre, *steps.post):
                    step(sample)
                return np.asarray(sample.members[name].data.to_numpy())
        # bioimageio.core raises all kinds of errors on operations that do not suit the tensors
        except Exception as error:
            reason = first_line(error)
            if part.inputs:
                raise NotRunError(
                    say("an operation before the network fails ({reason})", reason=reason)
                ) from error
            raise NotRunError(
                say("an operation after the network fails ({reason})", reason=reason)
            ) from error

    return apply


def axis_name(axis: Any) -> str:
    """bioimageio.core's name of an axis: of 0.4 a letter, of 0.5 its id."""
    letters: Mapping[str, str] = {"b": "batch", "c": "channel", "t": "time", "i": "index"}
    return letters.get(axis, axis) if isinstance(axis, str) else str(axis.id)
