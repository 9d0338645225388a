"""Errors that ImageJ shows to a person while a program runs a macro: noted, and no dialog waits.

The macro's own errors are the interpreter's business (`mikata.imagej.interpreter`). These are the
others: a command's message dialog, which would wait for a click for ever; an exception inside a
plugin, which ImageJ writes into its log or into a window and then goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mikata.imagej.derived import Source, define
from mikata.imagej.interpreter import one_line
from mikata.imagej.java import jclass
from mikata.language import say

_MACRO_ERROR = "Macro Error"
"""Title of the dialog in which ImageJ's own interpreter reports; its words cannot be had."""

# In Java, not in Python: it works on AWT's thread, which must never wait for Python's lock. And by
# looking again and again: a dialog that is closed in the moment it opens is gone, but the thread that
# opened it starts to wait for it just then, until it is closed once more.
_WATCH = Source(
    name="ij.macro.MikataWatch",
    interfaces=("java.awt.event.ActionListener", "ij.IJ$ExceptionHandler"),
    fields=(
        "public java.util.List problems = new java.util.Vector();",
        "java.util.List closed = new java.util.Vector();",
    ),
    constructors=("public MikataWatch() { super(); }",),
    methods=(
        "public void handle(Throwable problem) {"
        " Throwable cause = problem.getCause() == null ? problem : problem.getCause();"
        " ij.IJ.log(cause.toString());"
        " problems.add(cause.toString()); }",
        # ImageJ keeps the words of an error, and only of an error, until somebody asks for them; the
        # dialog of the interpreter is the exception (it is shown for macros that plugins start)
        "String words(java.awt.Dialog dialog) {"
        f' if ("{_MACRO_ERROR}".equals(dialog.getTitle())) return dialog.getTitle();'
        " return dialog instanceof ij.gui.MessageDialog || dialog instanceof ij.gui.HTMLDialog"
        "  ? ij.IJ.getErrorMessage() : null; }",
        "public void actionPerformed(java.awt.event.ActionEvent tick) {"
        " java.awt.Window[] windows = java.awt.Window.getWindows();"
        " for (int n = 0; n < windows.length; n++) {"
        "  if (!(windows[n] instanceof java.awt.Dialog) || !windows[n].isShowing()) continue;"
        "  String words = closed.contains(windows[n]) ? null : words((java.awt.Dialog) windows[n]);"
        "  if (words != null) { problems.add(words); closed.add(windows[n]); }"
        " }"
        " for (int n = 0; n < closed.size(); n++) ((java.awt.Window) closed.get(n)).dispose(); }",
    ),
)
_LOOK_EVERY_MS = 50


@functools.cache
def _watch_class() -> Any:
    return define([_WATCH], jclass("ij.macro.Interpreter").class_)


@contextmanager
def watched(*, headless: bool) -> Iterator[list[str]]:
    """Note what goes wrong in ImageJ; the list is filled when the block ends.

    With windows, error dialogs are closed as soon as they open, and a window with an exception is
    noted. Messages that a macro itself shows stay open: they are meant for a person.
    """
    found: list[str] = []
    watch = _watch_class()()
    ij = jclass("ij.IJ")
    ij.setExceptionHandler(watch)
    if not headless:
        earlier = _exception_windows()
        timer = jclass("javax.swing.Timer")(_LOOK_EVERY_MS, watch)
        timer.start()
    try:
        yield found
    finally:
        ij.setExceptionHandler(None)
        if not headless:
            timer.stop()
            found += [_first_line(window) for window in _exception_windows() if window not in earlier]
        found += [_in_words(str(noted)) for noted in watch.problems]


def _in_words(noted: str) -> str:
    return say("a macro that was called stopped") if noted == _MACRO_ERROR else one_line(noted)


def _exception_windows() -> list[Any]:
    """Windows in which ImageJ shows an exception; it goes on with the macro meanwhile."""
    windows = jclass("ij.WindowManager").getNonImageWindows() or ()
    return [window for window in windows if str(window.getTitle()) == "Exception"]


def _first_line(window: Any) -> str:
    """The exception's line in a window that starts with ImageJ's version and memory."""
    for line in str(window.getTextPanel().getText()).splitlines():
        if "Exception" in line or "Error" in line:
            return one_line(line)
    return say("an exception in a plugin")
