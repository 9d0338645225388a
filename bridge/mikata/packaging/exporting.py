"""A package that Mikata has trained -> one for a certain reader, on request with heat maps compiled into it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mikata.architecture
from mikata.architecture import Classifier, SelfExplaining
from mikata.errors import OutputError, PackageError, ParameterError
from mikata.language import say
from mikata.networks import Model, read_package
from mikata.networks.package import TRAINING_FILE, is_pixelwise
from mikata.outputs import first_few, written_pair
from mikata.packaging import pages, weights
from mikata.packaging.checking import check
from mikata.packaging.compiled import (
    METHOD,
    explaining_torchscript,
    explains_other_sizes,
    others_like,
    self_explaining,
)
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
    Reader,
    Words,
    describe,
    refuse_words,
)
from mikata.packaging.exported import Exported
from mikata.packaging.onnx import onnx_bytes
from mikata.packaging.parents import Parent, read_parent
from mikata.packaging.pixel_export import export_pixelwise
from mikata.packaging.trained import formula_image
from mikata.packaging.writer import bars, fill, npy, refuse_target, tiff, zip_files
from mikata.types import Progress

_LEAST_HEAT = 1e-4
"""In a test image's maps: of outputs that are all below 1e-5, bioimageio.spec says that they test nothing."""


@dataclass(frozen=True, eq=False)
class _Compiled:
    """A network as TorchScript, and what goes in and comes out of it."""

    torchscript: bytes
    x: Tensor
    outputs: tuple[Tensor, ...]
    dynamic: bool
    explaining: SelfExplaining | None = None
    layer: str = ""


def export(
    package: Path,
    out: Path,
    *,
    reader: Reader = "deepimagej",
    explain: bool = False,
    size_px: tuple[int, int] | None = None,
    authors: Sequence[str] = (),
    licence: str = "",
    overwrite: bool = False,
    progress: Progress,
) -> Exported:
    """Write a package anew for a reader, check it with bioimageio.core, and zip it. The given one stays as it is.

    Parameters
    ----------
    package:
        Folder or zip of a package that Mikata has trained, of a classifier or a network for segmentation
        or detection.
    out:
        Folder of the new package; its zip stands beside it.
    reader:
        ``deepimagej``: format 0.5.10, TorchScript and state dict, no ONNX. ``zoo``: the newest format, and ONNX where
        it can be made here.
    explain:
        Whether the heat maps of all classes (Grad-CAM, of the layer that `mikata.explanation` finds) are a second
        output.
    size_px:
        Height and width that a self-explaining network takes which does not scale its images; None: its smallest.
    authors, licence:
        None given: those of the package.

    Raises
    ------
    PackageError
        If the package cannot be read, a word is not valid, or the new package does not pass its own test.
    NetworkError
        If the network or its heat maps cannot be made into TorchScript that gives the same.
    ParameterError
        If `size_px` does not fit.
    OutputError
        If something else is at `out`, or it cannot be written. Whatever is raised, nothing is left behind.
    """
    target = out if out.is_symlink() else out.resolve()
    archive = target.with_name(target.name + ".zip")
    _refuse(package, target, archive, overwrite)
    if is_pixelwise(package):
        return export_pixelwise(
            package,
            target,
            archive,
            reader=reader,
            explain=explain or size_px is not None,
            authors=authors,
            licence=licence,
            progress=progress,
        )
    model = read_package(package)
    parent = read_parent(model, lambda: formula_image(model))
    words = replace(
        parent.words,
        authors=tuple(a.strip() for a in authors if a.strip()) or parent.words.authors,
        licence=licence or parent.words.licence,
    )
    refuse_words(name=words.name, licence=words.licence)
    if size_px is not None:
        model = _of_size(model, size_px, explain)
    classifier = weights.on_cpu(model.classifier)
    progress.show(say("Compile"))
    test = torch.from_numpy(parent.test_input)
    compiled = _explained(classifier, model, test) if explain else _plain(classifier, model, test)
    onnx, missing = (
        (None, "")
        if reader == "deepimagej"
        else onnx_bytes(classifier, compiled.x, explain, dynamic=compiled.dynamic)
    )
    files = _files(model, parent, words, compiled, reader, onnx)
    progress.show(say("Check the package"))
    with written_pair(target, archive) as (beside, zipped):
        fill(
            beside,
            files,
            lambda sums: describe(
                beside,
                model,
                words,
                dynamic=compiled.dynamic,
                sums=sums,
                explaining=compiled.explaining,
                reader=reader,
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
    return Exported(
        out, archive, replace(checked, path=target), compiled.layer, compiled.dynamic, model.size, missing
    )


def _refuse(package: Path, target: Path, archive: Path, overwrite: bool) -> None:
    """Say before any work why nothing may be written there."""
    if package.resolve() in (target, archive):
        raise OutputError(
            say("{path} is the package that is to be exported. Choose another folder.", path=package)
        )
    refuse_target(target, overwrite)
    if archive.is_dir() or archive.is_symlink():
        raise OutputError(
            say(
                "{path}, where the package's zip is to be, is a folder or a link. Choose another name for the package.",
                path=archive,
            )
        )
    if archive.exists() and not overwrite:
        raise OutputError(
            say(
                "{path} is already there. Choose another name for the package, or allow it to be replaced.",
                path=archive,
            )
        )


def _of_size(model: Model, size: tuple[int, int], explain: bool) -> Model:
    if not explain or model.fit == "resize":
        raise ParameterError(
            say(
                "height_px and width_px are for heat maps of a network that takes images at their own scale; leave them "
                "at 0 here."
            )
        )
    if min(size) < 1 or size[0] < model.size[0] or size[1] < model.size[1]:
        raise ParameterError(
            say(
                "height_px and width_px are {height} and {width}; this network takes images of at least {least_height} x "
                "{least_width} px (height x width). Give both, or 0 for both.",
                height=size[0],
                width=size[1],
                least_height=model.size[0],
                least_width=model.size[1],
            )
        )
    return replace(model, size=size)


def _plain(classifier: Classifier, model: Model, test: Tensor) -> _Compiled:
    """The network as `mikata.packaging.write` writes it."""
    x = test if model.fit == "resize" else _at_least(test, model.size)
    torchscript = weights.torchscript_bytes(classifier, x)
    small = classifier.scale(x)
    dynamic = weights.runs_at_other_sizes(torchscript, classifier, small)
    if not dynamic:
        x = small if model.fit == "resize" else _cut(test, model.size)
    with torch.inference_mode():
        return _Compiled(torchscript, x, (classifier(x),), dynamic)


def _explained(classifier: Classifier, model: Model, test: Tensor) -> _Compiled:
    """The network with its maps. One that does not scale gets one size, since its backward pass is written out for it."""
    scales = classifier.size is not None
    x = test if scales else _cut(test, model.size)
    explaining, layer = self_explaining(classifier, x)
    torchscript = explaining_torchscript(explaining, layer, x)
    dynamic = scales and explains_other_sizes(torchscript, explaining, layer, x)
    if not dynamic:
        x = classifier.scale(x)
    for shown in (x, *others_like(x, 6)):
        outputs = explaining(shown)
        if float(outputs[1].max()) >= _LEAST_HEAT:
            return _Compiled(torchscript, shown, outputs, dynamic, explaining, layer)
    raise PackageError(
        say(
            "{path}: the network gives no heat for anything in its test image or in others of chance, so a package with heat maps could not "
            "be tested. Export it without heat maps.",
            path=model.path,
        )
    )


def _at_least(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A test image that is not too small."""
    return x if x.shape[2] >= size[0] and x.shape[3] >= size[1] else _cut(x, size)


def _cut(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left of an image (1, C, H, W) at a size; beyond its lower and right edge it goes on mirrored."""
    missing = [(0, 0), (0, 0), *((0, max(0, size[axis] - x.shape[2 + axis])) for axis in (0, 1))]
    grown = np.pad(x.numpy(), missing, mode="symmetric")
    return torch.from_numpy(np.ascontiguousarray(grown[:, :, : size[0], : size[1]]))


def _files(
    model: Model, parent: Parent, words: Words, compiled: _Compiled, reader: Reader, onnx: bytes | None
) -> dict[str, bytes]:
    explaining = compiled.explaining
    maps = None if explaining is None else pages.Maps(compiled.layer, explaining.grid)
    plane: NDArray[np.float32] = compiled.x[0].numpy()
    classifier = explaining or model.classifier
    readme = pages.page(model, words, parent.told, dynamic=compiled.dynamic, maps=maps, onnx=onnx is not None)
    files = {
        STATE_DICT: weights.state_dict_bytes(classifier),
        TORCHSCRIPT: compiled.torchscript,
        ARCHITECTURE: Path(mikata.architecture.__file__).read_bytes().replace(b"\r\n", b"\n"),
        TEST_INPUT: npy(compiled.x.numpy()),
        TEST_OUTPUT: npy(compiled.outputs[0].numpy()),
        SAMPLE_INPUT: tiff(plane),
        COVER: parent.cover or pages.cover(plane, bars(classifier, compiled.outputs[0])),
        TRAINING_FILE: _record(model, compiled, reader),
        README: readme.encode(),
    }
    if explaining is not None:
        files[TEST_MAPS] = npy(compiled.outputs[1].numpy())
    if onnx is not None:
        files[ONNX] = onnx
    return files


def _record(model: Model, compiled: _Compiled, reader: Reader) -> bytes:
    """The training record of the package, and what was made of it."""
    made: dict[str, Any] = {"reader": reader, "weights_sha256_of_the_package": model.weights_sha256}
    if compiled.explaining is not None:
        made["heat_maps"] = {
            "method": METHOD,
            "layer": compiled.layer,
            "size": list(compiled.x.shape[2:]),
            **compiled.explaining.reading,
        }
    record = {**model.record, "export": made}
    return (json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
