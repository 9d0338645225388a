"""Names that cannot be traced back: what stands in results instead of a patient's id."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import unicodedata
from functools import lru_cache
from pathlib import Path

import platformdirs

from mikata.errors import OutputError
from mikata.language import say

_SALT_BYTES = 32
_FILE = "pseudonym-salt"


def pseudonym(patient_id: str) -> str:
    """A name for a patient: the same id always gives the same name on this computer.

    HMAC-SHA256 (RFC 2104) of the id with a random salt that stays in the user's own data folder and
    is written nowhere else; without the salt, trying all possible ids does not lead back.
    White space, case and the width of letters do not count, since tables and DICOM write ids differently.

    Returns
    -------
    str
        ``P-`` and 12 hexadecimal digits: two of a million patients share one with odds of
        about one in 560.

    Raises
    ------
    OutputError
        If the salt can be neither read nor made.
    """
    digest = hmac.new(_salt(_salt_path()), one_spelling(patient_id).encode(), hashlib.sha256)
    return f"P-{digest.hexdigest()[:12]}"


def one_spelling(name: str) -> str:
    """A name as it is compared with others: white space, case and the width of letters do not count."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _salt_path() -> Path:
    return platformdirs.user_data_path("mikata", appauthor=False) / _FILE


@lru_cache(maxsize=4)
def _salt(path: Path) -> bytes:
    try:
        if not path.exists():
            _make(path)
        salt = path.read_bytes()
    except OSError as error:
        raise OutputError(
            say(
                "The secret that makes pseudonyms, {path}, can be neither read nor made ({reason}). Give "
                "yourself the right to read and write its folder.",
                path=path,
                reason=error.strerror or error,
            )
        ) from error
    if len(salt) != _SALT_BYTES:
        raise OutputError(
            say(
                "The secret that makes pseudonyms, {path}, is damaged: {found} bytes, not {wanted}. "
                "Bring it back from a copy, or delete it: new results then get new pseudonyms.",
                path=path,
                found=len(salt),
                wanted=_SALT_BYTES,
            )
        )
    return salt


def _make(path: Path) -> None:
    """Make the salt, whole and private from its first moment, unless another process is first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{_FILE}-{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # fails where the name is taken, so the first process wins
        except FileExistsError:
            return
        except OSError:
            # file systems without hard links (FAT, some network shares): on Windows a rename does
            # not replace, and elsewhere the window between the two calls is the best there is
            if not path.exists():
                beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
