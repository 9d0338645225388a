"""Machines without a network: what is collected is complete for the target, unchanged, and installs."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from mikata.errors import Cancelled, MikataError, OutputError, ParameterError
from mikata.imagej import java
from mikata.offline import (
    closure,
    embeddable,
    own_wheel,
    pip_process,
    portable,
    unpacking,
    wheelhouse,
    wheels,
)
from mikata.offline.errors import CollectError
from mikata.offline.target import Target, choose
from mikata.types import SILENT, Progress

WINDOWS = Target("windows", "3.12")
LINUX = Target("linux", "3.12")
HERE = Target("linux", f"{sys.version_info[0]}.{sys.version_info[1]}")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="installs on Linux")


def packed(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Iterable[str] = (),
    *,
    tag: str = "py3-none-any",
    files: Mapping[str, bytes] | None = None,
    extras: Iterable[str] = (),
) -> Path:
    """A small wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    headers = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    headers += [f"Requires-Dist: {text}" for text in requires] + [
        f"Provides-Extra: {text}" for text in extras
    ]
    content = dict(files if files is not None else {f"{name}.py": b"value = 1\n"})
    content[f"{info}/METADATA"] = "\n".join([*headers, ""]).encode()
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = "".join(
        f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for n, data in content.items()
    )
    content[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for n, data in content.items():
            wheel.writestr(n, data)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip can see."""
    folder = tmp_path / "store"
    folder.mkdir()
    (tmp_path / "empty").mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    return folder


def fetched(own: Path, target: Target, folder: Path, compute: str = "registry") -> set[str]:
    folder.mkdir()
    found = wheels.fetch(own, target, compute, folder, progress=SILENT)
    assert {wheel.path for wheel in found} == set(folder.iterdir())
    return {wheel.path.name for wheel in found}


# --- the target


@pytest.mark.parametrize(
    ("system", "python", "words"),
    [
        ("macos-intel", "3.12", "no wheels for Macs with an Intel"),
        ("macos", "3.12", "give macos-arm"),
        ("solaris", "3.12", "must be one of windows, linux, macos-arm"),
        ("windows", "3.14", "must be one of 3.11, 3.12, 3.13"),
        ("windows", "3", "must be one of 3.11"),
    ],
)
def test_targets_without_wheels_are_refused(system: str, python: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        choose(system, python)


@on_linux
def test_the_target_is_this_machine_if_nothing_is_said() -> None:
    assert choose("", "") == HERE


@pytest.mark.parametrize(
    ("compute", "target", "words"),
    [
        ("gpu", LINUX, "must be cpu, registry"),
        ("cu12", LINUX, "must be cpu"),
        ("cu126", Target("macos-arm", "3.12"), "no CUDA for macOS"),
    ],
)
def test_builds_that_do_not_exist_are_refused(compute: str, target: Target, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        wheels.check_compute(compute, target)


def test_every_marker_has_a_value_of_the_target() -> None:
    from packaging.markers import default_environment

    for system in ("windows", "linux", "macos-arm"):
        assert Target(system, "3.13").environment().keys() == default_environment().keys()


# --- closure


def test_the_closure_follows_extras_and_the_targets_markers(tmp_path: Path) -> None:
    packed(
        tmp_path, "root", requires=["A_b[more]>=1", 'gone; sys_platform == "darwin"', 'c; os_name == "nt"']
    )
    packed(tmp_path, "a.b", requires=['d; extra == "more"', 'e; extra == "other"'], extras=["more", "other"])
    for name in "cde":
        packed(tmp_path, name)
    found = closure.read_all(tmp_path)
    assert closure.follow(found, ["root"], [WINDOWS.environment()]).needed == {"root", "a-b", "c", "d"}
    assert closure.follow(found, ["root"], [LINUX.environment()]) == closure.Closure(
        frozenset({"root", "a-b", "d"}), ()
    )
    (missing,) = closure.follow(found, ["root"], [Target("macos-arm", "3.12").environment()]).missing
    assert missing.name == "gone"


def test_a_version_that_does_not_fit_is_missing(tmp_path: Path) -> None:
    packed(tmp_path, "root", requires=["torch==2.15.0", "other>=2"])
    packed(tmp_path, "torch", "2.15.0+cu126")
    packed(tmp_path, "other", "1.9")
    (missing,) = closure.follow(closure.read_all(tmp_path), ["root"], [LINUX.environment()]).missing
    assert str(missing) == "other>=2"


# --- pip for another machine


def test_only_what_the_target_needs_is_fetched(store: Path, tmp_path: Path) -> None:
    packed(store, "native", tag="cp312-cp312-win_amd64")
    packed(store, "native", tag="cp312-cp312-manylinux_2_28_x86_64")
    packed(store, "native", "9.0", tag="cp313-cp313-win_amd64")
    packed(
        store, "helper", requires=['winonly; platform_system == "Windows"', 'nvidia; sys_platform == "linux"']
    )
    packed(store, "winonly", requires=['backport; python_version < "3.12"', "deep[x]"])
    packed(store, "deep", requires=['deeper; extra == "x" and os_name == "nt"'], extras=["x"])
    packed(store, "deeper", tag="py3-none-win_amd64")
    packed(store, "nvidia", tag="py3-none-manylinux2014_x86_64")
    packed(store, "backport")
    own = packed(tmp_path, "mikata", requires=["native", "helper"])
    assert fetched(own, WINDOWS, tmp_path / "win") == {
        "mikata-1.0-py3-none-any.whl",
        "native-1.0-cp312-cp312-win_amd64.whl",
        "helper-1.0-py3-none-any.whl",
        "winonly-1.0-py3-none-any.whl",
        "deep-1.0-py3-none-any.whl",
        "deeper-1.0-py3-none-win_amd64.whl",
    }
    assert fetched(own, LINUX, tmp_path / "linux") == {
        "mikata-1.0-py3-none-any.whl",
        "native-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "helper-1.0-py3-none-any.whl",
        "nvidia-1.0-py3-none-manylinux2014_x86_64.whl",
    }


def test_what_some_release_of_the_python_needs_comes_along(store: Path, tmp_path: Path) -> None:
    packed(store, "early")
    packed(store, "late", requires=["later"])
    packed(store, "later")
    asked = ['early; python_full_version < "3.12.4"', 'late; python_full_version >= "3.12.4"']
    own = packed(tmp_path, "mikata", requires=asked)
    names = {name.split("-")[0] for name in fetched(own, WINDOWS, tmp_path / "out")}
    assert names == {"mikata", "early", "late", "later"}


def test_an_older_version_is_taken_where_the_newest_does_not_fit(store: Path, tmp_path: Path) -> None:
    packed(store, "a", "2.0", requires=["b<2"])
    packed(store, "a", "1.0", requires=["b>=2"])
    packed(store, "b", "2.0")
    packed(store, "b", "1.0")
    own = packed(tmp_path, "mikata", requires=["a", "b>=2"])
    assert "a-1.0-py3-none-any.whl" in fetched(own, WINDOWS, tmp_path / "out")


def test_a_wheel_that_is_not_made_for_the_python_is_named(store: Path, tmp_path: Path) -> None:
    packed(store, "native", tag="cp311-cp311-win_amd64")
    own = packed(tmp_path, "mikata", requires=["native>=1"])
    with pytest.raises(CollectError, match=r"There is no wheel of native>=1 for Windows, Python 3\.12"):
        fetched(own, WINDOWS, tmp_path / "out")


def test_requirements_that_exclude_each_other_are_told(store: Path, tmp_path: Path) -> None:
    packed(store, "a", requires=["b<2"])
    packed(store, "b", "2.0")
    packed(store, "b", "1.0")
    own = packed(tmp_path, "mikata", requires=["a", "b>=2"])
    with pytest.raises(CollectError, match="No set of packages for Windows"):
        fetched(own, WINDOWS, tmp_path / "out")


def test_no_network_is_told(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_RETRIES", "1")
    own = packed(tmp_path, "mikata", requires=["native"])
    with pytest.raises(CollectError, match="could not be fetched over the network"):
        fetched(own, WINDOWS, tmp_path / "out")


def test_without_pip_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pip_process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CollectError, match="has no pip"):
        wheelhouse(tmp_path / "out", system="windows")
    assert list(tmp_path.iterdir()) == []


# --- PyTorch's own builds


@pytest.fixture
def torch_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of PyTorch's builds, in a folder."""
    folder = tmp_path / "whl"
    # by the module's name: the package has a command of the same
    doctor = importlib.import_module("mikata.checkup")
    monkeypatch.setattr(doctor, "torch_index", lambda compute: (folder / compute).as_uri())
    return folder


def indexed(index: Path, name: str, *args: object, **kwargs: object) -> None:
    path = packed(index / name, name, *args, **kwargs)  # type: ignore[arg-type]
    page = index / name / "index.html"
    earlier = page.read_text() if page.exists() else "<!DOCTYPE html>"
    page.write_text(f'{earlier}<a href="{path.name.replace("+", "%2B")}">{path.name}</a>\n')


MANYLINUX = "cp312-cp312-manylinux_2_28_x86_64"


def test_linux_without_cuda_comes_from_pytorchs_index(store: Path, torch_index: Path, tmp_path: Path) -> None:
    # the registry is a release ahead, with its own build
    packed(store, "torch", "2.16.1", requires=["nvidia"], tag=MANYLINUX)
    packed(store, "torchvision", "0.30", requires=["torch==2.16.1"], tag=MANYLINUX)
    packed(store, "nvidia")
    indexed(torch_index / "cpu", "torch", "2.16.0+cpu", tag=MANYLINUX)
    indexed(torch_index / "cpu", "torchvision", "0.29+cpu", ["torch==2.16.0"], tag=MANYLINUX)
    own = packed(tmp_path, "mikata", requires=["torch>=2.9", "torchvision"])
    assert fetched(own, LINUX, tmp_path / "out", "cpu") == {
        "mikata-1.0-py3-none-any.whl",
        f"torch-2.16.0+cpu-{MANYLINUX}.whl",
        f"torchvision-0.29+cpu-{MANYLINUX}.whl",
    }
    assert f"torch-2.16.1-{MANYLINUX}.whl" in fetched(own, LINUX, tmp_path / "plain", "registry")


def test_another_build_is_not_passed_off(store: Path, torch_index: Path, tmp_path: Path) -> None:
    own = packed(tmp_path, "mikata", requires=["torch", "torchvision"])
    with pytest.raises(CollectError, match=r"(?s)cpu for Linux.*could not be fetched.*compute registry"):
        fetched(own, LINUX, tmp_path / "none", "cpu")
    packed(store, "torch", "2.16.1", tag=MANYLINUX)  # which is not looked at
    indexed(torch_index / "cpu", "torch", "2.9", tag=MANYLINUX)
    with pytest.raises(CollectError, match=r"torch-2\.9.* is not the build cpu"):
        fetched(own, LINUX, tmp_path / "other", "cpu")
    indexed(torch_index / "cpu", "torch", "3.0+cpu", tag=MANYLINUX)
    packed(store, "torchvision", "0.30", tag=MANYLINUX)
    with pytest.raises(CollectError, match=r"torchvision-0\.30.* is not the build cpu"):
        fetched(own, LINUX, tmp_path / "mixed", "cpu")


# --- Mikata's own wheel


@pytest.fixture(scope="module")
def mikatas_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_wheel.make(tmp_path_factory.mktemp("own"), SILENT)


def installed(wheel: Path, site: Path) -> Distribution:
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(words, check=True, capture_output=True)
    return next(iter(Distribution.discover(path=[str(site)])))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as content:
        return {name: content.read(name) for name in content.namelist() if not name.endswith("RECORD")}


def test_the_installed_mikata_is_packed_again(mikatas_wheel: Path, tmp_path: Path) -> None:
    there = installed(mikatas_wheel, tmp_path / "one")
    again = own_wheel.repack(there, tmp_path)
    assert again.name == mikatas_wheel.name
    assert contents(again) == contents(mikatas_wheel)
    assert "mikata/offline/files/install.bat" in contents(again)
    second = installed(again, tmp_path / "two")
    code = "import mikata, sys; print(mikata.__file__, mikata.__version__)"
    env = os.environ | {"PYTHONPATH": str(tmp_path / "two")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "two" / "mikata" / "__init__.py"), second.version]


def test_a_changed_installation_is_not_packed(mikatas_wheel: Path, tmp_path: Path) -> None:
    there = installed(mikatas_wheel, tmp_path / "site")
    with (tmp_path / "site" / "mikata" / "types.py").open("a") as file:
        file.write("\n")
    with pytest.raises(CollectError, match=r"types\.py is missing or changed"):
        own_wheel.repack(there, tmp_path)
    assert not list(tmp_path.glob("*.whl"))


# --- the wheelhouse, installed


@pytest.fixture
def small(mikatas_wheel: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mikata with no requirement but platformdirs, which its jars need, and a wheel for each system."""
    own_wheel.repack(distribution("platformdirs"), store)
    for tag in ("win_amd64", "manylinux2014_x86_64", "macosx_11_0_arm64"):
        packed(store, "native", tag=f"py3-none-{tag}")
    content = contents(mikatas_wheel)
    info = next(name.split("/")[0] for name in content if name.endswith(".dist-info/METADATA"))
    name, version = info.removesuffix(".dist-info").split("-")
    kept = [n for n in content if not n.startswith(info)] + [f"{info}/entry_points.txt"]

    def make(folder: Path, progress: Progress) -> Path:
        files = {n: content[n] for n in kept}
        return packed(folder, name, version, ["platformdirs", "native"], files=files)

    monkeypatch.setattr(own_wheel, "make", make)
    return store


def sums(folder: Path) -> dict[str, str]:
    found = {}
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        found[name] = digest
    return found


def install(folder: Path, to: Path, home: Path) -> subprocess.CompletedProcess[str]:
    env = {n: value for n, value in os.environ.items() if not n.startswith("XDG_")}
    # the shell script looks for the Python of the wheels by its names
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env |= {"HOME": str(home), "PATH": path, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "/nowhere"}
    return subprocess.run(
        ["sh", str(folder / "install.sh"), str(to)],
        env=env, capture_output=True, text=True, encoding="utf-8", check=False, cwd=home,
    )  # fmt: skip


@on_linux
def test_a_wheelhouse_installs_without_a_network(small: Path, hard_path: Path, tmp_path: Path) -> None:
    folder = hard_path / "wheel house (車輪)"
    result = wheelhouse(folder, compute="registry")
    assert result.files == (folder,)
    assert "3 wheels for Linux" in result.message
    assert {path.name for path in hard_path.iterdir()} == {folder.name}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert sums(folder).keys() == files - {"SHA256SUMS"}
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert done.returncode == 0
    assert {path.name for path in (folder / "jars").iterdir()} == {jar.name for jar in java.JARS}
    assert (folder / "fiji_scripts/examples/grad_cam.ijm").is_file()
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    assert "not for diagnosis" in readme
    assert "診断用ではありません" in readme
    assert "@@" not in readme + (folder / "install.sh").read_text(encoding="utf-8")

    home = hard_path / "ホーム"
    home.mkdir()
    place = hard_path / "my mikata"
    done = install(folder, place, home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done." in done.stdout
    assert "完了しました" in done.stdout
    assert {path.name for path in (home / ".cache/mikata/jars").iterdir()} == {jar.name for jar in java.JARS}
    code = (
        "import native, mikata; from mikata.imagej import java; print(mikata.__file__); print(java.jars()[0])"
    )
    done = subprocess.run(
        [place / "bin/python", "-I", "-c", code],
        env={"HOME": str(home), "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    module, jar = done.stdout.splitlines()
    assert Path(module).is_relative_to(place)
    assert Path(jar).is_relative_to(home)
    # a second time: what is there stays
    done = install(folder, place, home)
    assert done.returncode == 1
    assert "already there" in done.stderr
    assert (place / "bin/python").exists()


@on_linux
@pytest.mark.parametrize("how", ["changed", "missing", "added", "python"])
def test_the_installer_notices_what_is_wrong(how: str, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheelhouse"
    wheelhouse(folder, compute="registry", system="linux")
    wheel = next((folder / "wheels").glob("native*"))
    if how == "changed":
        data = bytearray(wheel.read_bytes())
        data[40] ^= 1
        wheel.write_bytes(data)
        words = ("is damaged or was changed", "壊れているか変更されています")
    elif how == "missing":
        (folder / "jars" / java.JARS[1].name).unlink()
        words = ("is missing", "がありません")
    elif how == "added":
        packed(folder / "wheels", "native", "2.0")
        words = ("does not belong there", "ここにあるべきファイルではありません")
    else:
        about = folder / "wheelhouse.json"
        about.write_text(about.read_text().replace(f'"python": "{HERE.python}"', '"python": "3.99"'))
        words = ("These wheels are for Python 3.99", "この wheel は Python 3.99 用です")
    done = install(folder, tmp_path / "env", tmp_path)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "env").exists()


@on_linux
def test_an_installation_that_fails_leaves_nothing(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheelhouse"
    wheelhouse(folder, compute="registry")
    wheel = next((folder / "wheels").glob("native*"))
    wheel.unlink()
    text = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(
        "".join(line for line in text.splitlines(True) if wheel.name not in line)
    )
    done = install(folder, tmp_path / "env", tmp_path)
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert "native" in done.stderr
    assert not (tmp_path / "env").exists()


def test_without_the_python_the_script_says_so(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheelhouse"
    other = "3.13" if HERE.python != "3.13" else "3.12"
    wheelhouse(folder, system="linux", python=other, compute="registry")
    (tmp_path / "bin").mkdir()
    for name in ("dirname", "cat", "sh"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [tmp_path / "bin" / "sh", folder / "install.sh"],
        env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"Python {other} (64-bit) was not found" in done.stderr
    assert "見つかりません" in done.stderr


def test_a_wheelhouse_for_windows_speaks_windows(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheelhouse"
    wheelhouse(folder, system="windows", python="3.12")
    assert (folder / "wheels/native-1.0-py3-none-win_amd64.whl").is_file()
    assert not (folder / "install.sh").exists()
    check_batch(folder / "install.bat")
    readme = (folder / "README.txt").read_bytes()
    assert readme.startswith(b"\xef\xbb\xbf")
    assert readme.count(b"\n") == readme.count(b"\r\n") > 20
    assert not (folder / "texts/no-python.txt").read_bytes().startswith(b"\xef")


def test_a_wheelhouse_for_macs_says_which(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheelhouse"
    wheelhouse(folder, system="macos-arm", python="3.13")
    assert (folder / "wheels/native-1.0-py3-none-macosx_11_0_arm64.whl").is_file()
    assert (folder / "install.sh").stat().st_mode & 0o111
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    assert "@@" not in readme
    assert "macOS, Python 3.13" in readme
    assert "Apple's own processor" in readme
    assert "Apple シリコン搭載 Mac" in readme


def check_batch(path: Path) -> None:
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == data.count(b"\r\n") > 5
    text = data.decode()
    assert "chcp 65001" in text
    assert "@@" not in text
    labels = {line[1:] for line in text.splitlines() if line.startswith(":")}
    for line in text.splitlines():
        for word in ("%~dp0", "%LOCALAPPDATA%", "%FIJI"):
            before, found, _ = line.partition(word)
            assert not found or before.count('"') % 2 == 1, line  # every path is quoted
        if " goto " in f" {line}":
            assert line.split("goto ")[1] in labels


# --- nothing is replaced unasked, nothing is left behind


def test_an_earlier_wheelhouse_is_replaced_only_if_asked(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "wheelhouse"
    folder.mkdir(parents=True)  # an empty folder is none that could be lost
    wheelhouse(folder, system="windows")
    (folder / "README.txt").write_text("earlier")
    with pytest.raises(OutputError, match="already there"):
        wheelhouse(folder, system="windows")
    assert (folder / "README.txt").read_text() == "earlier"
    (folder / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"other things than an earlier result \(mine\.txt\)"):
        wheelhouse(folder, system="windows", overwrite=True)
    (folder / "mine.txt").unlink()
    wheelhouse(folder, system="windows", overwrite=True)
    assert (folder / "README.txt").read_text() != "earlier"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        wheelhouse(tmp_path / "file", system="windows")


class Stopping(Progress):
    """Somebody who stops when a step begins."""

    def __init__(self, at: str) -> None:
        self.at, self.stopped = at, False

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        self.stopped = self.stopped or message.startswith(self.at)

    @property
    def cancelled(self) -> bool:
        return self.stopped


@pytest.mark.parametrize("at", ["Copy ImageJ", "Choose and fetch", "Fetch wheels", "Compute checksums"])
def test_nothing_is_left_when_it_is_stopped(
    at: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, temporary = tmp_path / "out" / "wheelhouse", tmp_path / "temporary"
    folder.parent.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with pytest.raises(Cancelled):
        wheelhouse(folder, system="windows", progress=Stopping(at))
    assert list(folder.parent.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_a_failure_leaves_the_earlier_folder(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "wheelhouse"
    wheelhouse(folder, system="windows")
    before = sums(folder)
    for wheel in small.glob("native*"):
        wheel.unlink()
    with pytest.raises(CollectError, match="no wheel of native"):
        wheelhouse(folder, system="windows", overwrite=True)
    assert [path.name for path in folder.parent.iterdir()] == ["wheelhouse"]
    for name, digest in before.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


# --- the portable folder


def program(machine: int = 0x8664) -> bytes:
    """The first bytes of a Windows program."""
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine) + bytes(20)


SEARCH_PATH = b"python312.zip\r\n.\r\n\r\n# Uncomment to run site.main() automatically\r\n#import site\r\n"


def embedded(path: Path, **changes: bytes | None) -> Path:
    """What python.org's zip has, by its names; `changes` replace entries or leave them out."""
    content: dict[str, bytes | None] = {
        "python.exe": program(),
        "python312.dll": program(),
        "python312.zip": b"PK",
        "python312._pth": SEARCH_PATH,
        "vcruntime140.dll": b"python's",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in (content | changes).items():
            if data is not None:
                made.writestr(name, data)
    return path


@pytest.fixture
def stick(small: Path) -> Path:
    """Wheels for the portable folder."""
    place = "msvc_runtime-14.0.data"
    files = {
        f"{place}/data/msvcp140.dll": b"microsoft's",
        f"{place}/purelib/pure.py": b"pure = 1\n",
        f"{place}/platlib/plat.pyd": b"plat",
        f"{place}/scripts/tool": b"#!python\n",
        f"{place}/headers/tool.h": b"",
        "torch/include/torch/torch.h": b"",
        "torch/lib/torch_cpu.dll": b"",
    }
    packed(small, "msvc_runtime", "14.0", tag="cp312-cp312-win_amd64", files=files)
    return small


def test_a_portable_folder_is_laid_out_for_windows(stick: Path, hard_path: Path) -> None:
    folder = hard_path / "Mikata (携帯)"
    python = embedded(hard_path / "python-3.12.10-embed-amd64.zip")
    result = portable(folder, python=python)
    assert result.files == (folder,)
    assert "Python 3.12, 4 packages" in result.message
    assert {path.name for path in hard_path.iterdir()} == {folder.name, python.name}
    site = folder / "python/Lib/site-packages"
    assert {path.name for path in (folder / "python").iterdir()} == {
        "python.exe", "python312.dll", "python312.zip", "python312._pth", "vcruntime140.dll", "msvcp140.dll", "Lib",
    }  # fmt: skip
    assert (folder / "python/python312._pth").read_bytes() == (
        b"python312.zip\r\n.\r\nLib\\site-packages\r\nimport site\r\n"
    )
    for name in (
        "mikata/__main__.py",
        "mikata/_data/bioimage_models/recipes",
        "native.py",
        "pure.py",
        "plat.pyd",
        "torch/lib",
    ):
        assert (site / name).exists(), name
    assert not (site / "torch/include").exists()
    assert not list(folder.rglob("tool*"))
    record = {str(file) for file in Distribution.at(site / "msvc_runtime-14.0.dist-info").files or ()}
    assert {"../../msvcp140.dll", "pure.py"} < record
    assert not any("include" in name or ".data" in name for name in record)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert sums(folder).keys() == files - {"SHA256SUMS"}
    for name in ("Mikata.bat", "Mikata to Fiji.bat"):
        check_batch(folder / name)
    assert '"%~dp0python\\python.exe" -X utf8 -m mikata imagej' in (folder / "Mikata.bat").read_text()
    readme = (folder / "README.txt").read_text(encoding="utf-8-sig")
    assert "not for diagnosis" in readme
    assert "診断用ではありません" in readme
    assert "@@" not in readme
    # settings that were kept on the stick are never lost
    (folder / "profile").mkdir()
    with pytest.raises(OutputError, match="profile"):
        portable(folder, python=python, overwrite=True)


EVIL = [
    "../evil.exe", "/evil.exe", "C:/evil.exe", "a/../../evil", "..\\evil.exe", "\\\\server\\evil", "Lib/con.txt",
    "evil.exe:stream", "Python.EXE",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_a_zip_that_leads_elsewhere_is_refused(name: str, stick: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    python = embedded(tmp_path / "python.zip", **{name: b"evil"})
    if "\\" in name:  # zipfile turns them round on Windows alone
        assert name in zipfile.ZipFile(python).namelist()
    with pytest.raises(CollectError, match="not what it should be"):
        portable(out / "stick", python=python)
    assert list(out.iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_in_the_zip_is_refused(tmp_path: Path) -> None:
    python = embedded(tmp_path / "python.zip")
    with zipfile.ZipFile(python, "a") as content:
        entry = zipfile.ZipInfo("link")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        content.writestr(entry, "/etc")
    with pytest.raises(CollectError, match="or as a link"):
        embeddable.read(python)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python.exe": None}, "is not python.org's embeddable package"),
        ({"python312.dll": None}, "is not python.org's embeddable package"),
        ({"python312._pth": None}, "is not python.org's embeddable package"),
        ({"python.exe": program(0xAA64)}, "not for 64-bit Windows on Intel or AMD"),
        ({"python.exe": program(0x14C)}, "not for 64-bit Windows"),
        ({"python.exe": b"#!/bin/sh"}, "not for 64-bit Windows"),
        ({"big": bytes(201_000_000)}, "too large"),
        ({f"{n}": b"" for n in range(2_000)}, "too large"),
        (
            {"python312._pth": None, "python312.dll": None, "python310._pth": b".", "python310.dll": b""},
            r"holds Python 3\.10",
        ),
    ],
)
def test_other_zips_are_refused(changes: dict[str, bytes | None], words: str, tmp_path: Path) -> None:
    with pytest.raises(CollectError, match=words):
        embeddable.read(embedded(tmp_path / "python.zip", **changes))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="There is no file"):
        embeddable.read(tmp_path / "python.zip")
    (tmp_path / "python.zip").write_bytes(b"PK?")
    with pytest.raises(CollectError, match="not a readable zip"):
        embeddable.read(tmp_path / "python.zip")
    python = embedded(tmp_path / "python.zip")
    data = python.read_bytes()
    python.write_bytes(data.replace(SEARCH_PATH[:0] + b"PK", b"PK", 1)[:-30])
    with pytest.raises(CollectError, match="not a readable zip"):
        embeddable.read(python)


@pytest.mark.parametrize(
    "before",
    [
        SEARCH_PATH.decode(),
        "python312.zip\n.\nimport site\n",
        ".\npython312.zip\nlib/Site-Packages\nimport site",
    ],
)
def test_the_search_path_names_the_packages_once(before: str) -> None:
    lines = embeddable.with_packages(before).splitlines()
    assert {"python312.zip", "."} < set(lines)
    assert lines[2:] == ["Lib\\site-packages", "import site"]


def test_a_damaged_wheel_is_not_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path, "native")
    content = contents(path) | {"native.py": b"value = 2\n"}
    with zipfile.ZipFile(path) as wheel:
        record = wheel.read("native-1.0.dist-info/RECORD")
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in (content | {"native-1.0.dist-info/RECORD": record}).items():
            wheel.writestr(name, data)
    with pytest.raises(CollectError, match=r"native\.py is not what the wheel's own list says"):
        unpacking.install(closure.read(path), tmp_path / "python", {})


@pytest.mark.parametrize("name", ["../../outside.py", "a-1.0.data/data/../../../outside.py"])
def test_a_wheel_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    path = packed(tmp_path, "a", files={name: b""})
    with pytest.raises(CollectError, match="leads elsewhere"):
        unpacking.install(closure.read(path), tmp_path / "python", {})
    assert not list(tmp_path.rglob("outside.py"))


def test_packages_do_not_replace_each_others_files(tmp_path: Path) -> None:
    taken: dict[str, str] = {}
    one = packed(tmp_path, "one", files={"shared/__init__.py": b"", "shared/a.py": b"1"})
    two = packed(tmp_path, "two", files={"shared/__init__.py": b"", "Shared/A.py": b"2"})
    unpacking.install(closure.read(one), tmp_path / "python", taken)
    with pytest.raises(MikataError, match=r"two-1\.0.* would replace Lib/site-packages/Shared/A\.py"):
        unpacking.install(closure.read(two), tmp_path / "python", taken)
