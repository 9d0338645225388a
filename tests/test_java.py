"""ImageJ's jars: found, checked, fetched once, and a clear sentence when they cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mikata.errors import ImageJError, OutputError
from mikata.imagej import java

NO_NETWORK = dict.fromkeys(
    ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9"
)


@pytest.fixture(scope="session")
def four_jars() -> list[Path]:
    return java.jars()


@pytest.fixture
def folder(four_jars: list[Path], hard_path: Path) -> Path:
    """A folder of a user with the four jars."""
    for jar in four_jars:
        shutil.copy(jar, hard_path)
    return hard_path


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No cache, no local Maven repository, no network."""
    monkeypatch.delenv(java.JARS_VARIABLE, raising=False)
    monkeypatch.setattr(java, "cache_folder", lambda: tmp_path / "cache" / "jars")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    return tmp_path


def test_jars_are_the_four_in_class_path_order(four_jars: list[Path]) -> None:
    assert [jar.name for jar in four_jars] == [jar.name for jar in java.JARS]
    assert four_jars[0].name.startswith("ij1-patcher")  # before ij, whose classes it changes


def test_a_folder_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(java.JARS_VARIABLE, str(folder))
    assert [jar.parent for jar in java.jars()] == [folder] * 4


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, ["lacks javassist-3.30.2-GA.jar", "ij-1.54p.jar", "classgraph-4.8.162.jar"]),
        (_truncate, ["javassist-3.30.2-GA.jar is not the file its name says", "eba37290994b"]),
    ],
    ids=["missing", "changed"],
)
def test_a_spoilt_folder_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], words: list[str]
) -> None:
    spoil(folder / "javassist-3.30.2-GA.jar")
    monkeypatch.setenv(java.JARS_VARIABLE, str(folder))
    with pytest.raises(ImageJError) as refused:
        java.jars()
    assert all(word in str(refused.value) for word in words)
    assert str(folder) in str(refused.value)


def test_no_network_says_what_is_missing_and_how_to_bring_it(nothing_here: Path) -> None:
    with pytest.raises(ImageJError) as refused:
        java.jars()
    message = str(refused.value)
    assert all(jar.name in message for jar in java.JARS)
    assert "MIKATA_JARS" in message
    assert not list((nothing_here / "cache" / "jars").iterdir())  # nothing half done is left


def test_a_local_maven_repository_serves_without_network(nothing_here: Path, four_jars: list[Path]) -> None:
    for jar, path in zip(java.JARS, four_jars, strict=True):
        place = nothing_here.joinpath("m2", *jar.group.split("."), jar.artifact, jar.version)
        place.mkdir(parents=True)
        shutil.copy(path, place)
    assert [jar.name for jar in java.jars()] == [jar.name for jar in java.JARS]
    shutil.rmtree(nothing_here / "m2")
    assert len(java.jars()) == 4  # out of the cache now


def test_a_damaged_cache_is_not_used(nothing_here: Path, four_jars: list[Path]) -> None:
    cache = nothing_here / "cache" / "jars"
    cache.mkdir(parents=True)
    for path in four_jars:
        shutil.copy(path, cache)
    _truncate(cache / "ij-1.54p.jar")
    with pytest.raises(ImageJError, match="could not be fetched"):
        java.jars()


def test_a_cache_that_cannot_be_made(nothing_here: Path) -> None:
    (nothing_here / "cache").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="MIKATA_JARS"):
        java.jars()


@pytest.mark.parametrize("from_folder", [True, False], ids=["MIKATA_JARS", "cache"])
def test_a_start_without_network(folder: Path, from_folder: bool) -> None:
    code = "import mikata.imagej as m; ij = m.start(); print(ij.run_macro('return \"started\";'))"
    env = os.environ | NO_NETWORK | ({java.JARS_VARIABLE: str(folder)} if from_folder else {})
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "started" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "is no Fiji"),
        (lambda folder: (folder / "Fiji.app" / "jars").mkdir(parents=True), "Do you mean"),
    ],
    ids=["missing", "empty", "one above"],
)
def test_a_folder_that_is_no_fiji(hard_path: Path, make: Callable[[Path], None], words: str) -> None:
    from mikata.imagej import start

    make(hard_path / "Fiji")
    with pytest.raises(ImageJError, match=words):
        start(fiji=hard_path / "Fiji")
