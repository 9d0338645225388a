"""Images with masks, or with other things to be learnt of them, as batches: random patches to learn from, whole images to judge."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mikata.datasets import Entry, Segmented
from mikata.networks.inputs import TakesImages
from mikata.training import order
from mikata.training.data import Batch, Part, TrainingBatches, WholeBatches, threads
from mikata.training.pixel_losses import CLASS, IGNORED, OBJECT
from mikata.training.stage import Stage

_AHEAD = 2  # batches that are being read while one is used
_Made = TypeVar("_Made")


class WholeAndPatches(Part):
    """Images of one part of a split with what is to be learnt of them, whole and in patches."""

    def training_batches(self, stage: Stage, seed: int, share: tuple[int, int]) -> TrainingBatches:
        """Patches in batches that are learnt from."""
        return PatchBatches(self, stage, seed, share)

    def whole_batches(self, stage: Stage, share: tuple[int, int]) -> WholeBatches:
        """Its images whole, once, in batches that are judged."""
        return WholeImages(self, stage.batch, workers=stage.workers, share=share)

    def patches(self, stage: Stage) -> tuple[int, float]:
        """How many patches of each image an epoch has, and the share of them that has an object in its middle."""
        raise NotImplementedError

    def place(self, index: int, kind: float, which: float) -> tuple[int, int] | None:
        """Row and column of a place of an object of an image, by two numbers from 0 to below 1; None: it has none."""
        raise NotImplementedError

    def patch(self, index: int, top: int, left: int) -> tuple[Tensor, Tensor]:
        """A patch of an image, and what is to be learnt of it."""
        raise NotImplementedError

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """A whole image, and what it is judged by."""
        raise NotImplementedError

    def whole_shape(self, index: int) -> tuple[int, int]:
        """Height and width of what `whole` gives."""
        raise NotImplementedError

    def stacked(self, truths: Sequence[Tensor]) -> Tensor:
        """What is to be learnt of several patches or images."""
        return torch.stack(list(truths))


@dataclass(eq=False)
class MaskPart(WholeAndPatches):
    """Images of one part of a split, with what each pixel is.

    Attributes
    ----------
    dataset:
        Reads the masks.
    distance:
        Whether a plane of distances is among what each pixel is.
    step:
        Whole images are filled up to multiples of it, in px.
    planes:
        What each pixel is (P, H, W), float32, of every image where they are kept in memory.
    """

    dataset: Segmented = field(kw_only=True)
    distance: bool = False
    step: int = 1
    planes: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def of(
        cls, entries: Sequence[Entry], dataset: Segmented, spec: TakesImages, *, distance: bool, step: int
    ) -> MaskPart:
        """The part that these entries are."""
        return cls(
            tuple(entries),
            torch.zeros(len(entries), dtype=torch.int64),
            spec,
            dataset=dataset,
            distance=distance,
            step=step,
        )

    def truth(self, index: int) -> Tensor:
        """What each pixel of an image is (P, H, W), as large as `image` gives it; see `pixel_losses.CLASS`."""
        if self.planes:
            return self.planes[index]
        return self._planes(self.entries[index])

    def keep_truth(self) -> None:
        """Keep in memory what each pixel is."""
        self.planes = [self._planes(entry) for entry in self.entries]

    def _planes(self, entry: Entry) -> Tensor:
        found = self.dataset.truth(entry)
        planes = [found.classes.astype(np.float32), found.objects.astype(np.float32)]
        if self.distance:
            planes.append(distances(found.objects))
        stack = np.stack(planes)
        below, right = (max(0, want - has) for want, has in zip(self.spec.size, stack.shape[1:], strict=True))
        if below or right:  # as `to_input` fills up the image
            stack = np.pad(stack, ((0, 0), (0, below), (0, right)), mode="reflect")
        return torch.from_numpy(stack)

    def nbytes(self) -> int:
        """Memory that all images and what their pixels are need when they are kept."""
        planes = 2 + self.distance
        return super().nbytes() * (self.spec.channels + planes) // self.spec.channels

    def digest(self) -> str:
        """SHA-256 of the images and their masks, in their order."""
        text = "\n".join(
            f"{e.picture.digest} {'' if e.mask is None else e.mask.digest}" for e in self.entries
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def patches(self, stage: Stage) -> tuple[int, float]:
        """As the recipe says."""
        return stage.segmentation.patches, stage.segmentation.foreground

    def place(self, index: int, kind: float, which: float) -> tuple[int, int] | None:
        """A random pixel of a random one of the classes that the image holds."""
        entry = self.entries[index]
        present = entry.mask.present if entry.mask is not None else ()
        if not present:
            return None
        truth = self.truth(index)
        pixels = (truth[CLASS] == present[int(kind * len(present))]).flatten().nonzero().flatten()
        return divmod(int(pixels[int(which * len(pixels))]), truth.shape[2])

    def patch(self, index: int, top: int, left: int) -> tuple[Tensor, Tensor]:
        """A patch of an image, and what its pixels are."""
        height, width = self.spec.size
        window = (slice(None), slice(top, top + height), slice(left, left + width))
        return self.image(index)[window], self.truth(index)[window]

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """An image and what its pixels are, filled up to multiples of `step` with pixels that do not count."""
        height, width = self.entries[index].picture.height, self.entries[index].picture.width
        image, truth = self.image(index)[:, :height, :width], self.truth(index)[:, :height, :width]
        below, right = -height % self.step, -width % self.step
        filled = np.pad(image.numpy(), ((0, 0), (0, below), (0, right)), mode="reflect")
        # objects go on beyond the edge, which is none of their boundaries; their class does not count there
        grown = torch.from_numpy(np.pad(truth.numpy(), ((0, 0), (0, below), (0, right)), mode="edge"))
        grown[CLASS, height:] = IGNORED
        grown[CLASS, :, width:] = IGNORED
        return torch.from_numpy(filled), grown

    def whole_shape(self, index: int) -> tuple[int, int]:
        """Height and width of what `whole` gives."""
        seen = self.entries[index].picture
        return seen.height + -seen.height % self.step, seen.width + -seen.width % self.step


def distances(objects: NDArray[np.int32]) -> NDArray[np.float32]:
    """How far inside of its object each pixel lies (H, W): 1 at its innermost pixel, 0 outside.

    The distance to the nearest pixel outside of the object, as a share of the largest in it.

    Parameters
    ----------
    objects:
        Numbers of objects (H, W) from 1; 0 is background.
    """
    found = np.zeros(objects.shape, np.float32)
    for number, box in enumerate(ndimage.find_objects(objects), 1):
        if box is None:
            continue
        own = objects[box] == number
        # a box's own edge is outside; what lies beyond the image's edge is not known to be
        around = [
            (int(part.start > 0), int(part.stop < side))
            for part, side in zip(box, objects.shape, strict=True)
        ]
        grown = np.pad(own, around)
        if grown.all():
            found[box] = 1.0
            continue
        (top, below), (left, right) = around
        inside = ndimage.distance_transform_edt(grown)
        inside = inside[top : inside.shape[0] - below, left : inside.shape[1] - right]
        found[box][own] = (inside / inside.max())[own]
    return found


class PatchBatches(TrainingBatches):
    """The patches of one epoch after another: of every image as many as the recipe says, at random places.

    A share of them (``foreground``) has a place of an object in its middle, or as near to it as the image allows.
    """

    def __init__(self, source: WholeAndPatches, stage: Stage, seed: int, share: tuple[int, int]) -> None:
        super().__init__(source, stage.batch, seed, workers=stage.workers, share=share)
        self._whole = source
        self._each, self._foreground = source.patches(stage)
        self._deal(len(source) * self._each, stage.batch)

    def __iter__(self) -> Iterator[Batch]:
        source = self._whole
        count = len(source) * self._each
        sequence = order.shuffled(count, self._seed, self.epoch) % len(source)
        draws = order.draws(count, self._seed, self.epoch)
        chances = torch.rand(count, 4, generator=order.generator(self._seed, self.epoch, "patches"))
        rank, processes = self._share
        wholes = torch.arange(count).tensor_split(self._batches)[self.begin :]
        places = [whole.tensor_split(processes)[rank] for whole in wholes]

        def patch(place: int) -> tuple[Tensor, Tensor]:
            return self._patch(int(sequence[place]), chances[place].tolist())

        for place, made in zip(
            places, ahead(patch, [p.tolist() for p in places], self._workers), strict=True
        ):
            images, truths = zip(*made, strict=True)
            yield torch.stack(images), source.stacked(truths), draws[place]

    def _patch(self, index: int, chances: list[float]) -> tuple[Tensor, Tensor]:
        source = self._whole
        height, width = source.spec.size
        whole = source.shape(index)
        room_y, room_x = whole[0] - height, whole[1] - width
        top, left = int(chances[0] * (room_y + 1)), int(chances[1] * (room_x + 1))
        if chances[2] < self._foreground:
            # what is left of the chance, once it has decided, is even again
            found = source.place(index, chances[2] / self._foreground, chances[3])
            if found is not None:
                top, left = (
                    min(max(0, at - side // 2), room)
                    for at, side, room in zip(found, (height, width), (room_y, room_x), strict=True)
                )
        return source.patch(index, top, left)


class WholeImages(WholeBatches):
    """All images once and whole, with what they are judged by; each batch of one size."""

    def __init__(self, source: WholeAndPatches, batch: int, *, workers: int, share: tuple[int, int]) -> None:
        self._whole = source
        super().__init__(source, batch, workers=workers, share=share)

    def _shape(self, index: int) -> tuple[int, int]:
        return self._whole.whole_shape(index)

    def __iter__(self) -> Iterator[Batch]:
        for chunk, made in zip(
            self._chunks, ahead(self._whole.whole, self._chunks, self._workers), strict=True
        ):
            images, truths = zip(*made, strict=True)
            yield torch.stack(images), self._whole.stacked(truths), torch.tensor(chunk)


def ahead(
    make: Callable[[int], _Made], groups: Sequence[Sequence[int]], workers: int
) -> Iterator[list[_Made]]:
    """What `make` gives of each number of each group, in order, made by threads a little ahead of its use."""
    with ThreadPoolExecutor(threads(workers)) as pool:
        waiting: deque[list[Future[Any]]] = deque()
        try:
            for group in groups:
                waiting.append([pool.submit(make, number) for number in group])
                if len(waiting) > _AHEAD:
                    yield [one.result() for one in waiting.popleft()]
            while waiting:
                yield [one.result() for one in waiting.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


__all__ = [
    "CLASS",
    "OBJECT",
    "MaskPart",
    "PatchBatches",
    "WholeAndPatches",
    "WholeImages",
    "ahead",
    "distances",
]
