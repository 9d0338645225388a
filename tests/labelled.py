"""Small labelled images that tests of data sets, training and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(
    path: Path, kind: int, seed: int, size: tuple[int, int] = (32, 32), colour: bool = False
) -> Path:
    """A noisy picture of fine stripes: down for kind 0, across for 1, along a diagonal for others."""
    generator = np.random.default_rng([kind, seed])
    y, x = np.mgrid[: size[0], : size[1]]
    phase = (x, y, x + y)[min(kind, 2)]
    values = 120 + 60 * np.sin(phase * 1.6 + generator.uniform(0, 6)) + generator.normal(0, 12, size)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    if colour:
        pixels = np.stack([pixels, pixels // 2, 255 - pixels], -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_folders(
    folder: Path, classes: Sequence[str] = ("a", "b"), count: int = 10, **options: object
) -> Path:
    """A folder of class folders."""
    for kind, name in enumerate(classes):
        for i in range(count):
            write_picture(folder / name / f"{i}.png", kind, i, **options)  # type: ignore[arg-type]
    return folder


def write_table(
    folder: Path,
    rows: Sequence[Sequence[str]],
    header: str = "file,label,patient",
    name: str = "table.csv",
    **options: str,
) -> Path:
    """A table, with a picture for each row whose file is not there; the label's number is the kind."""
    labels = sorted({row[1] for row in rows})
    for i, row in enumerate(rows):
        if row[0] and not (folder / row[0]).exists():
            write_picture(folder / row[0], labels.index(row[1]), i)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        "\r\n".join([header, *(",".join(row) for row in rows)]).encode(options.get("encoding", "utf-8"))
    )
    return path


def patients(
    count: int = 8, images: int = 2, classes: Sequence[str] = ("a", "b")
) -> list[tuple[str, str, str]]:
    """Rows of file, label, patient: `images` of each of `count` patients a class."""
    return [
        (f"{label}/{p}_{i}.png", label, f"{label}{p}")
        for label in classes
        for p in range(count)
        for i in range(images)
    ]
