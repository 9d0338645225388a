"""A package of a network from images to images that Mikata has trained -> one for a certain reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mikata.errors import PackageError, ParameterError
from mikata.language import say
from mikata.networks import read_pixel_network
from mikata.networks.package import TRAINING_FILE, record_of
from mikata.outputs import first_few, written_pair
from mikata.packaging import pixel_page
from mikata.packaging.checking import check
from mikata.packaging.description import COVER, ONNX, README, Reader, refuse_words
from mikata.packaging.detected import detection_of
from mikata.packaging.exported import Exported
from mikata.packaging.onnx import onnx_bytes
from mikata.packaging.parents import read_parent
from mikata.packaging.pixelwise import Pixelwise, describe_pixelwise, network_files, spots, stated_halo
from mikata.packaging.segmented import segmentation_of
from mikata.packaging.writer import fill, zip_files
from mikata.types import Progress


@dataclass(frozen=True, eq=False)
class Saved:
    """A package of a network from images to images, read for a new one.

    Attributes
    ----------
    path, record, channels:
        Folder or zip, its training record, and the number of input channels.
    subject:
        The network and what its package tells of it.
    halo:
        As of `mikata.networks.PixelNetwork`.
    """

    path: Path
    subject: Pixelwise
    halo: int | None
    channels: int
    record: dict[str, Any] = field(repr=False)


def read_saved(package: Path) -> Saved:
    """Read a package of a network from images to images with its record.

    Raises
    ------
    PackageError
        As of `mikata.networks.read_pixel_network`.
    """
    network = read_pixel_network(package)
    subject = detection_of(network) if network.meaning == "points" else segmentation_of(network)
    return Saved(package, subject, network.halo, network.channels, record_of(package))


def export_pixelwise(
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
        If heat maps are asked for, which only classifiers have.
    """
    if explain:
        raise ParameterError(
            say(
                "{path} holds a network whose output says where things are by itself. Export it without heat maps.",
                path=package,
            )
        )
    saved = read_saved(package)
    subject = saved.subject
    parent = read_parent(saved, lambda: spots(saved.subject))
    words = replace(
        parent.words,
        authors=tuple(a.strip() for a in authors if a.strip()) or parent.words.authors,
        licence=licence or parent.words.licence,
    )
    refuse_words(name=words.name, licence=words.licence)
    progress.show(say("Compile"))
    files, network, x = network_files(
        subject, parent.test_input[0], stated_halo(saved.halo, subject.step, reader)
    )
    step = subject.step
    onnx, missing = (
        (None, "")
        if reader == "deepimagej"
        else onnx_bytes(network, x, explain=False, extras=((step, 3 * step), (2 * step, 0)))
    )
    made = {"reader": reader}
    files |= {
        TRAINING_FILE: (
            json.dumps({**saved.record, "export": made}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        ).encode(),
        README: pixel_page.page(subject, words, parent.told, halo=saved.halo, onnx=onnx is not None).encode(),
        **({} if onnx is None else {ONNX: onnx}),
        **({} if parent.cover is None else {COVER: parent.cover}),
    }
    progress.show(say("Check the package"))
    with written_pair(target, archive) as (beside, zipped):
        fill(
            beside,
            files,
            lambda sums: describe_pixelwise(
                beside, subject, words, halo=saved.halo, sums=sums, reader=reader
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
    least = (subject.step, subject.step)
    return Exported(target, archive, replace(checked, path=target), "", True, least, missing)
