"""Which code of strangers the user has allowed to run on this computer: file by file, by content.

A consent lies in the user's own data folder and not in the package, since a package could bring its own.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from mikata.outputs import write_text

_DIGITS = frozenset("0123456789abcdef")


def consents_folder() -> Path:
    """Where consents lie, one small file each; deleting one takes it back."""
    return platformdirs.user_data_path("mikata", appauthor=False) / "consents"


def consented(sha256: str) -> bool:
    """Whether the user has allowed code of this checksum."""
    return _is_checksum(sha256) and (consents_folder() / f"{sha256}.json").is_file()


def consent(sha256: str, file: str, package: str) -> Path:
    """Note that the user allows code of this checksum; `file` and `package` are its names, for a reader.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    if not _is_checksum(sha256):
        raise ValueError(f"{sha256} is no SHA-256 in small letters")
    note = {
        "sha256": sha256,
        "file": file,
        "package": package,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return write_text(
        consents_folder() / f"{sha256}.json", json.dumps(note, ensure_ascii=False, indent=1) + "\n"
    )


def _is_checksum(text: str) -> bool:
    return len(text) == 64 and set(text) <= _DIGITS
