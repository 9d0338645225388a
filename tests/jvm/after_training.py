"""A training in a process where ImageJ runs leaves Java's signal handlers alone; argument: labelled images."""

from __future__ import annotations

import ctypes
import signal
import sys
import tempfile
from pathlib import Path

import mikata.imagej
from mikata import datasets
from mikata.training import recipe, train


def handler(number: int) -> bytes:
    """The kernel's entry of a signal's handler (its first eight bytes: the address)."""
    entry = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).sigaction(number, None, entry) == 0
    return entry.raw[:8]


JAVAS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
ij = mikata.imagej.start()
before = [handler(number) for number in JAVAS]
assert any(before[0]), "Java has set none"
small = recipe.read(Path("texture")).change(epochs=1, size=[32, 32])
with tempfile.TemporaryDirectory() as folder:
    train(datasets.read(Path(sys.argv[1])), small, folder=Path(folder) / "run")
assert [handler(number) for number in JAVAS] == before
for _ in range(200):  # Java compiles what is run often, and its compiled code relies on the handler
    ij.run_macro(
        'newImage("a", "8-bit", 64, 64, 1); run("Invert"); run("Gaussian Blur...", "sigma=2"); close();'
    )
print("Java goes on")
