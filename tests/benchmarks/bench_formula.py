"""What a formula picture costs beside the published algorithm (NumPy and Pillow for every point), in one run.

Usage: ``python tests/benchmarks/bench_formula.py [--rounds 2] [--pictures 200]``

For each way of drawing, pictures by the published algorithm (tests/published_fractals.py) and by `mikata.fractals`
of the same systems, in turn; the times are processor times of one core, for each system the least of all rounds
(ours is drawn five times a round), since other programs on the machine only ever add to it; the ratio is the median
over the systems. Files are written by neither. Then the search: the time to decide on the same candidates. Last,
`pictures` on all cores, its start included, in real time beside the published algorithm's real time on one core.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import published_fractals as published
from mikata.fractals import Style, System, orbits, picture, pictures, streams, system
from mikata.fractals.systems import FILLING_RATE, _hopeless, filling_rate
from mikata.fractals.workers import available_cores

GOAL = 50


def drawn_plainly(one: System, style: Style, key: int) -> None:
    xs, ys = published.play(one.maps, one.probabilities, style.points, np.random.default_rng(key))
    columns, rows = published.pixels(xs, ys, style.size[0])
    if style.dots == "patch":
        published.patches_picture(columns, rows, style.size[0], random.Random(key))
    else:
        published.points_picture(columns, rows, style.size[0])


def decided_plainly(key: int) -> None:
    rng = np.random.default_rng(key)
    maps, probabilities = published.candidate(rng)
    with np.errstate(all="ignore"):
        xs, ys = published.play(maps.tolist(), probabilities.tolist(), 100_000, rng)
        columns, rows = published.pixels(xs, ys, 512)
    np.count_nonzero(published.points_picture(columns % 512, rows % 512, 512)[..., 0])


def decided(key: int) -> None:
    maps, probabilities = published.candidate(np.random.default_rng(key))
    cuts, source = orbits.thresholds(probabilities), streams.stream(0, key)
    lead_in = orbits.settled(maps, cuts)
    if lead_in is not None and not _hopeless(maps, cuts, lead_in, source):
        _ = filling_rate(orbits.orbit(maps, cuts, lead_in, 100_000, source)) >= FILLING_RATE


def took(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=200)
    options = parser.parse_args()
    found = [system(0, number) for number in range(3)]
    picture(found[0], 0, Style(), 0)
    print(f"{available_cores()} cores, Python {sys.version.split()[0]}, NumPy {np.__version__}, {os.name}")
    print(f"{'what':<44}{'published ms':>14}{'here ms':>10}{'ratio':>8}   goal {GOAL}")

    def row(name: str, plain: list[float], fast: list[float]) -> None:
        ratio = statistics.median(a / b for a, b in zip(plain, fast, strict=True))
        print(
            f"{name:<44}{statistics.median(plain) * 1e3:>14.1f}{statistics.median(fast) * 1e3:>10.2f}{ratio:>8.0f}"
        )

    plain_wall = 0.0
    for name, style in (
        ("patches, 362 px, 200,000 points (exe.sh)", Style((362, 362), points=200_000)),
        ("patches, 512 px, 100,000 points", Style((512, 512))),
        ("patches, 224 px, 100,000 points", Style((224, 224))),
        ("points, 512 px, 100,000 points", Style((512, 512), dots="point")),
    ):
        plain, fast, wall = [float("inf")] * len(found), [float("inf")] * len(found), float("inf")
        for turn in range(options.rounds if style.dots == "patch" else 5 * options.rounds):
            for number, one in enumerate(found):
                start = time.perf_counter()
                plain[number] = min(
                    plain[number],
                    took(lambda: drawn_plainly(one, style, turn), time.process_time),  # noqa: B023
                )
                wall = min(wall, time.perf_counter() - start)
                for _ in range(5):
                    fast[number] = min(
                        fast[number],
                        took(lambda: picture(one, 0, style, turn), time.process_time),  # noqa: B023
                    )
        row(name, plain, fast)
        if style.size == (224, 224):
            plain_wall = wall
    plain, fast = [], []
    for turn in range(20):
        plain.append(min(took(lambda: decided_plainly(turn), time.process_time) for _ in range(2)))  # noqa: B023
        fast.append(min(took(lambda: decided(turn), time.process_time) for _ in range(5)))  # noqa: B023
    print(
        f"{'search: one candidate (mean of 20)':<44}{statistics.mean(plain) * 1e3:>14.1f}"
        f"{statistics.mean(fast) * 1e3:>10.2f}{sum(plain) / sum(fast):>8.0f}"
    )
    count = options.pictures
    each = took(lambda: pictures(5, count // 5, 224, 0), time.perf_counter) / (count // 5 * 5)
    print(
        f"{f'{count} pictures, 224 px, all cores, real time':<44}{plain_wall * 1e3:>14.1f}{each * 1e3:>10.2f}"
        f"{plain_wall / each:>8.0f}"
    )


if __name__ == "__main__":
    main()
