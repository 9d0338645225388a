"""ImageJ in process. A JVM cannot be started twice, so each state is a program in tests/jvm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from skimage import data

from labelled import write_folders
from mikata import images
from packages import write_package
from screens import on_a_screen

PROGRAMS = Path(__file__).parent / "jvm"


def run(
    name: str,
    *arguments: str | Path,
    screen: bool = False,
    status: int = 0,
    timeout: float = 240,
    env: dict[str, str] | None = None,
) -> str:
    """Run a program without any Java on its path, and return what it printed."""
    without_java = {k: v for k, v in os.environ.items() if k not in ("JAVA_HOME", "JDK_HOME", "MIKATA_FIJI")}
    folders = [f for f in os.environ["PATH"].split(os.pathsep) if not shutil.which("java", path=f)]
    without_java["PATH"] = os.pathsep.join(folders)
    command = [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]
    if screen:
        missing = [tool for tool in ("xvfb-run", "import") if shutil.which(tool) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} not installed: no screen to show windows on")
        command = [*on_a_screen(height=800), *command]
        without_java["PATH"] = os.environ["PATH"]  # xvfb-run and import may live beside java
    done = subprocess.run(
        command, env=without_java | (env or {}), capture_output=True, timeout=timeout, check=False
    )
    output = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    assert done.returncode == status, output[-4000:]
    return output


def test_round_trips_are_exact() -> None:
    assert "exact" in run("round_trips")


@pytest.mark.parametrize("screen", [False, True], ids=["headless", "window"])
def test_macros_report_errors_without_dialogs(screen: bool) -> None:
    assert "8 results" in run("macro_errors", *(["--gui"] if screen else []), screen=screen)


@pytest.mark.parametrize(("how", "status"), [("0", 0), ("3", 3), ("raise", 1), ("java", 1)])
def test_exit_status_is_python_s(how: str, status: int) -> None:
    run("exit_status", how, status=status, timeout=90)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident size from /proc")
def test_memory_stays_flat(hard_path: Path) -> None:
    picture = images.write_tiff(hard_path / "れんが.tif", images.from_array(data.brick()[:200, :260], "YX"))
    print(run("memory", picture, write_package(hard_path / "model"), timeout=1200))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no C locale")
def test_japanese_paths_in_the_c_locale(hard_path: Path) -> None:
    output = run("c_locale", hard_path, env={"LC_ALL": "C", "LANG": "C"})
    assert "日本語" in output
    assert "画像 (1).tif" in output


def test_window(tmp_path: Path) -> None:
    picture = tmp_path / "screen.png"
    assert "closed" in run("window", picture, screen=True)
    assert picture.stat().st_size > 5000


@pytest.mark.parametrize("route", ["start", "attach"])
def test_fiji(shared: Path, hard_path: Path, route: str) -> None:
    fiji = hard_path / "Fiji.app"
    shutil.copytree(shared / "Fiji.app", fiji)
    run("fiji", fiji, route, status=5)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_java_outlives_a_training(tmp_path: Path) -> None:
    assert "Java goes on" in run("after_training", write_folders(tmp_path / "data"))


def test_files(tmp_path: Path) -> None:
    run("files", tmp_path)


def test_both_doors_give_the_same_values(tmp_path: Path) -> None:
    assert "the same through both doors" in run("doors", tmp_path)


def test_a_forgotten_patient_is_in_no_file(tmp_path: Path) -> None:
    assert "forgotten" in run("forgetting", tmp_path)


def test_tables() -> None:
    run("results")


def test_a_jvm_of_somebody_else(tmp_path: Path) -> None:
    run("own_jvm")
