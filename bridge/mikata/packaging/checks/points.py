"""What deepImageJ 3 accepts, point by point, from its sources (3.1.0, JDLL 0.6.1) and from packages run through them.

1 description's name, 2 format, 3 id, 4 weight files, 5 inputs and axes, 6 channels, 7 sizes, 8 scale, 9 halo
(`seeing`), 10 types, 11 to 14 operations (`operations`), 15 config, 16 PyTorch's version, 17 kinds of
weights, 18 TorchScript (`scripted`). Each is a function of its own that gives one finding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from mikata.language import say
from mikata.networks.importing.reading import Package
from mikata.networks.importing.tensors import Axis, Tensor
from mikata.networks.package_files import DESCRIPTION_FILE
from mikata.packaging.checks.findings import Finding

_SPACE = frozenset("bcxyz")
_LARGE_STEP = 64  # px: many an image is smaller than the next one
_LARGEST_PLAN = 7000 * 7000  # px: that deepImageJ's plan was seen to end for
_STORED = ("uint8", "uint16", "float32")
_CALIBRATED = re.compile(r"\bHU\b|Hounsfield|Bq\s*/\s*m|\bSUV\b|calibrated", re.IGNORECASE)
_RAW_UNITS = ("", "arbitrary unit", "grey", "px", "pixel")


def name_of_description(package: Package) -> Finding:
    """Point 1."""
    if package.described_by == DESCRIPTION_FILE:
        return Finding("1", "passed", say("{file} is at the top level.", file=DESCRIPTION_FILE))
    return Finding(
        "1",
        "failed",
        say("The description is {file}.", file=package.described_by),
        say("deepImageJ lists only models with {file} at the top level.", file=DESCRIPTION_FILE),
        say(
            "Move all files to the top level of the zip and name the description {file}.",
            file=DESCRIPTION_FILE,
        ),
    )


def format_version(package: Package) -> Finding:
    """Point 2."""
    version = str(package.description["format_version"])
    fields = [f for f in ("documentation", "covers") if _as_map(package.description.get(f))]
    if fields:
        return Finding(
            "2",
            "failed",
            say(
                "{file}: {fields} written as a map with source.",
                file=package.described_by,
                fields=", ".join(fields),
            ),
            say(
                "deepImageJ wants plain text there and stops with a ClassCastException; formats from 0.5.11 write maps."
            ),
            say("Write format_version: 0.5.10, documentation: README.md and covers: [cover.png]."),
        )
    patch = version.removeprefix("0.5.").partition(".")[0]
    if version.startswith("0.5.") and patch.isdigit() and int(patch) > 10:
        return Finding(
            "2",
            "warning",
            say("format_version is {version}, with plain names of files.", version=version),
            say(
                "deepImageJ reads it so, but each program that saves the package anew writes the maps on which it stops."
            ),
            say("Write format_version: 0.5.10."),
        )
    return Finding(
        "2", "passed", say("format_version {version} is one that deepImageJ reads.", version=version)
    )


def _as_map(value: object) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value)
    )


def has_id(package: Package) -> Finding:
    """Point 3."""
    if package.old or package.config is None:
        return Finding(
            "3", "not applicable", say("An id is needed only by format 0.5 with the field config.")
        )
    inner = package.config.get("bioimageio")
    nickname = inner.get("nickname") if isinstance(inner, Mapping) else None
    if package.description.get("id") or nickname:
        return Finding("3", "passed", say("The model has an id or a nickname."))
    return Finding(
        "3",
        "failed",
        say("{file} has config, but neither id nor config.bioimageio.nickname.", file=package.described_by),
        say("deepImageJ cannot read the description."),
        say("Add id: a-name-of-your-model, or config: bioimageio: nickname: a-name."),
    )


def weight_files(package: Package) -> Finding:
    """Point 4."""
    source = package.source(package.weights.get("torchscript"))
    if not source:
        return Finding("4", "not applicable", say("There are no TorchScript weights."))
    place = "weights.torchscript.source"
    if not package.has(source):
        return Finding(
            "4",
            "failed",
            say("{place}: the file {file} is not in the package.", place=place, file=source),
            say("deepImageJ has nothing to run."),
            say("Put the file beside {file}.", file=DESCRIPTION_FILE),
        )
    if PurePosixPath(source).name != source or not source.endswith(".pt"):
        return Finding(
            "4",
            "failed",
            say("{place} is {file}.", place=place, file=source),
            say("deepImageJ loads weights only from the top level, and only files that end in .pt."),
            say(
                "Move the file beside {file}, let its name end in .pt, and correct the field.",
                file=DESCRIPTION_FILE,
            ),
        )
    return Finding("4", "passed", say("The weights {file} are at the top level.", file=source))


def inputs_and_axes(found: Sequence[Tensor]) -> Finding:
    """Point 5."""
    inputs = [tensor for tensor in found if not tensor.output]
    if len(inputs) != 1:
        return Finding(
            "5",
            "failed",
            say("The network has {count} inputs.", count=len(inputs)),
            say("deepImageJ runs models with exactly one input."),
            say("Join the images as channels of one input, and split them inside the network."),
        )
    wrong = [f"{t.place}: {a.letter}" for t in found for a in t.axes if a.letter not in _SPACE]
    if wrong:
        return Finding(
            "5",
            "failed",
            say("Axes that deepImageJ does not know: {axes}.", axes=", ".join(wrong)),
            say("deepImageJ knows batch, channel, x, y and z; on time, index and other names it stops."),
            say("Use batch in place of time or index, and name space axes x, y and z."),
        )
    return Finding("5", "passed", say("One input, and only axes that deepImageJ knows."))


def channels(package: Package, found: Sequence[Tensor]) -> Finding:
    """Point 6."""
    if package.old:
        return Finding("6", "not applicable", say("Format 0.4 has no names of channels."))
    wrong = [f"{t.place}" for t in found for a in t.axes if a.letter == "c" and not a.named]
    if wrong:
        return Finding(
            "6",
            "failed",
            say("A channel axis without channel_names: {places}.", places=", ".join(wrong)),
            say(
                "deepImageJ counts the names to know how many channels there are; a size or reference is not read."
            ),
            say("Write channel_names: [a name for each channel] there."),
        )
    if not any(a.letter == "c" for t in found for a in t.axes):
        return Finding("6", "not applicable", say("There is no channel axis."))
    return Finding("6", "passed", say("All channel axes name their channels."))


def sizes(found: Sequence[Tensor]) -> Finding:
    """Point 7."""
    varying = [
        (t, a) for t in found if not t.output for a in t.axes if a.smallest is not None and a.step is not None
    ]
    off = [(t, a) for t, a in varying if a.step and a.smallest is not None and a.smallest % a.step]
    if off:
        return Finding(
            "7",
            "failed",
            say("min is no multiple of step: {axes}.", axes=_axes(off)),
            say("deepImageJ makes tiles of whole steps, which then do not fit the network."),
            say("Give min the next multiple of step, and check that the network takes that size."),
        )
    endless = [
        t.name
        for t in found
        if not t.output
        and math.prod(a.fixed or a.smallest or 1 for a in t.axes if a.letter in "xy") > _LARGEST_PLAN
    ]
    if endless:
        return Finding(
            "7",
            "warning",
            say("The least image of {names} is larger than 7000 x 7000 px.", names=", ".join(endless)),
            say("deepImageJ's plan for 8000 x 8000 px never ends."),
            say("Make the network take smaller images, and let deepImageJ make tiles."),
        )
    large = [(t, a) for t, a in varying if a.step and a.step > _LARGE_STEP]
    if large:
        return Finding(
            "7",
            "warning",
            say("Steps of many pixels: {axes}.", axes=_axes(large)),
            say("deepImageJ stops on images that are smaller than one step."),
            say("Say so in the README, or enlarge images inside the network."),
        )
    if varying:
        return Finding(
            "7",
            "passed",
            say(
                "Sizes {axes}. (deepImageJ plans tiles up to about 4096 x 4096 px with 3 channels; its plan for "
                "8000 x 8000 never ends.)",
                axes=_axes(varying),
            ),
        )
    return Finding("7", "passed", say("The network has one fixed size."))


def _axes(pairs: Sequence[tuple[Tensor, Axis]]) -> str:
    return ", ".join(f"{t.place} {a.letter}: min {a.smallest} step {a.step}" for t, a in pairs)


def scale(package: Package, found: Sequence[Tensor]) -> Finding:
    """Point 8."""
    if package.old:
        return Finding(
            "8", "not applicable", say("In format 0.4, scale is the ratio of sizes that deepImageJ wants.")
        )
    wrong = [
        f"{t.place} {a.letter}: {a.scale:g}"
        for t in found
        if t.output
        for a in t.axes
        if a.scale is not None and a.scale != 1
    ]
    if wrong:
        return Finding(
            "8",
            "failed",
            say("An output's scale is not 1: {axes}.", axes=", ".join(wrong)),
            say("The format means the size of a pixel; deepImageJ takes it for output size / input size."),
            say("Write scale: 1.0, and let the network give as many pixels as it takes."),
        )
    return Finding("8", "passed", say("The scale of all outputs is 1."))


def types(found: Sequence[Tensor]) -> Finding:
    """Point 10."""
    wrong = [f"{t.place}: {t.dtype}" for t in found if not t.output and t.dtype not in _STORED]
    wrong += [f"{t.place}: {t.dtype}" for t in found if t.output and t.dtype not in ("float32", "uint8")]
    if wrong:
        return Finding(
            "10",
            "warning",
            say("Types that ImageJ does not have: {types}.", types=", ".join(wrong)),
            say(
                "deepImageJ makes all values 32-bit floating point numbers: whole numbers above 16777216 are rounded."
            ),
            say(
                "State float32, uint8 or uint16 for inputs, float32 or uint8 for outputs, if the values allow it."
            ),
        )
    return Finding("10", "passed", say("All types are ones that ImageJ has."))


def config(package: Package) -> Finding:
    """Point 15."""
    if package.config is None or "deepimagej" not in package.config:
        return Finding(
            "15", "passed", say("There is no config.deepimagej: deepImageJ then tiles as it needs.")
        )
    inner = package.config["deepimagej"]
    if not isinstance(inner, Mapping) or not inner:
        return Finding(
            "15",
            "failed",
            say("config.deepimagej is empty."),
            say("deepImageJ stops when it runs the model."),
            say("Leave config.deepimagej out, or write allow_tiling: true in it."),
        )
    if inner.get("allow_tiling") is not True:
        return Finding(
            "15",
            "failed",
            say("config.deepimagej does not allow tiling."),
            say("Without it, deepImageJ makes tiles of sizes that the network does not take, and stops."),
            say("Write allow_tiling: true in config.deepimagej."),
        )
    return Finding("15", "passed", say("config.deepimagej allows tiling."))


def pytorch_version(package: Package) -> Finding:
    """Point 16."""
    entry = package.weights.get("torchscript")
    if entry is None:
        return Finding("16", "not applicable", say("There are no TorchScript weights."))
    version = str(entry.get("pytorch_version") or "")
    if re.match(r"2\.|1\.13", version):
        return Finding(
            "16",
            "passed",
            say("pytorch_version {version} is run by an engine of deepImageJ.", version=version),
        )
    return Finding(
        "16",
        "warning",
        say("weights.torchscript.pytorch_version is {version}.", version=version or "-"),
        say(
            "deepImageJ chooses its engine by it: 2.x runs on 2.0.0, 1.13 on 1.13.1; for others it is by chance."
        ),
        say("Write the version of PyTorch that made the file."),
    )


def kinds_of_weights(package: Package) -> Finding:
    """Point 17."""
    kinds = set(package.weights)
    if "onnx" in kinds:
        return Finding(
            "17",
            "failed",
            say("There are ONNX weights ({file}).", file=package.source(package.weights["onnx"])),
            say(
                "deepImageJ may choose them instead of TorchScript; opset 17 crashes Java, newer ones do not load."
            ),
            say("Make a package for deepImageJ without weights.onnx."),
        )
    if "torchscript" not in kinds:
        return Finding(
            "17",
            "failed",
            say("The weights are {kinds} only.", kinds=", ".join(sorted(kinds)) or "-"),
            say("deepImageJ runs TorchScript; other weights it cannot run, or only with another engine."),
            say("Add weights.torchscript, made by torch.jit.trace on the CPU."),
        )
    return Finding("17", "passed", say("There are TorchScript weights and none of ONNX."))


def stored_values(found: Sequence[Tensor], record_unit: str, readme: str) -> Finding:
    """Whether deepImageJ hands the network other numbers than ImageJ shows."""
    wrong = []
    for tensor in found:
        if tensor.output:
            continue
        if tensor.unit not in _RAW_UNITS:
            wrong.append(f"{tensor.place}: {tensor.unit}")
        elif record_unit not in _RAW_UNITS:
            wrong.append(f"{tensor.place}: {record_unit}")
        elif (tensor.lowest is not None and tensor.lowest < 0) or _CALIBRATED.search(tensor.words):
            wrong.append(tensor.place)
    if not wrong:
        return Finding(
            "values",
            "passed",
            say("No input is stated to be of calibrated values. (On an image with a calibration function, such as a "
                "CT, deepImageJ takes the raw stored values.)"),
        )  # fmt: skip
    said = "32-bit" in readme
    return Finding(
        "values",
        "warning",
        say("The network takes calibrated values ({inputs}).", inputs=", ".join(wrong)),
        say(
            "deepImageJ hands it the stored values of an image with a calibration function: 904 HU of a CT arrives as "
            "34696."
        ),
        say("Convert images with Image > Type > 32-bit first; the package's README says so.")
        if said
        else say("Convert images with Image > Type > 32-bit first, and say so in the package's README."),
    )
