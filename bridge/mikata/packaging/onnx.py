"""A classifier as ONNX, where the programs that torch's exporter and the check need are installed."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mikata.architecture import Detector, Network, Segmenter
from mikata.errors import NetworkError
from mikata.language import say
from mikata.packaging.description import OPSET
from mikata.packaging.weights import TOLERANCE, largest_difference

_NEEDED = ("onnx", "onnxruntime")


def onnx_bytes(classifier: Network, x: Tensor, explain: bool) -> tuple[bytes | None, str]:
    """The network as an ONNX file's content, or None and a sentence that says why there is none.

    Parameters
    ----------
    classifier:
        On the CPU, in evaluation mode.
    x:
        (1, C, H, W).
    explain:
        Whether the package's network gives heat maps: then there is none, since all its weights must give the same.

    Raises
    ------
    NetworkError
        If the file gives other outputs.
    """
    if explain:
        return None, say("It has no ONNX file: heat maps are compiled into TorchScript only.")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return None, say(
            "It has no ONNX file: to write and check one, torch needs {packages}, which are not installed here.",
            packages=say(" and ").join(missing),
        )
    try:
        data = _exported(classifier, x)
    except Exception as error:  # torch's exporter raises its own kinds for what it cannot write
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".。")
        return None, say("It has no ONNX file: {reason}.", reason=reason)
    difference = _difference(data, classifier, x)
    if not difference <= TOLERANCE:
        raise NetworkError(
            say(
                "{network} gives other outputs as ONNX (difference {difference:.2g}).",
                network=classifier.configuration["network"],
                difference=difference,
            )
        )
    return data, ""


def _exported(classifier: Network, x: Tensor) -> bytes:
    sides = {0: "batch", 2: "height", 3: "width"}
    outputs = sides if isinstance(classifier, Segmenter | Detector) else {0: "batch"}
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter(
            "ignore"
        )  # the exporter by TorchScript is deprecated; the other one needs more programs
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            classifier, (x,), path, dynamo=False, opset_version=OPSET, input_names=["input"],
            output_names=["output"], dynamic_axes={"input": sides, "output": outputs},
        )  # fmt: skip
        return path.read_bytes()


def _difference(data: bytes, classifier: Network, x: Tensor) -> float:
    session = import_module("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": x.numpy()})[0]
    with torch.inference_mode():
        return largest_difference(torch.from_numpy(found), classifier(x), classifier)
