"""Regions out of files: an ROI set, a label image, or a folder with one of these for each image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mikata import images
from mikata import regions as rois
from mikata.errors import RegionError
from mikata.explanation.region_frames import Frame, of_rois, on_plane
from mikata.explanation.region_sets import RegionSet, from_labels
from mikata.images import Images
from mikata.language import say
from mikata.outputs import first_few
from mikata.types import Region

ROI_ENDINGS = (".zip", ".roi")
LABEL_ENDINGS = (".tif", ".tiff", ".png", ".nii", ".nii.gz", ".npy")


def ending_of(path: Path) -> str:
    """Ending of a file in small letters; ``.nii.gz`` counts as one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Name of a file without its ending."""
    return path.name[: -len(ending_of(path))] if ending_of(path) else path.name


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
        return frame.shape, on_plane(self._regions, frame)

    def of(self, frame: Frame) -> RegionSet:
        """The ROIs on the plane."""
        self._size.check(frame)
        return of_rois(self._regions, frame)

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class _Labels:
    """A label image, of one plane for all or of a plane for each."""

    def __init__(self, path: Path) -> None:
        if ending_of(path) not in LABEL_ENDINGS:
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
            if not file.name.startswith(".") and ending_of(file) in (*ROI_ENDINGS, *LABEL_ENDINGS):
                found.setdefault(stem_of(file), []).append(file)
        if not found:
            raise RegionError(
                say(
                    "The folder {folder} holds no region sets: .zip and .roi of ROIs, or label images as TIFF or PNG, "
                    "each called as its image.",
                    folder=folder,
                )
            )
        stems = {
            name: stem_of(path) if path else name
            for name, path in zip(source.names, source.paths, strict=True)
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
            read = rois.read(file) if ending_of(file) in ROI_ENDINGS else _Labels(file)
            self._open = image, read
        return self._open[1]

    def key(self, frame: Frame) -> Hashable:
        """By the image, and the ROIs or labels on the plane."""
        found = self._set(frame.image)
        return frame.image, found.index(frame) if isinstance(found, _Labels) else on_plane(found, frame)

    def of(self, frame: Frame) -> RegionSet:
        """The image's own."""
        found = self._set(frame.image)
        return found.of(frame) if isinstance(found, _Labels) else of_rois(found, frame)

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
