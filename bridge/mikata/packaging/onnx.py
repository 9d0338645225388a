"""A network as ONNX, where the programs that torch's exporter and the check need are installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mikata.architecture import Detector, Network, Segmenter
from mikata.errors import NetworkError
from mikata.language import say
from mikata.networks.importing.onnx_session import session_of
from mikata.packaging.description import OPSET
from mikata.packaging.weights import TOLERANCE, largest_difference

_NEEDED = ("onnx", "onnxruntime")


def onnx_bytes(
    classifier: Network,
    x: Tensor,
    explain: bool,
    *,
    dynamic: bool = True,
    extras: Sequence[tuple[int, int]] = ((24, 41), (129, 64)),
) -> tuple[bytes | None, str]:
    """The network as an ONNX file's content, or None and a sentence that says why there is none.

    Parameters
    ----------
    classifier:
        On the CPU, in evaluation mode.
    x:
        (1, C, H, W).
    explain:
        Whether the package's network gives heat maps: then there is none, since all its weights must give the same.
    dynamic:
        Whether the package takes images of other sizes than `x` has.
    extras:
        px in height and width by which such images are larger in the check.

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
        data = _exported(classifier, x, dynamic)
    except Exception as error:  # torch's exporter raises its own kinds for what it cannot write
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".。")
        return None, say("It has no ONNX file: {reason}.", reason=reason)
    session = session_of(data)
    difference = _difference(session, classifier, x)
    if not difference <= TOLERANCE:
        raise NetworkError(
            say(
                "{network} gives other outputs as ONNX (difference {difference:.2g}).",
                network=classifier.configuration["network"],
                difference=difference,
            )
        )
    # torch writes sizes and numbers of images that a network reckons with as constants
    for other in _others(x, extras if dynamic else ()):
        try:
            agrees = _difference(session, classifier, other) <= TOLERANCE
        except Exception:  # onnxruntime raises its own kinds where shapes do not fit
            agrees = False
        if not agrees:
            return None, say(
                "It has no ONNX file: as ONNX the network works only with images of one size, one at a time."
            )
    return data, ""


def _others(x: Tensor, extras: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """Two images at once, and images of other sizes, of noise in the range of `x`."""
    generator = torch.Generator().manual_seed(0)
    low, high = float(x.min()), float(x.max())
    for count, extra_height, extra_width in [(2, 0, 0), *((1, *extra) for extra in extras)]:
        shape = (count, x.shape[1], x.shape[2] + extra_height, x.shape[3] + extra_width)
        yield low + (high - low) * torch.rand(shape, generator=generator)


def _exported(classifier: Network, x: Tensor, dynamic: bool) -> bytes:
    sides = {0: "batch", 2: "height", 3: "width"} if dynamic else {0: "batch"}
    outputs = sides if isinstance(classifier, Segmenter | Detector) else {0: "batch"}
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad(), _more_operations():
        # the exporter by TorchScript is deprecated; the other one takes several times as long
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            classifier, (x,), path, dynamo=False, opset_version=OPSET, input_names=["input"],
            output_names=["output"], dynamic_axes={"input": sides, "output": outputs},
        )  # fmt: skip
        return path.read_bytes()


@contextmanager
def _more_operations() -> Iterator[None]:
    """In a block, the exporter knows how images are scaled, and does not print a network that it cannot write."""
    core: Any = torch._C
    exporter: Any = torch.onnx
    log = core._jit_set_onnx_log_enabled
    exporter.register_custom_op_symbolic(_SCALING, _scaled, OPSET)
    core._jit_set_onnx_log_enabled(False)
    core._jit_set_onnx_log_enabled = lambda _: None  # torch 2.15 switches it on each time, by an error
    try:
        yield
    finally:
        core._jit_set_onnx_log_enabled = log
        exporter.unregister_custom_op_symbolic(_SCALING, OPSET)


_SCALING = "aten::_upsample_bilinear2d_aa"


def _scaled(graph: Any, x: Any, size: Any, align_corners: Any, *scales: Any) -> Any:
    """Scaling with a filter as wide as the pixels that come together, which ONNX has from operation set 18 on.

    What lies outside of the image has no part in it (`exclude_outside`), as in torch: measured, the difference is below
    1e-5 for values from 0 to 1, whether images are made smaller or larger.
    """
    helper: Any = import_module("torch.onnx.symbolic_helper")

    def constant(values: list[int]) -> Any:
        return graph.op("Constant", value_t=torch.tensor(values))

    wanted = helper._maybe_get_const(size, "is")
    corners = helper._maybe_get_const(align_corners, "b")
    kept = graph.op("Slice", graph.op("Shape", x), constant([0]), constant([2]))
    none = graph.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
    return graph.op(
        "Resize",
        x,
        none,
        none,
        graph.op("Concat", kept, constant(wanted) if isinstance(wanted, list) else wanted, axis_i=0),
        mode_s="linear",
        coordinate_transformation_mode_s="align_corners" if corners else "half_pixel",
        antialias_i=1,
        exclude_outside_i=1,
    )


def _difference(session: Any, classifier: Network, x: Tensor) -> float:
    found = session.run(None, {"input": x.numpy()})[0]
    with torch.inference_mode():
        expected: Tensor = classifier(x)
        if found.shape != tuple(expected.shape):
            return float("inf")
        return largest_difference(torch.from_numpy(found), expected, classifier)
