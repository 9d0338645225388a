"""What a macro says when it goes wrong, in ImageJ's words and with its line; and what it returns."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import jpype
import pytest
import scyjava

import mikata.imagej
from mikata.errors import ImageError, MacroError
from mikata.imagej.java import jclass

headless = "--gui" not in sys.argv
ij = mikata.imagej.start(headless=headless)

RETURNS = [
    ('return "日本 " + getArgument();', "日本 引数 (x)"),
    ("a = 1;", ""),
    ("exit();", ""),
    ('newImage("a", "8-bit", 8, 8, 1); run("Measure"); return "" + nResults;', "1"),
    ('run("Invert"); return "" + getPixel(2, 2);', "0"),
    ('x = eval("return \\"inner\\";"); return x + " outer";', "inner outer"),
    ("var total = 3;\nfunction twice(x) { return 2 * x; }\nreturn d2s(twice(total), 0);", "6"),
    ('setBatchMode(true); newImage("b", "8-bit", 8, 8, 1); close(); return getTitle();', "a"),
]
ERRORS = [
    ("a = 1;\nb = c;", "Undefined variable in line 2"),
    ('exit("nothing found: 日本");', "nothing found: 日本"),
    ('var a = 1;\nfunction f() { exit("in f"); }\nf();', "in f"),
    ('open("/no/such (file).tif");', "File not found: /no/such (file).tif"),
    ('a = 1;\nrun("No Such Command");', 'Unrecognized command: "No Such Command" in line 2'),
    ('x = eval("q = zz;");', "Undefined variable in line 1"),
    ('runMacro("/no/such.ijm");', "not found: /no/such.ijm"),
    ("a = newArray(1, 2);\n\nb = a[7];", "Index (7) out of 0-1 range in line 3"),
    ("getPixel(", "at the end of the text"),
    ('selectImage("nope");', '"nope" not found in line 1'),
    ('call("java.lang.Integer.parseInt", "x");', 'NumberFormatException: For input string: "x"'),
    ('close("*");\nrun("Gaussian Blur...", "sigma=2");', "There are no images open"),
]

for text, expected in RETURNS:
    assert ij.run_macro(text, "引数 (x)") == expected, text
for text, expected in ERRORS:
    started = time.monotonic()
    with pytest.raises(MacroError, match=re.escape(expected)) as stopped:
        ij.run_macro(text)
    assert "\n" not in str(stopped.value)
    assert time.monotonic() - started < 5, text  # nobody waited for a dialog
    assert jclass("ij.macro.Interpreter").getInstance() is None

# images of earlier macros are still there, and an error is forgotten by the next macro
ij.run_macro('newImage("earlier", "8-bit", 8, 8, 1);')
with pytest.raises(MacroError):
    ij.run_macro("b = c;")
assert str(ij.current().getTitle()) == "earlier"
assert ij.run_macro('newImage("kept", "8-bit", 8, 8, 1); return getTitle();') == "kept"
assert str(ij.current().getTitle()) == "kept"

# what a Python command noted is raised once the macro has stopped
refusal = ValueError("model 日本 not found")


def refuse(title: object) -> object:
    if str(title) != "Refuse...":
        return title
    ij.python_error = refusal
    raise jclass("java.lang.RuntimeException")(jclass("ij.Macro").MACRO_CANCELED)


listener = jpype.JProxy("ij.CommandListener", dict={"commandExecuting": refuse})
jclass("ij.Executer").addCommandListener(listener)
with pytest.raises(MacroError, match=r"^model 日本 not found$") as refused:
    ij.run_macro('run("Refuse...");\nexit("not reached");')
assert refused.value.__cause__ is refusal

# files: UTF-8 with and without byte order mark, CP932, and none of them
with tempfile.TemporaryDirectory(prefix="山田 太郎 (test) ") as folder:
    file = Path(folder, "マクロ [1].ijm")
    for encoding in ("utf-8", "utf-8-sig", "cp932"):
        file.write_bytes('return "山田 " + getArgument();'.encode(encoding))
        assert ij.run_macro_file(file, "x") == "山田 x", encoding
    file.write_bytes("a = 1;\nb = 日本;".encode())
    for path, expected in ((file, re.escape(file.name)), (file.with_name("none.ijm"), "cannot be read")):
        with pytest.raises(MacroError, match=expected):
            ij.run_macro_file(path)
    file.write_bytes(b"\x81\xff\xfe\x00")
    with pytest.raises(MacroError, match="UTF-8 or CP932"):
        ij.run_macro_file(file)

    # ImageJ writes and opens such a path; what it cannot open is an ImageError
    saved = Path(folder, "画像 (1).tif")
    ij.run_macro('saveAs("Tiff", getArgument());', str(saved))
    assert saved.is_file()
    assert ij.open(saved).getWidth() == 8
    saved.write_text("no picture")
    for bad in (saved, saved.with_name("none.tif")):
        with pytest.raises(ImageError, match=re.escape(str(bad))):
            ij.open(bad)

# a plugin that asks for an image where there is none must not end the process
ij.close_all()
assert ij.current() is None
if headless:
    with pytest.raises(jpype.JException, match="Macro canceled"):
        jclass("ij.IJ").getImage()

assert str(scyjava.jimport("java.lang.String")("x")) == "x"
assert scyjava.to_python(scyjava.to_java([1, 2])) == [1, 2]
assert mikata.imagej.start(headless=headless) is ij
print(f"{len(RETURNS)} results, {len(ERRORS)} errors")
