"""From images to a network and back: planes in batches, probabilities or values out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mikata.errors import ImageError, NetworkError
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model, asked_between_layers, read_package, to_input
from mikata.outputs import ResultFolder, first_few
from mikata.types import Image, Progress, Result, Table

UNDECIDED = "(undecided)"
"""What tables say where no class is probable enough; in brackets, since a class may be called so."""


@dataclass(frozen=True)
class Plane:
    """Which plane of which image, by its unique name in the run; `z` and `t` count from 1."""

    image: str
    z: int
    t: int
    height: int
    width: int


@dataclass(frozen=True)
class Prediction:
    """What the network says of one plane; `probabilities` follow the model's classes."""

    plane: Plane
    class_name: str
    probability: float
    probabilities: tuple[float, ...]


def device() -> torch.device:
    """The GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches(
    model: Model, source: Images, size: int, progress: Progress, message: str
) -> Iterator[tuple[list[Plane], torch.Tensor]]:
    """Planes of all images as network input (N, C, H, W), at most `size` at a time, all of one H x W.

    A plane that does not suit the network is an error if it is the only one; among others it is
    added to ``source.skipped`` and passed over.
    """
    planes: list[Plane] = []
    tensors: list[torch.Tensor] = []
    total = len(source)
    first_error: ImageError | None = None
    any_good = False
    done = 0
    for number, (name, image) in enumerate(source.items()):
        # in planes, the images to come taken to have as many as this one
        expected = done + image.size("Z") * image.size("T") * (total - number)
        for frame in image.frames():
            progress.step(message, done, expected)
            done += 1
            where = plane_name(image, name, frame.z, frame.t)
            try:
                tensor = to_input(frame.values, model, name=where, unit=image.calibrated_unit)
            except ImageError as error:
                first_error = first_error or error
                source.skipped.append((image.path or Path(name), str(error)))
                continue
            any_good = True
            if tensors and (len(tensors) == size or tensors[0].shape != tensor.shape):
                yield planes, torch.stack(tensors)
                planes, tensors = [], []
            height, width = frame.values.shape[1:]
            planes.append(Plane(name, frame.z, frame.t, height, width))
            tensors.append(tensor)
    if tensors:
        yield planes, torch.stack(tensors)
    progress.step(message, done, done)
    if not any_good and first_error:
        raise first_error


def plane_name(image: Image, name: str, z: int, t: int) -> str:
    """File and slice, for messages."""
    parts = [name]
    if image.size("Z") > 1:
        parts.append(say("slice {z}", z=z))
    if image.size("T") > 1:
        parts.append(say("frame {t}", t=t))
    return ", ".join(parts)


def outputs(
    model: Model, source: Images, *, batch: int, progress: Progress
) -> Iterator[tuple[Plane, tuple[float, ...]]]:
    """What the network gives for every plane of all images, in order: probabilities, or one value."""
    where = device()
    classifier = model.classifier.to(where).eval()
    for planes, tensor in batches(model, source, batch, progress, say("Predict")):
        with torch.inference_mode(), asked_between_layers(classifier, progress.check):
            found = classifier(tensor.to(where)).float().cpu()
        for plane, row in zip(planes, found.tolist(), strict=True):
            if not all(map(math.isfinite, row)):  # the largest of them would be the first class
                raise NetworkError(
                    say(
                        "{model} gives values that are not numbers (NaN or infinite) for {image}, so that nothing can be "
                        "said about it. Check the image's values; if they are right, train the network anew.",
                        model=model.path.name,
                        image=plane.image,
                    )
                )
            yield plane, tuple(row)


def predict(model: Model, source: Images, *, batch: int, progress: Progress) -> Iterator[Prediction]:
    """Predict the class of every plane of all images, in order."""
    for plane, row in outputs(model, source, batch=batch, progress=progress):
        best = max(range(len(row)), key=row.__getitem__)
        yield Prediction(plane, model.classes[best], row[best], row)


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
    """Class and probabilities, or the value, of all images in a table; the work of the Predict command.

    Where the highest probability is below `min_confidence` (0 to 1), the class is ``undecided``.

    Raises
    ------
    NetworkError
        If the network gives a value, and a least probability is asked for.
    ImageError, PackageError, OutputError
        As images, package and folder make it.
    """
    source = Images.of(images, recursive=subfolders)
    network = read_package(model)
    if network.values and min_confidence > 0:
        raise NetworkError(
            say(
                "{model} gives a value, which has no probability: leave min_confidence_percent at 0.",
                model=network.path.name,
            )
        )
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    if folder:
        folder.reserve(["Predict.csv"])
    if network.values:
        return _values(network, source, folder, batch, progress)
    columns = ("image", "slice", "frame", "predicted", "probability", *(f"p({c})" for c in network.classes))
    rows = []
    undecided = 0
    for p in predict(network, source, batch=batch, progress=progress):
        decided = p.probability >= min_confidence
        undecided += not decided
        name = p.class_name if decided else UNDECIDED
        rows.append((p.plane.image, p.plane.z, p.plane.t, name, p.probability, *p.probabilities))
    table = Table("Predict", columns, tuple(rows))
    files = (folder.write_table("Predict.csv", table),) if folder else ()
    message = say("{count} plane(s) predicted by {model}.", count=len(rows), model=network.path.name)
    if undecided:
        message += " " + say(
            "{count} of them are undecided: no class has a probability of {least:.0%} or more.",
            count=undecided,
            least=min_confidence,
        )
    notice = say("Research use, not for diagnosis.")
    return Result(f"{message}{skipped_note(source)} {notice}", tables=(table,), files=files)


def _values(
    network: Model, source: Images, folder: ResultFolder | None, batch: int, progress: Progress
) -> Result:
    """The value of all images in a table."""
    unit = network.classifier.unit
    rows = tuple(
        (plane.image, plane.z, plane.t, found[0], unit)
        for plane, found in outputs(network, source, batch=batch, progress=progress)
    )
    table = Table("Predict", ("image", "slice", "frame", "value", "unit"), rows)
    files = (folder.write_table("Predict.csv", table),) if folder else ()
    message = say("{count} plane(s) predicted by {model}.", count=len(rows), model=network.path.name)
    notice = say("Research use, not for diagnosis.")
    return Result(f"{message}{skipped_note(source)} {notice}", tables=(table,), files=files)


def skipped_note(source: Images) -> str:
    """What was passed over and why, as a sentence that follows another; empty if nothing was."""
    if not source.skipped:
        return ""
    reasons: dict[Path, list[str]] = {}
    for path, why in source.skipped:
        reasons.setdefault(path, []).append(why)
    listed = [
        say("{file}: {reason} ({count} planes)", file=path.name, reason=found[0], count=len(found))
        if len(found) > 1
        else f"{path.name}: {found[0]}"
        for path, found in reasons.items()
    ]
    if len(source.skipped) > len(reasons):
        note = say(
            "Skipped: {planes} planes of {files} file(s) ({reasons}).",
            planes=len(source.skipped),
            files=len(reasons),
            reasons=first_few(listed),
        )
    else:
        note = say("Skipped: {files} file(s) ({reasons}).", files=len(reasons), reasons=first_few(listed))
    return f" {note}"
