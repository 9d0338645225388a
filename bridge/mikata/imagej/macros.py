"""Commands as ImageJ's own: in macros, in a menu with dialogs, recorded by the Recorder.

ImageJ asks its command listeners before it runs anything, so one listener serves
``run("Grad-CAM Heat Map...", "model=[/a b/c]")`` in a macro, headless or not. Python parses the options
itself; the values remembered from dialogs never reach a macro.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import jpype

from mikata.checkup import tell
from mikata.command import Command
from mikata.commands import COMMANDS
from mikata.errors import Cancelled, MikataError, ParameterError
from mikata.imagej import calls, dialogs, tables
from mikata.imagej.forgetting import forget_patient
from mikata.imagej.java import jclass
from mikata.imagej.rois import to_overlay, to_roi
from mikata.language import say
from mikata.types import Progress, Result

if TYPE_CHECKING:
    from mikata.imagej.gateway import ImageJ

_BY_TITLE = {item.title: item for item in COMMANDS}

_kept: list[Any] = []  # Java holds these listeners weakly as far as Python knows


def install(imagej: ImageJ) -> None:
    """Make every command known to this ImageJ: to its macros and, where it has a window, its menu."""
    listener = jpype.JProxy("ij.CommandListener", dict={"commandExecuting": _Listener(imagej)})
    _kept.append(listener)
    jclass("ij.Executer").addCommandListener(listener)
    _stand_for_scripts(imagej)
    tell({"ImageJ running": str(jclass("ij.IJ").getFullVersion()), "Java running": _java_version()})
    in_menu = jclass("ij.Menus").getCommands()
    if jclass("ij.IJ").getInstance() is not None and not all(t in in_menu for t in _BY_TITLE):
        _add_menu(imagej)  # a Fiji with the menu scripts has it


def _java_version() -> str:
    system = jclass("java.lang.System")
    return f"{system.getProperty('java.version')} ({system.getProperty('java.vendor')})"


def _stand_for_scripts(imagej: ImageJ) -> None:
    """Answer a Fiji's menu scripts from here, however they are run: they look for this before they start Python."""

    def apply(name: Any, module: Any) -> None:
        item = next(item for item in COMMANDS if item.name == str(name))
        if _Listener(imagej).answers(item):
            return
        given = _given_by_module(item, module)
        if not given and not imagej.headless:
            _start_interactive(imagej, item)
            return
        try:
            _run(imagej, item, given)
        except Exception as error:
            imagej.python_error = error
            raise jclass("java.lang.RuntimeException")(calls.words(error)) from error

    proxy = jpype.JProxy("java.util.function.BiFunction", dict={"apply": apply})
    _kept.append(proxy)
    jclass("ij.IJ").setProperty("mikata", proxy)


def _given_by_module(item: Command, module: Any) -> dict[str, str]:
    """Inputs that a program or SciJava's command line has given to a script, where they are not the defaults."""
    if module is None:
        return {}
    values = {p.name: module.getInput(p.name) for p in item.parameters}
    defaults = {p.name: p.default_text for p in item.parameters}
    return {k: str(v) for k, v in values.items() if v is not None and str(v) not in ("", defaults[k])}


def _start_interactive(imagej: ImageJ, item: Command) -> None:
    # not on AWT's thread, which must draw meanwhile; nor on ij.Executer's, which holds a lock while a
    # listener works, so that no other command could run while a dialog waits or a network trains
    threading.Thread(target=_interactive, args=(imagej, item), name=item.plain_title, daemon=True).start()


class _Listener:
    """Answers ImageJ's question whether a command is ours; None means that it has been run."""

    def __init__(self, imagej: ImageJ) -> None:
        self._imagej = imagej

    def __call__(self, title: Any) -> Any:
        item = _BY_TITLE.get(str(title))
        if item is None:
            return title
        if not self.answers(item):
            if self._imagej.headless:
                _from_macro(self._imagej, item, "")
            else:
                _start_interactive(self._imagej, item)
        return None

    def answers(self, item: Command) -> bool:
        """Run the command if a macro asks for it, and say whether one does."""
        options = jclass("ij.Macro").getOptions()
        # a macro may give no options at all: it then gets the defaults, with windows as without
        if options is None and jclass("ij.macro.Interpreter").getInstance() is None:
            return False
        _from_macro(self._imagej, item, "" if options is None else str(options))
        return True


def _from_macro(imagej: ImageJ, item: Command, options: str) -> None:
    try:
        _run(imagej, item, calls.given_by_macro(item, options, _variable))
    except BaseException as error:
        _stop_macro(imagej, item, error)


def _variable(name: str) -> str | None:
    interpreter = jclass("ij.macro.Interpreter").getInstance()
    found = interpreter.getVariableAsString(name) if interpreter else None
    return None if found is None else str(found)


def _stop_macro(imagej: ImageJ, item: Command, error: BaseException) -> None:
    imagej.python_error = error
    if not _is_scripted():
        _show_error(item, error)
    # what ij.Macro.abort() throws: the interpreter ends the macro without a second message
    Macro = jclass("ij.Macro")
    raise jclass("java.lang.RuntimeException")(Macro.MACRO_CANCELED)


def _is_scripted() -> bool:
    """Whether a Python program runs the macro, which then gets the error as an exception."""
    interpreter = jclass("ij.macro.Interpreter").getInstance()
    return interpreter is not None and str(interpreter.getClass().getName()) == "ij.macro.MikataInterpreter"


def _show_error(item: Command, error: BaseException) -> None:
    if isinstance(error, Cancelled):
        jclass("ij.IJ").showStatus(str(error))
        return
    if trace := calls.trace(error):
        jclass("ij.IJ").log(trace)
    jclass("ij.IJ").error(item.plain_title, _wrapped(calls.words(error)))


def _wrapped(text: str, width: int = 80) -> str:
    """Lines that fit ImageJ's message window, which does not wrap."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def _interactive(imagej: ImageJ, item: Command) -> None:
    """Ask, run, show; an error is shown and the dialog comes again with what was typed."""
    typed: dict[str, str | bool] | None = None
    while True:
        typed = dialogs.ask(item, typed)
        if typed is None:
            return
        try:
            given = {k: v for k, v in typed.items() if v != ""}
            calls.values(item, given)
        except ParameterError as error:
            _show_error(item, error)
            continue
        break
    dialogs.remember(item, typed)
    dialogs.record(item, given)
    try:
        _run(imagej, item, given, asked=True)
    except BaseException as error:
        _show_error(item, error)


def _run(imagej: ImageJ, item: Command, given: dict[str, Any], *, asked: bool = False) -> None:
    """Check, work and show; `asked`: by a person in a dialog, who wants to see a report at once."""
    values = calls.values(item, given)
    window = None
    if name := calls.takes_current(item, values):
        window = imagej.current()
        if window is None:
            raise calls.missing_image(item)
        # a command that writes nothing of the image has no word on metadata
        values[name] = imagej.from_java(window, keep_metadata=bool(values.get("keep_metadata")))
        if calls.forgets(values):  # what ImageJ saves of this window from now on names no patient
            forget_patient(window)
    progress, listed = _Status(), _is_listed(window)
    try:
        result = item.function(**values, progress=progress)
    finally:
        progress.end()
    _show(imagej, window, result, closed=listed and not _is_listed(window))
    if asked and result.page is not None and not imagej.headless:
        jclass("ij.plugin.BrowserLauncher").openURL(result.page.resolve().as_uri())


def _is_listed(window: Any) -> bool:
    """Whether ImageJ has an image among those that are open."""
    return window is not None and jclass("ij.WindowManager").getImage(window.getID()) is not None


def _show(imagej: ImageJ, window: Any, result: Result, *, closed: bool) -> None:
    IJ = jclass("ij.IJ")
    if result.overlay is not None and window is not None:
        if closed:
            IJ.log(closed_meanwhile(str(window.getTitle())))
        else:
            window.setOverlay(to_overlay(result.overlay))
    if result.manager:
        _to_manager(imagej, result)
    for table in result.tables:
        tables.to_results(table, headless=imagej.headless)
    for image in result.images:
        imagej.show(image)
    for plot in result.plots:
        imagej.show(tables.to_plot(plot))
    IJ.showStatus(result.message)
    if text := calls.log(result):
        IJ.log(text)


def closed_meanwhile(title: str) -> str:
    """What the log says where an overlay has lost its image."""
    return say(
        "{title} was closed while the command worked: its overlay could not be drawn. The other results are shown.",
        title=title,
    )


def _to_manager(imagej: ImageJ, result: Result) -> None:
    if imagej.headless:
        text = say("The ROI Manager needs ImageJ's windows; the contours are in the overlay.")
        jclass("ij.IJ").log(text)
        return
    manager = jclass("ij.plugin.frame.RoiManager").getRoiManager()
    for region in result.manager:
        manager.addRoi(to_roi(region))


class _Status(Progress):
    """Progress in ImageJ's status bar; Escape cancels."""

    def __init__(self) -> None:
        self._ij = jclass("ij.IJ")
        self._ij.resetEscape()
        self._left = calls.TimeLeft()

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show the message with the time left, and the bar where the total is known."""
        self._ij.showStatus(self._left.words(message, done, total))
        if total:
            self._ij.showProgress(float(done) / total)

    @property
    def cancelled(self) -> bool:
        """Whether Escape was pressed."""
        return bool(self._ij.escapePressed())

    def end(self) -> None:
        """Clear the bar."""
        self._ij.showProgress(1.0)


def _add_menu(imagej: ImageJ) -> None:
    """Plugins > Mikata, with a sub-menu for each group. Plain AWT, as ImageJ's menus are."""
    Menu, MenuItem = jclass("java.awt.Menu"), jclass("java.awt.MenuItem")
    plugins = jclass("ij.Menus").getImageJMenu("Plugins")
    if plugins is None:
        raise MikataError(say("This ImageJ has no Plugins menu to add Mikata to."))
    root = Menu("Mikata")
    groups: dict[str, Any] = {}
    for item in COMMANDS:
        if item.group not in groups:
            groups[item.group] = Menu(item.group)
            root.add(groups[item.group])
        entry = MenuItem(item.title)

        def clicked(_: Any, item: Command = item) -> None:
            _start_interactive(imagej, item)

        listener = jpype.JProxy("java.awt.event.ActionListener", dict={"actionPerformed": clicked})
        _kept.append(listener)
        entry.addActionListener(listener)
        groups[item.group].add(entry)
    plugins.add(root)
