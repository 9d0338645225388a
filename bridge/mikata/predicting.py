"""The work of the Predict command, with classifiers of Mikata's own and of other programs."""

from __future__ import annotations

import math
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
    were scaled is not known. Where its outputs are not known to be probabilities of classes that exclude each other they
    are called scores, and no class is named. Where one is not a number its image is passed over, and told of.

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
    rows: list[tuple[Any, ...]] = []
    undecided = 0
    for plane, row in _rows(network, source, progress):
        found: tuple[str | None, float | None] = (None, None)  # which is the class is not known
        if network.probabilities:
            best = max(range(len(row)), key=row.__getitem__)
            decided = row[best] >= min_confidence
            undecided += not decided
            found = network.classes[best] if decided else UNDECIDED, row[best]
        rows.append((plane.image, plane.z, plane.t, *found, *row))
    table = Table("Predict", columns, tuple(rows))
    files = (folder.write_table("Predict.csv", table),) if folder else ()
    message = say("{count} plane(s) predicted by {model}.", count=len(rows), model=model.name)
    if not network.probabilities:
        message += " " + _no_class(network)
    if undecided:
        message += " " + say(
            "{count} of them are undecided: no class has a probability of {least:.0%} or more.",
            count=undecided,
            least=min_confidence,
        )
    notice = say("Research use, not for diagnosis.")
    return Result(f"{message}{skipped_note(source)} {notice}", tables=(table,), files=files)


def _no_class(network: ForeignClassifier) -> str:
    if len(network.classes) == 1:
        return say(
            "It gives one number for each image, {name}, and does not state from which value on that is a finding: the "
            "columns predicted and score are empty.",
            name=network.classes[0],
        )
    return say(
        "Its outputs are not known to exclude each other, so that several, or none, may hold for an image: the columns "
        "predicted and score are empty. Read each score({first}), ... by itself.",
        first=network.classes[0],
    )


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
            row = tuple(network.network(x)[0].cpu().tolist())
            if not all(map(math.isfinite, row)):
                no_numbers = ImageError(
                    say(
                        "{name}: the network gives values that are not numbers (NaN or infinite), so that nothing can be "
                        "said about it. Check the image's values and the package.",
                        name=called,
                    )
                )
                first_error = first_error or no_numbers
                source.skipped.append((image.path or Path(name), str(no_numbers)))
                continue
            any_good = True
            height, width = frame.values.shape[1:]
            yield Plane(name, frame.z, frame.t, height, width), row
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
