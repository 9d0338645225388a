"""Heat maps of whole images, stacks and folders, on one colour scale, as a command's result.

Two passes: the first runs the network and keeps only the small maps on the network's grid; the
second draws, once the largest heat of all images is known. So thousands of images need little
memory, and one colour means one heat in all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from roifile import ROI_SUBTYPE

from mikata import regions
from mikata.errors import ImageError, NetworkError
from mikata.explanation.display import colour_bar, heat_contours, heat_overlay, lut
from mikata.explanation.engine import heat_maps
from mikata.images import Images, write_tiff
from mikata.language import say
from mikata.networks import Model, asked_between_layers, read_package
from mikata.outputs import ResultFolder
from mikata.prediction import Plane, batches, device, skipped_note
from mikata.types import Image, Progress, Region, Result, Table

# Contours of several classes on one image: Okabe and Ito's colours, which colour-blind readers
# tell apart (https://jfly.uni-koeln.de/color/).
_CLASS_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")
_MARKED, _HEAT = " with heat", " heat"  # ends of the names of what is made of an image
_CONTOUR_COLOUR = "#00FFFF"


@dataclass(frozen=True)
class HeatStyle:
    """How heat is shown: see the parameters of the Grad-CAM command."""

    lut: str = "Fire"
    opacity_percent: float = 60.0
    contour_percent: float = 50.0
    scale_maximum: float = 0.0
    colour_bar: bool = True
    result: Literal["both", "overlay", "heat-map"] = "both"


@dataclass(frozen=True, eq=False)
class _Explained:
    """One plane's maps on the network's grid: `grid` is (classes explained, h, w); a value is as one class."""

    plane: Plane
    classes: tuple[int, ...]
    predicted: int
    outputs: tuple[float, ...]  # probabilities, or the value
    grid: NDArray[np.float32]
    input_size: tuple[int, int]

    def maps(self, fit: str) -> NDArray[np.float32]:
        """The maps at the image's size (classes explained, height, width)."""
        size = (self.plane.height, self.plane.width)
        grid = torch.from_numpy(self.grid)[:, None]
        if fit == "native":  # small images were padded at their lower and right border
            full = F.interpolate(grid, self.input_size, mode="bilinear", align_corners=False)
            full = full[..., : size[0], : size[1]]
        else:
            full = F.interpolate(grid, size, mode="bilinear", align_corners=False)
        return np.asarray(full[:, 0].numpy(), np.float32)

    def cell(self, fit: str) -> tuple[float, float]:
        """Height and width of one cell of the network's grid, in pixels of the image."""
        height, width = self.input_size if fit == "native" else (self.plane.height, self.plane.width)
        return height / self.grid.shape[1], width / self.grid.shape[2]


def explain_images(
    images: Any,
    model: Path,
    *,
    target: str = "predicted",
    layer: str = "",
    style: HeatStyle = HeatStyle(),
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
    progress: Progress,
) -> Result:
    """Explain every plane of all images; the work of the Grad-CAM command.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes.
    model:
        Folder or zip of a package.
    target:
        ``predicted``, ``all`` or a class's name; of a network that gives a value ``predicted``: what raises it.
    layer:
        Dotted name of a layer, or empty for the one found by itself.
    subfolders:
        Whether folders inside a folder are searched too.
    out:
        Folder for the results, or None to return them as images and overlays.
    keep_metadata:
        Whether the headers of files, which may name a patient, go into the results.
    roi_manager:
        Whether the contours are to go into ImageJ's ROI Manager too.

    Raises
    ------
    NetworkError
        For an unknown class or layer.
    PackageError, ImageError, OutputError
        As the package, images and folder make it.
    """
    source = Images.of(images, keep_metadata=keep_metadata, recursive=subfolders)
    network = read_package(model)
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    names = _file_names(folder, source, style) if folder else {}
    if network.values and target != "predicted":
        raise NetworkError(
            say(
                "Grad-CAM: {model} gives a value, not classes: leave target at predicted, which explains what raises "
                "the value.",
                model=network.path.name,
            )
        )
    explained, layer_name = _explain(network, source, _target(network, target), layer, batch, progress)
    skipped = skipped_note(source)
    maximum = style.scale_maximum or max(
        (float(e.maps(network.fit).max()) for planes in explained.values() for e in planes), default=0.0
    )

    rows: list[tuple[Any, ...]] = []
    shown: list[Image] = []
    files: list[Path] = []
    overlay: tuple[Region, ...] | None = None
    manager: list[Region] = []
    done, count = 0, sum(map(len, explained.values()))
    for name, image in _again(source, explained):
        planes = explained[name]
        maps = np.stack([e.maps(network.fit) for e in planes])
        for one, heat in zip(planes, maps, strict=True):
            progress.step(say("Draw heat maps"), done, count)
            done += 1
            rows += _rows(network, image, one, heat, layer_name, style)
        drawn = _overlay(network, image, planes, maps, maximum, style)
        if roi_manager:
            ending = f" {name}" if len(explained) > 1 else ""
            manager += [
                Region(one.data, one.name + ending) for one in drawn if one.name.startswith("heat >=")
            ]
        made = {}
        if style.result != "overlay":
            made[_HEAT] = _heat_image(network, image, planes, maps, maximum, style)
        if style.result != "heat-map":
            made[_MARKED] = image.replace(overlay=drawn)
        if folder:
            files += [write_tiff(folder.path(f"{names[name]}{end}.tif"), one) for end, one in made.items()]
            continue
        if isinstance(images, Image) and _MARKED in made:
            del made[_MARKED]
            overlay = drawn  # the door has this image on show
        shown += made.values()
    progress.step(say("Draw heat maps"), count, count)
    table = Table("Grad-CAM", _columns(network, style), tuple(rows))
    if folder:
        files.append(folder.write_table("Grad-CAM.csv", table))
    empty = sum(1 for planes in explained.values() for e in planes if not e.grid.any())
    notice = say("Research use, not for diagnosis.")
    return Result(
        f"{_message(network, explained, layer_name, empty)}{skipped} {notice}",
        overlay=overlay,
        images=tuple(shown),
        tables=(table,),
        manager=tuple(manager),
        files=tuple(files),
    )


def _target(network: Model, target: str) -> Literal["all"] | int | None:
    if target == "predicted":
        return None
    if target == "all":
        return "all"
    if target in network.classes:
        return network.classes.index(target)
    near = difflib.get_close_matches(target, network.classes, 1)
    hint = say(" (did you mean '{near}'?)", near=near[0]) if near else ""
    raise NetworkError(
        say(
            "Grad-CAM: {model} has no class '{name}'{hint}. target is predicted, all, or one of: {classes}.",
            model=network.path.name,
            name=target,
            hint=hint,
            classes=", ".join(network.classes),
        )
    )


def _explain(
    network: Model,
    source: Images,
    target: Literal["all"] | int | None,
    layer: str,
    size: int,
    progress: Progress,
) -> tuple[dict[str, list[_Explained]], str]:
    where = device()
    classifier = network.classifier.to(where).eval()
    result: dict[str, list[_Explained]] = {}
    layer_name = layer
    for planes, tensor in batches(network, source, size, progress, "Grad-CAM"):
        tensor = tensor.to(where)
        with torch.no_grad():
            normalised = classifier.normalise(tensor)
        # one layer for all images, though they may differ in size
        with asked_between_layers(classifier.network, progress.check):
            explanation = heat_maps(classifier.network, normalised, target=target, layer=layer_name or None)
        layer_name = explanation.layer
        outputs = classifier.outputs(explanation.logits.float()).cpu()
        grid = explanation.grid.float().cpu().numpy()
        for i, plane in enumerate(planes):
            predicted = int(outputs[i].argmax())
            if target == "all":
                classes, own = tuple(range(len(network.classes))), grid[i]
            else:
                classes, own = (predicted if target is None else target,), grid[i][None]
            one = _Explained(
                plane,
                classes,
                predicted,
                tuple(outputs[i].tolist()),
                own,
                (tensor.shape[2], tensor.shape[3]),
            )
            result.setdefault(plane.image, []).append(one)
    if not result:
        raise ImageError(say("There is no image to explain."))
    return result, layer_name


def _again(source: Images, explained: dict[str, list[_Explained]]) -> Iterator[tuple[str, Image]]:
    """The images a second time, as they were when they were explained."""
    for name, image in source.items():
        if name not in explained:
            continue
        first = explained[name][0].plane
        if (image.size("Y"), image.size("X")) != (first.height, first.width):
            raise ImageError(
                say("{image} changed while it was being explained; run the command again.", image=name)
            )
        yield name, image


def _position(image: Image, plane: Plane) -> int | tuple[int, int, int]:
    """Where ImageJ shows a ROI of this plane: 0 everywhere, a stack position, or (any channel, slice, frame)."""
    depth, frames = image.size("Z"), image.size("T")
    if depth * frames == 1:
        return 0
    if image.size("C") == 1 and 1 in (depth, frames):
        return max(plane.z, plane.t)
    return 0, plane.z, plane.t


def _overlay(
    network: Model,
    image: Image,
    planes: list[_Explained],
    maps: NDArray[np.float32],
    maximum: float,
    style: HeatStyle,
) -> tuple[Region, ...]:
    kept = _without_heat(image.overlay)
    drawn: list[Region] = []
    for one, heat in zip(planes, maps, strict=True):
        position = _position(image, one.plane)
        drawn += heat_overlay(
            heat[one.classes.index(_shown(one))],
            lut=style.lut,
            opacity_percent=style.opacity_percent,
            maximum=maximum,
            position=position,
        )
        if style.contour_percent <= 0:
            continue
        for k, index in enumerate(one.classes):
            single = len(one.classes) == 1
            drawn += heat_contours(
                heat[k],
                levels_percent=(style.contour_percent,),
                position=position,
                stroke_color=_CONTOUR_COLOUR if single else _CLASS_COLOURS[index % len(_CLASS_COLOURS)],
                name_suffix="" if single else f" ({_names(network)[index]})",
            )
    if style.colour_bar and maximum > 0:
        # only one class's heat is drawn, though `all` explains every one: say which
        drawn_for = {_names(network)[_shown(one)] for one in planes}
        label = f"heat: {drawn_for.pop()}" if len(drawn_for) == 1 else "heat"
        drawn += colour_bar(image.size("X"), image.size("Y"), lut=style.lut, maximum=maximum, label=label)
    return (*kept, *drawn)


def _names(network: Model) -> tuple[str, ...]:
    """What the network's outputs are called."""
    return ("value",) if network.values else network.classes


def _shown(one: _Explained) -> int:
    """The class whose heat is drawn: of several, the predicted one."""
    return one.predicted if len(one.classes) > 1 else one.classes[0]


def _without_heat(overlay: tuple[Region, ...]) -> list[Region]:
    """What an earlier run has not drawn: a second run replaces the heat of the first."""
    named = [r for r in overlay if not r.name.startswith("heat")]
    if len(named) == len(overlay):
        return named
    # ImageJ forgets the names of image ROIs when it opens a file, and beside heat they are heat
    return [r for r in named if r.name or regions.to_roi(r).subtype != ROI_SUBTYPE.IMAGE]


def _heat_image(
    network: Model,
    image: Image,
    planes: list[_Explained],
    maps: NDArray[np.float32],
    maximum: float,
    style: HeatStyle,
) -> Image:
    depth, frames, classes = image.size("Z"), image.size("T"), maps.shape[1]
    # planes that were passed over (all black, say) stay without heat
    stack = np.zeros((frames, depth, classes, *maps.shape[2:]), np.float32)
    for one, heat in zip(planes, maps, strict=True):
        stack[one.plane.t - 1, one.plane.z - 1] = heat
    keep = [(a, n) for a, n in zip("TZC", stack.shape, strict=False) if n > 1]
    names = [_names(network)[k] for k in planes[0].classes] if classes > 1 else []
    labels = tuple(names * (frames * depth))
    return Image(
        stack.reshape(*(n for _, n in keep), *maps.shape[2:]),
        "".join(a for a, _ in keep) + "YX",
        title=f"{planes[0].plane.image} heat",
        pixel_size=image.pixel_size,
        unit=image.unit,
        frame_interval_s=image.frame_interval_s,
        value_unit="Grad-CAM",
        luts=(np.ascontiguousarray(lut(style.lut).T),) * classes,
        display_ranges=((0.0, maximum or 1.0),) * classes,
        mode="color" if classes > 1 else "",
        slice_labels=labels,
    )


def _columns(network: Model, style: HeatStyle) -> tuple[str, ...]:
    area = (
        (f"area_above_{style.contour_percent:g}_percent_of_maximum_px",) if style.contour_percent > 0 else ()
    )
    return (
        "image", "slice", "frame", *(("value", "value_unit") if network.values else ("class", "probability", "predicted")), "heat_mean", "heat_maximum",
        "peak_x_px", "peak_y_px", *area, "cell_width_px", "cell_height_px", "cell_width", "cell_height", "unit",
        "layer", "method",
    )  # fmt: skip


def _rows(
    network: Model, image: Image, one: _Explained, heat: NDArray[np.float32], layer: str, style: HeatStyle
) -> Iterator[tuple[Any, ...]]:
    cell_height, cell_width = one.cell(network.fit)
    for index, values in zip(one.classes, heat, strict=True):
        top = float(values.max())
        y, x = np.unravel_index(int(values.argmax()), values.shape) if top > 0 else (None, None)
        above = int((values >= top * style.contour_percent / 100).sum()) if top > 0 else 0
        area = (above,) if style.contour_percent > 0 else ()
        found = (
            (one.outputs[0], network.classifier.unit)
            if network.values
            else (network.classes[index], one.outputs[index], network.classes[one.predicted])
        )
        yield (
            one.plane.image, one.plane.z, one.plane.t, *found, float(values.mean()), top,
            None if x is None else int(x), None if y is None else int(y), *area,
            round(cell_width, 3), round(cell_height, 3),
            cell_width * image.pixel_size[0], cell_height * image.pixel_size[1], image.unit, layer, "Grad-CAM",
        )  # fmt: skip


def _message(network: Model, explained: dict[str, list[_Explained]], layer: str, empty: int) -> str:
    count = sum(len(planes) for planes in explained.values())
    text = say(
        "Grad-CAM of {count} plane(s) by {model}, layer {layer}.",
        count=count,
        model=network.path.name,
        layer=layer,
    )
    if not empty:
        return text
    if network.values:
        without = say("{count} without any heat: nothing in the layer raises the value.", count=empty)
        return f"{text} {without}"
    without = say("{count} without any heat: nothing in the layer speaks for the class.", count=empty)
    return f"{text} {without}"


def _file_names(folder: ResultFolder, source: Images, style: HeatStyle) -> dict[str, str]:
    """What each image's files are called; none of them may be there already."""
    names = {name: folder.unique(name) for name in source.names}
    ends = {"both": (_MARKED, _HEAT), "overlay": (_MARKED,), "heat-map": (_HEAT,)}[style.result]
    folder.reserve(["Grad-CAM.csv", *(f"{name}{end}.tif" for name in names.values() for end in ends)])
    return names
