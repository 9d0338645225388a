"""A trained network for segmentation -> a BioImage.IO package: whole, or not there at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from bioimageio.spec import ValidationContext, dump_description
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

import mikata.architecture
from mikata.architecture import Segmenter
from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.instances import label_image
from mikata.networks.package import KIND, MIKATA_FORMAT, PARTED_BY, SEGMENTATION, TRAINING_FILE
from mikata.networks.quiet import quiet
from mikata.networks.reach import halo_of
from mikata.outputs import written_folder
from mikata.packaging import pages, segmented_page, weights
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

OUTPUT = "segmentation"
"""Name of the package's output."""

_TEST_SIDE = 256  # px, at least


class TrainedSegmenter(Protocol):
    """A trained network for segmentation; `mikata.training.SegmentationRun` is one."""

    @property
    def segmenter(self) -> Segmenter:
        """The network."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output's channels."""

    @property
    def instances(self) -> str:
        """``none``, ``boundary`` or ``distance``."""

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
    def grouping(self) -> str:
        """How the split kept images together."""

    @property
    def methods(self) -> str:
        """How it was trained, as a paragraph for a methods section."""


class JustTrained(TrainedSegmenter, Protocol):
    """The same, with the record of its training."""

    def record(self) -> dict[str, Any]:
        """How it was trained, as plain JSON values without paths or names of patients."""


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


def write_segmentation(
    folder: Path,
    trained: JustTrained,
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
    trained:
        The network and its record. It stays as it is.
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
    halo = halo_of(weights.on_cpu(trained.segmenter), trained.channels, trained.step)
    files, _, _ = network_files(trained, spots(trained) if test_image is None else test_image)
    files |= {
        TRAINING_FILE: _record(trained, name, halo, report),
        README: segmented_page.readme(trained, words, report, halo=halo).encode(),
    }
    with written_folder(target) as beside:
        fill(beside, files, lambda sums: describe_segmentation(beside, trained, words, halo=halo, sums=sums))
    return folder


def network_files(
    trained: TrainedSegmenter, image: NDArray[Any], halo: int = 0
) -> tuple[dict[str, bytes], Segmenter, Tensor]:
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
    segmenter = weights.on_cpu(trained.segmenter)
    step = trained.step
    sides = [max(-(-side // step) * step, least_side(halo, step)) for side in image.shape[1:]]
    grown = np.pad(
        image, ((0, 0), *((0, s - h) for s, h in zip(sides, image.shape[1:], strict=True))), "reflect"
    )
    x = torch.from_numpy(np.ascontiguousarray(grown, np.float32))[None]
    torchscript = weights.torchscript_bytes(segmenter, x)
    if not weights.runs_at_other_sizes(torchscript, segmenter, x, ((step, 3 * step), (2 * step, 0))):
        raise NetworkError(
            say(
                "{network} gives something else as TorchScript where images have other sizes, so that no package can be made.",
                network=segmenter.configuration["network"],
            )
        )
    with torch.inference_mode():
        output = segmenter(x)
    files = {
        STATE_DICT: weights.state_dict_bytes(segmenter),
        TORCHSCRIPT: torchscript,
        ARCHITECTURE: Path(mikata.architecture.__file__).read_bytes().replace(b"\r\n", b"\n"),
        TEST_INPUT: npy(x.numpy()),
        TEST_OUTPUT: npy(output.numpy()),
        SAMPLE_INPUT: tiff(x[0].numpy()),
        COVER: cover(x, output, trained),
    }
    return files, segmenter, x


def describe_segmentation(
    folder: Path,
    trained: TrainedSegmenter,
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
    network = trained.segmenter.configuration["network"]
    stated = stated_halo(halo, trained.step, reader)
    name = title(words, network.replace(":", " ").replace("/", " "), "segmentation")
    own_tags = ["segmentation", "2d", "pytorch", "torchscript", "deepimagej", "mikata", network]
    if trained.instances in PARTED_BY:
        own_tags.insert(0, "instance-segmentation")
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
                inputs=[_input(trained, stated, sums)],
                outputs=[_output(trained, stated, sums)],
                weights=weights_of(trained.segmenter, sums, dict(trained.segmenter.configuration)),
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


def _input(trained: TrainedSegmenter, halo: int, sums: dict[str, str]) -> Any:
    unit = trained.value_unit if trained.value_unit.isascii() else "calibrated units"
    size = v0_5.ParameterizedSize(min=least_side(halo, trained.step), step=trained.step)
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId("input"),
        description=f"Values in {unit}, not normalised: that happens inside the network."[:128],
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=channel_names_of(trained.channels)),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("y"), size=size),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("x"), size=size),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_INPUT, sums),
        sample_tensor=file_of(SAMPLE_INPUT, sums),
        preprocessing=[v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="float32"))],
    )


def _output(trained: TrainedSegmenter, halo: int, sums: dict[str, str]) -> Any:
    def side(axis: str) -> Any:
        size = v0_5.SizeReference(tensor_id=v0_5.TensorId("input"), axis_id=v0_5.AxisId(axis))
        if not halo:
            return v0_5.SpaceOutputAxis(id=v0_5.AxisId(axis), size=size)
        return v0_5.SpaceOutputAxisWithHalo(id=v0_5.AxisId(axis), size=size, halo=halo)

    last = " The last channel is the distance to the object's border, from 0 to 1."
    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId(OUTPUT),
        description="Probability of each class at each pixel; they add up to 1."
        + (last if trained.instances == "distance" else ""),
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=list(trained.outputs)),
            side("y"),
            side("x"),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=file_of(TEST_OUTPUT, sums),
    )


def spots(trained: TrainedSegmenter) -> NDArray[np.float32]:
    """A test image (C, H, W) made by formula, so that no patient's image goes into a package.

    Bright round spots of several sizes, some of which touch, on a slowly changing dark ground, whole numbers that fill
    the middle four fifths of the values' range; the colours differ in brightness.
    """
    side = -(-_TEST_SIDE // trained.step) * trained.step
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
        [plane * (1 - 0.15 * channel / trained.channels) for channel in range(trained.channels)]
    )
    low, high = trained.value_range
    values = low + (high - low) * (0.1 + 0.8 * planes)
    return np.asarray(np.rint(values) if high - low >= 50 else values, np.float32)


def cover(x: Tensor, output: Tensor, trained: TrainedSegmenter) -> bytes:
    """A picture as PNG: the test image, and beside it the same with the outlines of what the network finds."""
    from skimage import segmentation

    find_boundaries: Any = segmentation.find_boundaries

    plane = pages.eight_bit(x[0].numpy())
    picture = np.repeat(plane[..., None], 3, 2) if plane.ndim == 2 else plane
    found: NDArray[Any] = output[0].numpy()
    if trained.instances in PARTED_BY:
        labels: NDArray[Any] = label_image(found, trained.outputs, trained.settings)
    else:
        labels = found.argmax(0)
    drawn = picture.copy()
    drawn[find_boundaries(labels, mode="inner")] = (255, 214, 0)
    return pages.png(np.concatenate([picture, drawn], 1))


def _record(trained: JustTrained, name: str, halo: int | None, report: EvaluatedPixels | None) -> bytes:
    low, high = trained.value_range
    record = {
        "mikata_format": MIKATA_FORMAT,
        KIND: SEGMENTATION,
        "name": name,
        "configuration": trained.segmenter.configuration,
        "classes": list(trained.classes),
        "outputs": list(trained.outputs),
        "instances": trained.instances,
        "settings": dict(trained.settings) or None,
        "step": trained.step,
        "halo": halo,
        "value_unit": trained.value_unit,
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
