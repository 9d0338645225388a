"""A Fiji with Mikata's menu, started from Python: its scripts reach this process, and start no other.

Arguments: Fiji's folder, a package, an image.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import jpype
import pytest

import mikata
import mikata.imagej
from mikata.errors import MacroError

folder, model, image = map(Path, sys.argv[1:])
ij = mikata.imagej.start(fiji=folder)
ij.run_macro(f'open("{image}"); run("Predict Images...", "model=[{model}]");')
assert len(ij.results().rows) == 1

script = next((folder / "scripts" / "Plugins" / "Mikata").rglob("Predict_Images*.groovy"))
inputs = jpype.JClass("java.util.HashMap")()
inputs.put("model", str(model))
service = ij.gateway.script()
service.run(jpype.JClass("java.io.File")(str(script)), True, inputs).get()
rows = ij.results().rows
assert len(rows) == 2
assert rows[0] == rows[1]
assert rows[0][4] == mikata.predict(mikata.images.read(image), model=model).tables[0].rows[0][4]

with pytest.raises(MacroError, match="Predict Images: model is missing"):
    ij.run_macro('run("Predict Images...");')
for status in Path("/proc").glob("[0-9]*/status"):
    with contextlib.suppress(OSError):  # it has ended meanwhile
        if f"PPid:\t{os.getpid()}\n" in status.read_text():
            assert b"imagej.worker" not in status.with_name("cmdline").read_bytes()
sys.exit(5)
