"""Runs macro text with ImageJ's own interpreter, and turns its dialogs into an exception.

ImageJ reports a macro's error in a modal dialog (or, headless, on Java's error stream), and returns
``[aborted]``. A program needs the words and the line. Three small Java classes, derived from
ImageJ's interpreter while the program runs (by Javassist, which is one of the four jars), note the
words instead of showing them; everything else is ImageJ's own.
"""

from __future__ import annotations

import functools
from typing import Any

from mikata.imagej.derived import Source, define
from mikata.imagej.java import jclass
from mikata.language import say

_CLASSES = (
    Source(
        name="ij.macro.MikataFunctions",
        parent="ij.macro.Functions",
        fields=("java.util.List problems;",),
        constructors=(
            "MikataFunctions(ij.macro.Interpreter owner, ij.macro.Program program, java.util.List problems) {"
            " super(owner, program); this.problems = problems; }",
        ),
        methods=(
            # exit("text") shows a dialog and stops; exit() stops in silence
            "void exit() {"
            " String text = null;"
            " if (interp.nextToken() == '(') {"
            "  interp.getLeftParen();"
            "  if (interp.nextToken() != ')') text = getString();"
            "  interp.getRightParen();"
            " }"
            " if (text != null) problems.add(text);"
            " interp.finishUp();"
            " throw new RuntimeException(ij.Macro.MACRO_CANCELED); }",
            # without a window ImageJ ends Java where it misses an image after a first error
            "ij.ImagePlus getImage() {"
            " if (ij.WindowManager.getCurrentImage() == null) {"
            '  interp.error("There are no images open");'
            "  throw new RuntimeException(ij.Macro.MACRO_CANCELED);"
            " }"
            " return super.getImage(); }",
            # a macro called by a macro is interpreted, and its errors noted, in the same way
            "String runMacro(boolean isText) {"
            " interp.getLeftParen();"
            " String first = getString();"
            " String second = null;"
            " if (interp.nextToken() == ',') { interp.getComma(); second = getString(); }"
            " interp.getRightParen();"
            " ij.plugin.Macro_Runner runner = ij.macro.MikataRunner.make(problems);"
            " if (!isText) return runner.runMacroFile(first, second);"
            " if (second == null) return runner.runMacro(first, second);"
            ' if (first.equals("script") || first.equals("js")) return runner.runJavaScript(second, "");'
            ' if (first.equals("bsh")) return ij.plugin.Macro_Runner.runBeanShell(second, "");'
            ' if (first.equals("python")) return ij.plugin.Macro_Runner.runPython(second, "");'
            " return runner.runMacro(first, second); }",
        ),
    ),
    Source(
        name="ij.macro.MikataInterpreter",
        parent="ij.macro.Interpreter",
        fields=("java.util.List problems;",),
        constructors=(
            "public MikataInterpreter(java.util.List problems) { super(); this.problems = problems; }",
        ),
        methods=(
            "public void run(ij.macro.Program program) {"
            " this.func = new ij.macro.MikataFunctions(this, program, problems);"
            " super.run(program); }",
            # without windows ImageJ forgets all images when a macro fails, those of earlier macros too
            "void error(String text) {"
            " java.util.Vector images = imageTable;"
            " java.util.Vector order = imageActivations;"
            " try { super.error(text); } finally {"
            "  if (ij.IJ.getInstance() == null) {"
            "   ij.macro.Interpreter.batchMode = true;"
            "   ij.macro.Interpreter.imageTable = images;"
            "   ij.macro.Interpreter.imageActivations = order; } } }",
            "void showError(String title, String text, String[] variables) { problems.add(text); }",
            # after an exception ImageJ's own clean-up waits two seconds for a macro that has ended
            "public void release(ij.macro.Interpreter earlier) {"
            " this.ignoreErrors = true; this.done = true; ij.macro.Interpreter.setInstance(earlier); }",
        ),
    ),
    Source(
        name="ij.macro.MikataRunner",
        parent="ij.plugin.Macro_Runner",
        fields=("java.util.List problems;",),
        constructors=("public MikataRunner(java.util.List problems) { super(); this.problems = problems; }",),
        methods=(
            # returned as its parent, so that the caller can be checked before this class is there
            "public static ij.plugin.Macro_Runner make(java.util.List problems) {"
            " return new ij.macro.MikataRunner(problems); }",
            "public static ij.macro.MikataInterpreter interpreter(java.util.List problems) {"
            " return new ij.macro.MikataInterpreter(problems); }",
            "public String runMacro(String text, String argument) {"
            " ij.macro.Interpreter earlier = ij.macro.Interpreter.getInstance();"
            " ij.macro.MikataInterpreter own = new ij.macro.MikataInterpreter(problems);"
            " try { return own.run(text, argument); }"
            " catch (RuntimeException stop) {"
            "  own.release(earlier);"
            "  if (!ij.Macro.MACRO_CANCELED.equals(stop.getMessage())) throw stop;"
            '  return "[aborted]"; } }',
        ),
    ),
)


@functools.cache
def _runner_class() -> Any:
    return define(_CLASSES, jclass("ij.macro.Interpreter").class_)


def run(text: str, arg: str) -> tuple[str, list[str]]:
    """Run macro text on this thread.

    Returns
    -------
    tuple
        What the macro returned (empty where it returned nothing), and what went wrong, in
        ImageJ's words: empty where nothing did.
    """
    import jpype

    ij, interpreters = jclass("ij.IJ"), jclass("ij.macro.Interpreter")
    noted = jclass("java.util.ArrayList")()
    earlier = interpreters.getInstance()
    interpreter = _runner_class().interpreter(noted)
    ij.getErrorMessage()  # forgets the error of an earlier run
    returned = None
    thrown: list[str] = []
    try:
        returned = interpreter.run(jpype.JString(text), jpype.JString(arg))
    except jpype.JException as error:
        _clean_up(interpreter, earlier)
        message = error.getMessage()
        if message is None or str(message) != str(jclass("ij.Macro").MACRO_CANCELED):
            line = interpreter.getLineNumber()
            thrown.append(say("{problem} in line {line}", problem=error, line=line))
    except BaseException:  # raised by Python code that the macro has called
        _clean_up(interpreter, earlier)
        raise
    problems = [one_line(str(words)) for words in noted] + thrown
    if not problems and interpreter.wasError():
        # ImageJ shows no error where the text ends too early
        problems.append(say("{problem} at the end of the text", problem=interpreter.getErrorMessage()))
    said = ij.getErrorMessage()  # of ImageJ's functions that report for themselves, such as open()
    if said is not None and not any(one_line(str(said)) in problem for problem in problems):
        problems.append(one_line(str(said)))
    return ("" if returned is None else str(returned)), problems


def _clean_up(interpreter: Any, earlier: Any) -> None:
    """What ImageJ does after a macro that has stopped."""
    interpreter.release(earlier)
    jclass("ij.IJ").showStatus("")
    jclass("ij.IJ").showProgress(1.0)
    image = jclass("ij.WindowManager").getCurrentImage()
    if image is not None:
        image.unlock()


def one_line(message: str) -> str:
    """ImageJ breaks its messages into the lines of a dialog."""
    return " ".join(message.split())
