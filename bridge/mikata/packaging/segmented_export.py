"""A package of a network for segmentation that Mikata has trained -> one for a certain reader."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mikata.architecture import Segmenter
from mikata.errors import PackageError, ParameterError
from mikata.language import say
from mikata.networks import read_pixel_network
from mikata.networks.package import TRAINING_FILE, record_of
from mikata.outputs import first_few, written_pair
from mikata.packaging import segmented_page
from mikata.packaging.checking import check
from mikata.packaging.description import COVER, ONNX, README, Reader, refuse_words
from mikata.packaging.exported import Exported
from mikata.packaging.onnx import onnx_bytes
from mikata.packaging.parents import read_parent
from mikata.packaging.segmented import describe_segmentation, network_files, spots, stated_halo
from mikata.packaging.writer import fill, zip_files
from mikata.types import Progress


@dataclass(frozen=True, eq=False)
class SavedSegmenter:
    """A network for segmentation as its package tells of it: see `mikata.packaging.segmented.TrainedSegmenter`."""

    path: Path
    segmenter: Segmenter
    classes: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: str
    settings: Mapping[str, float]
    step: int
    halo: int | None
    channels: int
    value_unit: str
    value_range: tuple[float, float]
    record: dict[str, Any] = field(repr=False)
    grouping: str = ""
    methods: str = ""


def read_saved(package: Path) -> SavedSegmenter:
    """Read a package of a network for segmentation with its record.

    Raises
    ------
    PackageError
        As of `mikata.networks.read_pixel_network`.
    """
    network, record = read_pixel_network(package), record_of(package)
    segmenter = network.network
    assert isinstance(segmenter, Segmenter)
    parted = network.meaning == "instances"
    assert network.value_range is not None
    return SavedSegmenter(
        path=package,
        segmenter=segmenter,
        # a boundary and a distance are no classes
        classes=network.outputs[:2] if parted else network.outputs,
        outputs=network.outputs,
        instances=network.outputs[-1] if parted else "none",
        settings=network.settings or {},
        step=network.stride,
        halo=network.halo,
        channels=network.channels,
        value_unit=network.value_unit,
        value_range=network.value_range,
        record=record,
    )


def export_segmentation(
    package: Path,
    target: Path,
    archive: Path,
    *,
    reader: Reader,
    explain: bool,
    authors: Sequence[str],
    licence: str,
    progress: Progress,
) -> Exported:
    """Write a package anew for a reader, check it with bioimageio.core, and zip it; see `mikata.packaging.export`.

    For ``zoo`` the halo is stated, so that its readers' tiles overlap by it, and there is an ONNX file where it can be
    made here.

    Raises
    ------
    PackageError, NetworkError, OutputError
        As of `mikata.packaging.export`.
    ParameterError
        If heat maps are asked for, which a segmentation does not have.
    """
    if explain:
        raise ParameterError(
            say(
                "{path} holds a network for segmentation: its output says where things are by itself. Export it without heat "
                "maps.",
                path=package,
            )
        )
    saved = read_saved(package)
    parent = read_parent(saved, lambda: spots(saved))
    words = replace(
        parent.words,
        authors=tuple(a.strip() for a in authors if a.strip()) or parent.words.authors,
        licence=licence or parent.words.licence,
    )
    refuse_words(name=words.name, licence=words.licence)
    progress.show(say("Compile"))
    files, segmenter, x = network_files(
        saved, parent.test_input[0], stated_halo(saved.halo, saved.step, reader)
    )
    step = saved.step
    onnx, missing = (
        (None, "")
        if reader == "deepimagej"
        else onnx_bytes(segmenter, x, explain=False, extras=((step, 3 * step), (2 * step, 0)))
    )
    made = {"reader": reader}
    files |= {
        TRAINING_FILE: (
            json.dumps({**saved.record, "export": made}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        ).encode(),
        README: segmented_page.page(
            saved, words, parent.told, halo=saved.halo, onnx=onnx is not None
        ).encode(),
        **({} if onnx is None else {ONNX: onnx}),
        **({} if parent.cover is None else {COVER: parent.cover}),
    }
    progress.show(say("Check the package"))
    with written_pair(target, archive) as (beside, zipped):
        fill(
            beside,
            files,
            lambda sums: describe_segmentation(
                beside, saved, words, halo=saved.halo, sums=sums, reader=reader
            ),
        )
        checked = check(beside)
        if not checked.passed:
            raise PackageError(
                say(
                    "The new package does not pass its own test, so it was not written: {problems}.",
                    problems=first_few(checked.problems, 3).rstrip(".。"),
                )
            )
        zip_files(beside, zipped)
    least = (saved.step, saved.step)
    return Exported(target, archive, replace(checked, path=target), "", True, least, missing)
