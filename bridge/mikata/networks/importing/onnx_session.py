"""ONNX networks by onnxruntime: on the CPU, quietly, and with no file opened but the package's."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mikata.language import say
from mikata.networks.importing import limits
from mikata.networks.importing.code import TooLargeError
from mikata.networks.importing.onnx_files import refuse_other_files
from mikata.networks.importing.refusals import NotRunError, first_line

_FATAL_ONLY = 4  # of onnxruntime's levels of messages; its errors are raised too
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32,
    "tensor(int32)": np.int32,
    "tensor(uint64)": np.uint64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def session_of(data: bytes) -> Any:
    """An `onnxruntime.InferenceSession` of a file's content.

    With as many threads as torch has, which are not left spinning between two images; nothing is printed, nothing sent to its
    maker, and a network that names other files is not loaded.

    Raises
    ------
    Exception
        What onnxruntime raises.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    runtime.set_default_logger_severity(_FATAL_ONLY)
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # what is constant would be reckoned while it is loaded, which nothing stops
    return runtime.InferenceSession(
        data,
        sess_options=options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"],
    )


class OnnxSession:
    """An ONNX network on the CPU, stopped where a run takes longer than `limits.MOST_SECONDS`.

    See `mikata.networks.importing.formats.Runs`.
    """

    def __init__(self, data: bytes) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise NotRunError(say("onnxruntime is not installed (pip install mikata[onnx])"))
        refuse_other_files(data)
        try:
            self._session = session_of(data)
        except Exception as error:
            if "external data" in str(error).lower() or "model_path must not be empty" in str(error):
                raise NotRunError(
                    say(
                        "its ONNX weights lie in a second file beside it (external data), which Mikata does not open"
                    )
                ) from error
            raise NotRunError(
                say("onnxruntime cannot load it ({reason})", reason=first_line(error))
            ) from error
        self._inputs = [(one.name, one.type) for one in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As `Runs`."""
        if len(inputs) != len(self._inputs):
            raise NotRunError(
                say(
                    "its ONNX network has {count} inputs, the description {stated}",
                    count=len(self._inputs),
                    stated=len(inputs),
                )
            )
        device = inputs[0].device
        fed = {name: _fed(value, kind) for (name, kind), value in zip(self._inputs, inputs, strict=True)}
        options: Any = importlib.import_module("onnxruntime").RunOptions()
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
            kind = TooLargeError if "allocate" in str(error).lower() else NotRunError
            raise kind(say("onnxruntime cannot run it ({reason})", reason=first_line(error))) from error
        finally:
            timer.cancel()
        if not all(isinstance(output, np.ndarray) for output in found):
            raise NotRunError(say("it gives something else than tensors"))
        return [torch.from_numpy(output).to(device) for output in found]


def _fed(value: Tensor, kind: str) -> np.ndarray[Any, Any]:
    """An input in the network's own type, where that holds the same values."""
    array = value.cpu().numpy()
    wanted = _TYPES.get(kind)
    if wanted is None or array.dtype == wanted:
        return array
    made: np.ndarray[Any, Any] = array.astype(wanted)
    # a half-precision network rounds whatever it is given
    if wanted is not np.float16 and not np.array_equal(made.astype(array.dtype), array):
        raise NotRunError(
            say("its ONNX network takes values of the type {wanted}, which would change them", wanted=kind)
        )
    return made
