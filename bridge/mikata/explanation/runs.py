"""Heat maps of whole images, stacks and folders, on one colour scale, as a command's result.

Two passes: the first runs the network and keeps only the maps on the network's grid (of methods that look at
pixels on disk); the second draws, once the largest heat of all images is known. So thousands of images need
little memory, and one colour means one heat in all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mikata.errors import ImageError, NetworkError
from mikata.explanation.drawing import HeatStyle, heat_image, overlay_of
from mikata.explanation.heat_run import Beside, HeatMethod, HeatRun
from mikata.explanation.kept import ExplainedPlane, GridFile
from mikata.explanation.planes import plane_heat
from mikata.images import Images, write_tiff
from mikata.language import joined, say
from mikata.networks import Model, read_package
from mikata.outputs import ResultFolder
from mikata.prediction import skipped_note
from mikata.types import Image, Progress, Region, Result, Table

__all__ = ["HeatMethod", "HeatStyle", "check_target", "explain_images"]

_DEFAULT_METHOD, _DEFAULT_STYLE = HeatMethod(), HeatStyle()
_MARKED, _HEAT = " with heat", " heat"  # ends of the names of what is made of an image
_EXTRA = {"Integrated-Gradients": ("score_change", "completeness_error")}
"""Columns that only one method has."""
_LARGE_ERROR = 0.05
"""Share of the score's change that integrated gradients may miss without a word."""


def explain_images(
    images: Any,
    model: Path,
    *,
    target: str = "predicted",
    layer: str = "",
    method: HeatMethod = _DEFAULT_METHOD,
    style: HeatStyle = _DEFAULT_STYLE,
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
    beside: Beside | None = None,
    progress: Progress,
) -> Result:
    """Explain every plane of all images; the work of the heat map command.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes.
    model:
        Folder or zip of a package.
    target:
        ``predicted``, ``all`` or a class's name; of a network that gives a value ``predicted``: what raises it.
    layer:
        Dotted name of a layer, or empty for the one found by itself, and for methods that look at the image.
    subfolders:
        Whether folders inside a folder are searched too.
    out:
        Folder for the results, or None to return them as images and overlays.
    keep_metadata:
        Whether the headers of files, which may name a patient, go into the results.
    roi_manager:
        Whether the contours are to go into ImageJ's ROI Manager too.
    beside:
        Makes more of the same run, once its maps are drawn.

    Raises
    ------
    NetworkError
        For an unknown class, layer or method, or one that does not suit the network.
    PackageError, ImageError, OutputError
        As the package, images and folder make it.
    """
    source = Images.of(images, keep_metadata=keep_metadata, recursive=subfolders)
    network = read_package(model)
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    names = _file_names(folder, source, style, method.name) if folder else {}
    check_target(network, method, target)
    more = beside.check(network, method.name) if beside else ()
    if folder:
        folder.reserve(more)
    with GridFile() as kept:
        explained, layer_name = _explain(
            network, source, _target(network, target, method.name), layer, method, batch, kept, progress
        )
        run = HeatRun(network, source, explained, target, layer_name, method, batch)
        return _result(images, run, style, folder, names, roi_manager, beside, progress)


def _result(
    images: Any,
    run: HeatRun,
    style: HeatStyle,
    folder: ResultFolder | None,
    names: dict[str, str],
    roi_manager: bool,
    beside: Beside | None,
    progress: Progress,
) -> Result:
    """Draw all that was explained, on one scale, and put it into the folder or the result."""
    network, source, explained, method = run.network, run.source, run.explained, run.method
    skipped = skipped_note(source)
    maximum = style.scale_maximum or max((float(one.maps.max()) for one in run.planes), default=0.0)

    rows: list[tuple[Any, ...]] = []
    shown: list[Image] = []
    files: list[Path] = []
    overlay: tuple[Region, ...] | None = None
    manager: list[Region] = []
    done, count = 0, len(run.planes)
    for name, image in _again(source, explained):
        planes = explained[name]
        maps = np.stack([e.maps for e in planes])
        for one, heat in zip(planes, maps, strict=True):
            progress.step(say("Draw heat maps"), done, count)
            done += 1
            rows += _rows(network, image, one, heat, run.layer, style, method.name)
        drawn = overlay_of(network, image, planes, maps, maximum, style, method.name)
        if roi_manager:
            ending = f" {name}" if len(explained) > 1 else ""
            manager += [
                Region(one.data, one.name + ending) for one in drawn if one.name.startswith("heat >=")
            ]
        made = {}
        if style.result != "overlay":
            made[_HEAT] = heat_image(network, image, planes, maps, maximum, style, method.name)
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
    table = Table(method.name, _columns(network, style, method.name), tuple(rows))
    if folder:
        files.append(folder.write_table(f"{method.name}.csv", table))
    more = beside.make(run, folder, progress) if beside else Result("")
    message = joined([_message(run), *([more.message] if more.message else [])])
    notice = say("Research use, not for diagnosis.")
    return Result(
        f"{message}{skipped} {notice}",
        overlay=overlay,
        images=tuple(shown),
        tables=(table, *more.tables),
        manager=tuple(manager),
        files=(*files, *more.files),
        page=more.page,
    )


def check_target(network: Model, method: HeatMethod, target: str) -> None:
    """Refuse what the method cannot say of this network (`NetworkError`)."""
    named = {"method": method.name, "model": network.path.name}
    if network.values and target != "predicted":
        raise NetworkError(
            say(
                "{method}: {model} gives a value, not classes: leave target at predicted, which explains what raises "
                "the value.",
                **named,
            )
        )
    if network.values and method.name == "RISE":
        raise NetworkError(
            say(
                "RISE weighs by the probability of a class, and {model} gives a value: take another method, such as "
                "Occlusion.",
                model=network.path.name,
            )
        )
    if not method.method.by_class and target != "predicted":
        raise NetworkError(
            say("{method} is the same for every class: leave target at predicted.", method=method.name)
        )


def _target(network: Model, target: str, method: str) -> Literal["all"] | int | None:
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
            "{method}: {model} has no class '{name}'{hint}. target is predicted, all, or one of: {classes}.",
            method=method,
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
    method: HeatMethod,
    batch: int,
    kept: GridFile,
    progress: Progress,
) -> tuple[dict[str, list[ExplainedPlane]], str]:
    """The maps of every plane by image, and the layer that they are from."""
    result: dict[str, list[ExplainedPlane]] = {}
    for heat in plane_heat(
        network,
        source,
        target=target,
        method=method.name,
        layer=layer,
        settings=method.settings_by(batch),
        batch=batch,
        progress=progress,
        message=method.name,
    ):
        result.setdefault(heat.plane.image, []).append(
            ExplainedPlane(
                heat.plane,
                heat.classes,
                heat.predicted,
                heat.outputs,
                kept,
                kept.put(heat.grid),
                bool(heat.grid.any()),
                heat.cells,
                heat.extra,
            )
        )
        layer = heat.layer
    if not result:
        raise ImageError(say("There is no image to explain."))
    return result, layer


def _again(source: Images, explained: dict[str, list[ExplainedPlane]]) -> Iterator[tuple[str, Image]]:
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


def _columns(network: Model, style: HeatStyle, method: str) -> tuple[str, ...]:
    area = (f"area_above_{percent:g}_percent_of_maximum_px" for percent in style.levels_percent)
    return (
        "image", "slice", "frame", *(("value", "value_unit") if network.values else ("class", "probability", "predicted")), "heat_mean", "heat_maximum",
        "peak_x_px", "peak_y_px", *area, "cell_width_px", "cell_height_px", "cell_width", "cell_height", "unit",
        "layer", "method", *_EXTRA.get(method, ()),
    )  # fmt: skip


def _rows(
    network: Model,
    image: Image,
    one: ExplainedPlane,
    heat: NDArray[np.float32],
    layer: str,
    style: HeatStyle,
    method: str,
) -> Iterator[tuple[Any, ...]]:
    cell_height, cell_width = one.cells.cell_px
    for number, (index, values) in enumerate(zip(one.classes, heat, strict=True)):
        top = float(values.max())
        y, x = np.unravel_index(int(values.argmax()), values.shape) if top > 0 else (None, None)
        area = (
            int((values >= top * percent / 100).sum()) if top > 0 else 0 for percent in style.levels_percent
        )
        found = (
            (one.outputs[0], network.classifier.unit)
            if network.values
            else (network.classes[index], one.outputs[index], network.classes[one.predicted])
        )
        yield (
            one.plane.image, one.plane.z, one.plane.t, *found, float(values.mean()), top,
            None if x is None else int(x), None if y is None else int(y), *area,
            round(cell_width, 3), round(cell_height, 3),
            cell_width * image.pixel_size[0], cell_height * image.pixel_size[1], image.unit, layer, method,
            *(one.extra[number] if one.extra else ()),
        )  # fmt: skip


def _message(run: HeatRun) -> str:
    network, method, every = run.network, run.method, run.planes
    sentences = [run.headline()]
    if method.name != "Grad-CAM":
        sentences.append(method.method.meaning())
    empty = sum(not one.any_heat for one in every)
    if empty and not method.method.needs_layer:
        sentences.append(say("{count} without any heat: nothing in the image speaks for it.", count=empty))
    elif empty and network.values:
        sentences.append(say("{count} without any heat: nothing in the layer raises the value.", count=empty))
    elif empty:
        sentences.append(
            say("{count} without any heat: nothing in the layer speaks for the class.", count=empty)
        )
    pairs = [pair for one in every for pair in one.extra]
    change = sum(abs(moved) for moved, _ in pairs)
    missed = sum(error for _, error in pairs)
    if missed > _LARGE_ERROR * change:
        sentences.append(
            say(
                "The attributions miss {share:.0%} of the change of the score: give more steps.",
                share=missed / change if change else 1.0,
            )
        )
    return joined(sentences)


def _file_names(folder: ResultFolder, source: Images, style: HeatStyle, method: str) -> dict[str, str]:
    """What each image's files are called; none of them may be there already."""
    names = {name: folder.unique(name) for name in source.names}
    ends = {"both": (_MARKED, _HEAT), "overlay": (_MARKED,), "heat-map": (_HEAT,)}[style.result]
    folder.reserve([f"{method}.csv", *(f"{name}{end}.tif" for name in names.values() for end in ends)])
    return names
