"""Packages exported anew: their heat maps against Mikata's own, what they carry over, and both judges."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

import mikata
from deepimagej import run_in_deepimagej
from mikata import networks, packaging
from mikata.architecture import Classifier, SelfExplaining
from mikata.errors import NetworkError, OutputError, PackageError, ParameterError
from mikata.explanation import heat_maps
from mikata.packaging import compiled, exporting, formula_image, weights
from mikata.packaging.checks import examine_package
from mikata.packaging.pages import sections
from mikata.types import SILENT
from packages import CLASSES, Untrained


def sure(network: str = "small_cnn", **changes: Any) -> Untrained:
    """A network with random weights that are the same every time, with scores, and heat, as large as trained ones'."""
    torch.manual_seed(3)
    values = changes.pop("target", None)
    channels = changes.get("channels", 1)
    size = changes.get("size", (64, 64))
    classifier = Classifier(
        network, 1 if values else len(CLASSES), channels, [110.0] * channels, [50.0] * channels,
        size if changes.get("fit") == "resize" else None, **({"target": values, "unit": "mm"} if values else {}),
    )  # fmt: skip
    with torch.no_grad():
        for module in classifier.modules():
            last = module.out_features if isinstance(module, torch.nn.Linear) else 0
            if last == classifier.configuration["classes"]:
                module.weight.mul_(300)
                if values:
                    module.weight.abs_()  # so that something raises the value
    return Untrained(classifier.eval(), **({"classes": ()} if values else {}), **changes)


def write(folder: Path, source: Untrained, **words: Any) -> Path:
    words = {"name": "織物 Textures", "test_image": formula_image(source)} | words
    return packaging.write(folder, source, **words)


def export(package: Path, out: Path, **asked: Any) -> packaging.Exported:
    return packaging.export(package, out, progress=SILENT, **asked)


def difference(package: Path, images: list[torch.Tensor]) -> float:
    """Between the package's TorchScript and `heat_maps`, as a share of the largest heat; probabilities as they are."""
    model = networks.read_package(package)
    script = torch.jit.load(package / "weights_torchscript.pt")
    away = top = 0.0
    for x in images:
        with torch.inference_mode():
            outputs, maps = script(x)
            expected = model.classifier(x)
            scaled = model.classifier.normalise(model.classifier.scale(x))
        own = heat_maps(model.classifier.network, scaled, "all")
        heat = F.interpolate(own.grid, x.shape[-2:], mode="bilinear", align_corners=False)
        if x.shape == scaled.shape:
            assert torch.equal(heat, own.maps)
        assert outputs.shape == expected.shape
        assert float((outputs - expected).abs().max()) < 1e-4
        assert maps.shape == heat.shape
        away, top = max(away, float((maps - heat).abs().max())), max(top, float(heat.max()))
    assert top > 1e-3
    return away / top


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("山田 太郎 (test)") / "parent",
        sure(),
        description="Tells three textures.",
        authors=("山田 太郎", "A. Person"),
        licence="CC-BY-4.0",
        data="Photographs, CC0.",
        tags=("texture",),
        parent="affable-shark",
    )


@pytest.fixture(scope="module")
def explained(parent: Path) -> packaging.Exported:
    return export(parent, parent.with_name("説明 explained"), explain=True)


@pytest.fixture(scope="module")
def resizing(parent: Path) -> packaging.Exported:
    source = sure(fit="resize", size=(48, 80), channels=3)
    return export(write(parent.with_name("resize"), source), parent.with_name("resized"), explain=True)


# ---- the maps


def test_the_maps_are_mikatas_on_other_images(explained: packaging.Exported) -> None:
    assert (explained.layer, explained.dynamic, explained.size) == ("features", False, (64, 64))
    torch.manual_seed(9)
    images = [torch.rand(1, 1, 64, 64) * 255, torch.rand(1, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3) * 255]  # fmt: skip
    assert difference(explained.folder, images) < 1e-4


def test_a_network_that_scales_gives_maps_at_the_size_of_any_image(resizing: packaging.Exported) -> None:
    assert resizing.dynamic
    torch.manual_seed(9)
    images = [torch.rand(1, 3, *size) * 255 for size in ((48, 80), (100, 131), (33, 40))]
    assert difference(resizing.folder, images) < 1e-4
    described = yaml.safe_load((resizing.folder / "rdf.yaml").read_text(encoding="utf-8"))
    sizes = [axis["size"] for axis in described["outputs"][1]["axes"][2:]]
    assert [size["axis_id"] for size in sizes] == ["y", "x"]
    assert {size["tensor_id"] for size in sizes} == {"input"}


def test_several_networks_in_one(tmp_path: Path) -> None:
    package = write(tmp_path / "p", sure("2 x small_cnn"))
    made = export(package, tmp_path / "out", explain=True)
    assert made.layer == "members.*.1.features"
    torch.manual_seed(9)
    assert difference(made.folder, [torch.rand(1, 1, 64, 64) * 255]) < 1e-4


def test_a_value_has_one_map(tmp_path: Path) -> None:
    package = write(tmp_path / "p", sure(target=(50.0, 10.0)))
    made = export(package, tmp_path / "out", explain=True)
    described = yaml.safe_load((made.folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [output["id"] for output in described["outputs"]] == ["value", "heat_maps"]
    assert described["outputs"][1]["axes"][1]["channel_names"] == ["value"]
    assert np.load(made.folder / "test_maps.npy").shape == (1, 1, 64, 64)


def test_a_size_of_ones_own(parent: Path, tmp_path: Path) -> None:
    made = export(parent, tmp_path / "p", explain=True, size_px=(72, 100))
    assert made.size == (72, 100)
    assert difference(made.folder, [torch.rand(1, 1, 72, 100) * 255]) < 1e-4
    assert np.load(made.folder / "test_maps.npy").shape == (1, 3, 72, 100)
    # for Python the network takes what it always took
    assert networks.read_package(made.folder).size == (64, 64)


NETWORKS = (
    "resnet18", "squeezenet1_1", "alexnet", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "googlenet",
    "timm:convnext_atto", "timm:vit_tiny_patch16_224",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, "vgg16", "convnext_tiny", "vit_b_32", "swin_t"])
def test_architectures(name: str) -> None:
    side = 224 if "vit" in name else 64
    classifier = weights.on_cpu(sure(name, channels=3).classifier)
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 255
    explaining, layer = compiled.self_explaining(classifier, x)
    data = compiled.explaining_torchscript(explaining, layer, x)
    assert compiled.largest_difference(data, explaining, layer, compiled.others_like(x, 3)) < 1e-4
    assert len(data) < 1.2 * len(weights.state_dict_bytes(classifier)) + 500_000


def test_the_network_for_python_gives_the_same_and_is_left_as_it_was() -> None:
    classifier = sure().classifier
    x = torch.from_numpy(formula_image(sure()))[None]
    explaining, layer = compiled.self_explaining(weights.on_cpu(classifier), x)
    again = SelfExplaining(**explaining.reading, **classifier.configuration).eval()
    again.load_state_dict(classifier.state_dict())  # the classifier's own weights
    own = heat_maps(classifier.network, classifier.normalise(x), "all", layer=layer)
    for context in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with context():
            outputs, maps = again(x.clone())
        assert torch.allclose(outputs, classifier(x), atol=1e-6)
        assert float((maps - own.maps).abs().max()) < 1e-5 * float(own.maps.max())
    assert not any(module._forward_hooks for module in again.modules())
    assert all(parameter.grad is None for parameter in again.parameters())
    two = torch.cat([x, x.flip(-1)])  # of Python it takes several images at once
    assert torch.allclose(again(two)[1], torch.cat([again(one[None])[1] for one in two]), atol=1e-5)


# ---- what is in the package


def test_it_is_described_for_deepimagej(explained: packaging.Exported) -> None:
    described = yaml.safe_load((explained.folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert described["format_version"] == "0.5.10"
    assert (described["documentation"], described["covers"]) == ("README.md", ["cover.png"])
    assert [output["id"] for output in described["outputs"]] == ["probabilities", "heat_maps"]
    assert set(described["weights"]) == {"torchscript", "pytorch_state_dict"}
    maps = described["outputs"][1]["axes"]
    assert maps[1]["channel_names"] == list(CLASSES)
    assert [axis["size"] for axis in maps[2:]] == [64, 64]
    assert described["inputs"][0]["axes"][0].get("size") == 1


def test_what_the_package_said_is_carried_over(parent: Path, explained: packaging.Exported) -> None:
    old, new = (
        yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
        for folder in (parent, explained.folder)
    )
    for key in ("name", "description", "authors", "license", "parent", "tags"):
        assert new[key] == old[key], key
    for name in ("cover.png", "weights_state_dict.pt", "test_input.npy"):
        assert (explained.folder / name).read_bytes() == (parent / name).read_bytes(), name
    records = [json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in (parent, explained.folder)]  # fmt: skip
    export = records[1].pop("export")
    assert records[0] == records[1]
    assert export["heat_maps"]["layer"] == "features"
    assert export["weights_sha256_of_the_package"] == networks.read_package(parent).weights_sha256
    texts = [(folder / "README.md").read_text(encoding="utf-8") for folder in (parent, explained.folder)]
    names = ("Validation", "Data", "How it was trained")
    assert sections(texts[0], names) == sections(texts[1], names)
    assert set(sections(texts[0], names)) == set(names)
    for words in (
        "## Heat maps",
        "the result is two images",
        "IMAGE_heat_maps.tif",
        "exactly 64 x 64 px",
        "`features`",
    ):
        assert words in texts[1]
        assert words not in texts[0]


def test_mikata_reads_it_again(parent: Path, explained: packaging.Exported) -> None:
    for path in (explained.folder, explained.archive):
        model = networks.read_package(path)
        x = torch.from_numpy(np.load(parent / "test_input.npy"))
        with torch.inference_mode():
            expected = networks.read_package(parent).classifier(x)
            assert torch.equal(model.classifier(x), expected)
        assert np.allclose(np.load(explained.folder / "test_output.npy"), expected.numpy(), atol=1e-6)
    assert explained.archive.stat().st_size < 5_000_000


def test_other_authors_and_licence_and_from_a_zip(parent: Path, tmp_path: Path) -> None:
    zipped = packaging.zip_package(parent, tmp_path / "p.zip")
    result = mikata.export_package(
        model=zipped, out=tmp_path / "out", authors="B. Person; ", licence="MIT", progress=SILENT
    )
    assert "passes its own test" in result.message
    assert "exactly" not in result.message
    assert result.files == (tmp_path / "out", tmp_path / "out.zip")
    described = yaml.safe_load((tmp_path / "out" / "rdf.yaml").read_text(encoding="utf-8"))
    assert described["license"] == "MIT"
    assert [author["name"] for author in described["authors"]] == ["B. Person"]
    assert [output["id"] for output in described["outputs"]] == ["probabilities"]
    assert described["inputs"][0]["axes"][2]["size"] == {"min": 64, "step": 1}


def test_for_the_zoo(parent: Path, tmp_path: Path) -> None:
    made = export(parent, tmp_path / "p", reader="zoo")
    described = yaml.safe_load((made.folder / "rdf.yaml").read_text(encoding="utf-8"))
    newest = version("bioimageio.spec").rpartition(".")[0]
    assert described["format_version"] == newest
    assert set(described["weights"]) == {"onnx", "torchscript", "pytorch_state_dict"}
    assert made.onnx == ""
    assert {one.weights for one in made.checked.formats} == {"onnx", "torchscript", "pytorch_state_dict"}


def test_for_the_zoo_without_the_programs_of_onnx(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mikata.packaging.onnx.find_spec", lambda _: None)
    made = export(parent, tmp_path / "p", reader="zoo")
    assert "onnx and onnxruntime, which are not installed here" in made.onnx
    described = yaml.safe_load((made.folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert set(described["weights"]) == {"torchscript", "pytorch_state_dict"}


def test_without_words_and_without_a_test_input(parent: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(parent, tmp_path / "bare"))
    for name in ("README.md", "cover.png", "test_input.npy"):
        (bare / name).unlink()
    made = export(bare, tmp_path / "out", explain=True)
    assert "tells no figures" in (made.folder / "README.md").read_text(encoding="utf-8")


# ---- refusals


def test_a_network_that_cannot_be_followed(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = mikata.architecture.SmallCNN.forward

    def deciding(self: Any, x: torch.Tensor) -> torch.Tensor:
        return forward(self, x) if float(x.detach().mean()) < 1e9 else x

    monkeypatch.setattr(mikata.architecture.SmallCNN, "forward", deciding)
    with pytest.raises(NetworkError, match=r"heat maps of small_cnn cannot be compiled.*without heat maps"):
        export(parent, tmp_path / "p", explain=True)
    assert list(tmp_path.iterdir()) == []


def test_maps_that_are_others(parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_grid = SelfExplaining.on_grid

    def off(self: SelfExplaining, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, heat = on_grid(self, x)
        return outputs, heat * 1.001

    monkeypatch.setattr(SelfExplaining, "on_grid", off)
    with pytest.raises(NetworkError, match=r"other heat maps as TorchScript \(difference 0\.001"):
        export(parent, tmp_path / "p", explain=True)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_heat(tmp_path: Path) -> None:
    source = sure()
    with torch.no_grad():
        source.classifier.network.classifier.weight.zero_()
    package = write(tmp_path / "p", source)
    with pytest.raises(PackageError, match="no heat for anything in its test image"):
        export(package, tmp_path / "out", explain=True)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_what_fails_its_own_test_is_not_written(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = exporting._files

    def spoilt(*given: Any) -> dict[str, bytes]:
        made = files(*given)
        buffer = io.BytesIO()
        np.save(buffer, np.load(io.BytesIO(made["test_maps.npy"])) + 1)
        return made | {"test_maps.npy": buffer.getvalue()}

    monkeypatch.setattr(exporting, "_files", spoilt)
    with pytest.raises(PackageError, match="does not pass its own test, so it was not written"):
        export(parent, tmp_path / "p", explain=True)
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_do_not_fit(parent: Path, resizing: packaging.Exported, tmp_path: Path) -> None:
    for size in ((32, 100), (100, 0)):
        with pytest.raises(ParameterError, match="at least 64 x 64 px"):
            export(parent, tmp_path / "p", explain=True, size_px=size)
    for package, explain in ((resizing.folder, True), (parent, False)):
        with pytest.raises(ParameterError, match="leave them at 0"):
            export(package, tmp_path / "p", explain=explain, size_px=(100, 100))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(parent: Path, explained: packaging.Exported, tmp_path: Path) -> None:
    before = (explained.folder / "rdf.yaml").read_bytes()
    with pytest.raises(OutputError, match="already a package"):
        export(parent, explained.folder)
    with pytest.raises(OutputError, match="is the package that is to be exported"):
        export(parent, parent, overwrite=True)
    assert (explained.folder / "rdf.yaml").read_bytes() == before
    (tmp_path / "p.zip").write_bytes(b"precious")
    with pytest.raises(OutputError, match="already there"):
        export(parent, tmp_path / "p")
    with pytest.raises(OutputError, match="is the package that is to be exported"):
        export(tmp_path / "p.zip", tmp_path / "p", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["p.zip"]


@pytest.mark.parametrize("failing", ["zip", 1, 2, 3, 4])
def test_folder_and_zip_come_together_or_not_at_all(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Any
) -> None:
    made = export(parent, tmp_path / "p")
    (made.archive).write_bytes(b"the zip of before")
    (made.folder / "README.md").write_bytes(b"the page of before")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    original, moved = Path.replace, []

    def full(self: Path, target: Any) -> Any:
        moved.append(self)
        if len(moved) == failing:
            raise OSError(28, "No space left on device")
        return original(self, target)

    def cut(folder: Path, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    if failing == "zip":
        monkeypatch.setattr(exporting, "zip_files", cut)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        export(parent, tmp_path / "p", overwrite=True)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "p.zip"]
    if failing == "zip":
        monkeypatch.setattr(exporting, "zip_files", cut)
        with pytest.raises(OutputError, match="No space left"):
            export(parent, tmp_path / "new" / "q")
        assert list((tmp_path / "new").iterdir()) == []
        monkeypatch.undo()
    export(parent, tmp_path / "p", overwrite=True)
    assert zipfile.is_zipfile(made.archive)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "new") == ["p", "p.zip"]


@pytest.mark.parametrize("content", [b"nothing", "shape", "nan"])
def test_a_damaged_test_input(parent: Path, tmp_path: Path, content: Any) -> None:
    broken = Path(shutil.copytree(parent, tmp_path / "broken"))
    if isinstance(content, bytes):
        (broken / "test_input.npy").write_bytes(content)
    else:
        np.save(broken / "test_input.npy", np.full((1, 1 + (content == "shape"), 64, 64), np.nan, np.float32))
    with pytest.raises(PackageError, match=r"test_input\.npy is damaged"):
        export(broken, tmp_path / "out", explain=True)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_bad_words(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no SPDX name"):
        export(parent, tmp_path / "p", licence="my own")
    with pytest.raises(PackageError, match="There is no package"):
        export(tmp_path / "nothing", tmp_path / "p")


@pytest.mark.parametrize(
    "arguments", [{"arrangement": "rows"}, {"layers": ["nowhere"]}], ids=["arrangement", "layer"]
)
def test_a_wrong_layer_is_known_at_once(arguments: dict[str, Any]) -> None:
    reading: dict[str, Any] = {
        "layers": ["features"],
        "arrangement": "channels first",
        "grid": [8, 8],
        "prefix": 0,
    }
    with pytest.raises((ValueError, AttributeError)):
        SelfExplaining(**(reading | arguments), **sure().classifier.configuration)


# ---- judges


def test_bioimageio_passes_both_formats(explained: packaging.Exported) -> None:
    for path in (explained.folder, explained.archive):
        report = packaging.check(path)
        assert report.passed, report.problems
        assert [one.weights for one in report.formats] == ["pytorch_state_dict", "torchscript"]
    assert dataclasses.replace(report, path=explained.checked.path) == explained.checked


def test_check_package_finds_nothing_against_it(explained: packaging.Exported) -> None:
    found = examine_package(explained.folder, "both", progress=SILENT)
    assert found.failed == ()
    ran = {finding.point for finding in found.findings if finding.status == "passed"}
    assert {"test torchscript", "test pytorch_state_dict", "formats"} <= ran
    outputs = {difference.output for difference in found.differences}
    assert len(outputs) == 2, "the heat maps were not compared"


def test_check_package_says_where_the_maps_cannot_be_rebuilt(
    explained: packaging.Exported, tmp_path: Path
) -> None:
    folder = shutil.copytree(explained.folder, tmp_path / "changed")
    text = (folder / "rdf.yaml").read_text(encoding="utf-8")
    assert "- features\n" in text
    (folder / "rdf.yaml").write_text(text.replace("- features\n", "- nowhere\n"), encoding="utf-8")
    findings = {
        finding.point: finding for finding in examine_package(folder, "zoo", progress=SILENT).findings
    }
    finding = findings["test pytorch_state_dict"]
    assert finding.status == "not applicable"
    assert finding.what.startswith("Not run: its network with heat maps cannot be rebuilt (")


@pytest.mark.slow
@pytest.mark.shared
def test_deepimagej_gives_the_maps(shared: Path, explained: packaging.Exported) -> None:
    run_in_deepimagej(shared, explained.archive)


@pytest.mark.slow
@pytest.mark.shared
def test_deepimagej_gives_maps_of_any_size(shared: Path, resizing: packaging.Exported) -> None:
    run_in_deepimagej(shared, resizing.archive)
