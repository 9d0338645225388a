"""What deepImageJ and the zoo's readers will refuse or silently get wrong in a package; nothing of it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.importing.code import Script, UnreadableError, read_script
from mikata.networks.importing.libraries import library_of
from mikata.networks.importing.operations import described
from mikata.networks.importing.reading import Package, named_files, opened_package
from mikata.networks.importing.tensors import Tensor, tensors
from mikata.networks.package import TRAINING_FILE
from mikata.packaging.checks import points, running, scripted, seeing
from mikata.packaging.checks.findings import COLUMNS, Difference, Finding, Reader
from mikata.packaging.checks.operations import operations
from mikata.types import SILENT, Progress

__all__ = ["COLUMNS", "POINTS", "Checked", "Difference", "Finding", "Reader", "examine_package"]

POINTS = tuple(str(n) for n in range(1, 19))
"""deepImageJ's points; a check for the zoo alone leaves them out as not applicable."""

_LARGEST_TEXT = 2**20


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes
    ----------
    path, name, format_version:
        Of the package.
    reader:
        Whom it was checked for.
    findings:
        deepImageJ's points 1 to 18 first, then those of every reader.
    differences:
        Between weight formats and to the test output.
    """

    path: Path
    name: str
    format_version: str
    reader: Reader
    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What stands in the way."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may stand in the way."""
        return tuple(finding for finding in self.findings if finding.status == "warning")

    @property
    def passed(self) -> bool:
        """Whether nothing stands in the way of the reader."""
        return not self.failed


def examine_package(path: Path, reader: Reader = "both", *, progress: Progress = SILENT) -> Checked:
    """Check a BioImage.IO package of format 0.4 or 0.5, ours or another's.

    Test tensors run through TorchScript (its code is walked, not loaded: see `interpreter`), through a state dict whose
    architecture is Mikata's or a library's, and through ONNX where onnxruntime is installed. No code of the package is
    executed, no address opened, nothing written.

    Parameters
    ----------
    path:
        Folder or zip.
    reader:
        Whom it is for: deepImageJ 3, other readers of the zoo's packages (bioimageio.core), or both.

    Raises
    ------
    PackageError
        If there is none, or it is damaged, unsafe, of another format, or does not match its checksums.
    Cancelled
        If the user stopped it.
    """
    with opened_package(path) as package:
        progress.step(say("Read the description"))
        found = tensors(package)
        model, reasons = described(package)
        script, problem = _script(package)
        own = _deepimagej(package, found, model, script, problem)
        if reader == "zoo":
            left_out = say("This point is of deepImageJ only.")
            own = [Finding(finding.point, "not applicable", left_out) for finding in own]
        progress.step(say("Run the test tensors"))
        ran = running.run_all(package, found, model, script, problem)
        others = [_valid(reasons, reader), _complete(package), *ran.findings]
        if reader != "deepimagej":
            others += [_newest(package), _several(package), _architecture(package)]
        if reader != "zoo":
            others.append(_stored(package, found))
        return Checked(
            path=path,
            name=str(package.description.get("name") or path.name),
            format_version=str(package.description["format_version"]),
            reader=reader,
            findings=(*own, *others),
            differences=ran.differences,
        )


def _deepimagej(
    package: Package, found: Sequence[Tensor], model: Any, script: Script | None, problem: str
) -> list[Finding]:
    eleven, twelve, thirteen, fourteen = operations(found)
    return [
        points.name_of_description(package),
        points.format_version(package),
        points.has_id(package),
        points.weight_files(package),
        points.inputs_and_axes(found),
        points.channels(package, found),
        points.sizes(found),
        points.scale(package, found),
        seeing.halo_and_sight(package, found, model, script),
        points.types(found),
        eleven,
        twelve,
        thirteen,
        fourteen,
        points.config(package),
        points.pytorch_version(package),
        points.kinds_of_weights(package),
        scripted.loads(script, problem),
    ]


def _script(package: Package) -> tuple[Script | None, str]:
    """The TorchScript, or why it could not be read (empty where there is none)."""
    source = package.source(package.weights.get("torchscript"))
    if not package.has(source):
        return None, ""
    try:
        return read_script(package.files.read(source)), ""
    except UnreadableError as error:
        return None, str(error)


def _valid(reasons: tuple[str, ...], reader: Reader) -> Finding:
    if not reasons:
        return Finding("description", "passed", say("bioimageio.spec finds the description valid."))
    return Finding(
        "description",
        # deepImageJ reads less strictly
        "warning" if reader == "deepimagej" else "failed",
        say(
            "bioimageio.spec finds the description invalid: {reasons}.",
            reasons="; ".join(reasons[:3])[:600].rstrip("."),
        ),
        say("Readers of the zoo refuse it."),
        say("Correct these fields."),
    )


def _complete(package: Package) -> Finding:
    names = {place: package.source(entry) for place, entry in named_files(package.description)}
    missing = [f"{place}: {name}" for place, name in names.items() if name and not package.has(name)]
    if missing:
        return Finding(
            "files",
            "failed",
            say("Files that are not in the package: {files}.", files=", ".join(missing)),
            say("Readers stop where they need them; addresses on the internet are not opened here."),
            say("Put the files into the package, or take the fields out."),
        )
    return Finding("files", "passed", say("All files of the description are there; stated checksums agree."))


def _newest(package: Package) -> Finding:
    from bioimageio.spec.model import v0_5

    newest = str(v0_5.ModelDescr.implemented_format_version)
    version = str(package.description["format_version"])
    if version == newest:
        return Finding(
            "format", "passed", say("format_version is the newest known ({version}).", version=version)
        )
    return Finding(
        "format",
        "warning",
        say("format_version is {version}; the newest known is {newest}.", version=version, newest=newest),
        say("The zoo takes new models in its newest format; its readers also read older ones."),
        say("Export once more for the zoo. For deepImageJ keep 0.5.10."),
    )


def _several(package: Package) -> Finding:
    kinds = sorted(package.weights)
    if {"onnx", "pytorch_state_dict"} <= set(kinds):
        return Finding("weights", "passed", say("Weights as {kinds}.", kinds=", ".join(kinds)))
    return Finding(
        "weights",
        "warning",
        say("Weights only as {kinds}.", kinds=", ".join(kinds) or "-"),
        say("Many readers of the zoo run ONNX, and only a state dict can be trained further."),
        say("Export for the zoo, with ONNX and state dict."),
    )


def _architecture(package: Package) -> Finding:
    if "pytorch_state_dict" not in package.weights:
        return Finding("architecture", "not applicable", say("There is no state dict."))
    libraries = running.foreign_imports(package)
    if libraries:
        return Finding(
            "architecture",
            "warning",
            say("The architecture's file imports {libraries}.", libraries=", ".join(libraries)),
            say("bioimageio test fails on machines that do not have them."),
            say("Let the file import nothing but torch and torchvision."),
        )
    return Finding("architecture", "passed", say("The architecture needs no other library than torch and torchvision.")
                   if not library_of(package.weights["pytorch_state_dict"])
                   else say("The architecture is a library's."))  # fmt: skip


def _stored(package: Package, found: Sequence[Tensor]) -> Finding:
    unit = ""
    if package.has(TRAINING_FILE):
        try:
            record = json.loads(package.files.read(TRAINING_FILE, 16 * 2**20).decode("utf-8"))
            unit = str(record.get("value_unit") or "") if isinstance(record, Mapping) else ""
        except (ValueError, RecursionError):
            unit = ""
    readme = ""
    source = package.source(package.description.get("documentation"))
    if package.has(source):
        try:
            readme = package.files.read(source, _LARGEST_TEXT).decode("utf-8", "replace")
        except PackageError:
            readme = ""  # a README of more than a megabyte is none that says one sentence
    return points.stored_values(found, unit, readme)
