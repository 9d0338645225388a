"""Packages of others, run: the same pixels as bioimageio.core's own pipeline, whatever their axes and weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import mikata
from foreign_packages import (
    BATCH,
    BY_NAME,
    PACKAGES,
    Foreign,
    UNet,
    channel,
    core_output,
    image,
    new,
    space,
    step,
    traced,
)
from mikata.errors import ImageError, NetworkError, PackageError
from mikata.networks.door import pixel_network
from mikata.networks.importing import consents, interpreter, read_foreign_classifier, read_foreign_network
from mikata.networks.importing.code import UnreadableError, read_script
from mikata.networks.pixelwise import PixelNetwork, Sides

WITH_PIXELS = [
    pytest.param(p, marks=[pytest.mark.slow] if p.name == "smp" else [], id=p.name)
    for p in PACKAGES
    if not p.classifier
]
"""smp: importing it takes longest of all."""


@pytest.fixture(autouse=True)
def own_consents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "consents_folder", lambda: tmp_path / "consents")


def written(package: Foreign, folder: Path) -> Path:
    return package.write(folder)


def whole(network: PixelNetwork, values: np.ndarray) -> np.ndarray:
    """The result (K, H, W) of one image (C, H, W), untiled."""
    x = torch.from_numpy(network.before(values))[None]
    return network.after(network.network(x)[0].numpy())


@pytest.mark.parametrize("package", WITH_PIXELS)
def test_the_pixels_are_those_of_bioimageio_core(package: Foreign, tmp_path: Path) -> None:
    folder = written(package, tmp_path)
    network = read_foreign_network(folder, trust_code=package.needs == "consent")
    for height, width in (package.shape[1:], package.other):
        values = image((package.shape[0], height, width), package.dtype)
        found = whole(network, np.asarray(values, np.float32))
        expected = []
        for number, output in enumerate(core_output(folder, package.arranged(values))):
            letters = "".join(a["id"] if a["type"] == "space" else a["type"][0] for a in axes) if isinstance(
                axes := _axes(folder, number), list) else axes  # fmt: skip
            plain = np.moveaxis(
                output, [letters.index(c) for c in letters if c not in "yx"], range(len(letters) - 2)
            )
            expected.append(plain.reshape(-1, *plain.shape[-2:]))
        difference = float(np.abs(found - np.concatenate(expected)).max())
        assert difference < 1e-5, difference
    assert network.meaning == package.meaning
    assert network.halo == package.halo
    assert network.scale == package.scale


def _axes(folder: Path, number: int) -> object:
    return yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))["outputs"][number]["axes"]


@pytest.mark.parametrize("package", [p for p in PACKAGES if p.classifier], ids=lambda package: package.name)
def test_the_classes_are_those_of_bioimageio_core(package: Foreign, tmp_path: Path) -> None:
    folder = written(package, tmp_path)
    network = read_foreign_classifier(folder)
    for height, width in (package.shape[1:], package.other):
        values = image((package.shape[0], height, width), package.dtype)
        x = torch.from_numpy(network.before(np.asarray(values, np.float32)))[None]
        (expected,) = core_output(folder, package.arranged(values))
        assert float(np.abs(network.network(x).numpy() - expected).max()) < 1e-5
    assert network.probabilities == (package.name == "scores")
    with pytest.raises(PackageError, match="is no image"):
        read_foreign_network(folder)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_bioimageio_itself_passes_it(package: Foreign, tmp_path: Path) -> None:
    folder = written(package, tmp_path)
    from bioimageio.core import test_description

    from mikata.networks.quiet import quiet

    with quiet():
        summary = test_description(folder / "rdf.yaml", devices=["cpu"])
    problems = [error.msg for detail in summary.details for error in detail.errors]
    assert summary.status == "passed", problems


def test_predict_takes_a_classifier_of_others(tmp_path: Path) -> None:
    package = BY_NAME["scores"]
    folder = package.write(tmp_path)
    images = [image((1, 40, 34)), image((1, 60, 60)), image((1, 21, 40))]  # the last is no step of 2 above 20
    result = mikata.predict([array[0] for array in images], model=folder)
    (table,) = result.tables
    assert table.columns == (
        "image",
        "slice",
        "frame",
        "predicted",
        "probability",
        "p(normal)",
        "p(odd)",
        "p(other)",
    )
    assert len(table.rows) == 2
    for row, array in zip(table.rows, images, strict=False):
        (expected,) = core_output(folder, array[None])
        assert np.abs(np.array(row[5:], float) - expected[0]).max() < 1e-5
        assert row[3] == ("normal", "odd", "other")[int(expected.argmax())]
    assert "40 x 21 px" in result.message
    with pytest.raises(ImageError, match="takes a width of 20, 22 and so on"):
        mikata.predict(images[2][0], model=folder)
    sure = mikata.predict(images[0][0], model=folder, min_confidence_percent=99.9)
    assert sure.tables[0].rows[0][3] == "(undecided)"


def test_scores_are_not_called_probabilities(tmp_path: Path) -> None:
    folder = BY_NAME["timm_old"].write(tmp_path)
    result = mikata.predict(image((1, 64, 64))[0], model=folder)
    assert result.tables[0].columns[4:6] == ("score", "score(output 1)")
    assert result.tables[0].rows[0][3:5] == (None, None)  # two scores may be high at once
    assert "not known to exclude each other" in result.message
    with pytest.raises(NetworkError, match="not known to be probabilities"):
        mikata.predict(image((1, 64, 64))[0], model=folder, min_confidence_percent=50)
    with pytest.raises(PackageError, match="none of its outputs"):
        mikata.predict(image((1, 64, 64))[0], model=BY_NAME["new_yx"].write(tmp_path))


class Means(nn.Module):
    """As many numbers as `weights` has: weights times the mean of the image / 255, plus `ends`, through `last`."""

    def __init__(
        self,
        weights: tuple[float, ...],
        ends: tuple[float, ...],
        last: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))
        self.register_buffer("ends", torch.tensor(ends))
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.mean((2, 3)) / 255 * self.weights + self.ends)


def means(
    weights: tuple[float, ...],
    ends: tuple[float, ...],
    last: Any = torch.sigmoid,
    post: tuple[Any, ...] = (),
    **data: Any,
) -> Foreign:
    names = ("tumour", "nodule", "effusion")[: len(weights)]
    axes = [BATCH, channel("grey"), space("y", {"min": 20, "step": 2}), space("x", {"min": 20, "step": 2})]
    return Foreign("means", lambda: Means(weights, ends, last), lambda: new(
        axes, [BATCH, channel(*names)], post=post, **data), classifier=True)  # fmt: skip


@pytest.mark.parametrize(
    ("package", "class_"),
    [
        (means((1.0,), (-4.0,)), None),
        (means((1.0,), (0.0,), lambda y: y, (step("sigmoid"),)), None),
        (means((1.0,), (0.0,), lambda y: torch.softmax(y, 1)), None),
        (means((3.0, -2.0, 1.0), (0.0, 0.0, 0.0)), None),
        (means((3.0, -2.0, 1.0), (0.0, 0.0, 0.0), lambda y: y, (step("sigmoid"),)), None),
        (means((3.0, 2.0), (0.0, 0.0), lambda y: y), None),
        # sigmoids at their ends add up to 1 as well, and by chance once
        (means((9.0, -9.0), (30.0, -30.0)), None),
        (means((3.0, 2.0), (0.0, 0.0), lambda y: torch.softmax(y, 1)), "tumour"),
        (means((2.0, 3.0), (0.0, 0.0), lambda y: y, (step("softmax", axis="channel"),)), "nodule"),
    ],
)  # fmt: skip
def test_a_class_is_named_only_where_classes_exclude_each_other(
    package: Foreign, class_: str | None, tmp_path: Path
) -> None:
    folder = package.write(tmp_path)
    assert read_foreign_classifier(folder).probabilities == (class_ is not None)
    result = mikata.predict(image((1, 40, 34))[0], model=folder)
    (row,) = result.tables[0].rows
    assert row[3] == class_
    if class_ is None:
        assert row[4] is None
        assert result.tables[0].columns[5].startswith("score(")
        assert "predicted and score are empty" in result.message
        with pytest.raises(NetworkError, match="leave min_confidence_percent at 0"):
            mikata.predict(image((1, 40, 34))[0], model=folder, min_confidence_percent=50)


@pytest.mark.parametrize("last", [torch.log, lambda y: 1 / torch.relu(y)])
def test_what_is_no_number_is_no_class(last: Any, tmp_path: Path) -> None:
    folder = means((-1.0, -2.0), (0.4, 0.8), last, (step("softmax", axis="channel"),)).write(tmp_path)
    bright, dark = np.full((40, 34), 250, np.float32), np.zeros((40, 34), np.float32)
    bright[::2, ::2], dark[::2, ::2] = 255, 1
    with pytest.raises(ImageError, match="not numbers"):
        mikata.predict(bright, model=folder)
    both = mikata.predict([dark, bright], model=folder)
    assert len(both.tables[0].rows) == 1
    assert "not numbers" in both.message


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_outputs_have_the_type_that_is_stated(dtype: str, tmp_path: Path) -> None:
    def described() -> dict[str, Any]:
        found = BY_NAME["new_softmax_halo"].described()
        found["outputs"][0] |= {"data": {"type": dtype}, "postprocessing": []}
        return found

    folder = replace(BY_NAME["new_softmax_halo"], described=described).write(tmp_path)
    values = image((1, 32, 48), "uint8")
    found = whole(read_foreign_network(folder), np.asarray(values, np.float32))
    (expected,) = core_output(folder, values[None])
    assert expected.dtype == dtype
    assert np.array_equal(found, expected[0])


def test_values_that_the_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    network = read_foreign_network(BY_NAME["old_percentiles_uint8"].write(tmp_path))
    assert network.value_range == (0.0, 255.0)
    with pytest.raises(ImageError, match=r"of the type uint8, but the values of this one go from 0 to 300"):
        network.before(np.linspace(0, 300, 2 * 32 * 48, dtype=np.float32).reshape(2, 32, 48))


def test_what_a_network_sees_is_tried(tmp_path: Path) -> None:
    network = read_foreign_network(BY_NAME["old_bcyx"].write(tmp_path))
    assert (network.height, network.width) == (Sides(20, 2), Sides(20, 2))
    assert (network.halo, network.stride, network.channels, network.outputs) == (
        8,
        2,
        1,
        ("output 1", "output 2"),
    )
    lying = BY_NAME["new_softmax_halo"].write(tmp_path)
    text = (lying / "rdf.yaml").read_text("utf-8")
    (lying / "rdf.yaml").write_text(text.replace("halo: 8", "halo: 1"), "utf-8")
    assert read_foreign_network(lying).halo is None


def test_tiles_of_it_give_the_whole(tmp_path: Path) -> None:
    """Percentiles are of the whole image, and the halo is what the network sees."""
    folder = BY_NAME["new_softmax_halo"].write(tmp_path)
    network = pixel_network(folder)
    values = np.asarray(image((1, 150, 170), "uint8"), np.float32)
    result = mikata.segment(values[0], model=folder, probabilities=True, tile_px=64)
    (made,) = [one for one in result.images if one.size("C") == 2]
    assert float(np.abs(made.array - whole(network, values)).max()) < 1e-5


def test_the_same_whatever_was_seen_before(tmp_path: Path) -> None:
    """bioimageio.core averages statistics over the images seen so far; here a result is of its image alone."""
    network = read_foreign_network(BY_NAME["new_dataset_statistics"].write(tmp_path))
    values = image((1, 40, 34))
    first = whole(network, values)
    whole(network, 5 * image((1, 60, 60)))
    assert np.array_equal(whole(network, values), first)


def test_several_images_at_once_are_each_its_own(tmp_path: Path) -> None:
    for name in ("new_softmax_halo", "new_yx", "new_two_outputs"):
        network = read_foreign_network(BY_NAME[name].write(tmp_path))
        x = torch.randn(3, 1, 32, 40, generator=torch.Generator().manual_seed(0))
        together = network.network(x)
        alone = torch.cat([network.network(one[None]) for one in x])
        assert float((together - alone).abs().max()) < 1e-5
    assert network.outputs == ("cells foreground", "edges boundary", "edges distance")


class ForOne(torch.nn.Module):
    """A network that was written for one image, and gives its first image's output for all."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.network(x)
        return y[:1].expand(x.shape[0], -1, -1, -1)


def test_a_network_for_one_image_gets_one_at_a_time(tmp_path: Path) -> None:
    package = replace(BY_NAME["new_dataset_statistics"], name="one", network=lambda: Cut(ForOne()))
    network = read_foreign_network(package.write(tmp_path))
    x = torch.randn(2, 1, 32, 40, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(*network.network(x))
    assert torch.equal(network.network(x)[1:], network.network(x[1:]))


class Cut(torch.nn.Module):
    """The first channel of another."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)[:, :1]


def _changed(package: Foreign, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    target = package.write(folder)
    description = yaml.safe_load((target / "rdf.yaml").read_text("utf-8"))
    change(description)
    (target / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    return target


def _deep(description: dict[str, Any]) -> None:
    description["inputs"][0]["axes"][2]["size"] = {"min": 1, "step": 1}


def _cropped(description: dict[str, Any]) -> None:
    description["outputs"][0]["axes"][3]["size"]["offset"] = -4


def _cellpose(description: dict[str, Any]) -> None:
    description["outputs"][0]["postprocessing"] = [{"id": "cellpose_flow_dynamics"}]


def _reference(description: dict[str, Any]) -> None:
    description["outputs"][0]["postprocessing"] = [
        {"id": "scale_mean_variance", "kwargs": {"reference_tensor": "input"}}
    ]


def _half(description: dict[str, Any]) -> None:
    for axis in description["outputs"][0]["axes"][-2:]:
        axis["scale"] = 2.0


def _two_inputs(description: dict[str, Any]) -> None:
    description["inputs"].append(description["inputs"][0] | {"id": "other"})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("new_one_plane", _deep, "the axis z of more than one plane"),
        ("new_one_plane", _cropped, "smaller or larger than the image by a border"),
        ("new_yx", _cellpose, "cellpose_flow_dynamics"),
        ("new_yx", _reference, "refer to another tensor"),
        ("new_yx", _half, "0.5 times the height"),
        ("new_yx", _two_inputs, "2 inputs and 1 outputs"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_run_is_said(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    with pytest.raises(PackageError, match=words):
        read_foreign_network(_changed(BY_NAME[name], tmp_path, change))


def test_onnx_without_its_runtime_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(description: dict[str, Any]) -> None:
        description["weights"] = {"onnx": {"source": "weights.onnx", "opset_version": 17}}

    folder = _changed(BY_NAME["new_yx"], tmp_path, change)
    (folder / "weights.onnx").write_bytes(b"onnx")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    with pytest.raises(PackageError, match=r"pip install mikata\[onnx\]"):
        read_foreign_network(folder)


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ({"import_from": "os", "callable": "system", "kwargs": {"command": "true"}}, "unknown library"),
        ({"import_from": "timmevil", "callable": "net", "kwargs": {}}, "unknown library"),
        ({"import_from": "timm.models", "callable": "load_checkpoint", "kwargs": {}}, "has no network"),
        (
            {"import_from": "timm", "callable": "create_model", "kwargs": {"model_name": "hf-hub:x/y"}},
            "no plain values",
        ),
        (
            {"import_from": "torchvision.models", "callable": "resnet18", "kwargs": {"weights": "DEFAULT"}},
            "would download",
        ),
    ],
    ids=lambda value: value["callable"] if isinstance(value, dict) else "",
)
def test_libraries_make_networks_and_nothing_else(
    tmp_path: Path, library: dict[str, Any], words: str
) -> None:
    def change(description: dict[str, Any]) -> None:
        description["weights"]["pytorch_state_dict"]["architecture"] = library

    with pytest.raises(PackageError, match=words):
        read_foreign_classifier(_changed(BY_NAME["torchvision"], tmp_path, change))


def test_the_walk_plans_before_it_reckons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is too large is refused before there is memory for it."""
    where = []
    refuse = interpreter._refuse_large
    monkeypatch.setattr(
        interpreter,
        "_refuse_large",
        lambda name, made: (where.append(made.device.type), refuse(name, made))[1],
    )
    monkeypatch.setattr(interpreter, "_LARGEST_TENSOR", 30 * 40)
    x = torch.ones(1, 1, 40, 40)
    script = read_script(traced(torch.nn.Upsample(scale_factor=2), x.numpy()))
    with pytest.raises(UnreadableError, match="numbers at once"):
        interpreter.run(script, [x])
    assert where[-1] == "meta"


def test_a_network_of_images_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="none of its outputs"):
        read_foreign_classifier(BY_NAME["new_yx"].write(tmp_path))
