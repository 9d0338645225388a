"""What people see of a package: its README and its cover picture."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from mikata.architecture import TIMM
from mikata.packaging.description import (
    ARCHITECTURE,
    MAPS,
    ONNX,
    RESEARCH_USE,
    SAMPLE_INPUT,
    STATE_DICT,
    TEST_INPUT,
    TEST_MAPS,
    TEST_OUTPUT,
    TORCHSCRIPT,
    Words,
)
from mikata.packaging.trained import Evaluated, EvaluatedValues, HasFigures, ScoreLike, Taking, Trained

_COVER_SIDE = 256
_BAR = np.array([38, 122, 181], np.uint8)
_BACK = np.array([244, 244, 244], np.uint8)


VALIDATION, DATA, TRAINING = "Validation", "Data", "How it was trained"
"""Headings of the README's sections that are of the network, whatever package it is in."""


@dataclass(frozen=True)
class Maps:
    """What the README says of a package's heat maps.

    Attributes
    ----------
    layer:
        The network's layer that they are read from.
    grid:
        Its height and width in cells.
    """

    layer: str
    grid: tuple[int, int]


def _needs(network: str) -> str:
    return "torch, torchvision and timm" if network.startswith(TIMM) else "torch and torchvision"


def readme(
    trained: Trained, words: Words, report: Evaluated | EvaluatedValues | None, *, dynamic: bool
) -> str:
    """The README of a package, in Markdown."""
    values = trained.classifier.target is not None
    told = {
        VALIDATION: [
            *_figures(trained, report),
            "",
            f"To validate it on images of your own, predict images whose {'value' if values else 'class'} is known and "
            "that come from patients or samples it has not seen, and compare the "
            f"{'values (Bland-Altman)' if values else 'classes'}; give the number of patients and an interval with the "
            "result.",
        ],
        DATA: [
            plain(words.data) if words.data else "The training data are not described. Ask the authors.",
            "",
            "The test and sample images in this package are made by formula or of open licence.",
        ],
        TRAINING: [plain(trained.methods)],
    }
    return page(trained, words, told, dynamic=dynamic)


def page(
    trained: Taking,
    words: Words,
    told: dict[str, list[str]],
    *,
    dynamic: bool,
    maps: Maps | None = None,
    onnx: bool = False,
) -> str:
    """The README of a package, in Markdown.

    Parameters
    ----------
    told:
        The lines of the sections `VALIDATION`, `DATA` and `TRAINING`.
    dynamic:
        Whether images of other sizes are taken.
    maps:
        Of a package that explains itself.
    onnx:
        Whether there is an ONNX file.
    """
    configuration = trained.classifier.configuration
    low, high = trained.value_range
    values = trained.classifier.target is not None
    lines = [
        f"# {plain(words.name)}",
        "",
        f"**{RESEARCH_USE}**",
        "",
        *([plain(words.description), ""] if words.description else []),
        *(_value(trained) if values else _classes(trained)),
        "",
        "## Images it takes",
        "",
        f"- {channels_words(trained.channels)}",
        f"- {_size(trained, dynamic)}",
        f"- {'Pixel values' if values else 'Values'} in {trained.value_unit}; the training images went from {low:g} to {high:g}. "
        f"Normalisation and {'the way back to the value' if values else 'softmax'} are inside the network: give it "
        "the values as they are.",
        "",
        *([] if maps is None else [*_heat(trained, maps), ""]),
        *(line for name in (VALIDATION, DATA, TRAINING) for line in (f"## {name}", "", *told[name], "")),
        "## Use in ImageJ or Fiji with deepImageJ 3",
        "",
        *_deepimagej(trained, dynamic, maps),
        "",
        "## Use with Mikata",
        "",
        "```",
        "mikata predict IMAGES --model PACKAGE --out RESULTS",
        "mikata grad-cam IMAGES --model PACKAGE --out RESULTS",
        "```",
        "",
        "## Files",
        "",
        f"- `{TORCHSCRIPT}`: the network for deepImageJ and other readers of TorchScript",
        f"- `{STATE_DICT}`, `{ARCHITECTURE}`: the same network for Python ({_needs(configuration['network'])})",
        f"- `{TEST_INPUT}`, `{TEST_OUTPUT}`: what goes in and must come out; `{SAMPLE_INPUT}`: the same "
        "input as an image",
        *([] if maps is None else [f"- `{TEST_MAPS}`: the heat maps that must come out"]),
        *([f"- `{ONNX}`: the network for readers of ONNX"] if onnx else []),
        "- `training.json`: how it was trained",
        "",
        "## Authors and licence",
        "",
        f"Authors: {plain(', '.join(words.authors)) or 'not stated'}",
        "",
        f"Licence: {words.licence}."
        if words.licence
        else "No licence is stated, so it may not be given on without asking the authors.",
    ]
    return "\n".join(lines) + "\n"


def _heat(trained: Taking, maps: Maps) -> list[str]:
    rows, columns = maps.grid
    values = trained.classifier.target is not None
    each = "the value" if values else "each class"
    return [
        "## Heat maps",
        "",
        f"Beside {'the value' if values else 'the probabilities'} the network gives a heat map of {each} (output "
        f"`{MAPS}`{'' if values else ', one channel a class, in the order of the table above'}): Grad-CAM (Selvaraju "
        "et al. 2017, doi 10.1109/ICCV.2017.74), computed inside the network with its gradients, by deepImageJ or any "
        "other reader, without Python.",
        "",
        f"- Bright is where the layer `{maps.layer}` speaks for the {'value being large' if values else 'class'}. The "
        f"layer sees the image as {columns} x {rows} cells (width x height): a map is no finer than that, and what "
        "looks like an outline in it is interpolated.",
        "- The heat is from 0 up, in the unit of the score before the softmax, not scaled: set the same display range "
        "to compare maps. It is no probability."
        if not values
        else "- The heat is from 0 up and not scaled: set the same display range to compare maps. It is no probability.",
        "- A map shows where this network looked, not where a finding is. A map without heat says that nothing in the "
        "layer speaks for the class. Whether the maps of this network can be relied on, Mikata's controls tell "
        "(`mikata grad-cam --controls`)."
        if not values
        else "- A map shows where this network looked, not where a finding is. Whether the maps of this network can be "
        "relied on, Mikata's controls tell (`mikata grad-cam --controls`).",
        "- They are the maps of `mikata grad-cam`: the difference on other images was measured when this package was "
        "written and is below 0.0001 of the largest heat.",
    ]


def _classes(trained: Taking) -> list[str]:
    return [
        f"A classifier (`{trained.classifier.configuration['network']}`) for {len(trained.classes)} classes, trained "
        "with Mikata. Input: an image. Output: one probability a class, which add up to 1.",
        "",
        "| output channel | class |",
        "|---:|---|",
        *(f"| {number} | {cell(name)} |" for number, name in enumerate(trained.classes, 1)),
    ]


def _value(trained: Taking) -> list[str]:
    assert trained.classifier.target is not None
    mean, std = trained.classifier.target
    unit = plain(trained.classifier.unit)
    named = f"the value in {unit}" if unit else "the value (its unit is not stated)"
    return [
        f"A network (`{trained.classifier.configuration['network']}`) that gives a value, trained with Mikata. Input: "
        f"an image. Output: one number, {named}. It comes without a probability: how far off it may be is told by the "
        "limits of agreement below.",
        "",
        f"The training values had the mean {mean:.4g} and the standard deviation {std:.4g}"
        f"{f' {unit}' if unit else ''}. Far from these it was not trained and is not to be relied on.",
    ]


def cover(image: NDArray[np.float32], probabilities: NDArray[np.float32]) -> bytes:
    """A picture, 512 x 256 px, as PNG: the test image, and its probabilities as bars.

    Parameters
    ----------
    image:
        (C, H, W).
    probabilities:
        (K,), each 0..1.
    """
    left = Picture.fromarray(eight_bit(image)).convert("RGB")
    left = left.resize((_COVER_SIDE, _COVER_SIDE), Picture.Resampling.BICUBIC)
    right = np.tile(_BACK, (_COVER_SIDE, _COVER_SIDE, 1))
    margin, shown = 16, probabilities[:24]
    row = (_COVER_SIDE - 2 * margin) / len(shown)
    for number, probability in enumerate(shown):
        top = round(margin + (number + 0.15) * row)
        bottom = max(top + 1, round(margin + (number + 0.85) * row))
        length = max(2, round(float(probability) * (_COVER_SIDE - 2 * margin)))
        right[top:bottom, margin : margin + length] = _BAR
    return png(np.concatenate([np.asarray(left), right], axis=1))


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Picture.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def eight_bit(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image (C, H, W) from its lowest to its highest value as a picture (H, W) or (H, W, 3)."""
    plane = np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image[0]
    low, high = float(plane.min()), float(plane.max())
    return np.asarray(np.rint((plane - low) * (255.0 / ((high - low) or 1.0))), np.uint8)


def in_colour(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same as a picture (H, W, 3)."""
    plane = eight_bit(image)
    return np.repeat(plane[..., None], 3, 2) if plane.ndim == 2 else plane


def framed(
    picture: NDArray[np.uint8],
    boxes: Iterable[tuple[float, float, float, float]],
    colour: tuple[int, int, int],
    thick_px: int = 1,
) -> None:
    """Draw boxes into a picture (H, W, 3): each left, top, width and height in px; a cross where it has no size.

    Lines are `thick_px` wide and lie within the box.
    """

    def fill(top: int, bottom: int, left: int, right: int) -> None:
        picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour

    for left, top, wide, tall in boxes:
        if wide < 1 or tall < 1:
            row, column, arm = int(top + tall / 2), int(left + wide / 2), 3 * thick_px
            fill(row, row + thick_px, column - arm, column + arm + 1)
            fill(row - arm, row + arm + 1, column, column + thick_px)
            continue
        up, down, west, east = round(top), round(top + tall), round(left), round(left + wide)
        fill(up, min(up + thick_px, down), west, east)
        fill(max(down - thick_px, up), down, west, east)
        fill(up, down, west, min(west + thick_px, east))
        fill(up, down, max(east - thick_px, west), east)


def channels_words(channels: int) -> str:
    """Which images a network of so many channels takes."""
    if channels == 1:
        return "Grey images (one channel)."
    if channels == 3:
        return "Colour images: three channels red, green, blue. Mikata takes grey ones too."
    return f"Images with {channels} channels."


def _size(trained: Taking, dynamic: bool) -> str:
    height, width = trained.size
    if trained.fit == "resize" and dynamic:
        return f"Of any size: the network scales them to {width} x {height} px (width x height) by itself."
    if trained.fit == "resize":
        return f"Exactly {width} x {height} px (width x height). Mikata scales images to this size by itself."
    least = "at least" if dynamic else "exactly"
    return (
        f"At their own scale, {least} {width} x {height} px (width x height). Pixels must be of the size "
        "that the training images' were."
    )


def _figures(trained: Trained, report: Evaluated | EvaluatedValues | None) -> list[str]:
    if report is None:
        return ["No figures were measured. Do not rely on this model."]
    lines = rows_of_figures(report) if isinstance(report, EvaluatedValues) else _rows_of_classes(report)
    patients = f" of {report.n_patients} patients" if report.n_patients is not None else ""
    truth = "; ".join(f"{plain(name)} ({count} images)" for name, count in report.references.items())
    return [
        f"Measured on {report.n} images{patients} that were neither trained on nor used to choose when to "
        f"stop; split: {plain(trained.grouping)}. The truth rests on: {truth or 'not stated'}.",
        "",
        "| figure | value | interval | images |",
        "|---|---:|---|---:|",
        *lines,
        *(line for note in report.notes for line in ("", plain(note))),
    ]


def rows_of_figures(report: HasFigures) -> list[str]:
    """Lines of a Markdown table, one a figure."""
    rows = []
    for one in report.figures():
        if not math.isfinite(one.value):
            rows.append(f"| {cell(one.name)} | not defined | | {one.n} |")
            continue
        interval = cell(one.method)  # which tells why there is none
        if math.isfinite(one.low):
            interval = f"{one.low:.4g} to {one.high:.4g} ({100 * one.level:g} %, {cell(one.method)})"
        rows.append(f"| {cell(one.name)} | {one.value:.4g} | {interval} | {one.n} |")
    return rows


def _rows_of_classes(report: Evaluated) -> list[str]:
    rows = [("Accuracy", report.accuracy), ("Mean recall of the classes", report.balanced_accuracy)]
    for scores in report.per_class:
        rows += [
            (f"Recall of {scores.name}", scores.recall),
            (f"Precision of {scores.name}", scores.precision),
        ]
    return [_row(name, score) for name, score in rows]


def _row(name: str, score: ScoreLike) -> str:
    if not math.isfinite(score.value):
        return f"| {cell(name)} | not defined | | {score.n} |"
    interval = score.interval
    return (
        f"| {cell(name)} | {score.value:.3f} | {interval.low:.3f} to {interval.high:.3f} "
        f"({100 * interval.level:g} %, {cell(interval.method)}) | {score.n} |"
    )


def _deepimagej(trained: Taking, dynamic: bool, maps: Maps | None) -> list[str]:
    height, width = trained.size
    if not dynamic and trained.fit == "native":
        size = (
            f"Cut out exactly {width} x {height} px first (Image > Crop), at the image's own scale: a larger image is "
            "cut into tiles, and the result is that of one tile."
        )
    elif not dynamic:
        size = (
            f"Scale the image to exactly {width} x {height} px first (Image > Scale...): a larger one is cut "
            "into tiles, and the result is that of one tile. ImageJ scales otherwise than Mikata, which changes "
            "the results somewhat: the figures above are of images that Mikata has scaled."
        )
    elif trained.fit == "resize":
        size = "The image may have any size: the network scales it, as Mikata does."
    else:
        size = f"The image must have at least {width} x {height} px."
    values = trained.classifier.target is not None
    result = f"an image of 1 x 1 px {'whose value is the result' if values else 'with one channel a class'}"
    return [
        "Install the zip from deepImageJ's menu, open an image and run it; the result is "
        + (f"{result}. " if maps is None else _both(result, values))
        + "As a macro:",
        "",
        "```",
        'run("DeepImageJ Run", "model_path=[MODEL FOLDER] input_path=[IMAGE.tif] output_folder=[RESULTS] '
        'display_output=null");',
        "```",
        "",
        f"- {size}",
        "- **Calibrated images (CT, PET and others): convert to 32-bit first (Image > Type > 32-bit).** "
        "deepImageJ hands the stored values to the network, not the calibrated ones: a CT of 904 HU "
        "may arrive as 34696.",
        *(
            [
                "- It takes three channels: make them first with Image > Color > Make Composite, and before "
                "that, from a grey image, with Image > Type > RGB Color."
            ]
            if trained.channels == 3
            else []
        ),
    ]


def _both(result: str, values: bool) -> str:
    shown = (
        "one picture"
        if values
        else "a stack with one channel a class (the slider below it changes the class)"
    )
    return (
        f"two images: {result}, and the heat maps, {shown}. To see a map in colour, choose Image > Lookup Tables > "
        "Fire; to lay it over the image, open the image, choose Image > Overlay > Add Image... and take the map "
        f"with an opacity of 50 %. A macro finds them as `IMAGE_{'value' if values else 'probabilities'}.tif` and "
        f"`IMAGE_{MAPS}.tif` in the folder of results. "
    )


def sections(text: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The lines of a README's sections of these headings, without empty ones around them; absent ones are left out."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("## "):
            name = line.removeprefix("## ").strip()
            continue
        if name in names:
            found.setdefault(name, []).append(line.rstrip())
    joined = {name: "\n".join(lines).strip("\n").split("\n") for name, lines in found.items()}
    return {name: lines for name, lines in joined.items() if any(lines)}


def plain(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return plain(text).replace("|", "\\|")
