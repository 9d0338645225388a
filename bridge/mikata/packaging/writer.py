"""A trained classifier -> a BioImage.IO package: whole, or not there at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

import mikata.architecture
from mikata.architecture import Classifier
from mikata.errors import OutputError, PackageError
from mikata.language import say
from mikata.networks import InputSpec, to_input
from mikata.networks.package import DESCRIPTION_FILE, MIKATA_FORMAT, TRAINING_FILE
from mikata.outputs import written_folder
from mikata.packaging import pages, weights
from mikata.packaging.description import (
    ARCHITECTURE,
    COVER,
    ONNX,
    README,
    SAMPLE_INPUT,
    STATE_DICT,
    TEST_INPUT,
    TEST_MAPS,
    TEST_OUTPUT,
    TORCHSCRIPT,
    Words,
    describe,
    to_yaml,
)
from mikata.packaging.trained import Evaluated, EvaluatedValues, Trained

FILES = (
    DESCRIPTION_FILE,
    README,
    COVER,
    TRAINING_FILE,
    ARCHITECTURE,
    STATE_DICT,
    TORCHSCRIPT,
    TEST_INPUT,
    TEST_OUTPUT,
    SAMPLE_INPUT,
)
"""The files that each package has, in the order in which a zip holds them."""

MORE_FILES = (TEST_MAPS, ONNX)
"""Those that only some have; in a zip they come last."""

_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", "__pycache__"}  # what systems leave in folders
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(
    folder: Path,
    trained: Trained,
    report: Evaluated | EvaluatedValues | None = None,
    *,
    test_image: NDArray[Any],
    name: str,
    description: str = "",
    authors: Sequence[str] = (),
    licence: str = "",
    data: str = "",
    tags: Sequence[str] = (),
    parent: str = "",
    cover: NDArray[np.uint8] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a package that deepImageJ, bioimageio.core and Mikata run.

    Parameters
    ----------
    folder:
        The package; its parents are made. It must not be there yet, be empty, or be a package and
        `overwrite` true.
    trained:
        The network and its record. It stays as it is.
    report:
        The figures of its test, on images kept out of the training; None where none were measured,
        and then the README says so.
    test_image:
        (C, H, W) in the unit of the training images, made by formula (:func:`formula_image`) or of open
        licence: **it becomes public with the package**, so never a patient's.
    name:
        The model's name, in any script.
    description:
        One or two sentences.
    authors:
        Names; may be empty.
    licence:
        SPDX name, such as ``CC-BY-4.0``; empty: none is stated, and the README says what that means.
    data:
        What the network was trained on, with source and licence.
    tags:
        More tags than Mikata's own.
    parent:
        Id of the published model that this one was trained from, or empty.
    cover:
        A picture (H, W, 3), of open licence as well; None: drawn from the test image.
    overwrite:
        Whether a package of this name may be replaced.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    OutputError
        If something else is at `folder`, or the disk is full or cannot be written. Nothing is left
        behind, and an older package is as it was.
    ImageError
        If the test image does not fit the network.
    PackageError
        If a word or field is not valid.
    NetworkError
        If the network cannot be made into TorchScript.
    """
    words = Words(
        name, description, tuple(a.strip() for a in authors if a.strip()), licence, data, tuple(tags), parent
    )
    target = folder if folder.is_symlink() else folder.resolve()  # so that "." has a name and a parent
    refuse_target(target, overwrite)
    classifier = weights.on_cpu(trained.classifier)
    image, called = np.asarray(test_image, np.float32), say("The package's test image")
    x = to_input(image, trained, name=called)[None]
    torchscript = weights.torchscript_bytes(classifier, x)
    scales = classifier.size is not None
    dynamic = (scales or trained.fit == "native") and weights.runs_at_other_sizes(torchscript, classifier, x)
    if scales and dynamic:
        # the image as it is, so that the package's own test shows whether a reader scales alike
        whole = InputSpec(trained.channels, (1, 1), "native", trained.value_unit, trained.value_range)
        x = to_input(image, whole, name=called)[None]
    with torch.inference_mode():
        output = classifier(x)
    plane = x[0].numpy()
    if cover is not None and (cover.dtype != np.uint8 or cover.ndim != 3 or cover.shape[2] != 3):
        raise PackageError(
            say("A package's cover is a colour picture (H, W, 3) of uint8, not {shape}.", shape=cover.shape)
        )
    files = {
        STATE_DICT: weights.state_dict_bytes(classifier),
        TORCHSCRIPT: torchscript,
        ARCHITECTURE: Path(mikata.architecture.__file__).read_bytes().replace(b"\r\n", b"\n"),
        TEST_INPUT: npy(x.numpy()),
        TEST_OUTPUT: npy(output.numpy()),
        SAMPLE_INPUT: tiff(plane),
        COVER: pages.cover(plane, bars(classifier, output)) if cover is None else pages.png(cover),
        TRAINING_FILE: _training_record(trained, name, report),
        README: pages.readme(trained, words, report, dynamic=dynamic).encode(),
    }
    with written_folder(target) as beside:
        fill(beside, files, lambda sums: describe(beside, trained, words, dynamic=dynamic, sums=sums))
    return folder


def fill(
    folder: Path, files: Mapping[str, bytes], described: Callable[[dict[str, str]], dict[str, Any]]
) -> None:
    """Write a package's files, and then what `described` makes of their sha256."""
    for file, content in files.items():
        (folder / file).write_bytes(content)
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    (folder / DESCRIPTION_FILE).write_text(to_yaml(described(sums)), encoding="utf-8", newline="\n")


def zip_package(folder: Path, zip_path: Path, *, overwrite: bool = False) -> Path:
    """Zip a package as deepImageJ installs it: ``rdf.yaml`` at the top level, equal files give equal zips.

    Raises
    ------
    PackageError
        If `folder` is no package of Mikata's, or one of its files is missing.
    OutputError
        If the zip is there already and may not be replaced, or cannot be written.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise PackageError(
            say("{folder} is no complete package: {files} missing.", folder=folder, files=", ".join(missing))
        )
    if zip_path.exists() and not overwrite:
        raise OutputError(
            say("{path} is already there. Choose another name, or allow it to be replaced.", path=zip_path)
        )
    beside = zip_path.with_name(f".{zip_path.name}.{os.getpid()}")
    try:
        zip_path.parent.mkdir(parents=True, exist_ok=True)
        zip_files(folder, beside)
        beside.replace(zip_path)
    except OSError as error:
        raise OutputError(
            say("{path} cannot be written: {reason}.", path=zip_path, reason=error.strerror or error)
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return zip_path


def zip_files(folder: Path, zip_path: Path) -> None:
    """Write the files of a complete package into a zip; raises `OSError` as the disk makes it."""
    names = (*FILES, *(name for name in MORE_FILES if (folder / name).is_file()))
    with zipfile.ZipFile(zip_path, "w", compresslevel=6) as archive:
        for name in names:
            member = zipfile.ZipInfo(name, _ZIP_EPOCH)
            # weights hardly shrink, and take minutes to try where a network is large
            member.compress_type = (
                zipfile.ZIP_STORED if name.endswith((".pt", ".onnx")) else zipfile.ZIP_DEFLATED
            )
            member.external_attr = 0o644 << 16
            large = (folder / name).stat().st_size >= zipfile.ZIP64_LIMIT
            with (folder / name).open("rb") as source, archive.open(member, "w", force_zip64=large) as to:
                shutil.copyfileobj(source, to, 2**20)


def refuse_target(folder: Path, overwrite: bool) -> None:
    """Say before any work why a package may not be written there.

    Raises
    ------
    OutputError
        As in :func:`write`.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise OutputError(
            say("{path} is a file or a link; give the name of a folder for the package.", path=folder)
        )
    entries = {entry.name for entry in folder.iterdir()} - _LITTER
    if not entries:
        return
    if not {DESCRIPTION_FILE, TRAINING_FILE} <= entries:
        raise OutputError(
            say(
                "{folder} is already there and is no package of Mikata's. Choose another folder.",
                folder=folder,
            )
        )
    if not overwrite:
        raise OutputError(
            say(
                "{folder} is already a package. Choose another folder, or allow it to be replaced.",
                folder=folder,
            )
        )
    others = sorted(entries - {*FILES, *MORE_FILES})
    if others:
        raise OutputError(
            say(
                "{folder} holds other files than a package's ({files}), which replacing it would lose. Move them, "
                "or choose another folder.",
                folder=folder,
                files=", ".join(others[:5]),
            )
        )


def _training_record(trained: Trained, name: str, report: Evaluated | EvaluatedValues | None) -> bytes:
    low, high = trained.value_range
    record = {
        "mikata_format": MIKATA_FORMAT,
        "name": name,
        "configuration": trained.classifier.configuration,
        "classes": list(trained.classes),
        "size": list(trained.size),
        "fit": trained.fit,
        "value_unit": trained.value_unit,
        "value_range": [float(low), float(high)],
        "training": trained.record(),
        "evaluation": None if report is None else report.record(),
        "use": "Research use, not for diagnosis.",
    }
    try:
        return (json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise PackageError(
            say("The training record cannot be written as JSON: {reason}.", reason=error)
        ) from error


def bars(classifier: Classifier, output: Tensor) -> NDArray[np.float32]:
    """What the cover shows of an output (1, K): probabilities; of a value, the share of training values below it.

    That share is of a normal distribution with their mean and standard deviation.
    """
    if classifier.target is None:
        return np.asarray(output[0].numpy(), np.float32)
    mean, std = classifier.target
    return np.asarray(torch.special.ndtr((output[0] - mean) / std).numpy(), np.float32)


def npy(array: NDArray[Any]) -> bytes:
    """An array as a file's content."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def tiff(plane: NDArray[np.generic]) -> bytes:
    """An image (C, H, W) as ImageJ's TIFF."""
    buffer = io.BytesIO()
    array, axes = (plane[0], "YX") if plane.shape[0] == 1 else (plane, "CYX")
    tifffile.imwrite(
        buffer, array, imagej=True, metadata={"axes": axes, "mode": "grayscale"}, software="", datetime=None
    )
    return buffer.getvalue()
