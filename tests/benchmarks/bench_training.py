"""What a training epoch costs beside a bare PyTorch loop on the same tensors, in one run.

Usage: ``python tests/benchmarks/bench_training.py [--epochs 12] [--images 320] [--networks small_cnn]``

After each epoch of `mikata.training.train` (no augmentation, everything else as for a user: lightning,
order by seed, accuracies, selection images, history, progress, checkpoints of every epoch) follows one
epoch of a bare loop: the same network, tensors, batches, optimiser and schedule, and the selection loss;
no checkpoints, no accuracy, nothing shown. The figure is the median of the ratios of neighbours, so that
a machine that slows down does not show; where other programs compete for the processor, the ratio of
processor times (all threads of this process; CPU only) is the steadier one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from mikata import datasets
from mikata.networks import build
from mikata.training import loop as loops
from mikata.training import recipe, train

SIZE = 64
BATCH = 16


class BareLoop:
    """The loop one would write by hand."""

    def __init__(self, ours: loops.Loop) -> None:
        self.images, self.labels = ours.batches.source.kept, ours.batches.source.labels
        selection = ours.trainer.val_dataloaders.source
        self.other, self.other_labels = selection.kept, selection.labels
        self.device = ours.device
        configuration = ours.classifier.configuration
        self.model = build(
            configuration["network"],
            classes=configuration["classes"],
            channels=configuration["channels"],
            mean=configuration["mean"],
            std=configuration["std"],
        ).to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        steps = ours.stage.epochs * -(-len(self.images) // BATCH)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, steps)

    def epoch(self) -> float:
        """Loss of the selection images after one epoch."""
        self.model.train()
        for index in torch.randperm(len(self.images)).split(BATCH):
            x, y = self.images[index].to(self.device), self.labels[index].to(self.device)
            self.optimiser.zero_grad()
            F.cross_entropy(self.model.logits(x), y).backward()
            self.optimiser.step()
            self.schedule.step()
        self.model.eval()
        total = torch.zeros((), device=self.device)
        with torch.inference_mode():
            for x, y in zip(self.other.split(BATCH), self.other_labels.split(BATCH), strict=True):
                total += F.cross_entropy(
                    self.model.logits(x.to(self.device)), y.to(self.device), reduction="sum"
                )
        return float(total) / len(self.other)


def clocks() -> np.ndarray:
    """Wall-clock and processor time in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(
    dataset: datasets.Dataset, network: str, epochs: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (epochs, [wall, processor]), ours and the bare loop's, without the first, which warms up."""
    ours: list[np.ndarray] = []
    bare: list[np.ndarray] = []

    class Interleaved(loops.Loop):
        def on_train_start(self) -> None:
            self.bare = BareLoop(self)
            self.last = clocks()

        def on_train_epoch_end(self) -> None:
            super().on_train_epoch_end()  # has read the losses: the device has finished
            now = clocks()
            ours.append(now - self.last)
            self.bare.epoch()
            self.last = clocks()
            bare.append(self.last - now)

    changes: dict[str, Any] = {"network": network, "size": [SIZE, SIZE], "batch": BATCH, "epochs": epochs}
    plain = {"rotation_rad": 0, "shift": 0, "brightness": 0, "early_stopping": 0}
    original, loops.Loop = loops.Loop, Interleaved  # type: ignore[misc]
    try:
        train(dataset, recipe.read(changes=changes | plain), folder=folder)
    finally:
        loops.Loop = original  # type: ignore[misc]
    return np.array(ours[1:]), np.array(bare[1:])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--networks", nargs="+", default=["small_cnn", "resnet18"])
    options = parser.parse_args()
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{options.images} images of {SIZE} x {SIZE} px, batch {BATCH}, {options.epochs} epochs, {device}")
    print(
        f"{'network':<12}{'ours, s/epoch':>15}{'bare, s/epoch':>15}{'ratio (goal 1.1)':>17}{'processor':>11}"
    )
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(options.images):
            path = folder / "data" / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (SIZE, SIZE), dtype=np.uint8)).save(path)
        dataset = datasets.read(folder / "data")
        for network in options.networks:
            ours, bare = measure(dataset, network, options.epochs, folder / "run")
            ratio = np.median(ours / bare, axis=0)
            times = np.median(ours, axis=0)[0], np.median(bare, axis=0)[0]
            print(f"{network:<12}{times[0]:>14.3f}{times[1]:>14.3f}{ratio[0]:>17.2f}{ratio[1]:>11.2f}")


if __name__ == "__main__":
    main()
