"""What Fiji adds to a call: an empty one, and Predict Images on 2048 x 2048 pixels against the same within Python.

Usage: ``python tests/benchmarks/bench_fiji.py [--repeats 15] [--networks small_cnn resnet18]``

Fiji and Python take turns in one run, with the same image and package: the ratio is the median of (time of the call in
Fiji, from the command to the row in the Results table / time of the same call in this process right after it). An
empty call goes from Groovy to Python and back. Beside it, the same Predict as a line of a macro: ImageJ2 makes a new
script engine for each run of a script, which is not ours to save.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

import fijis
import mikata
from mikata import images
from mikata.imagej import installing
from packages import write_package


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--networks", nargs="+", default=["small_cnn", "resnet18"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(fijis.folder(), folder / "Fiji.app")
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        installing.install(folder / "Fiji.app", "en")
        image = folder / "image.tif"
        pixels = np.random.default_rng(0).integers(0, 255, (2048, 2048), np.uint8)
        tifffile.imwrite(image, pixels)
        print(f"{'':<34}{'median ms':>10}{'ratio':>8}{'low':>8}{'high':>8}")
        for network in chosen.networks:
            model = write_package(folder / network, network)
            measure(fijis.Fiji(folder / "Fiji.app"), network, model, image, chosen.repeats)


def measure(fiji: fijis.Fiji, network: str, model: Path, image: Path, repeats: int) -> None:
    os.environ["ARGUMENTS"] = f"{model}\n{image}"
    process = fiji.start("--run", fijis.PROGRAMS / "calls.groovy", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    def call(what: str) -> float:
        print(what, file=process.stdin, flush=True)
        return float(wait_for(process, "MS ").split()[1])

    wait_for(process, "READY")
    opened = images.read(image)
    ways: dict[str, list[tuple[float, float]]] = {"Predict in Fiji": [], "Predict by a macro": []}
    for number in range(repeats + 2):
        for name, what in (("Predict in Fiji", "predict"), ("Predict by a macro", "macro")):
            there = call(what)
            start = time.perf_counter()
            mikata.predict(opened, model=model)
            here = 1000 * (time.perf_counter() - start)
            if number >= 2:
                ways[name].append((there, here))
    empty = [call("ping") for _ in range(200)][50:]
    process.stdin.close()
    process.wait(30)
    print(f"{network + ', empty call':<34}{statistics.median(empty):>10.1f}")
    for name, pairs in ways.items():
        ratios = sorted(there / here for there, here in pairs)
        median = statistics.median(there for there, _ in pairs)
        print(
            f"{network + ', ' + name:<34}{median:>10.0f}{statistics.median(ratios):>8.2f}"
            f"{ratios[0]:>8.2f}{ratios[-1]:>8.2f}"
        )


def wait_for(process: subprocess.Popen[str], start: str) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        if line.startswith(start):
            return line
        seen.append(line)
    raise SystemExit("Fiji ended:\n" + "".join(seen))


if __name__ == "__main__":
    main()
