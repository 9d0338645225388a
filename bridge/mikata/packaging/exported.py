"""What an export has written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mikata.packaging.checking import CheckReport


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    folder, archive:
        The package, and its zip beside it.
    checked:
        What its test tensors have given; it has passed.
    layer:
        The layer that its heat maps are read from; empty without.
    dynamic:
        Whether it takes images of other sizes.
    size:
        Height and width in px: the one it takes, or the smallest one, or the one it scales to.
    onnx:
        Why it has no ONNX file, in a sentence; empty where it has one, or none was wanted.
    """

    folder: Path
    archive: Path
    checked: CheckReport
    layer: str
    dynamic: bool
    size: tuple[int, int]
    onnx: str
