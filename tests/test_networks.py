"""Networks by name, their weights, and images made into what they take."""

from __future__ import annotations

import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from mikata import networks
from mikata.errors import ImageError, NetworkError, PackageError
from mikata.networks import InputSpec, build, to_input

ONE = {"classes": 2, "channels": 1, "mean": [100.0], "std": [50.0]}


class Bomb:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# ---- building


def test_names_start_with_ours_and_hold_torchvisions():
    assert networks.names()[0] == "small_cnn"
    assert {"resnet18", "vgg16", "alexnet", "vit_b_16"} < set(networks.names())


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("resnet19", {}, "Did you mean resnet18"),
        ("xyz", {}, "small_cnn"),
        ("resnet18", {"classes": 1}, "at least 2 classes"),
        ("resnet18", {"mean": None}, "needs mean and std"),
        ("resnet18", {"mean": None, "std": None}, "needs mean and std"),
        ("resnet18", {"std": [0.0]}, "above 0"),
        ("resnet18", {"weights": "coco"}, "none, imagenet, or the path"),
        ("small_cnn", {"weights": "imagenet"}, "no ImageNet weights"),
        ("resnet18", {"weights": Path("nowhere.pt")}, "nowhere.pt do not exist"),
    ],
)
def test_build_refuses(name, changes, words):
    with pytest.raises(NetworkError, match=words):
        build(name, **(ONE | changes))


@pytest.mark.parametrize(("name", "side"), [("small_cnn", 64), ("resnet18", 224), ("inception_v3", 299)])
def test_input_size(name, side):
    assert networks.input_size(name) == side


@pytest.mark.parametrize(
    ("name", "size", "good"),
    [
        ("small_cnn", (32, 32), True),
        ("small_cnn", (7, 64), False),
        ("alexnet", (64, 64), True),
        ("alexnet", (32, 32), False),
        ("vit_b_32", (224, 224), True),
        ("vit_b_32", (64, 64), False),
    ],
)
def test_check_size(name, size, good):
    classifier = build(name, **ONE).train()
    if good:
        networks.check_size(classifier, size)
    else:
        with pytest.raises(NetworkError, match=f"{size[1]} x {size[0]} px.*choose this size"):
            networks.check_size(classifier, size)
    assert classifier.training


# ---- ImageNet weights


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of weights, and no network."""

    def offline(url, *args, **kwargs):
        raise urllib.error.URLError("no internet")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub 山田"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_imagenet_without_internet_says_what_to_bring(hub):
    name = Path(models.ResNet18_Weights.DEFAULT.url).name
    with pytest.raises(NetworkError) as caught:
        build("resnet18", classes=2, channels=3, weights="imagenet")
    assert name in str(caught.value)
    assert str(hub) in str(caught.value)
    assert "no internet" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_damaged_imagenet_weights(hub, content):
    (hub / Path(models.ResNet18_Weights.DEFAULT.url).name).write_bytes(content)
    with pytest.raises(NetworkError, match="damaged"):
        build("resnet18", classes=2, channels=3, weights="imagenet")


def test_code_in_the_cache_is_not_run(hub, tmp_path):
    trace = tmp_path / "it ran"
    torch.save({"fc.weight": Bomb(trace)}, hub / Path(models.ResNet18_Weights.DEFAULT.url).name)
    with pytest.raises(NetworkError, match="damaged"):
        build("resnet18", classes=2, channels=3, weights="imagenet")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_imagenet_weights_with_auxiliary_heads(hub, name):
    original = models.get_model(name, weights=None, init_weights=True).eval()
    torch.save(original.state_dict(), hub / Path(models.get_model_weights(name).DEFAULT.url).name)
    classifier = build(name, classes=2, channels=3, weights="imagenet")
    assert torch.equal(next(classifier.network.parameters()), next(original.parameters()))


def test_imagenet_on_a_grey_image_equals_three_equal_channels(hub):
    original = models.resnet18(weights=None).eval()
    torch.save(original.state_dict(), hub / Path(models.ResNet18_Weights.DEFAULT.url).name)
    grey = torch.rand(1, 1, 64, 64)
    expected = original(grey.expand(-1, 3, -1, -1))
    for channels in (1, 3, 5):
        classifier = build("resnet18", classes=1000, channels=channels, weights="imagenet")
        got = classifier.network(grey.expand(-1, channels, -1, -1))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    smaller = build("resnet18", classes=7, channels=3, weights="imagenet")
    assert smaller.network.fc.weight.shape == (7, 512)
    assert torch.equal(smaller.network.layer4[0].conv1.weight, original.layer4[0].conv1.weight)
    assert smaller.configuration["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert smaller.configuration["std"] == pytest.approx([58.395, 57.12, 57.375])


# ---- weights from a file


def test_state_dict_of_the_same_network(hard_path):
    first = build("small_cnn", **ONE)
    torch.save(first.state_dict(), hard_path / "weights.pt")
    second = build("small_cnn", classes=2, channels=1, weights=hard_path / "weights.pt")
    assert second.configuration == first.configuration  # the normalisation came along
    x = torch.rand(1, 1, 40, 40) * 255
    assert torch.equal(first(x), second(x))


def test_another_head_keeps_the_rest(tmp_path):
    first = build("small_cnn", **ONE)
    torch.save({"state_dict": first.network.state_dict()}, tmp_path / "weights.pth")
    second = build("small_cnn", **(ONE | {"classes": 5}), weights=tmp_path / "weights.pth")
    assert second.network.classifier.out_features == 5
    assert torch.equal(first.network.features[0].weight, second.network.features[0].weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("features.0.weight"), "features.0.weight missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra unknown"),
        (
            lambda state: state.update({"features.0.weight": torch.zeros(16, 2, 3, 3)}),
            r"features.0.weight \(16, 2, 3, 3\) instead of \(16, 1, 3, 3\)",
        ),
        (
            lambda state: state.update({"features.4.weight": torch.zeros(16, 3, 3, 3)}),
            r"features.4.weight \(16, 3, 3, 3\) instead of \(32, 16, 3, 3\)",
        ),
        (lambda state: state.update(words="text"), "not a state dict"),
        (lambda state: state.clear(), "not a state dict"),
    ],
)
def test_state_dicts_that_do_not_fit(tmp_path, change, words):
    state = dict(build("small_cnn", **ONE).network.state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(NetworkError, match=words):
        build("small_cnn", **ONE, weights=tmp_path / "w.pt")


def test_weights_of_another_network_show_a_few_names_only(tmp_path):
    torch.save(models.alexnet().state_dict(), tmp_path / "w.pt")
    with pytest.raises(NetworkError, match=r"do not fit small_cnn: .* and \d+ more missing"):
        build("small_cnn", **ONE, weights=tmp_path / "w.pt")


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_weights_file_is_not_run(tmp_path, how):
    trace, file = tmp_path / "it ran", tmp_path / "w.pt"
    if how == "torch":
        torch.save({"a": Bomb(trace)}, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(trace), protocol=2))
    with pytest.raises(NetworkError, match="damaged, or holds more than named tensors"):
        networks.read_state(file)
    assert not trace.exists()


def test_weights_that_are_a_folder_without_a_package(tmp_path):
    with pytest.raises(PackageError, match=r"rdf\.yaml is missing"):
        build("small_cnn", **ONE, weights=tmp_path)


# ---- images


def spec(**changes):
    return InputSpec(**({"channels": 1, "size": (8, 8), "fit": "resize", "value_range": (0, 255)} | changes))


def image(channels=1, height=8, width=8):
    values = np.arange(channels * height * width, dtype=np.float32).reshape(channels, height, width)
    return values % 251


def test_equal_size_is_left_as_it_is():
    assert np.array_equal(to_input(image(), spec(), name="a").numpy(), image())


def test_resize_keeps_means_and_averages_when_smaller():
    stripes = np.tile(np.float32([0, 200]), (1, 64, 32))  # a stripe of a px: must not alias
    x = to_input(stripes, spec(size=(16, 16)), name="a")
    assert x.shape == (1, 16, 16)
    assert float(x[:, :, 2:-2].sub(100).abs().max()) < 4
    bigger = to_input(image(), spec(size=(31, 17)), name="a")
    assert bigger.shape == (1, 31, 17)
    assert bigger.min() >= 0
    assert bigger.max() <= 250


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(3, 5, (8, 8)), (8, 8, (8, 8)), (20, 5, (20, 8)), (1, 2, (8, 8))]
)
def test_native_keeps_pixels_and_mirrors_what_is_missing(height, width, expected):
    values = image(1, height, width)
    x = to_input(values, spec(fit="native"), name="a").numpy()
    assert x.shape[1:] == expected
    assert np.array_equal(x[:, :height, :width], values)
    assert np.array_equal(
        x,
        np.pad(
            values,
            [(0, 0)] + [(0, e - s) for e, s in zip(expected, (height, width), strict=True)],
            mode="reflect",
        ),
    )


def test_grey_becomes_three_channels_and_back():
    three = to_input(image(), spec(channels=3), name="a")
    assert three.shape[0] == 3
    assert torch.equal(three[0], three[2])
    assert torch.equal(to_input(three.numpy(), spec(), name="a"), three[:1])


@pytest.mark.parametrize(
    ("values", "changes", "unit", "words"),
    [
        (image(3), {}, None, "a.tif is in colour"),
        (image(2), {}, None, "2 channels.*with 1"),
        (image(2), {"channels": 3}, None, "2 channels.*with 3"),
        (np.zeros((8, 8), np.float32), {}, None, "shape"),
        (np.zeros((1, 0, 8), np.float32), {}, None, "shape"),
        (np.full((1, 8, 8), 7, np.float32), {}, None, r"constant \(every value is 7\)"),
        (np.where(image() == 3, np.nan, image()), {}, None, "1 of 64 values are not numbers"),
        (np.where(image() == 3, np.inf, image()), {}, None, "1 of 64 values are not numbers"),
        (image(), {"value_unit": "HU"}, "grey", "in grey.*trained on HU"),
        (image(), {}, "HU", "in HU.*trained on grey"),
        (image() + 33000, {"value_unit": "HU", "value_range": (-1024, 3071)}, "HU", "33000 to 33063"),
        (image() * 200, {}, "grey", "trained on 0 to 255"),
        (image() / 64, {}, None, "between 0 and 1.*Multiply"),
    ],
)
def test_images_that_a_network_cannot_have_been_made_for(values, changes, unit, words):
    with pytest.raises(ImageError, match=words) as caught:
        to_input(values, spec(**changes), name="a.tif", unit=unit)
    assert str(caught.value).startswith("a.tif")


def with_hot_pixels():
    values = image(1, 64, 64)
    values[0, :3] = 30000
    return values


@pytest.mark.parametrize(
    ("values", "changes", "unit"),
    [
        (with_hot_pixels(), {}, "grey"),  # metal, dead pixels
        (image() * 1.9, {}, "Gray Value"),  # twice the exposure; ImageJ's word for no unit
        (image() - 1000, {"value_unit": "HU", "value_range": (-1024, 3071)}, " hu "),
        (image() % 2, {}, "grey"),  # a mask
        (image() / 64, {"value_unit": "SUV", "value_range": (0, 30)}, "SUV"),  # a faint PET slice
        (image(), {"value_range": (float("-inf"), float("inf"))}, ""),
        (image(), {"value_range": (100, 900)}, None),
    ],
)
def test_legitimate_images_pass(values, changes, unit):
    assert to_input(values, spec(**changes), name="a.tif", unit=unit).isfinite().all()
