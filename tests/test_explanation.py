"""Heat maps: right against another hand's, and the network left as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision import models

from mikata.architecture import SmallCNN
from mikata.errors import NetworkError
from mikata.explanation import Explanation, heat_maps, layer_names, target_layer

MADE: dict[str, Callable[[int], nn.Module]] = {
    "small_cnn": lambda classes: SmallCNN(classes, 3),
    # the transformers' own classes, with fewer blocks than the published ones
    "vit": lambda classes: models.VisionTransformer(224, 16, 3, 4, 64, 128, num_classes=classes),
    "swin": lambda classes: models.SwinTransformer(
        [4, 4], 24, [2, 2, 2, 2], [1, 2, 4, 8], [7, 7], num_classes=classes
    ),
    "googlenet": lambda classes: models.googlenet(num_classes=classes, init_weights=False, aux_logits=False),
    "inception_v3": lambda classes: models.inception_v3(num_classes=classes, init_weights=False),
}


@functools.lru_cache(maxsize=3)  # more networks at once are too much for a small machine
def network(name: str, classes: int = 10) -> nn.Module:
    torch.manual_seed(3)
    made = MADE.get(name) or functools.partial(getattr(models, name), num_classes=classes)
    result = made(classes) if name in MADE else made()
    if name in ("vit", "swin"):  # a vision transformer starts with a head of zeros, which has no heat
        for module in result.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.02)
    return result.eval()


@functools.cache
def images(count: int = 2, size: tuple[int, int] = (224, 224), channels: int = 3) -> Tensor:
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(1))


def scaled(maps: Tensor | np.ndarray) -> np.ndarray:
    maps = np.asarray(maps, np.float64)
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    return (maps - low) / (high - low)


class Tiny(nn.Module):
    """Convolution, in-place ReLU, pooling, head; what else the tests need is switched on."""

    def __init__(self, classes: int = 3, inplace: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=inplace)
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        self.aside = nn.Conv2d(6, 2, 1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x))
        self.aside(x)
        return self.head(self.drop(self.pool(x).mean((2, 3))))


def tiny(**options: Any) -> Tiny:
    torch.manual_seed(5)
    return Tiny(**options)


small = images(3, (16, 20), 1)


# --- the numbers


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("vgg16", "features.29", (224, 224)),
        ("vgg16", "features.22", (96, 128)),  # an activation: the reference reads 21 after 22 wrote over it
        ("resnet18", "layer4", (224, 224)),
        ("resnet18", "layer2", (96, 128)),
        ("swin", "features.7.1.norm1", (224, 224)),
        ("vit", "encoder.layers.encoder_layer_2.ln_1", (224, 224)),
    ],
)
def test_equals_pytorch_grad_cam(name: str, layer: str, size: tuple[int, int]) -> None:
    """Same layer, random weights, float64, both scaled to 0..1 for each map."""
    reshape: dict[str, Callable[[Tensor], Tensor]] = {
        "swin": lambda x: x.permute(0, 3, 1, 2),
        "vit": lambda x: x[:, 1:].reshape(len(x), 14, 14, -1).permute(0, 3, 1, 2),
    }
    double = network(name).double()
    try:
        batch = images(2, size).double()
        every = heat_maps(double, batch, "all", layer=layer)
        # of each image a class with heat: where there is none, both are black
        targets = [int(k) for k in every.grid.amax((-2, -1)).argmax(1)]
        assert not any(bool(every.empty[n, k]) for n, k in enumerate(targets))
        ours = heat_maps(double, batch, targets, layer=layer)
        assert ours.maps.dtype == torch.float64
        with GradCAM(double, [double.get_submodule(layer)], reshape_transform=reshape.get(name)) as reference:
            theirs = reference(batch, [ClassifierOutputTarget(k) for k in targets])
        np.testing.assert_allclose(scaled(ours.maps), scaled(theirs), atol=1e-4)
    finally:
        double.float()


def test_by_hand() -> None:
    """One linear head over two maps: the mean gradient of class k for map c is w[k, c] / cells."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2, bias=False)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1))
        net[3].weight.copy_(torch.tensor([[3.0, 1.0], [-4.0, 0.0]]))
    x = torch.tensor([[[[1.0, 2.0, 0.0], [-1.0, 0.0, 0.0]]]])
    found = heat_maps(net, x, "all", layer="0")
    torch.testing.assert_close(found.grid[0, 0] * 6, torch.clamp(3 * x[0, 0] - 2 * x[0, 0], min=0))
    torch.testing.assert_close(found.grid[0, 1] * 6, torch.clamp(-4 * x[0, 0], min=0))
    assert found.layer == "0"
    assert found.cell_px == (1.0, 1.0)
    assert torch.equal(found.maps, found.grid)  # grid of the input's size


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "densenet121", "small_cnn"])
def test_all_classes_hold_the_single_ones(name: str) -> None:
    batch = images(2, (96, 128))
    every = heat_maps(network(name), batch, "all")
    assert every.maps.shape == (2, 10, 96, 128)
    assert every.grid.shape[:2] == every.empty.shape == every.zero_gradient.shape == (2, 10)
    assert every.classes == tuple(range(10))
    predicted = heat_maps(network(name), batch)
    assert predicted.classes == tuple(predicted.logits.argmax(1).tolist())
    for targets in (predicted.classes, (4, 9), 7):
        one = heat_maps(network(name), batch, targets)
        assert one.classes == (targets if isinstance(targets, tuple) else (targets, targets))
        for n, k in enumerate(one.classes):
            torch.testing.assert_close(
                one.maps[n], every.maps[n, k], rtol=1e-3, atol=1e-6 * float(every.maps.max())
            )


def test_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many classes are taken in pieces that fit into memory, with the same result."""
    net = tiny(classes=7)
    whole = heat_maps(net, small, "all")
    for budget in (1, 3 * 3 * 6 * 16 * 20 * 4):
        monkeypatch.setattr("mikata.explanation.recording._GRADIENT_BYTES", budget)
        pieces = heat_maps(net, small, "all")
        torch.testing.assert_close(pieces.maps, whole.maps)
        assert torch.equal(pieces.empty, whole.empty)


def test_one_image_at_a_time_is_the_same() -> None:
    whole = heat_maps(network("resnet18"), images(), 3)
    for n in range(2):
        alone = heat_maps(network("resnet18"), images()[n : n + 1], 3)
        torch.testing.assert_close(alone.maps[0], whole.maps[n], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("layer", ["first", "norm", "second", "pool"])
def test_inplace_behind_the_layer(layer: str) -> None:
    """The maps are of the layer's own output, though an in-place ReLU writes over it."""
    safe, unsafe = tiny(inplace=False), tiny(inplace=True)
    assert torch.equal(
        heat_maps(safe, small, 1, layer=layer).maps, heat_maps(unsafe, small, 1, layer=layer).maps
    )


@pytest.mark.parametrize(
    "kind",
    [
        "no_grad",
        "inference_mode",
        "inference tensor",
        "channels last",
        "float64",
        "autocast",
        "requires grad",
    ],
)
def test_wherever_it_is_called(kind: str) -> None:
    expected = heat_maps(tiny(), small, 1).maps
    net, batch = tiny(), small.clone()
    if kind == "no_grad":
        with torch.no_grad():
            found = heat_maps(net, batch, 1)
    elif kind == "inference_mode":
        with torch.inference_mode():
            found = heat_maps(net, batch.clone(), 1)
            assert torch.is_inference_mode_enabled()
    elif kind == "inference tensor":
        with torch.inference_mode():
            batch = batch.clone()
        found = heat_maps(net, batch, 1)
    elif kind == "channels last":
        found = heat_maps(
            net.to(memory_format=torch.channels_last), batch.to(memory_format=torch.channels_last), 1
        )
    elif kind == "float64":
        found = heat_maps(net.double(), batch.double(), 1)
    elif kind == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            found = heat_maps(net, batch, 1)
    else:
        batch.requires_grad_()
        found = heat_maps(net, batch, 1)
        assert batch.grad is None
    assert not found.maps.requires_grad
    assert not found.maps.is_inference()
    tolerance = 0.05 if kind == "autocast" else 1e-5
    torch.testing.assert_close(
        found.maps.float(), expected, rtol=tolerance, atol=tolerance * float(expected.max())
    )


def test_compiled() -> None:
    """A compiled network's plain code is explained: hooks set after compilation would not run."""
    expected = heat_maps(tiny(), small, 1)
    compiled = torch.compile(tiny().eval(), backend="eager")
    compiled(small)
    found = heat_maps(compiled, small, 1)
    torch.testing.assert_close(found.maps, expected.maps)
    assert found.layer == expected.layer == target_layer(compiled, small)
    inside = tiny().eval()
    inside.compile(backend="eager")
    inside(small)
    torch.testing.assert_close(heat_maps(inside, small, 1).maps, expected.maps)


def test_frozen_backbone() -> None:
    """A network may run its own body under `no_grad`: its head is explained all the same."""

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny()

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.net.pool(
                    self.net.relu(self.net.second(self.net.relu(self.net.norm(self.net.first(x)))))
                )
            return self.net.head(x.mean((2, 3)))

    found = heat_maps(Frozen(), small, 1, layer="net.second")
    assert torch.equal(found.maps, heat_maps(tiny(), small, 1, layer="second").maps)
    assert heat_maps(Frozen(), small, 1).layer == "net.second"  # its ReLU is called twice


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["vgg16", "resnet18", "small_cnn"])
def test_cuda(name: str) -> None:
    net = network(name).double()
    try:
        batch = images().double()
        expected = heat_maps(net, batch, "all")
        found = heat_maps(net.cuda(), batch.cuda(), "all")
        assert found.maps.device.type == found.logits.device.type == "cuda"
        torch.testing.assert_close(found.maps.cpu(), expected.maps, rtol=1e-6, atol=1e-9)
        with pytest.raises(NetworkError, match=r"cpu.*cuda"):
            heat_maps(net, batch)
    finally:
        net.cpu().float()


# --- the network is left as found


def state(net: nn.Module) -> list[Any]:
    return [
        [(name, module.training, list(module._forward_hooks), list(module._forward_pre_hooks),
          list(module._backward_hooks), sorted(vars(module)))
         for name, module in net.named_modules()],
        [(name, p.requires_grad, None if p.grad is None else p.grad.clone(), p._version, p.detach().clone())
         for name, p in net.named_parameters()],
        [(name, b.clone()) for name, b in net.named_buffers()],
        torch.is_grad_enabled(),
    ]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("fail", [None, "layer", "target", "forward", "probabilities"])
def test_network_is_left_as_found(fail: str | None, grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny()
    net.train()
    net.norm.eval()  # a mixture of modes, flags, gradients and hooks of the user's own
    net.first.weight.requires_grad_(False)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    calls: list[str] = []
    net.second.register_forward_hook(lambda *_: calls.append("own hook"))
    if fail == "forward":
        monkeypatch.setattr(nn.Linear, "forward", lambda *_: 1 / 0)
    if fail == "probabilities":
        monkeypatch.setattr(nn.Linear, "forward", lambda self, x: torch.softmax(x[:, :3], 1))
    with torch.set_grad_enabled(grad):
        before = state(net)
        if fail is None:
            found = heat_maps(net, small)
            assert torch.equal(found.logits, tiny().eval()(small).detach())  # dropout off, running statistics
        else:
            options: dict[str, Any] = {"layer": {"layer": "relu"}, "target": {"target": 3}}.get(fail, {})
            with pytest.raises((NetworkError, ZeroDivisionError)):
                heat_maps(net, small, **options)
        assert same(before, state(net))
        assert torch.is_grad_enabled() is grad
    assert calls


def test_no_parameter_gradients_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny()
    touched: list[str] = []
    for name, parameter in net.named_parameters():
        parameter.register_hook(lambda g, name=name: touched.append(name))
    heat_maps(net, small, "all")
    assert touched == []


# --- which layer


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("vgg16", "features.29", 14),  # the activation, not the pooled 7 x 7
        ("alexnet", "features.11", 13),
        ("resnet18", "layer4", 7),
        ("vgg11_bn", "features.27", 14),
        ("densenet121", "features", 7),
        ("efficientnet_b0", "features", 7),
        ("mobilenet_v2", "features", 7),
        ("mobilenet_v3_small", "features", 7),
        ("convnext_tiny", "features", 7),
        ("squeezenet1_1", "features", 13),  # its last convolution makes the scores
        ("googlenet", "inception5b", 7),
        ("inception_v3", "Mixed_7c", 5),
        ("shufflenet_v2_x0_5", "conv5", 7),
        ("regnet_y_400mf", "trunk_output", 7),
        ("small_cnn", "features", 28),
        ("vit", "encoder.layers.encoder_layer_2.ln_1", 14),
        ("swin", "features.7.1.norm1", 7),
    ],
)
def test_layer_found_by_itself(name: str, layer: str, grid: int) -> None:
    net = network(name)
    assert target_layer(net, images(1)) == layer
    found = heat_maps(net, images(1))
    assert found.layer == layer
    assert found.grid.shape == (1, grid, grid)
    assert found.cell_px == (224 / grid, 224 / grid)
    names = layer_names(net, images(1))
    assert names[layer] == (grid, grid)


def test_layer_follows_size_and_changes() -> None:
    net = models.resnet18(num_classes=4).eval()
    assert target_layer(net, images(1, (64, 96))) == "layer4"
    assert target_layer(net, images(1, (32, 32))) == "layer3"  # layer4 has one cell left
    assert target_layer(net, images(1, (64, 96))) == "layer4"
    net.layer4 = nn.Conv2d(256, 512, 1, stride=2)
    net.extra = nn.Sequential()
    assert target_layer(net, images(1, (32, 32))) == "layer3"
    assert heat_maps(net, images(1, (64, 96))).cell_px == (32, 32)


def test_a_pooled_map_of_the_same_size_is_not_taken() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d((16, 20)),
        nn.Flatten(),
        nn.Linear(4 * 320, 2),
    )
    assert target_layer(net, small) == "1"


# --- empty maps are said


def test_empty_maps_are_said() -> None:
    net = tiny()
    with torch.no_grad():
        net.head.weight[0] = -1  # what the pooling gives is positive: nothing can speak for class 0
        net.head.weight[1] = 0
        net.head.weight[2] = 1
    found = heat_maps(net, small, "all", layer="pool")
    assert found.empty.tolist() == [[True, True, False]] * 3
    assert found.zero_gradient.tolist() == [[False, True, False]] * 3
    assert float(found.maps[:, :2].max()) == 0
    assert len(found.warnings) == 6
    assert "Image 1 has no heat for class 0: nothing in the layer 'pool' speaks for it." in found.warnings
    assert any("Image 3 has no heat for class 1" in w and "all gradients are 0" in w for w in found.warnings)
    one = heat_maps(net, small, [0, 1, 2], layer="pool")
    assert one.empty.tolist() == [True, True, False]
    assert [w.split(":")[0] for w in one.warnings] == [
        "Image 1 has no heat for class 0",
        "Image 2 has no heat for class 1",
    ]


def test_explanation_is_frozen() -> None:
    found = heat_maps(tiny(), small)
    assert isinstance(found, Explanation)
    with pytest.raises(AttributeError):
        found.layer = "other"  # type: ignore[misc]


# --- bad input


second_bad = small.clone()
second_bad[1, 0, 3, 4] = torch.nan

BAD: list[tuple[str, Callable[[], nn.Module], Any, dict[str, Any], str]] = [
    ("unknown layer", tiny, small, {"layer": "secnd"}, "no layer 'secnd'.*second"),
    ("empty layer", tiny, small, {"layer": ""}, "no layer ''"),
    ("layer without size", tiny, small, {"layer": "head"}, "'head' has no spatial size"),
    ("layer used twice", tiny, small, {"layer": "relu"}, "'relu' is used several times"),
    ("layer not reached", tiny, small, {"layer": "unused"}, "'unused' takes no part"),
    ("layer aside", tiny, small, {"layer": "aside"}, "do not depend on the layer 'aside'"),
    ("target too high", tiny, small, {"target": 3}, "no class 3: the network has 3, numbered 0 to 2"),
    ("target negative", tiny, small, {"target": -1}, "no class -1"),
    ("too few targets", tiny, small, {"target": [0, 1]}, "2 targets for 3 images"),
    ("one bad target", tiny, small, {"target": [0, 1, 5]}, "no class 5"),
    ("target a fraction", tiny, small, {"target": 1.5}, "must be a class number.*1.5"),
    ("target a truth value", tiny, small, {"target": True}, "must be a class number"),
    ("target a word", tiny, small, {"target": "cat"}, "must be a class number.*'cat'"),
    ("unknown method", tiny, small, {"method": "grad-cam"}, r"no method 'grad-cam' \(did you mean 'Grad-CAM'\?\): known are Grad-CAM, "),
    ("no batch", tiny, small[0], {}, r"\(images, channels, height, width\), not \(1, 16, 20\)"),
    ("empty batch", tiny, small[:0], {}, r"not \(0, 1, 16, 20\)"),
    ("an array", tiny, small.numpy(), {}, "not ndarray"),
    ("whole numbers", tiny, small.long(), {}, "floating point values, not torch.int64"),
    ("other precision", tiny, small.double(), {}, "torch.float64, the network of torch.float32"),
    ("NaN", tiny, second_bad, {}, "image 2 of 3"),
    ("infinite", tiny, small * torch.inf, {}, "image 1, 2, 3 of 3"),
    ("softmax", lambda: nn.Sequential(tiny(), nn.Softmax(1)), small, {"layer": "0.pool"}, "probabilities"),
    ("no scores", lambda: nn.Conv2d(1, 3, 3), small, {}, "one score for each class"),
    ("no convolution", lambda: nn.Sequential(nn.Flatten(), nn.Linear(320, 3)), small, {}, "No layer for"),
    ("broken weights", lambda: _broken(), small, {}, "not numbers"),
    ("TorchScript", lambda: torch.jit.trace(tiny().eval(), small), small, {}, "TorchScript"),
    ("made for inference", lambda: _inference(), small, {}, "inference_mode"),
]  # fmt: skip


class Lengths(nn.Module):
    """Scores before softmax that are never below 0: how bright an image is, and half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 3, padding=1)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.bias.zero_()
            self.features.weight[:, 0, 1, 1] = torch.tensor([1.0, 0.5])

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).abs().mean((2, 3))


@pytest.mark.parametrize("method", ["Grad-CAM", "Occlusion", "Integrated-Gradients"])
def test_scores_that_happen_to_look_like_probabilities_are_scores(method: str) -> None:
    bright = torch.full((1, 1, 12, 12), 2 / 3)  # scores of 2/3 and 1/3
    found = heat_maps(Lengths(), bright, method=method)
    assert found.logits.sum() == pytest.approx(1)
    assert found.grid.max() > 0
    for count in (1, 3):  # and true probabilities are refused, of one image too
        layer = "0.features" if method == "Grad-CAM" else None
        with pytest.raises(NetworkError, match="gives probabilities"):
            heat_maps(
                nn.Sequential(Lengths(), nn.Softmax(1)), bright.repeat(count, 1, 1, 1), 0, method, layer
            )


def _broken() -> nn.Module:
    net = tiny()
    nn.init.constant_(net.head.bias, float("nan"))
    return net


def _inference() -> nn.Module:
    with torch.inference_mode():
        return tiny()


@pytest.mark.parametrize(
    ("make", "batch", "options", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(make: Callable[[], nn.Module], batch: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        heat_maps(make(), batch, **options)


def test_large_half_batches_are_not_called_infinite() -> None:
    """A batch whose sum overflows is still finite."""
    net = tiny().to(torch.bfloat16)
    heat_maps(net, torch.full((1, 1, 64, 64), 1e36, dtype=torch.bfloat16))
    with pytest.raises(NetworkError, match="image 1"):
        heat_maps(net, torch.full((1, 1, 64, 64), torch.nan, dtype=torch.bfloat16))
