"""Points 11 to 14: the operations before and after a network, as deepImageJ runs them."""

from __future__ import annotations

from collections.abc import Sequence

from mikata.language import say
from mikata.networks.importing.tensors import Step, Tensor
from mikata.packaging.checks.findings import Finding

_KNOWN = frozenset(
    "zero_mean_unit_variance fixed_zero_mean_unit_variance scale_linear scale_range clip binarize sigmoid "
    "ensure_dtype".split()
)
_FAILING = frozenset({"softmax", "scale_mean_variance"})
_FOREIGN = ("cellpose", "stardist")


def operations(found: Sequence[Tensor]) -> list[Finding]:
    """The findings of points 11 to 14."""
    steps = [(tensor, step) for tensor in found for step in tensor.steps]
    return [
        _unknown(steps),
        _failing(steps),
        _channels(steps),
        _others(steps),
    ]


def _listed(steps: Sequence[tuple[Tensor, Step]]) -> str:
    return ", ".join(f"{step.name} ({step.place})" for _, step in steps)


def _unknown(steps: Sequence[tuple[Tensor, Step]]) -> Finding:
    handled = _KNOWN | _FAILING
    wrong = [pair for pair in steps if pair[1].name not in handled and not _foreign(pair[1])]
    if wrong:
        return Finding(
            "11",
            "failed",
            say("Operations that deepImageJ does not know: {steps}.", steps=_listed(wrong)),
            say("deepImageJ stops when it reads the model."),
            say("Do this inside the network, and take the operation out of rdf.yaml."),
        )
    if not steps:
        return Finding("11", "not applicable", say("There are no operations before or after the network."))
    return Finding("11", "passed", say("deepImageJ knows all operations: {steps}.", steps=_listed(steps)))


def _failing(steps: Sequence[tuple[Tensor, Step]]) -> Finding:
    wrong = [pair for pair in steps if _fails(pair[1])]
    if wrong:
        return Finding(
            "12",
            "failed",
            say(
                "Operations, or arguments of them, on which deepImageJ stops: {steps}.", steps=_listed(wrong)
            ),
            say(
                "deepImageJ has no softmax and no scale_mean_variance, wants both bounds of clip, and one number for "
                "mean and std of fixed_zero_mean_unit_variance."
            ),
            say("Do this inside the network, or give clip its min and max; then take the operation out."),
        )
    return Finding("12", "passed", say("No operation is one on which deepImageJ stops."))


def _fails(step: Step) -> bool:
    kwargs = step.kwargs
    if step.name == "clip":
        return any(kwargs.get(bound) is None for bound in ("min", "max"))
    if step.name == "fixed_zero_mean_unit_variance":
        return any(isinstance(kwargs.get(key), list) for key in ("mean", "std"))
    # format 0.4 says the same with a mode
    if step.name == "zero_mean_unit_variance" and kwargs.get("mode") == "fixed":
        return any(isinstance(kwargs.get(key), list) for key in ("mean", "std"))
    return step.name in _FAILING


def _channels(steps: Sequence[tuple[Tensor, Step]]) -> Finding:
    wrong = [(tensor, step) for tensor, step in steps if tensor.channels != 1 and _each_channel(tensor, step)]
    if wrong:
        return Finding(
            "13",
            "failed",
            say("Operations for each of several channels: {steps}.", steps=_listed(wrong)),
            say("deepImageJ reckons them over all channels at once and says nothing: the results are wrong."),
            say("Do this inside the network, and take the operation out of rdf.yaml."),
        )
    return Finding("13", "passed", say("No operation treats several channels one by one."))


def _each_channel(tensor: Tensor, step: Step) -> bool:
    kwargs = step.kwargs
    if step.name == "scale_linear":
        return any(isinstance(kwargs.get(key), list) and len(kwargs[key]) > 1 for key in ("gain", "offset"))
    if step.name != "zero_mean_unit_variance":
        return False
    axes = kwargs.get("axes")
    if axes is None:
        return False
    # 0.4 writes letters, 0.5 names
    return "c" not in axes if isinstance(axes, str) else not {"channel", "c"} & set(map(str, axes))


def _others(steps: Sequence[tuple[Tensor, Step]]) -> Finding:
    foreign = [pair for pair in steps if _foreign(pair[1])]
    if foreign:
        return Finding(
            "14",
            "failed",
            say("Post-processing of another program: {steps}.", steps=_listed(foreign)),
            say("deepImageJ does not have it and stops when it reads the model."),
            say("Take it out, and do this step in the other program, on what the network gives."),
        )
    referring = [pair for pair in steps if pair[1].kwargs.get("reference_tensor")]
    if referring:
        return Finding(
            "14",
            "failed",
            say("Operations that refer to another tensor: {steps}.", steps=_listed(referring)),
            say(
                "deepImageJ ignores reference_tensor and reckons with the tensor itself: the results are wrong."
            ),
            say("Do this inside the network, or leave reference_tensor out."),
        )
    return Finding("14", "passed", say("No operation refers to another tensor or program."))


def _foreign(step: Step) -> bool:
    return step.name.startswith(_FOREIGN)
