"""Where the objects of an image are: centres with sizes, as a table or ROIs tell them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """One object.

    Attributes
    ----------
    kind:
        Number of its class, from 0.
    x, y:
        Its centre in px, as ImageJ counts: (0.5, 0.5) is the middle of the first pixel.
    width, height:
        In px; both 0 where the size is not known.
    """

    kind: int
    x: float
    y: float
    width: float = 0.0
    height: float = 0.0

    @property
    def sized(self) -> bool:
        """Whether its size is known."""
        return self.width > 0 and self.height > 0

    def holds(self, x: float, y: float, near_px: float) -> bool:
        """Whether a place is inside of the box, its edge included; of an object without size, within `near_px`."""
        if not self.sized:
            return (x - self.x) ** 2 + (y - self.y) ** 2 <= near_px**2
        return abs(x - self.x) <= self.width / 2 and abs(y - self.y) <= self.height / 2
