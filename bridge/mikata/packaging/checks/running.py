"""The test tensors through every weight format that runs without code of the package."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.language import say
from mikata.networks.importing.code import Script, UnreadableError
from mikata.networks.importing.formats import PlainModule, Runs, WalkedScript, network_of
from mikata.networks.importing.operations import axis_name, refuse_unknown
from mikata.networks.importing.package_code import Trust, loaded_script
from mikata.networks.importing.reading import Package
from mikata.networks.importing.refusals import NotRunError, first_line
from mikata.networks.importing.tensors import Tensor
from mikata.networks.quiet import quiet
from mikata.packaging.checks.findings import Difference, Finding
from mikata.packaging.checks.tolerance import Tolerance, tolerance_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Ran:
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
    package: Package,
    found: Sequence[Tensor],
    model: Any,
    script: Script | None,
    problem: str,
    code: Trust = "never",
) -> Ran:
    """Run each weight format and compare.

    Parameters
    ----------
    found:
        The package's tensors.
    model:
        Its description as bioimageio.spec reads it; None where it is not valid.
    script, problem:
        Its TorchScript, or why that could not be read.
    code:
        Whether code of the package may run.
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
        return Ran((finding,), ())
    arrays = [a for a in given if a is not None]
    wanted = [a for a in expected if a is not None]
    results: dict[str, list[Array]] = {}
    findings, differences = [], []
    for kind in sorted(package.weights):
        try:
            with quiet():
                made = _made(
                    package,
                    kind,
                    script,
                    problem,
                    code,
                    lambda network: _pipeline(model, inputs, outputs, arrays, network),
                )
        except NotRunError as error:
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
            _difference(kind, "test output", t.name, a, b, tolerance_of(model, kind, t.name))
            for t, a, b in zip(outputs, made, wanted, strict=False)
        ]
        differences += own
        findings.append(_tested(kind, own, len(made), len(wanted)))
    pairs = [
        _difference(a, b, t.name, x, y, tolerance_of(model, a, t.name) | tolerance_of(model, b, t.name))
        for a, b in combinations(results, 2)
        for t, x, y in zip(outputs, results[a], results[b], strict=False)
    ]
    differences += pairs
    if pairs:
        findings.append(_formats(pairs))
    return Ran(tuple(findings), tuple(differences))


def _made(
    package: Package,
    kind: str,
    script: Script | None,
    problem: str,
    code: Trust,
    pipeline: Callable[[Runs], list[Array]],
) -> list[Array]:
    """What one weight format gives; TorchScript that cannot be walked as torch loads it, where that is allowed."""
    try:
        return pipeline(_network(package, kind, script, problem, code))
    except UnreadableError:
        loaded = loaded_script(package, package.source(package.weights[kind]), code=code) if script else None
        if loaded is None:
            raise
        return pipeline(PlainModule(loaded))


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


def _difference(
    kind: str, against: str, output: str, got: Array, expected: Array, tolerance: Tolerance
) -> Difference:
    magnitude = float(np.abs(expected).max()) if expected.size else 0.0
    if got.shape != expected.shape:
        return Difference(kind, against, output, float("nan"), float("nan"), magnitude, False)
    apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    largest, mean = (float(apart.max()), float(apart.mean())) if apart.size else (0.0, 0.0)
    return Difference(kind, against, output, largest, mean, magnitude, tolerance.allows(apart, expected))


# ---- operations around the network


def _pipeline(
    model: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor], arrays: list[Array], network: Runs
) -> list[Array]:
    """Pre-processing, network and post-processing, with bioimageio.core's operations."""
    from bioimageio.core import Tensor as CoreTensor
    from bioimageio.core.proc_setup import get_pre_and_postprocessing
    from bioimageio.core.sample import Sample

    if model is None:
        raise NotRunError(say("the description is not valid, so its operations are not known"))
    refuse_unknown((*inputs, *outputs))
    described_tensors = list(model.inputs), list(model.outputs)
    # operations look their tensors up by these names, in the axes of the description
    names = [[str(getattr(d, "id", None) or d.name) for d in group] for group in described_tensors]
    axes = [[[axis_name(a) for a in d.axes] for d in group] for group in described_tensors]
    for array, dims, tensor in zip(arrays, axes[0], inputs, strict=True):
        if array.ndim != len(dims):
            raise NotRunError(
                say("the test input of {name} has {count} axes", name=tensor.name, count=array.ndim)
            )
    try:
        members: dict[Any, Any] = {
            n: CoreTensor.from_numpy(a, dims=d) for n, a, d in zip(names[0], arrays, axes[0], strict=True)
        }
        sample: Any = Sample(members=members, stat={}, id="test")
        around = get_pre_and_postprocessing(model, dataset_for_initial_statistics=[sample])
        around.pre(sample)
        seen = [np.asarray(sample.members[n].data.to_numpy()) for n in names[0]]
    # bioimageio.core raises all kinds of errors on operations that do not suit the tensors
    except Exception as error:
        raise NotRunError(
            say("an operation before the network fails ({reason})", reason=first_line(error))
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
        raise NotRunError(
            say("an operation after the network fails ({reason})", reason=first_line(error))
        ) from error


def _network(package: Package, kind: str, script: Script | None, problem: str, code: Trust) -> Runs:
    if kind == "torchscript" and script is not None:
        return WalkedScript(script)  # read before, and files are large
    if kind == "torchscript" and problem:
        raise UnreadableError(problem)
    return network_of(package, kind, code=code)


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
