"""Heat by Region: from images, a network and regions to tables, mean heat maps and a page; the command's work."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata.errors import ImageError
from mikata.explaining import controls as control_report
from mikata.explaining import region_page, traps
from mikata.explaining.asked import check_masking, repeated, target_of
from mikata.explaining.collected import Collected, Maps, Subject
from mikata.explaining.controls import Candidate, Controls
from mikata.explaining.controls.repeats import refuse_others
from mikata.explaining.figures import MOST_CLASSES, Shown
from mikata.explaining.material import Material, Part, class_numbers, material, subset_of
from mikata.explaining.mean_heat import MeanHeat, reference_picture
from mikata.explaining.noting import NotingImages, PaintedImages
from mikata.explaining.summary import Summary, summarise
from mikata.explanation.cells import Cells
from mikata.explanation.measuring import Ruler
from mikata.explanation.planes import PlaneHeat, Target, plane_heat
from mikata.explanation.region_frames import Frame
from mikata.explanation.region_marks import MarkSource
from mikata.explanation.region_sets import RegionSet, Remarks
from mikata.explanation.region_sources import (
    GridSource,
    OverlaySource,
    RegionSource,
    region_notes,
    region_source,
)
from mikata.images import write_tiff
from mikata.language import joined, say
from mikata.networks import Model, read_package
from mikata.outputs import ResultFolder, write_text
from mikata.prediction import Plane, skipped_note
from mikata.types import Progress, Result, Table

LONG, SUMMARY, DIFFERENCES, CONTROLS, CURVES, TRAPS, PAGE, MEAN = FILES = (
    "Heat by Region.csv",
    "Heat by Region summary.csv",
    "Heat by Region differences.csv",
    "Heat by Region controls.csv",
    "Heat by Region control curves.csv",
    "Heat by Region traps.csv",
    "Heat by Region.html",
    "mean heat.tif",
)
_RULERS = 64  # region sets kept on the grid at once: one for each size of image, or image
_MOST_DRAWN = 60  # regions drawn over the mean heat


def heat_by_region(
    images: Any,
    model: Path,
    *,
    regions: str = "",
    target: str = "predicted",
    method: str = "Grad-CAM",
    layer: str = "",
    part: Part = "all",
    reference: Path | None = None,
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    no_controls: bool = False,
    control_images: int = control_report.IMAGES,
    repeats: str = "",
    mask_regions: bool = False,
    subset: str = "",
    overwrite: bool = False,
    progress: Progress,
) -> Result:
    """Measure how much of the heat lies in which region, image by image and over all; the command's work.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes; or labelled data: a CSV, or a folder of class folders.
    model:
        Folder or zip of a package.
    regions:
        As `region_source` takes them.
    target:
        ``predicted``, ``true``, ``all`` or a class's name; of a network that gives a value ``predicted``.
    method, layer:
        As `mikata.explanation.heat_maps` takes them; an empty layer is found by itself.
    part:
        Of the split that labelled data state.
    reference:
        Image to show mean heat on; None: the mean of all images.
    out:
        Folder for tables, mean heat maps and the page; None to return tables and mean heat alone.
    no_controls, control_images:
        Whether to leave the controls of the heat maps out, and on how many planes they are made.
    repeats:
        Packages of repeated trainings for the controls, with ; between.
    mask_regions:
        Whether marks and border (`regions` must be of these) are painted over as a test.
    subset:
        ``column=value`` of the CSV: figures of these images too.

    Raises
    ------
    RegionError
        If regions are missing or do not fit the images.
    NetworkError
        For an unknown class, method or layer.
    ParameterError
        For a target or part that needs labels where there are none, or repeats without controls.
    PackageError, DataError, ImageError, OutputError
        As package, data, images and folder make it.
    """
    given = material(images, part=part, subfolders=subfolders, progress=progress)
    source = NotingImages(given.source)
    network = read_package(model)
    others = repeated(repeats, no_controls)
    refuse_others(network, others)  # before the maps of thousands of images are made
    found = region_source(regions, source)
    source.noted = found if isinstance(found, OverlaySource | MarkSource) else None
    truth = (
        class_numbers(given.entries, network.classes, network.path.name)
        if given.labelled and not network.values
        else {}
    )
    marks = found if isinstance(found, MarkSource) else None
    check_masking(mask_regions, marks, network)
    chosen = subset_of(images, subset, given)
    wanted = target_of(network, target, truth)
    picture = reference_picture(reference) if reference else None
    folder = ResultFolder(out, overwrite, [*source.paths, reference]) if out else None
    if folder:
        folder.reserve(FILES)
    run = RegionRun(network, source, given, truth, found)
    run.measure(wanted, method, layer, batch, progress, picture=picture is None)
    source.skipped.extend(given.skipped)
    if not no_controls:
        run.control(method, control_images, others, batch, progress)
    painted = None
    if mask_regions and marks:
        again = RegionRun(network, PaintedImages(given.source, marks), given, truth, found)
        again.measure(wanted, method, run.collected.layer, batch, progress, picture=False)
        painted = again.collected.maps()
    if mask_regions or subset:
        run.tested = traps.measured(run.collected.maps(), painted, chosen, subset)
    return run.result(picture, folder, target, progress)


@dataclass
class RegionRun:
    """One call: measures taken plane by plane, then tables and a page of all."""

    network: Model
    source: NotingImages
    given: Material
    truth: dict[str, int]
    regions: RegionSource
    collected: Collected = field(init=False)
    mean: MeanHeat = field(default_factory=MeanHeat, init=False)
    remarks: dict[str, Remarks] = field(default_factory=dict, init=False)
    sets: dict[Hashable, RegionSet | None] = field(default_factory=dict, init=False)
    cells: set[tuple[float, float]] = field(default_factory=set, init=False)
    candidates: list[Candidate] = field(default_factory=list, init=False)
    controls: Controls | None = field(default=None, init=False)
    tested: tuple[traps.Figure, ...] = field(default=(), init=False)
    _rulers: OrderedDict[tuple[Hashable, Cells], Ruler] = field(default_factory=OrderedDict, init=False)

    def __post_init__(self) -> None:
        self.collected = Collected(self.network.classes, self.network.values)

    def measure(
        self, target: Target, method: str, layer: str, batch: int, progress: Progress, *, picture: bool
    ) -> None:
        """Explain and measure every plane."""
        heats = plane_heat(
            self.network,
            self.source,
            target=target,
            method=method,
            layer=layer,
            batch=batch,
            progress=progress,
            message=say("Heat by Region"),
        )
        for heat in heats:
            self.take(heat, picture=picture)
        if not len(self.collected):
            raise ImageError(say("There is no image to explain."))

    def take(self, heat: PlaneHeat, *, picture: bool) -> None:
        """Measure one plane; `picture`: the plane goes into the mean image."""
        ruler = self._ruler(heat)
        measures = ruler.measure(heat.grid)
        self.collected.layer, self.collected.method = heat.layer, heat.method
        subject = self._subject(heat)
        self.collected.add(subject, heat.classes, ruler.regions.names, measures, ruler.area_cells)
        # of all classes, the predicted one is put to the controls
        shown = 0 if len(heat.classes) == 1 else heat.predicted
        if np.ptp(heat.grid[shown]) > 0:  # a map without heat cannot be compared with anything
            group = subject.predicted if subject.truth is None else subject.truth
            self.candidates.append(Candidate(heat.plane, heat.classes[shown], group, subject.patient))
        self.mean.add(heat, measures.total, picture=picture)

    def control(
        self, method: str, count: int, others: Sequence[Model], batch: int, progress: Progress
    ) -> None:
        """Put the heat maps to controls on some of the planes."""
        small = {region_page.region_name(name): cells for name, cells in self.collected.small().items()}
        self.controls = control_report.controls_for(
            self.network,
            self.source,
            self.candidates,
            method=method,
            layer=self.collected.layer,
            images=count,
            repeated=others,
            rulers=lambda heat: Ruler(self.regions.of(self._frame(heat.plane)), heat.cells),
            small=small,
            regions=len(self.collected.regions()),
            batch=batch,
            progress=progress,
        )

    def _frame(self, plane: Plane) -> Frame:
        sizes = self.source.sizes[plane.image]
        return Frame(plane.image, (plane.height, plane.width), plane.z, plane.t, sizes)

    def _subject(self, heat: PlaneHeat) -> Subject:
        plane = heat.plane
        entry = self.given.entries.get(plane.image)
        return Subject(
            plane.image,
            plane.z,
            plane.t,
            self.truth.get(plane.image),
            entry.patient if entry else "",
            heat.predicted,
            heat.outputs,
        )

    def _ruler(self, heat: PlaneHeat) -> Ruler:
        plane = heat.plane
        frame = self._frame(plane)
        key = self.regions.key(frame), heat.cells
        ruler = self._rulers.get(key)
        if ruler is None:
            ruler = self._rulers[key] = Ruler(self.regions.of(frame), heat.cells)
            if len(self._rulers) > _RULERS:
                self._rulers.popitem(last=False)
            # the pixels of one set are enough: of several, none can be drawn over all images
            self.sets[key[0]] = None if self.sets else ruler.regions
            self.cells.add(heat.cells.cell_px)
        else:
            self._rulers.move_to_end(key)
        self.remarks.setdefault(plane.image, ruler.regions.remarks)
        return ruler

    def result(
        self,
        picture: NDArray[np.float64] | None,
        folder: ResultFolder | None,
        target: str,
        progress: Progress,
    ) -> Result:
        """Tables, mean heat and the page."""
        maps = self.collected.maps()
        summary = summarise(maps, progress=progress)
        tables: tuple[Table, ...]
        tables = self.collected.table(), summary.table(), summary.difference_table()
        notes = [
            *region_page.notes(summary, maps, self.collected.small(), self._cell()),
            *region_notes(self.remarks),
            *self.regions.notes(),
        ]
        made = self.controls
        if picture is None:
            picture = self.mean.picture()
        size = (picture.shape[0], picture.shape[1])
        mean = self.mean.image(maps.names, size)
        files: list[Path] = []
        page: Path | None = None
        if folder:
            names = (LONG, SUMMARY, DIFFERENCES)
            files += [
                folder.write_table(name, one) for name, one in zip(names, tables, strict=True) if one.rows
            ]
            if mean:
                files.append(write_tiff(folder.path(MEAN), mean))
            skipped = skipped_note(self.source).strip()
            text = region_page.page(
                summary,
                maps,
                shown=self._shown(picture, maps, summary),
                facts=self._facts(summary, maps, target),
                said=[*notes, skipped] if skipped else notes,
                controls=control_report.section(made) if made else None,
                tests=traps.section(self.tested, self._painted) if self.tested else None,
            )
            if self.tested:
                files.append(folder.write_table(TRAPS, traps.table(self.tested)))
            if made and made.controls:
                files.append(folder.write_table(CONTROLS, made.table("Heat by Region controls")))
                files.append(folder.write_table(CURVES, made.curve_table("Heat by Region control curves")))
            page = write_text(folder.path(PAGE), text)
            files.append(page)
            folder.clear(FILES, files)
            # the files have all groups: what is shown beside them is what is read first
            tables = tables[0], summary.table(whole=False), summary.difference_table(whole=False)
        if made and made.controls:
            tables = *tables, made.table("Heat by Region controls")
        if self.tested:
            tables = *tables, traps.table(self.tested)
        count = len(self.collected)
        message = joined(
            [
                say(
                    "Heat of {count} plane(s) in {regions} region(s) ({source}) by {model}, layer {layer}.",
                    count=count,
                    regions=len(maps.regions),
                    source=self.regions.words,
                    model=self.network.path.name,
                    layer=self.collected.layer,
                ),
                *region_page.leading(summary, maps.values)[:MOST_CLASSES],
                *traps.sentences(self.tested),
                *notes,
                *([control_report.sentence(made)] if made else []),
            ]
        )
        notice = say("Research use, not for diagnosis.")
        return Result(
            f"{message}{skipped_note(self.source)} {notice}",
            images=(mean,) if mean and not folder else (),
            tables=tuple(one for one in tables if one.rows),
            files=tuple(files),
            page=page,
        )

    @property
    def _painted(self) -> bool:
        return any(math.isfinite(one.after) for one in self.tested)

    def _cell(self) -> str:
        """Size of a cell in image px, or its range."""
        heights, widths = zip(*self.cells, strict=True)
        return say(
            "{width} x {height} px",
            width=_range(min(widths), max(widths)),
            height=_range(min(heights), max(heights)),
        )

    def _facts(self, summary: Summary, maps: Maps, target: str) -> dict[str, object]:
        planes = len(self.collected)
        patients = summary.n_units if summary.unit == "patient" else say("not known")
        return {
            say("network"): self.network.path.name,
            say("method"): self.collected.method,
            say("layer"): self.collected.layer,
            say("cell of the network's grid"): self._cell(),
            say("explained class"): target,
            say(
                "regions"
            ): f"{self.regions.words}: {', '.join(map(region_page.region_name, maps.regions[:30]))}",
            say("planes"): planes,
            say("images"): len({one.image for one in maps.subjects}),
            say("patients"): patients,
            say("intervals"): region_page.method_words(summary),
        }

    def _shown(self, picture: NDArray[np.float64], maps: Maps, summary: Summary) -> Shown | None:
        classes = self.mean.classes[:MOST_CLASSES]
        if not classes:
            return None
        size = (picture.shape[0], picture.shape[1])
        figures = {
            (one.group.explained, one.region): one for own in summary.of("all").values() for one in own
        }
        names, masks = self._drawn(size)
        return Shown(
            picture,
            np.stack([self.mean.map(k, size) for k in classes]),
            tuple(f"{maps.names[k]} (n = {self.mean.count(k)})" for k in classes),
            masks,
            tuple(
                tuple(f"{100 * figures[maps.names[k], name].mean:.0f} %" for name in names) for k in classes
            ),
        )

    def _drawn(self, size: tuple[int, int]) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
        """Regions that all images share, at the picture's size."""
        nothing: tuple[tuple[str, ...], NDArray[np.bool_]] = (), np.zeros((0, *size), bool)
        if isinstance(self.regions, GridSource):
            grid = self.regions.grid
            if size[0] < grid.rows or size[1] < grid.columns or len(grid.names) > _MOST_DRAWN:
                return nothing
            return grid.names, grid.over(size, "").masks()
        shared = next(iter(self.sets.values()))
        if len(self.sets) != 1 or shared is None or len(shared.parts) > _MOST_DRAWN:
            return nothing
        rows, columns = (
            ((np.arange(count) + 0.5) * own / count).astype(int)
            for count, own in zip(size, shared.shape, strict=True)
        )
        return shared.names, shared.masks()[:, rows[:, None], columns]


def _range(low: float, high: float) -> str:
    return f"{low:.1f}" if high - low < 0.05 else f"{low:.1f}-{high:.1f}"
