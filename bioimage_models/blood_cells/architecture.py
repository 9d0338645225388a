"""The networks of Mikata's packages, from torch, torchvision and, for their networks only, timm and segmentation_models_pytorch.

This file is copied as it stands into every package that Mikata writes, so that other programs can
rebuild the network there and load the state dict beside it. It must import nothing of Mikata.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

SMALL_CNN = "small_cnn"
"""Name of the one network that is Mikata's own."""

VGG16_FLAT = "vgg16_flat256"
"""VGG-16 with a `FlatHead`, made for images of 480 to 511 px: 15 x 15 places."""

_FLAT_PLACES, _FLAT_UNITS = 15, 256

TIMM = "timm:"
"""What the names of timm's networks begin with: ``timm:convnext_tiny``, ``timm:resnet18.a1_in1k``."""

UNET = "unet"
"""Name of the one network for segmentation that is Mikata's own."""

SMP = "smp:"
"""What the names of segmentation_models_pytorch's networks begin with: ``smp:Unet/resnet18``."""

OF = " x "
"""Between the number of an ensemble's members and the name of one of them: ``3 x small_cnn``."""

MOST_MEMBERS = 64
"""Of an ensemble."""

READING = ("layers", "arrangement", "grid", "prefix")
"""The arguments by which a network that gives heat maps reads them; see `SelfExplaining`."""

# Auxiliary heads exist for training the ImageNet way only, and make the network return a tuple.
# Their initialisation is asked for by name, since torchvision warns where it is left open.
_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class SmallCNN(nn.Module):
    """A small fully convolutional network for textures, cells and small structures.

    Six 3 x 3 convolutions with batch normalisation, three poolings by 2, global average pooling and a
    linear head: 0.13 million parameters. The last feature map has one cell for 8 x 8 px, and a cell
    sees 50 x 50 px, so that heat maps stay sharp. It takes any image of at least 32 x 32 px.

    Parameters
    ----------
    classes:
        Number of outputs.
    channels:
        Number of input channels.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for block in ((16,), (32, 32), (64, 64), (96,)):
            if layers:
                layers.append(nn.MaxPool2d(2))
            for outputs in block:
                # no bias: the batch normalisation after it has one
                layers += [
                    nn.Conv2d(width, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                width = outputs
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, classes) of images (N, channels, H, W)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))  # type: ignore[no-any-return]


class FlatHead(nn.Sequential):
    """A head on all features, each place by itself: a hidden layer, and the scores.

    That of the published code for VGG-16 on mammograms (pathology-mammography, code/SGD.py), in Keras' words:
    Flatten, Dense(256, relu, he_normal), BatchNormalization, Dropout(0.5), Dense(classes).
    """

    def __init__(self, features: int, classes: int) -> None:
        hidden = nn.Linear(features, _FLAT_UNITS)
        nn.init.kaiming_normal_(hidden.weight)
        nn.init.zeros_(hidden.bias)
        # Keras' momentum of 0.99 and epsilon of 0.001
        normalise = nn.BatchNorm1d(_FLAT_UNITS, eps=1e-3, momentum=0.01)
        super().__init__(hidden, nn.ReLU(), normalise, nn.Dropout(0.5), nn.Linear(_FLAT_UNITS, classes))


class Members(nn.Module):
    """Several networks of one kind whose probabilities are averaged.

    Parameters
    ----------
    count:
        How many, from 2 to MOST_MEMBERS.
    network, classes, channels:
        As of `Classifier`; the name of one of them.

    Attributes
    ----------
    members:
        Each a normalisation of its own, on top of the classifier's, and a plain network behind it.
    """

    def __init__(self, count: int, network: str, classes: int, channels: int) -> None:
        super().__init__()
        if not 2 <= count <= MOST_MEMBERS:
            raise ValueError(f"an ensemble has from 2 to {MOST_MEMBERS} members, not {count}")
        self.members = nn.ModuleList(
            nn.Sequential(
                Normalise([0.0] * channels, [1.0] * channels), make_network(network, classes, channels)
            )
            for _ in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logarithm of the mean of the members' probabilities (N, K): its softmax is that mean."""
        scores = torch.stack([torch.log_softmax(member(x), dim=1) for member in self.members])
        return torch.logsumexp(scores, dim=0) - math.log(len(self.members))


class Normalise(nn.Module):
    """``(x - mean) / std`` for each channel.

    Parameters
    ----------
    mean, std:
        One number a channel, in the unit of the pixel values; `std` above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (N, C, H, W)."""
        return (x - self.mean) / self.std


class Classifier(nn.Module):
    """A network for classes or for a value, with its scaling and normalisation before and what follows it behind.

    Of classes, a softmax follows, and the outputs are probabilities (N, K). Of a value (a regression), what the
    network gives is in standard deviations of the training values from their mean; it is taken back to the value's own
    unit, and the output is the value (N, 1).

    Parameters
    ----------
    network:
        ``small_cnn``, ``vgg16_flat256``, the name of a torchvision classification model, or ``timm:`` and the name of a timm
        model, with or without the tag of its weights; ``3 x small_cnn`` is an ensemble of three.
    classes:
        Number of classes, at least 2; 1 with a `target`.
    channels:
        Number of input channels, at least 1. Where a torchvision network has 3, its first convolution
        is replaced by one of the same kind; timm builds its own for any number.
    mean, std:
        One number a channel, in the unit of the pixel values: the network sees ``(x - mean) / std``.
    size:
        Height and width in px to which images of another size are scaled, each side on its own, bilinear
        with antialiasing; None: images are taken as they are.
    target:
        Mean and standard deviation (above 0) of the training values, in their unit, for a network that gives a
        value; None for classes.
    unit:
        Unit of the value, in words; nothing is computed from it.

    Attributes
    ----------
    configuration:
        The arguments it was made with: ``Classifier(**configuration)`` is the same network.
    normalise:
        The normalisation.
    network:
        The plain network: normalised values (N, C, H, W) to scores (N, K); torchvision's or timm's names of
        layers.

    Raises
    ------
    ValueError
        If the network's name is unknown, or a number is out of range.
    """

    def __init__(
        self,
        network: str,
        classes: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
        target: Sequence[float] | None = None,
        unit: str = "",
    ) -> None:
        super().__init__()
        if target is not None:
            if classes != 1 or OF in network:
                raise ValueError(f"a value is one output of one network, not {classes} of {network}")
            if len(target) != 2 or not all(abs(value) < float("inf") for value in target) or target[1] <= 0:
                raise ValueError(f"the target must be a finite mean and a std above 0, not {list(target)}")
        elif classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, not {classes}")
        if channels < 1:
            raise ValueError(f"a classifier needs at least 1 channel, not {channels}")
        if len(mean) != channels or len(std) != channels:
            raise ValueError(f"{channels} channels need {channels} numbers each for mean and std")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"the size must be a height and a width of at least 1 px, not {list(size)}")
        if not all(abs(value) < float("inf") for value in (*mean, *std)) or min(std) <= 0:
            raise ValueError(f"mean and std must be finite, std above 0, not {list(mean)} and {list(std)}")
        self.configuration: dict[str, Any] = {
            "network": network,
            "classes": int(classes),
            "channels": int(channels),
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
            "size": None if size is None else [int(side) for side in size],
        }
        if target is not None:
            self.configuration |= {"target": [float(value) for value in target], "unit": unit}
        self.target = None if target is None else (float(target[0]), float(target[1]))
        self.unit = unit
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.normalise = Normalise(mean, std)
        self.network = make_network(network, classes, channels)

    def logits(self, x: Tensor) -> Tensor:
        """Scores (N, K) before the softmax, or values before they are taken back to their unit, of images.

        Images (N, C, H, W) are in the unit of the training images.
        """
        return self.network(self.normalise(self.scale(x)))  # type: ignore[no-any-return]

    def scale(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) at the network's size."""
        if self.size is None or x.shape[-2:] == self.size:
            return x
        return F.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (N, K), or values (N, 1), of images (N, C, H, W) in the unit of the training images."""
        return self.outputs(self.logits(x))

    def outputs(self, scores: Tensor) -> Tensor:
        """Probabilities (N, K), or values (N, 1) in their unit, of what `logits` gives."""
        if self.target is not None:
            mean, std = self.target
            return scores * std + mean
        return torch.softmax(scores, dim=1)


class SelfExplaining(Classifier):
    """A classifier that gives a heat map of each of its outputs beside them: Grad-CAM of the scores before the softmax.

    ``max(0, sum over c of mean_ij(d score / d A_c) A_c)`` of the activations A of a layer, channels c, cells (i, j):
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    doi 10.1109/ICCV.2017.74, equations 1 and 2. Of an ensemble the members' channels lie side by side.

    Its state dict is the classifier's.

    Parameters
    ----------
    layers:
        Dotted names in `network` of the layer, of an ensemble one for each member.
    arrangement:
        How the layer holds its map: ``channels first`` (N, C, h, w), ``channels last`` (N, h, w, C) or ``tokens``
        (N, prefix + h * w, C).
    grid:
        Height and width of the map in cells.
    prefix:
        Tokens before the map's own.
    configuration:
        As of `Classifier`.
    """

    def __init__(
        self, layers: Sequence[str], arrangement: str, grid: Sequence[int], prefix: int, **configuration: Any
    ) -> None:
        super().__init__(**configuration)
        if arrangement not in ("channels first", "channels last", "tokens"):
            raise ValueError(f"there is no arrangement {arrangement}")
        self.layers = [str(name) for name in layers]
        self.arrangement = arrangement
        self.grid = (int(grid[0]), int(grid[1]))
        self.prefix = int(prefix)
        for name in self.layers:
            self.network.get_submodule(name)  # a wrong name is known at once

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments that come on top of the classifier's, under the names of `READING`."""
        values = (list(self.layers), self.arrangement, list(self.grid), self.prefix)
        return dict(zip(READING, values, strict=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # the maps come on top
        """What `Classifier` gives (N, K), and heat from 0 up (N, K, H, W), of images (N, C, H, W)."""
        outputs, heat = self.on_grid(self.scale(x))
        return outputs, F.interpolate(heat, size=x.shape[-2:], mode="bilinear", align_corners=False)

    def on_grid(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs (N, K), and heat on the layer's grid (N, K, h, w), of images at the network's size."""
        with torch.inference_mode(False), torch.enable_grad():
            leaves, scores = self._cut(self.normalise(x.clone() if x.is_inference() else x).detach())
            gradients = [
                torch.autograd.grad(scores[:, number].sum(), leaves, retain_graph=True)
                for number in range(scores.shape[1])
            ]
        with torch.no_grad():
            activations = self._maps(leaves)
            weights = torch.stack([self._maps(one).mean((-2, -1)) for one in gradients], 1)
            heat = torch.einsum("nkc,nchw->nkhw", weights, activations).clamp(min=0)
            return self.outputs(scores.detach()), heat

    def _cut(self, normalised: Tensor) -> tuple[list[Tensor], Tensor]:
        """The layers' outputs as leaves, and the scores computed from them."""
        leaves: list[Tensor] = []

        def cut(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            # a copy: an in-place activation behind the layer would write into the leaf, which torch forbids
            return leaves[-1].clone()

        hooks = [self.network.get_submodule(name).register_forward_hook(cut) for name in self.layers]
        try:
            return leaves, self.network(normalised)
        finally:
            for hook in hooks:
                hook.remove()

    def _maps(self, parts: Sequence[Tensor]) -> Tensor:
        """What the layers hold as one map (N, C, h, w)."""
        if self.arrangement == "tokens":
            parts = [part[:, self.prefix :].reshape(len(part), *self.grid, -1) for part in parts]
        if self.arrangement != "channels first":
            parts = [part.movedim(-1, -3) for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)


class UNet(nn.Module):
    """A plain U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with batch normalisation, small enough for a package.

    Five levels of two 3 x 3 convolutions each, poolings by 2 between them, and back by nearest neighbours with what was
    there on the way down beside it: 0.52 million parameters. Padding is by zeros, so that the output has the input's
    size; height and width must be multiples of 16.

    Parameters
    ----------
    outputs:
        Number of output channels.
    channels:
        Number of input channels.
    """

    WIDTHS = (12, 24, 48, 72, 96)

    def __init__(self, outputs: int, channels: int) -> None:
        super().__init__()
        widths = self.WIDTHS
        self.down = nn.ModuleList(
            _two_convolutions(before, width)
            for before, width in zip((channels, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            _two_convolutions(below + width, width)
            for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, outputs, H, W) of images (N, channels, H, W), H and W multiples of 16."""
        passed = []
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            passed.append(x)
        passed.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), passed.pop()], 1))
        return self.head(x)  # type: ignore[no-any-return]


def _two_convolutions(before: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (before, width):
        # no bias: the batch normalisation after it has one
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


class Segmenter(nn.Module):
    """A network that says of every pixel what it is, with its normalisation before and a softmax behind it.

    Parameters
    ----------
    network:
        ``unet``, or ``smp:`` with the names of an architecture and an encoder of segmentation_models_pytorch, such as
        ``smp:Unet/resnet18``.
    classes:
        Number of classes that exclude each other, background included: at least 2.
    channels:
        Number of input channels, at least 1.
    mean, std:
        One number a channel, in the unit of the pixel values: the network sees ``(x - mean) / std``.
    distance:
        Whether a channel follows those of the classes that says how far inside of its object a pixel lies, from 0
        (border or outside) to 1 (its innermost pixel).
    shrink:
        The plain network sees the image this many times smaller (means of as many px in both directions), and its scores
        are made as large again between their centres (bilinear): it sees as many times further around a pixel.

    Attributes
    ----------
    configuration:
        The arguments it was made with: ``Segmenter(**configuration)`` is the same network.
    normalise:
        The normalisation.
    network:
        The plain network: normalised values (N, C, H, W) to scores (N, K, H, W).

    Raises
    ------
    ValueError
        If the network's name is unknown, or a number is out of range.
    """

    size = None
    target = None
    unit = ""

    def __init__(
        self,
        network: str,
        classes: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        distance: bool = False,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        if shrink not in (1, 2, 4, 8):
            raise ValueError(f"an image is seen 1, 2, 4 or 8 times smaller, not {shrink}")
        if classes < 2:
            raise ValueError(f"a segmentation needs at least 2 classes with the background, not {classes}")
        _refuse_numbers(channels, mean, std)
        self.configuration: dict[str, Any] = {
            "network": network,
            "classes": int(classes),
            "channels": int(channels),
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
            "distance": bool(distance),
            "shrink": int(shrink),
        }
        self.shrink = int(shrink)
        self.normalise = Normalise(mean, std)
        self.network = make_pixel_network(network, int(classes) + bool(distance), int(channels))

    def logits(self, x: Tensor) -> Tensor:
        """Scores (N, K, H, W) before the softmax of images (N, C, H, W) in the unit of the training images."""
        if self.shrink == 1:
            return self.network(self.normalise(x))  # type: ignore[no-any-return]
        scores = self.network(F.avg_pool2d(self.normalise(x), self.shrink))
        return F.interpolate(scores, scale_factor=float(self.shrink), mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (N, K, H, W), background first, and the distance where there is one, of images (N, C, H, W)."""
        return self.outputs(self.logits(x))

    def outputs(self, scores: Tensor) -> Tensor:
        """What `forward` gives, of what `logits` gives."""
        if not self.configuration["distance"]:
            return torch.softmax(scores, dim=1)
        classes: int = self.configuration["classes"]
        return torch.cat([torch.softmax(scores[:, :classes], 1), torch.sigmoid(scores[:, classes:])], 1)


class Detector(nn.Module):
    """A network that says where the centres of things are and how large they are, for every pixel of an image.

    Heat maps of centres with sizes beside them (Zhou et al. 2019, "Objects as Points", arXiv 1904.07850), as large as
    the image. Inside, the network may look at a smaller image: the mean of ``shrink`` x ``shrink`` px; its scores are
    then enlarged bilinearly.

    Parameters
    ----------
    network, channels, mean, std:
        As of `Segmenter`.
    classes:
        Number of classes, which do not exclude each other: at least 1.
    typical_px:
        Size of a typical object, of which the network gives a multiple; 0 where no size is known: it then gives 0.
    shrink:
        How many times smaller the image is that the network looks at: 1, 2 or 4.

    Attributes
    ----------
    configuration, normalise, network:
        As of `Segmenter`.

    Raises
    ------
    ValueError
        If the network's name is unknown, or a number is out of range.
    """

    PRIOR = -2.19
    """Score of a centre at the start, a probability of 0.1: else the many pixels that are none would come first."""

    _WIDEST = 4.0  # natural logarithm of the largest and, negative, the smallest multiple of the typical size

    size = None
    target = None
    unit = ""

    def __init__(
        self,
        network: str,
        classes: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        typical_px: float,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"a detection needs at least 1 class, not {classes}")
        if not 0 <= typical_px < float("inf"):
            raise ValueError(f"a typical size is a number from 0, not {typical_px}")
        if shrink not in (1, 2, 4):
            raise ValueError(f"an image is seen 1, 2 or 4 times smaller, not {shrink}")
        _refuse_numbers(channels, mean, std)
        self.configuration: dict[str, Any] = {
            "network": network,
            "classes": int(classes),
            "channels": int(channels),
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
            "typical_px": float(typical_px),
            "shrink": int(shrink),
        }
        self.normalise = Normalise(mean, std)
        self.network = make_pixel_network(network, int(classes) + 2, int(channels))

    def logits(self, x: Tensor) -> Tensor:
        """Scores (N, K + 2, H / shrink, W / shrink) of images (N, C, H, W): of the K classes, then of height and width.

        The latter two are the logarithms of multiples of the typical size.
        """
        shrink: int = self.configuration["shrink"]
        classes: int = self.configuration["classes"]
        x = self.normalise(x)
        found: Tensor = self.network(F.avg_pool2d(x, shrink) if shrink > 1 else x)
        return torch.cat([found[:, :classes] + self.PRIOR, found[:, classes:]], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of a centre of each class, then height and width in px, (N, K + 2, H, W), of (N, C, H, W)."""
        return self.outputs(self.logits(x))

    def outputs(self, scores: Tensor) -> Tensor:
        """What `forward` gives, of what `logits` gives."""
        classes: int = self.configuration["classes"]
        typical: float = self.configuration["typical_px"]
        shrink: int = self.configuration["shrink"]
        if shrink > 1:
            scores = F.interpolate(scores, scale_factor=float(shrink), mode="bilinear", align_corners=False)
        sizes = typical * scores[:, classes:].clamp(-self._WIDEST, self._WIDEST).exp()
        return torch.cat([torch.sigmoid(scores[:, :classes]), sizes], 1)


Network = Classifier | Segmenter | Detector
"""What Mikata trains."""


def _refuse_numbers(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse numbers of channels, means and deviations that cannot be (`ValueError`)."""
    if channels < 1:
        raise ValueError(f"a network for images needs at least 1 channel, not {channels}")
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"{channels} channels need {channels} numbers each for mean and std")
    if not all(abs(value) < float("inf") for value in (*mean, *std)) or min(std) <= 0:
        raise ValueError(f"mean and std must be finite, std above 0, not {list(mean)} and {list(std)}")


def make_pixel_network(name: str, outputs: int, channels: int) -> nn.Module:
    """Return the plain network from images to images of a name, with random weights.

    Raises
    ------
    ValueError
        If there is no network of this name, or it cannot be made for these channels.
    """
    if name == UNET:
        return UNet(outputs, channels)
    architecture, divided, encoder = name.removeprefix(SMP).partition("/")
    if not name.startswith(SMP) or not divided:
        raise ValueError(
            f"there is no segmentation network named {name}; use {UNET}, or a name such as {SMP}Unet/resnet18"
        )
    import segmentation_models_pytorch as smp

    # smp itself would fetch networks of timm's and others' for names with a source before them
    if not set(encoder).isdisjoint(":/\\"):
        raise ValueError(f"there is no encoder named {encoder}")
    try:
        network: nn.Module = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=outputs
        )
    except (KeyError, ValueError, TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip("'\"")
        raise ValueError(
            f"segmentation_models_pytorch {smp.__version__} cannot make {name}: {reason}"
        ) from error
    return network


def make_network(name: str, classes: int, channels: int) -> nn.Module:
    """Return the plain network of a name, with random weights.

    Raises
    ------
    ValueError
        If there is no network of this name, or it cannot be made for these classes and channels.
    """
    count, several, one = name.partition(OF)
    if several and count.isdecimal() and OF not in one:
        return Members(int(count), one, classes, channels)
    if name == SMALL_CNN:
        return SmallCNN(classes, channels)
    if name == VGG16_FLAT:
        network: nn.Module = models.vgg16(weights=None)
        network.avgpool = nn.AdaptiveAvgPool2d(_FLAT_PLACES)
        network.classifier = FlatHead(512 * _FLAT_PLACES**2, classes)
        if channels != 3:
            _replace_first_convolution(network, channels)
        return network
    if name.startswith(TIMM):
        return _timm_network(name.removeprefix(TIMM), classes, channels)
    if name not in models.list_models(module=models):
        raise ValueError(f"there is no network named {name}")
    network = models.get_model(name, weights=None, num_classes=classes, **_OPTIONS.get(name, {}))
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def _timm_network(name: str, classes: int, channels: int) -> nn.Module:
    import timm

    # timm itself would fetch networks and their settings for names with a source (hf-hub:...) before them
    if not timm.is_model(name.partition(".")[0]) or not set(name).isdisjoint(":/\\"):
        raise ValueError(f"timm {timm.__version__} has no network named {name}")
    try:
        with warnings.catch_warnings():
            # so a network says that it was made for colours only, and would give nonsense otherwise
            warnings.filterwarnings("error", message=".*in_chans", category=UserWarning)
            network: nn.Module = timm.create_model(
                name, pretrained=False, num_classes=classes, in_chans=channels
            )
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError, UserWarning) as error:
        # an unknown tag, channels that it cannot have, or optional programs that are not installed
        raise ValueError(f"timm {timm.__version__} cannot make {name}: {error}") from error
    if getattr(network, "num_classes", None) != classes:
        raise ValueError(f"timm's {name} is no classifier")
    return network


def first_convolution(network: nn.Module) -> str:
    """Dotted name of the convolution that sees the image."""
    return next(str(name) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    name = first_convolution(network)
    parent = network.get_submodule(name.rpartition(".")[0])
    old = network.get_submodule(name)
    if not isinstance(old, nn.Conv2d):
        raise TypeError(name)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        dilation=old.dilation,  # type: ignore[arg-type]
        groups=old.groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    setattr(parent, name.rpartition(".")[2], new)
