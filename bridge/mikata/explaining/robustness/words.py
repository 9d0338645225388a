"""What was found, in sentences: what leads, and what a reader must know besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mikata.evaluation import Interval
from mikata.explaining.robustness.attacked import Facts
from mikata.explaining.robustness.outcomes import (
    FGSM,
    PGD,
    SMALLEST,
    UNCHANGED,
    Figures,
    Outcomes,
    Subject,
    kinds,
    of_kind,
)
from mikata.explanation.corruptions import Corruption
from mikata.language import say
from mikata.networks import Model
from mikata.outputs import first_few

NONE_FOUND = "none found"
"""What tables say where no change within the bound flipped the class."""

_FEW = 10  # patients below which intervals by resampling are too short, as in mikata.evaluation.words


@dataclass(frozen=True)
class Row:
    """A plane that was attacked, and what was found of it."""

    subject: Subject
    facts: Facts


@dataclass(frozen=True, eq=False)
class Found:
    """A whole run.

    Attributes
    ----------
    figures:
        Of every test and level.
    rows:
        Of the planes that were attacked, none where only corruptions were tested.
    epsilon:
        Bound of the attacks, in the unit of the values.
    failed:
        How many planes a corruption left constant.
    no_heat:
        Why there are no heat maps, empty where there are.
    sample:
        How the sample was drawn, empty where all images were taken.
    """

    network: Model
    outcomes: Outcomes
    figures: tuple[Figures, ...]
    rows: tuple[Row, ...]
    epsilon: float
    adversarial: bool
    failed: Mapping[Corruption, int]
    no_heat: str
    sample: str

    @property
    def unchanged(self) -> Figures:
        """Of the images as they are."""
        return next(one for one in self.figures if one.test.name == UNCHANGED)

    @property
    def bound(self) -> str:
        """The attacks' bound with its unit."""
        return f"{self.epsilon:g} {self.network.value_unit}"

    def of(self, name: str) -> list[Figures]:
        """One test, from its weakest to its strongest level."""
        return of_kind(self.figures, name)


def kind(name: str) -> str:
    """A test's name in the reader's language."""
    return {
        "noise": say("noise"),
        "blur": say("blur"),
        "contrast": say("contrast"),
        "jpeg": say("JPEG"),
        "rotation": say("rotation"),
        UNCHANGED: say("unchanged"),
        SMALLEST: say("smallest change"),
    }.get(name, name)


def unit(name: str, value_unit: str) -> str:
    """What a corruption's levels are in, in the reader's language."""
    return {
        "noise": say("{unit} (standard deviation)", unit=value_unit),
        "blur": say("px (standard deviation)"),
        "contrast": say("% of the contrast left"),
        "jpeg": say("quality"),
        "rotation": say("degrees"),
    }[name]


def share(value: float, interval: Interval) -> str:
    """A share in per cent with its interval."""
    if not math.isfinite(value):
        return say("not defined")
    if not math.isfinite(interval.low):
        return f"{100 * value:.1f}\u00a0%"
    return f"{100 * value:.1f}\u00a0% ({100 * interval.low:.1f}\u00a0–\u00a0{100 * interval.high:.1f})"


def where_changed(network: Model) -> str:
    """At which size images are changed."""
    if network.fit == "native":
        return say("in the image itself, at its own size")
    height, width = network.size
    return say(
        "after the image was scaled to the network's {width} x {height} px", width=width, height=height
    )


def tested(found: Found) -> str:
    """What was tested, in a sentence or two."""
    one = found.unchanged
    words = say(
        "{planes} plane(s) of {images} image(s) tested on {model}.",
        planes=one.n_planes,
        images=one.n_images,
        model=found.network.path.name,
    )
    return f"{words} {found.sample}".strip()


def leading(found: Found) -> list[str]:
    """The main findings, a sentence each."""
    said = []
    if found.adversarial:
        said += _attacks(found)
    said += _corruptions(found)
    return said


def _attacks(found: Found) -> list[str]:
    fgsm, pgd = found.of(FGSM)[0], found.of(PGD)[0]
    said = [
        say(
            "Changing no value by more than {bound}, FGSM flipped the predicted class of {fgsm} of {n} and PGD of {pgd}.",
            bound=found.bound,
            fgsm=fgsm.flips,
            pgd=pgd.flips,
            n=pgd.n_planes,
        )
    ]
    distances = np.array([row.facts.distance for row in found.rows])
    there = np.isfinite(distances)
    if there.any():
        percents = np.array([row.facts.percent for row in found.rows])[there]
        said.append(
            say(
                "The smallest change that flips was at most {low:.3g} to {high:.3g} {unit}, median {median:.3g} "
                "({percent:.2g} % of the image's range of values), in {count} of {n}.",
                low=float(distances[there].min()),
                high=float(distances[there].max()),
                median=float(np.median(distances[there])),
                percent=float(np.median(percents)),
                unit=found.network.value_unit,
                count=int(there.sum()),
                n=len(distances),
            )
        )
    if not there.all():
        said.append(
            say(
                "No change up to {bound} flipped the class of {count} of {n}: none was found, which does not prove that "
                "there is none.",
                bound=found.bound,
                count=int((~there).sum()),
                n=len(distances),
            )
        )
    moved = [row.facts.moved for row in found.rows if row.facts.moved]
    kept = [one.kept for one in moved if math.isfinite(one.kept)]
    if kept:
        shifts = [one.shift_px for one in moved if math.isfinite(one.shift_px)]
        said.append(
            say(
                "Of the heat of the class predicted before, {kept:.0f} % stayed in place under the change that is shown, and "
                "its centre moved by {shift:.1f} px (medians of {n}).",
                kept=100 * float(np.median(kept)),
                shift=float(np.median(shifts)),
                n=len(kept),
            )
        )
    return said


def _corruptions(found: Found) -> list[str]:
    worst = [min(found.of(name), key=lambda one: one.leading[0]) for name in kinds(found.figures)]
    if not worst:
        return []
    one = min(worst, key=lambda each: each.leading[0])
    at = f"{one.test.level:g} {unit(one.test.name, found.network.value_unit)}"
    value, interval = one.leading
    before, interval_before = found.unchanged.leading
    if found.outcomes.judged:
        return [
            say(
                "Of the corruptions, {kind} at {level} did most: accuracy {after}, unchanged {before}.",
                kind=kind(one.test.name),
                level=at,
                after=share(value, interval),
                before=share(before, interval_before),
            )
        ]
    return [
        say(
            "Of the corruptions, {kind} at {level} did most: {after} of the planes kept their class.",
            kind=kind(one.test.name),
            level=at,
            after=share(value, interval),
        )
    ]


def notes(found: Found) -> list[str]:
    """What a reader must know of the figures, in sentences."""
    said = []
    if found.adversarial and found.network.fit != "native":
        height, width = found.network.size
        said.append(
            say(
                "Images are scaled to the network's {width} x {height} px, and are changed there: difference and changed "
                "images have this size, and whether a change of the image at its own size does the same was not tested.",
                width=width,
                height=height,
            )
        )
    still = sum(row.facts.still for row in found.rows)
    if still:
        said.append(
            say(
                "In {count} of {n} planes the network's score has no gradient: it depends on no value that could be "
                "changed, or all are at their limit. That FGSM and PGD do nothing there says nothing.",
                count=still,
                n=len(found.rows),
            )
        )
    if found.no_heat:
        said.append(say("There are no heat maps: {reason}", reason=found.no_heat))
    without = [row for row in found.rows if row.facts.moved and not math.isfinite(row.facts.moved.kept)]
    if without:
        said.append(
            say(
                "{count} of {n} planes have no heat for the class, before or after the change: how it moves is not defined.",
                count=len(without),
                n=len(found.rows),
            )
        )
    if found.failed:
        listed = [f"{kind(one.kind)} {one.level:g}: {count}" for one, count in found.failed.items()]
        said.append(
            say(
                "Some planes hold the same value everywhere after a corruption, and are left out at that level ({listed}).",
                listed=first_few(listed),
            )
        )
    said += _independence(found)
    said += human(found)
    return said


def _independence(found: Found) -> list[str]:
    outcomes = found.outcomes
    if outcomes.unit == "image":
        if found.unchanged.n_units < found.unchanged.n_planes:
            return [
                say(
                    "Patients are not known, and the {planes} planes are of {files} file(s): files are resampled, since "
                    "planes of one file are not independent. A CSV with file, label and patient tells whose images "
                    "they are.",
                    planes=found.unchanged.n_planes,
                    files=found.unchanged.n_units,
                )
            ]
        return [
            say(
                "Patients are not known: images are taken as independent, and intervals are too short if some "
                "are of one patient."
            )
        ]
    if found.unchanged.n_units < _FEW:
        return [
            say(
                "Only {n} patients: intervals from resampling so few are too short.",
                n=found.unchanged.n_units,
            )
        ]
    return []


def human(found: Found) -> list[str]:
    """Where network and human part, as far as that was measured; nothing where no human's calls are known."""
    calls = [row for row in found.rows if row.subject.human is not None]
    read = found.unchanged.n_human
    if not read:
        return []
    agreed = sum(one.human is not None and one.human == one.predicted for one in found.outcomes.subjects)
    said = [
        say(
            "Unchanged, the network agreed with the human in {agreed} of {read} planes that the human called.",
            agreed=agreed,
            read=read,
        )
    ]
    together = [row for row in calls if row.subject.human == row.subject.predicted]
    if together:
        parted = sum(math.isfinite(row.facts.distance) for row in together)
        said.append(
            say(
                "In {parted} of the {agreed} where they agreed, a change of no value by more than {bound} made the network "
                "leave the human's call.",
                parted=parted,
                agreed=len(together),
                bound=found.bound,
            )
        )
    said.append(
        say(
            "The human saw the unchanged images only: that the human's call stays the same under these changes is an "
            "assumption, not a measurement."
        )
    )
    return said
