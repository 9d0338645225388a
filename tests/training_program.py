"""A training as a program of its own, for tests and benchmarks that kill it or start several at once.

Usage: ``python training_program.py DATA FOLDER [--often] [--resume] [--changes JSON] ...``

It writes ``history.json`` (of each process where there are several) into FOLDER and prints ``begun`` when the
training itself begins. ``--often`` writes the state after every step.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch

from mikata import datasets
from mikata.errors import TrainingError
from mikata.training import checkpoints, recipe, train
from mikata.training.loop import Loop
from mikata.training.processes import processes
from mikata.types import Progress


class Printing(Progress):
    """Says once that it has begun, and what is no step."""

    begun = False

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        if not message.startswith("Epoch"):
            print(message, flush=True)
        elif not self.begun:
            self.begun = True
            print("begun", flush=True)


def befall(how: str | None, kill_in_step: int) -> None:
    """Let something happen to this process once it has trained a while."""
    original = Loop._learn
    steps = 0

    def learn(self: Loop, *arguments: Any) -> bool:
        nonlocal steps
        steps += 1
        if steps == kill_in_step:
            os.kill(os.getpid(), signal.SIGKILL)
        if steps == 5 and how == "error":
            raise TrainingError("the second process has had enough")
        if steps == 5 and how == "cancel":
            self.watch.interrupted = lambda: True
        done = original(self, *arguments)
        return done and not (steps == 5 and how == "memory")

    Loop._learn = learn  # type: ignore[method-assign]


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--often", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--changes", type=json.loads, default={})
    parser.add_argument("--no-dropout", action="store_true", help="its draws differ from process to process")
    parser.add_argument("--kill-in-step", type=int, default=0, help="the second process, or the only one")
    parser.add_argument(
        "--second", choices=["error", "cancel", "memory"], help="what befalls the second process"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.often:
        checkpoints._WITHIN_EPOCH_SECONDS = 0.0
        checkpoints._PATIENCE = 1
    if options.no_dropout:
        torch.nn.Dropout.forward = lambda self, x: x  # type: ignore[method-assign]
    if processes().rank == processes().count - 1:
        befall(options.second, options.kill_in_step)
    run = train(
        datasets.read(options.data),
        recipe.read(changes=options.changes),
        folder=options.folder,
        progress=Printing(),
        resume=options.resume,
    )
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]
    result = {"history": history, "best_epoch": run.best_epoch, "stopped_by": run.stopped_by}
    name = f"history {processes().rank}.json" if processes().count > 1 else "history.json"
    (options.folder / name).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
