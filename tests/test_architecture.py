"""The networks themselves, as they are copied into packages."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch
from torchvision import models

import mikata.architecture
from mikata.architecture import Classifier, SmallCNN, first_convolution
from mikata.networks import head

# The wider regnets are the same class as the smallest two, and cannot be built without their weights in
# memory: they compute their widths with tensors, which torch's data-less device does not do.
TORCHVISION = [
    name
    for name in models.list_models(module=models)
    if not name.startswith("regnet") or name.endswith("_400mf")
]


def test_the_file_needs_torch_torchvision_timm_and_smp_only():
    tree = ast.parse(Path(mikata.architecture.__file__).read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {
        "torch",
        "torchvision",
        "timm",
        "segmentation_models_pytorch",
    }


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_torchvision_network_takes_channels_and_classes(name):
    device = "cpu" if name.startswith("regnet") else "meta"
    with torch.device(device):
        classifier = Classifier(name, classes=13, channels=2, mean=[0, 0], std=[1, 1]).eval()
    seen = []
    first = classifier.network.get_submodule(first_convolution(classifier.network))
    first.register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    last = classifier.network.get_submodule(head(classifier.network))
    assert getattr(last, "out_features", None) == 13 or getattr(last, "out_channels", None) == 13
    side = 75 if name == "inception_v3" else 224
    with torch.no_grad():
        result = classifier(torch.zeros(1, 2, side, side, device=device))
    assert tuple(result.shape) == (1, 13)
    assert [tuple(shape) for shape in seen] == [(1, 2, side, side)]


def test_layers_keep_torchvisions_names():
    ours = Classifier("resnet18", 5, 1, [0.0], [1.0]).network
    theirs = models.resnet18(weights=None, num_classes=5)
    assert [key for key, _ in ours.named_modules()] == [key for key, _ in theirs.named_modules()]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 64), (257, 300)])
def test_small_cnn_takes_any_size(height, width):
    classifier = Classifier("small_cnn", 4, 3, [1, 2, 3], [4, 5, 6]).eval()
    x = torch.rand(2, 3, height, width)
    probabilities = classifier(x)
    assert probabilities.shape == (2, 4)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    features = classifier.network.features(classifier.normalise(x))
    assert tuple(features.shape) == (2, 96, height // 8, width // 8)


def test_small_cnn_is_small_and_sees_50_px():
    network = SmallCNN(4, 1).eval()
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert size < 600_000
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.01)  # all positive: no activation hides a pixel
    # a maximum passes one pixel's gradient only, a mean the gradient of all that it sees
    for index, layer in enumerate(network.features):
        if isinstance(layer, torch.nn.MaxPool2d):
            network.features[index] = torch.nn.AvgPool2d(2)
    x = torch.rand(1, 1, 160, 160).requires_grad_()
    network.features(x)[0, 0, 10, 10].backward()
    rows = torch.nonzero(x.grad[0, 0].sum(1)).flatten()
    assert int(rows.max() - rows.min()) + 1 == 50


def test_normalisation_is_per_channel():
    x = torch.tensor([904.0, -1000.0]).reshape(1, 2, 1, 1)
    normalise = Classifier("small_cnn", 2, 2, [4.0, -1000.0], [300.0, 7.0]).normalise
    assert normalise(x).flatten().tolist() == [3.0, 0.0]


def test_the_configuration_makes_the_same_network():
    one = Classifier("small_cnn", 3, 1, [10], [2]).eval()
    two = Classifier(**one.configuration).eval()
    two.load_state_dict(one.state_dict())
    x = torch.rand(1, 1, 40, 40)
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense", 2, 1, [0], [1]), "no network named nonsense"),
        (("get_model", 2, 1, [0], [1]), "no network"),
        (("_api", 2, 1, [0], [1]), "no network"),
        (("ResNet", 2, 1, [0], [1]), "no network"),
        (("resnet", 2, 1, [0], [1]), "no network"),
        (("small_cnn", 1, 1, [0], [1]), "at least 2 classes"),
        (("small_cnn", 2, 0, [], []), "at least 1 channel"),
        (("small_cnn", 2, 1, [0, 0], [1]), "numbers each"),
        (("small_cnn", 2, 1, [0], [0]), "above 0"),
        (("small_cnn", 2, 1, [float("nan")], [1]), "finite"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        Classifier(*arguments)
