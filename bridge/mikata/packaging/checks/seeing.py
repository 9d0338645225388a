"""Point 9: whether a network with a halo sees more than that, such as the mean of the whole image; found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor as Values

from mikata.language import say
from mikata.networks.importing.code import Script, TooLargeError, UnreadableError
from mikata.networks.importing.formats import WalkedScript
from mikata.networks.importing.operations import input_operations
from mikata.networks.importing.probing import Probe, sees_beyond
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError
from mikata.networks.importing.shapes import axis_of, layout_of, scale_of, sides_of
from mikata.networks.importing.tensors import Tensor
from mikata.packaging.checks.findings import Finding

_FAR = 224
"""px: what changes an output from further away is taken to be the whole image. (A U-Net of 5 levels sees 94 px.)"""

_WHOLE = frozenset(
    """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d amax amin group_norm instance_norm
    layer_norm linalg_vector_norm mean native_group_norm native_layer_norm norm std std_mean sum var var_mean""".split()
)
"""Operations that may reckon with a whole image; asked only where that cannot be tried."""


def halo_and_sight(package: Package, found: Sequence[Tensor], model: Any, script: Script | None) -> Finding:
    """Point 9.

    deepImageJ mirrors the image's border by the halo. Where the network sees the whole image (normalisation by instance,
    group or layer, squeeze and excitation, a mean over the image, however they are written) each pixel then changes.

    Parameters
    ----------
    found:
        The package's tensors.
    model:
        Its description as bioimageio.spec reads it; None where it is not valid.
    """
    halo = max((axis.halo for tensor in found if tensor.output for axis in tensor.axes), default=0)
    if script is None:
        return Finding("9", "not applicable", say("There is no TorchScript whose operations could be read."))
    if not halo:
        return Finding("9", "passed", say("The halo is 0."))
    try:
        beyond, whole = _tried(package, found, model, script, halo)
    except (NotRunError, UnreadableError, TooLargeError):
        beyond, whole = None, None
    if beyond is None:
        return _by_names(script, halo)
    if not beyond:
        return Finding(
            "9",
            "passed",
            say(
                "A halo of {halo} px, and nothing further away changes a pixel: tried. (Pixels at the border of the image "
                "differ.)",
                halo=halo,
            ),
        )
    if whole is False or (
        whole is None and not _named(script)
    ):  # None: it takes no image large enough to see
        return Finding(
            "9",
            "warning",
            say("A halo of {halo} px, but pixels further away change the output: tried.", halo=halo),
            say("deepImageJ cuts large images into tiles that overlap by the halo, and seams may show."),
            say("State as halo how far the network sees, or 0 for images that need no tiles."),
        )
    return Finding(
        "9",
        "failed",
        say(
            "The network sees the whole image (such as its mean and spread: tried), and there is a halo of {halo} px.",
            halo=halo,
        ),
        _mirrored(),
        _none(),
    )


def _mirrored() -> str:
    return say(
        "deepImageJ mirrors the image's border by the halo, which changes mean and spread, and so every pixel."
    )


def _none() -> str:
    return say("Write halo: 0 for all axes of the outputs.")


def _named(script: Script) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in script.operations} & _WHOLE)


def _by_names(script: Script, halo: int) -> Finding:
    """What can be said where the network cannot be run here, or takes only images that are too small."""
    named = _named(script)
    if not named:
        return Finding(
            "9",
            "passed",
            say(
                "A halo of {halo} px, and no operation that reckons with the whole image. (It could not be tried. Pixels at the "
                "border of the image differ.)",
                halo=halo,
            ),
        )
    return Finding(
        "9",
        "failed" if "instance_norm" in named else "warning",
        say(
            "A halo of {halo} px, and operations that may reckon with the whole image: {names}. It could not be tried.",
            halo=halo,
            names=", ".join(named),
        ),
        _mirrored(),
        _none(),
    )


def _tried(
    package: Package, found: Sequence[Tensor], model: Any, script: Script, halo: int
) -> tuple[bool | None, bool | None]:
    """Whether pixels beyond the halo, and whether those far beyond everything, change an output; None: not known."""
    inputs, outputs = [t for t in found if not t.output], [t for t in found if t.output]
    if len(inputs) != 1:
        return None, None
    (one,) = inputs
    layout, run = layout_of(one), WalkedScript(script)
    channels = axis_of(one, "c")
    count = 1 if channels is None else channels.count
    if not count:
        return None, None
    answers: list[tuple[bool | None, bool | None]] = []
    mean, std = _seen(package, one, model)
    for place, output in enumerate(outputs):
        if not {"y", "x"} <= set(output.letters):
            continue
        given = layout_of(output)
        scale = scale_of(one, output, old=package.old)
        network = _output(run, layout.arranged, given.plain, place)
        probe = Probe(network, count, sides_of(one, "y"), sides_of(one, "x"), scale, mean, std)
        beyond = sees_beyond(probe, halo)
        answers.append((beyond, sees_beyond(probe, max(halo, _FAR)) if beyond else beyond))
    if not answers:
        return None, None
    return _any([first for first, _ in answers]), _any([second for _, second in answers])


def _output(
    run: WalkedScript, arranged: Callable[[Values], Values], plain: Callable[[Values], Values], place: int
) -> Callable[[Values], Values]:
    def network(x: Values) -> Values:
        made = run([arranged(x)])
        if len(made) <= place:
            raise NotRunError(
                say("it has {inputs} inputs and {outputs} outputs", inputs=1, outputs=len(made))
            )
        return plain(made[place]).to(torch.float32)

    return network


def _any(answers: Sequence[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


def _seen(package: Package, tensor: Tensor, model: Any) -> tuple[float, float]:
    """Mean and deviation of the test input as the network gets it; of noise where there is none."""
    array = package.array(tensor.test)
    if array is None or not array.size:
        return 0.0, 1.0
    if model is not None:
        with suppress(NotRunError):
            array = input_operations(model)(array)
    values = np.asarray(array, np.float64)
    std = float(values.std())
    return (float(values.mean()), std or 1.0) if np.isfinite(std) else (0.0, 1.0)
