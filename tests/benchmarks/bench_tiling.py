"""Tiled prediction of a large image: bioimageio.core's own and Mikata's, with the same package.

Usage: ``python tests/benchmarks/bench_tiling.py [--size 2048] [--blocks 0 256 512] [--repeats 2] [--threads 1]``

A U-Net (three poolings, 16 to 128 channels, three classes) is written as a package of BioImage.IO 0.5 with TorchScript
weights and its true halo. Every run is a process of its own, which reads the package, predicts one image of
`size` x `size` px (a tenth as small first, so that libraries are loaded), and tells its seconds (by the clock, and of the
processor, which other programs do not lengthen) and the peak of its memory. bioimageio.core gets blocks of a fixed side, halo included (0: its own default of 10 steps above the least
side); Mikata chooses its tiles. The runs alternate, and each figure is the median of Mikata's time over that of
bioimageio.core beside it. Mikata's result is the label image with each pixel's probability ("labels"), or all channels
as bioimageio.core gives them ("channels"); their largest difference is told too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128)
STEP = 2 ** (len(WIDTHS) - 1)
CLASSES = ("background", "cell", "border")


class UNet(nn.Module):
    """Two convolutions a level with batch normalisation, poolings by 2, and back by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            self._level(before, width) for before, width in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True)
        )
        self.back = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, 2) for width in reversed(WIDTHS[:-1])
        )
        self.up = nn.ModuleList(self._level(2 * width, width) for width in reversed(WIDTHS[:-1]))
        self.head = nn.Conv2d(WIDTHS[0], len(CLASSES), 1)

    @staticmethod
    def _level(before: int, width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs in (before, width):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        passed = []
        for number, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if number else x)
            passed.append(x)
        passed.pop()
        for back, level in zip(self.back, self.up, strict=True):
            x = level(torch.cat([passed.pop(), back(x)], 1))
        return torch.softmax(self.head(x), 1)


def reach(network: nn.Module) -> int:
    """px around a pixel that have a part in its output, by gradients at every place of a step."""
    found = 0
    for offset in range(STEP):
        x = torch.rand(1, 1, 256, 256, requires_grad=True)
        place = 128 + offset
        (gradient,) = torch.autograd.grad(network(x)[0, 0, place, place], x)
        found = max(found, int((gradient[0, 0].abs().nonzero() - place).abs().max()))
    return found


def write_package(folder: Path) -> None:
    """The U-Net with random weights as a package; its halo is rounded up to its step."""
    torch.manual_seed(0)
    network = UNet().eval()
    halo = -(-reach(network) // STEP) * STEP
    least = 2 * halo + 2 * STEP
    sample = torch.rand(1, 1, least, least)
    with torch.no_grad():
        torch.jit.trace(network, sample).save(str(folder / "weights.pt"))
        np.save(folder / "input.npy", sample.numpy())
        np.save(folder / "output.npy", network(sample).numpy())
    (folder / "README.md").write_text("# U-Net with random weights\nFor measuring time.\n", encoding="utf-8")
    sides = [
        {"type": "space", "id": side, "size": {"min": least, "step": STEP}, "scale": 1.0} for side in "yx"
    ]
    referred = [
        {"type": "space", "id": side, "size": {"tensor_id": "image", "axis_id": side}, "halo": halo}
        for side in "yx"
    ]
    description = {
        "type": "model",
        "format_version": "0.5.4",
        "name": "Unet for timing",
        "description": "A U-Net with random weights, for measuring time.",
        "authors": [{"name": "Mikata"}],
        "cite": [{"text": "U-Net", "doi": "10.48550/arXiv.1505.04597"}],
        "license": "CC0-1.0",
        "documentation": "README.md",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "inputs": [
            {
                "id": "image",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["grey"]}, *sides],
                "data": {"type": "float32"},
                "test_tensor": {"source": "input.npy"},
            }
        ],
        "outputs": [
            {
                "id": "classes",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(CLASSES)}, *referred],
                "data": {"type": "float32"},
                "test_tensor": {"source": "output.npy"},
            }
        ],
        "weights": {
            "torchscript": {"source": "weights.pt", "pytorch_version": torch.__version__.split("+")[0]}
        },
    }
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")


def image(size: int) -> np.ndarray:
    """Noise of the network's scale, the same in every process."""
    return np.random.default_rng(0).random((size, size), dtype=np.float32)


def timed(call: Callable[[], np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    """Seconds of a call, by the clock and of the processor, and what it gives."""
    clock, processor = time.perf_counter(), time.process_time()
    out = call()
    return {"seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}, out


def by_core(folder: Path, size: int, block: int) -> tuple[dict[str, float], np.ndarray]:
    """Seconds and output (K, H, W) of bioimageio.core."""
    from bioimageio.core import create_prediction_pipeline
    from bioimageio.core.digest_spec import create_sample_for_model
    from bioimageio.spec import load_model_description
    from loguru import logger

    logger.disable("bioimageio")
    model = load_model_description(folder / "rdf.yaml", perform_io_checks=False)
    with create_prediction_pipeline(model, weights_format="torchscript") as pipeline:

        def run(side: int) -> np.ndarray:
            sample = create_sample_for_model(model, inputs={"image": image(side)[None, None]})
            if block:
                shape: Any = {"image": {"batch": 1, "channel": 1, "y": block, "x": block}}
                found = pipeline.predict_sample_with_fixed_blocking(sample, shape)
            else:
                found = pipeline.predict_sample_with_blocking(sample)
            return found.members["classes"].data.to_numpy()[0]

        run(max(512, size // 10 // STEP * STEP))
        return timed(lambda: run(size))


def by_mikata(folder: Path, size: int, channels: bool) -> tuple[dict[str, float], np.ndarray]:
    """Seconds, and class with probability or the output (K, H, W), of Mikata."""
    from mikata import images
    from mikata.networks.pixelwise import PixelNetwork, Sides, unchanged
    from mikata.tiling import Channels, PlaneValues, Sink, Tiler, Winners, zeros

    with (folder / "rdf.yaml").open(encoding="utf-8") as file:
        axes = yaml.safe_load(file)
    stated = axes["inputs"][0]["axes"][2]["size"]
    sides = Sides(stated["min"], stated["step"])
    network = PixelNetwork(
        folder, 1, unchanged, torch.jit.load(str(folder / "weights.pt")), unchanged, sides, sides,
        axes["outputs"][0]["axes"][2]["halo"], STEP, 1, CLASSES, "classes",
    )  # fmt: skip
    tiler = Tiler(network)

    def run(side: int) -> np.ndarray:
        plane = PlaneValues(images.from_array(image(side), "YX"), 1, 1, network, "image")
        if channels:
            everything = zeros((len(CLASSES), side, side), np.float32)
            sink: Sink = Channels(everything)
        else:
            sink = Winners((side, side), len(CLASSES), 0.0)
        plan = tiler.run(plane, [sink], lambda done, count: None)
        longest = max(span.length for span in plan.columns.spans)
        print(f"{plan.count} tiles of up to {longest} px", file=sys.stderr)
        return everything if channels else sink.classes  # type: ignore[attr-defined]

    run(max(512, size // 10 // STEP * STEP))
    return timed(lambda: run(size))


def child(arguments: argparse.Namespace) -> None:
    """One run, told as JSON; a part of its output is kept for comparing."""
    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.folder)
    if arguments.child == "core":
        seconds, out = by_core(folder, arguments.size, arguments.block)
    else:
        seconds, out = by_mikata(folder, arguments.size, arguments.child == "channels")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # away from the image's border, which the two continue differently
    part = out[:, 128:-128, 128:-128][:, -1024:, -1024:]
    np.save(folder / f"{arguments.child}.npy", part)
    print(json.dumps(seconds | {"peak": peak}))


def measured(folder: Path, what: str, arguments: argparse.Namespace, block: int = 0) -> dict[str, float]:
    """What a process of its own tells."""
    command = [
        sys.executable, "-W", "ignore", __file__, "--child", what, "--folder", str(folder), "--block", str(block),
        "--size", str(arguments.size), "--threads", str(arguments.threads),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    said = [line for line in done.stderr.splitlines() if line.endswith(" px")]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    name = f"{what} {block or 'default'}" if what == "core" else f"{what} ({said[-1]})"
    print(
        f"  {name}: {found['seconds']:.1f} s, processor {found['processor']:.1f} s, {found['peak'] / 1e9:.2f} GB",
        flush=True,
    )
    return found


def main() -> None:
    """Alternate, and tell the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 256, 512])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", default="")
    parser.add_argument("--folder", default="")
    parser.add_argument("--block", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_package(folder)
        print(f"{arguments.size} x {arguments.size} px, {arguments.threads} thread(s)")
        ratios: dict[tuple[str, int], list[list[float]]] = {}
        for _ in range(arguments.repeats):
            for block in arguments.blocks:
                theirs = measured(folder, "core", arguments, block)
                for what in ("labels", "channels"):
                    mine = measured(folder, what, arguments)
                    ratios.setdefault((what, block), []).append(
                        [mine[key] / theirs[key] for key in ("seconds", "processor", "peak")]
                    )
                core, own = np.load(folder / "core.npy"), np.load(folder / "channels.npy")
                labels = np.load(folder / "labels.npy")
                print(
                    f"  largest difference {np.abs(core - own).max():.1e}; labels that differ: "
                    f"{(core.argmax(0) != labels[0]).mean():.1e}"
                )
        for (what, block), pairs in ratios.items():
            seconds, processor, peak = (statistics.median(one) for one in zip(*pairs, strict=True))
            print(
                f"{what} against blocks of {block or 'default'}: time {seconds:.2f} "
                f"(processor {processor:.2f}), peak memory {peak:.2f}"
            )


if __name__ == "__main__":
    main()
