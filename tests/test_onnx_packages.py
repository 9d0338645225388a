"""ONNX: packages for the zoo have it beside the others and give the same; packages of others that have nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper
from torch import Tensor, nn

import mikata
from foreign_packages import BATCH, BY_NAME, channel, core_output, image, new, npy, space
from mikata import packaging
from mikata.architecture import Classifier, Segmenter
from mikata.errors import NetworkError, PackageError
from mikata.networks.importing import read_foreign_classifier, read_foreign_network
from mikata.networks.importing.onnx_session import OnnxSession, session_of
from mikata.networks.importing.refusals import NotRunError
from mikata.packaging.checks import examine_package
from mikata.packaging.onnx import onnx_bytes
from mikata.packaging.segmented import write_segmentation
from mikata.types import SILENT
from packages import Untrained, write_package

FORMATS = {"onnx", "pytorch_state_dict", "torchscript"}


@dataclass(frozen=True)
class UntrainedSegmenter:
    """What `write_segmentation` needs, with random weights."""

    segmenter: Segmenter
    classes: tuple[str, ...] = ("background", "nucleus")
    outputs: tuple[str, ...] = ("background", "nucleus", "distance")
    instances: str = "distance"
    settings: dict[str, float] = field(
        default_factory=lambda: {"threshold": 0.5, "apart": 0.5, "smallest": 1.0}
    )
    step: int = 16
    channels: int = 1
    value_unit: str = "grey"
    value_range: tuple[float, float] = (0.0, 255.0)
    split: str = ""
    methods: str = "It was not trained at all."

    def record(self) -> dict[str, Any]:
        return {"notice": "Research use, not for diagnosis."}


def a_value(folder: Path) -> Path:
    torch.manual_seed(7)
    classifier = Classifier("small_cnn", 1, 1, [110.0], [50.0], None, target=(40.0, 9.0), unit="mm").eval()
    source = Untrained(classifier, classes=())
    return packaging.write(folder, source, name="Value", test_image=packaging.formula_image(source))


def a_segmentation(folder: Path) -> Path:
    torch.manual_seed(7)
    segmenter = Segmenter("unet", 2, 1, [110.0], [50.0], distance=True).eval()
    return write_segmentation(folder, UntrainedSegmenter(segmenter), name="Untrained")


KINDS = {
    "classifier": write_package,
    "colours, scaled": lambda folder: write_package(folder, channels=3, fit="resize", size=(40, 56)),
    "value": a_value,
    "segmentation": a_segmentation,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_zoo_gets_every_format_and_all_give_the_same(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package = KINDS[kind](tmp_path / "package")
    made = packaging.export(package, tmp_path / "zoo", reader="zoo", progress=SILENT)
    assert made.onnx == ""
    assert {one.weights for one in made.checked.formats} == FORMATS
    assert all(one.passed for one in made.checked.formats)
    description = yaml.safe_load((made.folder / "rdf.yaml").read_text("utf-8"))
    assert description["weights"].keys() == FORMATS
    assert description["weights"]["onnx"]["opset_version"] == 18
    onnx.checker.check_model(onnx.load(made.folder / "weights.onnx"), full_check=True)
    found = examine_package(made.archive, "zoo")
    assert found.failed == ()
    assert found.warnings == ()
    assert {(d.weights, d.against) for d in found.differences} == {
        *((kind, "test output") for kind in FORMATS),
        ("onnx", "pytorch_state_dict"), ("onnx", "torchscript"), ("pytorch_state_dict", "torchscript"),
    }  # fmt: skip
    assert max(d.largest for d in found.differences) < 1e-4
    assert capfd.readouterr() == ("", "")


def test_onnx_scales_images_of_any_size_as_torch_does() -> None:
    torch.manual_seed(7)
    classifier = Classifier("small_cnn", 2, 1, [110.0], [50.0], (40, 56)).eval()
    data, why = onnx_bytes(classifier, torch.rand(1, 1, 70, 60) * 255, False)
    assert data is not None, why
    session = session_of(data)
    for height, width in ((40, 56), (200, 300), (17, 19), (20, 400)):
        x = torch.rand(2, 1, height, width) * 255
        with torch.no_grad():
            expected = classifier(x).numpy()
        assert np.abs(session.run(None, {"input": x.numpy()})[0] - expected).max() < 1e-5


class OneSize(nn.Module):
    """A network whose result depends on the size, in a way that a trace does not keep."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3)) / int(x.shape[2])], 1)


class Unwritable(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.linalg.matrix_exp(x[..., :4, :4]).mean((2, 3))] * 2, 1)


@pytest.mark.parametrize(
    ("network", "words"), [(OneSize(), "images of one size"), (Unwritable(), "has no ONNX file")]
)
def test_what_onnx_cannot_hold_is_said(
    network: nn.Module, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier = Classifier("small_cnn", 2, 1, [0.0], [255.0], None).eval()
    classifier.network = network
    data, why = onnx_bytes(classifier, torch.rand(1, 1, 64, 48) * 255, False)
    assert data is None
    assert words in why
    assert capfd.readouterr() == ("", "")


def test_an_onnx_file_of_another_network_is_no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier("small_cnn", 2, 1, [0.0], [255.0], None).eval()
    x = torch.rand(1, 1, 64, 48) * 255
    data, _ = onnx_bytes(classifier, x, False)
    other = Classifier("small_cnn", 2, 1, [0.0], [99.0], None).eval()
    monkeypatch.setattr("mikata.packaging.onnx._exported", lambda *_: data)
    with pytest.raises(NetworkError, match="gives other outputs as ONNX"):
        onnx_bytes(other, x, False)


# ---- packages of others with nothing but ONNX


def test_it_is_imported_and_run_as_bioimageio_core_runs_it(tmp_path: Path) -> None:
    folder = BY_NAME["new_onnx"].write(tmp_path)
    imported = mikata.import_package(model=folder, out=tmp_path / "imported")
    assert imported.files == (tmp_path / "imported",)
    values = image((1, 48, 62))
    result = mikata.segment(values[0], model=tmp_path / "imported", probabilities=True)
    (expected,) = core_output(folder, values[None])
    found = np.concatenate(
        [one.array.reshape(-1, 48, 62) for one in result.images if one.array.dtype == np.float32]
    )
    assert np.abs(found - expected[0]).max() < 1e-5
    checked = examine_package(folder, "zoo")
    assert checked.failed == ()
    assert max(d.largest for d in checked.differences if d.weights == "onnx") < 1e-5


def graph(nodes: list[Any], kind: int, shape: list[Any], out: list[Any], constants: Any = ()) -> bytes:
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, out)], list(constants),
    )  # fmt: skip
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def only_onnx(folder: Path, data: bytes, *, dtype: str = "float32", classes: tuple[str, ...] = ()) -> Path:
    """A package of one plane whose network is `data`; of a classifier where there are classes."""
    size = {"min": 16, "step": 1}
    out = (
        [BATCH, channel(*classes)]
        if classes
        else [BATCH, channel("a"), *(space(n, {"tensor_id": "input", "axis_id": n}) for n in "yx")]
    )
    description = new([BATCH, channel("grey"), space("y", size), space("x", size)], out, dtype=dtype)
    description["weights"] = {"onnx": {"source": "weights.onnx", "opset_version": 17}}
    folder.mkdir()
    x = image((1, 32, 48), dtype)[None]
    files = {"README.md": b"# A network of others\n", "weights.onnx": data, "test_input.npy": npy(x)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "test_output.npy").write_bytes(npy(np.zeros((1, max(1, len(classes))), np.float32)))
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description, sort_keys=False), "utf-8")
    return folder


def test_whole_numbers_reach_it_as_whole_numbers(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["input"], ["output"], to=TensorProto.FLOAT)
    shape: list[Any] = ["b", 1, "y", "x"]
    folder = only_onnx(tmp_path / "p", graph([cast], TensorProto.UINT8, shape, shape), dtype="uint8")
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["inputs"][0]["preprocessing"] = []  # then the network gets the image's own type
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description, sort_keys=False), "utf-8")
    values = image((1, 32, 48), "uint8")
    network = read_foreign_network(folder)
    x = torch.from_numpy(network.before(np.asarray(values, np.float32)))[None]
    (expected,) = core_output(folder, values[None])
    assert np.array_equal(network.network(x).numpy(), expected)


def test_a_classifier_of_onnx_alone(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["output"], axis=1),
    ]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 3], [0.01, 0.011, 0.0])
    data = graph(nodes, TensorProto.FLOAT, ["b", 1, "y", "x"], ["b", 3], [weights])
    folder = only_onnx(tmp_path / "p", data, classes=("low", "high", "none"))
    assert read_foreign_classifier(folder).weights == "onnx"
    values = image((1, 32, 48))
    row = mikata.predict(values[0], model=folder).tables[0].rows[0]
    (expected,) = core_output(folder, values[None])
    assert row[3] == "high"
    assert np.abs(np.array(row[5:], float) - expected[0]).max() < 1e-5


def test_a_second_file_is_not_opened(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones(1, np.float32).tobytes())
    for place in ("secret.bin", str(tmp_path / "secret.bin"), "../secret.bin"):
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", place
        shape: list[Any] = ["b", 1, "y", "x"]
        data = graph(
            [helper.make_node("Add", ["input", "w"], ["output"])], TensorProto.FLOAT, shape, shape, [tensor]
        )
        with pytest.raises(NotRunError, match="numbers from other files"):
            OnnxSession(data)
    folder = only_onnx(tmp_path / "p", data)
    with pytest.raises(PackageError, match="numbers from other files"):
        read_foreign_network(folder)
    assert capfd.readouterr() == ("", "")


def test_damaged_and_other_networks_are_sentences(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for data in (b"", b"\x08\x09", b"onnx" * 99):
        with pytest.raises(NotRunError, match=r"onnxruntime cannot load it|file is damaged"):
            OnnxSession(data)
    shape: list[Any] = ["b", 1, "y", "x"]
    data = graph([helper.make_node("Identity", ["input"], ["output"])], TensorProto.FLOAT, shape, shape)
    session = OnnxSession(data)
    with pytest.raises(NotRunError, match="has 1 inputs, the description 2"):
        session([torch.zeros(1, 1, 4, 4)] * 2)
    with pytest.raises(NotRunError, match="onnxruntime cannot run it"):
        session([torch.zeros(1, 4)])
    whole = OnnxSession(
        graph(
            [helper.make_node("Cast", ["input"], ["output"], to=TensorProto.FLOAT)],
            TensorProto.UINT8, shape, shape,
        )
    )  # fmt: skip
    assert float(whole([torch.full((1, 1, 4, 4), 200.0)])[0].max()) == 200
    with pytest.raises(NotRunError, match="which would change them"):
        whole([torch.full((1, 1, 4, 4), 0.5)])
    assert capfd.readouterr() == ("", "")
