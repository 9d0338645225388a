"""Packages: written, read back, damaged, and judged by bioimageio.core and by deepImageJ's own code."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image as Picture

from deepimagej import run_in_deepimagej
from mikata import networks, packaging
from mikata.architecture import Classifier
from mikata.errors import ImageError, NetworkError, OutputError, PackageError
from mikata.packaging import FILES, formula_image, weights
from mikata.packaging.description import Words, nickname, title


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training would return."""

    classifier: Classifier
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    fit: Any
    value_unit: str = "grey"
    value_range: tuple[float, float] = (0.0, 255.0)
    grouping: str = "patient-wise"
    notes: Any = "three epochs"
    methods: str = "Trained in three epochs."

    def record(self) -> dict[str, Any]:
        return {"notes": self.notes}


@dataclasses.dataclass(frozen=True)
class Interval:
    low: float = 0.9
    high: float = 0.99
    level: float = 0.95
    method: str = "Wilson"


@dataclasses.dataclass(frozen=True)
class Score:
    value: float = 0.97
    interval: Interval = Interval()
    n: int = 120


@dataclasses.dataclass(frozen=True)
class ClassScores:
    name: str
    recall: Score = Score(float("nan"), n=0)
    precision: Score = Score()


@dataclasses.dataclass(frozen=True)
class Report:
    n: int = 120
    n_patients: int | None = 40
    accuracy: Score = Score()
    balanced_accuracy: Score = Score(0.5)
    per_class: tuple[ClassScores, ...] = (ClassScores("煉瓦 | brick"),)
    notes: tuple[str, ...] = ("Only a few.",)
    references: dict[str, int] = dataclasses.field(default_factory=lambda: {"pathology": 120})

    def record(self) -> dict[str, Any]:
        return {"n": self.n, "accuracy": self.accuracy.value}


def trained(
    network="small_cnn",
    *,
    channels=1,
    size=(64, 64),
    fit="native",
    classes=("煉瓦", "grass (草)", "c"),
    **other,
):
    torch.manual_seed(0)
    mean, std = [120.0] * channels, [60.0] * channels
    classifier = networks.build(
        network, classes=len(classes), channels=channels, mean=mean, std=std,
        size=size if fit == "resize" else None,
    )  # fmt: skip
    return Trained(classifier, tuple(classes), channels, size, fit, **other)


def write(folder, source=None, report=None, **words):
    source = source or trained()
    words = {"name": "Textures", "test_image": formula_image(source)} | words
    return packaging.write(folder, source, report, **words)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """One good package: copy it before changing it."""
    folder = tmp_path_factory.mktemp("packages 山田 (test)") / "織物 textures"
    return write(
        folder,
        report=Report(),
        name="テクスチャ textures",
        description="Tells three textures.",
        authors=("山田 太郎", "A. Person"),
        licence="CC-BY-4.0",
        data="Photographs, CC0.",
        tags=("texture",),
    )


@pytest.fixture
def copied(good, hard_path) -> Path:
    return Path(shutil.copytree(good, hard_path / "package"))


# ---- writing and reading back


def test_a_package_holds_exactly_its_files(good):
    assert sorted(path.name for path in good.iterdir()) == sorted(FILES)
    assert [path.name for path in good.parent.iterdir()] == [good.name]  # nothing left beside it


def test_read_back(good):
    source = trained()
    model = networks.read_package(good)
    assert (model.classes, model.channels, model.size, model.fit) == (source.classes, 1, (64, 64), "native")
    assert (model.value_unit, model.value_range, model.path) == ("grey", (0.0, 255.0), good)
    assert model.record["training"] == {"notes": "three epochs"}
    assert model.record["evaluation"] == {"n": 120, "accuracy": 0.97}
    assert not model.classifier.training
    x = networks.to_input(formula_image(source), model, name="x", unit="grey")[None]
    with torch.inference_mode():
        expected = source.classifier(x).numpy()
        assert np.array_equal(model.classifier(x).numpy(), expected)
    assert np.array_equal(np.load(good / "test_input.npy"), x.numpy())
    assert np.allclose(np.load(good / "test_output.npy"), expected, atol=1e-6)


def test_torchscript_gives_the_same_at_any_size_and_names_no_folder(good):
    model = networks.read_package(good)
    script = torch.jit.load(good / "weights_torchscript.pt")
    for height, width in ((64, 64), (65, 131), (200, 90)):
        x = torch.rand(1, 1, height, width) * 255
        with torch.inference_mode():
            assert float((script(x) - model.classifier(x)).abs().max()) < 1e-5
    here = str(Path(packaging.__file__).parents[2]).encode()
    for name in ("weights_torchscript.pt", "weights_state_dict.pt"):
        with zipfile.ZipFile(good / name) as archive:
            contents = [archive.read(member) for member in archive.namelist()]
        assert not any(here in content or b"site-packages" in content for content in contents)


def test_the_description_is_what_deepimagej_reads(good):
    description = yaml.safe_load((good / "rdf.yaml").read_text(encoding="utf-8"))
    assert description["format_version"] == "0.5.10"
    assert description["documentation"] == "README.md"
    assert description["covers"] == ["cover.png"]
    assert description["name"] == "textures classifier" or description["name"] == "textures"
    assert description["config"]["bioimageio"]["nickname"] == nickname(description["name"])
    assert description["config"]["deepimagej"] == {"allow_tiling": True}
    assert set(description["weights"]) == {"torchscript", "pytorch_state_dict"}
    assert description["outputs"][0]["axes"][1]["channel_names"] == ["煉瓦", "grass (草)", "c"]
    assert description["inputs"][0]["axes"][2]["size"] == {"min": 64, "step": 1}
    assert description["license"] == "CC-BY-4.0"
    assert [author["name"] for author in description["authors"]] == ["山田 太郎", "A. Person"]
    assert "not for diagnosis" in description["description"]
    for entry in description["weights"].values():
        assert hashlib.sha256((good / entry["source"]).read_bytes()).hexdigest() == entry["sha256"]


def test_architecture_is_our_file_and_rebuilds_the_network_alone(good):
    description = yaml.safe_load((good / "rdf.yaml").read_text(encoding="utf-8"))
    kwargs = description["weights"]["pytorch_state_dict"]["architecture"]["kwargs"]
    program = (
        "import sys, json, torch, numpy as np; from architecture import Classifier\n"
        f"c = Classifier(**json.loads({json.dumps(json.dumps(kwargs))})).eval()\n"
        "c.load_state_dict(torch.load('weights_state_dict.pt', weights_only=True))\n"
        "y = c(torch.from_numpy(np.load('test_input.npy'))).detach().numpy()\n"
        "assert np.abs(y - np.load('test_output.npy')).max() < 1e-4\n"
        "assert not any(m.partition('.')[0] == 'mikata' for m in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the package is for the other tests too
    subprocess.run([sys.executable, "-c", program], cwd=good, check=True, env=environment)


def test_pages(good):
    text = (good / "README.md").read_text(encoding="utf-8")
    for words in (
        "# テクスチャ textures",
        "Research use, not for diagnosis.",
        "120 images of 40 patients",
        "split: patient-wise",
        "pathology (120 images)",
        "| Accuracy | 0.970 | 0.900 to 0.990 (95 %, Wilson) | 120 |",
        "| Recall of 煉瓦 \\| brick | not defined | | 0 |",
        "Only a few.",
        "convert to 32-bit first",
        "model_path=[",
        "at least 64 x 64 px",
        "Licence: CC-BY-4.0.",
        "Photographs, CC0.",
    ):
        assert words in text
    with Picture.open(good / "cover.png") as cover:
        assert cover.size == (512, 256)
        assert len(np.unique(np.asarray(cover.convert("L")))) > 50
    assert (good / "cover.png").stat().st_size < 500_000
    sample = tifffile.imread(good / "sample_input.tif")
    assert np.array_equal(sample, np.load(good / "test_input.npy")[0, 0])


def test_without_figures_authors_and_licence(tmp_path):
    folder = write(tmp_path / "p", name="x")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "No figures were measured" in text
    assert "not be given on without asking" in text
    description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert "license" not in description
    assert networks.read_package(folder).record["evaluation"] is None


def test_resize_and_colour(tmp_path):
    source = trained(channels=3, size=(48, 80), fit="resize")
    cover = np.zeros((10, 20, 3), np.uint8)
    folder = write(
        tmp_path / "p", source, test_image=np.random.default_rng(0).integers(0, 256, (3, 99, 70)), cover=cover
    )
    test_input = np.load(folder / "test_input.npy")
    assert test_input.shape == (1, 3, 99, 70)
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(test_input), (48, 80), mode="bilinear", align_corners=False, antialias=True
    )
    by_hand = source.classifier(scaled).detach().numpy()
    traced = torch.jit.load(folder / "weights_torchscript.pt")
    for result in (
        np.load(folder / "test_output.npy"),
        traced(torch.from_numpy(test_input)).detach().numpy(),
    ):
        np.testing.assert_allclose(result, by_hand, rtol=0, atol=1e-5)
    description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [axis["size"] for axis in description["inputs"][0]["axes"][2:]] == [{"min": 16, "step": 1}] * 2
    assert "scales them to 80 x 48 px" in (folder / "README.md").read_text(encoding="utf-8")
    with Picture.open(folder / "cover.png") as picture:
        assert picture.size == (20, 10)


def test_a_network_of_one_size_gets_a_fixed_size(tmp_path):
    # swin's window arithmetic becomes constants in the trace
    source = trained("swin_t", size=(64, 64))
    folder = write(tmp_path / "p", source)
    description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [axis["size"] for axis in description["inputs"][0]["axes"][2:]] == [64, 64]


def test_attention_is_written_in_operations_that_old_engines_have(tmp_path):
    attention = torch.nn.functional.scaled_dot_product_attention
    source = trained("vit_b_32", channels=3, size=(224, 224), fit="resize")
    x = torch.from_numpy(formula_image(source))[None]
    data = weights.torchscript_bytes(source.classifier, x)
    assert torch.nn.functional.scaled_dot_product_attention is attention
    assert torch.backends.mha.get_fastpath_enabled()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    assert b"softmax" in code
    assert b"scaled_dot_product" not in code
    assert b"_native_multi_head" not in code


def test_layers_with_versions_come_back(tmp_path):
    # mnasnet's layers refuse a state dict that does not say its version
    source = trained("mnasnet0_5", size=(64, 64))
    folder = write(tmp_path / "p", source)
    x = torch.from_numpy(np.load(folder / "test_input.npy"))
    for network in (
        networks.read_package(folder).classifier,
        networks.build("mnasnet0_5", classes=3, channels=1, weights=folder),
        networks.build("mnasnet0_5", classes=3, channels=1, weights=folder / "weights_state_dict.pt"),
    ):
        with torch.inference_mode():
            assert np.abs(network(x).numpy() - np.load(folder / "test_output.npy")).max() < 1e-5


def test_the_network_is_left_as_it_was(tmp_path):
    source = trained()
    source.classifier.train()
    write(tmp_path / "p", source)
    assert source.classifier.training
    assert all(parameter.requires_grad for parameter in source.classifier.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value_range", [(0.0, 255.0), (-1024.0, 3071.0), (0.0, 1.0)])
def test_formula_image_lies_in_the_range_and_varies(channels, value_range):
    image = formula_image(trained(channels=channels, value_range=value_range))
    low, high = value_range
    assert image.shape == (channels, 64, 64)
    assert low <= image.min() < low + 0.25 * (high - low)
    assert high - 0.25 * (high - low) < image.max() <= high


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Chest X-ray view (AP/PA)", "Chest X-ray view (AP PA)"),
        ("肺 lung", "lung classifier"),
        ("肺", "resnet18 classifier"),
        ("--", "resnet18 classifier"),
        ("a" * 100, "a" * 64),
    ],
)
def test_names_the_format_allows(name, expected):
    assert title(Words(name), "resnet18") == expected
    assert nickname(expected).replace("-", "").isalnum()


# ---- refusals of the writer


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"licence": "my own"}, PackageError, "license"),
        ({"parent": "a b/../c"}, PackageError, "not valid"),
        ({"description": "x" * 2000}, PackageError, "description"),
        ({"test_image": np.zeros((1, 64, 64), np.float32)}, ImageError, "test image.*constant"),
        ({"test_image": np.zeros((2, 64, 64), np.float32)}, ImageError, "constant|channels"),
        ({"cover": np.zeros((4, 4), np.uint8)}, PackageError, "cover"),
    ],
)
def test_bad_words_leave_nothing(tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        write(tmp_path / "p", **words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("notes", [object(), float("nan")])
def test_a_record_that_is_no_json(tmp_path, notes):
    with pytest.raises(PackageError, match="training record"):
        write(tmp_path / "p", trained(notes=notes))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_changes_when_traced(tmp_path):
    class Fickle(Classifier):
        def forward(self, x):
            return super().forward(x) if torch.jit.is_tracing() else 1 - super().forward(x)

    source = trained()
    fickle = Fickle(**source.classifier.configuration).eval()
    with pytest.raises(NetworkError, match="other probabilities"):
        write(tmp_path / "p", dataclasses.replace(source, classifier=fickle))


def test_an_existing_package_is_replaced_only_on_request(copied):
    before = (copied / "weights_state_dict.pt").read_bytes()
    with pytest.raises(OutputError, match="already a package"):
        write(copied)
    assert (copied / "weights_state_dict.pt").read_bytes() == before
    write(copied, trained(classes=("a", "b")), overwrite=True)
    assert networks.read_package(copied).classes == ("a", "b")
    assert [path.name for path in copied.parent.iterdir()] == ["package"]


def test_what_is_no_package_is_never_replaced(tmp_path, copied):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"precious")
    (tmp_path / "file").write_bytes(b"precious")
    (copied / "my notes.txt").write_text("precious")
    for target in (tmp_path / "photos", tmp_path / "file", copied):
        with pytest.raises(OutputError, match=r"hoose another folder|name of a folder"):
            write(target, overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"precious"
    assert (copied / "my notes.txt").read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "p").mkdir()
    assert networks.read_package(write(tmp_path / "p")).channels == 1


@pytest.mark.parametrize("step", ["write_bytes", "write_text", "replace"])
def test_a_full_disk_leaves_the_old_package(copied, monkeypatch, step):
    original = getattr(Path, step)
    calls = []

    def full(self, *args, **kwargs):
        calls.append(self)
        # replacing: the first moves the old package aside, the second would move the new one in
        if step != "replace" or len(calls) == 2:
            raise OSError(28, "No space left on device")
        return original(self, *args, **kwargs)

    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr(Path, step, full)
    with pytest.raises(OutputError, match="No space left"):
        write(copied, overwrite=True)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == ["package"]


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "p")


# ---- zips


def test_zip_is_flat_and_the_same_each_time(good, hard_path):
    first = packaging.zip_package(good, hard_path / "a.zip").read_bytes()
    second = packaging.zip_package(good, hard_path / "b.zip").read_bytes()
    assert first == second
    with zipfile.ZipFile(hard_path / "a.zip") as archive:
        assert archive.namelist() == list(FILES)
    model = networks.read_package(hard_path / "a.zip")
    assert model.classes == networks.read_package(good).classes
    with pytest.raises(OutputError, match="already there"):
        packaging.zip_package(good, hard_path / "a.zip")
    packaging.zip_package(good, hard_path / "a.zip", overwrite=True)
    assert sorted(path.name for path in hard_path.iterdir()) == ["a.zip", "b.zip"]


def test_an_incomplete_folder_is_not_zipped(copied, tmp_path):
    (copied / "cover.png").unlink()
    with pytest.raises(PackageError, match=r"cover\.png missing"):
        packaging.zip_package(copied, tmp_path / "a.zip")


# ---- damaged, foreign and hostile packages


def edit_json(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is None:
            del record[key]
        else:
            record[key] = value
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")


def edit_configuration(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    edit_json(folder, configuration=record["configuration"] | changes)


def edit_yaml(folder: Path, change: Any) -> None:
    description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    change(description)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def renew_sum(folder: Path, content: bytes) -> None:
    """Put other weights in, with their right checksum."""
    (folder / "weights_state_dict.pt").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_yaml(folder, lambda d: d["weights"]["pytorch_state_dict"].update(sha256=digest))


def other_weights() -> bytes:
    buffer = io.BytesIO()
    torch.save(trained(classes=("a", "b")).classifier.state_dict(), buffer)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"x")
        archive.writestr("archive/data/0", bytes(50 * 2**20))
    return buffer.getvalue()


DAMAGES = {
    "no rdf": (lambda p: (p / "rdf.yaml").unlink(), r"rdf\.yaml is missing"),
    "rdf is no yaml": (lambda p: (p / "rdf.yaml").write_text("a: [1"), r"rdf\.yaml is damaged"),
    "rdf is no utf-8": (lambda p: (p / "rdf.yaml").write_bytes(b"\xff\xfe\x00"), r"rdf\.yaml is damaged"),
    "rdf has a python tag": (
        lambda p: (p / "rdf.yaml").write_text("!!python/object/apply:os.system ['true']"),
        r"rdf\.yaml is damaged",
    ),
    "rdf is huge": (lambda p: (p / "rdf.yaml").write_bytes(b"#" * (2 * 2**20)), r"rdf\.yaml is too large"),
    "a data set": (lambda p: edit_yaml(p, lambda d: d.update(type="dataset")), "does not describe a model"),
    "no state dict": (
        lambda p: edit_yaml(p, lambda d: d["weights"].pop("pytorch_state_dict")),
        "names no pytorch_state_dict",
    ),
    "no checksum": (
        lambda p: edit_yaml(p, lambda d: d["weights"]["pytorch_state_dict"].pop("sha256")),
        "no sha256",
    ),
    "weights elsewhere": (
        lambda p: edit_yaml(p, lambda d: d["weights"]["pytorch_state_dict"].update(source="../w.pt")),
        "must lie at the package's top level",
    ),
    "weights at an address": (
        lambda p: edit_yaml(
            p, lambda d: d["weights"]["pytorch_state_dict"].update(source="https://a.b/w.pt")
        ),
        "must lie at the package's top level",
    ),
    "made by another tool": (
        lambda p: (p / "training.json").unlink(),
        r"made by another tool.*training\.json is missing",
    ),
    "another tool's record": (lambda p: edit_json(p, mikata_format=None), "lacks mikata_format"),
    "a newer Mikata": (lambda p: edit_json(p, mikata_format=2), "newer Mikata.*Update"),
    "no format number": (lambda p: edit_json(p, mikata_format="one"), "unknown mikata_format"),
    "record is no json": (lambda p: (p / "training.json").write_text("{"), r"training\.json is damaged"),
    "record is a list": (lambda p: (p / "training.json").write_text("[]"), "another tool"),
    "record nests without end": (
        lambda p: (p / "training.json").write_text("[" * 100_000),
        r"training\.json is damaged",
    ),
    "no configuration": (lambda p: edit_json(p, configuration=None), "'configuration' is missing or wrong"),
    "foreign network": (
        lambda p: edit_configuration(p, network="os.system"),
        "cannot be rebuilt: there is no",
    ),
    "mean is text": (lambda p: edit_configuration(p, mean=["x"]), "'configuration'"),
    "std is zero": (lambda p: edit_configuration(p, std=[0]), "cannot be rebuilt"),
    "a class too many": (
        lambda p: (edit_configuration(p, classes=4), edit_json(p, classes=["a", "b", "c", "d"])),
        "does not fit the network",
    ),
    "a class without a name": (lambda p: edit_configuration(p, classes=4), "'classes'"),
    "endless classes": (lambda p: edit_configuration(p, classes=10**9), "'classes'"),
    "class names twice": (lambda p: edit_json(p, classes=["a", "a", "b"]), "'classes'"),
    "class names missing": (lambda p: edit_json(p, classes=["a", "b"]), "'classes'"),
    "size is text": (lambda p: edit_json(p, size="64"), "'size'"),
    "size is zero": (lambda p: edit_json(p, size=[0, 64]), "'size'"),
    "unknown fit": (lambda p: edit_json(p, fit="crop"), "'fit'"),
    "unit is a number": (lambda p: edit_json(p, value_unit=3), "'value_unit'"),
    "range reversed": (lambda p: edit_json(p, value_range=[2, 1]), "'value_range'"),
    "no weights": (
        lambda p: (p / "weights_state_dict.pt").unlink(),
        r"weights_state_dict\.pt is missing",
    ),
    "weights cut off": (lambda p: cut(p / "weights_state_dict.pt"), "does not match its checksum"),
    "weights are no weights": (lambda p: renew_sum(p, b"nothing"), "cannot be rebuilt.*damaged"),
    "weights are a bomb": (lambda p: renew_sum(p, bomb()), "refused.*would grow to"),
    "weights of another network": (lambda p: renew_sum(p, other_weights()), "does not fit the network"),
}


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_damaged_and_foreign_packages(copied, case, zipped):
    damage, words = DAMAGES[case]
    damage(copied)
    path = copied
    if zipped:
        path = copied.with_suffix(".zip")
        with zipfile.ZipFile(path, "w") as archive:
            for file in copied.iterdir():
                archive.write(file, file.name)
    with pytest.raises(PackageError, match=words) as caught:
        networks.read_package(path)
    assert str(path) in str(caught.value)


def test_the_architecture_of_a_package_is_never_run(copied):
    trace = copied.parent / "it ran"
    (copied / "architecture.py").write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n1 / 0\n")
    assert networks.read_package(copied).channels == 1
    assert not trace.exists()


def test_nothing_there(hard_path):
    with pytest.raises(PackageError, match="There is no package"):
        networks.read_package(hard_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_zip(hard_path, content):
    (hard_path / "p.zip").write_bytes(content)
    with pytest.raises(PackageError, match=r"is no package|damaged"):
        networks.read_package(hard_path / "p.zip")


def with_member(name: str, content: bytes = b"x", **attributes: Any) -> Any:
    def add(archive: zipfile.ZipFile) -> None:
        member = zipfile.ZipInfo(name)
        member.compress_type = zipfile.ZIP_DEFLATED
        for key, value in attributes.items():
            setattr(member, key, value)
        archive.writestr(member, content)

    return add


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (with_member("../out.txt"), "outside of the package"),
        (with_member("a/../../out.txt"), "outside of the package"),
        (with_member("..\\out.txt"), "outside of the package"),
        (with_member("/etc/out.txt"), "outside of the package"),
        (with_member("C:\\out.txt"), "outside of the package"),
        (with_member("link", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
        (with_member("RDF.YAML"), "two files named"),
        (with_member("bomb", bytes(300 * 2**20)), r"would grow to 300 MB"),
    ],
)
def test_hostile_zips(good, hard_path, add, words):
    path = packaging.zip_package(good, hard_path / "p.zip")
    with zipfile.ZipFile(path, "a") as archive:
        add(archive)
    with pytest.raises(PackageError, match=f"is refused: .*{words}"):
        networks.read_package(path)
    assert [file.name for file in hard_path.iterdir()] == ["p.zip"]


def test_a_zip_with_the_folder_in_it(good, hard_path):
    with zipfile.ZipFile(hard_path / "p.zip", "w") as archive:
        for name in FILES:
            archive.write(good / name, f"folder/{name}")
    with pytest.raises(PackageError, match=r"rdf\.yaml is missing at its top level"):
        networks.read_package(hard_path / "p.zip")


def test_a_zip_with_a_broken_byte(good, hard_path):
    path = packaging.zip_package(good, hard_path / "p.zip")
    data = bytearray(path.read_bytes())
    place = data.index((good / "weights_state_dict.pt").read_bytes()[:200])
    data[place + 5000] ^= 255
    path.write_bytes(data)
    with pytest.raises(PackageError, match=r"weights_state_dict\.pt is damaged"):
        networks.read_package(path)


def test_a_package_gives_weights_for_the_next_training(good):
    model = networks.read_package(good)
    again = networks.build("small_cnn", classes=5, channels=1, weights=good)
    assert again.configuration["mean"] == [120.0]
    assert torch.equal(again.network.features[0].weight, model.classifier.network.features[0].weight)
    with pytest.raises(NetworkError, match="holds a small_cnn, not a resnet18"):
        networks.build("resnet18", classes=5, channels=1, weights=good)


# ---- both judges


def test_bioimageio_passes_every_format(good, hard_path, capfd):
    for path in (good, packaging.zip_package(good, hard_path / "p.zip")):
        report = packaging.check(path)
        assert report.problems == ()
        assert report.passed
        assert [one.weights for one in report.formats] == ["pytorch_state_dict", "torchscript"]
        assert all(one.passed for one in report.formats)
    assert capfd.readouterr() == ("", "")


def test_check_leaves_torch_and_numpy_as_they_were(good):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    torch.use_deterministic_algorithms(True)
    try:
        packaging.check(good)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert (torch.rand(1).item(), np.random.rand()) == expected


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: np.save(p / "test_output.npy", np.float32([[1, 0, 0]])), "test_output.npy|tolerance|sha"),
        (lambda p: cut(p / "weights_torchscript.pt"), "weights_torchscript|sha"),
        (lambda p: (p / "rdf.yaml").write_text("a: [1"), "Error"),
        (lambda p: (p / "rdf.yaml").unlink(), "Error"),
        (lambda p: edit_yaml(p, lambda d: d.pop("outputs")), "outputs"),
    ],
)
def test_check_finds_what_is_wrong(copied, damage, words):
    damage(copied)
    report = packaging.check(copied)
    assert not report.passed
    assert any(re.search(words, problem) for problem in report.problems)


def test_check_finds_wrong_weights_with_right_checksums(copied):
    state = torch.load(copied / "weights_state_dict.pt", weights_only=True)
    state["network.classifier.bias"][0] += 5
    buffer = io.BytesIO()
    torch.save(state, buffer)
    renew_sum(copied, buffer.getvalue())
    report = packaging.check(copied)
    assert [(one.weights, one.passed) for one in report.formats] == [
        ("pytorch_state_dict", False),
        ("torchscript", True),
    ]
    assert report.problems


def test_check_of_nothing(tmp_path):
    with pytest.raises(PackageError, match="no package"):
        packaging.check(tmp_path / "nothing")


def test_both_formats_agree(good):
    x = torch.from_numpy(np.load(good / "test_input.npy"))
    expected = np.load(good / "test_output.npy")
    script = torch.jit.load(good / "weights_torchscript.pt")
    with torch.inference_mode():
        for network in (script, networks.read_package(good).classifier):
            assert np.abs(network(x).numpy() - expected).max() < weights.TOLERANCE


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("case", ["small_cnn", "resnet18"])
def test_deepimagej_imports_and_runs_it(shared, tmp_path, case):
    if case == "small_cnn":
        source = trained()
    else:
        source = trained("resnet18", channels=3, size=(224, 224), fit="resize", classes=("AP", "PA"))
    package = packaging.zip_package(write(tmp_path / case, source, report=Report()), tmp_path / f"{case}.zip")
    run_in_deepimagej(shared, package)
