"""Where objects are, as the rows of a table and ImageJ's ROIs tell it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from roifile import ROI_TYPE

from mikata import regions
from mikata.datasets.boxes import Box
from mikata.datasets.masks import LAST_NUMBER, class_of
from mikata.datasets.sheets import one_width
from mikata.datasets.table import Row
from mikata.errors import DataError, RegionError
from mikata.language import say
from mikata.regions import to_roi

CORNERS = ("xmin", "ymin", "xmax", "ymax")
CENTRE = ("x", "y")
RADIUS, SIDES = "radius", ("width", "height")
CLASSES = ("class", "label")
COLUMNS = (*CORNERS, *CENTRE, RADIUS, *SIDES, *CLASSES)
"""Columns of a table that tell of objects."""

_BEYOND_PX = 1.0
"""How far a box may stick out of its image: some programs count pixels from 1, or name the last pixel."""


def form_of(path: Path, columns: Collection[str]) -> tuple[str, ...]:
    """The columns in which a table tells where objects are, as far as it has them.

    Raises
    ------
    DataError
        If there are none, or more than one way is mixed.
    """
    known = [name for name in (*CORNERS, *CENTRE, RADIUS, *SIDES) if name in columns]
    ways = (CORNERS, CENTRE, (*CENTRE, RADIUS), (*CENTRE, *SIDES))
    for way in ways:
        if set(known) == set(way):
            return way
    raise DataError(
        say(
            "{path}: the columns that tell where the objects are must be {ways}; x and y are of the centre. It has: {known}.",
            path=path,
            ways=say(" or ").join(", ".join(way) for way in ways),
            known=", ".join(known) or say("none"),
        )
    )


def class_column(path: Path, columns: Collection[str]) -> str:
    """The column that tells of which class an object is; empty where there is none.

    Raises
    ------
    DataError
        If there are two.
    """
    found = [name for name in CLASSES if name in columns]
    if len(found) > 1:
        raise DataError(
            say(
                "{path} has both the columns 'class' and 'label'. Keep the one that names classes.", path=path
            )
        )
    return found[0] if found else ""


def is_empty(row: Row, form: Sequence[str]) -> bool:
    """Whether a row says that its image has no object."""
    return not any(row.cells[name] for name in form)


def box_of_row(path: Path, row: Row, form: Sequence[str], kind: int, shape: tuple[int, int]) -> Box:
    """The object of a row, in an image of (height, width).

    Raises
    ------
    DataError
        If a number is missing, none or out of range; the message names table and row.
    """
    optional = form[2:] if form[0] == "x" else ()
    if all(not row.cells[name] for name in optional):
        optional, form = (), [name for name in form if name not in optional]
    numbers = {name: _number(path, row, name) for name in form}
    if form[0] == "xmin":
        return _box_of_corners(path, row, numbers, kind, shape)
    x, y = numbers["x"], numbers["y"]
    if not (0 <= x <= shape[1] and 0 <= y <= shape[0]):
        raise DataError(
            say(
                "{path}, row {row}: the centre ({x:g}, {y:g}) lies outside of {file}, which is {width} x {height} px.",
                path=path,
                row=row.number,
                x=x,
                y=y,
                file=row.cells["file"],
                width=shape[1],
                height=shape[0],
            )
        )
    for name in optional:
        if numbers[name] <= 0:
            raise DataError(
                say(
                    "{path}, row {row}: {name} is {value:g}; a size is above 0. Leave it empty where it is not known.",
                    path=path,
                    row=row.number,
                    name=name,
                    value=numbers[name],
                )
            )
    if RADIUS in numbers:
        return Box(kind, x, y, 2 * numbers[RADIUS], 2 * numbers[RADIUS])
    return Box(kind, x, y, numbers.get("width", 0.0), numbers.get("height", 0.0))


def _box_of_corners(
    path: Path, row: Row, numbers: dict[str, float], kind: int, shape: tuple[int, int]
) -> Box:
    left, top, right, bottom = (numbers[name] for name in CORNERS)
    where = {"path": path, "row": row.number, "file": row.cells["file"]}
    if left >= right or top >= bottom:
        raise DataError(
            say(
                "{path}, row {row}: the box of {file} from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) has no area. xmin is "
                "below xmax, and ymin below ymax.",
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                **where,
            )
        )
    beyond = max(-left, -top, right - shape[1], bottom - shape[0])
    if beyond > _BEYOND_PX:
        raise DataError(
            say(
                "{path}, row {row}: the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) reaches out of {file}, which is "
                "{width} x {height} px. Does it belong to another image, or to one of another size?",
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                width=shape[1],
                height=shape[0],
                **where,
            )
        )
    left, right = (min(max(value, 0.0), float(shape[1])) for value in (left, right))
    top, bottom = (min(max(value, 0.0), float(shape[0])) for value in (top, bottom))
    return Box(kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def _number(path: Path, row: Row, name: str) -> float:
    cell = row.cells[name]
    if not cell:
        raise DataError(
            say(
                "{path}, row {row}: the column '{name}' is empty, but others of this row tell where the object is. A row of an "
                "image without objects has none of them.",
                path=path,
                row=row.number,
                name=name,
            )
        )
    try:
        value = float(one_width(cell))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            say(
                "{path}, row {row}: the column '{name}' has '{cell}', which is no number of px. Write it with digits and a "
                "decimal point.",
                path=path,
                row=row.number,
                name=name,
                cell=cell,
            )
        )
    return value


def names_in(file: Path) -> set[str]:
    """What the ROIs of a file are named, without numbers behind; names of ImageJ's own, which are numbers, left out."""
    plain = (LAST_NUMBER.sub("", region.name).strip() for region in regions.read(file, selection=False))
    return {name for name in plain if any(letter.isalpha() for letter in name)}


def boxes_of_regions(file: Path, names: tuple[str, ...], shape: tuple[int, int]) -> tuple[Box, ...]:
    """The objects that ROIs are, in an image of (height, width).

    Each point of a point ROI is an object without size; every other ROI is one with the smallest upright box around its
    pixels.

    Raises
    ------
    DataError
        If they cannot be read, do not suit the image, or are of no known class; the message names the file.
    """
    try:
        found = regions.read(file, selection=False)
    except RegionError as error:
        raise DataError(str(error)) from error
    boxes: list[Box] = []
    for region in found:
        kind = class_of(region, names, file) - 1
        roi = to_roi(region)
        if roi.roitype == ROI_TYPE.POINT:
            # a whole number is the centre of a pixel
            places = np.asarray(roi.coordinates(), np.float64).reshape(-1, 2) + 0.5
            outside = bool(((places < 0) | (places > [shape[1], shape[0]])).any())
            boxes += [Box(kind, float(x), float(y)) for x, y in places]
        else:
            try:
                inside = regions.mask(region, shape)
            except RegionError as error:
                raise DataError(
                    say(
                        "{file}: {reason} Remove it, or draw a point or a box in its place.",
                        file=file,
                        reason=error,
                    )
                ) from error
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            outside = not len(rows)
            if not outside:
                top, left = int(rows[0]), int(columns[0])
                tall, wide = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
                boxes.append(Box(kind, left + wide / 2, top + tall / 2, float(wide), float(tall)))
        if outside:
            raise DataError(
                say(
                    "{file}: the ROI '{region}' lies outside of its image of {width} x {height} px, or has no pixel. Does "
                    "it belong to another image?",
                    file=file,
                    region=region.name,
                    width=shape[1],
                    height=shape[0],
                )
            )
        if len(set(boxes)) < len(boxes):
            raise DataError(
                say(
                    "{file}: the ROI '{region}' is at the same place as another one of its size. Remove one of them.",
                    file=file,
                    region=region.name,
                )
            )
    return tuple(boxes)
