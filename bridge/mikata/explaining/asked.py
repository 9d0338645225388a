"""What a user asks for, in the words of the parameters, as the work takes it."""

from __future__ import annotations

import difflib
from pathlib import Path

from mikata.errors import NetworkError, ParameterError
from mikata.explanation.planes import Target
from mikata.explanation.region_marks import MarkSource
from mikata.language import say
from mikata.networks import Model, read_package
from mikata.prediction import Plane

_MOST_EXPLAINED = 64


def target_of(network: Model, target: str, truth: dict[str, int], title: str = "Heat by Region") -> Target:
    """What to explain: ``predicted``, ``true``, ``all`` or a class's name; `truth` is each image's true class,
    `title` the command's.

    Raises
    ------
    NetworkError
        For a class that the network has not, or any but ``predicted`` of a network that gives a value.
    ParameterError
        For true classes where none are known, or more classes than can be tabulated.
    """
    if network.values:
        if target != "predicted":
            raise NetworkError(
                say(
                    "{title}: {model} gives a value, not classes: leave target at predicted, which explains what "
                    "raises the value.",
                    title=title,
                    model=network.path.name,
                )
            )
        return None
    if target == "predicted":
        return None
    if target == "all":
        if len(network.classes) > _MOST_EXPLAINED:
            raise ParameterError(
                say(
                    "target=all would explain {count} classes of each image; up to {most} can be tabulated. Take "
                    "predicted, true, or the name of a class.",
                    count=len(network.classes),
                    most=_MOST_EXPLAINED,
                )
            )
        return "all"
    if target == "true":
        if not truth:
            raise ParameterError(
                say(
                    "target=true needs the true classes: give labelled data as images, a CSV with the columns file and "
                    "label or a folder of class folders."
                )
            )

        def true(plane: Plane) -> int:
            return truth[plane.image]

        return true
    if target in network.classes:
        return network.classes.index(target)
    near = difflib.get_close_matches(target, network.classes, 1)
    hint = say(" (did you mean '{near}'?)", near=near[0]) if near else ""
    raise NetworkError(
        say(
            "{title}: {model} has no class '{name}'{hint}. target is predicted, true, all, or one of: {classes}.",
            title=title,
            model=network.path.name,
            name=target,
            hint=hint,
            classes=", ".join(network.classes),
        )
    )


def repeated(repeats: str, no_controls: bool) -> list[Model]:
    """Read the packages of repeated trainings, with ; between.

    Raises
    ------
    ParameterError
        If there are any, but no controls to compare them in.
    PackageError
        As `read_package`.
    """
    named = [part.strip() for part in repeats.split(";") if part.strip()]
    if named and no_controls:
        raise ParameterError(
            say("repeats are packages to compare in the controls: leave no_controls off, or repeats empty.")
        )
    return [read_package(Path(name)) for name in named]


def check_masking(asked: bool, marks: MarkSource | None, network: Model) -> None:
    """Refuse to paint over what is no mark or border, or for a network that gives a value.

    Raises
    ------
    ParameterError, NetworkError
        Of these two.
    """
    if not asked:
        return
    if marks is None:
        raise ParameterError(
            say("mask_regions paints over marks and borders: set regions to marks, border or marks+border.")
        )
    if network.values:
        raise NetworkError(
            say(
                "{model} gives a value, not classes: leave mask_regions off, which counts changed classes.",
                model=network.path.name,
            )
        )
