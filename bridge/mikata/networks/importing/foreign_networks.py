"""What others made, as Mikata's commands run it: networks from images to images, and classifiers.

Of every weight format the safest is taken that runs; no code of a package runs without consent, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from mikata.errors import ImageError, PackageError
from mikata.language import say
from mikata.networks.importing.code import TooLargeError, UnreadableError
from mikata.networks.importing.formats import Runs, networks_of
from mikata.networks.importing.meanings import excludes, meaning_of
from mikata.networks.importing.operations import (
    described,
    input_operations,
    output_operations,
    refuse_references,
    refuse_unknown,
)
from mikata.networks.importing.package_code import Trust
from mikata.networks.importing.probing import Probe, confirmed_halo, found_stride
from mikata.networks.importing.reading import Package, opened_package
from mikata.networks.importing.refusals import NotRunError
from mikata.networks.importing.shapes import (
    Layout,
    axis_of,
    halo_of,
    layout_of,
    one_at_a_time,
    scale_of,
    sides_of,
)
from mikata.networks.importing.tensors import Tensor, tensors
from mikata.networks.pixelwise import PixelNetwork, Sides, unchanged

Array = NDArray[Any]
Found = TypeVar("Found")

_WHOLE = {
    "uint8": (0.0, 255.0),
    "uint16": (0.0, 65535.0),
    "int8": (-128.0, 127.0),
    "int16": (-32768.0, 32767.0),
    "uint32": (0.0, 4294967295.0),
    "int32": (-2147483648.0, 2147483647.0),
    "uint64": (0.0, 18446744073709549568.0),  # the largest float32 below 2^64
    "int64": (-9223372036854775808.0, 9223371487098961920.0),
    "bool": (0.0, 1.0),
}
"""Smallest and largest value that a type of whole numbers holds."""

_STORED = ("uint8", "uint16", "int8", "int16")  # types of images, whose ends are a range of values

_FLOAT = ("ensure_dtype", "float32")

_TRIED = 6  # images of noise by which it is seen whether outputs exclude each other


@dataclass(frozen=True, eq=False)
class ForeignClassifier:
    """A network of another program from an image to one number a class.

    Attributes
    ----------
    path:
        Its package, for messages.
    classes:
        Names, in the order of the outputs.
    channels:
        Number of input channels.
    before:
        Whole image (C, H, W), float32, to what the network takes.
    network:
        Tensor (N, C, H, W) to (N, K), float32, operations behind it included.
    height, width:
        Sides of an image that it takes.
    probabilities:
        Whether the outputs are probabilities of classes that exclude each other. Only then is the largest one the class:
        a single output, and outputs that may all be high at once (one sigmoid each), name none. See `excludes`.
    value_unit, value_range:
        As of a `PixelNetwork`.
    weights:
        The weight format that runs.
    """

    path: Path
    classes: tuple[str, ...]
    channels: int
    before: Callable[[Array], Array]
    network: Callable[[Values], Values]
    height: Sides
    width: Sides
    probabilities: bool
    value_unit: str
    value_range: tuple[float, float] | None
    weights: str


def read_foreign_network(path: Path, *, trust_code: bool = False) -> PixelNetwork:
    """A package of format 0.4 or 0.5, of any program, as a network from images to images.

    Its axes may be in any order, with or without batch and channel; several outputs become channels one after another.
    Weights are run as `mikata.networks.importing.formats.networks_of` says. What the outputs are is taken from what is
    stated alone (see `meaning_of`), else they are ``unknown``. A stated halo that is too small is not taken over (see
    `confirmed_halo`), and the stride is found by trying.

    Parameters
    ----------
    path:
        Folder or zip.
    trust_code:
        Whether code of the package may run without a recorded consent; it can do whatever the user can. Without it, code
        runs where the user has consented to the same content when importing it (`mikata.networks.importing.consents`).

    Raises
    ------
    PackageError
        If it is missing, damaged or unsafe, or Mikata cannot run it: with every reason.
    """
    with opened_package(path) as package:
        return _read(package, "now" if trust_code else "consented", _pixels)


def read_foreign_classifier(path: Path, *, trust_code: bool = False) -> ForeignClassifier:
    """A package whose output has the axes batch and channel, of any program, as a classifier.

    Parameters and errors are those of :func:`read_foreign_network`.
    """
    with opened_package(path) as package:
        return _read(package, "now" if trust_code else "consented", _classifier)


def _read(package: Package, code: Trust, make: Callable[[_Parts, str, Runs], Found]) -> Found:
    path = package.path
    try:
        parts = _Parts(package)
    except NotRunError as error:
        raise _refusal(path, [str(error)]) from error
    reasons = []
    for kind, network in networks_of(package, code=code):
        if isinstance(network, str):
            reasons.append(f"{kind}: {network.rstrip('.')}")
            continue
        try:
            return make(parts, kind, network)
        except (NotRunError, UnreadableError) as error:
            reasons.append(f"{kind}: {str(error).rstrip('.')}")
    raise _refusal(path, list(dict.fromkeys(reasons)) or [say("it has no weights")])


def _refusal(path: Path, reasons: Sequence[str]) -> PackageError:
    return PackageError(
        say(
            "{path} cannot be run here: {reasons}.",
            path=path,
            reasons="; ".join(r.rstrip(".") for r in reasons),
        )
    )


class _Parts:
    """What all kinds of networks need of a description."""

    def __init__(self, package: Package) -> None:
        found = tensors(package)
        inputs = [tensor for tensor in found if not tensor.output]
        self.package = package
        self.outputs = [tensor for tensor in found if tensor.output]
        if len(inputs) != 1 or not self.outputs:
            raise NotRunError(
                say(
                    "it has {inputs} inputs and {outputs} outputs",
                    inputs=len(inputs),
                    outputs=len(self.outputs),
                )
            )
        refuse_unknown(found)
        refuse_references(found)
        self.model, reasons = described(package)
        if self.model is None:
            raise NotRunError(
                say("its description is not valid: {reasons}", reasons="; ".join(reasons[:3])[:600])
            )
        self.input = inputs[0]
        self.layout = layout_of(self.input)
        self.height, self.width = sides_of(self.input, "y"), sides_of(self.input, "x")
        self._apply = input_operations(self.model)
        self.test = self._test_image()
        self.channels = self._channels()
        self.whole = self._whole_numbers()

    @property
    def idle(self) -> bool:
        """Whether images go into the network as they are."""
        steps = [step for step in self.input.steps if (step.name, step.kwargs.get("dtype")) != _FLOAT]
        return not steps and self.input.dtype not in _WHOLE

    def before(self, values: Array) -> Array:
        """Whole image (C, H, W) to what the network takes."""
        name = self.package.path.name
        ends = _WHOLE.get(self.input.dtype)
        # what is not a number is neither above nor below
        if ends is not None and not (float(values.min()) >= ends[0] and float(values.max()) <= ends[1]):
            raise ImageError(
                say(
                    "{model} takes images of the type {dtype}, but the values of this one go from {low:g} to {high:g}. "
                    "Convert the image as the training images were.",
                    model=name, dtype=self.input.dtype, low=float(values.min()), high=float(values.max()),
                )
            )  # fmt: skip
        try:
            made = self._apply(self.layout.arranged_array(np.asarray(values, np.float32)))
            return np.ascontiguousarray(self.layout.plain_array(made), dtype=np.float32)
        except NotRunError as error:
            raise ImageError(
                say("{path} cannot be run here: {reasons}.", path=name, reasons=error)
            ) from error

    def runner(self, network: Runs, layouts: Sequence[Layout]) -> Callable[[Values], list[Values]]:
        """Tensor (N, C, h, w) to one tensor (N, K, h', w') an output.

        Images go through one by one where the batch is of a fixed size of 1, or where two at once do not give what each
        alone does: networks that were traced with one image may be for one image only.
        """

        def together(x: Values) -> list[Values]:
            outputs = network([self.layout.arranged(self._as_type(x))])
            if len(outputs) != len(layouts):
                raise NotRunError(
                    say("the weights give {made} outputs, the description has {wanted}",
                        made=len(outputs), wanted=len(layouts))
                )  # fmt: skip
            return [layout.plain(output) for layout, output in zip(layouts, outputs, strict=True)]

        def one_by_one(x: Values) -> list[Values]:
            found = [together(one[None]) for one in x]
            return [torch.cat(parts) for parts in zip(*found, strict=True)]

        stated = not one_at_a_time(self.input) and all("b" in layout.letters for layout in layouts)
        return together if stated and self._alike(together, one_by_one) else one_by_one

    def _as_type(self, x: Values) -> Values:
        """Values as the network gets them; the noise by which it is tried is made to fit the type."""
        if self.whole is None:
            return x.to(torch.float32)
        if self.whole == torch.bool:
            return x > 0
        ends = torch.iinfo(self.whole)
        return x.double().round().clamp(ends.min, ends.max).to(self.whole)

    def _alike(
        self, together: Callable[[Values], list[Values]], one_by_one: Callable[[Values], list[Values]]
    ) -> bool:
        probe = self.probe(lambda x: x, 1)
        x = torch.cat([probe.noise(self.height.least, self.width.least, seed) for seed in range(2)])
        alone = one_by_one(x)
        try:
            found = together(x)
        except (NotRunError, UnreadableError):
            return False
        return all(
            a.shape == b.shape
            and torch.allclose(a.to(torch.float32), b.to(torch.float32), rtol=1e-4, atol=1e-5)
            for a, b in zip(found, alone, strict=True)
        )

    def unit(self) -> str:
        """Of the values."""
        unit = self.input.unit
        return "grey" if unit in ("", "arbitrary unit") else unit

    def value_range(self) -> tuple[float, float] | None:
        """Of the training images, as far as it is stated."""
        if self.input.lowest is not None and self.input.highest is not None:
            return self.input.lowest, self.input.highest
        return _WHOLE[self.input.dtype] if self.input.dtype in _STORED else None

    def _whole_numbers(self) -> torch.dtype | None:
        """The type of whole numbers that the network gets after the operations before it; None: float32."""
        probe = np.zeros((self.channels, self.height.least, self.width.least), np.float32)
        probe[:, ::2] = 1  # statistics of a constant image divide by 0
        kind = self._apply(self.layout.arranged_array(probe if self.test is None else self.test)).dtype
        return torch.from_numpy(np.zeros(1, kind)).dtype if kind.kind in "iub" else None

    def _test_image(self) -> Array | None:
        """The test input (C, H, W), where it is there and in these axes."""
        array = self.package.array(self.input.test)
        if array is None or not array.size:
            return None
        try:
            return self.layout.plain_array(array.astype(np.float32))
        except NotRunError:
            return None

    def _channels(self) -> int:
        axis = axis_of(self.input, "c")
        count = 1 if axis is None else axis.count
        if count is None and self.test is not None:
            count = self.test.shape[0]
        if not count:
            raise NotRunError(say("the number of its channels is not stated"))
        return count

    def probe(self, network: Callable[[Values], Values], scale: int) -> Probe:
        """The network to be tried, with noise like its test image."""
        mean, std = 0.0, 1.0
        if self.test is not None:
            seen = self.before(self.test)
            mean, std = float(seen.mean()), float(seen.std()) or 1.0
        return Probe(network, self.channels, self.height, self.width, scale, mean, std)


def _pixels(parts: _Parts, kind: str, network: Runs) -> PixelNetwork:
    outputs, old = parts.outputs, parts.package.old
    flat = [tensor.name for tensor in outputs if not {"y", "x"} <= set(tensor.letters)]
    if flat:
        raise NotRunError(say("its output {names} is no image", names=", ".join(flat)))
    layouts = [layout_of(tensor) for tensor in outputs]
    scales = {scale_of(parts.input, tensor, old=old) for tensor in outputs}
    if len(scales) > 1:
        raise NotRunError(say("its outputs have different sizes"))
    scale = scales.pop()
    run = parts.runner(network, layouts)
    path = parts.package.path

    def planes(x: Values) -> Values:
        found = torch.cat([output.to(torch.float32) for output in run(x)], 1)
        expected = (x.shape[2] * scale, x.shape[3] * scale)
        if tuple(found.shape[2:]) != expected:
            raise NotRunError(
                say("it gives {found} px of an image of {given} px", found=_size(found), given=_size(x))
            )
        return found

    probe = parts.probe(planes, scale)
    tried = planes(probe.noise(parts.height.least, parts.width.least, 0))
    counts = [output.shape[1] for output in run(probe.noise(parts.height.least, parts.width.least, 0))]
    halo = halo_of(outputs, scale)
    if halo is not None:
        halo = confirmed_halo(probe, halo)
    applies = [output_operations(parts.model, n) for n in range(len(outputs))]
    # without any step, the output is still made what its type says
    idle = [not tensor.steps and tensor.dtype == "float32" for tensor in outputs]

    def after(values: Array) -> Array:
        ends = np.cumsum(counts)
        try:
            made = [
                layout.plain_array(apply(layout.arranged_array(values[end - count : end])))
                for layout, apply, count, end in zip(layouts, applies, counts, ends, strict=True)
            ]
        except NotRunError as error:
            raise _refusal(path, [str(error)]) from error
        return np.ascontiguousarray(np.concatenate(made), dtype=np.float32)

    def guarded(x: Values) -> Values:
        try:
            return planes(x)
        except TooLargeError as error:
            raise MemoryError(str(error)) from error  # smaller tiles may do
        except (NotRunError, UnreadableError) as error:
            raise _refusal(path, [f"{kind}: {error}"]) from error

    names = tuple(
        name for tensor, count in zip(outputs, counts, strict=True) for name in _names(tensor, count, outputs)
    )
    return PixelNetwork(
        path=path,
        channels=parts.channels,
        before=unchanged if parts.idle else parts.before,
        network=guarded,
        after=unchanged if all(idle) else after,
        height=parts.height,
        width=parts.width,
        halo=halo,
        stride=found_stride(probe, halo),
        scale=scale,
        outputs=names,
        meaning=meaning_of(parts.package, parts.channels, int(tried.shape[1])),
        value_unit=parts.unit(),
        value_range=parts.value_range(),
    )


def _classifier(parts: _Parts, kind: str, network: Runs) -> ForeignClassifier:
    outputs = parts.outputs
    flat = [
        n
        for n, tensor in enumerate(outputs)
        if "c" in tensor.letters and not {"y", "x"} & set(tensor.letters)
    ]
    if not flat:
        raise NotRunError(say("none of its outputs is one number a class"))
    place = flat[0]
    layouts = [layout_of(tensor) for tensor in outputs]
    run = parts.runner(network, layouts)
    apply, layout, path = output_operations(parts.model, place), layouts[place], parts.package.path

    def scores(x: Values) -> Values:
        rows = []
        for one in run(x)[place].to(torch.float32).cpu().numpy():
            made = layout.plain_array(apply(layout.arranged_array(one)))
            rows.append(torch.from_numpy(np.asarray(made, np.float32))[:, 0, 0])
        return torch.stack(rows).to(x.device)

    def guarded(x: Values) -> Values:
        try:
            return scores(x)
        except (NotRunError, UnreadableError) as error:
            raise _refusal(path, [f"{kind}: {error}"]) from error

    probe = parts.probe(scores, 1)
    tried = [scores(x)[0].numpy() for x in _unlike(probe)]
    if parts.test is not None:
        tried.append(scores(torch.from_numpy(parts.before(parts.test))[None])[0].numpy())
    tensor = outputs[place]
    return ForeignClassifier(
        path=path,
        classes=_names(tensor, len(tried[0]), [tensor]),
        channels=parts.channels,
        before=parts.before,
        network=guarded,
        height=parts.height,
        width=parts.width,
        probabilities=excludes(tensor, tried),
        value_unit=parts.unit(),
        value_range=parts.value_range(),
        weights=kind,
    )


def _unlike(probe: Probe) -> Iterator[Values]:
    """Images of noise of many strengths: on some of them a network should not be sure."""
    for seed in range(_TRIED):
        x = probe.noise(probe.height.least, probe.width.least, seed)
        yield probe.mean + (x - probe.mean) * 2.0 ** (1 - seed)


def _names(tensor: Tensor, count: int, among: Sequence[Tensor]) -> tuple[str, ...]:
    """Names of an output's channels, with the output's own before them where there are several."""
    axis = axis_of(tensor, "c")
    stated = axis.names if axis is not None and len(axis.names) == count else ()
    names = stated or (
        (tensor.name,) if count == 1 else tuple(f"{tensor.name} {n + 1}" for n in range(count))
    )
    return names if len(among) == 1 or not stated else tuple(f"{tensor.name} {name}" for name in names)


def _size(values: Values) -> str:
    return f"{values.shape[3]} x {values.shape[2]}"
