"""Packages that others made, copied whole into a folder: judged first, with a record of what they are and can do."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mikata.errors import MikataError, OutputError, PackageError, ParameterError
from mikata.language import say
from mikata.networks import read_own, read_source
from mikata.networks.importing import read_foreign_classifier, read_foreign_network
from mikata.networks.importing.code import Script, UnreadableError, read_script
from mikata.networks.importing.consents import Thing, consent
from mikata.networks.importing.formats import FORMATS
from mikata.networks.importing.operations import described
from mikata.networks.importing.package_code import architecture_code, script_code
from mikata.networks.importing.reading import Package, opened_package
from mikata.networks.importing.tensors import tensors
from mikata.outputs import first_few, written_folder
from mikata.packaging.checks import running
from mikata.packaging.fetching import checksum, fetch
from mikata.packaging.import_judging import files_of, refuse_addresses, refuse_odd_content
from mikata.types import SILENT, Progress

RECORD_FILE = "import.json"
"""The record, beside the package's files."""

RECORD_FORMAT = 1

_BLOCK = 2**20


@dataclass(frozen=True)
class Imported:
    """A package in its folder.

    Attributes
    ----------
    folder:
        Where it is.
    name:
        As its description says.
    runs:
        Weight formats that run here, each with the largest difference of its output to the package's test output.
    left:
        Weight formats that do not run here, each with the reason.
    commands:
        What of Mikata can use it: ``pixels`` (from images to images), ``classes``, ``weights`` (to start a training from).
    reasons:
        For each of these that cannot, why not.
    consented:
        Files of code that the user has consented to, with their SHA-256.
    unjudged:
        Weight formats that Mikata does not know, each with its file: copied, and looked into by nobody.
    record:
        The whole record.
    """

    folder: Path
    name: str
    runs: Mapping[str, float]
    left: Mapping[str, str]
    commands: tuple[str, ...]
    reasons: Mapping[str, str]
    consented: Mapping[str, str]
    unjudged: Mapping[str, str]
    record: Mapping[str, Any] = field(repr=False)


def import_package(
    model: Path | None,
    out: Path,
    *,
    address: str = "",
    sha256: str = "",
    run_package_code: bool = False,
    run_torchscript: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Imported:
    """Copy a BioImage.IO package of format 0.4 or 0.5 into a folder, with ``import.json`` beside its files.

    Everything is judged before anything is written, and test tensors run through every weight format that runs here.
    Files that the description names by an address are not fetched: where they are needed (weights, code, tensors) the
    package is refused, others (documentation, covers, data sets) are listed in the record.

    Parameters
    ----------
    model, address:
        Folder or zip; or the https address of a zip. One of the two.
    out:
        The folder; it is made.
    sha256:
        Of the zip, from its publisher; empty: not compared. What it is stands in the record.
    run_package_code:
        The user's consent that the Python file which makes a state dict's network may run, now and later: in this
        content, with the callable and the arguments of this description. Noted in the record, and before anything runs
        in the user's own folder (`mikata.networks.importing.consents`).
    run_torchscript:
        The user's consent that TorchScript with operations that Mikata does not know runs as torch loads it; likewise.
    overwrite:
        Whether `out` may be replaced.

    Raises
    ------
    ParameterError
        If neither or both of `model` and `address` are given.
    PackageError
        If it is missing, damaged, unsafe, of another format, not what a checksum says, does not give its own test
        output, or holds nothing that could ever run here.
    OutputError
        If the folder is there and is not to be replaced, or cannot be written.
    Cancelled
        If the user stopped it.
    """
    if (model is None) == (not address.strip()):
        raise ParameterError(say("Give either a package's folder or .zip, or its address."))
    _refuse_target(out, overwrite)
    origin = _origin(model, address.strip(), sha256, progress)
    with opened_package(origin.path) as package:
        _refuse_overlap(origin.path, out)
        _refuse_another(package, origin)
        names = files_of(package, RECORD_FILE)
        away = refuse_addresses(package)
        refuse_odd_content(package, names)
        sums = {name: _sum(package, name) for name in names}
        unjudged = {
            kind: package.source(entry)
            for kind, entry in package.weights.items()
            if kind not in FORMATS and package.has(package.source(entry))
        }
        things = _consented(package, sums, run_package_code, run_torchscript)
        given = {thing.file: thing.sha256 for thing in things}
        for thing in things:
            consent(thing, str(package.description.get("name") or origin.name))
        progress.step(say("Run the test tensors"))
        runs, left = _tried(package)
        with written_folder(out) as beside:
            _copy(package, sums, beside, progress)
            _refuse_another(package, origin)
            commands, reasons = _uses(beside, out)
            record = {
                "mikata_import_format": RECORD_FORMAT,
                "source": {"kind": origin.kind, "name": origin.name, "sha256": origin.sha256},
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "package": _said(package),
                "files": {name: {"bytes": size, "sha256": digest} for name, (size, digest) in sums.items()},
                "left_as_addresses": away,
                "weights": {
                    **{kind: {"runs": True, "largest_difference": value} for kind, value in runs.items()},
                    **{kind: {"runs": False, "reason": reason} for kind, reason in left.items()},
                },
                "usable_for": list(commands),
                "not_usable_for": reasons,
                "not_judged": unjudged,
                "consent": _said_of_consent(things),
            }
            text = json.dumps(record, ensure_ascii=False, indent=1)
            (beside / RECORD_FILE).write_text(f"{text}\n", encoding="utf-8", newline="\n")
    return Imported(
        folder=out,
        name=str(package.description.get("name") or out.name),
        runs=runs,
        left=left,
        commands=commands,
        reasons=reasons,
        consented=given,
        unjudged=unjudged,
        record=record,
    )


def _consented(
    package: Package, sums: Mapping[str, tuple[int, str]], code: bool, script: bool
) -> list[Thing]:
    """What is consented to: of the files that are judged and copied, and of no others."""
    asked = (architecture_code(package) if code else None, script_code(package) if script else None)
    things = [thing for thing in asked if thing is not None]
    for thing in things:
        if sums.get(thing.file, (0, ""))[1] != thing.sha256:
            raise PackageError(
                say("{path}: {file} was changed meanwhile.", path=package.path, file=thing.file)
            )
    return things


def _said_of_consent(things: list[Thing]) -> dict[str, Any]:
    kinds = {thing.kind: thing for thing in things}
    code = kinds.get("architecture")
    return {
        "run_package_code": code is not None,
        "run_torchscript": "torchscript" in kinds,
        "files": {thing.file: thing.sha256 for thing in things},
        "callable": code.callable if code else "",
        "kwargs": json.loads(json.dumps(dict(code.kwargs), default=repr)) if code else {},
    }


# ---- where it comes from


@dataclass(frozen=True)
class _Origin:
    path: Path
    kind: str
    name: str
    """Without folders, which tell of the computer and its user."""
    sha256: str


def _origin(model: Path | None, address: str, sha256: str, progress: Progress) -> _Origin:
    if model is None:
        path, found = fetch(address, sha256=sha256, progress=progress)
        return _Origin(path, "address", address, found)
    if model.is_dir():
        if sha256.strip():
            raise PackageError(
                say(
                    "{path} is a folder, which has no checksum; give the .zip that it was made for.",
                    path=model,
                )
            )
        return _Origin(model, "folder", model.name, "")
    return _Origin(model, "zip", model.name, _checked(model, sha256))


def _checked(model: Path, sha256: str) -> str:
    wanted = checksum(sha256)
    try:
        with model.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PackageError(
            say("{path} cannot be read: {reason}.", path=model, reason=error.strerror or error)
        ) from error
    if wanted and found != wanted:
        raise PackageError(
            say(
                "{address} is refused: its SHA-256 is {found}, not {wanted}. It is another file than the one that the "
                "checksum was written for.",
                address=model,
                found=found,
                wanted=wanted,
            )
        )
    return found


def _refuse_another(package: Package, origin: _Origin) -> None:
    """Refuse a zip that is not, or no longer, the one whose checksum was compared and goes into the record."""
    if package.files.whole() != origin.sha256:
        raise PackageError(
            say("{path}: {file} was changed meanwhile.", path=origin.path, file=origin.path.name)
        )


def _refuse_overlap(source: Path, out: Path) -> None:
    one, other = source.resolve(), out.resolve()
    if one == other or one.is_relative_to(other) or other.is_relative_to(one):
        raise OutputError(
            say(
                "{out} and the package {path} lie in one another. Choose another folder.",
                out=out,
                path=source,
            )
        )


def _refuse_target(out: Path, overwrite: bool) -> None:
    """Say before any work why nothing may be written there: only an imported package, whole and alone, is replaced."""
    if not (out.exists() or out.is_symlink()):
        return
    if not out.is_dir() or out.is_symlink():
        raise OutputError(
            say("{path} is a file or a link; give the name of a folder for the package.", path=out)
        )
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    if not found:
        return
    try:
        record = json.loads((out / RECORD_FILE).read_text("utf-8"))
        known = {*record["files"], RECORD_FILE}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        known = set()
    if not found <= known:
        raise OutputError(
            say(
                "{folder} holds other files than an imported package ({files}). Choose another folder.",
                folder=out,
                files=first_few(sorted(found - known), 3),
            )
        )
    if not overwrite:
        raise OutputError(
            say(
                "{folder} is already a package. Choose another folder, or allow it to be replaced.",
                folder=out,
            )
        )


def _script(package: Package) -> tuple[Script | None, str]:
    source = package.source(package.weights.get("torchscript"))
    if not package.has(source):
        return None, ""
    try:
        return read_script(package.files.read(source)), ""
    except UnreadableError as error:
        return None, str(error)


def _said(package: Package) -> dict[str, Any]:
    config = package.config or {}
    inner = config.get("bioimageio")
    nickname = inner.get("nickname") if isinstance(inner, Mapping) else None
    found = {key: package.description.get(key) for key in ("name", "version", "license", "format_version")}
    return {
        key: str(value)
        for key, value in (found | {"id": package.description.get("id") or nickname}).items()
        if value
    }


# ---- what it can do


def _tried(package: Package) -> tuple[dict[str, float], dict[str, str]]:
    """Weight formats that run, with the difference to the test output; and those that do not, with the reason."""
    script, problem = _script(package)
    model, reasons = described(package)
    if model is None:
        raise PackageError(
            say(
                "{path} is refused: its description is not valid: {reasons}.",
                path=package.path,
                reasons="; ".join(reasons[:3])[:600].rstrip("."),
            )
        )
    ran = running.run_all(package, tensors(package), model, script, problem, "consented")
    runs: dict[str, float] = {}
    left: dict[str, str] = {}
    wrong = []
    for kind in sorted(package.weights):
        finding = next((one for one in ran.findings if one.point == f"test {kind}"), None)
        own = [d for d in ran.differences if d.weights == kind and d.against == "test output"]
        if finding is None:
            missing = next((one.what for one in ran.findings if one.point == "test"), "")
            raise PackageError(say("{path} is refused: {reason}", path=package.path, reason=missing))
        if finding.status in ("warning", "not applicable"):
            left[kind] = finding.what
        elif finding.status == "failed":
            wrong.append(f"{kind}: {finding.what}")
        else:
            runs[kind] = max((d.largest for d in own), default=0.0)
    if wrong:
        raise PackageError(
            say(
                "{path} is refused: its weights do not give the output that it says they give. {reasons}",
                path=package.path,
                reasons=" ".join(wrong),
            )
        )
    return runs, left


def _uses(folder: Path, named: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    tries: dict[str, Callable[[Path], object]] = {
        "pixels": read_foreign_network,
        "classes": lambda path: read_own(path) or read_foreign_classifier(path),
        "weights": read_source,
    }
    usable, reasons = [], {}
    for use, read in tries.items():
        try:
            read(folder)
        except MikataError as error:
            # the folder has another name until all is well
            reasons[use] = str(error).replace(str(folder), str(named)).replace(folder.name, named.name)
        else:
            usable.append(use)
    return tuple(usable), reasons


# ---- the copy


def _sum(package: Package, name: str) -> tuple[int, str]:
    """Length and SHA-256 of a file, read whole: nothing is written before it is known that all can be."""
    digest, size = hashlib.sha256(), 0
    with _opened(package, name) as source:
        while block := source.read(_BLOCK):
            size += len(block)
            digest.update(block)
    return size, digest.hexdigest()


def _copy(package: Package, sums: Mapping[str, tuple[int, str]], target: Path, progress: Progress) -> None:
    """Copy files, which must still be those that were judged."""
    for number, (name, expected) in enumerate(sums.items()):
        progress.step(say("Copy the package"), number, len(sums))
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with _opened(package, name) as source, place.open("xb") as file:
            while block := source.read(_BLOCK):
                size += len(block)
                digest.update(block)
                file.write(block)
        if (size, digest.hexdigest()) != expected:
            raise PackageError(say("{path}: {file} was changed meanwhile.", path=package.path, file=name))


@contextmanager
def _opened(package: Package, name: str) -> Iterator[Any]:
    try:
        with package.files.open(name) as file:
            yield file
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise PackageError(
            say("{path}: {file} is damaged ({error}).", path=package.path, file=name, error=error)
        ) from error
