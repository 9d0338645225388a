"""Images of a data set as batches of tensors: read once and kept, or read anew by threads."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mikata import images
from mikata.datasets import Entry, values_of
from mikata.errors import DataError, ImageError
from mikata.language import say
from mikata.networks import InputSpec, to_input
from mikata.networks.inputs import TakesImages
from mikata.training import order
from mikata.training.stage import Stage
from mikata.types import Progress

_AHEAD = 2  # batches that are being read while one is used
_FLOAT = 4  # bytes

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, C, H, W), labels (N,) and random numbers (N, len(DRAWS))."""

Known = MutableMapping[tuple[str, str, InputSpec], Tensor]
"""Images as a network takes them, by the digest and unit of their values and by what the network takes."""


def threads(workers: int) -> int:
    """Number of threads that read images; 0 asks for one for each core."""
    return workers or os.cpu_count() or 1


@dataclass(eq=False)
class Part:
    """Images of one part of a split, with the number of each one's class.

    Attributes
    ----------
    entries:
        The images' files; empty where the images were never files.
    labels:
        Numbers of their classes (N,), int64; of images that have values these, float64 in their unit, or what is
        learnt of them (`ValueLoss`), float32.
    spec:
        What the network takes.
    kept:
        The images as the network takes them where they are kept in memory: one tensor (N, C, H, W)
        when all have one size, else one (C, H, W) each; None where each is read when needed.
    known:
        Images that other parts of the same trainings have read, to be added to; None: each part reads its own.
    """

    entries: tuple[Entry, ...]
    labels: Tensor
    spec: TakesImages
    kept: Tensor | list[Tensor] | None = field(default=None, repr=False)
    known: Known | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Tensor:
        """One image (C, H, W) as the network takes it.

        Raises
        ------
        ImageError
            If its file can no longer be read, or does not suit the network.
        """
        if self.kept is not None:
            return self.kept[index]
        entry = self.entries[index]
        if self.known is None or not isinstance(self.spec, InputSpec):
            return self._read(entry)
        key = (entry.picture.digest, entry.picture.unit, self.spec)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._read(entry)
        return found

    def _read(self, entry: Entry) -> Tensor:
        image = images.read(entry.file)
        values = next(image.frames()).values
        return to_input(values, self.spec, name=str(entry.file), unit=image.calibrated_unit)

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of :meth:`image`, known without reading it."""
        height, width = self.spec.size
        if self.spec.fit == "resize":
            return height, width
        seen = self.entries[index].picture
        return max(height, seen.height), max(width, seen.width)

    def digest(self) -> str:
        """SHA-256 of the images and what they are, in their order."""
        if not self.entries and isinstance(self.kept, Tensor):  # drawn, never files
            found = hashlib.sha256(self.kept.contiguous().numpy().tobytes())
            found.update(self.labels.numpy().tobytes())
            return found.hexdigest()
        rows = zip(self.entries, self.labels.tolist(), strict=True)
        text = "\n".join(f"{entry.picture.digest} {label}" for entry, label in rows)
        return hashlib.sha256(text.encode()).hexdigest()

    def training_batches(self, stage: Stage, seed: int, share: tuple[int, int]) -> TrainingBatches:
        """Its images in batches that are learnt from."""
        return TrainingBatches(
            self, stage.batch, seed, balance=stage.balance, workers=stage.workers, share=share
        )

    def whole_batches(self, stage: Stage, share: tuple[int, int]) -> WholeBatches:
        """Its images whole, once, in batches that are judged."""
        return WholeBatches(self, stage.batch, workers=stage.workers, share=share)

    def nbytes(self) -> int:
        """Memory that all images need when they are kept."""
        pixels = sum(height * width for height, width in map(self.shape, range(len(self))))
        return pixels * self.spec.channels * _FLOAT


def part(entries: Sequence[Entry], classes: Sequence[str], spec: TakesImages) -> Part:
    """Give the entries the numbers of their classes or, where there are no classes, their values.

    Raises
    ------
    DataError
        If a label is not among the classes, or a value is missing.
    """
    if not classes:
        return Part(tuple(entries), torch.from_numpy(values_of(entries)), spec)
    numbers = {name: number for number, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in numbers:
            raise DataError(
                say(
                    "{file}: its class '{label}' is unknown here; known are {known}.",
                    file=entry.file,
                    label=entry.label,
                    known=", ".join(classes),
                )
            )
    return Part(tuple(entries), torch.tensor([numbers[entry.label] for entry in entries]), spec)


@dataclass(frozen=True)
class Statistics:
    """Of the values of all pixels: mean and standard deviation for each channel, lowest and highest."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float]


def look_through(source: Part, *, keep: bool, workers: int, message: str, progress: Progress) -> Statistics:
    """Read all images once, keep them if asked to, and return the statistics of their values.

    Mean and variance are merged image by image in 64 bit (Chan, Golub and LeVeque 1979), so that a
    large offset, as of CT values, costs no digits.
    """
    count = 0
    mean = torch.zeros(source.spec.channels, dtype=torch.float64)
    squares = torch.zeros_like(mean)  # sum of squared differences from the mean
    low, high = float("inf"), float("-inf")
    kept: list[Tensor] = []
    uniform = len({source.shape(i) for i in range(len(source))}) == 1
    whole: Tensor | None = None
    if keep and uniform:
        # one block at once: a list to be stacked in the end would need the memory twice
        whole = torch.empty(len(source), source.spec.channels, *source.shape(0))
    for index, image in enumerate(_read_ahead(source, range(len(source)), workers)):
        progress.step(message, index, len(source))
        values = image.double().flatten(1)
        own = values.mean(1)
        pixels = values.shape[1]
        squares += (values - own[:, None]).square().sum(1)
        squares += (own - mean).square() * (count * pixels / (count + pixels))
        mean += (own - mean) * (pixels / (count + pixels))
        count += pixels
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if whole is not None:
            whole[index] = image
        elif keep:
            kept.append(image)
    progress.step(message, len(source), len(source))
    if keep:
        source.kept = whole if whole is not None else kept
    std = (squares / count).sqrt()
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()), (low, high))


def _read_ahead(source: Part, indices: Sequence[int], workers: int) -> Iterator[Tensor]:
    """Images in order, read by threads a little ahead of their use."""
    with ThreadPoolExecutor(threads(workers)) as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for index in indices:
                waiting.append(pool.submit(source.image, index))
                if len(waiting) > 2 * threads(workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class TrainingBatches:
    """The batches of one epoch after another, in the order of `mikata.training.order`.

    An epoch's images are dealt evenly: 17 images in batches of at most 16 come as 9 and 8, so that no
    batch weighs more than another. Unless single images are asked for, none comes alone, which batch
    normalisation may not take: 7 images in batches of 2 come as 3, 2 and 2.

    Parameters
    ----------
    balance:
        As a recipe says it: ``sampling`` and ``down_sampling`` choose among the images, all else takes each once.
    share:
        Number of this process and how many there are: each gets its part of every batch, so that the batches of all
        together are those of one process.

    Attributes
    ----------
    source:
        The images.
    epoch:
        From 0; to be set before each epoch.
    begin:
        Number of the batch that an epoch begins with: the ones before it were learnt before the training was
        interrupted.
    """

    def __init__(
        self,
        source: Part,
        batch: int,
        seed: int,
        *,
        balance: str = "none",
        workers: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.epoch = 0
        self.begin = 0
        self.source = source
        self._share = share
        self._seed = seed
        self._balance = balance
        self._workers = workers
        count = len(source)
        if balance == "down_sampling":
            present = torch.bincount(source.labels).tolist()
            count = min(filter(None, present)) * sum(map(bool, present))
        self._deal(count, batch)

    def _deal(self, count: int, batch: int) -> None:
        """Deal so many images to batches of at most so many."""
        self._count = count
        self._batches = -(-self._count // batch)
        if batch > 1 and self._count < 2 * self._batches:
            self._batches = max(1, self._count // 2)

    def __len__(self) -> int:
        return self._batches

    def size(self, number: int) -> int:
        """How many images the batch of a number has, the shares of all processes together."""
        share, rest = divmod(self._count, self._batches)
        return share + (number < rest)

    def __iter__(self) -> Iterator[Batch]:
        source = self.source
        if self._balance == "sampling":
            sequence = order.balanced(source.labels, self._seed, self.epoch)
        elif self._balance == "down_sampling":
            sequence = order.fewest(source.labels, self._seed, self.epoch)
        else:
            sequence = order.shuffled(len(source), self._seed, self.epoch)
        draws = order.draws(len(sequence), self._seed, self.epoch)
        rank, processes = self._share
        wholes = torch.arange(len(sequence)).tensor_split(self._batches)[self.begin :]
        places = [whole.tensor_split(processes)[rank] for whole in wholes]
        if isinstance(source.kept, Tensor) and source.kept.shape[2:] == source.spec.size:
            for place in places:
                index = sequence[place]
                yield source.kept[index], source.labels[index], draws[place]
            return
        if source.kept is not None:
            for place in places:
                jobs = zip(sequence[place].tolist(), draws[place], strict=True)
                stack = torch.stack([self._crop(*job) for job in jobs])
                yield stack, source.labels[sequence[place]], draws[place]
            return
        with ThreadPoolExecutor(threads(self._workers)) as pool:
            waiting: deque[tuple[Tensor, list[Future[Tensor]]]] = deque()

            def finished() -> Batch:
                place, pictures = waiting.popleft()
                stack = torch.stack([picture.result() for picture in pictures])
                return stack, source.labels[sequence[place]], draws[place]

            try:
                for place in places:
                    jobs = zip(sequence[place].tolist(), draws[place], strict=True)
                    waiting.append((place, [pool.submit(self._crop, *job) for job in jobs]))
                    if len(waiting) > _AHEAD:
                        yield finished()
                while waiting:
                    yield finished()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _crop(self, index: int, draw: Tensor) -> Tensor:
        image = self.source.image(index)
        height, width = self.source.spec.size
        top = int(draw[order.DRAWS.index("crop_y")] * (image.shape[1] - height + 1))
        left = int(draw[order.DRAWS.index("crop_x")] * (image.shape[2] - width + 1))
        return image[:, top : top + height, left : left + width]


class Remaining:
    """The batches of an epoch that are not learnt yet, with their number, which lightning asks for."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches) - self._batches.begin

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)


class WholeBatches:
    """All images once and whole, each batch of one size; for choosing an epoch and for evaluation.

    Iterating gives images (N, C, H, W), labels (N,) and the images' numbers (N,).

    Parameters
    ----------
    batch:
        Most images of the network's size at once; fewer of larger ones.
    on_error:
        Called with the number of an image that cannot be read, which is then left out; None: the
        error is raised.
    balance:
        As a recipe says it: ``sampling`` and ``down_sampling`` choose among the images, all else takes each once.
    share:
        Number of this process and how many there are: each gets some of the batches.
    """

    def __init__(
        self,
        source: Part,
        batch: int,
        *,
        workers: int,
        on_error: Callable[[int, ImageError], None] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.source = source
        self._workers = workers
        self._on_error = on_error
        rank, processes = share
        self._chunks = list(self._same_size(batch))[rank::processes]

    def __len__(self) -> int:
        return len(self._chunks)

    def _shape(self, index: int) -> tuple[int, int]:
        return self.source.shape(index)

    def _same_size(self, batch: int) -> Iterator[list[int]]:
        height, width = self.source.spec.size
        sizes: dict[tuple[int, int], list[int]] = {}
        for index in range(len(self.source)):
            sizes.setdefault(self._shape(index), []).append(index)
        for (high, wide), indices in sizes.items():
            step = max(1, batch * height * width // (high * wide))
            for start in range(0, len(indices), step):
                yield indices[start : start + step]

    def __iter__(self) -> Iterator[Batch]:
        source = self.source
        if isinstance(source.kept, Tensor):
            for chunk in self._chunks:
                numbers = torch.tensor(chunk)
                yield source.kept[numbers], source.labels[numbers], numbers
            return
        with ThreadPoolExecutor(threads(self._workers)) as pool:
            waiting: deque[tuple[list[int], list[Future[Tensor]]]] = deque()
            try:
                for chunk in self._chunks:
                    waiting.append((chunk, [pool.submit(source.image, index) for index in chunk]))
                    if len(waiting) > _AHEAD:
                        yield from self._finished(*waiting.popleft())
                while waiting:
                    yield from self._finished(*waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _finished(self, chunk: list[int], pictures: list[Future[Tensor]]) -> Iterator[Batch]:
        good: list[int] = []
        tensors: list[Tensor] = []
        for index, picture in zip(chunk, pictures, strict=True):
            try:
                tensors.append(picture.result())
                good.append(index)
            except ImageError as error:
                if self._on_error is None:
                    raise
                self._on_error(index, error)
        if good:
            yield torch.stack(tensors), self.source.labels[good], torch.tensor(good)


def channels_of(entries: Sequence[Entry], wanted: str | int) -> int:
    """Number of channels the network gets: what the recipe says, or what all images have.

    Raises
    ------
    DataError
        If images have more channels than the recipe's number.
    """
    found = {entry.picture.channels: entry for entry in entries}
    if wanted == "auto":
        return max(found)
    number = int(wanted)
    for channels, entry in found.items():
        if channels != number and channels != 1:
            if channels == 3:
                raise DataError(
                    say(
                        "{file} is in colour, but the recipe says channels = {wanted}. "
                        'Say channels = "auto".',
                        file=entry.file,
                        wanted=number,
                    )
                )
            raise DataError(
                say(
                    "{file} has {channels} channels, but the recipe says channels = {wanted}. "
                    'Say channels = "auto".',
                    file=entry.file,
                    channels=channels,
                    wanted=number,
                )
            )
    return number


def input_of(entries: Sequence[Entry], channels: int, size: tuple[int, int], fit: str) -> InputSpec:
    """What a network for these images takes; the range of values is not known yet."""
    return InputSpec(channels, size, "native" if fit == "native" else "resize", entries[0].picture.unit)
