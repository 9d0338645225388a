"""What a heat map costs, in forward passes: ours, pytorch-grad-cam's and captum's, in one run.

Usage: ``python tests/benchmarks/bench_grad_cam.py [--repeats 9] [--device cuda] [--networks vgg16 resnet18]``

Each figure is the median over the repeats of (time of the heat maps / time of one forward pass
without gradients of the same network and batch, measured right before it), so that a machine that
slows down does not show. The time includes bringing the maps to the input's size.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from mikata.explanation import heat_maps, target_layer

CLASSES = 10


def ways(network: nn.Module, batch: Tensor) -> dict[str, Callable[[], object]]:
    """The ways to compare, each as a call that returns maps at the input's size."""
    layer = network.get_submodule(target_layer(network, batch))
    captum = LayerGradCam(network, layer)
    reference = GradCAM(network, [layer])

    def by_captum() -> object:
        with torch.no_grad():  # captum is given no class by itself
            target = torch.zeros(len(batch), dtype=torch.long, device=batch.device)
        maps = captum.attribute(batch, target, relu_attributions=True)
        return LayerAttribution.interpolate(maps, batch.shape[-2:], "bilinear")

    return {
        "one class": lambda: heat_maps(network, batch).maps,
        f"all {CLASSES} classes": lambda: heat_maps(network, batch, "all").maps,
        "captum, one class": by_captum,
        "pytorch-grad-cam, one class": lambda: reference(batch, None),
    }


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratios(network: nn.Module, batch: Tensor, repeats: int) -> tuple[float, dict[str, float]]:
    """Median seconds of a forward pass, and the median ratio of each way to it."""

    def forward() -> object:
        with torch.no_grad():
            return network(batch)

    calls = ways(network, batch)
    for call in [forward, *calls.values()]:
        call()  # warm: kernels chosen, memory held
    passes: list[float] = []
    result: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            # a pass before and one after, so that a drift of the clock falls out
            before = seconds(forward, batch.device)
            own = seconds(call, batch.device)
            after = seconds(forward, batch.device)
            passes += [before, after]
            result[name].append(2 * own / (before + after))
    return statistics.median(passes), {name: statistics.median(values) for name, values in result.items()}


def main() -> None:
    """Print one row for each network and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=["vgg16", "resnet18"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    options = parser.parse_args()
    warnings.filterwarnings(
        "ignore", "Full backward hook", UserWarning
    )  # captum's, on a batch without gradient
    torch.manual_seed(0)
    np.random.seed(0)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {options.device}, {threads} threads, 224 x 224 px, float32")
    print("times one forward pass of the same network and batch; goals: one class 1.05, all classes 1.5")
    header = False
    for name in options.networks:
        network = getattr(torchvision.models, name)(num_classes=CLASSES).to(options.device).eval()
        for size in options.batches:
            batch = torch.randn(size, 3, 224, 224, device=options.device)
            forward, found = ratios(network, batch, options.repeats)
            if not header:
                print(f"{'network':<10} {'batch':>5} {'pass ms':>9}  " + "  ".join(found))
                header = True
            cells = "  ".join(f"{value:>{len(way)}.3f}" for way, value in found.items())
            print(f"{name:<10} {size:>5} {1000 * forward:>9.1f}  {cells}", flush=True)


if __name__ == "__main__":
    main()
