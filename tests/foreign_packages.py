"""Packages as others write them, by hand: formats 0.4 and 0.5, axes in many orders, every kind of weights.

Each names what it is of, and for which sizes of images besides its test tensor's it is compared.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

Description = dict[str, Any]


class UNet(nn.Module):
    """Two scales; sizes must be even. What it sees is 8 px around a pixel."""

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 4) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, width, 3, padding=1)
        self.deep = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(2 * width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down(x))
        deep = F.relu(self.deep(F.max_pool2d(first, 2)))
        return self.out(torch.cat([first, F.interpolate(deep, scale_factor=2.0, mode="nearest")], 1))


class Last(nn.Module):
    """A network whose tensors have the channels last, and no batch where `batch` is False."""

    def __init__(self, network: nn.Module, batch: bool = True) -> None:
        super().__init__()
        self.network = network
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.batch else x[None]
        y = self.network(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y if self.batch else y[0]


class Plane(nn.Module):
    """A network of one plane (y, x) without batch and channel."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x[None, None])[0, 0]


class Deep(nn.Module):
    """A network of bczyx with one plane."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x[:, :, 0])[:, :, None]


class Twice(nn.Module):
    """Twice the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.network(x), scale_factor=2.0, mode="nearest")


class Pair(nn.Module):
    """Two outputs: foreground, and boundary."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet(1, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.network(x)
        return y[:, :1], y[:, 1:]


class Normalised(nn.Module):
    """Instance normalisation: every pixel of the image has a part in every other."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(1)
        self.network = UNet(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.norm(x))


class Score(nn.Module):
    """Three scores of an image of any size."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.first(x)).mean((2, 3)))


ARCHITECTURE = textwrap.dedent(
    '''
    """A network as its authors publish it, beside its weights."""

    import torch
    import torch.nn.functional as F
    from torch import nn


    class UNet(nn.Module):
        def __init__(self, in_channels=1, out_channels=2, width=4):
            super().__init__()
            self.down = nn.Conv2d(in_channels, width, 3, padding=1)
            self.deep = nn.Conv2d(width, width, 3, padding=1)
            self.out = nn.Conv2d(2 * width, out_channels, 1)

        def forward(self, x):
            first = F.relu(self.down(x))
            deep = F.relu(self.deep(F.max_pool2d(first, 2)))
            return self.out(torch.cat([first, F.interpolate(deep, scale_factor=2.0, mode="nearest")], 1))
    '''
).encode()


def image(shape: tuple[int, int, int], dtype: str = "float32") -> np.ndarray:
    """(C, H, W) of smooth values from 0 to 255, each channel of another mean and spread; the same every time."""
    channels, height, width = shape
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c) + y / 9) * np.cos(y / (7 + c)) for c in range(channels)]
    return np.asarray([127.5 / (1 + c) * (1 + wave / (1 + c)) for c, wave in enumerate(waves)], dtype)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def saved(network: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def traced(network: nn.Module, x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.from_numpy(x), check_trace=False), buffer)
    return buffer.getvalue()


def onnx(network: nn.Module, x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.from_numpy(x),), buffer, dynamo=False, opset_version=17,
                          input_names=["input"], output_names=["output"],
                          dynamic_axes={"input": {0: "b", 2: "y", 3: "x"}, "output": {0: "b", 2: "y", 3: "x"}})  # fmt: skip
    return buffer.getvalue()


# ---- descriptions


def space(name: str, size: Any, **other: Any) -> dict[str, Any]:
    return {"type": "space", "id": name, "size": size, **other}


def like(name: str, **other: Any) -> dict[str, Any]:
    """An output's axis as long as the input's."""
    return space(name, {"tensor_id": "input", "axis_id": name, "offset": 0}, **other)


def channel(*names: str) -> dict[str, Any]:
    return {"type": "channel", "channel_names": list(names)}


BATCH: dict[str, Any] = {"type": "batch"}
ANY: dict[str, Any] = {"min": 20, "step": 2}
FLOAT = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}


def step(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"id": name, "kwargs": kwargs} if kwargs else {"id": name}


def old_step(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"name": name, "kwargs": kwargs} if kwargs else {"name": name}


_COMMON: Description = {
    "type": "model",
    "name": "A network of others",
    "description": "As others write it.",
    "authors": [{"name": "A. Person"}],
    "license": "CC-BY-4.0",
    "documentation": "README.md",
    "covers": [],
    "tags": ["test"],
    "cite": [{"text": "nobody", "doi": "10.1000/xyz"}],
    "timestamp": "2023-05-01T00:00:00",
}


def new(
    axes: list[dict[str, Any]], out: list[dict[str, Any]], *, pre: tuple[dict[str, Any], ...] = (),
    post: tuple[dict[str, Any], ...] = (), dtype: str = "float32", version: str = "0.5.3", **data: Any,
) -> Description:  # fmt: skip
    """A description of format 0.5 without its weights."""
    return _COMMON | {
        "format_version": version,
        "inputs": [
            {
                "id": "input", "axes": axes, "data": {"type": dtype} | data, "preprocessing": [*pre, FLOAT],
                "test_tensor": {"source": "test_input.npy"},
            }
        ],
        "outputs": [
            {
                "id": "output", "axes": out, "data": {"type": "float32"}, "postprocessing": [*post],
                "test_tensor": {"source": "test_output.npy"},
            }
        ],
    }  # fmt: skip


def old(
    axes: str, shape: Any, out: str, out_shape: Any, *, pre: tuple[dict[str, Any], ...] = (),
    post: tuple[dict[str, Any], ...] = (), dtype: str = "float32", halo: list[int] | None = None,
    version: str = "0.4.9",
) -> Description:  # fmt: skip
    """A description of format 0.4 without its weights."""
    output: dict[str, Any] = {
        "name": "output",
        "description": "",
        "axes": out,
        "data_type": "float32",
        "shape": out_shape,
    }
    given: dict[str, Any] = {
        "name": "input",
        "description": "",
        "axes": axes,
        "data_type": dtype,
        "shape": shape,
    }
    if pre:
        given["preprocessing"] = list(pre)
    if post:
        output["postprocessing"] = list(post)
    if halo:
        output["halo"] = halo
    return _COMMON | {
        "format_version": version,
        "inputs": [given],
        "outputs": [output],
        "test_inputs": ["test_input.npy"],
        "test_outputs": ["test_output.npy"],
    }


@dataclass(frozen=True)
class Foreign:
    """A package by hand.

    `network` makes what runs; `described` all but the weights; `weights` their entries, by format; `order` is the input's
    axes from (c, y, x), such as ``bcyx``.
    """

    name: str
    network: Callable[[], nn.Module]
    described: Callable[[], Description]
    order: str = "bcyx"
    shape: tuple[int, int, int] = (1, 32, 48)
    other: tuple[int, int] = (40, 34)
    """Another image's height and width."""
    dtype: str = "float32"
    kinds: tuple[str, ...] = ("torchscript",)
    state: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    needs: str = ""
    """A library without which it cannot be run."""
    meaning: str = "unknown"
    halo: int | None = None
    scale: int = 1
    classifier: bool = False

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """An image (C, H, W) in the input's axes."""
        found = np.asarray(values)
        given = [letter for letter in "cyx" if letter in self.order]
        if "c" not in given:
            found = found[0]
        found = found.transpose([given.index(letter) for letter in self.order if letter in given])
        for place, letter in enumerate(self.order):
            if letter not in "cyx":
                found = np.expand_dims(found, place)
        return np.ascontiguousarray(found)

    def write(self, folder: Path) -> Path:
        """The package as a folder in `folder`; its test output is bioimageio.core's own."""
        torch.manual_seed(3)
        network = self.network().eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):  # else most of ReLU's inputs are of one sign
                nn.init.normal_(module.weight, std=0.3)
        x = self.arranged(image(self.shape, self.dtype))
        description = self.described()
        target = folder / self.name
        target.mkdir(parents=True)
        example = np.asarray(x, np.float32)
        files = {"README.md": b"# A network of others\n\nFor tests.\n", "test_input.npy": npy(x)} | self.files
        weights: dict[str, Any] = {}
        if "torchscript" in self.kinds:
            files["weights.pt"] = traced(network, example)
            weights["torchscript"] = {"source": "weights.pt", "pytorch_version": "2.0.0"}
        if "pytorch_state_dict" in self.kinds:
            files["weights-state.pt"] = saved(network)
            weights["pytorch_state_dict"] = {
                "source": "weights-state.pt",
                "pytorch_version": "2.0.0",
            } | self.state
        if "onnx" in self.kinds:
            files["weights.onnx"] = onnx(network, example)
            weights["onnx"] = {"source": "weights.onnx", "opset_version": 17}
        for entry in weights.values():
            entry["sha256"] = hashlib.sha256(files[entry["source"]]).hexdigest()
        description["weights"] = weights
        with torch.no_grad():
            made = network(torch.from_numpy(example))
        outputs = list(made) if isinstance(made, tuple) else [made]
        names = [f"test_output{'' if n == 0 else n}.npy" for n in range(len(outputs))]
        files |= {name: npy(output.numpy()) for name, output in zip(names, outputs, strict=True)}
        for name, content in files.items():
            (target / name).write_bytes(content)
        (target / "rdf.yaml").write_text(yaml.safe_dump(description, sort_keys=False), "utf-8")
        for name, made_output in zip(names, core_output(target, x), strict=True):
            (target / name).write_bytes(npy(made_output))
        return target


def core_output(package: Path, x: np.ndarray) -> list[np.ndarray]:
    """What bioimageio.core's own pipeline gives for one whole array in the input's axes: code of the package runs."""
    from bioimageio.core import create_prediction_pipeline, load_description
    from bioimageio.core.digest_spec import create_sample_for_model

    from mikata.networks.quiet import quiet

    with quiet():
        model = load_description(package / "rdf.yaml", perform_io_checks=False)
        sample = create_sample_for_model(model, inputs=x, sample_id="x")
        # not in a block, whose end collects garbage for half a second
        pipeline = create_prediction_pipeline(model, devices=["cpu"])
        found = pipeline.predict_sample_without_blocking(
            sample, skip_input_padding=True, skip_output_cropping=True
        )
        return [np.asarray(found.members[name].data.to_numpy()) for name in pipeline.output_ids]


def _outputs_of_pair() -> Description:
    description = new([BATCH, channel("grey"), space("y", ANY), space("x", ANY)],
                      [BATCH, channel("foreground"), like("y"), like("x")], post=(step("sigmoid"),))  # fmt: skip
    first = description["outputs"][0]
    second = first | {
        "id": "edges", "axes": [BATCH, channel("boundary", "distance"), like("y"), like("x")], "postprocessing": [],
        "test_tensor": {"source": "test_output1.npy"},
    }  # fmt: skip
    return description | {"outputs": [first | {"id": "cells"}, second]}


_GREY = [BATCH, channel("grey"), space("y", ANY), space("x", ANY)]
_TWO = [BATCH, channel("background", "cell"), like("y"), like("x")]
_SHAPE = {"min": [1, 1, 20, 20], "step": [0, 0, 2, 2]}
_LIKE = {"reference_tensor": "input", "scale": [1, 0, 1, 1], "offset": [0, 1.0, 0, 0]}

PACKAGES = (
    Foreign("old_bcyx", lambda: UNet(1, 2), lambda: old(
        "bcyx", _SHAPE, "bcyx", _LIKE, halo=[0, 0, 8, 8],
        pre=(old_step("zero_mean_unit_variance", mode="per_sample", axes="cyx"),),
    ), halo=8),
    Foreign("old_percentiles_uint8", lambda: UNet(2, 1), lambda: old(
        "bcyx", {"min": [1, 2, 20, 20], "step": [0, 0, 2, 2]}, "bcyx",
        {"reference_tensor": "input", "scale": [1, 0, 1, 1], "offset": [0, 0.5, 0, 0]}, dtype="uint8",
        pre=(old_step("scale_range", mode="per_sample", axes="yx", min_percentile=1.0, max_percentile=99.8),),
        post=(old_step("sigmoid"),),
    ), shape=(2, 32, 48), dtype="uint8", meaning="mask"),
    Foreign("old_fixed_byxc", lambda: Last(UNet(3, 2)), lambda: old(
        "byxc", [1, 32, 48, 3], "byxc", [1, 32, 48, 2], dtype="uint8", version="0.4.4",
        pre=(old_step("zero_mean_unit_variance", mode="fixed", axes="yxc", mean=100.0, std=50.0),),
    ), order="byxc", shape=(3, 32, 48), other=(32, 48), dtype="uint8"),
    Foreign("old_source", lambda: UNet(1, 2), lambda: old(
        "bcyx", _SHAPE, "bcyx", _LIKE,
        pre=(old_step("scale_linear", gain=1 / 255, offset=-0.5), old_step("clip", min=-0.5, max=0.4)),
    ), kinds=("pytorch_state_dict",), files={"unet.py": ARCHITECTURE}, needs="consent", state={
        "architecture": "unet.py:UNet", "architecture_sha256": hashlib.sha256(ARCHITECTURE).hexdigest(),
        "kwargs": {"in_channels": 1, "out_channels": 2},
    }),
    Foreign("new_softmax_halo", lambda: UNet(1, 2), lambda: new(
        _GREY, [BATCH, channel("background", "cell"), like("y", halo=8), like("x", halo=8)], dtype="uint8",
        pre=(step("scale_range", axes=["y", "x"], min_percentile=1.0, max_percentile=99.0),),
        post=(step("softmax", axis="channel"),), version="0.5.6",
    ), dtype="uint8", meaning="classes", halo=8),
    Foreign("new_dataset_statistics", lambda: UNet(1, 1), lambda: new(
        _GREY, [BATCH, channel("cell"), like("y"), like("x")], pre=(step("zero_mean_unit_variance"),), post=(step("sigmoid"),),
    ), meaning="mask"),
    Foreign("new_per_channel", lambda: UNet(2, 1), lambda: new(
        [BATCH, channel("red", "green"), space("y", ANY), space("x", ANY)],
        [BATCH, channel("boundary"), like("y"), like("x")], post=(step("sigmoid"),),
        pre=(step("fixed_zero_mean_unit_variance", axis="channel", mean=[120.0, 60.0], std=[40.0, 30.0]),),
    ), shape=(2, 32, 48)),
    Foreign("new_yxc", lambda: Last(UNet(3, 2), batch=False), lambda: new(
        [space("y", ANY), space("x", ANY), channel("r", "g", "b")], [like("y"), like("x"), channel("a", "b")],
        pre=(step("scale_linear", gain=1 / 255),), dtype="uint8",
    ), order="yxc", shape=(3, 32, 48), dtype="uint8"),
    Foreign("new_yx", Plane, lambda: new([space("y", ANY), space("x", ANY)], [like("y"), like("x")]), order="yx"),
    Foreign("new_one_plane", Deep, lambda: new(
        [BATCH, channel("grey"), space("z", 1), space("y", ANY), space("x", ANY)],
        [BATCH, channel("a", "b"), space("z", 1), like("y"), like("x")],
    ), order="bczyx"),
    Foreign("new_twice", Twice, lambda: new(
        [BATCH, channel("grey"), space("y", ANY, scale=1.0), space("x", ANY, scale=1.0)],
        [BATCH, channel("grey"), like("y", scale=0.5), like("x", scale=0.5)],
    ) | {"tags": ["super-resolution"]}, scale=2, meaning="image"),
    Foreign("new_two_outputs", Pair, _outputs_of_pair),
    Foreign("new_wrong_halo", Normalised, lambda: new(
        _GREY, [BATCH, channel("a"), like("y", halo=4), like("x", halo=4)],
    ), halo=None),
    Foreign("new_source", lambda: UNet(1, 2, 6), lambda: new(_GREY, _TWO, pre=(step("clip", min=10.0, max=200.0),)),
            kinds=("pytorch_state_dict",), files={"net.py": ARCHITECTURE}, needs="consent", state={
        "architecture": {"source": "net.py", "sha256": hashlib.sha256(ARCHITECTURE).hexdigest(), "callable": "UNet",
                         "kwargs": {"out_channels": 2, "width": 6}},
    }),
    Foreign("new_onnx", lambda: UNet(1, 2), lambda: new(_GREY, _TWO), kinds=("onnx",), needs="onnx"),
    Foreign("scores", Score, lambda: new(
        _GREY, [BATCH, channel("normal", "odd", "other")], pre=(step("scale_linear", gain=1 / 255),),
        post=(step("softmax", axis="channel"),), version="0.5.6",
    ), classifier=True),
    Foreign("torchvision", lambda: _torchvision(), lambda: new(
        [BATCH, channel("r", "g", "b"), space("y", 64), space("x", 64)], [BATCH, channel("a", "b", "c")],
        pre=(step("fixed_zero_mean_unit_variance", axis="channel", mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4]),),
    ), kinds=("pytorch_state_dict",), shape=(3, 64, 64), other=(64, 64), classifier=True, state={
        "architecture": {"import_from": "torchvision.models", "callable": "squeezenet1_1", "kwargs": {"num_classes": 3}},
    }),
    Foreign("timm_old", lambda: _timm(), lambda: old(
        "bcyx", [1, 1, 64, 64], "bc", [1, 2], pre=(old_step("scale_linear", gain=1 / 255, offset=0.0),),
    ), kinds=("pytorch_state_dict",), shape=(1, 64, 64), other=(64, 64), classifier=True, state={
        "architecture": "timm.create_model",
        "kwargs": {"model_name": "mobilenetv3_small_050", "num_classes": 2, "in_chans": 1},
    }),
    Foreign("smp", lambda: _smp(), lambda: new(
        [BATCH, channel("grey"), space("y", {"min": 64, "step": 32}), space("x", {"min": 64, "step": 32})],
        [BATCH, channel("mask"), like("y"), like("x")], post=(step("sigmoid"),),
    ), kinds=("pytorch_state_dict",), shape=(1, 64, 64), other=(96, 128), needs="segmentation_models_pytorch",
        meaning="mask", state={
        "architecture": {"import_from": "segmentation_models_pytorch", "callable": "Unet",
                         "kwargs": {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": 1, "classes": 1}},
    }),
)  # fmt: skip


def _torchvision() -> nn.Module:
    from torchvision.models import squeezenet1_1

    return squeezenet1_1(weights=None, num_classes=3)


def _timm() -> nn.Module:
    import timm

    return timm.create_model("mobilenetv3_small_050", num_classes=2, in_chans=1, pretrained=False)


def _smp() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=1)


BY_NAME = {package.name: package for package in PACKAGES}
