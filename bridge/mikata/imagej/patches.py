"""ImageJ made fit to live inside a Python process: what must be set before it is used.

Without a window the `ij1-patcher` jar does the work (it is what Fiji uses): menus, dialogs and
windows become things that need no screen. One repair is added: where a plugin asks for the current
image and there is none, ImageJ without a window ends Java, and with it Python, with exit status 0.
"""

from __future__ import annotations

import colorsys
import contextlib
from typing import Any

import numpy as np
import platformdirs

from mikata.imagej import pixels
from mikata.imagej.derived import Source, define
from mikata.imagej.java import jclass

_PACKAGE = "net.imagej.patcher"

_STARTER = Source(
    name=f"{_PACKAGE}.MikataStarter",
    interfaces=(f"{_PACKAGE}.LegacyInjector$Callback",),
    constructors=("public MikataStarter() { super(); }",),
    methods=(
        f"public void call({_PACKAGE}.CodeHacker hacker) {{"
        ' hacker.replaceCallInMethod("ij.IJ", "public static ij.ImagePlus getImage()",'
        ' "java.lang.System", "exit", "throw new RuntimeException(ij.Macro.MACRO_CANCELED);"); }',
        "public static void patch(ClassLoader loader) {"
        f" {_PACKAGE}.LegacyInjector injector = new {_PACKAGE}.LegacyInjector();"
        f" injector.after.add(new {_PACKAGE}.MikataStarter());"
        f" {_PACKAGE}.LegacyEnvironment made = new {_PACKAGE}.LegacyEnvironment(loader, true, injector);"
        " made.disableInitializer();"
        " made.noPluginClassLoader();"
        " made.suppressIJ1ScriptDiscovery();"
        " made.applyPatches(); }",
    ),
)


def make_headless() -> None:
    """Patch ImageJ in the running, headless JVM; no class of ``ij`` may have been loaded before."""
    anchor = jclass(f"{_PACKAGE}.LegacyInjector").class_
    define([_STARTER], anchor).patch(anchor.getClassLoader())


def settle() -> None:
    """Give ImageJ a home of its own and the colours of ROI groups.

    ImageJ takes the working directory for its home, and would run the plugins and start-up macros
    that lie there by chance.
    """
    home = platformdirs.user_data_path("mikata", appauthor=False) / "imagej"
    with contextlib.suppress(OSError):  # a home that cannot be made is one without plugins
        (home / "plugins").mkdir(parents=True, exist_ok=True)
    _set("ij.Prefs", "ImageJDir", str(home))
    # ImageJ looks for Glasbey's colour table in a file that is not in its jar, and complains in the
    # log for every ROI of a group. These are as far apart: hues by the golden angle.
    colours = [
        colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.6 + n % 3 * 0.2, 1 - n // 3 % 3 * 0.2) for n in range(256)
    ]
    table = (np.array(colours).T * 255).round().astype(np.uint8)
    lut = jclass("ij.process.LUT")(*(pixels.to_java_array(row) for row in table))
    _set("ij.gui.Roi", "glasbeyLut", lut)


def _set(owner: str, name: str, value: Any) -> None:
    """Set a static field that ImageJ offers no other way to set."""
    field = jclass(owner).class_.getDeclaredField(name)
    field.setAccessible(True)
    field.set(None, value)
