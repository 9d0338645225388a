"""What a package that is to be imported may hold: no pickles, no weights that cannot be read, nothing that lies elsewhere."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import numpy as np

from mikata.errors import NetworkError, PackageError
from mikata.language import say
from mikata.networks.importing.code import UnreadableError, read_script
from mikata.networks.importing.formats import FORMATS
from mikata.networks.importing.reading import Package, named_files
from mikata.networks.package_safety import refuse_unsafe_names
from mikata.networks.weights import load_state

_NEEDED = (
    "weights",
    "test_tensor",
    "test_inputs",
    "test_outputs",
    "sample_tensor",
    "sample_inputs",
    "sample_outputs",
)
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")


def files_of(package: Package, kept_out: str) -> tuple[str, ...]:
    """Names of all files from the description's folder on; a record of an earlier import is not among them."""
    if package.files.path.is_dir():
        root = package.files.path
        names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    else:
        names = sorted(name for name in package.files.names if not name.endswith("/"))
    refuse_unsafe_names(package.path, names)
    return tuple(name for name in names if name != kept_out)


def refuse_addresses(package: Package) -> list[str]:
    """Refuse files that would be needed and lie on the internet; what else does, by its place in the description."""
    found = []
    for place, entry in named_files(package.description):
        name = package.source(entry)
        if "://" not in name:
            continue
        if any(part.partition("[")[0] in _NEEDED for part in place.split(".")):
            raise PackageError(
                say(
                    "{path} is refused: it does not hold the file for {place}, only its address {address}, and nothing "
                    "else is fetched. Download the whole package.",
                    path=package.path,
                    place=place,
                    address=name,
                )
            )
        found.append(f"{place}: {name}")
    return found


def refuse_odd_content(package: Package, names: tuple[str, ...]) -> None:
    """Refuse pickles, which run code when they are read, and weights that cannot be read safely."""
    for name in names:
        if PurePosixPath(name).suffix.lower() in _PICKLES:
            raise PackageError(
                say(
                    "{path} is refused: {file} is a pickle, which can run code when it is read.",
                    path=package.path,
                    file=name,
                )
            )
        if name.lower().endswith(".npy"):
            _refuse_objects(package, name)
    script = package.source(package.weights.get("torchscript"))
    if package.has(script):
        try:
            read_script(package.files.read(script))
        except UnreadableError as error:
            raise PackageError(
                say("{path} is refused: {file} cannot be read: {reason}.", path=package.path, file=script,
                    reason=str(error).rstrip("."))
            ) from error  # fmt: skip
    state = package.source(package.weights.get("pytorch_state_dict"))
    if package.has(state):
        try:
            load_state(
                io.BytesIO(package.files.read(state)), say("{file} of {path}", file=state, path=package.path)
            )
        except NetworkError as error:
            raise PackageError(str(error)) from error
    if not set(package.weights) & set(FORMATS):
        raise PackageError(
            say(
                "{path} has its weights as {kinds} only, which Mikata does not run; {known} it does.",
                path=package.path,
                kinds=", ".join(sorted(package.weights)) or "-",
                known=", ".join(FORMATS),
            )
        )


def _refuse_objects(package: Package, name: str) -> None:
    try:
        with package.files.open(name) as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read(file)
    except (ValueError, OSError, EOFError, SyntaxError):
        return  # no array: nothing reads it as one
    if dtype.hasobject:
        raise PackageError(
            say(
                "{path} is refused: {file} is a pickle, which can run code when it is read.",
                path=package.path,
                file=name,
            )
        )
