"""Planes that regions are wanted for, and which ROIs of a set are on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roifile import ROI_SUBTYPE, ROI_TYPE

from mikata import regions as rois
from mikata.errors import RegionError
from mikata.explanation.region_sets import RegionSet, from_regions
from mikata.language import say
from mikata.types import Region

_NO_AREA = {ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.ANGLE, ROI_TYPE.NOROI}


@dataclass(frozen=True)
class Frame:
    """One plane of an image that regions are wanted for.

    Attributes
    ----------
    image:
        The image's name in the run.
    shape:
        Height and width in px.
    z, t:
        Slice and frame, from 1.
    sizes:
        Number of channels, slices and frames of its image.
    """

    image: str
    shape: tuple[int, int]
    z: int = 1
    t: int = 1
    sizes: tuple[int, int, int] = (1, 1, 1)


def of_rois(found: Sequence[Region], frame: Frame) -> RegionSet:
    """The ROIs that are on the plane, as regions; RegionError where there is none."""
    there = [found[index] for index in on_plane(found, frame)]
    if not there:
        raise RegionError(
            say(
                "No region is on slice {z}, frame {t} of {image}: the ROIs belong to other planes. In ImageJ, ROIs "
                "without a position (Properties > Position: none) are on every plane.",
                z=frame.z,
                t=frame.t,
                image=frame.image,
            )
        )
    return from_regions(there, frame.shape, frame.image)


def on_plane(found: Sequence[Region], frame: Frame) -> tuple[int, ...]:
    """Which ROIs are on the plane: those of its position, and those without one; of a single plane all."""
    channels, depth, frames = frame.sizes
    if depth * frames == 1:
        return tuple(range(len(found)))
    here = []
    for index, region in enumerate(found):
        roi = rois.to_roi(region)
        if roi.z_position or roi.t_position:
            on = roi.z_position in (0, frame.z) and roi.t_position in (0, frame.t)
        elif roi.position:  # counts channels fastest, then slices, then frames
            on = (roi.position - 1) // channels == (frame.t - 1) * depth + frame.z - 1
        else:
            on = True
        if on:
            here.append(index)
    return tuple(here)


def has_area(region: Region) -> bool:
    """Whether a ROI is no line, angle, text or picture."""
    roi = rois.to_roi(region)
    return roi.roitype not in _NO_AREA and roi.subtype not in (
        ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE,
    )  # fmt: skip
