"""Heat maps of whole images, stacks and folders, on one colour scale, as a command's result.

Two passes: the first runs the network and keeps only the maps on the network's grid (of methods that look at
pixels on disk); the second draws, once the largest heat of all images is known. So thousands of images need
little memory, and one colour means one heat in all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.errors import ImageError, NetworkError
from mikata.explanation.drawing import HeatStyle, heat_image, overlay_of
from mikata.explanation.engine import heat_maps
from mikata.explanation.explained import Explanation
from mikata.explanation.kept import ExplainedPlane, GridFile
from mikata.explanation.methods import Method, Settings, method_named
from mikata.images import Images, write_tiff
from mikata.language import joined, say
from mikata.networks import Model, asked_between_layers, read_package
from mikata.outputs import ResultFolder
from mikata.prediction import batches, device, skipped_note
from mikata.types import Image, Progress, Region, Result, Table

__all__ = ["HeatMethod", "HeatStyle", "check_target", "explain_images"]

_DEFAULT_STYLE = HeatStyle()
_MARKED, _HEAT = " with heat", " heat"  # ends of the names of what is made of an image
_EXTRA = {"Integrated-Gradients": ("score_change", "completeness_error")}
"""Columns that only one method has."""
_LARGE_ERROR = 0.05
"""Share of the score's change that integrated gradients may miss without a word."""


@dataclass(frozen=True)
class HeatMethod:
    """How heat is found: see the parameters of the heat map command. What a method does not need is not used."""

    name: str = "Grad-CAM"
    window_percent: float = 12.5
    masks: int = 1000
    steps: int = 50
    baseline: Literal["mean", "zero"] = "mean"

    @property
    def method(self) -> Method:
        """What the method needs."""
        return method_named(self.name)

    def settings(self, network: Model, tensor: torch.Tensor, batch: int) -> Settings:
        """The same in the network's input: for images (N, C, H, W) in their own unit, on their device."""
        side = max(1, round(min(tensor.shape[-2:]) * self.window_percent / 100))
        baseline: float | torch.Tensor = 0.0
        if self.baseline == "zero":
            with torch.no_grad():
                baseline = network.classifier.normalise(torch.zeros_like(tensor[:1, :, :1, :1]))[0]
        return Settings(
            forward=batch, baseline=baseline, window_px=(side, side), masks=self.masks, steps=self.steps
        )


def explain_images(
    images: Any,
    model: Path,
    *,
    target: str = "predicted",
    layer: str = "",
    method: HeatMethod = HeatMethod(),
    style: HeatStyle = _DEFAULT_STYLE,
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    keep_metadata: bool = False,
    roi_manager: bool = False,
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
    with GridFile() as kept:
        explained, layer_name = _explain(
            network, source, _target(network, target, method.name), layer, method, batch, kept, progress
        )
        return _result(
            images,
            source,
            network,
            explained,
            layer_name,
            method,
            style,
            folder,
            names,
            roi_manager,
            progress,
        )


def _result(
    images: Any,
    source: Images,
    network: Model,
    explained: dict[str, list[ExplainedPlane]],
    layer_name: str,
    method: HeatMethod,
    style: HeatStyle,
    folder: ResultFolder | None,
    names: dict[str, str],
    roi_manager: bool,
    progress: Progress,
) -> Result:
    """Draw all that was explained, on one scale, and put it into the folder or the result."""
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
            rows += _rows(network, image, one, heat, layer_name, style, method.name)
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
    notice = say("Research use, not for diagnosis.")
    return Result(
        f"{_message(network, explained, layer_name, method)}{skipped} {notice}",
        overlay=overlay,
        images=tuple(shown),
        tables=(table,),
        manager=tuple(manager),
        files=tuple(files),
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
    size: int,
    kept: GridFile,
    progress: Progress,
) -> tuple[dict[str, list[ExplainedPlane]], str]:
    where = device()
    classifier = network.classifier.to(where).eval()
    result: dict[str, list[ExplainedPlane]] = {}
    layer_name = layer
    # a method of many passes fills the batch with one image's changed copies
    together = 1 if method.method.many_passes else size
    for planes, tensor in batches(network, source, together, progress, method.name):
        tensor = tensor.to(where)
        with torch.no_grad():
            normalised = classifier.normalise(tensor)
        # one layer for all images, though they may differ in size
        with asked_between_layers(classifier.network, progress.check):
            explanation = heat_maps(
                classifier.network,
                normalised,
                target,
                method.name,
                layer_name or None,
                settings=method.settings(network, tensor, size),
                check=progress.check,
            )
        layer_name = explanation.layer or layer
        outputs = classifier.outputs(explanation.logits.float()).cpu()
        grid = explanation.grid.float().cpu().numpy()
        extra = _extra(explanation)
        for i, plane in enumerate(planes):
            predicted = int(outputs[i].argmax())
            if target == "all":
                classes, own = tuple(range(len(network.classes))), grid[i]
            else:
                classes, own = (predicted if target is None else target,), grid[i][None]
            one = ExplainedPlane(
                plane,
                classes,
                predicted,
                tuple(outputs[i].tolist()),
                kept,
                kept.put(own),
                bool(own.any()),
                (tensor.shape[2], tensor.shape[3]),
                explanation.cell_px,
                tuple(extra[i]) if extra else (),
            )
            result.setdefault(plane.image, []).append(one)
    if not result:
        raise ImageError(say("There is no image to explain."))
    return result, layer_name


def _extra(explanation: Explanation) -> list[list[tuple[float, ...]]]:
    """For each image and class explained what `_EXTRA` names; empty for methods that report nothing more."""
    if explanation.score_change is None or explanation.completeness_error is None:
        return []
    both = torch.stack([explanation.score_change, explanation.completeness_error], -1).float().cpu()
    rows = both.reshape(len(both), -1, 2).tolist()
    return [[tuple(pair) for pair in row] for row in rows]


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
    cell_height, cell_width = one.cell(network.fit)
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


def _message(
    network: Model, explained: dict[str, list[ExplainedPlane]], layer: str, method: HeatMethod
) -> str:
    every = [one for planes in explained.values() for one in planes]
    named = {"method": method.name, "count": len(every), "model": network.path.name}
    sentences = [
        say("{method} of {count} plane(s) by {model}, layer {layer}.", **named, layer=layer)
        if method.method.needs_layer
        else say("{method} of {count} plane(s) by {model}.", **named)
    ]
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
