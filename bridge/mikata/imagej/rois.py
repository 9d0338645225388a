"""ROIs and overlays to and from ImageJ's objects, by its own bytes.

ImageJ 1.54p reads some of what it wrote otherwise than it wrote it; what that would do to a ROI that
goes through Mikata and back into the user's window is put right here.
"""

from __future__ import annotations

from typing import Any

import jpype
import numpy as np

from mikata.errors import RegionError
from mikata.imagej import pixels, wire
from mikata.imagej.java import jclass
from mikata.language import say
from mikata.types import Region


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
        raise RegionError(
            say("ImageJ cannot read the region '{name}': {reason}.", name=region.name, reason=error)
        ) from error
    if roi is None:
        raise RegionError(
            say("ImageJ cannot read the region '{name}': its bytes are no ROI.", name=region.name)
        )
    if region.name:
        roi.setName(region.name)
    _mend(roi, wire.mending(region))
    return roi


def from_roi(roi: Any) -> Region:
    """A region of ImageJ's Roi."""
    return wire.region(facts_of_roi(roi))


def facts_of_roi(roi: Any) -> wire.Facts:
    """What `wire.region` asks of a Roi."""
    encoded = jclass("ij.io.RoiEncoder").saveAsByteArray(roi)
    if encoded is None:
        raise RegionError(
            say("ImageJ cannot write down a region of the kind {kind}.", kind=roi.getTypeAsString())
        )
    data = np.empty(len(encoded), np.uint8)
    pixels.copy_from_java(encoded, data)
    name = roi.getName()
    return {
        "data": data.tobytes(),
        "name": None if name is None else str(name),
        "rotated": isinstance(roi, jclass("ij.gui.RotatedRectRoi")),
    }


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
    return tuple(wire.region(one) for one in facts_of_overlay(overlay))


def facts_of_overlay(overlay: Any) -> list[wire.Facts]:
    """What `wire.region` asks of each Roi of an Overlay."""
    found = []
    for roi in overlay.toArray():
        before = roi.getPrototypeOverlay()
        roi.setPrototypeOverlay(overlay)
        try:
            found.append(facts_of_roi(roi))
        finally:
            roi.setPrototypeOverlay(before)
    return found


def _mend(roi: Any, mending: wire.Facts) -> None:
    stroke = mending.get("stroke")
    if stroke == "none":
        roi.setStrokeColor(None)
    elif stroke:
        alpha, red, green, blue = stroke
        roi.setStrokeColor(jclass("java.awt.Color")(red, green, blue, alpha))
    for key, value in mending.get("properties", {}).items():
        roi.setProperty(key, value)
    if "position" in mending and not roi.getPosition():
        roi.setPosition(mending["position"])
    if "location" in mending:
        roi.setLocation(*mending["location"])
