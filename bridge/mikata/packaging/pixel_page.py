"""The README of a package of a network from images to images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikata.packaging import pages
from mikata.packaging.description import (
    ARCHITECTURE,
    ONNX,
    RESEARCH_USE,
    SAMPLE_INPUT,
    STATE_DICT,
    TEST_INPUT,
    TEST_OUTPUT,
    TORCHSCRIPT,
    Words,
)
from mikata.packaging.pages import cell, plain

if TYPE_CHECKING:
    from mikata.packaging.pixelwise import EvaluatedPixels, Pixelwise


def readme(subject: Pixelwise, words: Words, report: EvaluatedPixels | None, *, halo: int | None) -> str:
    """The README of a package of a network that was just trained, in Markdown; `halo` is as of `page`."""
    told = {
        pages.VALIDATION: [
            *_figures(subject, report),
            "",
            f"To validate it on images of your own, compare what it finds with {subject.truth} in images of patients or "
            "samples it has not seen; give the number of patients and an interval with the result.",
        ],
        pages.DATA: [
            plain(words.data) if words.data else "The training data are not described. Ask the authors.",
            "",
            "The test and sample images in this package are made by formula or of open licence.",
        ],
        pages.TRAINING: [plain(subject.methods)],
    }
    return page(subject, words, told, halo=halo)


def page(
    subject: Pixelwise,
    words: Words,
    told: dict[str, list[str]],
    *,
    halo: int | None,
    onnx: bool = False,
) -> str:
    """The README of a package, in Markdown.

    Parameters
    ----------
    told:
        The lines of the sections on figures, data and training.
    halo:
        Pixels of the input at each side of a pixel that have a part in its output; None: all of the image.
    onnx:
        Whether there is an ONNX file.
    """
    low, high = subject.value_range
    network = subject.network.configuration["network"]
    needs = (
        "torch, torchvision and segmentation-models-pytorch" if "/" in network else "torch and torchvision"
    )
    seen = (
        f"What it says of a pixel depends on the pixels up to {halo} px away: tiles that overlap by that much at each side "
        "give exactly what the whole image gives."
        if halo is not None
        else "What it says of a pixel depends on the whole image (or tile): the result depends on the tiles."
    )
    lines = [
        f"# {plain(words.name)}",
        "",
        f"**{RESEARCH_USE}**",
        "",
        *([plain(words.description), ""] if words.description else []),
        f"A network for {subject.kind} (`{network}`), trained with Mikata. Input: an image. Output: an image of the same "
        "size with these channels:",
        "",
        "| output channel | meaning |",
        "|---:|---|",
        *(f"| {number} | {cell(meaning)} |" for number, meaning in enumerate(subject.meanings, 1)),
        "",
        *([*subject.objects, ""] if subject.objects else []),
        "## Images it takes",
        "",
        f"- {pages.channels_words(subject.channels)}",
        f"- At their own scale, sides in multiples of {subject.step} px (deepImageJ, bioimageio.core and Mikata fill images "
        "up to that by themselves). Pixels must be of the size that the training images' were.",
        f"- {seen}",
        f"- Values in {subject.value_unit}; the training images went from {low:g} to {high:g}. Normalisation and {subject.inside} are "
        "inside the network: give it the values as they are.",
        "",
        *(
            line
            for name in (pages.VALIDATION, pages.DATA, pages.TRAINING)
            for line in (f"## {name}", "", *told[name], "")
        ),
        "## Use in ImageJ or Fiji with deepImageJ 3",
        "",
        "Install the zip from deepImageJ's menu, open an image and run it; the result is an image with the channels above. "
        "As a macro:",
        "",
        "```",
        'run("DeepImageJ Run", "model_path=[MODEL FOLDER] input_path=[IMAGE.tif] output_folder=[RESULTS] '
        'display_output=null");',
        "```",
        "",
        "- **Calibrated images (CT, PET and others): convert to 32-bit first (Image > Type > 32-bit).** deepImageJ hands the "
        "stored values to the network, not the calibrated ones: a CT of 904 HU may arrive as 34696.",
        *(
            [
                "- It takes three channels: make them first with Image > Color > Make Composite, and before that, from a grey "
                "image, with Image > Type > RGB Color."
            ]
            if subject.channels == 3
            else []
        ),
        *subject.in_imagej,
        "",
        "## Files",
        "",
        f"- `{TORCHSCRIPT}`: the network for deepImageJ and other readers of TorchScript",
        f"- `{STATE_DICT}`, `{ARCHITECTURE}`: the same network for Python ({needs})",
        f"- `{TEST_INPUT}`, `{TEST_OUTPUT}`: what goes in and must come out; `{SAMPLE_INPUT}`: the same input as an image",
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


def _figures(subject: Pixelwise, report: EvaluatedPixels | None) -> list[str]:
    if report is None:
        return ["No figures were measured. Do not rely on this model."]
    patients = f" of {report.n_patients} patients" if report.n_patients is not None else ""
    truth = "; ".join(f"{plain(name)} ({count} images)" for name, count in report.references.items())
    return [
        f"Measured on {report.n} images{patients} that were neither trained on nor used to choose when to stop; split: "
        f"{plain(subject.grouping)}. The truth rests on: {truth or 'not stated'}.",
        "",
        "| figure | value | interval | images |",
        "|---|---:|---|---:|",
        *pages.rows_of_figures(report),
        *(line for note in report.notes for line in ("", plain(note))),
    ]
