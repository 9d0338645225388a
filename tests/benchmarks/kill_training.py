"""Kill a training with SIGKILL at random moments, let it go on each time, and compare what comes out.

Usage: ``python tests/benchmarks/kill_training.py [--kills 20] [--epochs 25] [--network small_cnn] [--seed 0]``

Each trial begins a training, kills it at a moment drawn evenly over its whole length (its ending included), starts
it again with ``resume`` and compares the weights of the best and the last epoch and the history with those of a
training that was left alone: bit for bit. The state is written after every step as far as its writing allows, so
that many kills fall into the middle of a file.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

PROGRAM = Path(__file__).parents[1] / "training_program.py"


def write_images(folder: Path, count: int = 40) -> Path:
    """Noise in two classes: what is learnt does not matter, only that it is the same."""
    generator = np.random.default_rng(0)
    for i in range(count):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
    return folder


def start(data: Path, folder: Path, changes: str) -> subprocess.Popen[str]:
    """Begin, or go on where the folder holds a state."""
    words = [
        sys.executable,
        str(PROGRAM),
        str(data),
        str(folder),
        "--often",
        "--resume",
        "--changes",
        changes,
    ]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_until_begun(program: subprocess.Popen[str]) -> str:
    """What it said until its first step."""
    assert program.stdout is not None
    said = []
    while line := program.stdout.readline():
        said.append(line)
        if line.startswith("begun"):
            break
    return "".join(said)


def result(folder: Path) -> tuple[list[dict[str, torch.Tensor]], str]:
    """Weights of the best and the last epoch, and the history."""
    weights = [torch.load(folder / name, weights_only=True) for name in ("best.pt", "last.pt")]
    return weights, (folder / "history.json").read_text()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--network", default="small_cnn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    changes = json.dumps(
        {
            "network": options.network,
            "size": [32, 32],
            "batch": 8,
            "epochs": options.epochs,
            "early_stopping": 0,
        }
    )
    chance = random.Random(options.seed)
    different = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        data = write_images(home / "data")
        program = start(data, home / "whole", changes)
        wait_until_begun(program)
        began = time.monotonic()
        program.communicate()
        took = time.monotonic() - began
        expected, history = result(home / "whole")
        print(f"{options.network}, {options.epochs} epochs, {took:.1f} s left alone")
        for number in range(1, options.kills + 1):
            folder = home / str(number)
            program = start(data, folder, changes)
            wait_until_begun(program)
            moment = chance.uniform(0, took)
            time.sleep(moment)
            program.kill()
            program.communicate()
            left = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
            program = start(data, folder, changes)
            said = wait_until_begun(program)
            said += program.communicate()[0]
            found, again = result(folder)
            equal = again == history and all(map(same, found, expected))
            different += not equal
            where = next((line for line in said.splitlines() if line.startswith("Goes on")), "begins anew")
            if "history.json" in left:
                where = "had ended"
            print(
                f"{number:>3}  killed after {moment:6.2f} s  {where:<40} {'identical' if equal else 'DIFFERENT'}",
                flush=True,
            )
    print(f"{options.kills - different} of {options.kills} identical")
    raise SystemExit(bool(different))


if __name__ == "__main__":
    main()
