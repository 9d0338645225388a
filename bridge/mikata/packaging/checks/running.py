"""The test tensors through every weight format that runs without code of the package."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.errors import MikataError, NetworkError
from mikata.language import say
from mikata.networks import read_package
from mikata.networks.importing import interpreter
from mikata.networks.importing.code import Script, UnreadableError
from mikata.networks.importing.reading import Package
from mikata.networks.importing.tensors import Tensor
from mikata.networks.package import TRAINING_FILE
from mikata.networks.quiet import quiet
from mikata.networks.weights import load_state
from mikata.packaging.checks.findings import Difference, Finding

Array = NDArray[Any]

_LIBRARIES = ("torchvision.models", "timm", "monai.networks.nets", "segmentation_models_pytorch")
"""Libraries whose networks are built by name; all of them make nothing but networks from plain numbers and names."""

_DOWNLOADING = (
    "pretrained",
    "weights",
    "encoder_weights",
    "weights_backbone",
    "checkpoint_path",
    "pretrained_cfg",
)

TOLERANCE = 1e-3
"""Absolute, and relative to the largest value: what bioimageio.core and deepImageJ's check allow."""

_OUTSIDE = 1e-4  # share of all numbers that may be further apart (100 in a million, as there)


class _NotRunError(Exception):
    """Why a weight format is not run; its words are a sentence for the user."""


@dataclass(frozen=True)
class Runs:
    """What running the test tensors gave.

    Attributes
    ----------
    findings:
        One for each weight format, under ``test <format>``, and one for the differences between formats.
    differences:
        Of each format to the test output, and of each pair of formats.
    """

    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]


def run_all(
    package: Package, found: Sequence[Tensor], model: Any, script: Script | None, problem: str
) -> Runs:
    """Run each weight format and compare.

    Parameters
    ----------
    found:
        The package's tensors.
    model:
        Its description as bioimageio.spec reads it; None where it is not valid.
    script, problem:
        Its TorchScript, or why that could not be read.
    """
    inputs, outputs = [t for t in found if not t.output], [t for t in found if t.output]
    given, expected = ([package.array(t.test) for t in group] for group in (inputs, outputs))
    missing = [
        t.test or t.place for t, a in zip([*inputs, *outputs], [*given, *expected], strict=True) if a is None
    ]
    if missing or not given or not expected:
        finding = Finding(
            "test",
            "failed",
            say("Test tensors are missing or cannot be read: {files}.", files=", ".join(missing) or "-"),
            say("Without them nobody can tell whether the model works."),
            say("Save test input and output as .npy files of numbers, and name them in the description."),
        )
        return Runs((finding,), ())
    arrays = [a for a in given if a is not None]
    wanted = [a for a in expected if a is not None]
    results: dict[str, list[Array]] = {}
    findings, differences = [], []
    for kind in sorted(package.weights):
        try:
            with quiet():
                network = _network(package, kind, script, problem)
                made = _pipeline(model, inputs, outputs, arrays, network)
        except _NotRunError as error:
            findings.append(
                Finding(
                    f"test {kind}", "not applicable", say("Not run: {reason}.", reason=str(error).rstrip("."))
                ),
            )
            continue
        except UnreadableError as error:
            findings.append(
                Finding(
                    f"test {kind}",
                    "warning",
                    say("Not run: {reason}.", reason=str(error).rstrip(".")),
                    say("Mikata runs only what is known to be harmless, so its output is not checked."),
                    say("Check it where you trust the package, with bioimageio test."),
                )
            )
            continue
        results[kind] = made
        own = [
            _difference(kind, "test output", t.name, a, b)
            for t, a, b in zip(outputs, made, wanted, strict=False)
        ]
        differences += own
        findings.append(_tested(kind, own, len(made), len(wanted)))
    pairs = [
        _difference(a, b, t.name, x, y)
        for a, b in combinations(results, 2)
        for t, x, y in zip(outputs, results[a], results[b], strict=False)
    ]
    differences += pairs
    if pairs:
        findings.append(_formats(pairs))
    return Runs(tuple(findings), tuple(differences))


def _tested(kind: str, found: list[Difference], made: int, wanted: int) -> Finding:
    point = f"test {kind}"
    if made != wanted:
        return Finding(
            point,
            "failed",
            say("The weights give {made} outputs, the description has {wanted}.", made=made, wanted=wanted),
            say("Readers take outputs in their order, and one is missing."),
            say("Correct the outputs of the description, or the network."),
        )
    largest = max((d.largest for d in found), default=0.0)
    if all(d.agrees for d in found):
        return Finding(
            point, "passed", say("The test output comes out; largest difference {value:.2g}.", value=largest)
        )
    return Finding(
        point,
        "failed",
        say("Another output than the test output comes out; largest difference {value:.2g}.", value=largest),
        say("The weights, an operation or the test tensors are not those that belong together."),
        say("Save the test output anew with these weights and operations, if they are right."),
    )


def _formats(pairs: list[Difference]) -> Finding:
    worst = max(pairs, key=lambda d: d.largest if d.largest == d.largest else np.inf)
    what = say(
        "Largest difference between weight formats: {value:.2g} ({a} and {b}).",
        value=worst.largest,
        a=worst.weights,
        b=worst.against,
    )
    if all(d.agrees for d in pairs):
        return Finding("formats", "passed", what)
    return Finding(
        "formats",
        "failed",
        what,
        say("Each reader chooses a format, so colleagues would get other results."),
        say("Export all formats anew from one network."),
    )


def _difference(kind: str, against: str, output: str, got: Array, expected: Array) -> Difference:
    magnitude = float(np.abs(expected).max()) if expected.size else 0.0
    if got.shape != expected.shape:
        return Difference(kind, against, output, float("nan"), float("nan"), magnitude, False)
    apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    outside = ~(apart <= TOLERANCE + TOLERANCE * magnitude)  # NaN is outside
    largest, mean = (float(apart.max()), float(apart.mean())) if apart.size else (0.0, 0.0)
    return Difference(kind, against, output, largest, mean, magnitude, float(outside.mean()) <= _OUTSIDE)


# ---- operations around the network


def _pipeline(
    model: Any,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    arrays: list[Array],
    network: Callable[..., Any],
) -> list[Array]:
    """Pre-processing, network and post-processing, with bioimageio.core's operations."""
    from bioimageio.core import Tensor as CoreTensor
    from bioimageio.core.proc_setup import get_pre_and_postprocessing
    from bioimageio.core.sample import Sample

    if model is None:
        raise _NotRunError(say("the description is not valid, so its operations are not known"))
    described = list(model.inputs), list(model.outputs)
    # operations look their tensors up by these names, in the axes of the description
    names = [[str(getattr(d, "id", None) or d.name) for d in group] for group in described]
    axes = [[[_axis(a) for a in d.axes] for d in group] for group in described]
    for array, dims, tensor in zip(arrays, axes[0], inputs, strict=True):
        if array.ndim != len(dims):
            raise _NotRunError(
                say("the test input of {name} has {count} axes", name=tensor.name, count=array.ndim)
            )
    try:
        members: dict[Any, Any] = {
            n: CoreTensor.from_numpy(a, dims=d) for n, a, d in zip(names[0], arrays, axes[0], strict=True)
        }
        sample: Any = Sample(members=members, stat={}, id="test")
        around = get_pre_and_postprocessing(model, dataset_for_initial_statistics=[sample])
        around.pre(sample)
        seen = [np.asarray(sample.members[n].data.to_numpy(), np.float32) for n in names[0]]
    except _NotRunError:
        raise
    # bioimageio.core raises all kinds of errors on operations that do not suit the tensors
    except Exception as error:
        raise _NotRunError(
            say("an operation before the network fails ({reason})", reason=_first(error))
        ) from error
    given = network([torch.from_numpy(np.ascontiguousarray(a)) for a in seen])
    if len(given) != len(names[1]):
        return [g.numpy() for g in given]
    try:
        for n, g, d in zip(names[1], given, axes[1], strict=True):
            array = g.to(torch.float32).numpy() if g.is_floating_point() else g.numpy()
            sample.members[n] = CoreTensor.from_numpy(array, dims=d)
        around.post(sample)
        return [np.asarray(sample.members[n].data.to_numpy()) for n in names[1]]
    except Exception as error:
        raise _NotRunError(
            say("an operation after the network fails ({reason})", reason=_first(error))
        ) from error


def _axis(axis: Any) -> str:
    """bioimageio.core's name of an axis: of 0.4 a letter, of 0.5 its id."""
    letters = {"b": "batch", "c": "channel", "t": "time", "i": "index"}
    return letters.get(axis, axis) if isinstance(axis, str) else str(axis.id)


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


# ---- networks of a package, by weight format


def _network(package: Package, kind: str, script: Script | None, problem: str) -> Callable[..., Any]:
    """A function from input tensors to output tensors."""
    entry = package.weights[kind]
    source = package.source(entry)
    if not package.has(source):
        raise _NotRunError(say("the file {file} is not in the package", file=source or "-"))
    match kind:
        case "torchscript":
            if script is None:
                raise UnreadableError(problem)
            return lambda inputs: interpreter.run(script, inputs)
        case "pytorch_state_dict":
            return _from_state(package, entry, source)
        case "onnx":
            return _from_onnx(package, source)
    raise _NotRunError(say("{kind} is not run by Mikata", kind=kind))


def _from_onnx(package: Package, source: str) -> Callable[..., Any]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise _NotRunError(say("onnxruntime is not installed (pip install onnxruntime)"))
    runtime: Any = importlib.import_module("onnxruntime")
    try:
        # from bytes: files that the network names are then not opened
        session = runtime.InferenceSession(package.files.read(source), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _NotRunError(say("onnxruntime cannot load it ({reason})", reason=_first(error))) from error

    def run(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        names = [one.name for one in session.get_inputs()]
        fed = {name: value.numpy() for name, value in zip(names, inputs, strict=False)}
        try:
            return [torch.from_numpy(np.asarray(out)) for out in session.run(None, fed)]
        except Exception as error:
            raise _NotRunError(say("onnxruntime cannot run it ({reason})", reason=_first(error))) from error

    return run


def _from_state(package: Package, entry: Mapping[str, Any], source: str) -> Callable[..., Any]:
    if package.has(TRAINING_FILE) and not package.described_by.count("/"):
        try:
            network: torch.nn.Module = read_package(package.path).classifier
        except MikataError as error:
            raise _NotRunError(str(error).rstrip(".")) from error
    else:
        network = _library_network(entry)
        try:
            state = load_state(io.BytesIO(package.files.read(source)), source)
            network.load_state_dict(state)
        except (NetworkError, RuntimeError, ValueError) as error:
            raise _NotRunError(
                say("{file} does not fit its architecture ({reason})", file=source, reason=_first(error))
            ) from error
    network.eval()

    def run(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        try:
            with torch.inference_mode():
                found = network(*inputs)
        except RuntimeError as error:
            raise _NotRunError(say("the network fails ({reason})", reason=_first(error))) from error
        return list(found) if isinstance(found, list | tuple) else [found]

    return run


def library_of(entry: Mapping[str, Any]) -> str:
    """The library that a state dict's architecture comes from, empty where it is code of the package."""
    place, _ = _architecture(entry)
    return next((name for name in _LIBRARIES if place == name or place.startswith(f"{name}.")), "")


def _architecture(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Module and name of the callable; the module is empty where a file of the package has it."""
    stated = entry.get("architecture")
    if isinstance(stated, Mapping):
        return str(stated.get("import_from") or ""), str(stated.get("callable") or "")
    if isinstance(stated, str) and ":" not in stated and "/" not in stated:  # format 0.4: module.callable
        module, _, name = stated.rpartition(".")
        return module, name
    return "", ""


def _library_network(entry: Mapping[str, Any]) -> torch.nn.Module:
    place, name = _architecture(entry)
    library = library_of(entry)
    if not library:
        raise _NotRunError(
            say("its architecture is code of the package or of an unknown library, which is not run")
        )
    stated = entry.get("architecture")
    kwargs = (stated.get("kwargs") if isinstance(stated, Mapping) else entry.get("kwargs")) or {}
    if not isinstance(kwargs, Mapping) or not all(_harmless(str(k), v) for k, v in kwargs.items()):
        raise _NotRunError(say("its architecture has arguments that would download or are no plain values"))
    if importlib.util.find_spec(library.partition(".")[0]) is None:
        raise _NotRunError(say("{library} is not installed", library=library.partition(".")[0]))
    try:
        made = getattr(importlib.import_module(place), name, None)
        home = str(getattr(made, "__module__", ""))
        is_network = (inspect.isclass(made) and issubclass(made, torch.nn.Module)) or inspect.isfunction(made)
        if name.startswith("_") or not home.startswith(library) or not is_network:
            raise _NotRunError(say("{library} has no network {name}", library=place, name=name))
        build: Any = made
        network = build(**kwargs)
    except (ImportError, TypeError, ValueError, RuntimeError, KeyError) as error:
        raise _NotRunError(
            say("{library} cannot build {name} ({reason})", library=place, name=name, reason=_first(error))
        ) from error
    if not isinstance(network, torch.nn.Module):
        raise _NotRunError(say("{library} has no network {name}", library=place, name=name))
    return network


def _harmless(key: str, value: Any) -> bool:
    if key in _DOWNLOADING:
        return value in (None, False)
    if isinstance(value, list | tuple):
        return all(_harmless("", item) for item in value)
    if isinstance(value, str):
        return len(value) < 100 and not set(value) & set(":/\\")
    return value is None or (isinstance(value, bool | int | float) and abs(value) < 1e6)


def foreign_imports(package: Package) -> list[str]:
    """Libraries that the package's own architecture file imports, but for torch, torchvision, numpy and Python's own."""
    import sys

    entry = package.weights.get("pytorch_state_dict", {})
    source = package.source(entry.get("architecture"))
    if not source.endswith(".py") or not package.has(source):
        return []
    try:
        tree = ast.parse(package.files.read(source, 2**22).decode("utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    allowed = {"torch", "torchvision", "numpy", *sys.stdlib_module_names}
    # imports inside functions are for networks that need them
    named = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    named += [str(n.module) for n in tree.body if isinstance(n, ast.ImportFrom) and not n.level]
    return sorted({name.partition(".")[0] for name in named} - allowed)
