"""Heat Montage: from images and a network to one picture; the command's work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import report
from mikata.errors import ImageError, ParameterError
from mikata.explaining.asked import target_of
from mikata.explaining.material import Part, class_numbers, material
from mikata.explaining.montage.cases import Block, Case, Wanted, blocks
from mikata.explaining.montage.pictures import Style, fitted, scaled, shown, three
from mikata.explaining.montage.sheet import Column, Legend, Tile, sheet
from mikata.explanation.display import contour_levels
from mikata.explanation.display import lut as table_of
from mikata.explanation.drawing import probability
from mikata.explanation.methods import method_named
from mikata.explanation.planes import PlaneHeat, Target, plane_heat
from mikata.explanation.runs import HeatMethod, check_target
from mikata.images import Images, write_tiff
from mikata.language import joined, say, speaking
from mikata.networks import Model, read_package
from mikata.outputs import ResultFolder, written
from mikata.prediction import Plane, outputs, skipped_note
from mikata.types import Image, Progress, Result, Table

_PLAIN = Style()
TIFF, PNG, TABLE = "Heat Montage.tif", "Heat Montage.png", "Heat Montage.csv"


@dataclass(frozen=True)
class Asked:
    """What the montage is to look like: see the parameters of the command."""

    cases: Wanted = "all"
    limit: int = 12
    seed: int = 0
    tile_px: int = 224
    columns: int = 2
    style: Style = _PLAIN
    scale_maximum: float = 0.0
    names: bool = False


class PicturedImages(Images):
    """Some of the images of a run, of which chosen planes are kept as small pictures when they are read."""

    def __init__(self, source: Images, planes: Sequence[Plane], side: int) -> None:
        names = {plane.image for plane in planes}
        super().__init__(
            [item for item in source._items if item.name in names],
            keep_metadata=source._keep_metadata,
            origin=source._origin,
        )
        self._planes = planes
        self._side = side
        self.pictures: dict[Plane, NDArray[np.uint8]] = {}

    def items(self) -> Iterator[tuple[str, Image]]:
        """The readable images with their names, as of `Images`."""
        for name, image in super().items():
            for plane in self._planes:
                if plane.image == name and (image.size("Y"), image.size("X")) == (plane.height, plane.width):
                    size = fitted(plane.height, plane.width, self._side)
                    self.pictures[plane] = scaled(shown(image, plane.z, plane.t), size)
            yield name, image


def montage(
    images: Any,
    model: Path,
    *,
    target: str = "predicted",
    method: str = "Grad-CAM",
    layer: str = "",
    part: Part = "all",
    asked: Asked = Asked(),
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    progress: Progress,
) -> Result:
    """Show cases beside each other: original, heat, contours; the command's work.

    Every plane is predicted first; heat is made of the cases that are shown, on one colour scale.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes; or labelled data: a CSV, or a folder of class folders.
    model:
        Folder or zip of a package.
    target:
        ``predicted``, ``true`` or a class's name; of a network that gives a value ``predicted``.
    method, layer:
        As `mikata.explanation.heat_maps` takes them; an empty layer is found by itself.
    part:
        Of the split that labelled data state.
    out:
        Folder for the picture (TIFF and PNG) and a table of its cases; None to return picture and table alone.

    Raises
    ------
    NetworkError
        For an unknown class, method or layer, or one that does not suit the network.
    ParameterError
        For what needs labels where there are none, cases that do not exist, or too large a montage.
    PackageError, DataError, ImageError, OutputError
        As package, data, images and folder make it.
    """
    if target == "all":
        raise ParameterError(
            say("A montage shows the heat of one class: target is predicted, true or the name of a class.")
        )
    table_of(asked.style.lut)
    given = material(images, part=part, subfolders=subfolders, progress=progress)
    network = read_package(model)
    method_named(method)
    # of what the method cannot say, true classes are as classes given by name
    check_target(network, HeatMethod(method), target)
    labelled = given.labelled and not network.values
    truth = class_numbers(given.entries, network.classes, network.path.name) if labelled else {}
    if network.values and asked.cases != "all":
        raise ParameterError(
            say(
                "{model} gives a value, which is neither correct nor wrong: leave cases at all.",
                model=network.path.name,
            )
        )
    wanted = target_of(network, target, truth, "Heat Montage")
    folder = ResultFolder(out, overwrite, given.source.paths) if out else None
    if folder:
        folder.reserve([TIFF, PNG, TABLE])
    every = [
        Case(plane, found, truth.get(plane.image))
        for plane, found in outputs(network, given.source, batch=batch, progress=progress)
    ]
    skipped = [*given.source.skipped, *given.skipped]
    if not every:
        raise ImageError(say("There is no image to explain."))
    drawn = blocks(every, asked.cases, asked.limit, asked.seed)
    run = _Run(network, drawn, len(every), target, wanted, asked)
    run.explain(given.source, method, layer, batch, progress)
    given.source.skipped = skipped
    image, table = run.image(), run.table()
    files: tuple[Path, ...] = ()
    if folder:
        files = (
            write_tiff(folder.path(TIFF), image),
            _write_png(folder.path(PNG), image.array),
            folder.write_table(TABLE, table),
        )
    notice = say("Research use, not for diagnosis.")
    return Result(
        f"{run.message()}{skipped_note(given.source)} {notice}",
        images=() if folder else (image,),
        tables=(table,),
        files=files,
    )


class _Run:
    """One call: heat of the cases that are shown, then the picture, the table and what is said."""

    def __init__(
        self,
        network: Model,
        drawn: tuple[Block, ...],
        count: int,
        target: str,
        wanted: Target,
        asked: Asked,
    ) -> None:
        self.network, self.blocks, self.count = network, drawn, count
        self.target, self.wanted, self.asked = target, wanted, asked
        self.cases = [case for block in drawn for case in block.cases]
        self.heat: dict[Plane, PlaneHeat] = {}
        self.tops: dict[Plane, float] = {}
        self.pictures: dict[Plane, NDArray[np.uint8]] = {}
        self.method = self.layer = ""
        self.classes = network.classes

    def explain(self, source: Images, method: str, layer: str, batch: int, progress: Progress) -> None:
        """Make the heat maps, and keep the pictures of the planes."""
        chosen = {case.plane: case for case in self.cases}
        few = PicturedImages(source, list(chosen), self.asked.tile_px)
        predicted = {case.plane: case.predicted for case in self.cases}
        target = self.wanted
        if target is None and not self.network.values:
            # what the first pass said: a tie may fall the other way in other batches
            target = lambda plane: predicted.get(plane, 0)  # noqa: E731
        for one in plane_heat(
            self.network,
            few,
            target=target,
            method=method,
            layer=layer,
            batch=batch,
            progress=progress,
            message=say("Heat maps"),
        ):
            if one.plane in chosen:
                self.heat[one.plane] = one
                self.tops[one.plane] = max(0.0, float(one.cells.peaks(one.grid.astype(np.float64))[1][0]))
        self.pictures = few.pictures
        for case in self.cases:
            if case.plane not in self.heat or case.plane not in self.pictures:
                raise ImageError(
                    say(
                        "{image} changed while it was being explained; run the command again.",
                        image=case.plane.image,
                    )
                )
        first = next(iter(self.heat.values()))
        self.method, self.layer = first.method, first.layer

    @property
    def maximum(self) -> float:
        """The heat at the upper end of the scale; 0 where no map has any."""
        return self.asked.scale_maximum or max(self.tops.values())

    def image(self) -> Image:
        """The montage, with words in English where no font of this machine has the user's letters."""
        words = self._every_word()
        letters = report.letters(words)
        if letters.words != words:
            with speaking("en"):
                if not all(name.isascii() for name in self.network.classes):
                    self.classes = tuple(f"class {n}" for n in range(1, len(self.network.classes) + 1))
                return self._drawn(_font_file([]))
        return self._drawn(_font_file(letters.font.get("family", [])))

    def _every_word(self) -> list[str]:
        words = [*self._legend().lines, self._legend().scale, *self._legend().titles]
        words += [self._heading(block) for block in self.blocks]
        return words + [self._caption(case, number) for number, case in enumerate(self.cases, 1)]

    def _drawn(self, font: Path) -> Image:
        number = 0
        columns = []
        for block in self.blocks:
            tiles = []
            for case in block.cases:
                number += 1
                picture, one = self.pictures[case.plane], self.heat[case.plane]
                size = (picture.shape[0], picture.shape[1])
                tiles.append(
                    Tile(
                        three(
                            picture,
                            one.cells.scaled(one.grid[0], size),
                            self.tops[case.plane],
                            self.maximum,
                            self.asked.style,
                        ),
                        self._caption(case, number),
                        case.correct is False,
                    )
                )
            columns.append(Column(self._heading(block), tuple(tiles)))
        pixels, _ = sheet(
            columns, self._legend(), tile=self.asked.tile_px, beside=self.asked.columns, font_path=font
        )
        return Image(pixels, "YXS", title="Heat Montage")

    def _heading(self, block: Block) -> str:
        named = {"shown": len(block.cases), "count": block.available}
        if block.kind == "correct":
            return say("Correct: {shown} of {count}", **named)
        if block.kind == "wrong":
            return say("Wrong: {shown} of {count}", **named)
        return say("Cases: {shown} of {count}", **named)

    def _caption(self, case: Case, number: int) -> str:
        start = f"{number}"
        if self.asked.names:
            start = f"{number}: {self._name(case.plane)}"
        if self.network.values:
            parts = [
                say("value {value}", value=f"{case.outputs[0]:.4g} {self.network.classifier.unit}".strip())
            ]
        else:
            parts = []
            if case.truth is not None:
                parts.append(say("true {name}", name=self.classes[case.truth]))
            parts.append(
                say(
                    "predicted {name} {probability}",
                    name=self.classes[case.predicted],
                    probability=probability(case.outputs[case.predicted]),
                )
            )
            explained = self.heat[case.plane].classes[0]
            if explained != case.predicted:
                parts.append(
                    say(
                        "heat for {name} {probability}",
                        name=self.classes[explained],
                        probability=probability(case.outputs[explained]),
                    )
                )
        if self.tops[case.plane] <= 0:
            parts.append(say("no heat"))
        return f"{start}: {', '.join(parts)}" if not self.asked.names else f"{start}, {', '.join(parts)}"

    def _name(self, plane: Plane) -> str:
        one = self.heat[plane]
        several = any(other.image == plane.image and other != plane for other in self.heat) or (
            one.plane.z,
            one.plane.t,
        ) != (1, 1)
        return f"{plane.image} (z {plane.z}, t {plane.t})" if several else plane.image

    def _legend(self) -> Legend:
        named = {"method": self.method, "layer": self.layer}
        if self.network.values:
            what = say("heat for a higher value ({method})", **named)
        elif self.target == "predicted":
            what = say("heat for the predicted class ({method})", **named)
        elif self.target == "true":
            what = say("heat for the true class ({method})", **named)
        else:
            name = self.classes[self.network.classes.index(self.target)]
            what = say("heat for the class {name} ({method})", name=name, **named)
        lines = []
        if self.asked.style.levels_percent:
            levels = ", ".join(f"{one:g}" for one in self.asked.style.levels_percent)
            lines.append(say("Contours at {levels} % of each map's own maximum.", levels=levels))
        if self.layer:
            lines.append(say("Layer {layer}.", layer=self.layer))
        lines += [self._sampled(), say("Research use, not for diagnosis.")]
        titles = say("original"), say("heat"), say("contours")
        return Legend(titles, self.asked.style.lut, self.maximum, what, tuple(filter(None, lines)))

    def _sampled(self) -> str:
        """How the cases were drawn; empty where all are shown."""
        if all(len(block.cases) == block.available for block in self.blocks):
            return ""
        return say(
            "Cases drawn by chance from {count} planes (seed {seed}).", count=self.count, seed=self.asked.seed
        )

    def message(self) -> str:
        """What is shown, and what a reader of the picture should know."""
        sentences = [
            say(
                "Montage of {count} case(s), {method} by {model}.",
                count=len(self.cases),
                method=self.method,
                model=self.network.path.name,
            ),
            *(f"{self._heading(block)}." for block in self.blocks),
        ]
        if self._sampled():
            sentences.append(self._sampled())
        empty = sum(top <= 0 for top in self.tops.values())
        if empty:
            sentences.append(say("{count} without any heat.", count=empty))
        if self.classes != self.network.classes:
            sentences.append(
                say("No font of this computer has the letters of the classes; they stand by their number.")
            )
        return joined(sentences)

    def table(self) -> Table:
        """Which case is which, by the number under its tiles."""
        named = (
            ("value",) if self.network.values else ("label", "predicted", "probability", "class", "p(class)")
        )
        rows = []
        for number, case in enumerate(self.cases, 1):
            plane, one = case.plane, self.heat[case.plane]
            found: tuple[Any, ...] = (case.outputs[0],)
            if not self.network.values:
                found = (
                    "" if case.truth is None else self.network.classes[case.truth],
                    self.network.classes[case.predicted],
                    case.outputs[case.predicted],
                    self.network.classes[one.classes[0]],
                    case.outputs[one.classes[0]],
                )
            rows.append(
                (number, plane.image, plane.z, plane.t, *found, self.tops[plane], self.layer, self.method)
            )
        columns = ("number", "image", "slice", "frame", *named, "heat_maximum", "layer", "method")
        return Table("Heat Montage", columns, tuple(rows))


def _font_file(family: list[str]) -> Path:
    """The file of a font, matplotlib's own where none is asked for."""
    from matplotlib.font_manager import FontProperties, findfont

    return Path(findfont(FontProperties(family=family or ["DejaVu Sans"])))


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> Path:
    from PIL import Image as Pillow

    with written(path) as beside:
        Pillow.fromarray(pixels).save(beside, "PNG")
    return path


def asked_of(
    *,
    cases: Wanted,
    limit: int,
    seed: int,
    tile_px: int,
    columns: int,
    lut: str,
    opacity_percent: float,
    contour_percent: str,
    scale_maximum: float,
    names: bool,
) -> Asked:
    """The command's parameters as the work takes them; raises `ParameterError` for levels that are none."""
    style = Style(lut, opacity_percent, contour_levels(contour_percent))
    return Asked(cases, limit, seed, tile_px, columns, style, scale_maximum, names)
