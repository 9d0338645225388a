"""A command's parameters as an ImageJ dialog: built, read, remembered and recorded."""

from __future__ import annotations

import textwrap
from typing import Any

import jpype

from mikata.command import EACH_TIME, Command, Parameter
from mikata.imagej import calls
from mikata.language import say

_WIDTH = 34  # columns of a text field: a path must be recognisable


def ask(item: Command, typed: dict[str, str | bool] | None) -> dict[str, str | bool] | None:
    """Show the dialog; what was entered, by parameter name, or None if it was cancelled.

    Parameters
    ----------
    typed:
        Values to start from; None starts from those of the last time.
    """
    dialog = jpype.JClass("ij.gui.NonBlockingGenericDialog")(f"Mikata: {item.plain_title}")
    keep: list[Any] = []
    lines = [*textwrap.wrap(say(item.summary), 70), say("Research use, not for diagnosis.")]
    dialog.addMessage("\n".join(lines))
    for parameter in item.parameters:
        start = _remembered(item, parameter) if typed is None else str(typed.get(parameter.name, ""))
        _add(dialog, parameter, start, keep)
    dialog.addHelp(_help(item))
    dialog.showDialog()
    if dialog.wasCanceled():
        return None
    return _read(dialog, item)


def _add(dialog: Any, parameter: Parameter, start: str, keep: list[Any]) -> None:
    match parameter.kind:
        case "flag":
            dialog.addCheckbox(say(parameter.label), start.lower() == "true")
        case "choice":
            dialog.addChoice(
                say(parameter.label), jpype.JArray(jpype.JString)(list(parameter.choices)), start
            )
        case "integer" | "number":
            dialog.addStringField(say(parameter.label), start, 8)
        case "images" | "input" | "output":
            dialog.addFileField(say(parameter.label), start, _WIDTH)
            keep.append(_browse(dialog, parameter))
        case _:
            dialog.addStringField(say(parameter.label), start, _WIDTH)


def _browse(dialog: Any, parameter: Parameter) -> Any:
    """Let the last field's button choose a file or a folder; ImageJ's own knows files only."""
    field = dialog.getStringFields().lastElement()

    def clicked(_: Any) -> None:
        JFileChooser, File = jpype.JClass("javax.swing.JFileChooser"), jpype.JClass("java.io.File")
        start = str(field.getText()) or jpype.JClass("ij.io.OpenDialog").getDefaultDirectory()
        chooser = JFileChooser(File(start)) if start else JFileChooser()
        chooser.setFileSelectionMode(JFileChooser.FILES_AND_DIRECTORIES)
        chooser.setDialogTitle(say(parameter.label))
        save = parameter.kind == "output"
        answer = chooser.showSaveDialog(field) if save else chooser.showOpenDialog(field)
        if answer == JFileChooser.APPROVE_OPTION:
            field.setText(chooser.getSelectedFile().getPath())

    button = next(
        part for part in field.getParent().getComponents() if part is not field and hasattr(part, "getLabel")
    )
    for listener in button.getActionListeners():
        button.removeActionListener(listener)
    own = jpype.JProxy("java.awt.event.ActionListener", dict={"actionPerformed": clicked})
    button.addActionListener(own)
    return own


def _read(dialog: Any, item: Command) -> dict[str, str | bool]:
    # read from the fields themselves: GenericDialog's own getters would record each value
    strings = iter(dialog.getStringFields() or ())
    choices = iter(dialog.getChoices() or ())
    flags = iter(dialog.getCheckboxes() or ())
    typed: dict[str, str | bool] = {}
    for parameter in item.parameters:
        match parameter.kind:
            case "flag":
                typed[parameter.name] = bool(next(flags).getState())
            case "choice":
                typed[parameter.name] = str(next(choices).getSelectedItem())
            case _:
                typed[parameter.name] = str(next(strings).getText()).strip()
    return typed


def _help(item: Command) -> str:
    from html import escape

    rows = "".join(
        f"<tr><td valign=top><b>{escape(say(p.label))}</b><br><tt>{p.name}</tt></td><td>{escape(say(p.help))}"
        f"{f' <i>({escape(p.allowed)})</i>' if p.allowed else ''}</td></tr>"
        for p in item.parameters
    )
    return f"<html><h2>{escape(item.plain_title)}</h2><p>{escape(say(item.summary))}</p><table>{rows}</table></html>"


def _key(item: Command, parameter: Parameter) -> str:
    return f"mikata.{item.name}.{parameter.name}"


def _remembered(item: Command, parameter: Parameter) -> str:
    if parameter.kind == "images" or parameter.name in EACH_TIME:
        return parameter.default_text
    return str(jpype.JClass("ij.Prefs").get(_key(item, parameter), parameter.default_text))


def remember(item: Command, typed: dict[str, str | bool]) -> None:
    """Keep the values for the next dialog, also after ImageJ was closed; macros never see them."""
    Prefs = jpype.JClass("ij.Prefs")
    for parameter in item.parameters:
        Prefs.set(_key(item, parameter), str(typed[parameter.name]))
    Prefs.savePreferences()


def record(item: Command, given: dict[str, Any]) -> None:
    """Write the macro line into the Recorder, if it is open."""
    Recorder = jpype.JClass("ij.plugin.frame.Recorder")
    if not Recorder.record:
        return
    line = macro_line(item, given)
    Recorder.recordString(f"IJ.{line}\n" if Recorder.scriptMode() else f"{line}\n")


def macro_line(item: Command, given: dict[str, Any]) -> str:
    """The macro line that runs the command with these values, given as they were typed."""
    options = calls.options_of(item, {k: v if isinstance(v, bool) else str(v) for k, v in given.items()})
    text = options.replace("\\", "\\\\").replace('"', '\\"')
    return f'run("{item.title}", "{text}");' if options else f'run("{item.title}");'
