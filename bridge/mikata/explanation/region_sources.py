"""Where regions come from: a grid, an ROI set, a label image, a set for each image, or the image's own overlay."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mikata.errors import RegionError
from mikata.explanation.grids import Grid, grid_of
from mikata.explanation.region_files import ROI_ENDINGS, FolderSource, LabelFile, RoiFile, ending_of
from mikata.explanation.region_frames import Frame, has_area, of_rois, on_plane
from mikata.explanation.region_marks import MarkSource, kinds_of
from mikata.explanation.region_sets import RegionSet, Remarks
from mikata.images import Images
from mikata.language import say
from mikata.outputs import first_few
from mikata.types import Image, Region


class RegionSource(Protocol):
    """Gives the regions of a plane."""

    @property
    def words(self) -> str:
        """What it is, in a few words that name a grid or a file."""

    def key(self, frame: Frame) -> Hashable:
        """The same for planes that have the same regions, so that these are made once."""

    def of(self, frame: Frame) -> RegionSet:
        """The regions of a plane; RegionError where there are none or they do not fit it."""

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of where the regions came from, in sentences."""


@dataclass
class GridSource:
    """The same division of every image."""

    grid: Grid

    @property
    def words(self) -> str:
        """Name of the grid."""
        return str(self.grid)

    def key(self, frame: Frame) -> Hashable:
        """By the size alone."""
        return frame.shape

    def of(self, frame: Frame) -> RegionSet:
        """The rectangles."""
        return self.grid.over(frame.shape, frame.image)

    def notes(self) -> tuple[str, ...]:
        """For chest films, on which side is right."""
        if not self.grid.chest:
            return ()
        return (
            say(
                "Right and left lung are the patient's in a film as it is usually hung (the patient's right on the "
                "image's left); mirrored films swap them. The grid follows the film's frame, not the patient's anatomy."
            ),
        )


class OverlaySource:
    """Each image's own overlay or, where it has none, its selection.

    Heat that an earlier run has drawn, pictures, lines and text are no regions and are left out.
    """

    def __init__(self) -> None:
        self._regions: dict[str, tuple[Region, ...]] = {}
        self._left_out = 0

    def note(self, name: str, image: Image) -> None:
        """Take the regions of an image, which the run calls `name`."""
        own = tuple(region for region in image.overlay if not region.name.startswith("heat"))
        areas = tuple(region for region in own if has_area(region))
        if name not in self._regions:
            self._left_out += len(own) - len(areas)
        if not areas and image.roi is not None:
            areas = (image.roi,) if image.roi.name else (Region(image.roi.data, "selection"),)
        self._regions[name] = areas

    @property
    def words(self) -> str:
        """That it is the overlay."""
        return say("overlay of the image")

    def key(self, frame: Frame) -> Hashable:
        """By the image and the ROIs on the plane."""
        return frame.image, on_plane(self._regions[frame.image], frame)

    def of(self, frame: Frame) -> RegionSet:
        """The image's own."""
        found = self._regions[frame.image]
        if not found:
            raise RegionError(
                say(
                    "{image} has no overlay and no selection to take regions from. Draw ROIs and add them to the overlay "
                    "(Image > Overlay > Add Selection...), or give regions: an ROI set, a label image, a folder, or a grid "
                    "such as chest or 3x3.",
                    image=frame.image,
                )
            )
        return of_rois(found, frame)

    def notes(self) -> tuple[str, ...]:
        """How much of the overlay is no region."""
        if not self._left_out:
            return ()
        return (
            say(
                "{count} ROI(s) of the overlay have no area (lines, text, pictures) and are left out.",
                count=self._left_out,
            ),
        )


def region_source(text: str, source: Images) -> RegionSource:
    """The regions that a text names, for these images.

    Parameters
    ----------
    text:
        A grid (``chest``, ``3x3``, ``RxC``), ``marks``, ``border`` or ``marks+border``, a file of ROIs (``.zip``, ``.roi``), a label image (TIFF, PNG, NIfTI,
        .npy), a folder with one of these for each image; or empty: each image's overlay.

    Raises
    ------
    RegionError
        If it is none of these, cannot be read or does not match the images.
    """
    text = text.strip()
    if not text:
        return OverlaySource()
    grid = grid_of(text)
    if grid:
        return GridSource(grid)
    kinds = kinds_of(text)
    if kinds:
        return MarkSource(kinds)
    path = Path(text).expanduser()
    if path.is_dir():
        return FolderSource(path, source)
    if not path.is_file():
        raise RegionError(
            say(
                "There are no regions '{text}': give an ROI set (.zip or .roi), a label image, a folder with one for each "
                "image, a grid: chest (2x3), 3x3, or rows x columns such as 4x5; or marks, border or marks+border.",
                text=text,
            )
        )
    if ending_of(path) in ROI_ENDINGS:
        return RoiFile(path)
    return LabelFile(path)


def region_notes(found: Mapping[str, Remarks]) -> tuple[str, ...]:
    """What a reader must know of the regions of images (by name), in sentences."""
    notes = []
    overlapping = [name for name, one in found.items() if one.overlapping_px]
    if overlapping:
        notes.append(
            say(
                "Regions overlap in {count} of {total} images ({images}): what lies in several of them counts in each, so "
                "shares do not add up.",
                count=len(overlapping),
                total=len(found),
                images=first_few(overlapping, 3),
            )
        )
    outside = {name: one.partly_outside for name, one in found.items() if one.partly_outside}
    if outside:
        listed = [f"{name}: {', '.join(names)}" for name, names in outside.items()]
        notes.append(
            say(
                "Regions reach over the border of {count} of {total} images ({images}): only what is inside counts.",
                count=len(outside),
                total=len(found),
                images=first_few(listed, 3),
            )
        )
    joined = dict.fromkeys(name for one in found.values() for name in one.joined)
    if joined:
        notes.append(
            say(
                "ROIs of the same name in one image are taken as one region: {names}.",
                names=first_few(list(joined)),
            )
        )
    return tuple(notes)
