"""deepImageJ's own code as the judge of a package; it is in the shared folder and needs Java and Maven."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def run_in_deepimagej(shared: Path, package: Path) -> None:
    """Import a package and run it there, with both engines and by macro; its test output must come out."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"deepImageJ's code needs {' and '.join(missing)} on the PATH")
    done = subprocess.run(
        ["bash", str(shared / "deepimagej" / "check.sh"), "--atol=1e-4", "--rtol=0", str(package)],
        capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=600, check=False,
    )  # fmt: skip
    if done.returncode and "cannot fetch" in done.stdout:
        pytest.skip(f"deepImageJ's engines are not here: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "RESULT: PASS (0 failures" in done.stdout
    assert "[PASS] libtorch 1.13.1" in done.stdout
    assert "[PASS] macro" in done.stdout
