"""ROIs: ImageJ's own bytes, made, read, filled, traced, and turned to labels and back.

A `mikata.types.Region` holds a ROI exactly as ImageJ writes it; every kind and property survives.
"""

from __future__ import annotations

from mikata.regions.files import from_bytes, from_roi, read, to_roi, write
from mikata.regions.labels import from_labels, to_labels
from mikata.regions.masks import mask
from mikata.regions.outlines import contours
from mikata.regions.pictures import image_region
from mikata.regions.shapes import (
    angle,
    arrow,
    composite,
    ellipse,
    freehand,
    freeline,
    line,
    oval,
    points,
    polygon,
    polyline,
    rectangle,
    rotated_rectangle,
    text,
    traced,
)

__all__ = [
    "angle",
    "arrow",
    "composite",
    "contours",
    "ellipse",
    "freehand",
    "freeline",
    "from_bytes",
    "from_labels",
    "from_roi",
    "image_region",
    "line",
    "mask",
    "oval",
    "points",
    "polygon",
    "polyline",
    "read",
    "rectangle",
    "rotated_rectangle",
    "text",
    "to_labels",
    "to_roi",
    "traced",
    "write",
]
