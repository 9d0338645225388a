"""What a training costs beside a bare PyTorch loop with the same augmentation, in one run.

Usage: ``python tests/benchmarks/bench_training.py [--epochs 12] [--images 320] [--networks small_cnn]``

After each epoch of `mikata.training.train` (everything as for a user: lightning, order and augmentation by seed,
accuracies, selection images, history, progress, states written when they are due) follows one epoch of a bare loop:
the same network, batches, augmentation, optimiser and schedule, and the selection loss; no checkpoints, no accuracy,
nothing shown. Once with all images in memory, once with all read from the disk in every epoch: by threads in Mikata,
by the worker processes of torch's own loader in the bare loop. The figure is the median over the epochs of the ratio
of neighbours, bare / ours (1: as fast as the bare loop), so that a machine that slows down does not show; a mean
would follow the other programs of a busy machine. ``processor`` is the same ratio of processor times, which is
the steadier one there (of this process only, so that with images from the disk the bare loop's workers are left
out: not to be read there). ``writes`` is the share of the time spent on writing states, and
``end`` the seconds that the last files take.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader

from mikata import datasets
from mikata.networks import build
from mikata.training import loop as loops
from mikata.training import recipe, train
from mikata.training.augmentation import augment
from mikata.training.data import Part
from mikata.training.order import DRAWS

SIZE = 64
BATCH = 16


class Files(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images as one would read them by hand."""

    def __init__(self, part: Part) -> None:
        self.files = [entry.file for entry in part.entries]
        self.labels = part.labels.tolist()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = np.asarray(Image.open(self.files[index]), np.float32)
        return torch.from_numpy(pixels.copy())[None], self.labels[index]


class BareLoop:
    """The loop one would write by hand."""

    def __init__(self, ours: loops.Loop) -> None:
        selection = ours.trainer.val_dataloaders.source
        self.device = ours.device
        self.options, self.value_range = ours.stage.augmentation, ours.value_range
        self.count, self.selected = len(ours.batches.source), len(selection)
        self.batches: Any
        self.others: Any
        if ours.batches.source.kept is None:
            workers: dict[str, Any] = {"num_workers": os.cpu_count() or 1, "persistent_workers": True}
            self.batches = DataLoader(Files(ours.batches.source), BATCH, shuffle=True, **workers)
            self.others = DataLoader(Files(selection), BATCH, **workers)
        else:
            kept = [(part.kept, part.labels) for part in (ours.batches.source, selection)]
            self.batches = InMemory(*kept[0], shuffle=True)
            self.others = InMemory(*kept[1], shuffle=False)
        configuration = ours.classifier.configuration
        self.model = build(
            configuration["network"],
            classes=configuration["classes"],
            channels=configuration["channels"],
            mean=configuration["mean"],
            std=configuration["std"],
        ).to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        steps = ours.stage.epochs * -(-self.count // BATCH)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, steps)

    def epoch(self) -> float:
        """Loss of the selection images after one epoch."""
        self.model.train()
        for x, y in self.batches:
            x, y = x.to(self.device), y.to(self.device)
            x = augment(x, torch.rand(len(x), len(DRAWS)).to(self.device), self.options, self.value_range)
            self.optimiser.zero_grad()
            F.cross_entropy(self.model.logits(x), y).backward()
            self.optimiser.step()
            self.schedule.step()
        self.model.eval()
        total = torch.zeros((), device=self.device)
        with torch.inference_mode():
            for x, y in self.others:
                total += F.cross_entropy(
                    self.model.logits(x.to(self.device)), y.to(self.device), reduction="sum"
                )
        return float(total) / self.selected


class InMemory:
    """Batches of tensors."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, *, shuffle: bool) -> None:
        self.images, self.labels, self.shuffle = images, labels, shuffle

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.images)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for index in order.split(BATCH):
            yield self.images[index], self.labels[index]


def clocks() -> np.ndarray:
    """Wall-clock and processor time in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(
    dataset: datasets.Dataset, network: str, epochs: int, folder: Path, *, in_memory: bool
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Seconds of our epochs and of the bare loop's, without the first; share of writing, seconds of the end.

    Seconds are (epochs, [wall, processor]).
    """
    ours: list[np.ndarray] = []
    bare: list[np.ndarray] = []
    written: list[float] = []
    ended = 0.0

    class Interleaved(loops.Loop):
        def on_train_start(self) -> None:
            super().on_train_start()
            self.bare = BareLoop(self)
            self.last = clocks()

        def write_state(self, ended: str = "") -> None:
            before = time.perf_counter()
            super().write_state(ended)
            if not ended:
                written.append(time.perf_counter() - before)

        def on_train_epoch_end(self) -> None:
            nonlocal ended
            super().on_train_epoch_end()  # has read the losses: the device has finished
            now = clocks()
            ours.append(now - self.last)
            self.bare.epoch()
            self.last = clocks()
            ended = float(self.last[0])
            bare.append(self.last - now)
            self.checkpoints._written += float(bare[-1][0])  # what the bare loop takes is not ours

    changes: dict[str, Any] = {"network": network, "size": [SIZE, SIZE], "batch": BATCH, "epochs": epochs}
    changes |= {"early_stopping": 0} if in_memory else {"early_stopping": 0, "cache_gib": 0}
    original, loops.Loop = loops.Loop, Interleaved  # type: ignore[misc]
    try:
        train(dataset, recipe.read(changes=changes), folder=folder)
    finally:
        loops.Loop = original  # type: ignore[misc]
    end = time.perf_counter() - ended
    return np.array(ours[1:]), np.array(bare[1:]), sum(written) / float(sum(ours)[0]), end


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
        f"{'network':<12}{'images':>8}{'ours, s/epoch':>15}{'bare, s/epoch':>15}{'ratio (goal 0.95)':>19}"
        f"{'processor':>11}{'writes':>8}{'end, s':>8}"
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
            for in_memory in (True, False):
                ours, bare, writes, end = measure(
                    dataset, network, options.epochs, folder / "run", in_memory=in_memory
                )
                print(
                    f"{network:<12}{'memory' if in_memory else 'disk':>8}{np.median(ours[:, 0]):>15.3f}"
                    f"{np.median(bare[:, 0]):>15.3f}{np.median(bare[:, 0] / ours[:, 0]):>19.2f}"
                    f"{np.median(bare[:, 1] / ours[:, 1]):>11.2f}{writes:>8.1%}{end:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
