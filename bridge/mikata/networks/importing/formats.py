"""Weights of a package as functions of tensors, by format, without code of the package where nobody has consented."""

from __future__ import annotations

import importlib
import importlib.util
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mikata.architecture import READING, SelfExplaining
from mikata.errors import MikataError, NetworkError
from mikata.language import say
from mikata.networks.importing import interpreter, limits
from mikata.networks.importing.code import Script, TooLargeError, UnreadableError, read_script
from mikata.networks.importing.libraries import arguments, library_network, own_network
from mikata.networks.importing.onnx_files import LARGEST as LARGEST_ONNX
from mikata.networks.importing.onnx_files import refuse_other_files
from mikata.networks.importing.package_code import Trust, loaded_script, package_network
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError, first_line
from mikata.networks.memory import is_out_of_memory
from mikata.networks.package import TRAINING_FILE, read_package
from mikata.networks.weights import load_state

FORMATS = ("pytorch_state_dict", "torchscript", "onnx")
"""Weight formats that can be run here, the first being tried first."""


class Runs(Protocol):
    """Weights that run: tensors in the description's axes and order, all on one device, to such on the same device."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs of inputs; raises `NotRunError` or `UnreadableError` where the network fails."""


class WalkedScript:
    """TorchScript whose code is walked: nothing but harmless operations, whatever the file holds."""

    def __init__(self, script: Script) -> None:
        self._scripts = {torch.device("cpu"): script}
        self._plans: limits.Plans = {}

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As `Runs`."""
        device = inputs[0].device
        if device not in self._scripts:
            self._scripts[device] = self._scripts[torch.device("cpu")].to(device)
        return interpreter.run(self._scripts[device], list(inputs), self._plans)


class PlainModule:
    """A network of torch's in evaluation mode."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()
        self._device = torch.device("cpu")

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As `Runs`."""
        if inputs[0].device != self._device:
            self._device = inputs[0].device
            self._network.to(self._device)
        try:
            with torch.inference_mode():
                found = self._network(*inputs)
        # networks raise what they like on tensors that do not suit them
        except Exception as error:
            kind = TooLargeError if is_out_of_memory(error) else NotRunError
            raise kind(say("the network fails ({reason})", reason=first_line(error))) from error
        outputs = list(found) if isinstance(found, list | tuple) else [found]
        if not outputs or not all(isinstance(output, Tensor) for output in outputs):
            raise NotRunError(say("it gives something else than tensors"))
        return outputs


class OnnxSession:
    """An ONNX network on the CPU, stopped where a run takes longer than `limits.MOST_SECONDS`."""

    def __init__(self, data: bytes) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise NotRunError(say("onnxruntime is not installed (pip install mikata[onnx])"))
        refuse_other_files(data)
        runtime: Any = importlib.import_module("onnxruntime")
        self._options = runtime.RunOptions
        try:
            # what is constant would be reckoned while it is loaded, which nothing stops
            self._session = runtime.InferenceSession(
                data, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
            )
        except Exception as error:
            raise NotRunError(
                say("onnxruntime cannot load it ({reason})", reason=first_line(error))
            ) from error
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As `Runs`."""
        device = inputs[0].device
        fed = {name: value.cpu().numpy() for name, value in zip(self._names, inputs, strict=False)}
        options = self._options()
        timer = threading.Timer(limits.MOST_SECONDS, lambda: setattr(options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            found = self._session.run(None, fed, options)
        except Exception as error:
            if options.terminate:
                raise NotRunError(
                    say("it takes longer than {count:.0f} seconds", count=limits.MOST_SECONDS)
                ) from error
            raise NotRunError(
                say("onnxruntime cannot run it ({reason})", reason=first_line(error))
            ) from error
        finally:
            timer.cancel()
        return [torch.from_numpy(np.asarray(output)).to(device) for output in found]


def network_of(package: Package, kind: str, *, code: Trust = "consented") -> Runs:
    """The weights of one format, loaded.

    A state dict runs with Mikata's own architecture (`read_package`, or its file recognised by its hash), with a library's
    (`LIBRARIES`), and with one that the package brings where there is consent. TorchScript is walked, never loaded.

    Raises
    ------
    NotRunError
        If they are not run, with the reason.
    UnreadableError
        If TorchScript is damaged or holds anything but modules with tensors.
    """
    entry = package.weights.get(kind)
    source = package.source(entry)
    if entry is None or not package.has(source):
        raise NotRunError(say("the file {file} is not in the package", file=source or "-"))
    match kind:
        case "pytorch_state_dict":
            return PlainModule(_from_state(package, entry, source, code))
        case "torchscript":
            return WalkedScript(read_script(package.files.read(source)))
        case "onnx":
            size = package.files.size(source)
            if size > LARGEST_ONNX:
                raise NotRunError(say("its ONNX file is too large ({size} bytes)", size=size))
            return OnnxSession(package.files.read(source))
    raise NotRunError(say("{kind} is not run by Mikata", kind=kind))


def networks_of(package: Package, *, code: Trust = "consented") -> Iterator[tuple[str, Runs | str]]:
    """Each way to run a package's weights, the safest and fastest first, or the sentence why it is none.

    TorchScript that does more than is known to be harmless comes last, as torch loads it, where there is consent.
    """
    for kind in sorted(
        package.weights, key=lambda kind: FORMATS.index(kind) if kind in FORMATS else len(FORMATS)
    ):
        try:
            yield kind, network_of(package, kind, code=code)
        except (NotRunError, UnreadableError) as error:
            yield kind, str(error)
    source = package.source(package.weights.get("torchscript"))
    if package.has(source):
        try:
            # what cannot be read at all is damaged, or no TorchScript
            read_script(package.files.read(source))
            loaded = loaded_script(package, source, code=code)
        except (NotRunError, UnreadableError) as error:
            yield "torchscript", str(error)
        else:
            if loaded is not None:
                yield "torchscript", PlainModule(loaded)


def _from_state(package: Package, entry: Mapping[str, Any], source: str, code: Trust) -> nn.Module:
    if package.has(TRAINING_FILE) and not package.described_by.count("/"):
        try:
            return _trained_here(package, entry)
        except MikataError as error:
            raise NotRunError(str(error).rstrip(".")) from error
    network = own_network(package, entry)
    if network is None and _is_file(entry):
        network = package_network(package, entry, code=code)
    if network is None:
        network = library_network(entry)
    try:
        state = load_state(io.BytesIO(package.files.read(source)), source)
        left = network.load_state_dict(state, strict=False)
    except (NetworkError, RuntimeError, ValueError) as error:
        raise NotRunError(
            say("{file} does not fit its architecture ({reason})", file=source, reason=first_line(error))
        ) from error
    # format 0.5 may let weights be left over, but a network with some of chance gives no results
    wrong = left.missing_keys or (left.unexpected_keys if entry.get("strict") is not False else [])
    if wrong:
        raise NotRunError(
            say("{file} does not fit its architecture ({reason})", file=source, reason=", ".join(wrong[:3]))
        )
    return network


def _trained_here(package: Package, entry: Mapping[str, Any]) -> nn.Module:
    """What Mikata trained, with the heat maps that it gives if the description says so."""
    classifier = read_package(package.path).classifier
    stated = entry.get("architecture")
    if not isinstance(stated, Mapping) or stated.get("callable") != SelfExplaining.__name__:
        return classifier
    given = arguments(entry)
    reading: dict[str, Any] = {key: given.get(key) for key in READING}
    try:
        explaining = SelfExplaining(**reading, **classifier.configuration)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise NotRunError(
            say("its network with heat maps cannot be rebuilt ({reason})", reason=first_line(error))
        ) from error
    explaining.load_state_dict(classifier.state_dict())
    return explaining.eval()


def _is_file(entry: Mapping[str, Any]) -> bool:
    stated = entry.get("architecture")
    return bool(isinstance(stated, Mapping) and stated.get("source")) or (
        isinstance(stated, str) and ":" in stated
    )
