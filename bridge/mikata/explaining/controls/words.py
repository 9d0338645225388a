"""The controls in words: what each is called, what was asked before anything was measured, and what came of it."""

from __future__ import annotations

import math

from mikata.evaluation.paired import FEWEST
from mikata.explaining.controls.results import Control, Controls, Name, Status
from mikata.language import joined, say

ALIKE = 0.5
"""Rank correlation from which maps count as alike: a quarter of the ranks' variance is common."""

MORE_THAN_OTHERS = 0.2
"""By how much maps may be more alike than those of different images."""

STABLE = 0.7
"""Rank correlation that a change which does not matter must leave: half of the ranks' variance."""

LEAST_FALL = 0.1
"""How much the score must fall when everything is covered for an order of covering to say anything."""


def title(name: Name) -> str:
    """What a control is called, in the reader's language."""
    return {
        "weight randomisation": say("weight randomisation"),
        "deletion": say("deletion"),
        "insertion": say("insertion"),
        "simple maps": say("simple maps"),
        "stability": say("stability"),
        "repeated training": say("repeated training"),
        "small regions": say("small regions"),
    }[name]


def status(found: Status) -> str:
    """An outcome in the reader's language."""
    return {
        "passed": say("passed"),
        "failed": say("failed"),
        "undecided": say("undecided"),
        "not defined": say("not defined"),
    }[found]


def question(name: Name) -> str:
    """What was asked, with the limits, which do not depend on any data."""
    if name == "weight randomisation":
        return say(
            "Weight randomisation: all weights are replaced by random ones. The maps' rank correlation with the original "
            "ones must fall below {alike}, and may be above that of maps of different images by less than {more}.",
            alike=ALIKE,
            more=MORE_THAN_OTHERS,
        )
    if name == "deletion":
        return say(
            "Deletion: cells are covered with the training images' mean, the hottest first. The mean score on the way "
            "must be lower than with random orders."
        )
    if name == "insertion":
        return say(
            "Insertion: cells of the blurred image are made sharp, the hottest first. The mean score on the way must be "
            "higher than with random orders."
        )
    if name == "simple maps":
        return say(
            "Simple maps: covering by the map must lower the score faster than covering by an edge detector (Sobel), and "
            "than covering from the middle outwards."
        )
    if name == "stability":
        return say(
            "Stability: images are moved by a few pixels, or get a little noise. The maps' rank correlation with the "
            "original ones must stay above {stable}.",
            stable=STABLE,
        )
    if name == "repeated training":
        return say(
            "Repeated training: the maps of networks from repeated trainings must have a rank correlation above {alike}, "
            "and above that of maps of different images.",
            alike=ALIKE,
        )
    return say("Small regions: every region must cover at least two cells of the network's grid.")


def rule() -> str:
    """How an outcome follows from figures."""
    return say(
        "Passed: the whole 95 % interval lies on the side that is asked for. Failed: the figure itself does not. "
        "Undecided: the figure does, but its interval reaches over the limit."
    )


def meaning(control: Control) -> str:
    """What came of a control, in plain words."""
    found = control.status
    if found == "not defined":
        few = say("Fewer than {least} independent patients or images are left to judge by.", least=FEWEST)
        parts = [part for part in (control.note, few if control.figures else "") if part]
        return joined(parts) if parts else say("It is not defined for these images.")
    if found == "undecided":
        text = say("There are too few images to decide: take more control images.")
    else:
        text = _meanings(control.name, found == "passed")
    return joined([text, control.note]) if control.note else text


def _meanings(name: Name, passed: bool) -> str:
    if name == "weight randomisation":
        if passed:
            return say(
                "The maps change when the learnt weights are taken away: they depend on what the network has learnt."
            )
        return say(
            "The maps stay alike when the learnt weights are taken away: they show the image or the method more than what "
            "the network has learnt. Do not read them as the network's reasons."
        )
    if name == "deletion":
        if passed:
            return say("Covering what is hot lowers the score faster than covering at random.")
        return say(
            "Covering what is hot lowers the score no faster than covering at random: the heat does not lie on what this "
            "score needs."
        )
    if name == "insertion":
        if passed:
            return say("Showing what is hot first raises the score faster than showing at random.")
        return say(
            "Showing what is hot first raises the score no faster than showing at random: the heat does not lie on what "
            "is enough for this score."
        )
    if name == "simple maps":
        if passed:
            return say("The maps find what lowers the score faster than edges do, and than the middle does.")
        return say(
            "An edge detector or the middle of the image finds what lowers the score as fast as the maps: these say "
            "little beyond that."
        )
    if name == "stability":
        if passed:
            return say("The maps stay as they are when the image changes by what a reader would not see.")
        return say(
            "The maps change when the image is moved by a few pixels or gets a little noise: a single map says little."
        )
    if name == "repeated training":
        if passed:
            return say("Networks from repeated trainings look at the same places.")
        return say(
            "Networks from repeated trainings look at other places: the maps tell of one training, not of the images."
        )
    if passed:
        return say("Every region covers at least two cells of the network's grid.")
    return say(
        "Regions smaller than two cells of the network's grid take their heat from what lies around them."
    )


def sentence(found: Controls) -> str:
    """The whole report in a sentence or two."""
    if found.not_run:
        return found.not_run
    groups: list[tuple[Status, str]] = [
        ("failed", say("failed")),
        ("undecided", say("undecided")),
        ("not defined", say("not defined")),
    ]
    passed = ", ".join(title(one.name) for one in found.of("passed"))
    others = [
        say("{outcome}: {names}.", outcome=word, names=", ".join(title(one.name) for one in there))
        for status_, word in groups
        if (there := found.of(status_))
    ]
    if passed:
        first = say("The heat maps passed these controls: {names}.", names=passed)
    else:
        first = say("The heat maps passed no control.")
    failed = [meaning(one) for one in found.of("failed")]
    return joined([first, *(_capital(one) for one in others), *failed])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def figure(name: str) -> str:
    """What a figure is called, in the reader's language; names with numbers of their own stay in English."""
    return {
        "likeness to random weights": say("rank correlation with maps of random weights"),
        "likeness of different images": say("rank correlation of maps of different images"),
        "likeness to random weights less that of different images": say("the first less the second"),
        "SSIM with random weights": say("SSIM with maps of random weights"),
        "SSIM of different images": say("SSIM of maps of different images"),
        "score of the map": say("mean score, cells in the map's order"),
        "score of random orders": say("mean score, cells in random order"),
        "random orders less map": say("random order less map"),
        "map less random orders": say("map less random order"),
        "score of edges": say("mean score, cells in the edge detector's order"),
        "score of the centre": say("mean score, cells from the middle outwards"),
        "edges less map": say("edge detector less map"),
        "centre less map": say("middle less map"),
        "likeness to edges": say("rank correlation of the map with the edge detector"),
        "likeness to the centre": say("rank correlation of the map with the middle"),
        "likeness after moving": say("rank correlation after moving by a few pixels"),
        "likeness after noise": say("rank correlation after noise"),
        "predictions changed by moving": say("share of predictions that moving changes"),
        "predictions changed by noise": say("share of predictions that noise changes"),
        "likeness of trainings": say("rank correlation between trainings"),
        "likeness of trainings less that of different images": say(
            "that between trainings less that of different images"
        ),
        "regions below 2 cells": say("number of regions below two cells"),
    }.get(name, name)


def number(value: float, *, places: int = 2) -> str:
    """A figure for reading; `not defined` where there is none."""
    return f"{value:.{places}f}" if math.isfinite(value) else say("not defined")
