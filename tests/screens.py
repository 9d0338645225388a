"""A screen in memory, for programs that show windows."""

from __future__ import annotations

import os
import shutil


def on_a_screen(width: int = 1280, height: int = 900) -> list[str]:
    """The words before a command that give it a screen of its own.

    xvfb-run looks for a free number and only then takes it, so two that start at once can choose the same: each
    process of a test run that is shared out looks from another number on.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = 99 + 100 * int(worker)
    program = shutil.which("xvfb-run") or "xvfb-run"
    return [program, "-a", "-n", str(first), "-s", f"-screen 0 {width}x{height}x24"]
