"""Pseudonyms: the same for the same patient, different elsewhere, and a secret that stays private."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import pytest

from mikata import privacy
from mikata.errors import OutputError


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "山田 太郎 (test)" / "mikata"
    monkeypatch.setattr(privacy.platformdirs, "user_data_path", lambda *_, **__: folder)
    privacy._salt.cache_clear()
    yield folder
    privacy._salt.cache_clear()


def test_same_patient_same_name() -> None:
    first = privacy.pseudonym("12345")
    assert re.fullmatch(r"P-[0-9a-f]{12}", first)
    privacy._salt.cache_clear()
    assert privacy.pseudonym(" 12345 ") == first
    assert privacy.pseudonym("12346") != first
    assert privacy.pseudonym("山田太郎") != privacy.pseudonym("山田花子")


def test_another_salt_gives_another_name(data_folder: Path) -> None:
    first = privacy.pseudonym("12345")
    next(data_folder.iterdir()).unlink()
    privacy._salt.cache_clear()
    assert privacy.pseudonym("12345") != first


def test_the_salt_is_private_and_alone(data_folder: Path) -> None:
    privacy.pseudonym("1")
    (salt,) = data_folder.iterdir()
    assert len(salt.read_bytes()) == 32
    if sys.platform != "win32":
        assert stat.S_IMODE(salt.stat().st_mode) == 0o600


def test_the_first_process_wins(data_folder: Path) -> None:
    data_folder.mkdir(parents=True)
    path = privacy._salt_path()
    path.write_bytes(b"s" * 32)
    privacy._make(path)
    assert path.read_bytes() == b"s" * 32
    assert [p.name for p in data_folder.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_damaged_salt_is_said(data_folder: Path, damage: bytes) -> None:
    data_folder.mkdir(parents=True)
    privacy._salt_path().write_bytes(damage)
    with pytest.raises(OutputError, match="damaged"):
        privacy.pseudonym("1")
    assert privacy._salt_path().read_bytes() == damage


def test_a_salt_that_cannot_be_read_is_said(data_folder: Path) -> None:
    privacy._salt_path().mkdir(parents=True)
    with pytest.raises(OutputError, match="neither read nor made"):
        privacy.pseudonym("1")


def test_a_file_system_without_links(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    first = privacy.pseudonym("1")
    privacy._salt.cache_clear()
    assert privacy.pseudonym("1") == first
    assert len(list(data_folder.iterdir())) == 1
