"""A trained network from images to images -> a BioImage.IO package: whole, or not there at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Required, TypedDict

import numpy as np
import torch
from bioimageio.spec import ValidationContext, dump_description
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

import mikata.architecture
from mikata.architecture import Detector, Segmenter
from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.package import KIND, MIKATA_FORMAT, TRAINING_FILE
from mikata.networks.quiet import quiet
from mikata.networks.reach import halo_of
from mikata.outputs import written_folder
from mikata.packaging import pages, pixel_page, weights
from mikata.packaging.description import (
    ARCHITECTURE,
    COVER,
    README,
    RESEARCH_USE,
    SAMPLE_INPUT,
    STATE_DICT,
    TEST_INPUT,
    TEST_OUTPUT,
    TORCHSCRIPT,
    Reader,
    Words,
    channel_names_of,
    file_of,
    for_deepimagej,
    nickname,
    reasons_of,
    refuse_words,
    title,
    v0_5,
    weights_of,
)
from mikata.packaging.trained import HasFigures
from mikata.packaging.writer import fill, npy, refuse_target, tiff

_TEST_SIDE = 256  # px, at least


@dataclass(frozen=True, eq=False)
class Pixelwise:
    """A network from images to images that Mikata has trained, and what its package tells of it.

    Attributes
    ----------
    kind:
        What its training record calls it: ``segmentation`` or ``detection``.
    network:
        The network.
    outputs, meanings:
        Names of the output's channels, and what each is, in words.
    step:
        Sides of images must be multiples of it, in px.
    channels, value_unit, value_range:
        Of the training images: number of channels, unit of the values, smallest and largest value.
    output, described:
        Name of the package's output, and what it is, in at most 1024 letters.
    tags:
        What the package is found by.
    picture:
        What the cover shows of an image (C, H, W) and its output (K, H, W): uint8 (H, W', 3).
    truth:
        What a person makes of an image to judge the output by.
    inside:
        What the network does by itself besides the normalisation, such as ``softmax``.
    objects:
        Lines of the README: how objects are made of the output.
    in_imagej:
        Lines of the README: what to do with the output in ImageJ.
    facts:
        What the training record has besides the fields of all kinds.
    grouping, methods:
        How the split kept images together, and how it was trained, as a paragraph; empty for a package that was read.
    """

    kind: str
    network: Segmenter | Detector
    outputs: tuple[str, ...]
    meanings: tuple[str, ...]
    step: int
    channels: int
    value_unit: str
    value_range: tuple[float, float]
    output: str
    described: str
    tags: tuple[str, ...]
    picture: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.uint8]]
    truth: str
    inside: str
    facts: Mapping[str, Any]
    objects: tuple[str, ...] = ()
    in_imagej: tuple[str, ...] = ()
    grouping: str = ""
    methods: str = ""


class TrainedPixels(Protocol):
    """What trainings of all networks from images to images have in common."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output's channels."""

    @property
    def settings(self) -> Mapping[str, float]:
        """What objects are made with."""

    @property
    def step(self) -> int:
        """Sides of images must be multiples of it, in px."""

    @property
    def channels(self) -> int:
        """Number of input channels."""

    @property
    def value_unit(self) -> str:
        """Unit of the training images' values."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the training images."""

    @property
    def split(self) -> str:
        """How the split kept images together, and whether the table gave it."""

    @property
    def methods(self) -> str:
        """How it was trained, as a paragraph for a methods section."""


class HasRecord(Protocol):
    """What was just trained."""

    def record(self) -> dict[str, Any]:
        """How it was trained, as plain JSON values without paths or names of patients."""


class Said(TypedDict, total=False):
    """What a person says of a package, and its test image: see `write_pixelwise`."""

    name: Required[str]
    description: str
    authors: Sequence[str]
    licence: str
    data: str
    tags: Sequence[str]
    test_image: NDArray[Any] | None
    overwrite: bool


class EvaluatedPixels(HasFigures, Protocol):
    """What was measured on the test part; `mikata.evaluation.PixelReport` is one."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def n_patients(self) -> int | None:
        """Number of patients, None where they are not known."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know, in sentences."""

    @property
    def references(self) -> Mapping[str, int]:
        """What the truth rests on: number of images for each."""

    def record(self) -> dict[str, Any]:
        """All figures as plain JSON values."""


def write_pixelwise(
    folder: Path,
    subject: Pixelwise,
    trained: HasRecord,
    report: EvaluatedPixels | None = None,
    *,
    name: str,
    description: str = "",
    authors: Sequence[str] = (),
    licence: str = "",
    data: str = "",
    tags: Sequence[str] = (),
    test_image: NDArray[Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a package that deepImageJ, bioimageio.core and Mikata run.

    Parameters
    ----------
    folder, name, description, authors, licence, data, tags, overwrite:
        As of `mikata.packaging.write`.
    subject:
        The network. It stays as it is.
    trained:
        Its record.
    report:
        The figures of its test; None where none were measured, and then the README says so.
    test_image:
        (C, H, W) in the unit of the training images, made by formula or of open licence: **it becomes public with the
        package**, so never a patient's. None: spots made by formula.

    Raises
    ------
    OutputError
        If something else is at `folder`, or it cannot be written. Nothing is left behind.
    PackageError
        If a word or field is not valid.
    NetworkError
        If the network cannot be made into TorchScript that gives the same at all sizes.
    """
    words = Words(
        name, description, tuple(a.strip() for a in authors if a.strip()), licence, data, tuple(tags)
    )
    target = folder if folder.is_symlink() else folder.resolve()
    refuse_target(target, overwrite)
    refuse_words(name=words.name, licence=words.licence)
    halo = halo_of(weights.on_cpu(subject.network), subject.channels, subject.step)
    files, _, _ = network_files(subject, spots(subject) if test_image is None else test_image)
    files |= {
        TRAINING_FILE: _record(subject, trained, name, halo, report),
        README: pixel_page.readme(subject, words, report, halo=halo).encode(),
    }
    with written_folder(target) as beside:
        fill(beside, files, lambda sums: describe_pixelwise(beside, subject, words, halo=halo, sums=sums))
    return folder


def network_files(
    subject: Pixelwise, image: NDArray[Any], halo: int = 0
) -> tuple[dict[str, bytes], Segmenter | Detector, Tensor]:
    """The files of a package that follow from the network and a test image (C, H, W); the network; the test input.

    Parameters
    ----------
    halo:
        As the package states it: a test input has more than that on both sides.

    Raises
    ------
    NetworkError
        If the network cannot be made into TorchScript that gives the same at all sizes.
    """
    network = weights.on_cpu(subject.network)
    step = subject.step
    sides = [max(-(-side // step) * step, least_side(halo, step)) for side in image.shape[1:]]
    grown = np.pad(
        image, ((0, 0), *((0, s - h) for s, h in zip(sides, image.shape[1:], strict=True))), "reflect"
    )
    x = torch.from_numpy(np.ascontiguousarray(grown, np.float32))[None]
    torchscript = weights.torchscript_bytes(network, x)
    if not weights.runs_at_other_sizes(torchscript, network, x, ((step, 3 * step), (2 * step, 0))):
        raise NetworkError(
            say(
                "{network} gives something else as TorchScript where images have other sizes, so that no package can be made.",
                network=network.configuration["network"],
            )
        )
    with torch.inference_mode():
        output = network(x)
    files = {
        STATE_DICT: weights.state_dict_bytes(network),
        TORCHSCRIPT: torchscript,
        ARCHITECTURE: Path(mikata.architecture.__file__).read_bytes().replace(b"\r\n", b"\n"),
        TEST_INPUT: npy(x.numpy()),
        TEST_OUTPUT: npy(output.numpy()),
        SAMPLE_INPUT: tiff(_as_small_as_exact(x[0].numpy())),
        COVER: pages.png(subject.picture(x[0].numpy(), output[0].numpy())),
    }
    return files, network, x


def _as_small_as_exact(image: NDArray[np.float32]) -> NDArray[np.generic]:
    """An image in 8 bits where that changes no value, as the images are that people have; else as it is."""
    small = np.clip(image, 0, 255).astype(np.uint8)
    return small if np.array_equal(small, image) else image


def describe_pixelwise(
    folder: Path,
    subject: Pixelwise,
    words: Words,
    *,
    halo: int | None,
    sums: dict[str, str],
    reader: Reader = "deepimagej",
) -> dict[str, Any]:
    """The description of the files in `folder`, in plain values for YAML.

    `reader` is as of `mikata.packaging.description.describe`.

    Raises
    ------
    PackageError
        If bioimageio.spec finds it invalid; the sentence names each field.
    """
    network = subject.network.configuration["network"]
    stated = stated_halo(halo, subject.step, reader)
    name = title(words, network.replace(":", " ").replace("/", " "), subject.kind)
    own_tags = [*subject.tags, "2d", "pytorch", "torchscript", "deepimagej", "mikata", network]
    optional: dict[str, Any] = {"license": words.licence} if words.licence else {}
    try:
        with quiet(), ValidationContext(root=folder, perform_io_checks=True):
            described = v0_5.ModelDescr(
                name=name,
                description=f"{words.description.strip()} {RESEARCH_USE}".strip(),
                authors=[v0_5.Author(name=author) for author in words.authors],
                documentation=file_of(README, sums),
                covers=[file_of(COVER, sums)],
                tags=list(dict.fromkeys([*own_tags, *words.tags])),
                inputs=[_input(subject, stated, sums)],
                outputs=[_output(subject, stated, sums)],
                weights=weights_of(subject.network, sums, dict(subject.network.configuration)),
                attachments=[file_of("training.json", sums)],
                version="0.1.0",
                timestamp=datetime.now(UTC).replace(microsecond=0),
                **optional,
            )
    except ValidationError as error:
        raise PackageError(
            say("The package's description is not valid: {reasons}.", reasons=reasons_of(error))
        ) from error
    content = dump_description(described)
    return for_deepimagej(content, nickname(name)) if reader == "deepimagej" else dict(content)


def stated_halo(halo: int | None, step: int, reader: Reader) -> int:
    """The halo as a package states it, a multiple of the step; 0 where all of an image is seen.

    For deepImageJ it is 0: with another one it fills up every image by that much on each side, as in a mirror, so that
    what the network says near the image's edge would be otherwise than anywhere else (measured: 0.009 in a
    probability); without one it gives the network the whole image at once, up to about 7000 x 7000 px, and the result
    is exact.
    """
    return 0 if halo is None or reader == "deepimagej" else -(-halo // step) * step


def least_side(halo: int, step: int) -> int:
    """px of an image's side at which something is left within the halo."""
    return 2 * halo + step


def _input(subject: Pixelwise, halo: int, sums: dict[str, str]) -> Any:
    unit = subject.value_unit if subject.value_unit.isascii() else "calibrated units"
    size = v0_5.ParameterizedSize(min=least_side(halo, subject.step), step=subject.step)
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId("input"),
        description=f"Values in {unit}, not normalised: that happens inside the network."[:128],
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=channel_names_of(subject.channels)),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("y"), size=size),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("x"), size=size),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_INPUT, sums),
        sample_tensor=file_of(SAMPLE_INPUT, sums),
        preprocessing=[v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="float32"))],
    )


def _output(subject: Pixelwise, halo: int, sums: dict[str, str]) -> Any:
    def side(axis: str) -> Any:
        size = v0_5.SizeReference(tensor_id=v0_5.TensorId("input"), axis_id=v0_5.AxisId(axis))
        if not halo:
            return v0_5.SpaceOutputAxis(id=v0_5.AxisId(axis), size=size)
        return v0_5.SpaceOutputAxisWithHalo(id=v0_5.AxisId(axis), size=size, halo=halo)

    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId(subject.output),
        description=subject.described,
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=list(subject.outputs)),
            side("y"),
            side("x"),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_OUTPUT, sums),
    )


def spots(subject: Pixelwise) -> NDArray[np.float32]:
    """A test image (C, H, W) made by formula, so that no patient's image goes into a package.

    Bright round spots of several sizes, some of which touch, on a slowly changing dark ground, whole numbers that fill
    the middle four fifths of the values' range; the colours differ in brightness.
    """
    side = -(-_TEST_SIDE // subject.step) * subject.step
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    plane = 0.1 * (x + y) / (2 * side)
    for number in range(24):
        # a spiral with the golden angle: evenly spread, some near each other
        angle, away = 2.399963 * number, side * 0.46 * np.sqrt((number + 0.5) / 24)
        centre_y, centre_x = side / 2 + away * np.sin(angle), side / 2 + away * np.cos(angle)
        radius = 7 + 3 * (number % 4)
        distance = np.hypot(y - centre_y, x - centre_x)
        plane = np.maximum(plane, (0.6 + 0.1 * (number % 5)) / (1 + np.exp((distance - radius) / 1.5)))
    planes = np.stack(
        [plane * (1 - 0.15 * channel / subject.channels) for channel in range(subject.channels)]
    )
    low, high = subject.value_range
    values = low + (high - low) * (0.1 + 0.8 * planes)
    return np.asarray(np.rint(values) if high - low >= 50 else values, np.float32)


def _record(
    subject: Pixelwise, trained: HasRecord, name: str, halo: int | None, report: EvaluatedPixels | None
) -> bytes:
    low, high = subject.value_range
    record = {
        "mikata_format": MIKATA_FORMAT,
        KIND: subject.kind,
        "name": name,
        "configuration": subject.network.configuration,
        "outputs": list(subject.outputs),
        **subject.facts,
        "step": subject.step,
        "halo": halo,
        "value_unit": subject.value_unit,
        "value_range": [float(low), float(high)],
        "training": trained.record(),
        "evaluation": None if report is None else report.record(),
        "use": RESEARCH_USE,
    }
    try:
        return (json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise PackageError(
            say("The training record cannot be written as JSON: {reason}.", reason=error)
        ) from error
