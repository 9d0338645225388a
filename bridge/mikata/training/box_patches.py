"""Images with objects as batches: random patches to learn from, whole images to judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mikata.datasets import Box, Entry
from mikata.datasets.detected import digest
from mikata.networks.inputs import TakesImages
from mikata.training.centre_losses import ABSENT, X, Y, mirrored
from mikata.training.patches import WholeAndPatches
from mikata.training.stage import Stage


@dataclass(eq=False)
class BoxPart(WholeAndPatches):
    """Images of one part of a split, with their objects.

    Attributes
    ----------
    step:
        Whole images are filled up to multiples of it, in px.
    """

    step: int = 1

    @classmethod
    def of(cls, entries: Sequence[Entry], spec: TakesImages, *, step: int) -> BoxPart:
        """The part that these entries are."""
        return cls(tuple(entries), torch.zeros(len(entries), dtype=torch.int64), spec, step=step)

    def boxes(self, index: int) -> tuple[Box, ...]:
        """The objects of an image."""
        return self.entries[index].boxes or ()

    def objects(self, index: int, filled: tuple[int, int]) -> Tensor:
        """The objects of an image (M, 5) that is filled up to a (height, width); see `centre_losses.KIND`."""
        seen = self.entries[index].picture
        rows = [(box.kind, box.x, box.y, box.width, box.height) for box in self.boxes(index)]
        return mirrored(
            torch.tensor(rows, dtype=torch.float32).reshape(-1, 5), (seen.height, seen.width), filled
        )

    def digest(self) -> str:
        """SHA-256 of the images and their objects, in their order."""
        text = "\n".join(f"{entry.picture.digest} {digest(entry)}" for entry in self.entries)
        return hashlib.sha256(text.encode()).hexdigest()

    def patches(self, stage: Stage) -> tuple[int, float]:
        """As the recipe says."""
        return stage.detection.patches, stage.detection.foreground

    def place(self, index: int, kind: float, which: float) -> tuple[int, int] | None:
        """The centre of a random object of a random one of the classes that the image holds."""
        kinds = sorted({box.kind for box in self.boxes(index)})
        if not kinds:
            return None
        wanted = kinds[int(kind * len(kinds))]
        own = [box for box in self.boxes(index) if box.kind == wanted]
        box = own[int(which * len(own))]
        return int(box.y), int(box.x)

    def patch(self, index: int, top: int, left: int) -> tuple[Tensor, Tensor]:
        """A patch of an image, and the objects whose centre is in it."""
        height, width = self.spec.size
        objects = self.objects(index, self.shape(index))
        objects = objects - torch.tensor([0.0, left, top, 0.0, 0.0])
        inside = (
            (objects[:, X] >= 0) & (objects[:, X] < width) & (objects[:, Y] >= 0) & (objects[:, Y] < height)
        )
        return self.image(index)[:, top : top + height, left : left + width], objects[inside]

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """An image and its objects, filled up as in a mirror to multiples of `step`."""
        seen = self.entries[index].picture
        image = self.image(index)[:, : seen.height, : seen.width].numpy()
        height, width = self.whole_shape(index)
        filled = np.pad(image, ((0, 0), (0, height - seen.height), (0, width - seen.width)), mode="reflect")
        return torch.from_numpy(filled), self.objects(index, (height, width))

    def whole_shape(self, index: int) -> tuple[int, int]:
        """Height and width of what `whole` gives."""
        seen = self.entries[index].picture
        return seen.height + -seen.height % self.step, seen.width + -seen.width % self.step

    def stacked(self, truths: Sequence[Tensor]) -> Tensor:
        """Objects of several images (N, M, 5), those of the one with most of them; the others are filled up."""
        return pad_sequence(list(truths), batch_first=True, padding_value=ABSENT)

    def objects_per_image(self, classes: int) -> list[float]:
        """Mean number of objects of each class."""
        counts = np.zeros(classes)
        for index in range(len(self)):
            for box in self.boxes(index):
                counts[box.kind] += 1
        return [float(count) / len(self) for count in counts]

    def objects_per_patch(self, classes: int, stage: Stage) -> list[float]:
        """The same for patches at places drawn evenly, plus those drawn at an object of the class."""
        height, width = self.spec.size
        _, foreground = self.patches(stage)
        found = np.zeros(classes)
        for index in range(len(self)):
            kinds = np.bincount([box.kind for box in self.boxes(index)], minlength=classes)
            share = height * width / float(np.prod(self.shape(index)))
            even = kinds * share
            present = kinds > 0
            at_objects = np.maximum(even, present / max(1, int(present.sum())))
            found += (1 - foreground) * even + foreground * at_objects
        return [float(count) / len(self) for count in found]
