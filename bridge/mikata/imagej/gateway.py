"""Start ImageJ inside this process, or join one that runs already, and speak to it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mikata.errors import ImageError, ImageJError, MacroError
from mikata.imagej import java
from mikata.language import say

if TYPE_CHECKING:
    from mikata.types import Image, Table

FIJI_VARIABLE = "MIKATA_FIJI"
"""Environment variable: a Fiji.app folder to be used instead of Mikata's own ImageJ."""

_running: ImageJ | None = None


class ImageJ:
    """ImageJ in this process; one for the process, made by `start` or `attach`.

    Attributes
    ----------
    headless:
        Whether there is no window.
    gateway:
        The pyimagej gateway, where ImageJ came with one (a user's Fiji), or None.
    python_error:
        Set by whoever answers a macro's command in Python when that fails; `run_macro` raises it
        as a `MacroError` once ImageJ has stopped the macro.
    """

    def __init__(self, *, headless: bool, gateway: Any = None) -> None:
        self.headless = headless
        self.gateway = gateway
        self.python_error: BaseException | None = None

    def run_macro(self, text: str, arg: str = "") -> str:
        """Run a macro's text, as ImageJ would.

        Parameters
        ----------
        text:
            ImageJ macro language.
        arg:
            What the macro gets from ``getArgument()``.

        Returns
        -------
        str
            What the macro returned, empty if nothing.

        Raises
        ------
        MacroError
            If the macro stopped with an error; in ImageJ's words and with its line, or in those
            of the Python command that failed. No dialog is shown.
        """
        from mikata.imagej import errors, interpreter

        self.python_error = None
        # Headless every image is a batch mode image: there are no windows to list the others.
        if self.headless:
            java.jclass("ij.macro.Interpreter").batchMode = True
        try:
            with errors.watched(headless=self.headless) as seen:
                returned, problems = interpreter.run(text, arg)
            problems += [words for words in seen if not any(words in other for other in problems)]
        finally:
            if not self.headless:
                # A macro that leaves batch mode on ends it by ending; ImageJ does so for macros that
                # are started from its menus, but not for text that a program runs.
                java.jclass("ij.macro.Interpreter").batchMode = False
        error = self._python_error()
        if isinstance(error, KeyboardInterrupt):
            raise error
        if error is not None:
            words = str(error) or type(error).__name__
            if not problems:
                raise MacroError(words) from error
            earlier = " | ".join(problems)
            raise MacroError(
                say("{problem} (ImageJ had said before: {earlier})", problem=words, earlier=earlier)
            ) from error
        if problems:
            said = " | ".join(problems)
            if "HeadlessException" in said:
                raise MacroError(
                    say(
                        "The macro stopped: {problems}. This needs ImageJ's windows: mikata macro --gui, or "
                        "start(headless=False).",
                        problems=said,
                    )
                )
            raise MacroError(say("The macro stopped: {problems}", problems=said))
        return returned

    def _python_error(self) -> BaseException | None:
        error, self.python_error = self.python_error, None
        return error

    def run_macro_file(self, path: Path | str, arg: str = "") -> str:
        """Run a macro file (UTF-8, or CP932 as old Japanese Windows editors write it).

        Raises
        ------
        MacroError
            If the file cannot be read, or as `run_macro`.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MacroError(
                say("The macro {path} cannot be read: {reason}.", path=path, reason=error.strerror)
            ) from error
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            try:
                text = data.decode("cp932")
            except UnicodeDecodeError as error:
                raise MacroError(
                    say("The macro {path} is not text in UTF-8 or CP932. Save it as UTF-8.", path=path)
                ) from error
        try:
            return self.run_macro(text, arg)
        except MacroError as error:
            raise MacroError(f"{path.name}: {error}") from error.__cause__

    def open(self, path: Path | str) -> Any:
        """The ImagePlus of a file, as ImageJ opens it; not shown.

        Raises
        ------
        ImageError
            If ImageJ cannot open it.
        """
        import jpype

        path = Path(path)
        if not path.exists():
            raise ImageError(say("There is no file {path}.", path=path))
        ij = java.jclass("ij.IJ")
        ij.getErrorMessage()
        ij.redirectErrorMessages(True)  # to its log: no dialog
        try:
            found = ij.openImage(str(path))
        except jpype.JException as error:
            raise ImageError(say("ImageJ cannot open {path}: {reason}.", path=path, reason=error)) from error
        finally:
            ij.redirectErrorMessages(False)
        if found is None:
            words = ij.getErrorMessage()
            if words is None:
                raise ImageError(
                    say("ImageJ cannot open {path}: it does not know this kind of file.", path=path)
                )
            said = " ".join(str(words).split())
            raise ImageError(say("ImageJ cannot open {path}: {reason}.", path=path, reason=said))
        return found

    def to_java(self, image: Image) -> Any:
        """An ImagePlus with an image's pixels, calibration, LUTs, labels, overlay and selection."""
        from mikata.imagej import convert

        return convert.to_imageplus(image)

    def from_java(self, imp: Any, *, keep_metadata: bool = False) -> Image:
        """An `Image` of an ImagePlus; its Info only with `keep_metadata`, since it may name a patient."""
        from mikata.imagej import convert

        return convert.from_imageplus(imp, keep_metadata=keep_metadata)

    def current(self) -> Any:
        """The current ImagePlus, or None."""
        return java.jclass("ij.WindowManager").getCurrentImage()

    def show(self, image: Image | Any) -> Any:
        """Show an `Image` (or an ImagePlus), which makes it the current one; return its ImagePlus."""
        from mikata.types import Image as Pixels

        imp = self.to_java(image) if isinstance(image, Pixels) else image
        self._make_current(imp)
        return imp

    @property
    def version(self) -> str:
        """ImageJ's version, such as ``1.54p``."""
        return str(java.jclass("ij.IJ").getVersion())

    def results(self) -> Table:
        """ImageJ's Results table."""
        from mikata.imagej import tables

        return tables.from_results()

    def close_all(self) -> None:
        """Close all images without asking, saved or not."""
        windows = java.jclass("ij.WindowManager")
        for number in list(windows.getIDList() or ()):
            imp = windows.getImage(int(number))
            if imp is not None:
                imp.changes = False
                imp.close()
        windows.setTempCurrentImage(None)

    def wait(self) -> None:
        """Wait until the user closes ImageJ's window; at once where there is none."""
        if self.headless:
            return
        ij = java.jclass("ij.IJ")
        while ij.getInstance() is not None and ij.getInstance().isVisible():
            time.sleep(0.2)  # Python's own sleep: Ctrl-C gets through

    def _make_current(self, imp: Any) -> None:
        if self.headless:
            java.jclass("ij.macro.Interpreter").batchMode = True
        imp.show()


def start(headless: bool = True, fiji: Path | str | None = None) -> ImageJ:
    """ImageJ in this process, with Java from the wheel; the same one when called again.

    Parameters
    ----------
    headless:
        Without a window. With False ImageJ's window opens.
    fiji:
        A Fiji.app folder, to be used instead of Mikata's own ImageJ; None: what the environment
        variable ``MIKATA_FIJI`` says, and Mikata's own if it is not set.

    Raises
    ------
    ImageJError
        If Java or ImageJ cannot be started, or one that cannot serve is running already.
    """
    global _running
    import jpype

    if _running is not None:
        if _running.headless and not headless:
            raise ImageJError(
                say("ImageJ runs without a window in this process, and Java cannot start twice.")
            )
        if fiji is not None and _running.gateway is None:
            raise ImageJError(
                say(
                    "Mikata's own ImageJ runs in this process already, so the Fiji in {fiji} cannot be started: "
                    "Java cannot start twice. Name the Fiji at the first start.",
                    fiji=fiji,
                )
            )
        return _running
    chosen = fiji if fiji is not None else os.environ.get(FIJI_VARIABLE) or None
    if jpype.isJVMStarted():
        if fiji is not None:
            raise ImageJError(
                say(
                    "Java runs in this process already, so the Fiji in {fiji} cannot be started: Java cannot start "
                    "twice. Call mikata.imagej.start() first, or mikata.imagej.attach() with your gateway.",
                    fiji=fiji,
                )
            )
        imagej = _join(headless=headless)
    elif chosen is not None:
        from mikata.imagej import fiji as fijis

        imagej = ImageJ(headless=headless, gateway=fijis.start(Path(chosen), headless=headless))
    else:
        java.start_jvm(headless=headless)
        from mikata.imagej import patches

        if headless:
            patches.make_headless()  # with a screen ImageJ is used as it is shipped
        patches.settle()
        if not headless:
            _open_window()
        imagej = ImageJ(headless=headless)
    return _install(imagej)


def attach(gateway: Any) -> ImageJ:
    """Mikata on an ImageJ that a program has started with pyimagej (`imagej.init`).

    Raises
    ------
    ImageJError
        If it has no original ImageJ in it (`add_legacy=False`).
    """
    import jpype

    if not jpype.isJVMStarted() or gateway is None:
        raise ImageJError(say("attach needs a gateway that imagej.init() has returned."))
    if _running is not None:
        if _running.gateway is None:
            _running.gateway = gateway
        return _running
    java.jclass("ij.IJ")
    headless = bool(java.jclass("java.awt.GraphicsEnvironment").isHeadless())
    return _install(ImageJ(headless=headless, gateway=gateway))


def _join(*, headless: bool) -> ImageJ:
    """ImageJ in a JVM that somebody else has started in this process."""
    try:
        java.jclass("ij.IJ")
        java.jclass("javassist.ClassPool")
    except ImageJError as error:
        raise ImageJError(
            say(
                "Java runs in this process already, without ImageJ. Call mikata.imagej.start() before "
                "anything else starts Java, or start Java with ImageJ's four jars on its class path."
            )
        ) from error
    if bool(java.jclass("java.awt.GraphicsEnvironment").isHeadless()):
        if not headless:
            raise ImageJError(say("Java runs without windows in this process, and cannot start twice."))
        return ImageJ(headless=True)
    if java.jclass("ij.IJ").getInstance() is None:
        _open_window()
    return ImageJ(headless=False)


def _open_window() -> None:
    """ImageJ's window, embedded: closing it must not end the Python process."""
    window = java.jclass("ij.ImageJ")
    window(window.EMBEDDED)


def _install(imagej: ImageJ) -> ImageJ:
    global _running
    java.leave_cleanly()
    from mikata.imagej import macros  # here, since it needs JPype

    macros.install(imagej)
    _running = imagej
    return imagej
