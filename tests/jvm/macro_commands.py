"""Program: Mikata's commands in macros of one running ImageJ. Prints what it found as JSON.

python macro_commands.py IMAGE PACKAGE FOLDER [--gui] [--fiji DIR]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mikata import imagej
from mikata.errors import MacroError
from mikata.imagej.tables import from_results

parser = argparse.ArgumentParser()
parser.add_argument("image", type=Path)
parser.add_argument("package", type=Path)
parser.add_argument("folder", type=Path)
parser.add_argument("--gui", action="store_true")
parser.add_argument("--fiji", type=Path)
arguments = parser.parse_args()

ij = imagej.start(headless=not arguments.gui, fiji=arguments.fiji)
found: dict[str, object] = {}


def message(text: str) -> str:
    """The message of a macro that must fail."""
    try:
        ij.run_macro(text)
    except MacroError as error:
        return str(error)
    raise SystemExit(f"this macro should have failed: {text}")


model = f"model=[{arguments.package}]"
opened = f'open("{arguments.image.as_posix()}");'
found["errors"] = {
    "no image": message(f'run("Grad-CAM Heat Map...", "{model}");'),
    "unknown key": message(f'{opened} run("Grad-CAM Heat Map...", "{model} targt=all");'),
    "unknown class": message(f'run("Grad-CAM Heat Map...", "{model} target=brik");'),
    "unknown layer": message(f'run("Grad-CAM Heat Map...", "{model} layer=nowhere");'),
    "unknown lut": message(f'run("Grad-CAM Heat Map...", "{model} lut=Fir");'),
    "out of range": message(f'run("Grad-CAM Heat Map...", "{model} opacity_percent=101");'),
    "no model": message('run("Grad-CAM Heat Map...", "target=all");'),
    "no package": message(f'run("Predict Images...", "model=[{arguments.folder}]");'),
    "flag": message(f'run("Grad-CAM Heat Map...", "{model} hide_colour_bar=yes");'),
    "constant": message(f'newImage("grey", "8-bit", 64, 64, 1); run("Predict Images...", "{model}");'),
    "not a number": message(
        f'newImage("nan", "32-bit ramp", 64, 64, 1); setPixel(3, 3, NaN); run("Predict Images...", "{model}");'
    ),
    "in colour": message(
        f'newImage("rgb", "RGB ramp", 64, 64, 1); setPixel(3, 3, 255); run("Predict Images...", "{model}");'
    ),
    "variable": message(f'run("Predict Images...", "{model} batch=&nothing");'),
    "command of ImageJ": message('run("No Such Command");'),
}
ij.close_all()

macro = f"""
{opened}
id = getImageID();
k = 60;
run("Grad-CAM Heat Map...", "{model} target=all opacity_percent=&k lut=Inferno");
saveAs("Tiff", "{(arguments.folder / "heat.tif").as_posix()}");
selectImage(id);
run("Invert");
run("Invert");
saveAs("Tiff", "{(arguments.folder / "overlay.tif").as_posix()}");
return "" + nResults + " " + Overlay.size;
"""
found["returned"] = ij.run_macro(macro)
found["rows"] = from_results().rows
found["columns"] = from_results().columns
ij.close_all()
# a second run replaces the heat of the first, and flags may be written out
again = ij.run_macro(
    f'{opened} makeRectangle(5, 5, 20, 20); Overlay.addSelection("red"); run("Clear Results");'
    f' run("Grad-CAM Heat Map...", "{model} result=overlay hide_colour_bar=true"); n = Overlay.size;'
    f' run("Grad-CAM Heat Map...", "{model} result=overlay hide_colour_bar=true"); return "" + n + " " + Overlay.size + " " + nImages;'
)
found["again"] = again
ij.close_all()

# the table of two commands: no figure of one in the rows of the other
ij.run_macro(
    f'{opened} run("Clear Results"); run("Predict Images...", "{model}"); run("Grad-CAM Heat Map...", "{model}");'
)
table = from_results()
found["mixed"] = {
    c: [None if v != v else v for v in column]
    for c, column in zip(table.columns, zip(*table.rows, strict=True), strict=True)
}
# an image left empty is the current one; several are named with ; between
ij.close_all()
ij.run_macro(f'{opened} run("Clear Results");')
other = arguments.image.with_name("scan.dcm").as_posix()
ij.run_macro(f'run("Predict Images...", "images=[] {model}");')
ij.run_macro(f'run("Predict Images...", "images=[{arguments.image.as_posix()};{other}] {model}");')
found["several"] = [row[0] for row in from_results().rows]
ij.close_all()
if arguments.gui:  # without options as well a macro gets the defaults, and no dialog
    found["errors"]["no options"] = message(f'{opened} run("Predict Images...");')
    found["errors"]["empty options"] = message('run("Predict Images...", "");')
    ij.close_all()

dicom = arguments.image.with_name("scan.dcm").as_posix()
for keep in ("", "keep_metadata=false", "result=heat-map", "keep_metadata"):
    target = (arguments.folder / f"dicom {keep}.tif").as_posix()
    ij.run_macro(
        f'open("{dicom}"); id = getImageID(); run("Grad-CAM Heat Map...", "{model} {keep}");'
        f' selectImage(id); saveAs("Tiff", "{target}");'
    )
    ij.close_all()
print("FOUND " + json.dumps(found))
