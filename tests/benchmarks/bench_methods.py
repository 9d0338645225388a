"""What each method of heat maps costs, in forward passes of the same batch.

Usage: ``python tests/benchmarks/bench_methods.py [--repeats 5] [--device cuda] [--networks vgg16 resnet50]``
``[--methods Grad-CAM RISE] [--batch 16] [--size 224] [--classes 10] [--dtype bfloat16] [--all]``

Each figure is the median over the repeats of (time of the heat maps at the input's size / time of one forward
pass without gradients of the same network and batch). A method of few passes stands between two such passes
each time; for one of many a single repeat is long enough, and its passes are counted: the last column is the
time over that of the passes that its definition asks for, so that 1 means nothing is lost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from mikata.explanation import METHODS, Settings, heat_maps


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def counted(network: nn.Module, call: Callable[[], object]) -> int:
    """How many images go through the network in a call."""
    images = 0

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal images
        images += len(args[0])

    handle = network.register_forward_pre_hook(before)
    try:
        call()
    finally:
        handle.remove()
    return images


def row(
    network: nn.Module, batch: Tensor, method: str, target: str | None, settings: Settings, repeats: int
) -> tuple[float, float]:
    """The method's time in forward passes of the batch, and how many such passes it took."""

    def forward() -> object:
        with torch.no_grad():
            return network(batch)

    def maps() -> object:
        return heat_maps(network, batch, target, method, settings=settings).maps  # type: ignore[arg-type]

    maps() if not METHODS[method].many_passes else forward()  # warm: the layer found, kernels chosen
    passes = counted(network, maps) / len(batch)
    found = []
    for _ in range(1 if METHODS[method].many_passes else repeats):
        before = seconds(forward, batch.device)
        own = seconds(maps, batch.device)
        after = seconds(forward, batch.device)
        found.append(2 * own / (before + after))
    return statistics.median(found), passes


def main() -> None:
    """Print one row for each network and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=["vgg16", "resnet50"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--masks", type=int, default=100, help="of RISE")
    parser.add_argument("--steps", type=int, default=20, help="of Integrated-Gradients")
    parser.add_argument("--all", action="store_true", help="all classes at once, not the predicted one")
    options = parser.parse_args()
    torch.manual_seed(0)
    settings = Settings(masks=options.masks, steps=options.steps)
    print(
        f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, "
        f"{options.size} x {options.size} px, batch {options.batch}, {options.dtype}, "
        f"{'all of ' + str(options.classes) + ' classes' if options.all else 'one class'}, "
        f"{options.masks} masks, {options.steps} steps"
    )
    print(f"{'network':<10} {'method':<21} {'times a pass':>12} {'passes':>8} {'per pass':>9}")
    for name in options.networks:
        network = getattr(torchvision.models, name)(num_classes=options.classes)
        network = network.to(options.device, getattr(torch, options.dtype)).eval()
        batch = torch.randn(options.batch, 3, options.size, options.size).to(network_weight(network))
        for method in options.methods:
            times, passes = row(
                network, batch, method, "all" if options.all else None, settings, options.repeats
            )
            print(f"{name:<10} {method:<21} {times:>12.3f} {passes:>8.1f} {times / passes:>9.3f}", flush=True)


def network_weight(network: nn.Module) -> Tensor:
    """A tensor of the network's device and precision."""
    return next(network.parameters())


if __name__ == "__main__":
    main()
