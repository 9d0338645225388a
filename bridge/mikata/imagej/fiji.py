"""A user's own Fiji, through pyimagej."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mikata.errors import ImageJError
from mikata.imagej import java
from mikata.language import say


def start(folder: Path, *, headless: bool) -> Any:
    """Start the Fiji in a folder and return its pyimagej gateway.

    Raises
    ------
    ImageJError
        If the folder holds no Fiji, or Fiji does not start.
    """
    folder = folder.expanduser().resolve()
    _check(folder)
    java.prepare()
    import scyjava

    # pyimagej 1.8 guesses Java's version only where a download would be allowed ("never" ends in an
    # UnboundLocalError); with JAVA_HOME set nothing is downloaded.
    scyjava.config.set_java_constraints(fetch="auto")
    import imagej

    java.prepare()  # again: the import has queued imglib2-imglyb
    scyjava.config.add_options(java.options(headless=headless))
    try:
        with java.utf8_locale():
            gateway = imagej.init(str(folder), mode="headless" if headless else "interactive")
    except Exception as error:
        raise ImageJError(
            say("The Fiji in {folder} could not be started: {reason}", folder=folder, reason=error)
        ) from error
    if not headless:
        gateway.ui().showUI()
    return gateway


def is_fiji(folder: Path) -> bool:
    """Whether a folder is a Fiji's own: ImageJ and ImageJ2's bridge to it are among its jars."""
    jars = folder / "jars"
    return any(jars.glob("ij-1*.jar")) and any(jars.glob("imagej-legacy-*.jar"))


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise ImageJError(
            say(
                "There is no folder {folder}. Give the folder that holds Fiji's jars and plugins.",
                folder=folder,
            )
        )
    inner = folder / "Fiji.app"
    if not is_fiji(folder):
        if (inner / "jars").is_dir():
            raise ImageJError(
                say(
                    "{folder} is no Fiji: it has no ij and imagej-legacy among its jars. Do you mean {inner}?",
                    folder=folder,
                    inner=inner,
                )
            )
        raise ImageJError(
            say("{folder} is no Fiji: it has no ij and imagej-legacy among its jars.", folder=folder)
        )
