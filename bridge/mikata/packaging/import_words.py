"""An imported package in sentences: what runs, what can use it, and what stands in the way."""

from __future__ import annotations

from mikata.language import joined, say
from mikata.packaging.importing import RECORD_FILE, Imported


def import_message(made: Imported) -> str:
    """What a user must know of an imported package, research notice included."""
    sentences = [
        say(
            "{name} is in {folder}, with its record {record}.",
            name=made.name,
            folder=made.folder,
            record=RECORD_FILE,
        )
    ]
    if made.runs:
        kinds = ", ".join(f"{kind} ({value:.2g})" for kind, value in made.runs.items())
        sentences.append(
            say(
                "These weights run here; in brackets the largest difference to the test output: {kinds}.",
                kinds=kinds,
            )
        )
    for kind, reason in made.left.items():
        sentences.append(f"{kind}: {reason}")
    for kind, file in made.unjudged.items():
        sentences.append(
            say(
                "{file} ({kind}) is copied but was not judged: a program that reads it may run code that is in it.",
                file=file,
                kind=kind,
            )
        )
    sentences.append(_uses(made))
    if made.consented:
        sentences.append(
            say("You have consented that code of the package runs: {files}.", files=", ".join(made.consented))
        )
    sentences.append(say("Research use, not for diagnosis."))
    return joined(sentences)


def _uses(made: Imported) -> str:
    words = {
        "pixels": say("commands that make images out of images"),
        "classes": say("commands that predict classes"),
        "weights": say("Train, to start from its weights"),
    }
    if made.commands:
        usable = "; ".join(words[use] for use in made.commands)
        return say("It can be used by: {uses}.", uses=usable)
    return say(
        "None of Mikata's commands can use it yet: {reasons}",
        reasons=joined(dict.fromkeys(made.reasons.values())),
    )
