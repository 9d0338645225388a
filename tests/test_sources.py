"""Sources of weights: timm's, other programs' packages, files with what is stated of them; parts of networks."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from mikata import explanation, networks, packaging
from mikata.architecture import Classifier
from mikata.errors import NetworkError, PackageError
from mikata.networks import build, build_with_fit, read_source, take
from packages import write_package

ONE: dict[str, Any] = {"classes": 2, "channels": 1, "mean": [100.0], "std": [50.0]}
THREE: dict[str, Any] = {"classes": 2, "channels": 3, "mean": [100.0] * 3, "std": [50.0] * 3}


class Bomb:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# ---- timm: names


def test_timm_is_imported_only_for_its_own_names():
    program = (
        "import sys; from mikata import networks\n"
        "networks.names(); networks.build('small_cnn', classes=2, channels=1, mean=[0], std=[1])\n"
        "assert 'timm' not in sys.modules\n"
        "assert 'timm:resnet18' in networks.names('timm:') and 'timm' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet19", "Did you mean timm:resnet1"),
        ("timm:convnxt_tiny", "timm:convnext_tiny"),
        ("timm:resnet18.a9", r"no weights with the tag 'a9'.*a1_in1k"),
        ("timm:hf-hub:someone/else", "no network named"),
        ("timm:local-dir:/tmp", "no network named"),
        ("timm:", "no network named"),
        ("timm:csatv2", "3-channel"),
        ("xyz", "timm:convnext_tiny"),
    ],
)
def test_timm_names_that_are_none(name, words):
    with pytest.raises(NetworkError, match=words):
        build(name, **ONE)


@pytest.mark.parametrize("name", ["hf-hub:someone/else", "resnet18.a9", "resnet18/x", "nonsense"])
def test_the_architecture_alone_refuses_what_timm_would_fetch(name):
    with pytest.raises(ValueError, match="timm"):
        Classifier(f"timm:{name}", 2, 1, [0.0], [1.0])


def test_a_network_of_timms_without_classes():
    with torch.device("meta"), pytest.raises(NetworkError, match="mobilenetv5_300m_enc is no classifier"):
        build("timm:mobilenetv5_300m_enc", **ONE)


# ---- timm: preprocessing and weights


@pytest.mark.parametrize(
    ("name", "mean", "std", "size", "fixed"),
    [
        # as the model cards state them
        ("timm:resnet18.a1_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224), False),
        ("timm:vit_tiny_patch16_224", (0.5,) * 3, (0.5,) * 3, (224, 224), True),
        ("timm:test_resnet.r160_in1k", (0.5,) * 3, (0.5,) * 3, (160, 160), False),
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224), False),
        ("inception_v3", (0.5,) * 3, (0.5,) * 3, (299, 299), False),
        ("vit_b_32", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224), True),
    ],
)
def test_preprocessing_is_the_publishers(name, mean, std, size, fixed):
    found = networks.preprocessing(name)
    assert found.normalisation.mean == pytest.approx([value * 255 for value in mean])
    assert found.normalisation.std == pytest.approx([value * 255 for value in std])
    assert (found.size, found.fixed) == (size, fixed)
    assert found.normalisation.value_range == (0.0, 255.0)
    assert networks.input_size(name) == size[0]
    grey = networks.imagenet_normalisation(name, 1)
    assert grey == (pytest.approx([sum(mean) * 85]), pytest.approx([sum(std) * 85]))


def test_what_is_said_to_be_fixed_is():
    """What is said to take one size only does, and the rest takes others."""
    for name in (
        "resnet18",
        "vit_b_32",
        "swin_t",
        "maxvit_t",
        "timm:vit_tiny_patch16_224",
        "timm:test_resnet",
    ):
        found = networks.preprocessing(name)
        with torch.device("meta"):
            classifier = Classifier(name, 2, 3, [0.0] * 3, [1.0] * 3).eval()
            networks.check_size(classifier, found.size)
            if found.fixed:
                with pytest.raises(NetworkError, match="cannot take"):
                    networks.check_size(classifier, (found.size[0] + 32, found.size[1] + 32))
            else:
                networks.check_size(classifier, (found.size[0] + 32, found.size[1] + 32))


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty folder of checkpoints, and no internet."""

    def offline(*args, **kwargs):
        raise LocalEntryNotFoundError("no internet.\nsecond line")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub 山田"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_timm_weights_without_internet_say_what_to_bring(hub):
    with pytest.raises(NetworkError) as caught:
        build("timm:test_resnet", classes=2, channels=3, weights="imagenet")
    words = str(caught.value)
    address = huggingface_hub.hf_hub_url("timm/test_resnet.r160_in1k", "model.safetensors")
    for part in ("no internet)", "model.safetensors", address, str(hub), "test_resnet.r160_in1k.safetensors"):
        assert part in words
    assert "second line" not in words


def test_timm_weights_without_internet_from_a_plain_address(hub, monkeypatch):
    def offline(url, *args, **kwargs):
        raise OSError("no internet")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(NetworkError, match=r"no internet.*gcvit.*\.pth") as caught:
        build("timm:gcvit_xxtiny", classes=2, channels=3, weights="imagenet")
    assert str(hub) in str(caught.value)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_timm_weights_from_a_copied_file(hub, name):
    torch.manual_seed(3)
    original = timm.create_model(name).eval()
    tag = timm.get_pretrained_cfg(name).tag
    file = hub / f"{name}.{tag}.safetensors"
    save_file(original.state_dict(), file)
    reference = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}).eval()
    height, width = networks.preprocessing(f"timm:{name}").size
    grey = torch.rand(1, 1, height, width)
    expected = reference(grey.expand(-1, 3, -1, -1))
    for channels in (1, 3, 4):
        classifier, fit = build_with_fit(
            f"timm:{name}.{tag}", classes=1000, channels=channels, weights="imagenet"
        )
        got = classifier.network(grey.expand(-1, channels, -1, -1))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert len(fit.exchanged) == (channels != 3)
        assert (
            classifier.configuration["mean"] == networks.imagenet_normalisation(f"timm:{name}", channels)[0]
        )
    source = networks.published(f"timm:{name}")
    assert source.parent() == {
        "name": f"{name}.{tag}", "kind": "timm", "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }  # fmt: skip


def test_code_in_timms_files_is_not_run(hub, tmp_path):
    trace = tmp_path / "it ran"
    torch.save({"conv1.weight": Bomb(trace)}, hub / "test_resnet.r160_in1k.safetensors")
    with pytest.raises(NetworkError, match="more than named tensors"):
        build("timm:test_resnet", classes=2, channels=3, weights="imagenet")
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x10\0\0\0\0\0\0\0{cut off", b"\xff" * 8 + b"{"])
def test_damaged_timm_weights(hub, content):
    (hub / "test_resnet.r160_in1k.safetensors").write_bytes(content)
    with pytest.raises(NetworkError, match=r"test_resnet\.r160_in1k\.safetensors cannot be read"):
        build("timm:test_resnet", classes=2, channels=3, weights="imagenet")


def test_timm_weights_of_another_network(hub):
    save_file(timm.create_model("test_vit").state_dict(), hub / "test_resnet.r160_in1k.safetensors")
    with pytest.raises(NetworkError, match="are not those of timm:test_resnet"):
        build("timm:test_resnet", classes=2, channels=3, weights="imagenet")


def test_a_network_without_published_weights():
    name = next(n for n in timm.list_models() if not timm.get_pretrained_cfg(n).has_weights)
    with pytest.raises(NetworkError, match="no published weights"):
        networks.preprocessing(f"timm:{name}")


# ---- timm: packages


@pytest.mark.parametrize(
    ("name", "size"),
    [("convnext_atto", 64), ("vit_tiny_patch16_224", 224), ("swin_tiny_patch4_window7_224", 224)],
)
def test_timm_networks_as_torchscript(name, size):
    """The trace gives the same probabilities (else it raises), in operations that old engines have."""
    classifier = build(f"timm:{name}", **ONE, size=(size, size))
    data = packaging.weights.torchscript_bytes(classifier, torch.rand(1, 1, size, size) * 255)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        code = b"".join(archive.read(member) for member in archive.namelist() if member.endswith(".py"))
    assert b"scaled_dot_product" not in code


@pytest.mark.parametrize(("name", "size"), [("test_convnext", 64), ("test_vit", 160)])
def test_timm_networks_in_packages(tmp_path, name, size):
    folder = write_package(tmp_path / "p", f"timm:{name}", size=(size, size), fit="resize")
    package = networks.read_package(folder)
    x = torch.from_numpy(np.load(folder / "test_input.npy"))
    with torch.inference_mode():
        assert np.abs(package.classifier(x).numpy() - np.load(folder / "test_output.npy")).max() < 1e-5
    assert "torch, torchvision and timm" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_timm_package_passes_bioimageio(tmp_path):
    folder = write_package(tmp_path / "p", "timm:test_resnet")
    report = packaging.check(folder)
    assert report.passed, report.problems


def test_a_timm_network_is_explained():
    classifier = build("timm:convnext_atto", **ONE)
    found = explanation.heat_maps(classifier.network, torch.rand(1, 1, 64, 64) * 255)
    assert found.maps.shape == (1, 64, 64)


# ---- weights that do not fit exactly


def small_state(**changes: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return dict(build("small_cnn", **(THREE | changes)).network.state_dict())


def fitted(state, **changes):
    classifier = build("small_cnn", **(THREE | changes))
    fit = take(
        classifier.network,
        state,
        channels=classifier.configuration["channels"],
        source="w.pt",
        name="small_cnn",
    )
    return classifier.network, fit


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "network.", "backbone.", "encoder.", "module.model.backbone."]
)
def test_one_common_prefix_is_stripped(prefix):
    state = small_state()
    network, fit = fitted({prefix + key: value for key, value in state.items()})
    assert fit.prefix == prefix
    assert set(fit.taken) == set(state)
    assert (fit.exchanged, fit.not_taken) == ((), ())
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("head", ["head.weight", "fc.weight", "head.fc.bias", "heads.head.weight"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_head_under_another_name_is_listed(head, prefix):
    state = {prefix + key: value for key, value in small_state().items() if not key.startswith("classifier.")}
    network, fit = fitted(state | {prefix + head: torch.zeros(9, 96)})
    assert [key for key, _ in fit.not_taken] == [prefix + head]
    assert dict(fit.exchanged) == dict.fromkeys(
        ("classifier.bias", "classifier.weight"), "not in the weights: starts from random weights"
    )
    assert torch.equal(network.features[0].weight, state[f"{prefix}features.0.weight"])


def test_what_lies_beside_the_network_is_listed():
    state = {f"backbone.{key}": value for key, value in small_state().items()}
    _, fit = fitted(state | {"projector.0.weight": torch.zeros(3, 3)})
    assert fit.not_taken == (("projector.0.weight", "belongs to another part than the network"),)
    assert fit.record() == {
        "taken": len(state), "exchanged": {}, "prefix": "backbone.",
        "not_taken": {"projector.0.weight": "belongs to another part than the network"},
    }  # fmt: skip
    assert "projector.0.weight" in fit.sentence()


def test_two_networks_in_one_file():
    state = small_state()
    both = {f"{side}.{key}": value for key, value in state.items() for side in ("student", "teacher")}
    with pytest.raises(NetworkError, match=r"more than one small_cnn \(student\.\*, teacher\.\*\)"):
        fitted(both)


def test_another_number_of_classes_and_a_new_head():
    state = small_state()
    network, fit = fitted(state, classes=5)
    assert dict(fit.exchanged)["classifier.weight"].startswith("another number of classes")
    assert network.classifier.out_features == 5
    classifier = build("small_cnn", **THREE)
    before = classifier.network.classifier.weight.clone()
    fit = take(classifier.network, state, channels=3, source="w", name="small_cnn", new_head=True)
    assert dict(fit.exchanged)["classifier.bias"].startswith("a new head was asked for")
    assert torch.equal(classifier.network.classifier.weight, before)
    assert torch.equal(classifier.network.features[0].weight, state["features.0.weight"])


def test_counters_of_old_files_may_be_missing():
    state = {key: value for key, value in small_state().items() if "num_batches" not in key}
    _, fit = fitted(state)
    assert len(fit.exchanged) == 6
    assert all(key.endswith("num_batches_tracked") for key, _ in fit.exchanged)


@pytest.mark.parametrize(("own", "wanted"), [(3, 1), (1, 3), (3, 2), (1, 4), (3, 5)])
def test_a_grey_image_gives_the_same_response(own, wanted):
    normal = {"mean": [100.0] * own, "std": [50.0] * own}
    state = small_state(channels=own, **normal)
    original = build("small_cnn", classes=2, channels=own, **normal)
    original.network.load_state_dict(state)
    network, fit = fitted(state, channels=wanted, mean=[0.0] * wanted, std=[1.0] * wanted)
    assert f"from {own} to {wanted} channels" in dict(fit.exchanged)["features.0.weight"]
    grey = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        expected = original.network.eval()(grey.expand(-1, own, -1, -1))
        got = network(grey.expand(-1, wanted, -1, -1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_pixels_folded_into_channels_first():
    original = timm.create_model("tresnet_m", num_classes=2).eval()
    grey = build("timm:tresnet_m", **ONE)
    take(grey.network, original.state_dict(), channels=1, source="w", name="timm:tresnet_m")
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey.network(x), original(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)


def test_the_normalisation_goes_along(tmp_path):
    colour = build("small_cnn", classes=2, channels=3, mean=[90.0, 120.0, 150.0], std=[40.0, 50.0, 60.0])
    torch.save(colour.state_dict(), tmp_path / "w.pt")
    grey = build("small_cnn", classes=2, channels=1, weights=tmp_path / "w.pt")
    assert (grey.configuration["mean"], grey.configuration["std"]) == (
        pytest.approx([120]),
        pytest.approx([50]),
    )
    two = build("small_cnn", classes=2, channels=2, mean=[90.0, 120.0], std=[40.0, 50.0])
    torch.save(two.state_dict(), tmp_path / "two.pt")
    with pytest.raises(NetworkError, match="2 channels, but the images have 1"):
        build("small_cnn", classes=2, channels=1, weights=tmp_path / "two.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_failed_training(tmp_path, value):
    state = small_state()
    state["features.0.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(NetworkError, match=r"no numbers .* in features\.0\.weight"):
        read_source(tmp_path / "w.pt")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_checkpoints_of_training_programs(tmp_path, wrapper):
    state = {f"model.{key}": value for key, value in small_state().items()}
    torch.save({wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "w.ckpt")
    _, fit = build_with_fit("small_cnn", **THREE, weights=tmp_path / "w.ckpt")
    assert fit.prefix == "model."


# ---- files


def test_safetensors(hard_path):
    first = build("small_cnn", **ONE)
    save_file(first.state_dict(), hard_path / "w.safetensors")
    second = build("small_cnn", classes=2, channels=1, weights=hard_path / "w.safetensors")
    x = torch.rand(1, 1, 40, 40) * 255
    assert torch.equal(first(x), second(x))


@pytest.mark.parametrize("name", ["small_cnn", "timm:test_convnext"])
def test_tensors_of_torchscript(tmp_path, name):
    classifier = build(name, **THREE)
    data = packaging.weights.torchscript_bytes(classifier, torch.rand(1, 3, 64, 64) * 255)
    (tmp_path / "w.pt").write_bytes(data)
    state = networks.read_state(tmp_path / "w.pt")
    own = classifier.state_dict()
    assert own.keys() <= state.keys()
    assert all(torch.equal(own[key], state[key]) for key in own)
    assert (
        build(name, classes=2, channels=3, weights=tmp_path / "w.pt").configuration
        == classifier.configuration
    )


class Malign(nn.Module):
    """TorchScript that writes a file as soon as it is loaded with ``torch.jit.load``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight = state[0]
        self.training = state[1]
        torch.save(torch.zeros(3), "it ran.pt")

    def forward(self, x):
        return x


def test_code_in_torchscript_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(Malign()), "w.pt")
    with pytest.raises(NetworkError, match="not a state dict"):
        networks.read_state(tmp_path / "w.pt")
    assert not (tmp_path / "it ran.pt").exists()
    torch.jit.load("w.pt")
    assert (tmp_path / "it ran.pt").exists()  # so the file would have done it


def replaced(file: Path, end: str, content: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, content if name.endswith(end) else data)


@pytest.mark.parametrize(
    ("end", "content"),
    [
        ("data.pkl", b"cos\nsystem\n(S'touch ran'\ntR."),
        ("data.pkl", b"c__torch__\nX\n."),
        ("data.pkl", b"\x80\x02]."),
        ("data.pkl", b""),
        ("data/0", b"short"),
        ("byteorder", b"big"),
    ],
)
def test_damaged_torchscript(tmp_path, end, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with torch.no_grad():
        traced = torch.jit.trace(build("small_cnn", **ONE), torch.rand(1, 1, 64, 64))
    torch.jit.save(traced, "w.pt")
    replaced(Path("w.pt"), end, content)
    with pytest.raises(NetworkError, match="damaged, or holds more"):
        networks.read_state(Path("w.pt"))
    assert not Path("ran").exists()


# ---- what a user states beside a file


@pytest.fixture
def plain(hard_path) -> Path:
    torch.save(small_state(), hard_path / "w.pt")
    return hard_path / "w.pt"


def test_weights_that_say_nothing_explain_how_to_state_it(plain):
    with pytest.raises(NetworkError) as caught:
        build("small_cnn", classes=2, channels=3, weights=plain)
    for part in (str(plain), "w.pt.toml", "mean = [", "std = [", 'normalisation = "data" or "imagenet"'):
        assert part in str(caught.value)
    assert build("small_cnn", **THREE, weights=plain).configuration["mean"] == [100.0] * 3


@pytest.mark.parametrize(
    ("text", "channels", "mean", "std"),
    [
        ("mean = [1.0, 2.0, 3.0]\nstd = [4, 5, 6]\n", 3, [1, 2, 3], [4, 5, 6]),
        ("mean = [1.0, 2.0, 3.0]\nstd = [4, 5, 6]\nchannels = 3\n", 1, [2], [5]),
        (
            "\ufeffmean = 127.5\nstd = 127.5\nsource = '論文'\nsize = [224, 200]\n",
            3,
            [127.5] * 3,
            [127.5] * 3,
        ),
        ("mean = 7\nstd = 5\nchannels = 3", 3, [7] * 3, [5] * 3),
    ],
)
def test_stated_normalisation(plain, text, channels, mean, std):
    plain.with_name("w.pt.toml").write_text(text, encoding="utf-8")
    classifier = build("small_cnn", classes=2, channels=channels, weights=plain)
    assert (classifier.configuration["mean"], classifier.configuration["std"]) == (mean, std)
    source = read_source(plain)
    assert source.stated_source == ("論文" if "論文" in text else "")
    assert source.size == ((224, 200) if "size" in text else None)
    assert source.parent()["sha256"] == hashlib.sha256(plain.read_bytes()).hexdigest()
    kept = build("small_cnn", **THREE, weights=plain, keep_normalisation=True)
    assert kept.configuration["mean"] != [100.0] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean = [1, 2, 3]", "go together"),
        ("men = [1]", "did you mean 'mean'"),
        ("zzz = 1", "known are mean"),
        ("mean = [1, 2, 3]\nstd = [1, 2]", "mean has 3 numbers and std 2"),
        ("mean = [1, 2, 3]\nstd = [1, 0, 3]", "std must be above 0"),
        ("mean = [1, 2, 3]\nstd = [1, 2, 3]\nchannels = 1", "each of the 1 channels"),
        ("mean = 'x'\nstd = 1", "mean must be a number"),
        ("mean = nan\nstd = 1", "mean must be a number"),
        ("mean = []\nstd = []", "mean must be a number"),
        ("size = 224", "size must be"),
        ("channels = 0", "channels must be"),
        ("source = 1", "source must be"),
        ("mean = [", "not valid TOML"),
    ],
)
def test_stated_wrongly(plain, text, words):
    plain.with_name("w.pt.toml").write_text(text, encoding="utf-8")
    with pytest.raises(NetworkError, match=words) as caught:
        read_source(plain)
    assert "w.pt.toml" in str(caught.value)


def test_a_statement_that_contradicts_the_file(tmp_path):
    torch.save(
        build("small_cnn", classes=2, channels=1, mean=[123.7], std=[58.4]).state_dict(), tmp_path / "w.pt"
    )
    beside = tmp_path / "w.pt.toml"
    beside.write_text("mean = 123.7\nstd = 58.4")
    assert read_source(tmp_path / "w.pt").normalisation.mean == pytest.approx([123.7])
    beside.write_text("mean = 100\nstd = 58.4")
    with pytest.raises(NetworkError, match="hold another normalisation"):
        read_source(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("own", "unit", "value_range", "good"),
    [
        (("grey", (0.0, 255.0)), "grey", (0.0, 255.0), True),
        (("grey", (0.0, 255.0)), "HU", (-1024.0, 3071.0), False),
        (("grey", (0.0, 255.0)), "grey", (0.0, 4095.0), False),
        (("", (0.0, 1.0)), "grey", (0.0, 255.0), False),
        (("", None), "grey", (0.0, 4095.0), True),
        (("HU", None), "HU", (-1024.0, 3071.0), True),
    ],
)
def test_values_that_a_normalisation_is_not_for(own, unit, value_range, good):
    normalisation = networks.Normalisation((1.0,), (2.0,), *own)
    if good:
        normalisation.refuse_other_values(unit, value_range, "w.pt")
    else:
        with pytest.raises(NetworkError, match=r'w\.pt is for values.*normalisation = "data"'):
            normalisation.refuse_other_values(unit, value_range, "w.pt")


# ---- packages of other programs

STEP = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 3.0, "std": 2.0}}


def description(**changes: Any) -> dict[str, Any]:
    """A 0.5 description as other programs write it, of a network for colours."""
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": "Another's",
        "id": "affable-shark",
        "version": "1.2",
        "inputs": [
            {
                "id": "input",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["r", "g", "b"]},
                    {"type": "space", "id": "y", "size": 64},
                    {"type": "space", "id": "x", "size": 80},
                ],
                "data": {"type": "uint8"},
                "preprocessing": [STEP],
            }
        ],
        "weights": {"pytorch_state_dict": {"source": "weights.pt"}},
    } | changes


def old_description(**changes: Any) -> dict[str, Any]:
    """The same in format 0.4."""
    return {
        "format_version": "0.4.10",
        "type": "model",
        "name": "Another's",
        "config": {"bioimageio": {"nickname": "affable-shark"}},
        "inputs": [
            {
                "name": "input",
                "axes": "bcyx",
                "shape": [1, 3, 64, 80],
                "data_type": "uint8",
                "preprocessing": [
                    {
                        "name": "zero_mean_unit_variance",
                        "kwargs": {"mode": "fixed", "axes": "xy", "mean": [1.0, 2.0, 3.0], "std": [4, 5, 6]},
                    }
                ],
            }
        ],
        "weights": {"pytorch_state_dict": {"source": "./weights.pt"}},
    } | changes


def with_steps(make, *steps):
    found = make()
    found["inputs"][0]["preprocessing"] = list(steps)
    return found


def made(folder: Path, found: dict[str, Any], *, file: str = "weights.pt", rdf: str = "rdf.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).parent.mkdir(exist_ok=True)
    torch.save(small_state(), folder / file)
    (folder / rdf).write_text(yaml.safe_dump(found, allow_unicode=True), encoding="utf-8")
    return folder


@pytest.mark.parametrize("make", [description, old_description])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("rdf", ["rdf.yaml", "bioimageio.yaml"])
def test_a_foreign_package(hard_path, make, zipped, rdf):
    path = made(hard_path / "p", make(), rdf=rdf)
    sha256 = hashlib.sha256((path / "weights.pt").read_bytes()).hexdigest()
    if zipped:
        with zipfile.ZipFile(hard_path / "p.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, file.name)
        path = hard_path / "p.zip"
    source = read_source(path)
    assert source.parent() == {
        "name": "Another's", "kind": "foreign package", "sha256": sha256, "id": "affable-shark",
    } | ({"version": "1.2"} if make is description else {})  # fmt: skip
    assert source.size == (64, 80)
    assert source.normalisation.value_range == (0.0, 255.0)
    expected = ((3.0,) * 3, (2.0,) * 3) if make is description else ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert (source.normalisation.mean, source.normalisation.std) == (
        pytest.approx(expected[0]), pytest.approx(expected[1]),
    )  # fmt: skip
    classifier = build("small_cnn", classes=2, channels=3, weights=path)
    assert classifier.configuration["mean"] == pytest.approx(list(expected[0]))
    assert torch.equal(classifier.network.features[0].weight, small_state()["features.0.weight"])


@pytest.mark.parametrize(
    "steps",
    [
        [{"id": "scale_linear", "kwargs": {"gain": 1 / 255, "offset": -0.5}}],
        [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
        [],
        [
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
            {"id": "scale_linear", "kwargs": {"gain": [0.1, 0.2, 0.3], "offset": 1.5, "axis": "channel"}},
            {
                "id": "fixed_zero_mean_unit_variance",
                "kwargs": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "axis": "channel"},
            },
            {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": -1.0}},
        ],
    ],
)
def test_steps_are_those_of_bioimageio(tmp_path, steps):
    """The preprocessing of bioimageio.core on the same values, against our mean and standard deviation."""
    from bioimageio.core import Tensor as CoreTensor
    from bioimageio.core import proc_ops
    from bioimageio.core.sample import Sample
    from bioimageio.spec.model import v0_5

    values = np.random.default_rng(0).uniform(0, 255, (1, 3, 4, 5)).astype(np.float32)
    ident = v0_5.TensorId("input")
    sample = Sample(members={ident: CoreTensor(values, dims=("batch", "channel", "y", "x"))}, stat={}, id="s")
    kinds: dict[str, Any] = {
        "scale_linear": (v0_5.ScaleLinearDescr, proc_ops.ScaleLinear),
        "ensure_dtype": (v0_5.EnsureDtypeDescr, proc_ops.EnsureDtype),
        "fixed_zero_mean_unit_variance": (
            v0_5.FixedZeroMeanUnitVarianceDescr, proc_ops.FixedZeroMeanUnitVariance,
        ),
    }  # fmt: skip
    for step in steps:
        described, operator = kinds[step["id"]]
        operator.from_proc_descr(described.model_validate(step), ident)(sample)
    expected = np.asarray(sample.members[ident].data)
    found = read_source(made(tmp_path / "p", with_steps(description, *steps))).normalisation
    mean, std = (np.float32(v).reshape(1, 3, 1, 1) for v in (found.mean, found.std))
    np.testing.assert_allclose((values - mean) / std, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (with_steps(description, {"id": "zero_mean_unit_variance"}), "zero_mean_unit_variance"),
        (with_steps(description, {"id": "scale_range", "kwargs": {"min_percentile": 1}}), "scale_range"),
        (with_steps(description, {"id": "clip", "kwargs": {"min": 0, "max": 1}}), "clip"),
        (with_steps(description, {"id": "scale_linear", "kwargs": {"gain": -1.0}}), "by 0 or less"),
        (with_steps(description, {"id": "scale_linear", "kwargs": {"gain": [1, 2], "axis": "y"}}), r"\(y\)"),
        (
            with_steps(description, {"id": "scale_linear", "kwargs": {"gain": [1, 2], "axis": "channel"}}),
            "2 channels of 3",
        ),
        (with_steps(description, STEP, {"id": "ensure_dtype", "kwargs": {"dtype": "uint8"}}), "ensure_dtype"),
        (
            with_steps(description, {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 1}}),
            "fixed_zero",
        ),
        (with_steps(description, "nonsense"), "None"),
        (
            with_steps(
                old_description,
                {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "xy"}},
            ),
            r"zero_mean_unit_variance \(per_sample\)",
        ),
        (description(inputs=[{}, {}]), "2 inputs"),
    ],
)
def test_preprocessings_that_a_network_cannot_hold(tmp_path, found, words):
    path = made(tmp_path / "p", found)
    with pytest.raises(NetworkError, match=rf'{words}.*normalisation = "data" or "imagenet"'):
        build("small_cnn", classes=2, channels=3, weights=path)
    # with a normalisation of one's own the weights are as good as any
    assert build("small_cnn", **THREE, weights=path).configuration["mean"] == [100.0] * 3


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (description(format_version="0.3.6"), "format 0.3.6: packages of BioImage.IO 0.4 and 0.5"),
        (description(weights={"onnx": {"source": "w.onnx"}}), "as onnx only"),
        (description(weights={}), "can be read"),
        (description(weights={"pytorch_state_dict": {}}), "gives the weights no file"),
        (description(weights={"pytorch_state_dict": {"source": "../w.pt"}}), "outside of the package"),
        (description(weights={"pytorch_state_dict": {"source": "/etc/passwd"}}), "outside of the package"),
        (description(weights={"pytorch_state_dict": {"source": "C:\\w.pt"}}), "outside of the package"),
        (description(weights={"pytorch_state_dict": {"source": "https://a.b/w.pt"}}), "only their address"),
        (description(weights={"pytorch_state_dict": {"source": "none.pt"}}), r"none\.pt is missing"),
        (
            description(weights={"pytorch_state_dict": {"source": "weights.pt", "sha256": "0" * 64}}),
            "does not match its checksum",
        ),
        (description(type="dataset"), "does not describe a model"),
    ],
)
def test_foreign_packages_that_are_refused(tmp_path, found, words):
    with pytest.raises(PackageError, match=words):
        read_source(made(tmp_path / "p", found))


def test_a_link_out_of_a_foreign_package(tmp_path):
    path = made(tmp_path / "p", description())
    (path / "weights.pt").rename(tmp_path / "elsewhere.pt")
    (path / "weights.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(PackageError, match="outside of the package"):
        read_source(path)


def test_code_in_a_foreign_package_is_not_run(tmp_path):
    path = made(tmp_path / "p", description())
    torch.save({"a": Bomb(tmp_path / "it ran")}, path / "weights.pt")
    with pytest.raises(PackageError, match="more than named tensors"):
        read_source(path)
    assert not (tmp_path / "it ran").exists()


def test_weights_in_a_folder_of_a_foreign_package(tmp_path):
    found = description(weights={"pytorch_state_dict": {"source": "deep/weights.pt"}})
    path = made(tmp_path / "p", found, file="deep/weights.pt")
    assert read_source(path).state.keys() == small_state().keys()


def test_torchscript_of_a_foreign_package(tmp_path):
    path = made(tmp_path / "p", description(weights={"torchscript": {"source": "weights.pt"}}))
    network = build("small_cnn", **THREE).network
    torch.jit.save(torch.jit.trace(network, torch.rand(1, 3, 64, 64)), path / "weights.pt")
    classifier = build("small_cnn", classes=2, channels=3, weights=path)
    assert torch.equal(classifier.network.features[0].weight, network.features[0].weight)


def test_our_packages_with_and_without_their_record(tmp_path):
    folder = write_package(tmp_path / "p")
    package = networks.read_package(folder)
    ours = read_source(folder)
    assert (ours.kind, ours.network, ours.sha256) == ("package", "small_cnn", package.weights_sha256)
    assert ours.normalisation.mean == (110.0,)
    (folder / "training.json").unlink()
    without = read_source(folder)
    assert without.kind == "foreign package"
    assert (without.normalisation.mean, without.normalisation.std) == ((110.0,), (50.0,))
    for source in (ours, without):
        classifier, fit = build_with_fit("small_cnn", classes=3, channels=1, weights=source)
        assert fit.not_taken == ()
        x = torch.rand(1, 1, 64, 64) * 255
        assert torch.equal(classifier(x), package.classifier(x))
    with pytest.raises(NetworkError, match="holds a small_cnn, not a resnet18"):
        build("resnet18", classes=3, channels=1, weights=ours)


def test_a_network_that_normalises_by_itself_in_other_words(tmp_path):
    path = made(tmp_path / "p", with_steps(description))
    torch.save(small_state() | {"prepare.pixel_mean": torch.zeros(3)}, path / "weights.pt")
    assert "prepare.pixel_mean" in read_source(path).no_normalisation


# ---- parts of networks

PARTS = [
    "small_cnn", "resnet18", "vgg16", "alexnet", "densenet121", "mobilenet_v3_small", "efficientnet_b0",
    "convnext_tiny", "vit_b_16", "swin_t", "inception_v3", "googlenet", "timm:convnext_atto",
    "timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:efficientnet_b0", "timm:coat_tiny",
]  # fmt: skip


def on_meta(name: str) -> Classifier:
    with torch.device("meta"):
        return Classifier(name, 5, 2, [0.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize("name", PARTS)
def test_blocks_hold_every_parameter_once_and_the_head_last(name):
    classifier = on_meta(name).train()
    classifier.network.get_submodule(networks.head(classifier.network)).eval()
    modes = [module.training for module in classifier.modules()]
    found = networks.blocks(classifier)
    ids = [id(parameter) for _, parameters in found for parameter in parameters]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in classifier.parameters()}
    names = [block for block, _ in found]
    assert len(set(names)) == len(names)
    assert 5 <= len(names) <= 20
    assert names[-1] == "head"
    last = classifier.network.get_submodule(networks.head(classifier.network))
    assert {id(p) for p in found[-1][1]} == {id(p) for p in last.parameters()}
    assert [module.training for module in classifier.modules()] == modes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4", "head"]),
        ("alexnet", [*(f"features.{i}" for i in (0, 3, 6, 8, 10)), "classifier.1", "classifier.4", "head"]),
        ("vit_b_16", ["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in range(12)), "head"]),
        ("timm:convnext_atto", ["stem", *(f"stages.{i}" for i in range(4)), "head"]),
        ("timm:vit_tiny_patch16_224", ["patch_embed", *(f"blocks.{i}" for i in range(12)), "head"]),
        # registered in another order than that in which they are run
        (
            "timm:coat_tiny",
            [f"{part}{i}" for i in range(1, 5) for part in ("patch_embed", "serial_blocks")]
            + ["parallel_blocks", "aggregate", "head"],
        ),
    ],
)
def test_blocks_go_from_input_to_output(name, expected):
    assert [block for block, _ in networks.blocks(on_meta(name))] == expected


def test_tokens_and_normalisations_have_a_block():
    classifier = on_meta("vit_b_16")
    blocks = dict(networks.blocks(classifier))
    network = classifier.network
    first, last = blocks["conv_proj"], blocks["encoder.layers.encoder_layer_11"]
    assert any(p is network.class_token for p in first)
    assert any(p is network.encoder.pos_embedding for p in first)
    assert any(p is network.encoder.ln.weight for p in last)


def test_blocks_of_something_else():
    with pytest.raises(NetworkError, match="order of the network's blocks"):
        networks.blocks(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    with pytest.raises(NetworkError, match="no head"):
        networks.blocks(nn.ReLU())


@pytest.mark.parametrize("name", PARTS)
def test_features_are_what_the_head_sees(name):
    classifier = on_meta(name).eval()
    side = max(networks.input_size(name), 75)
    found = networks.features(classifier)
    with torch.no_grad():
        seen = found(torch.zeros(3, 2, side, side, device="meta"))
    assert tuple(seen.shape) == (3, found.width)


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet_v3_small", "timm:test_vit", "timm:test_convnext"])
def test_the_head_of_features_gives_the_scores(name):
    classifier = build(name, **ONE)
    found = networks.features(classifier)
    side = networks.input_size(name)
    x = torch.rand(2, 1, side, side) * 255
    layer = classifier.network.get_submodule(networks.head(classifier.network))
    assert torch.equal(layer(found(x)), classifier.logits(x))
    found(x).sum().backward()  # it can be trained
    first = next(classifier.network.parameters())
    assert first.grad is not None
    assert not layer._forward_pre_hooks
    assert {id(p) for p in found.parameters()} == {id(p) for p in classifier.parameters()}


def test_features_of_a_convolutional_head():
    classifier = build("squeezenet1_1", **ONE)
    x = torch.rand(2, 1, 64, 64) * 255
    expected = classifier.network.features(classifier.normalise(x)).mean((2, 3))
    torch.testing.assert_close(networks.features(classifier)(x), expected)


def test_two_heads_have_no_features():
    classifier = on_meta("timm:deit_tiny_distilled_patch16_224")
    assert networks.heads(classifier.network) == ("head", "head_dist")
    with pytest.raises(NetworkError, match="has 2 heads"):
        networks.features(classifier)


def test_both_heads_are_exchanged():
    torch.manual_seed(0)
    original = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=7)
    classifier = build("timm:deit_tiny_distilled_patch16_224", **THREE)
    fit = take(classifier.network, original.state_dict(), channels=3, source="w", name="deit")
    assert sorted(key for key, _ in fit.exchanged) == [
        "head.bias",
        "head.weight",
        "head_dist.bias",
        "head_dist.weight",
    ]


def test_torchvision_weights_have_a_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / Path(models.SqueezeNet1_1_Weights.DEFAULT.url).name
    torch.save(models.squeezenet1_1().state_dict(), file)
    source = networks.published("squeezenet1_1")
    assert source.parent()["name"] == "squeezenet1_1 IMAGENET1K_V1"
    assert source.parent()["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
