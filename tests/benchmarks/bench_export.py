"""Seconds to export and check a U-Net and a classifier that explains itself; the goal for a U-Net is 60 at most.

Usage: ``python tests/benchmarks/bench_export.py``
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Literal

from mikata import packaging, shipped
from mikata.packaging.checks import examine_package
from mikata.types import SILENT

GOAL_S = 60.0


def main() -> None:
    """Print a row for each package."""
    print(
        f"{'package':12} {'for':12} {'export s':>9} {'check s':>9} {'both s':>9}   goal {GOAL_S:.0f} (U-Net)"
    )
    cases: tuple[tuple[str, Literal["deepimagej", "zoo"], bool], ...] = (
        ("nuclei", "deepimagej", False),
        ("nuclei", "zoo", False),
        ("chest_view", "deepimagej", True),
    )
    for name, reader, explain in cases:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            made = packaging.export(
                shipped.models()[name], Path(folder) / "package", reader=reader, explain=explain, progress=SILENT
            )  # fmt: skip
            exported = time.perf_counter()
            found = examine_package(made.folder, reader, progress=SILENT)
            checked = time.perf_counter()
        what = f"{name}{' explain' if explain else ''}"
        print(
            f"{what:12} {reader:12} {exported - began:9.1f} {checked - exported:9.1f} {checked - began:9.1f}   "
            f"{len(found.failed)} points failed"
        )


if __name__ == "__main__":
    main()
