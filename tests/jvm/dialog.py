"""Program (needs a screen): the menu, a dialog with a wrong and then a right value, what is recorded.

python dialog.py PACKAGE IMAGE
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mikata import imagej
from mikata.imagej.java import jclass
from mikata.images import read

package, image = map(Path, sys.argv[1:3])
ij = imagej.start(headless=False)
ActionEvent, Window = jclass("java.awt.event.ActionEvent"), jclass("java.awt.Window")
found: dict[str, Any] = {}


def press(component: Any) -> None:
    """Press a button or choose a menu item, as the mouse does: through AWT's queue."""
    queue = jclass("java.awt.Toolkit").getDefaultToolkit().getSystemEventQueue()
    queue.postEvent(ActionEvent(component, ActionEvent.ACTION_PERFORMED, component.getLabel()))


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true value of `what`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.1)
    print("waited in vain for", what.__name__, found)
    os._exit(1)


def dialog() -> Any:
    """The command's dialog, once it can be used."""
    kind = jclass("ij.gui.GenericDialog")
    return next((w for w in Window.getWindows() if isinstance(w, kind) and w.isShowing()), None)


def message() -> Any:
    """ImageJ's error message."""
    kind = jclass("ij.gui.MessageDialog")
    return next((w for w in Window.getWindows() if isinstance(w, kind) and w.isShowing()), None)


def heat() -> Any:
    """The window that the command opens."""
    return jclass("ij.WindowManager").getImage(f"{image.stem} heat")


jclass("ij.Prefs").set("mikata.grad_cam.target", "predicted")
recorder = jclass("ij.plugin.frame.Recorder")()
shown = ij.show(read(image))
plugins = jclass("ij.Menus").getImageJMenu("Plugins")
root = plugins.getItem(plugins.getItemCount() - 1)
menus = [root.getItem(i) for i in range(root.getItemCount())]
found["menu"] = {
    str(m.getLabel()): [str(m.getItem(i).getLabel()) for i in range(m.getItemCount())] for m in menus
}
press(next(m for m in menus if str(m.getLabel()) == "Explain").getItem(0))

asked = wait_for(dialog)
fields = list(asked.getStringFields())
fields[1].setText(str(package))
fields[4].setText("500")
press(asked.getButtons()[0])
told = wait_for(message)
labels = [c for c in told.getComponents() if hasattr(c, "getText")]
found["told"] = " ".join(str(w.getTitle()) for w in [told])
told.dispose()

asked = wait_for(dialog)
fields = list(asked.getStringFields())
found["kept"] = [str(fields[1].getText()), str(fields[4].getText())]
fields[2].setText("all")
fields[4].setText("70")
press(asked.getButtons()[0])
wait_for(heat)
found["overlay"] = int(shown.getOverlay().size())
found["recorded"] = str(recorder.getText())
print("FOUND " + json.dumps(found), flush=True)
os._exit(0)
