"""Overlap of heat, human's and reference's regions over images: the work of the command."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import regions
from mikata.errors import ImageError, NetworkError, ParameterError, RegionError
from mikata.explanation.planes import plane_heat
from mikata.images import Images, read, write_tiff
from mikata.language import joined, say
from mikata.networks import Model, read_package
from mikata.outputs import ResultFolder, first_few
from mikata.prediction import skipped_note
from mikata.readers.areas import OWN, area, file_for
from mikata.readers.overlap import SETS, Overlap, heat_mask, sweep
from mikata.types import Image, Plot, Progress, Region, Result, Table

COLOURS = {"heat": "#D55E00", "human": "#56B4E9", "reference": "#F0E442"}
"""Three of Okabe and Ito's colours, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/)."""

TABLE = "region overlap.csv"
_MARKED = " with regions"
_HEAT_ENDINGS = (" heat", "")
_FEW_CELLS = 2.0


@dataclass(frozen=True, eq=False)
class _Case:
    """One image with its heat and areas; `cell` is the area of a cell of the network's grid in px, if known."""

    name: str
    image: Image
    heat: NDArray[np.float32]
    human: NDArray[np.bool_]
    reference: NDArray[np.bool_] | None
    cell: float | None
    cut: int


def overlap_regions(
    images: Any,
    *,
    human: Path,
    reference: Path | None = None,
    heat: Path | None = None,
    model: Path | None = None,
    target: str = "predicted",
    layer: str = "",
    levels_percent: Sequence[float] = tuple(range(10, 100, 10)),
    drawn_percent: float = 50.0,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
    progress: Progress,
) -> Result:
    """Measure how heat, human's and reference's regions overlap, at several levels of the heat.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes, of one plane each.
    human, reference:
        Regions, as `mikata.readers.areas.area` reads them: a file for one image, a folder with one for each of several.
    heat, model:
        Either heat maps that are there (a file, or a folder with ``NAME heat.tif`` for each image), or the package
        that makes them.
    target:
        With a model: ``predicted`` or a class's name; of a network that gives a value ``predicted``.
    levels_percent:
        Of each heat map's own maximum.
    drawn_percent:
        Level of the heat that is drawn beside the regions.

    Raises
    ------
    ParameterError
        If both or neither of heat and model are given.
    RegionError, ImageError, NetworkError, PackageError, OutputError
        As regions, images, package and folder make it.
    """
    if (heat is None) == (model is None):
        raise ParameterError(
            say(
                "Give either heat (heat maps that are there) or model (the package that makes them), not both."
            )
            if heat is not None
            else say("Give heat (heat maps that are there) or model (the package that makes them).")
        )
    source = Images.of(images, keep_metadata=keep_metadata)
    folder = ResultFolder(out, overwrite, [*source.paths, human, reference, heat]) if out else None
    names = {name: folder.unique(name) for name in source.names} if folder else {}
    if folder:
        folder.reserve([TABLE, *(f"{name}{_MARKED}.tif" for name in names.values())])
    given = _Given(human, reference, len(source) == 1)
    # heat comes in batches: with a model each image is read a second time when its turn to be measured comes
    again = Images.of([images] if isinstance(images, Images) else images, keep_metadata=keep_metadata)
    cases = (
        _with_files(source, heat, given, progress)
        if heat is not None
        else _with_model(source, again, _package(model), target, layer, batch, given, progress)
    )
    rows: list[tuple[Any, ...]] = []
    swept: list[tuple[Overlap, ...]] = []
    shown: list[Image] = []
    files: list[Path] = []
    manager: list[Region] = []
    overlay: tuple[Region, ...] | None = None
    small: list[str] = []
    empty = cut = 0
    for case in cases:
        found = sweep(case.heat, case.human, case.reference, levels_percent)
        swept.append(found)
        rows += [_row(case, one) for one in found]
        small += _small(case)
        empty += not (case.heat > 0).any()
        cut += case.cut
        drawn = _drawn(case, drawn_percent)
        kept = [region for region in case.image.overlay if not region.name.startswith(OWN)]
        marked = (*kept, *drawn)
        if roi_manager:
            ending = f" {case.name}" if len(source) > 1 else ""
            manager += [Region(one.data, one.name + ending) for one in drawn]
        if folder:
            image = case.image.replace(overlay=marked)
            files.append(write_tiff(folder.path(f"{names[case.name]}{_MARKED}.tif"), image))
        elif isinstance(images, Image):
            overlay = marked  # the door has this image on show
        else:
            shown.append(case.image.replace(overlay=marked, title=f"{case.name}{_MARKED}"))
    if not swept:
        raise ImageError(say("There is no image to measure in."))
    table = Table("Overlap of Regions", _columns(reference is not None), tuple(rows), append=False)
    if folder:
        files.append(folder.write_table(TABLE, table))
    notes = [_message(swept, drawn_percent, levels_percent)]
    if empty:
        notes.append(say("{count} image(s) without any heat: their overlap with it is 0.", count=empty))
    if cut:
        notes.append(
            say("{count} region(s) reach beyond their image; only what lies inside is counted.", count=cut)
        )
    if small:
        notes.append(
            say(
                "Smaller than two cells of the network's grid, so that no heat map can outline them: {regions}.",
                regions=first_few(small),
            )
        )
    notes.append(skipped_note(source).strip())
    notes.append(say("Research use, not for diagnosis."))
    return Result(
        joined(notes),
        overlay=overlay,
        images=tuple(shown),
        tables=(table,),
        plots=(_plot(swept, levels_percent),),
        manager=tuple(manager),
        files=tuple(files),
    )


@dataclass(frozen=True)
class _Given:
    """Where the regions of the images are."""

    human: Path
    reference: Path | None
    single: bool

    def case(
        self, name: str, image: Image, heat: NDArray[np.float32], cell: tuple[float, float] | None
    ) -> _Case:
        shape = (image.size("Y"), image.size("X"))
        human = area(file_for(self.human, name, self.single, "human"), shape)
        reference = None
        if self.reference is not None:
            reference = area(file_for(self.reference, name, self.single, "reference"), shape)
        return _Case(
            name,
            image,
            heat,
            human.mask,
            None if reference is None else reference.mask,
            None if cell is None else cell[0] * cell[1],
            human.cut + (reference.cut if reference else 0),
        )


def _package(path: Path | None) -> Model:
    assert path is not None
    return read_package(path)


def _one_plane(name: str, image: Image) -> None:
    if image.size("Z") * image.size("T") > 1:
        raise ImageError(
            say(
                "{image} has several planes, and it is not known which of them regions are of. Give images of one plane.",
                image=name,
            )
        )


def _with_files(source: Images, place: Path, given: _Given, progress: Progress) -> Iterator[_Case]:
    for done, (name, image) in enumerate(source.items()):
        progress.step(say("Measure overlaps"), done, len(source))
        _one_plane(name, image)
        path = file_for(place, name, given.single, "heat", _HEAT_ENDINGS)
        found = read(path)
        values = found.values().squeeze()
        if values.ndim != 2 or found.is_colour:
            raise ImageError(
                say("{path}: a heat map has one plane of one channel. Explain one class only.", path=path)
            )
        if values.shape != (image.size("Y"), image.size("X")):
            raise RegionError(
                say(
                    "{path} is {found_width} x {found_height} px, but its image is {width} x {height} px.",
                    path=path,
                    found_width=values.shape[1],
                    found_height=values.shape[0],
                    width=image.size("X"),
                    height=image.size("Y"),
                )
            )
        yield given.case(name, image, np.asarray(values, np.float32), None)


def _with_model(
    source: Images,
    again: Images,
    model: Model,
    target: str,
    layer: str,
    batch: int,
    given: _Given,
    progress: Progress,
) -> Iterator[_Case]:
    wanted = None if target == "predicted" else _class(model, target)
    images = again.items()
    for heat in plane_heat(
        model, source, target=wanted, layer=layer, batch=batch, progress=progress, message=say("Heat maps")
    ):
        if (heat.plane.z, heat.plane.t) != (1, 1):
            raise ImageError(
                say(
                    "{image} has several planes, and it is not known which of them regions are of. Give images of one plane.",
                    image=heat.plane.image,
                )
            )
        name, image = next((item for item in images if item[0] == heat.plane.image), ("", None))
        if image is None or (image.size("Y"), image.size("X")) != heat.cells.image:
            raise ImageError(
                say(
                    "{image} changed while it was being explained; run the command again.",
                    image=heat.plane.image,
                )
            )
        _one_plane(name, image)
        yield given.case(name, image, heat.maps[0], heat.cells.cell_px)


def _class(model: Model, name: str) -> int:
    if name in model.classes:
        return model.classes.index(name)
    near = difflib.get_close_matches(name, model.classes, 1)
    hint = say(" (did you mean '{near}'?)", near=near[0]) if near else ""
    raise NetworkError(
        say(
            "{model} has no class '{name}'{hint}. target is predicted, or one of: {classes}.",
            model=model.path.name,
            name=name,
            hint=hint,
            classes=", ".join(model.classes),
        )
    )


def _names(three: bool) -> tuple[str, ...]:
    return SETS if three else SETS[:2]


def _columns(three: bool) -> tuple[str, ...]:
    names = _names(three)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    columns = ["image", "level_percent", *(f"{name}_px" for name in names), "image_px"]
    for a, b in pairs:
        columns += [f"{a}_and_{b}_px", f"iou_{a}_{b}", f"dice_{a}_{b}", f"chance_dice_{a}_{b}"]
    columns += [f"only_{name}_px" for name in names]
    if three:
        columns += [f"only_{a}_and_{b}_px" for a, b in pairs] + ["all_three_px"]
    return (*columns, "pixel_width", "pixel_height", "unit")


def _row(case: _Case, one: Overlap) -> tuple[Any, ...]:
    names = list(one.areas)
    row: list[Any] = [case.name, float(one.level_percent), *one.areas.values(), one.pixels]
    for pair in one.pairs:
        row += [pair.intersection, *map(_defined, (pair.iou, pair.dice, pair.chance_dice))]
    row += [one.parts[name,] for name in names]
    if len(names) == 3:
        row += [one.parts[pair.first, pair.second] for pair in one.pairs]
        row.append(one.parts[names[0], names[1], names[2]])
    return (*row, case.image.pixel_size[0], case.image.pixel_size[1], case.image.unit)


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _small(case: _Case) -> Iterator[str]:
    """Regions that are smaller than two cells of the network's grid."""
    if case.cell is None:
        return
    for what, mask in (("human", case.human), ("reference", case.reference)):
        if mask is not None and 0 < mask.sum() < _FEW_CELLS * case.cell:
            yield f"{what} {case.name}"


def _drawn(case: _Case, level_percent: float) -> tuple[Region, ...]:
    masks = {"heat": heat_mask(case.heat, level_percent), "human": case.human, "reference": case.reference}
    names = {"heat": f"{OWN}heat >= {level_percent:g} % of maximum"}
    return tuple(
        regions.contours(
            mask, name=names.get(what, OWN + what), stroke_color=COLOURS[what], properties={"set": what}
        )
        for what, mask in masks.items()
        if mask is not None and mask.any()
    )


def _means(swept: Sequence[tuple[Overlap, ...]]) -> dict[str, list[float]]:
    """Mean Dice over the images, of each pair at each level; NaN where it is defined in none."""
    found: dict[str, list[float]] = {}
    for level in zip(*swept, strict=True):
        for pairs in zip(*(one.pairs for one in level), strict=True):
            values = [pair.dice for pair in pairs if math.isfinite(pair.dice)]
            name = f"{pairs[0].first} - {pairs[0].second}"
            found.setdefault(name, []).append(float(np.mean(values)) if values else math.nan)
    return found


def _plot(swept: Sequence[tuple[Overlap, ...]], levels_percent: Sequence[float]) -> Plot:
    x = tuple(float(level) for level in levels_percent)
    series = tuple((name, x, tuple(values)) for name, values in _means(swept).items())
    return Plot("Overlap of Regions", "level of the heat in % of its maximum", "mean Dice", series)


def _message(
    swept: Sequence[tuple[Overlap, ...]], drawn_percent: float, levels_percent: Sequence[float]
) -> str:
    listed = []
    for name, values in _means(swept).items():
        defined = [value for value in values if math.isfinite(value)]
        if not defined:
            listed.append(say("{pair} not defined", pair=name))
        elif name.startswith("heat"):
            listed.append(
                say("{pair} {low:.3f} to {high:.3f}", pair=name, low=min(defined), high=max(defined))
            )
        else:
            listed.append(f"{name} {defined[0]:.3f}")
    return say(
        "Overlap in {count} image(s), heat cut at {first:g} to {last:g} % of its maximum. Mean Dice: {pairs}. Drawn: heat at "
        "{drawn:g} %. Report all levels, beside the Dice by chance: one that was chosen afterwards flatters.",
        count=len(swept),
        first=min(levels_percent),
        last=max(levels_percent),
        pairs="; ".join(listed),
        drawn=drawn_percent,
    )
