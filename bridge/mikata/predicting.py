"""The work of the Predict command, with classifiers of Mikata's own and of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mikata.errors import ImageError, NetworkError
from mikata.images import Images
from mikata.language import say
from mikata.networks import InputSpec, is_package, read_own
from mikata.networks.importing import ForeignClassifier, read_foreign_classifier
from mikata.networks.inputs import check_values, fit_channels
from mikata.networks.pixelwise import Sides
from mikata.outputs import ResultFolder
from mikata.prediction import UNDECIDED, Plane, device, plane_name, skipped_note
from mikata.prediction import predict_images as predict_with_own
from mikata.types import Progress, Result, Table


def predict_images(
    images: Any,
    model: Path,
    *,
    subfolders: bool = False,
    out: Path | None = None,
    min_confidence: float = 0.0,
    batch: int = 16,
    overwrite: bool = False,
    progress: Progress,
) -> Result:
    """Class and probabilities, or the value, of all images in a table, by a package of Mikata's or of another program.

    Another program's network gets images as they are, one at a time: of a size that it takes, since how its training images
    were scaled is not known. Where its outputs are not known to be probabilities they are called scores.

    Raises
    ------
    NetworkError
        If a least probability is asked for of a network that does not give any.
    ImageError, PackageError, OutputError
        As images, package and folder make it.
    """
    if not is_package(model) or read_own(model) is not None:
        return predict_with_own(
            images, model, subfolders=subfolders, out=out, min_confidence=min_confidence, batch=batch,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    source = Images.of(images, recursive=subfolders)
    network = read_foreign_classifier(model)
    if min_confidence > 0 and not network.probabilities:
        raise NetworkError(
            say(
                "{model} gives scores that are not known to be probabilities: leave min_confidence_percent at 0.",
                model=model.name,
            )
        )
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    if folder:
        folder.reserve(["Predict.csv"])
    word = "p" if network.probabilities else "score"
    first = "probability" if network.probabilities else "score"
    columns = (
        "image",
        "slice",
        "frame",
        "predicted",
        first,
        *(f"{word}({name})" for name in network.classes),
    )
    rows = []
    undecided = 0
    for plane, row in _rows(network, source, progress):
        best = max(range(len(row)), key=row.__getitem__)
        decided = row[best] >= min_confidence or not network.probabilities
        undecided += not decided
        name = network.classes[best] if decided else UNDECIDED
        rows.append((plane.image, plane.z, plane.t, name, row[best], *row))
    table = Table("Predict", columns, tuple(rows))
    files = (folder.write_table("Predict.csv", table),) if folder else ()
    message = say("{count} plane(s) predicted by {model}.", count=len(rows), model=model.name)
    if undecided:
        message += " " + say(
            "{count} of them are undecided: no class has a probability of {least:.0%} or more.",
            count=undecided,
            least=min_confidence,
        )
    notice = say("Research use, not for diagnosis.")
    return Result(f"{message}{skipped_note(source)} {notice}", tables=(table,), files=files)


def _rows(
    network: ForeignClassifier, source: Images, progress: Progress
) -> Iterator[tuple[Plane, tuple[float, ...]]]:
    """What the network gives for every plane; one that does not suit is an error only if it is the only one."""
    where = device()
    first_error: ImageError | None = None
    any_good = False
    for number, (name, image) in enumerate(source.items()):
        for frame in image.frames():
            progress.step(say("Predict"), number, len(source))
            called = plane_name(image, name, frame.z, frame.t)
            try:
                values = _suited(network, frame.values, called, image.calibrated_unit)
                x = torch.from_numpy(network.before(values))[None].to(where)
            except ImageError as error:
                first_error = first_error or error
                source.skipped.append((image.path or Path(name), str(error)))
                continue
            any_good = True
            height, width = frame.values.shape[1:]
            yield Plane(name, frame.z, frame.t, height, width), tuple(network.network(x)[0].cpu().tolist())
    progress.step(say("Predict"), len(source), len(source))
    if not any_good and first_error:
        raise first_error


def _suited(
    network: ForeignClassifier, values: np.ndarray[Any, Any], name: str, unit: str | None
) -> np.ndarray[Any, Any]:
    low, high = network.value_range or (float("-inf"), float("inf"))
    size = (network.height.least, network.width.least)
    check_values(
        values,
        InputSpec(network.channels, size, "native", network.value_unit, (low, high)),
        name=name,
        unit=unit,
    )
    height, width = values.shape[1:]
    if not (network.height.takes(height) and network.width.takes(width)):
        raise ImageError(
            say(
                "{name} has {width} x {height} px (width x height), but the network takes a width of {widths} and a height "
                "of {heights} px. Scale or crop it first, as the training images were.",
                name=name,
                width=width,
                height=height,
                widths=_lengths(network.width),
                heights=_lengths(network.height),
            )
        )
    return fit_channels(values, network.channels, name)


def _lengths(sides: Sides) -> str:
    if sides.step == 0:
        return str(sides.least)
    if sides.step == 1:
        return say("{least} or more", least=sides.least)
    return say("{least}, {next} and so on", least=sides.least, next=sides.least + sides.step)
