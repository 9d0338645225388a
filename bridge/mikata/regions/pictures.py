"""Pictures as regions: coloured pixels laid over an image."""

from __future__ import annotations

import io

import numpy as np
import roifile
import tifffile
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

from mikata.errors import RegionError
from mikata.language import say
from mikata.regions import shapes
from mikata.types import Region


def image_region(
    rgb: NDArray[np.uint8],
    x: int,
    y: int,
    *,
    opacity: float = 1.0,
    zero_transparent: bool = False,
    name: str = "",
    position: shapes.Position = 0,
) -> Region:
    """A picture laid over an image, ImageJ's image ROI.

    Parameters
    ----------
    rgb:
        uint8 (H, W, 3). ImageJ keeps no alpha of single pixels.
    x, y:
        Where its upper left corner lies, whole pixels.
    opacity:
        0 (invisible) to 1, for the whole picture; kept in steps of 1/255.
    zero_transparent:
        Pixels whose mean of red, green and blue is 1 or less are not drawn
        (``ij.gui.ImageRoi``; make visible black (2, 2, 2)).
    name, position:
        As in `mikata.regions.rectangle`.

    Raises
    ------
    RegionError
        If the array is not such a picture, or opacity or place is out of range.
    """
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise RegionError(
            say(
                "A picture is uint8 of shape (height, width, 3), not {kind} {shape}.",
                kind=rgb.dtype,
                shape=rgb.shape,
            )
        )
    if not 0 <= opacity <= 1:
        raise RegionError(say("An opacity goes from 0 to 1, not {opacity}.", opacity=opacity))
    height, width = rgb.shape[:2]
    ends = (x, y, x + width, y + height)
    if any(end != int(end) or not shapes.LOWEST <= end <= shapes.HIGHEST for end in ends):
        raise RegionError(
            say(
                "A picture of {width} x {height} at ({x}, {y}) is outside ImageJ's range.",
                width=width,
                height=height,
                x=x,
                y=y,
            )
        )
    data = _tiff(np.ascontiguousarray(rgb))
    roi = roifile.ImagejRoi(
        roitype=ROI_TYPE.RECT,
        subtype=ROI_SUBTYPE.IMAGE,
        version=shapes.VERSION,
        left=int(x),
        top=int(y),
        right=int(x) + width,
        bottom=int(y) + height,
        image_data=data,
        image_size=len(data),
        image_opacity=round(opacity * 255),
        options=ROI_OPTIONS.SCALE_STROKE_WIDTH
        | (ROI_OPTIONS.ZERO_TRANSPARENT if zero_transparent else ROI_OPTIONS.NONE),
    )
    return shapes.finished(roi, name=name, position=position)


def _tiff(rgb: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, rgb, byteorder=">", photometric="rgb", metadata=None, software=False,
                     compression="zlib", predictor=False, rowsperstrip=rgb.shape[0])  # fmt: skip
    return file.getvalue()
