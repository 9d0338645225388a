"""Which code of strangers the user has allowed to run on this computer: thing by thing, by content.

A consent lies in the user's own data folder and not in the package, since a package could bring its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import platformdirs

from mikata.outputs import write_text

_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Thing:
    """One piece of code that a package would have run, with all that says what it does.

    Attributes
    ----------
    kind:
        ``architecture``: a Python file, of which one network is made. ``torchscript``: a file as torch loads it. One is
        no consent to the other, whatever the file.
    file:
        Its name, for a reader; the consent is for the content.
    sha256:
        Of its bytes.
    callable, kwargs:
        What of the Python file is called, and with which arguments: plain values of a description.
    """

    kind: Literal["architecture", "torchscript"]
    file: str
    sha256: str
    callable: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 of everything but the file's name."""
        stated = [self.kind, self.sha256, self.callable, dict(self.kwargs)]
        text = json.dumps(stated, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def consents_folder() -> Path:
    """Where consents lie, one small file each; deleting one takes it back."""
    return platformdirs.user_data_path("mikata", appauthor=False) / "consents"


def consented(thing: Thing) -> bool:
    """Whether the user has allowed this thing."""
    return (consents_folder() / f"{thing.key}.json").is_file()


def consent(thing: Thing, package: str) -> Path:
    """Note that the user allows a thing; `package` is its package's name, for a reader.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    if len(thing.sha256) != 64 or not set(thing.sha256) <= _DIGITS:
        raise ValueError(f"{thing.sha256} is no SHA-256 in small letters")
    note = {
        "kind": thing.kind,
        "sha256": thing.sha256,
        "callable": thing.callable,
        "kwargs": dict(thing.kwargs),
        "file": thing.file,
        "package": package,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return write_text(
        consents_folder() / f"{thing.key}.json",
        json.dumps(note, ensure_ascii=False, indent=1, default=repr) + "\n",
    )
