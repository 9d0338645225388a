"""The cases of a cell as a stack: to look at what the network missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mikata.errors import DataError, ImageError
from mikata.explanation.display import heat_overlay
from mikata.explanation.legend import colour_bar
from mikata.explanation.planes import plane_heat
from mikata.images import Images, read
from mikata.language import say
from mikata.networks import Model
from mikata.outputs import first_few
from mikata.prediction import Plane
from mikata.readers.table import Reading
from mikata.types import Image, Progress, Region

_LARGEST = 2 * 2**30
"""Bytes of a stack: what a Java array holds at most, and more than can be looked at."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A model that shows its heat on a stack, and for which class of each row."""

    model: Model
    targets: dict[int, int]
    layer: str
    batch: int


def stack(
    rows: Sequence[Reading],
    *,
    title: str,
    size: int,
    shown: Shown | None,
    keep_metadata: bool,
    progress: Progress,
) -> Image:
    """The images of some rows, one a slice, each scaled to fit a square, with heat as overlay if a model is given.

    Parameters
    ----------
    rows:
        At least one; rows of one file (several lesions) share a slice.
    title:
        Of the stack.
    size:
        Side of the square, px. Proportions are kept; what is left over is black.
    keep_metadata:
        Whether the files' names, which may name a patient, go into the slices' labels.

    Returns
    -------
    Image
        uint8 (Z, size, size), or with a last axis of 3 where an image is in colour. Images of 16 and 32 bits are
        scaled from their own least to their own largest value: to look at, not to measure in.

    Raises
    ------
    DataError
        If the table names no files, or the stack would be too large.
    ImageError
        If a file cannot be read, or has several planes.
    """
    groups: dict[Path, list[Reading]] = {}
    for row in rows:
        if row.file is None:
            raise DataError(
                say("The cases cannot be shown: the table has no column 'file' with their images.")
            )
        groups.setdefault(row.file, []).append(row)
    if 3 * len(groups) * size * size > _LARGEST:
        raise DataError(
            say(
                "A stack of {count} images of {size} px is too large: choose a smaller stack_size_px.",
                count=len(groups),
                size=size,
            )
        )
    slices, boxes, problems = [], [], []
    for done, file in enumerate(groups):
        progress.step(say("Read the cases of the cell"), done, len(groups))
        try:
            picture = _picture(read(file))
        except ImageError as error:
            problems.append(str(error))
            continue
        placed, box = _fitted(picture, size)
        slices.append(placed)
        boxes.append(box)
    if problems:
        raise ImageError(
            say(
                "{count} of the {all} images of the cell cannot be shown: {reasons}",
                count=len(problems),
                all=len(groups),
                reasons=first_few(problems),
            )
        )
    colour = any(placed.ndim == 3 for placed in slices)
    array = np.stack([_in_colour(placed) if colour else placed for placed in slices])
    overlay = _overlay(list(groups), groups, boxes, size, shown, progress) if shown else ()
    labels = [_label(group, file, keep_metadata) for file, group in groups.items()]
    axes = "YX" + ("S" if colour else "")
    if len(array) == 1:
        return Image(array[0], axes, title=title, slice_labels=tuple(labels), overlay=overlay)
    return Image(array, "Z" + axes, title=title, slice_labels=tuple(labels), overlay=overlay)


def _label(group: Sequence[Reading], file: Path, keep_metadata: bool) -> str:
    parts = [f"row {', '.join(str(row.row) for row in group)}"]
    if group[0].probability is not None:
        parts.append(f"p = {group[0].probability:.3f}")
    if keep_metadata:
        parts.append(file.stem)
    return "; ".join(parts)


def _picture(image: Image) -> NDArray[np.uint8]:
    """One plane as 8 bits, (H, W) or (H, W, 3)."""
    name = image.path.name if image.path else image.title
    if image.size("Z") * image.size("T") > 1:
        raise ImageError(say("{file} has several planes; a case is one.", file=name))
    if image.is_colour:
        return np.asarray(image.array.reshape(*image.array.shape[-3:]), np.uint8)
    planes = image.values().reshape(-1, *image.array.shape[-2:])
    if len(planes) not in (1, 3):
        raise ImageError(
            say("{file} has {count} channels; 1 or 3 can be shown.", file=name, count=len(planes))
        )
    if image.array.dtype == np.uint8:
        shown = planes
    else:
        finite = np.where(np.isfinite(planes), planes, np.nan)
        low, high = (
            (float(np.nanmin(finite)), float(np.nanmax(finite))) if np.isfinite(finite).any() else (0.0, 0.0)
        )
        shown = np.nan_to_num((finite - low) / (high - low) * 255 if high > low else np.zeros_like(finite))
    stored = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return stored[0] if len(stored) == 1 else np.ascontiguousarray(np.moveaxis(stored, 0, -1))


Box = tuple[int, int, int, int]
"""x, y, width and height of an image within its slice."""


def _fitted(picture: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], Box]:
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    x, y = (size - w) // 2, (size - h) // 2
    planes = picture[None] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
    scaled = _scaled(planes.astype(np.float32), h, w)
    placed = np.zeros((len(planes), size, size), np.uint8)
    placed[:, y : y + h, x : x + w] = np.clip(np.rint(scaled), 0, 255)
    return (placed[0] if picture.ndim == 2 else np.ascontiguousarray(np.moveaxis(placed, 0, -1))), (
        x,
        y,
        w,
        h,
    )


def _scaled(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    batch = torch.from_numpy(np.ascontiguousarray(planes))[None]
    found = F.interpolate(batch, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(found[0].numpy(), np.float32)


def _in_colour(placed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return placed if placed.ndim == 3 else np.repeat(placed[..., None], 3, axis=2)


def _overlay(
    files: list[Path],
    groups: dict[Path, list[Reading]],
    boxes: list[Box],
    size: int,
    shown: Shown,
    progress: Progress,
) -> tuple[Region, ...]:
    """Heat of every slice on one scale, with its bar."""
    source = Images.of(files)
    numbers = {name: number for number, name in enumerate(source.names)}

    def target(plane: Plane) -> int:
        return shown.targets[groups[files[numbers[plane.image]]][0].row]

    found: dict[int, NDArray[np.float32]] = {}
    for heat in plane_heat(
        shown.model,
        source,
        target=target,
        layer=shown.layer,
        batch=shown.batch,
        progress=progress,
        message=say("Heat maps"),
    ):
        number = numbers[heat.plane.image]
        _, _, width, height = boxes[number]
        found[number] = np.maximum(_scaled(heat.maps, height, width)[0], 0)
    maximum = max((float(values.max()) for values in found.values()), default=0.0)
    if maximum <= 0:
        return ()
    drawn: list[Region] = []
    for number, values in sorted(found.items()):
        x, y, width, height = boxes[number]
        whole = np.zeros((size, size), np.float32)
        whole[y : y + height, x : x + width] = values
        position = number + 1 if len(files) > 1 else 0
        drawn += heat_overlay(whole, maximum=maximum, position=position)
    return (*drawn, *colour_bar(size, size, maximum=maximum))
