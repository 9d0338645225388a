"""One small package in many variants, good and bad, as the notes on deepImageJ describe them.

Each variant changes one thing: its description (`change`), its files (`files`) or its network. `point` is the number
of the rule that it breaks, 0 where it breaks none. The same variants are judged by Mikata's check and by deepImageJ's
own code.
"""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image as Picture
from torch import Tensor, nn

Description = dict[str, Any]
Files = dict[str, bytes]


class Small(nn.Module):
    """Two scales, so that sizes must be even; as many channels out as `out`, with `norm` between."""

    def __init__(
        self, channels: int = 1, out: int = 2, norm: str = "", last: str = "sigmoid", divisor: float = 255.0
    ) -> None:
        super().__init__()
        self.divisor = divisor
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = {"instance": nn.InstanceNorm2d(4), "batch": nn.BatchNorm2d(4)}.get(norm, nn.Identity())
        self.deep = nn.Conv2d(4, 4, 3, padding=1)
        self.final = nn.Conv2d(8, out, 1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        shallow = F.relu(self.norm(self.first(x / self.divisor)))
        deep = F.relu(self.deep(F.max_pool2d(shallow, 2)))
        y = self.final(torch.cat([shallow, F.interpolate(deep, scale_factor=2.0, mode="nearest")], 1))
        return torch.sigmoid(y) if self.last == "sigmoid" else y


class Classes(nn.Module):
    """Three probabilities of an image of any size."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.head(F.relu(self.first(x / 255)).mean((2, 3))), 1)


class Doubled(nn.Module):
    """Twice the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Attention(nn.Module):
    """Attention of torch's own, which libtorch 1.13.1 does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x / 255, x / 255, x / 255)


class Rms(nn.Module):
    """Root mean square normalisation, which no engine of deepImageJ has."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x / 255 + 0.01, [x.shape[-1]])


class Scripted(nn.Module):
    """Interpolation that is scripted, not traced."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)


class Brain(nn.Module):
    """bfloat16 inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.first((x / 255).to(torch.bfloat16)).to(torch.float32)


class Dropped(nn.Module):
    """Dropout, for a network that was left in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.first(x), 0.5, self.training)


def image(channels: int = 1, height: int = 64, width: int = 96, dtype: str = "float32") -> np.ndarray:
    """(1, C, H, W) of smooth values from 0 to 255, each channel of another mean and spread; the same every time."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c) + y / 9) * np.cos(y / (7 + c)) for c in range(channels)]
    planes = [127.5 / (1 + c) * (1 + wave / (1 + c)) for c, wave in enumerate(waves)]
    return np.asarray(np.stack(planes)[None], dtype)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def traced(network: nn.Module, x: np.ndarray, *, script: bool = False) -> bytes:
    """TorchScript as a file's content."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        example = torch.from_numpy(x.astype(np.float32))
        made = torch.jit.script(network) if script else torch.jit.trace(network, example, check_trace=False)
        torch.jit.save(made, buffer)
    return buffer.getvalue()


def _cover() -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _space(name: str, **other: Any) -> dict[str, Any]:
    return {"type": "space", "id": name, **other}


def base(
    network: nn.Module | None = None, *, channels: int = 1, dtype: str = "float32", script: bool = False,
    height: int = 64, width: int = 96, processed: Callable[[Tensor], Tensor] = lambda x: x,
    finished: Callable[[Tensor], Tensor] = lambda y: y,
) -> tuple[Description, Files]:  # fmt: skip
    """The good package: format 0.5.10, TorchScript and its state dict's file kept aside."""
    torch.manual_seed(3)
    network = Small(channels) if network is None else network
    network.eval()
    x = image(channels, height, width, dtype)
    with torch.no_grad():
        seen = processed(torch.from_numpy(x.astype(np.float32)))
        y = finished(network(seen)).numpy()
    files = {
        "weights.pt": traced(network, seen.numpy(), script=script),
        "test_input.npy": npy(x),
        "test_output.npy": npy(np.asarray(y, np.float32)),
        "cover.png": _cover(),
        "README.md": b"# Small\n\nA small network for tests. Convert images to 32-bit first.\n",
    }
    names = ["grey"] if channels == 1 else [f"c{n}" for n in range(channels)]
    out = [{"type": "batch"}, {"type": "channel", "channel_names": [f"p{n}" for n in range(y.shape[1])]}]
    if y.ndim == 4:
        out += [
            _space(a, size={"tensor_id": "input", "axis_id": a, "offset": 0}, halo=0, scale=1.0) for a in "yx"
        ]
    description: Description = {
        "type": "model",
        "format_version": "0.5.10",
        "name": "Small network",
        "description": "A small network for tests.",
        "authors": [{"name": "A. Person"}],
        "license": "CC0-1.0",
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["test"],
        "version": "0.1.0",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "inputs": [
            {
                "id": "input",
                "description": "grey values",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": names},
                    _space("y", size={"min": 32, "step": 2}),
                    _space("x", size={"min": 32, "step": 2}),
                ],
                "data": {"type": dtype},
                "test_tensor": {"source": "test_input.npy"},
                "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
            }
        ],
        "outputs": [
            {
                "id": "output",
                "description": "probabilities",
                "axes": out,
                "data": {"type": "float32"},
                "test_tensor": {"source": "test_output.npy"},
            }
        ],
        "weights": {"torchscript": {"source": "weights.pt", "pytorch_version": "2.0.0"}},
        "config": {"bioimageio": {"nickname": "small-network"}, "deepimagej": {"allow_tiling": True}},
    }
    if y.ndim == 4:
        for axis in description["outputs"][0]["axes"][2:]:
            del axis["halo"]
    return description, files


def state_dict(network: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


ARCHITECTURE = b"import torch\n\n\nclass Small(torch.nn.Module):\n    pass\n"


# ---- changes of the description


def _set(path: str, value: Any) -> Callable[[Description], None]:
    def change(description: Description) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        place: Any = description
        for part in parents:
            place = place[part]
        place[last] = copy.deepcopy(value)

    return change


def _drop(path: str) -> Callable[[Description], None]:
    def change(description: Description) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        place: Any = description
        for part in parents:
            place = place[part]
        del place[last]

    return change


def _pre(*steps: dict[str, Any]) -> Callable[[Description], None]:
    return _set("inputs/0/preprocessing", [*steps, {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}])


def _post(*steps: dict[str, Any]) -> Callable[[Description], None]:
    return _set("outputs/0/postprocessing", [*steps])


def _step(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"id": name, "kwargs": kwargs} if kwargs else {"id": name}


def _halo(width: int) -> Callable[[Description], None]:
    def change(description: Description) -> None:
        for axis in description["outputs"][0]["axes"][2:]:
            axis["halo"] = width

    return change


def _newest(description: Description) -> None:
    description["format_version"] = "0.5.12"
    description["documentation"] = {"source": "README.md"}
    description["covers"] = [{"source": "cover.png"}]


def _old(description: Description) -> None:
    """The same in format 0.4."""
    new = copy.deepcopy(description)
    description.clear()
    description.update(
        {k: new[k] for k in ("type", "name", "description", "authors", "license", "documentation", "covers")}
        | {k: new[k] for k in ("tags", "version", "timestamp", "weights", "config")}
        | {"format_version": "0.4.10", "test_inputs": ["test_input.npy"], "test_outputs": ["test_output.npy"]}
    )
    description["cite"] = [{"text": "nobody", "doi": "10.1000/xyz"}]
    description["inputs"] = [
        {"name": "input", "axes": "bcyx", "data_type": "float32", "description": "grey",
         "shape": {"min": [1, 1, 32, 32], "step": [0, 0, 2, 2]}}
    ]  # fmt: skip
    description["outputs"] = [
        {"name": "output", "axes": "bcyx", "data_type": "float32", "description": "p", "halo": [0, 0, 0, 0],
         "shape": {"reference_tensor": "input", "scale": [1, 0, 1, 1], "offset": [0, 1.0, 0, 0]}}
    ]  # fmt: skip


def _time(description: Description) -> None:
    description["inputs"][0]["axes"][0] = {"type": "time", "size": 1, "unit": "second", "scale": 1.0}
    description["outputs"][0]["axes"][0] = {"type": "time", "size": 1, "unit": "second", "scale": 1.0}


def _index(description: Description) -> None:
    description["inputs"][0]["axes"][0] = {"type": "index", "size": 1}


def _two_inputs(description: Description) -> None:
    other = copy.deepcopy(description["inputs"][0])
    other["id"] = "other"
    description["inputs"].append(other)


def _fixed(description: Description) -> None:
    for axis, size in zip(description["inputs"][0]["axes"][2:], (64, 96), strict=True):
        axis["size"] = size


# ---- changes of the files


def _rename(old: str, new: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[new] = files.pop(old)

    return change


def _add(name: str, content: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[name] = content

    return change


def _nested(files: Files) -> None:
    for name in list(files):
        files[f"model/{name}"] = files.pop(name)


def _wrong_output(files: Files) -> None:
    files["test_output.npy"] = npy(np.load(io.BytesIO(files["test_output.npy"])) + np.float32(0.1))


# ---- what bioimageio.core's operations give, for the test output


def _zero_mean(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.std(correction=0) + 1e-6)


def _zero_mean_planes(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), correction=0, keepdim=True) + 1e-6)


def _percentiles(x: Tensor) -> Tensor:
    planes = x.numpy()
    low, high = (np.percentile(planes, p, axis=(0, 2, 3), keepdims=True) for p in (1.0, 99.0))
    return torch.from_numpy(np.asarray((planes - low) / (high - low + 1e-6), np.float32))


def _gains(x: Tensor) -> Tensor:
    return x * torch.tensor([0.5, 2.0]).view(1, 2, 1, 1) + torch.tensor([1.0, 9.0]).view(1, 2, 1, 1)


@dataclass(frozen=True)
class Variant:
    """One change, which point of the notes it breaks (0: none), and what the network and its steps are."""

    name: str
    point: int = 0
    change: tuple[Callable[[Description], None], ...] = ()
    files: tuple[Callable[[Files], None], ...] = ()
    network: Callable[[], nn.Module] | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    rdf: str = "rdf.yaml"
    zipped: bool = False
    status: str = ""
    """Of the point where it is not ``passed`` (0) or ``failed``."""
    sizes: str = "100x131"
    """Images that the judge runs besides the test tensor."""
    chance: bool = False
    """Whether the judge's verdict is by chance."""

    def build(self) -> tuple[Description, Files]:
        """Description and files, in memory."""
        torch.manual_seed(3)
        description, files = base(self.network() if self.network else None, **dict(self.settings))
        for alter in self.change:
            alter(description)
        for alter_files in self.files:
            alter_files(files)
        return description, files

    def write(self, folder: Path) -> Path:
        """The package as a folder (or zip) in `folder`, checksums of its weights included."""
        description, files = self.build()
        for entry in description.get("weights", {}).values():
            if entry["source"] in files:
                entry["sha256"] = hashlib.sha256(files[entry["source"]]).hexdigest()
        text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
        rdf = f"model/{self.rdf}" if any(name.startswith("model/") for name in files) else self.rdf
        files = {rdf: text.encode()} | files
        if self.zipped:
            target = folder / f"{self.name}.zip"
            with zipfile.ZipFile(target, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return target
        target = folder / self.name
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        return target


def _two(**other: Any) -> tuple[tuple[str, Any], ...]:
    return (("channels", 2), *other.items())


_GAINS = _step("scale_linear", axis="channel", gain=[0.5, 2.0], offset=[1.0, 9.0])
_STATE = {
    "source": "state.pt",
    "pytorch_version": "2.0.0",
    "architecture": {"source": "architecture.py", "callable": "Small"},
}
_BESIDE = (_set("weights/pytorch_state_dict", _STATE),)
_STATE_FILES = (_add("state.pt", state_dict(Small())), _add("architecture.py", ARCHITECTURE))
_ONNX = _set("weights/onnx", {"source": "weights.onnx", "opset_version": 18})

VARIANTS = (
    # good
    Variant("base"),
    Variant("zip", zipped=True),
    Variant("format_0_5_3", change=(_set("format_version", "0.5.3"),)),
    Variant("format_0_4", change=(_old,)),
    Variant("fixed_size", change=(_fixed,)),
    Variant("state_dict_beside", change=_BESIDE, files=_STATE_FILES),
    Variant("no_config", change=(_drop("config"),)),
    Variant("no_deepimagej", change=(_drop("config/deepimagej"),)),
    Variant("pytorch_1_13", change=(_set("weights/torchscript/pytorch_version", "1.13.1"),)),
    Variant("pytorch_2_15", change=(_set("weights/torchscript/pytorch_version", "2.15.0"),)),
    Variant("uint8", settings=(("dtype", "uint8"),)),
    Variant("uint16", settings=(("dtype", "uint16"),)),
    Variant("halo", change=(_halo(4),)),
    Variant("output_unit", change=tuple(_set(f"{t}/0/axes/{n}/unit", "micrometer") for t in ("inputs", "outputs") for n in (2, 3))),
    Variant("classifier", network=Classes, change=(_fixed,)),
    Variant("batch_norm", network=lambda: Small(norm="batch")),
    Variant("instance_norm", network=lambda: Small(norm="instance")),
    Variant("tensors_in_folder", change=(_set("inputs/0/test_tensor/source", "t/test_input.npy"),), files=(_rename("test_input.npy", "t/test_input.npy"),)),
    Variant("zero_mean", network=lambda: Small(1, divisor=1.0), change=(_pre(_step("zero_mean_unit_variance")),), settings=(("processed", _zero_mean),)),
    Variant("zero_mean_all", network=lambda: Small(2, divisor=1.0), change=(_pre(_step("zero_mean_unit_variance", axes=["channel", "y", "x"])),), settings=_two(processed=_zero_mean)),
    Variant("zero_mean_planes_of_one", network=lambda: Small(1, divisor=1.0), change=(_pre(_step("zero_mean_unit_variance", axes=["y", "x"])),), settings=(("processed", _zero_mean),)),
    Variant("fixed_zero_mean", change=(_pre(_step("fixed_zero_mean_unit_variance", mean=10.0, std=2.0)),), settings=(("processed", lambda x: (x - 10) / 2),)),
    Variant("scale_linear", change=(_pre(_step("scale_linear", gain=2.0, offset=5.0)),), settings=(("processed", lambda x: 2 * x + 5),)),
    Variant("scale_range", network=lambda: Small(2, divisor=1.0), change=(_pre(_step("scale_range", axes=["y", "x"], min_percentile=1.0, max_percentile=99.0)),), settings=_two(processed=_percentiles)),
    Variant("clip", change=(_post(_step("clip", min=0.2, max=0.5)),), settings=(("finished", lambda y: y.clamp(0.2, 0.5)),)),
    Variant("binarize", change=(_post(_step("binarize", threshold=0.5)),), settings=(("finished", lambda y: (y > 0.5).float()),)),
    Variant("sigmoid", network=lambda: Small(last=""), change=(_post(_step("sigmoid")),), settings=(("finished", torch.sigmoid),)),
    # bad
    Variant("other_name", 1, rdf="bioimageio.yaml"),
    Variant("nested", 1, files=(_nested,)),
    Variant("nested_zip", 1, files=(_nested,), zipped=True),
    Variant("newest_format", 2, change=(_newest,)),
    Variant("cover_as_map", 2, change=(_set("covers", [{"source": "cover.png"}]),)),
    Variant("documentation_as_map", 2, change=(_set("documentation", {"source": "README.md"}),)),
    Variant("newest_with_strings", 2, change=(_set("format_version", "0.5.12"),), status="warning"),
    Variant("no_id", 3, change=(_set("config", {"deepimagej": {"allow_tiling": True}}),)),
    Variant("pth", 4, change=(_set("weights/torchscript/source", "weights.pth"),), files=(_rename("weights.pt", "weights.pth"),)),
    Variant("weights_in_folder", 4, change=(_set("weights/torchscript/source", "w/weights.pt"),), files=(_rename("weights.pt", "w/weights.pt"),)),
    Variant("weights_missing", 4, files=(lambda files: files.pop("weights.pt"),)),
    Variant("two_inputs", 5, change=(_two_inputs,)),
    Variant("time_axis", 5, change=(_time,)),
    Variant("index_axis", 5, change=(_index,)),
    Variant("no_channel_names", 6, change=(_drop("inputs/0/axes/1/channel_names"), _set("inputs/0/axes/1/size", 1))),
    Variant("channels_by_reference", 6, change=(_set("outputs/0/axes/1", {"type": "channel", "size": {"tensor_id": "input", "axis_id": "channel"}}),), network=lambda: Small(out=1)),
    Variant("min_off_step", 7, change=(_set("inputs/0/axes/2/size", {"min": 33, "step": 2}),)),
    Variant("large_step", 7, change=(_set("inputs/0/axes/2/size", {"min": 128, "step": 128}), _set("inputs/0/axes/3/size", {"min": 128, "step": 128})), settings=(("height", 128), ("width", 128)), status="warning", sizes="257x300"),
    Variant("output_scale", 8, change=(_set("outputs/0/axes/2/scale", 0.5), _set("outputs/0/axes/3/scale", 0.5)), network=Doubled),
    Variant("instance_norm_halo", 9, network=lambda: Small(norm="instance"), change=(_halo(8),)),
    Variant("float64", 10, settings=(("dtype", "float64"),), status="warning"),
    Variant("int64", 10, settings=(("dtype", "int64"),), status="warning"),
    Variant("int32", 10, settings=(("dtype", "int32"),), status="warning"),
    Variant("softmax", 12, change=(_post(_step("softmax", axis="channel")),), network=lambda: Small(last=""), settings=(("finished", lambda y: torch.softmax(y, 1)),)),
    Variant("scale_mean_variance", 12, change=(_post(_step("scale_mean_variance", reference_tensor="input", axes=["channel", "y", "x"])),)),
    Variant("one_bound", 12, change=(_post(_step("clip", min=0.2)),), settings=(("finished", lambda y: y.clamp(min=0.2)),)),
    Variant("fixed_lists", 12, change=(_pre(_step("fixed_zero_mean_unit_variance", axis="channel", mean=[10.0, 20.0], std=[2.0, 3.0])),), settings=_two(processed=lambda x: (x - torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)) / torch.tensor([2.0, 3.0]).view(1, 2, 1, 1))),
    Variant("unknown_operation", 11, change=(_pre(_step("histogram_match")),)),
    Variant("zero_mean_planes", 13, network=lambda: Small(2, divisor=1.0), change=(_pre(_step("zero_mean_unit_variance", axes=["y", "x"])),), settings=_two(processed=_zero_mean_planes)),
    Variant("linear_lists", 13, change=(_pre(_GAINS),), settings=_two(processed=_gains)),
    Variant("reference_range", 14, change=(_post(_step("scale_range", reference_tensor="input", axes=["channel", "y", "x"])),)),
    Variant("stardist", 14, change=(_post(_step("stardist_postprocessing", prob_threshold=0.5, nms_threshold=0.4)),)),
    Variant("empty_config", 15, change=(_set("config/deepimagej", {}),)),
    Variant("no_tiling", 15, change=(_set("config/deepimagej", {"allow_tiling": False}),)),
    Variant("no_version", 16, change=(_drop("weights/torchscript/pytorch_version"),), status="warning"),
    Variant("odd_version", 16, change=(_set("weights/torchscript/pytorch_version", "1.4.0"),), status="warning"),
    Variant("onnx_beside", 17, change=(_ONNX,), files=(_add("weights.onnx", b"\x08\x09"),), chance=True),
    Variant("state_dict_alone", 17, change=(*_BESIDE, _drop("weights/torchscript")), files=(*_STATE_FILES,)),
    Variant("attention", 18, network=Attention),
    Variant("rms_norm", 18, network=Rms),
    Variant("bfloat16", 18, network=Brain),
    Variant("scripted_interpolation", 18, network=Scripted, settings=(("script", True),)),
    Variant("no_torchscript", 18, files=(_add("weights.pt", b"no zip"),)),
    # the test tensors
    Variant("wrong_output", 0, files=(_wrong_output,), status="differs"),
)  # fmt: skip
