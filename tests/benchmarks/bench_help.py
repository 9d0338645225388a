"""`mikata --help` against importing the command line library alone: run it, it prints a table.

Whole processes, in turn, so that a change of the machine's speed meets both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import cyclopts": [sys.executable, "-c", "import cyclopts; cyclopts.App"],
    "mikata --help": [sys.executable, "-m", "mikata", "--help"],
}
ROUNDS = 15


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_number in range(ROUNDS + 2):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            if round_number >= 2:  # the first two warm the file cache
                seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["import cyclopts"])
    print(f"{'whole process':<20}{'median ms':>12}{'ratio':>8}")
    for name, values in seconds.items():
        print(f"{name:<20}{1000 * statistics.median(values):>12.1f}{statistics.median(values) / base:>8.2f}")


if __name__ == "__main__":
    main()
