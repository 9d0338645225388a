"""ROIs and overlays to and from ImageJ's objects, by its own bytes.

ImageJ 1.54p reads some of what it wrote otherwise than it wrote it; what that would do to a ROI that
goes through Mikata and back into the user's window is put right here.
"""

from __future__ import annotations

from typing import Any

import jpype
import numpy as np
from roifile import ROI_SUBTYPE, ROI_TYPE

from mikata import regions
from mikata.errors import RegionError
from mikata.imagej import pixels
from mikata.imagej.java import jclass
from mikata.types import Region

_TYPE_BYTE = 6  # ij.io.RoiDecoder.TYPE


def to_roi(region: Region) -> Any:
    """ImageJ's Roi of a region.

    Raises
    ------
    RegionError
        If ImageJ does not read its bytes.
    """
    data = pixels.to_java_array(np.frombuffer(region.data, np.uint8))
    try:
        roi = jclass("ij.io.RoiDecoder").openFromByteArray(data)
    except jpype.JException as error:
        raise RegionError(f"ImageJ cannot read the region '{region.name}': {error}.") from error
    if roi is None:
        raise RegionError(f"ImageJ cannot read the region '{region.name}': its bytes are no ROI.")
    if region.name:
        roi.setName(region.name)
    _restore(roi, region)
    return roi


def from_roi(roi: Any) -> Region:
    """A region of ImageJ's Roi."""
    encoded = jclass("ij.io.RoiEncoder").saveAsByteArray(roi)
    if encoded is None:
        raise RegionError(f"ImageJ cannot write down a region of the kind {roi.getTypeAsString()}.")
    data = np.empty(len(encoded), np.uint8)
    pixels.copy_from_java(encoded, data)
    if isinstance(roi, jclass("ij.gui.RotatedRectRoi")):
        data[_TYPE_BYTE] = ROI_TYPE.FREEHAND  # ImageJ writes a polygon's type, and would read a polygon
    name = roi.getName()
    return Region(data.tobytes(), "" if name is None else str(name))


def to_overlay(rois: tuple[Region, ...]) -> Any:
    """ImageJ's Overlay of regions, in their order; whether and how it is labelled, by the first."""
    overlay = jclass("ij.gui.Overlay")()
    for number, region in enumerate(rois):
        roi = to_roi(region)
        if number == 0:  # ImageJ's own files keep the labels' look in the first ROI
            look = roi.getPrototypeOverlay()
            overlay.drawLabels(look.getDrawLabels())
            overlay.drawNames(look.getDrawNames())
            overlay.drawBackgrounds(look.getDrawBackgrounds())
            overlay.setLabelColor(look.getLabelColor())
            overlay.setLabelFont(look.getLabelFont(), look.scalableLabels())
        overlay.add(roi)
    return overlay


def from_overlay(overlay: Any) -> tuple[Region, ...]:
    """Regions of ImageJ's Overlay, in their order; each keeps how the overlay is labelled."""
    found = []
    for roi in overlay.toArray():
        before = roi.getPrototypeOverlay()
        roi.setPrototypeOverlay(overlay)
        try:
            found.append(from_roi(roi))
        finally:
            roi.setPrototypeOverlay(before)
    return tuple(found)


def _restore(roi: Any, region: Region) -> None:
    said = regions.to_roi(region)
    if said.group:  # ImageJ has put the group's colour in its place
        alpha, red, green, blue = said.stroke_color
        if alpha:
            roi.setStrokeColor(jclass("java.awt.Color")(red, green, blue, alpha))
        elif any(said.fill_color):
            roi.setStrokeColor(None)
    if not said.props.isascii():  # read byte by byte
        for line in said.props.splitlines():
            key, _, value = line.partition(": ")
            roi.setProperty(key, value)
    if said.roitype == ROI_TYPE.POINT and said.position and not roi.getPosition():
        roi.setPosition(said.position)  # lost where points have counters
    if said.subtype == ROI_SUBTYPE.TEXT:
        # words that are centred or on the right would move with each reading
        roi.setLocation(float(said.left), float(said.top))
