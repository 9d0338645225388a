"""The description of a package, ``rdf.yaml``: built and validated by bioimageio.spec, written for deepImageJ.

deepImageJ reads formats up to 0.5.10, where `documentation` and `covers` are plain strings; newer
formats write a map with a checksum there, on which it stops. So the newest description is built and
validated first, and these two fields are then written the older way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
import yaml  # type: ignore[import-untyped]
from bioimageio.spec import ValidationContext, dump_description
from bioimageio.spec.common import Sha256
from bioimageio.spec.model import v0_5 as newest
from pydantic import ValidationError

from mikata.architecture import Network, SelfExplaining
from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.quiet import quiet
from mikata.packaging.trained import Taking

v0_5: Any = newest  # plain values become the format's own types at run time, which mypy cannot know

FORMAT_VERSION = "0.5.10"

README = "README.md"
COVER = "cover.png"
ARCHITECTURE = "architecture.py"
TORCHSCRIPT = "weights_torchscript.pt"
STATE_DICT = "weights_state_dict.pt"
TEST_INPUT = "test_input.npy"
TEST_OUTPUT = "test_output.npy"
TEST_MAPS = "test_maps.npy"
ONNX = "weights.onnx"
SAMPLE_INPUT = "sample_input.tif"

OPSET = 18
"""Of ONNX: the first that scales images with a filter, as torch does; onnxruntime runs it since 1.14 (2023)."""

MAPS = "heat_maps"
"""Name of the output of a package that explains itself."""

Reader = Literal["deepimagej", "zoo"]
"""Whom a package is written for: deepImageJ (and all others that read its format), or readers of the newest format."""

_SMALLEST_SCALED = 16  # px; smaller images can be scaled too, but there is hardly anything in them

RESEARCH_USE = "Research use, not for diagnosis."


@dataclass(frozen=True)
class Words:
    """What a person says about a package.

    Attributes
    ----------
    name:
        The model's name, in any script.
    description:
        One or two sentences, at most 900 characters.
    authors:
        Names; may be empty.
    licence:
        SPDX name, such as ``CC-BY-4.0``; empty: none is stated.
    data:
        What the network was trained on, with source and licence.
    tags:
        More tags than Mikata's own.
    parent:
        Id of the published model that this one was trained from, or empty.
    """

    name: str
    description: str = ""
    authors: tuple[str, ...] = ()
    licence: str = ""
    data: str = ""
    tags: tuple[str, ...] = ()
    parent: str = ""


def refuse_words(*, name: str, licence: str) -> None:
    """Say before any work what a description cannot hold.

    Raises
    ------
    PackageError
        If there is no name, or the licence is no SPDX name.
    """
    if not name.strip():
        raise PackageError(say("The package has no name. Give one."))
    if not licence:
        return
    for kind in (v0_5.LicenseId, v0_5.DeprecatedLicenseId):
        with suppress(ValidationError):
            kind(licence)
            return
    raise PackageError(
        say(
            "The licence '{licence}' is no SPDX name, such as CC-BY-4.0, CC0-1.0 or MIT (the list is at "
            "https://spdx.org/licenses).",
            licence=licence,
        )
    )


def title(words: Words, network: str, kind: str = "classifier") -> str:
    """The model's name as the format allows it: 5 to 64 letters, digits, ``_+- ()``, all ASCII."""
    plain = " ".join(re.sub(r"[^A-Za-z0-9_+\-() ]+", " ", words.name).split())
    if not re.search("[A-Za-z0-9]", plain):
        return f"{network} {kind}"
    return (plain if len(plain) >= 5 else f"{plain} {kind}")[:64].strip()


def nickname(name: str) -> str:
    """A name for menus: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")


def describe(
    folder: Path,
    trained: Taking,
    words: Words,
    *,
    dynamic: bool,
    sums: dict[str, str],
    explaining: SelfExplaining | None = None,
    reader: Reader = "deepimagej",
) -> dict[str, Any]:
    """Return the description of the files in `folder`, in plain values for YAML.

    Parameters
    ----------
    folder:
        The package's folder with all its other files.
    dynamic:
        Whether the TorchScript takes images of other sizes: any that it scales, or from the network's size on.
    sums:
        sha256 of each file.
    explaining:
        The network with its heat maps, where they are its second output.
    reader:
        Whether the newest format is taken one step down for deepImageJ.

    Raises
    ------
    PackageError
        If bioimageio.spec finds it invalid; the sentence names each field.
    """
    refuse_words(name=words.name, licence=words.licence)
    network = trained.classifier.configuration["network"]
    values = trained.classifier.target is not None
    name = title(words, network, "regression" if values else "classifier")
    own_tags = [
        "regression" if values else "classification",
        "2d",
        "pytorch",
        "torchscript",
        "deepimagej",
        "mikata",
        network,
    ]
    optional: dict[str, Any] = {}
    if words.licence:
        optional["license"] = words.licence
    try:
        with quiet(), ValidationContext(root=folder, perform_io_checks=True):
            if words.parent:
                optional["parent"] = v0_5.LinkedModel(id=v0_5.ModelId(words.parent))
            kwargs = {
                **({} if explaining is None else explaining.reading),
                **trained.classifier.configuration,
            }
            description = v0_5.ModelDescr(
                name=name,
                description=f"{words.description.strip()} {RESEARCH_USE}".strip(),
                authors=[v0_5.Author(name=author) for author in words.authors],
                documentation=file_of(README, sums),
                covers=[file_of(COVER, sums)],
                tags=list(dict.fromkeys([*own_tags, *words.tags])),
                inputs=[_input(trained, dynamic, sums, alone=explaining is not None)],
                outputs=[
                    _output(trained, sums),
                    *([] if explaining is None else [_maps(trained, dynamic, sums)]),
                ],
                weights=weights_of(explaining or trained.classifier, sums, kwargs),
                attachments=[file_of("training.json", sums)],
                version="0.1.0",
                timestamp=datetime.now(UTC).replace(microsecond=0),
                **optional,
            )
    except ValidationError as error:
        raise PackageError(
            say("The package's description is not valid: {reasons}.", reasons=reasons_of(error))
        ) from error
    content = dump_description(description)
    return for_deepimagej(content, nickname(name)) if reader == "deepimagej" else dict(content)


def to_yaml(description: dict[str, Any]) -> str:
    """The description as YAML text, class names in their own script."""
    text: str = yaml.safe_dump(description, allow_unicode=True, sort_keys=False, width=1000)
    return text


def for_deepimagej(content: Any, nick: str) -> dict[str, Any]:
    """The one small step down: see the module's docstring."""
    older = dict(content)
    older["format_version"] = FORMAT_VERSION
    older["documentation"] = README
    older["covers"] = [COVER]
    # deepImageJ needs a nickname as soon as there is a config, and tiles only where that is allowed
    older["config"] = {"bioimageio": {"nickname": nick}, "deepimagej": {"allow_tiling": True}}
    return older


def file_of(name: str, sums: dict[str, str]) -> Any:
    """A file of the package with its checksum."""
    return v0_5.FileDescr(source=Path(name), sha256=Sha256(sums[name]))


def weights_of(network: Network, sums: dict[str, str], kwargs: dict[str, Any]) -> Any:
    """The entries of all weight files; `kwargs` rebuild the network."""
    version = torch.__version__.partition("+")[0]
    state_dict = v0_5.PytorchStateDictWeightsDescr(
        source=Path(STATE_DICT),
        sha256=Sha256(sums[STATE_DICT]),
        pytorch_version=version,
        architecture=v0_5.ArchitectureFromFileDescr(
            source=Path(ARCHITECTURE),
            sha256=Sha256(sums[ARCHITECTURE]),
            callable=type(network).__name__,
            kwargs=kwargs,
        ),
    )
    torchscript = v0_5.TorchscriptWeightsDescr(
        source=Path(TORCHSCRIPT),
        sha256=Sha256(sums[TORCHSCRIPT]),
        pytorch_version=version,
        parent="pytorch_state_dict",
    )
    return v0_5.WeightsDescr(pytorch_state_dict=state_dict, torchscript=torchscript, **_onnx(sums))


def _onnx(sums: dict[str, str]) -> dict[str, Any]:
    """The entry for ONNX, where there is such a file: what is given as None would be written as null."""
    if ONNX not in sums:
        return {}
    described = v0_5.OnnxWeightsDescr(
        source=Path(ONNX), sha256=Sha256(sums[ONNX]), opset_version=OPSET, parent="pytorch_state_dict"
    )
    return {"onnx": described}


def _batch(alone: bool) -> Any:
    """The axis of images; a network whose backward pass is written out takes one image at a time."""
    return v0_5.BatchAxis(size=1) if alone else v0_5.BatchAxis()


def _input(trained: Taking, dynamic: bool, sums: dict[str, str], *, alone: bool) -> Any:
    height, width = trained.size

    smallest = _SMALLEST_SCALED if trained.fit == "resize" else max(height, width)

    def side(length: int) -> Any:
        return v0_5.ParameterizedSize(min=min(length, smallest), step=1) if dynamic else length

    names = channel_names_of(trained.channels)
    unit = trained.value_unit if trained.value_unit.isascii() else "calibrated units"
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId("input"),
        description=f"Values in {unit}, not normalised: that happens inside the network."[:128],
        axes=[
            _batch(alone),
            v0_5.ChannelAxis(channel_names=names),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("y"), size=side(height)),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("x"), size=side(width)),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_INPUT, sums),
        sample_tensor=file_of(SAMPLE_INPUT, sums) if SAMPLE_INPUT in sums else None,
        preprocessing=[v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="float32"))],
    )


def _maps(trained: Taking, dynamic: bool, sums: dict[str, str]) -> Any:
    def side(axis: str, length: int) -> Any:
        if not dynamic:
            return length
        return v0_5.SizeReference(tensor_id=v0_5.TensorId("input"), axis_id=v0_5.AxisId(axis))

    height, width = trained.size
    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId(MAPS),
        description="Grad-CAM: where the image speaks for each class (or raises the value); from 0 up, no probability.",
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=list(trained.classes) or ["value"]),
            v0_5.SpaceOutputAxis(id=v0_5.AxisId("y"), size=side("y", height)),
            v0_5.SpaceOutputAxis(id=v0_5.AxisId("x"), size=side("x", width)),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_MAPS, sums),
    )


def _output(trained: Taking, sums: dict[str, str]) -> Any:
    if trained.classifier.target is not None:
        unit = trained.classifier.unit
        said = f"The value, in {unit}." if unit else "The value, in the unit of the training values."
        return v0_5.OutputTensorDescr(
            id=v0_5.TensorId("value"),
            description=said[:128],
            axes=[v0_5.BatchAxis(), v0_5.ChannelAxis(channel_names=["value"])],
            data=v0_5.IntervalOrRatioDataDescr(type="float32"),
            test_tensor=file_of(TEST_OUTPUT, sums),
        )
    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId("probabilities"),
        description="Probability of each class; they add up to 1.",
        axes=[v0_5.BatchAxis(), v0_5.ChannelAxis(channel_names=list(trained.classes))],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_OUTPUT, sums),
    )


def channel_names_of(channels: int) -> Sequence[str]:
    """Names of an image's channels."""
    if channels == 3:
        return ["red", "green", "blue"]
    return ["grey"] if channels == 1 else [f"channel{number + 1}" for number in range(channels)]


def reasons_of(error: ValidationError) -> str:
    """What bioimageio.spec finds wrong, field by field."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors()[:5]
    )
