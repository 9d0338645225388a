"""Images that leave word of themselves as they are read, and the same with regions painted over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mikata.explanation.marks import painted_over
from mikata.explanation.region_marks import MarkSource
from mikata.explanation.region_sources import OverlaySource
from mikata.images import Images
from mikata.types import Image


class NotingImages(Images):
    """Images that leave word of their sizes, and of their regions where these are taken from the images."""

    def __init__(self, source: Images) -> None:
        super().__init__(source._items, keep_metadata=source._keep_metadata, origin=source._origin)
        self.sizes: dict[str, tuple[int, int, int]] = {}
        self.noted: OverlaySource | MarkSource | None = None

    def items(self) -> Iterator[tuple[str, Image]]:
        """The readable images with their names, as of `Images`."""
        for name, image in super().items():
            self.sizes[name] = image.size("C"), image.size("Z"), image.size("T")
            if self.noted:
                self.noted.note(name, image)
            yield name, image


class PaintedImages(NotingImages):
    """The images of a run with its marks and borders painted over, all channels alike."""

    def __init__(self, source: Images, marks: MarkSource) -> None:
        super().__init__(source)
        self._marks = marks

    def items(self) -> Iterator[tuple[str, Image]]:
        """The readable images with their names; those without marks as they are."""
        for name, image in super().items():
            yield name, self._painted(name, image)

    def _painted(self, name: str, image: Image) -> Image:
        array = image.array.copy()
        samples = 3 if image.is_colour else 1
        size_t, size_z, size_c = image.size("T"), image.size("Z"), image.size("C")
        # axes are in the order TZCYXS, those of length 1 left out: a view that has them all
        planes = array.reshape(size_t, size_z, size_c, image.size("Y"), image.size("X"), samples)
        for t in range(size_t):
            for z in range(size_z):
                mask = self._marks.covered(name, z + 1, t + 1)
                if mask.all() or not mask.any():
                    continue
                for c in range(size_c):
                    for s in range(samples):
                        own = planes[t, z, c, :, :, s]
                        found = painted_over(own, mask)
                        own[mask] = np.rint(found[mask]) if array.dtype.kind == "u" else found[mask]
        return image.replace(array=array)
