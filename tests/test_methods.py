"""The methods of heat maps: each equal to another hand's, on convolutions and transformers; the odd networks."""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import pytorch_grad_cam
import timm
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, Occlusion
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import (
    get_2d_projection,
    get_2d_projection_with_sign_correction,
)
from torch import Tensor, nn
from torchvision import models

from mikata.architecture import Members, SmallCNN
from mikata.commands.choices import MethodName
from mikata.errors import Cancelled, NetworkError, ParameterError
from mikata.explanation import (
    METHODS,
    Explanation,
    Settings,
    black_box_maps,
    heat_maps,
    layer_names,
    segment_heat_maps,
    target_layer,
)
from mikata.explanation.black_box import rise_masks
from mikata.explanation.formulas import eigen_cam
from mikata.explanation.recording import Recording

# --- networks, of the libraries' own classes, small; and images for them


class Scaled(nn.Module):
    """A network whose scores are large, so that the references' small numbers in denominators do not count."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.factor


def _timm(name: str, **options: Any) -> nn.Module:
    return timm.create_model(name, num_classes=5, **options)


MADE: dict[str, Callable[[], nn.Module]] = {
    "small_cnn": lambda: SmallCNN(5, 3),
    "resnet": lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5),
    "convnext": lambda: models.ConvNeXt(
        [
            models.convnext.CNBlockConfig(a, b, n)
            for a, b, n in ((16, 32, 1), (32, 64, 1), (64, 128, 2), (128, None, 1))
        ],
        num_classes=5,
    ),
    "vit": lambda: models.VisionTransformer(64, 8, 3, 4, 32, 64, num_classes=5),
    "timm vit": lambda: _timm(
        "vit_tiny_patch16_224", img_size=64, patch_size=8, depth=3, embed_dim=48
    ),
    "swin": lambda: models.SwinTransformer([4, 4], 16, [1, 1, 2], [1, 2, 4], [4, 4], num_classes=5),
    "timm swin": lambda: _timm(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(1, 1, 2), embed_dim=16,
        num_heads=(1, 2, 4),
    ),
}  # fmt: skip
LAYERS = {
    "small_cnn": "features",
    "resnet": "layer1",
    "convnext": "features",
    "vit": "encoder.layers.encoder_layer_2.ln_1",
    "timm vit": "blocks.2.norm1",
    "swin": "features.5.0.norm1",
}


@functools.cache
def network(name: str) -> nn.Module:
    """In float64, evaluation mode, with a head that is not 0."""
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # googlenet's and others' words on initialisation
        made = MADE[name]()
    for module in made.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.05)
    return made.double().eval()


def images(count: int = 2, size: tuple[int, int] = (64, 64), channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)


def as_maps(name: str) -> Callable[[Tensor], Tensor] | None:
    """How the references are told where a transformer's cells are."""
    if name == "swin":
        return lambda x: x.permute(0, 3, 1, 2)
    if name in ("vit", "timm vit"):
        return lambda x: x[:, 1:].reshape(len(x), 8, 8, -1).permute(0, 3, 1, 2)
    return None


def scaled(maps: Tensor | np.ndarray) -> np.ndarray:
    """Each map from 0 to 1, as the references give theirs."""
    maps = np.asarray(maps, np.float64)
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    return (maps - low) / (high - low)


# --- equal to others'


class SignedEigenCAM(pytorch_grad_cam.EigenCAM):
    """The reference with the sign of its own library's other function: a component has none."""

    def get_cam_image(self, *given: Any) -> np.ndarray:
        return get_2d_projection_with_sign_correction(given[3])


REFERENCES = {
    "Grad-CAM": pytorch_grad_cam.GradCAM,
    "Grad-CAM++": pytorch_grad_cam.GradCAMPlusPlus,
    "HiResCAM": pytorch_grad_cam.HiResCAM,
    "LayerCAM": pytorch_grad_cam.LayerCAM,
    "Eigen-CAM": SignedEigenCAM,
    "Score-CAM": pytorch_grad_cam.ScoreCAM,
}


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("method", list(REFERENCES))
def test_layer_methods_equal_pytorch_grad_cam(
    method: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same layer, weights and scaling, float64; of Score-CAM also the geometry of its authors' code."""
    if method == "Score-CAM":
        # the reference puts the corners' centres on the image's corners, which shifts masks by up to half a cell;
        # the authors' code (haofanwang/Score-CAM) does not
        monkeypatch.setattr(
            torch.nn,
            "UpsamplingBilinear2d",
            lambda size: lambda x: F.interpolate(x, size, mode="bilinear", align_corners=False),
        )
        monkeypatch.setattr("tqdm.tqdm", lambda x: x)
    # gradients of 1 and more: Grad-CAM++ of the reference has 1e-6 in its denominator, the paper nothing
    net = Scaled(network(name), 1e4 if method == "Grad-CAM++" else 10.0).eval()
    layer, batch = f"network.{LAYERS[name]}", images(1 if method == "Score-CAM" else 2)
    every = heat_maps(net, batch, "all", "Grad-CAM", layer)
    targets = [int(k) for k in every.grid.amax((-2, -1)).argmax(1)]  # classes with heat
    ours = heat_maps(net, batch, targets, method, layer)
    assert not ours.empty.any()
    reference = REFERENCES[method](net, [net.get_submodule(layer)], reshape_transform=as_maps(name))
    with reference:
        theirs = reference(batch, [ClassifierOutputTarget(k) for k in targets])
    np.testing.assert_allclose(scaled(ours.maps), scaled(theirs), atol=1e-3)


def test_eigen_cam_is_the_component_up_to_sign() -> None:
    layer = torch.randn(3, 7, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours, theirs = eigen_cam(layer)[:, 0].numpy(), get_2d_projection(layer.numpy())
    for one, other in zip(ours, theirs, strict=True):
        assert min(np.abs(one - other).max(), np.abs(one + other).max()) < 1e-5
        assert one.max() == np.abs(one).max()


@pytest.mark.parametrize("name", ["small_cnn", "convnext", "resnet", "vit", "timm swin"])
def test_integrated_gradients_equal_captum(name: str) -> None:
    net, batch = network(name), images()
    baseline = torch.linspace(-0.5, 0.5, 3, dtype=torch.float64)[:, None, None]
    found = heat_maps(
        net, batch, [1, 4], "Integrated-Gradients", settings=Settings(steps=12, baseline=baseline)
    )
    theirs, delta = IntegratedGradients(net).attribute(
        batch, baseline.expand_as(batch), target=[1, 4], n_steps=12, return_convergence_delta=True
    )
    expected = theirs.detach().sum(1)
    torch.testing.assert_close(found.maps, expected.clamp(min=0), rtol=0, atol=1e-6 * float(expected.max()))
    assert found.completeness_error is not None
    torch.testing.assert_close(found.completeness_error, delta.abs(), rtol=1e-6, atol=1e-6)
    assert found.score_change is not None
    change = net(batch) - net(baseline.expand_as(batch))
    torch.testing.assert_close(found.score_change, change.detach()[[0, 1], [1, 4]])
    assert (found.cell_px, found.layer, found.grid.shape) == ((1.0, 1.0), "", (2, 64, 64))


def test_more_steps_make_the_error_smaller() -> None:
    errors = [
        float(
            heat_maps(
                network("vit"), images(1), 2, "Integrated-Gradients", settings=Settings(steps=steps)
            ).completeness_error
        )
        for steps in (2, 40)
    ]
    assert errors[1] < errors[0] / 10


@pytest.mark.parametrize("name", ["small_cnn", "resnet", "timm vit"])
@pytest.mark.parametrize(
    ("window", "stride"), [((20, 16), (9, 16)), ((16, 16), (16, 16)), ((64, 13), (64, 5))]
)
def test_occlusion_equals_captum(name: str, window: tuple[int, int], stride: tuple[int, int]) -> None:
    """Windows that overlap, fit, and are cut off at the border."""
    net, batch = network(name), images()
    settings = Settings(window_px=window, stride_px=stride, baseline=0.3, forward=7)
    found = heat_maps(net, batch, [0, 3], "Occlusion", settings=settings)
    with torch.no_grad():
        theirs = Occlusion(net).attribute(
            batch, (3, *window), strides=(3, *stride), target=[0, 3], baselines=0.3, perturbations_per_eval=8
        )
    assert torch.equal(theirs[:, 0], theirs[:, 2])
    torch.testing.assert_close(found.maps, theirs[:, 0].clamp(min=0).double(), rtol=1e-5, atol=1e-6)
    assert found.cell_px == window


@pytest.mark.parametrize("name", ["small_cnn", "resnet", "vit"])
def test_rise_is_its_formula(name: str) -> None:
    """Equation 6 with the masks given, one after another; probabilities, as in the paper."""
    net, batch = network(name), images(2, (64, 64))
    settings = Settings(masks=30, mask_cells=5, kept=0.4, seed=11, forward=8)
    found = heat_maps(net, batch, [2, 0], "RISE", settings=settings)
    masks = torch.cat(list(rise_masks((64, 64), settings, 30))).double()
    for n, k in enumerate((2, 0)):
        expected = torch.zeros(64, 64, dtype=torch.float64)
        for mask in masks:
            with torch.no_grad():
                expected += torch.softmax(net(batch[n : n + 1] * mask), 1)[0, k] * mask / (0.4 * 30)
        torch.testing.assert_close(found.maps[n], expected)
    assert found.cell_px == (64 / 5, 64 / 5)


def test_rise_masks() -> None:
    """Enlarged and shifted as in the authors' code, the same for a seed, however many at once."""
    settings = Settings(masks=400, mask_cells=7, kept=0.3, seed=5)
    masks = torch.cat(list(rise_masks((50, 61), settings, 400)))
    assert masks.shape == (400, 50, 61)
    assert torch.equal(masks, torch.cat(list(rise_masks((50, 61), settings, 17))))
    other = torch.cat(list(rise_masks((50, 61), Settings(masks=400, kept=0.3, seed=6), 400)))
    assert not torch.equal(masks, other)
    assert 0 <= float(masks.min()) < float(masks.max()) <= 1
    # each pixel is as visible as any other; the spread of a mean of 400 is below sqrt(.3 * .7 / 400) = .023
    mean = masks.mean(0)
    assert abs(float(mean.mean()) - 0.3) < 0.02
    assert float((mean - 0.3).abs().max()) < 5 * 0.023
    # one of them by hand: the same random numbers, the grid enlarged by numpy
    generator = torch.Generator().manual_seed(5)
    grid = (torch.rand(400, 1, 7, 7, generator=generator) < 0.3)[0, 0].double().numpy()
    step_y, step_x = math.ceil(50 / 7), math.ceil(61 / 7)
    y0 = int(torch.randint(0, step_y, (400,), generator=generator)[0])
    x0 = int(torch.randint(0, step_x, (400,), generator=generator)[0])
    at_y = np.clip((np.arange(8 * step_y) + 0.5) * 7 / (8 * step_y) - 0.5, 0, 6)
    at_x = np.clip((np.arange(8 * step_x) + 0.5) * 7 / (8 * step_x) - 0.5, 0, 6)
    down = np.maximum(0, 1 - np.abs(at_y[:, None] - np.arange(7)))
    right = np.maximum(0, 1 - np.abs(at_x[:, None] - np.arange(7)))
    large = down @ grid @ right.T
    np.testing.assert_allclose(masks[0], large[y0 : y0 + 50, x0 : x0 + 61], atol=1e-6)


# --- by hand: one network whose answers are known


class Linear(nn.Module):
    """Scores that are sums over pixels with weights: every answer can be written down."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.weights = nn.Parameter(torch.randn(3, 1, 6, 8, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] * self.weights).sum((2, 3, 4))


def test_a_linear_network() -> None:
    net, x = Linear(), images(2, (6, 8), 1)
    weights = net.weights.detach()[:, 0]
    exact = heat_maps(net, x, "all", "Integrated-Gradients", settings=Settings(steps=1))
    torch.testing.assert_close(exact.maps, (x * weights).clamp(min=0))
    assert exact.completeness_error is not None
    assert float(exact.completeness_error.max()) < 1e-12
    assert exact.completeness_error.shape == exact.empty.shape == (2, 3)
    single = heat_maps(net, x, "all", "Occlusion", settings=Settings(window_px=(1, 1), stride_px=(1, 1)))
    torch.testing.assert_close(single.maps, (x * weights).clamp(min=0))


def test_hires_cam_sums_to_the_score() -> None:
    """Of a network that ends in one linear layer: what its paper proves, before the positive part."""
    net = network("small_cnn")
    recording = Recording(net, images(), "features", gradients=True)
    (gradients,) = recording.gradients(F.one_hot(torch.tensor([1, 2]), 5).double()[None])
    total = METHODS["HiResCAM"].formula(recording.activations, gradients).sum((-2, -1))[:, 0]  # type: ignore[misc]
    scores = recording.logits[[0, 1], [1, 2]] - net.get_parameter("classifier.bias").detach()[[1, 2]]
    torch.testing.assert_close(total, scores)


# --- all methods alike

FEW = Settings(masks=12, mask_cells=4, steps=6, window_px=(8, 9), stride_px=(6, 9), forward=5)


class Tiny(nn.Module):
    """In-place operations from the first on, batch normalisation, dropout."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        x = self.act(self.second(self.relu(self.norm(self.first(x)))))
        return self.head(self.drop(x.mean((2, 3))))


def tiny(**options: Any) -> Tiny:
    torch.manual_seed(5)
    return Tiny(**options).double()


small = images(3, (16, 20), 1)


@pytest.mark.parametrize("method", METHODS)
def test_all_classes_hold_the_single_ones(method: str) -> None:
    every = heat_maps(tiny(), small.clone(), "all", method, settings=FEW)
    assert every.maps.shape == (3, 3, 16, 20)
    assert every.empty.shape == every.zero_gradient.shape == (3, 3)
    assert (every.method, every.classes, every.size) == (method, (0, 1, 2), (16, 20))
    assert float(every.maps.min()) >= 0
    one = heat_maps(tiny(), small.clone(), [2, 0, 1], method, settings=FEW)
    assert one.maps.shape == (3, 16, 20)
    for n, k in enumerate((2, 0, 1)):
        torch.testing.assert_close(one.maps[n], every.maps[n, k])
    predicted = heat_maps(tiny(), small.clone(), None, method, settings=FEW)
    assert predicted.classes == tuple(predicted.logits.argmax(1).tolist())
    torch.testing.assert_close(predicted.logits, tiny().eval()(small.clone()).detach())
    assert len(METHODS[method].meaning()) > 40


@pytest.mark.parametrize("method", METHODS)
def test_batches_and_repeats_change_nothing(method: str) -> None:
    whole = heat_maps(network("vit"), images(3), 1, method, settings=FEW)
    assert torch.equal(heat_maps(network("vit"), images(3), 1, method, settings=FEW).maps, whole.maps)
    alone = heat_maps(
        network("vit"), images(3)[2:], 1, method, settings=Settings(**(vars(FEW) | {"forward": 3}))
    )
    torch.testing.assert_close(alone.maps[0], whole.maps[2])


def state(net: nn.Module) -> list[Any]:
    """Everything of a network that could be left changed."""
    return [
        [(name, module.training, list(module._forward_hooks), list(module._forward_pre_hooks),
          list(module._backward_hooks), sorted(vars(module)))
         for name, module in net.named_modules()],
        [(name, p.requires_grad, None if p.grad is None else p.grad.tolist(), p._version, p.detach().numpy().tobytes())
         for name, p in net.named_parameters()],
        [(name, b.numpy().tobytes()) for name, b in net.named_buffers()],
        torch.is_grad_enabled(),
    ]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fail", "kind"),
    [(None, "single"), ("forward", "single"), ("late", "single"), (None, "ensemble"), ("late", "ensemble")],
)
def test_network_is_left_as_found(
    method: str, fail: str | None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net: nn.Module = tiny() if kind == "single" else ensemble()
    batch = small.clone() if kind == "single" else images(1, (32, 32), 1)
    net.train()
    parts = list(net.modules())
    parts[-1].eval()  # a mixture of modes, flags, gradients and hooks of the user's own
    first, *_, last = net.parameters()
    first.requires_grad_(False)
    last.grad = torch.ones_like(last)
    calls: list[str] = []
    parts[-1].register_forward_hook(lambda *_: calls.append("own hook"))
    before, given = state(net), batch.clone()
    passes = 0

    def check() -> None:
        nonlocal passes
        passes += 1
        if fail == "late" and passes == 3:
            raise Cancelled

    if fail == "forward":
        monkeypatch.setattr(nn.Linear, "forward", lambda *_: 1 / 0)
    for grad in (True, False):
        passes = 0
        with torch.set_grad_enabled(grad):
            if fail is None or (fail == "late" and not METHODS[method].many_passes):
                found = heat_maps(net, batch, "all", method, settings=FEW, check=check)
                assert not found.grid.requires_grad
                assert not found.logits.requires_grad
            else:
                with pytest.raises((ZeroDivisionError, Cancelled)):
                    heat_maps(net, batch, "all", method, settings=FEW, check=check)
            assert torch.is_grad_enabled() is grad
    assert state(net) == before
    assert calls or fail == "forward"
    if METHODS[method].many_passes and method != "Score-CAM":
        assert torch.equal(batch, given)  # though the network writes into its input


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_gradients_are_computed(method: str) -> None:
    net = tiny()
    touched: list[str] = []
    for name, parameter in net.named_parameters():
        parameter.register_hook(lambda g, name=name: touched.append(name))
    heat_maps(net, small.clone(), "all", method, settings=FEW)
    assert touched == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["inference_mode", "float32", "autocast"])
def test_wherever_it_is_called(method: str, kind: str) -> None:
    expected = heat_maps(tiny(), small.clone(), 1, method, settings=FEW).maps
    net = tiny()
    if kind == "inference_mode":
        with torch.inference_mode():
            found = heat_maps(net, small.clone(), 1, method, settings=FEW)
        assert not found.maps.is_inference()
    elif kind == "float32":
        found = heat_maps(tiny().float(), small.float(), 1, method, settings=FEW)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            found = heat_maps(tiny().float(), small.float(), 1, method, settings=FEW)
    assert found.maps.dtype == torch.float64 if kind == "inference_mode" else torch.float32
    tolerance = {"inference_mode": 1e-12, "float32": 1e-4, "autocast": 0.3}[kind] * float(expected.max())
    torch.testing.assert_close(found.maps.double(), expected, rtol=0, atol=tolerance)


# --- ensembles


def ensemble() -> Members:
    torch.manual_seed(8)
    made = Members(3, "small_cnn", 4, 1).double().eval()
    with torch.no_grad():
        for member in made.members:
            member.get_parameter("1.classifier.weight").mul_(30)  # members that disagree
    return made


def test_ensemble_is_one_network_with_its_members_side_by_side() -> None:
    """The gradient of what the ensemble gives, by autograd with respect to each member's layer."""
    net, batch = ensemble(), images(2, (32, 32), 1)
    assert target_layer(net, batch) == "members.*.1.features"
    assert layer_names(net, batch)["members.*.1.features.3"] == (16, 16)
    leaves: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()

    handles = [member.get_submodule("1.features").register_forward_hook(keep) for member in net.members]
    scores = net(batch)
    for handle in handles:
        handle.remove()
    for k in range(4):
        gradients = torch.autograd.grad(scores[:, k].sum(), leaves, retain_graph=True)
        each = [
            torch.einsum("nc,nchw->nhw", g.mean((-2, -1)), a.detach())
            for g, a in zip(gradients, leaves, strict=True)
        ]
        found = heat_maps(net, batch, k)
        torch.testing.assert_close(found.grid, torch.stack(each).sum(0).clamp(min=0))
    torch.testing.assert_close(found.logits, scores.detach())
    assert found.layer == "members.*.1.features"
    every = heat_maps(net, batch, "all")
    torch.testing.assert_close(every.grid[:, 3], found.grid)
    one = heat_maps(net, batch, 3, layer="members.1.1.features")  # one member's part of it
    torch.testing.assert_close(one.grid, each[1].clamp(min=0))
    with pytest.raises(NetworkError, match=r"no layer 'members\.\*\.1\.head'\. Near it: members\.\*\.1\."):
        heat_maps(net, batch, layer="members.*.1.head")


def test_equal_members_are_as_one() -> None:
    """Of members that are the same, the heat is that of one's log-probability."""
    net, batch = ensemble(), images(2, (32, 32), 1)
    for member in net.members:
        member.load_state_dict(net.members[0].state_dict())

    class Log(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = net.members[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x).log_softmax(1)

    for method in METHODS:
        if method in (
            "Eigen-CAM",
            "Score-CAM",
            "Grad-CAM++",
        ):  # these are not linear in the channels' gradients
            continue
        found = heat_maps(net, batch, 2, method, settings=FEW)
        torch.testing.assert_close(found.maps, heat_maps(Log(), batch, 2, method, settings=FEW).maps)


# --- which layer of transformers and others


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("timm vit", "blocks.2.norm1", 8),
        ("timm swin", "layers.2.blocks.1.norm1", 4),
        ("convnext", "features", 2),
        ("timm:convnext_atto", "stages", 2),
        ("timm:resnet18", "layer4", 2),
        ("timm:cait_xxs24_224", "blocks", 4),  # behind it only the class token counts
        ("timm:convit_tiny", "blocks.11.norm1", 4),
        ("timm:pit_ti_224", "transformers.2.blocks.3.norm1", 2),
    ],
)
def test_layer_found_by_itself(name: str, layer: str, grid: int) -> None:
    if name.startswith("timm:"):
        torch.manual_seed(0)
        options = {} if name.endswith(("atto", "resnet18")) else {"img_size": 64}
        net = timm.create_model(name[5:], num_classes=3, **options).eval()
        for module in net.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.05)
        batch = images(2).float()
    else:
        net, batch = network(name), images()
    assert target_layer(net, batch) == layer
    assert layer_names(net, batch)[layer] == (grid, grid)
    found = heat_maps(net, batch, "all")
    assert found.grid.shape[-2:] == (grid, grid)
    assert not found.zero_gradient.any()


def test_tokens_in_another_order_have_no_map() -> None:
    """Hiera's tokens are sorted by its windows: read as rows of a grid, they would give a scrambled map."""
    net = timm.create_model("hiera_tiny_224", num_classes=3, img_size=(64, 64)).eval()
    batch = images(1).float()
    assert not any(name.startswith("blocks") for name in layer_names(net, batch))
    with pytest.raises(NetworkError, match="no spatial size"):
        heat_maps(net, batch, layer="blocks.1")
    assert heat_maps(net, batch, method="Occlusion").maps.shape == (1, 64, 64)


# --- scores only


def test_black_box_of_any_function() -> None:
    """The same maps from a function as from the network; a function may be another program's."""
    net, batch = network("small_cnn"), images()

    def by_numpy(x: Tensor) -> Tensor:
        with torch.no_grad():
            scores = net(torch.from_numpy(x.numpy()))
        return torch.tensor(json.loads(json.dumps(scores.tolist())), dtype=torch.float64)

    ours = heat_maps(net, batch, "all", "Occlusion", settings=FEW)
    torch.testing.assert_close(black_box_maps(by_numpy, batch, "all", settings=FEW).maps, ours.maps)
    rise = black_box_maps(lambda x: by_numpy(x).softmax(1), batch, [1, 2], "RISE", settings=FEW)
    torch.testing.assert_close(rise.maps, heat_maps(net, batch, [1, 2], "RISE", settings=FEW).maps)
    assert rise.logits.shape == (2, 5)
    assert rise.warnings == ()


def test_torchscript_as_far_as_it_goes() -> None:
    net, batch = network("small_cnn"), images()
    script = torch.jit.trace(net, batch)
    for method in ("Occlusion", "RISE", "Integrated-Gradients"):
        found = heat_maps(script, batch, 1, method, settings=FEW)
        torch.testing.assert_close(found.maps, heat_maps(net, batch, 1, method, settings=FEW).maps)
    for method in METHODS:
        if METHODS[method].needs_layer:
            with pytest.raises(
                NetworkError, match="take a method without a layer: Integrated-Gradients, Occl"
            ):
                heat_maps(script, batch, 1, method)


# --- segmentation


class UNet(nn.Module):
    """Two levels down and up with a bridge."""

    def __init__(self, as_dict: bool = False) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.middle = nn.Sequential(
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
        )
        self.up = nn.Sequential(nn.Conv2d(14, 6, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(6, 3, 1)
        self.as_dict = as_dict

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        kept = self.down(x)
        low = F.interpolate(self.middle(self.pool(kept)), scale_factor=2, mode="nearest")
        scores = self.last(self.up(torch.cat([kept, low], 1)))
        return {"out": scores, "aux": scores[:, :1]} if self.as_dict else scores


def unet(as_dict: bool = False) -> UNet:
    torch.manual_seed(6)
    return UNet(as_dict).double().eval()


def region(size: tuple[int, int] = (16, 24)) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[3:9, 5:15] = True
    return mask


def test_segmentation_equals_pytorch_grad_cam() -> None:
    """Its SemanticSegmentationTarget is the sum over a mask: Seg-Grad-CAM."""
    net, batch = unet(), images(2, (16, 24), 1)

    class Sum:
        def __call__(self, output: Tensor) -> Tensor:
            return (output[1] * region()).sum()

    for method in ("Grad-CAM", "HiResCAM", "LayerCAM"):
        found = segment_heat_maps(net, batch, region(), 1, method)
        assert found.layer == "middle"  # the bottleneck, not the last layer before the output
        assert found.grid.shape == (2, 8, 12)
        with REFERENCES[method](net, [net.middle]) as reference:
            theirs = reference(batch, [Sum(), Sum()])
        np.testing.assert_allclose(scaled(found.maps), scaled(theirs), atol=1e-3)
        wrapped = segment_heat_maps(unet(as_dict=True), batch, region(), 1, method, "middle")
        assert torch.equal(wrapped.maps, found.maps)


def test_segmentation_by_every_method() -> None:
    net, batch = unet(), images(2, (16, 24), 1)
    other = region().roll(4, 0)
    with torch.no_grad():
        means = torch.stack([net(batch)[0][:, region()].mean(1), net(batch)[1][:, other].mean(1)])
    for method in METHODS:
        each = segment_heat_maps(net, batch, torch.stack([region(), other]), None, method, settings=FEW)
        torch.testing.assert_close(each.logits, means)
        assert each.classes == tuple(means.argmax(1).tolist())
        second = segment_heat_maps(net, batch[1:], other, each.classes[1], method, settings=FEW)
        torch.testing.assert_close(each.maps[1], second.maps[0])
        every = segment_heat_maps(net, batch, torch.stack([region(), other]), "all", method, settings=FEW)
        assert every.maps.shape == (2, 3, 16, 24)
    rise = segment_heat_maps(net, batch[:1], region(), 2, "RISE", settings=FEW).maps[0]
    masks = torch.cat(list(rise_masks((16, 24), FEW, 12))).double()
    with torch.no_grad():
        inside = [net(batch[:1] * m).softmax(1)[0, 2][region()].mean() for m in masks]
    torch.testing.assert_close(rise, sum(p * m for p, m in zip(inside, masks, strict=True)) / (0.5 * 12))
    assert "middle.0" in layer_names(net, batch)


def test_segmentation_network_is_left_as_found() -> None:
    net, batch = unet(), images(2, (16, 24), 1)
    net.train()
    net.middle.eval()
    before = state(net)
    for method in METHODS:
        assert segment_heat_maps(net, batch, region(), 1, method, settings=FEW).maps.shape == (2, 16, 24)
        with pytest.raises(NetworkError, match="no class 3"):
            segment_heat_maps(net, batch, region(), 3, method, settings=FEW)
    assert state(net) == before


def test_segmentation_of_torchvision() -> None:
    torch.manual_seed(0)
    net = models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    ).eval()
    batch = images(1, (64, 64)).float()
    found = segment_heat_maps(net, batch, region((64, 64)), 2)
    assert found.maps.shape == (1, 64, 64)
    assert min(found.cell_px) >= 16
    assert not found.zero_gradient.any()


# --- what is said


def test_empty_maps_are_said() -> None:
    net = tiny()
    with torch.no_grad():
        net.head.weight[0] = -1
        net.head.weight[1] = 0
        net.head.weight[2] = 1
    for method, one in METHODS.items():
        found = heat_maps(net, small.clone(), "all", method, settings=FEW)
        if method in ("Eigen-CAM", "Score-CAM", "RISE"):
            assert not found.empty.any()
            continue
        assert found.empty[:, 1].all()
        assert bool(found.zero_gradient[:, 1].all()) is one.needs_gradients
        assert not found.zero_gradient[:, [0, 2]].any()
        sentence = next(w for w in found.warnings if w.startswith("Image 2 has no heat for class 1"))
        assert ("all gradients are 0" in sentence) is one.needs_gradients
        assert ("layer 'act'" in sentence) is one.needs_layer
    flat = heat_maps(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(640, 3)),
        torch.ones(1, 1, 16, 20),
        0,
        "Eigen-CAM",
    )
    assert flat.empty.all()  # what rounding leaves of equal cells is not heat


def test_more_classes_than_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of many classes are taken and let go piece by piece; maps of pixels that are too many are refused."""
    net = tiny(classes=40)
    sizes: list[int] = []
    formula = METHODS["LayerCAM"].formula
    assert formula is not None

    def watched(activations: Tensor, gradients: Tensor) -> Tensor:
        sizes.append(len(gradients))
        return formula(activations, gradients)

    monkeypatch.setitem(METHODS, "LayerCAM", type(METHODS["LayerCAM"])(lambda: "", formula=watched))
    whole = heat_maps(net, small.clone(), "all", "LayerCAM")
    monkeypatch.setattr("mikata.explanation.recording._GRADIENT_BYTES", 7 * 3 * 6 * 16 * 20 * 8)
    pieces = heat_maps(net, small.clone(), "all", "LayerCAM")
    assert sizes == [40, 7, 7, 7, 7, 7, 5]
    torch.testing.assert_close(pieces.grid, whole.grid)
    monkeypatch.setattr("mikata.explanation.engine._MAP_BYTES", 40 * 3 * 16 * 20 * 8 - 1)
    for method in ("Integrated-Gradients", "Occlusion", "RISE"):
        with pytest.raises(NetworkError, match=r"Maps of 40 classes of 3 image.*fewer images"):
            heat_maps(net, small.clone(), "all", method, settings=FEW)
        heat_maps(net, small[:2].clone(), "all", method, settings=FEW)


class Broken(nn.Module):
    """Good for the images themselves, NaN for anything darker."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.conv, self.least = nn.Conv2d(1, 2, 3), least

    def forward(self, x: Tensor) -> Tensor:
        scores = self.conv(x).mean((2, 3))
        return scores + torch.where(x.mean((1, 2, 3)) < self.least, torch.nan, 0.0)[:, None]


class Root(nn.Module):
    """A square root at 0: its gradient is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) * 0).sqrt().mean((2, 3)) + 1


class Ungraded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = tiny()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net(x)


bright = torch.ones(1, 1, 16, 20)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (tiny, {"method": "gradcam++"}, r"no method 'gradcam\+\+' \(did you mean 'Grad-CAM\+\+'\?\)"),
        (tiny, {"method": "RISE", "layer": "second"}, "RISE looks at the image, not at a layer"),
        (tiny, {"method": "Score-CAM", "layer": "head"}, "'head' has no spatial size"),
        (tiny, {"method": "Eigen-CAM", "layer": "hed"}, "no layer 'hed'"),
        (tiny, {"method": "Occlusion", "target": 3}, "no class 3"),
        (tiny, {"method": "RISE", "target": [0, 1]}, "2 targets for 1 images"),
        (tiny, {"method": "Occlusion", "settings": Settings(window_px=(17, 3))}, "window of 17 x 3 px is larger than the image of 16 x 20"),
        (tiny, {"method": "Occlusion", "settings": Settings(window_px=(4, 4), stride_px=(4, 5))}, "step of 4 x 5 px is larger"),
        (tiny, {"method": "RISE", "settings": Settings(mask_cells=17)}, "17 x 17 cells, more than the image of 16 x 20"),
        (tiny, {"method": "Occlusion", "settings": Settings(baseline=math.nan)}, "baseline holds values that are not"),
        (tiny, {"method": "Integrated-Gradients", "settings": Settings(baseline=torch.zeros(2, 1, 1))}, "does not fit images"),
        (lambda: Broken(0.9).double(), {"method": "Occlusion", "settings": FEW}, "scores are not numbers"),
        (lambda: Broken(0.9).double(), {"method": "RISE", "settings": FEW}, "scores are not numbers"),
        (lambda: Broken(0.9).double(), {"method": "Score-CAM", "layer": "conv"}, "scores are not numbers"),
        (lambda: Broken(0.9).double(), {"method": "Integrated-Gradients"}, "scores are not numbers"),
        (lambda: Root().double(), {"method": "Integrated-Gradients"}, "gradients are not numbers"),
        (lambda: Root().double(), {"method": "LayerCAM", "layer": "conv"}, "heat map holds values that are not"),
        (Ungraded, {"method": "Integrated-Gradients"}, "take Occlusion or RISE"),
        (lambda: nn.Sequential(tiny(), nn.Softmax(1)), {"method": "RISE"}, "gives probabilities"),
        (unet, {}, "as for segmentation.*segment_heat_maps"),
        (lambda: unet(as_dict=True), {"method": "RISE"}, "as for segmentation"),
    ],
)  # fmt: skip
def test_bad_input(make: Callable[[], nn.Module], options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        heat_maps(make(), bright.double(), **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": 0}, "masks must be a whole number from 1 up, not 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"forward": -1}, "forward must be"),
        ({"window_px": (3, 0)}, "window_px must be a height and a width"),
        ({"kept": 1.0}, "kept must be above 0 and below 1"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Settings(**given)


def test_bad_functions_and_regions() -> None:
    with pytest.raises(NetworkError, match=r"LayerCAM needs a torch network.*take Occlusion or RISE"):
        black_box_maps(tiny(), small, method="LayerCAM")
    with pytest.raises(NetworkError, match=r"not \(3,\)"):
        black_box_maps(lambda x: x.mean((1, 2, 3)), small)
    with pytest.raises(NetworkError, match="image 1, 2, 3 of 3"):
        black_box_maps(tiny(), small * torch.nan)
    batch = images(2, (16, 24), 1)
    for mask, message in (
        (region()[0], r"not \(24,\)"),
        (torch.zeros(16, 24, dtype=torch.bool), "region is empty"),
        (torch.ones(8, 12, dtype=torch.bool), "region is 8 x 12 px, the network's output 16 x 24"),
        (region()[None].expand(3, -1, -1), "3 regions for 2 images"),
    ):
        with pytest.raises(NetworkError, match=message):
            segment_heat_maps(unet(), batch, mask)
    with pytest.raises(NetworkError, match="3 targets for 2 images"):
        segment_heat_maps(unet(), batch, region()[None].expand(2, -1, -1), [0, 1, 2])
    with pytest.raises(NetworkError, match="score for each class and pixel"):
        segment_heat_maps(tiny(), batch, region())
    with pytest.raises(NetworkError, match=r"no layer 'midle'\. Near it: middle"):
        segment_heat_maps(unet(), batch, region(), layer="midle")


def test_maps_are_made_when_asked_for() -> None:
    found = heat_maps(tiny(), small.clone(), "all")
    assert isinstance(found, Explanation)
    assert "maps" not in vars(found)
    assert found.maps is found.maps


def test_every_method_is_offered_by_the_commands() -> None:
    assert get_args(MethodName) == tuple(METHODS)
