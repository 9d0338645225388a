"""The entry point: puts the doors together. `mikata COMMAND`, `mikata macro`, `mikata imagej`, `mikata demo`."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mikata import cli
from mikata.commands import COMMANDS
from mikata.language import say

_FIJI = Parameter(help="Folder Fiji.app to run in; without it, or MIKATA_FIJI, ImageJ itself.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # names in Japanese must not fail on a console of another code page
            stream.reconfigure(errors="replace")
    status = cli.main(_app(), arguments)
    if arguments is None and status == cli.INTERRUPTED:
        _leave(status)
    return status


def _leave(status: int) -> None:
    """End this process with a status.

    Where Ctrl-C came while code made from text ran (`exec`, as libraries do), Python ends as if the signal had
    killed it, whoever has dealt with it since.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _app() -> App:
    app = cli.build(COMMANDS, _version)
    app.command(_macro, name="macro", group="ImageJ")
    app.command(_imagej, name="imagej", group="ImageJ")
    app.command(_demo, name="demo", group="ImageJ")
    app.command(_commands, name="commands", group="ImageJ")
    app.command(_fiji())
    app.command(_wheelhouse, name="wheelhouse", group="ImageJ")
    app.command(_portable, name="portable", group="ImageJ")
    return app


def _fiji() -> App:
    menu = App(
        name="fiji", group="ImageJ", help="Mikata in the menu of your own Fiji.", help_format="plaintext"
    )
    menu.command(_install, name="install")
    menu.command(_uninstall, name="uninstall")
    menu.command(_status, name="status")
    menu.command(_scripts, name="scripts")
    return menu


_YOUR_FIJI = Parameter(help="Fiji's folder: the one with its launcher, and jars in it.")


def _install(
    *,
    fiji: Annotated[str, _YOUR_FIJI],
    language: Annotated[
        Literal["en", "ja"], Parameter(help="Language of dialogs, messages and reports in this Fiji.")
    ] = "en",
) -> int:
    """Put Plugins > Mikata into a Fiji, with a file that names this Python, and nothing else."""
    from mikata.imagej import installing

    place = installing.install(Path(fiji), language)
    print(installing.status(Path(fiji))[0])
    print(f"  {place}")
    print(say("Start Fiji anew; the commands are in Plugins > Mikata."))
    return 0


def _uninstall(*, fiji: Annotated[str, _YOUR_FIJI]) -> int:
    """Take Mikata's menu out of a Fiji."""
    from mikata.imagej import installing

    kept = installing.uninstall(Path(fiji))
    print(say("Mikata's menu was taken out of the Fiji at {folder}.", folder=installing.find(Path(fiji))))
    if kept:
        print(say("Kept, since it is not Mikata's:"))
        for file in kept:
            print(f"  {file}")
    return 0


def _status(*, fiji: Annotated[str, _YOUR_FIJI]) -> int:
    """Whether a Fiji has Mikata's menu, and whether it fits this Python; the exit status is 0 only if it does."""
    from mikata.imagej import installing

    words, well = installing.status(Path(fiji))
    print(words)
    return 0 if well else 1


def _scripts(
    folder: Annotated[
        str, Parameter(help="The folder Plugins/Mikata; default: the one of this Mikata.")
    ] = "",
    /,
) -> int:
    """Write the menu scripts anew from the commands' declarations; for those who change Mikata."""
    from mikata.imagej import scripts

    for path in scripts.write(Path(folder) if folder else scripts.folder()):
        print(path)
    return 0


def _version() -> str:
    import mikata

    return mikata.__version__


def _commands() -> int:
    """Print all commands and their parameters as a Markdown table."""
    from mikata.command import documentation

    print(documentation(COMMANDS), end="")
    return 0


def _macro(
    file: Annotated[str, Parameter(help="The macro (.ijm).")],
    /,
    *,
    arg: Annotated[str, Parameter(help="Text that the macro gets from getArgument().")] = "",
    image: Annotated[str | None, Parameter(help="Image to open first.")] = None,
    fiji: Annotated[str | None, _FIJI] = None,
    gui: Annotated[bool, Parameter(help="Show ImageJ's windows.", negative="")] = False,
) -> int:
    """Run an ImageJ macro that may use Mikata's commands; the exit status is 0 only if it ran to its end."""
    path = cli.existing_file(file)
    opened = cli.existing_file(image) if image else None
    from mikata import imagej
    from mikata.images import read

    ij = imagej.start(headless=not gui, fiji=Path(fiji) if fiji else None)
    if opened:
        ij.show(read(opened))
    returned = ij.run_macro_file(path, arg)
    if returned:
        print(returned)
    return 0


def _imagej(
    *files: Annotated[str, Parameter(help="Images to open.", show_default=False)],
    fiji: Annotated[str | None, _FIJI] = None,
) -> int:
    """Open ImageJ with the menu Plugins > Mikata, and wait until it is closed."""
    paths = [cli.existing_file(name) for name in files]
    from mikata import imagej
    from mikata.images import read

    ij = imagej.start(headless=False, fiji=Path(fiji) if fiji else None)
    for path in paths:
        ij.show(read(path))
    ij.wait()
    return 0


def _demo(
    *,
    out: Annotated[str, Parameter(help="Folder for everything the demo makes.")] = "demo",
    fiji: Annotated[str | None, _FIJI] = None,
    overwrite: Annotated[bool, Parameter(help="Replace the folder of an earlier demo.", negative="")] = False,
) -> int:
    """The main job on real photographs: train, package, explain from an ImageJ macro, report."""
    from mikata import demo

    with cli.Console() as console:
        made = demo.run(Path(out), fiji=Path(fiji) if fiji else None, overwrite=overwrite, progress=console)
    for what, path in made.items():
        print(f"{what + ':':<22}{path}")
    return 0


def _wheelhouse(
    folder: Annotated[str, Parameter(help="The folder to make.")],
    /,
    *,
    system: Annotated[
        str, Parameter(help="windows, linux or macos-arm; without it the system of this computer.")
    ] = "",
    python: Annotated[str, Parameter(help="3.11, 3.12 or 3.13; without it the Python that runs this.")] = "",
    compute: Annotated[
        str,
        Parameter(help="cpu; a build of torch for CUDA, such as cu128; or registry: the one that pip gives."),
    ] = "cpu",
    overwrite: Annotated[bool, Parameter(help="Replace an earlier wheelhouse.", negative="")] = False,
) -> int:
    """Collect all that a computer with Python and without a network needs, with checksums and an installer."""
    from mikata.offline import wheelhouse

    with cli.Console() as console:
        result = wheelhouse(
            Path(folder), system=system, python=python, compute=compute, overwrite=overwrite, progress=console
        )
    cli.show(result)
    return 0


def _portable(
    folder: Annotated[str, Parameter(help="The folder to make, such as one on a USB stick.")],
    /,
    *,
    python: Annotated[
        str, Parameter(help="The embeddable Python for 64-bit Windows, as a zip from python.org.")
    ],
    overwrite: Annotated[bool, Parameter(help="Replace an earlier folder.", negative="")] = False,
) -> int:
    """Lay out one folder for a Windows PC without Python, administrator and network."""
    from mikata.offline import portable

    with cli.Console() as console:
        result = portable(
            Path(folder), python=cli.existing_file(python), overwrite=overwrite, progress=console
        )
    cli.show(result)
    return 0
