"""What a reader of a comparison must know, in sentences: when the test set is too small for the claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikata.evaluation.words import FEW_PATIENTS, Say, figure
from mikata.language import joined, say

if TYPE_CHECKING:
    from mikata.evaluation.comparison import Comparison, Difference

FEW_OF_A_CLASS = 10
"""Below so many patients (images), the interval of a recall of one half reaches more than 0.26 to both sides."""

CLAIM = "balanced_accuracy"
"""The figure whose differences are judged; the others are in the table."""


def cautions(comparison: Comparison, say: Say = say) -> tuple[str, ...]:
    """Why the figures of a comparison may not carry the claim, in sentences.

    The rules: patients are not known; fewer than 20 patients (images) in all; fewer than 10 of a class; a difference
    in balanced accuracy that is smaller than the half-width of its interval.
    """
    found = []
    known = comparison.n_patients is not None
    units = comparison.n if comparison.n_patients is None else comparison.n_patients
    if not known:
        found.append(
            say(
                "Patients are not known: images are taken as independent, and intervals are too short if some "
                "are of one patient."
            )
        )
    if units < FEW_PATIENTS:
        found.append(
            say("Only {n} patients: too few for a claim about others.", n=units)
            if known
            else say("Only {n} images: too few for a claim about others.", n=units)
        )
    for name, count in comparison.of_class.items():
        if count < FEW_OF_A_CLASS:
            found.append(
                say("Only {n} patients of {name}: its recall is hardly known.", n=count, name=name)
                if known
                else say("Only {n} images of {name}: its recall is hardly known.", n=count, name=name)
            )
    first, *others = comparison.methods
    for method in others:
        for difference in method.differences:
            if difference.figure == CLAIM and difference.too_few:
                found.append(_too_few(method.name, first.name, difference, known, say))
    return tuple(found)


def _too_few(name: str, first: str, difference: Difference, known: bool, say: Say) -> str:
    sentence = say(
        "{name} against {first}: the difference in {figure} ({value:+.3f}) is smaller than the half-width of "
        "its interval ({half:.3f}), so the test set is too small to show it.",
        name=name,
        first=first,
        figure=figure(difference.figure, say),
        value=difference.value,
        half=difference.half_width,
    )
    if difference.needed is None:
        return sentence
    wanted = (
        say("If it is real, about {n} patients would be needed.", n=difference.needed)
        if known
        else say("If it is real, about {n} images would be needed.", n=difference.needed)
    )
    return joined((sentence, wanted))


def basis(comparison: Comparison, say: Say = say) -> str:
    """What the figures were made of and how to read the two tests, in a few sentences."""
    images = (
        say("{n} images (patients not known)", n=comparison.n)
        if comparison.n_patients is None
        else say("{n} images of {patients} patients", n=comparison.n, patients=comparison.n_patients)
    )
    made = say(
        "{images}, each tested once in every one of {repeats} repeats of {folds} folds; figures are means over "
        "the repeats.",
        images=images,
        repeats=comparison.repeats,
        folds=comparison.folds,
    )
    read = say(
        "Intervals and p by resampling take the trained networks as they are; the corrected resampled t-test "
        "over the folds also counts how they would differ if trained on others. p are adjusted by Holm for the "
        "number of methods, not for the number of figures."
    )
    return joined((made, read))
