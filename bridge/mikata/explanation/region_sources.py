"""Where regions come from: a grid, an ROI set, a label image, a set for each image, or the image's own overlay."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from roifile import ROI_SUBTYPE, ROI_TYPE

from mikata import images
from mikata import regions as rois
from mikata.errors import RegionError
from mikata.explanation.grids import Grid, grid_of
from mikata.explanation.region_sets import RegionSet, Remarks, from_labels, from_regions
from mikata.images import Images
from mikata.language import say
from mikata.outputs import first_few
from mikata.types import Image, Region

_ROI_ENDINGS = (".zip", ".roi")
_LABEL_ENDINGS = (".tif", ".tiff", ".png", ".nii", ".nii.gz", ".npy")
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


@dataclass
class _OneSize:
    """Refuses images of another size than the first: ROIs in px of one would lie elsewhere in the other."""

    file: Path
    first: Frame | None = field(default=None, init=False)

    def check(self, frame: Frame) -> None:
        if self.first is None:
            self.first = frame
        elif frame.shape != self.first.shape:
            raise RegionError(
                say(
                    "The regions of {file} cannot serve images of different sizes: {first} is {width} x {height} px, "
                    "{other} is {other_width} x {other_height} px. Give a folder with a region set for each image, or "
                    "a grid such as 3x3.",
                    file=self.file.name,
                    first=self.first.image,
                    width=self.first.shape[1],
                    height=self.first.shape[0],
                    other=frame.image,
                    other_width=frame.shape[1],
                    other_height=frame.shape[0],
                )
            )


class RoiFile:
    """One ``.zip`` or ``.roi`` for all images, which must be of one size."""

    def __init__(self, path: Path) -> None:
        self._regions = rois.read(path)
        if not self._regions:
            raise RegionError(say("{path} holds no ROIs.", path=path))
        self._path = path
        self._size = _OneSize(path)

    @property
    def words(self) -> str:
        """Name of the file."""
        return self._path.name

    def key(self, frame: Frame) -> Hashable:
        """By the ROIs that are on the plane."""
        self._size.check(frame)
        return frame.shape, _there(self._regions, frame)

    def of(self, frame: Frame) -> RegionSet:
        """The ROIs on the plane."""
        self._size.check(frame)
        return _of_rois(self._regions, frame)

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class LabelFile:
    """One label image for all images, which must have its size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels = _Labels(path)

    @property
    def words(self) -> str:
        """Name of the file."""
        return self._path.name

    def key(self, frame: Frame) -> Hashable:
        """By the plane of the label image."""
        return self._labels.index(frame), frame.shape

    def of(self, frame: Frame) -> RegionSet:
        """Each label's pixels."""
        return self._labels.of(frame)

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class FolderSource:
    """A folder with a region set for each image: a file of the image's name, as ROIs or as a label image.

    Raises
    ------
    RegionError
        If images have no set, two sets, or share a name, or no set matches an image.
    """

    def __init__(self, folder: Path, source: Images) -> None:
        self._folder = folder
        found: dict[str, list[Path]] = {}
        for file in sorted(folder.iterdir()):
            if not file.name.startswith(".") and _ending(file) in (*_ROI_ENDINGS, *_LABEL_ENDINGS):
                found.setdefault(_stem(file), []).append(file)
        if not found:
            raise RegionError(
                say(
                    "The folder {folder} holds no region sets: .zip and .roi of ROIs, or label images as TIFF or PNG, "
                    "each called as its image.",
                    folder=folder,
                )
            )
        stems = {
            name: _stem(path) if path else name for name, path in zip(source.names, source.paths, strict=True)
        }
        self._check(stems, found)
        self._files = {name: found[stem][0] for name, stem in stems.items()}
        self._unused = len(found) - len(set(stems.values()))
        self._open: tuple[str, tuple[Region, ...] | _Labels] | None = None

    def _check(self, stems: Mapping[str, str], found: Mapping[str, Sequence[Path]]) -> None:
        without = [name for name, stem in stems.items() if stem not in found]
        if len(without) == len(stems):
            raise RegionError(
                say(
                    "No region set in {folder} belongs to an image: they are called {sets}, the images {images}. A "
                    "set has the name of its image, such as film 1.zip for film 1.png.",
                    folder=self._folder,
                    sets=first_few([files[0].name for files in found.values()], 3),
                    images=first_few(list(stems.values()), 3),
                )
            )
        if without:
            raise RegionError(
                say(
                    "{count} of {total} images have no region set in {folder}: {images}. Add the sets, or take the "
                    "images away.",
                    count=len(without),
                    total=len(stems),
                    folder=self._folder,
                    images=first_few(without),
                )
            )
        for name, stem in stems.items():
            if len(found[stem]) > 1:
                raise RegionError(
                    say(
                        "{folder} has several region sets for {image}: {files}. Leave one.",
                        folder=self._folder,
                        image=name,
                        files=", ".join(file.name for file in found[stem]),
                    )
                )
        first: dict[str, str] = {}
        for name, stem in stems.items():
            if stem in first:
                raise RegionError(
                    say(
                        "Two images are called {stem}, so that it is open which of them the region set {file} is for. "
                        "Give them different names.",
                        stem=stem,
                        file=found[stem][0].name,
                    )
                )
            first[stem] = name

    @property
    def words(self) -> str:
        """Name of the folder."""
        return self._folder.name

    def _set(self, image: str) -> tuple[Region, ...] | _Labels:
        if self._open is None or self._open[0] != image:
            file = self._files[image]
            read = rois.read(file) if _ending(file) in _ROI_ENDINGS else _Labels(file)
            self._open = image, read
        return self._open[1]

    def key(self, frame: Frame) -> Hashable:
        """By the image, and the ROIs or labels on the plane."""
        found = self._set(frame.image)
        return frame.image, found.index(frame) if isinstance(found, _Labels) else _there(found, frame)

    def of(self, frame: Frame) -> RegionSet:
        """The image's own."""
        found = self._set(frame.image)
        return found.of(frame) if isinstance(found, _Labels) else _of_rois(found, frame)

    def notes(self) -> tuple[str, ...]:
        """How many sets there are for other images."""
        if not self._unused:
            return ()
        return (
            say(
                "{count} region set(s) in {folder} are for no image here.",
                count=self._unused,
                folder=self.words,
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
        areas = tuple(region for region in own if _has_area(region))
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
        return frame.image, _there(self._regions[frame.image], frame)

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
        return _of_rois(found, frame)

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
        A grid (``chest``, ``3x3``, ``RxC``), a file of ROIs (``.zip``, ``.roi``), a label image (TIFF, PNG, NIfTI,
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
    path = Path(text).expanduser()
    if path.is_dir():
        return FolderSource(path, source)
    if not path.is_file():
        raise RegionError(
            say(
                "There are no regions '{text}': give an ROI set (.zip or .roi), a label image, a folder with one for each "
                "image, or a grid: chest (2x3), 3x3, or rows x columns such as 4x5.",
                text=text,
            )
        )
    if _ending(path) in _ROI_ENDINGS:
        return RoiFile(path)
    return LabelFile(path)


class _Labels:
    """A label image, of one plane for all or of a plane for each."""

    def __init__(self, path: Path) -> None:
        if _ending(path) not in _LABEL_ENDINGS:
            raise RegionError(
                say(
                    "{path} is no label image: TIFF, PNG, NIfTI or .npy keep labels exactly, and ROIs are .zip or .roi.",
                    path=path,
                )
            )
        image = images.read(path)
        if image.is_colour or image.size("C") > 1:
            raise RegionError(
                say(
                    "{path} is in colour or has several channels; a label image has one number for each pixel.",
                    path=path,
                )
            )
        if image.overlay:
            raise RegionError(
                say(
                    "{path} has pixels and an overlay, either of which could be the regions. Save the overlay as an ROI "
                    "set (.zip), or the labels without an overlay.",
                    path=path,
                )
            )
        self._path = path
        # labels are stored values, whatever a calibration makes of them
        self._planes: NDArray[Any] = image.array.reshape(-1, *image.array.shape[-2:])
        self._sizes = image.size("Z"), image.size("T")

    def index(self, frame: Frame) -> int:
        """Which of its planes serves the image's plane."""
        if len(self._planes) == 1:
            return 0
        if self._sizes != frame.sizes[1:]:
            raise RegionError(
                say(
                    "{file} has {planes} slice(s) and {frames} frame(s), but {image} has {image_planes} and "
                    "{image_frames}: give one plane for all, or the same numbers.",
                    file=self._path.name,
                    planes=self._sizes[0],
                    frames=self._sizes[1],
                    image=frame.image,
                    image_planes=frame.sizes[1],
                    image_frames=frame.sizes[2],
                )
            )
        return (frame.t - 1) * self._sizes[0] + frame.z - 1

    def of(self, frame: Frame) -> RegionSet:
        """The labels' regions of the plane."""
        labels = self._planes[self.index(frame)]
        if labels.shape != frame.shape:
            raise RegionError(
                say(
                    "The label image {file} is {width} x {height} px, but {image} is {image_width} x {image_height} px: "
                    "labels must have their image's size.",
                    file=self._path.name,
                    width=labels.shape[1],
                    height=labels.shape[0],
                    image=frame.image,
                    image_width=frame.shape[1],
                    image_height=frame.shape[0],
                )
            )
        return from_labels(labels, self._path.name)


def _of_rois(found: Sequence[Region], frame: Frame) -> RegionSet:
    there = [found[index] for index in _there(found, frame)]
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


def _there(found: Sequence[Region], frame: Frame) -> tuple[int, ...]:
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


def _has_area(region: Region) -> bool:
    roi = rois.to_roi(region)
    return roi.roitype not in _NO_AREA and roi.subtype not in (
        ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE,
    )  # fmt: skip


def _ending(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _stem(path: Path) -> str:
    return path.name[: -len(_ending(path))] if _ending(path) else path.name


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
