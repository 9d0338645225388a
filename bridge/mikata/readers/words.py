"""What the cells and figures of an agreement are called, and what a reader must know of them, in sentences."""

from __future__ import annotations

import math

from mikata.evaluation import words as evaluation_words
from mikata.evaluation.cautions import FEW_OF_A_CLASS
from mikata.evaluation.pairs import AGREED, BAYES, EFFECTIVE, FLEISS, NEWCOMBE
from mikata.evaluation.readers import EXCHANGE, MCNEMAR, Gap, Readers
from mikata.evaluation.words import FEW_PATIENTS
from mikata.language import say

_ALPHA = 0.05


def cell(name: str) -> str:
    """What a cell of `mikata.evaluation.CELLS` means."""
    return {
        "A": say("Human only: the network missed it"),
        "B": say("Both found it"),
        "C": say("Network only: the human missed it"),
        "D": say("Neither: both missed it"),
        "E": say("Human only: a false alarm of the human"),
        "F": say("Both: a false alarm of both"),
        "G": say("Network only: a false alarm of the network"),
        "H": say("Neither: both rightly negative"),
    }[name]


def figure(name: str) -> str:
    """Name of a figure by its key."""
    return {
        "sensitivity": say("Sensitivity"),
        "specificity": say("Specificity"),
        "ppv": say("Positive predictive value"),
        "npv": say("Negative predictive value"),
        "agreement": say("Network and human say the same"),
        "kappa": say("Cohen's kappa of network and human"),
    }[name]


def reader(name: str) -> str:
    """Who reads: ``network``, ``human`` or ``both``."""
    return {"network": say("network"), "human": say("human"), "both": say("both")}[name]


def level(name: str) -> str:
    """What is counted, as a heading."""
    return {"case": say("By case"), "lesion": say("By lesion")}[name]


def method(name: str) -> str:
    """How an interval or a p was made."""
    known = {
        EFFECTIVE: say("Wilson, effective number of cases (Rao and Scott)"),
        NEWCOMBE: say("Newcombe, paired"),
        FLEISS: say("Fleiss, Cohen and Everitt"),
        AGREED: say("Wilson of the agreement, since no case differs"),
        BAYES: say("ends of the 97.5 % intervals of sensitivity and specificity (Bonferroni)"),
        MCNEMAR: say("McNemar, exact, mid-p"),
        EXCHANGE["patient"]: say("readers exchanged in whole patients, exact, mid-p"),
        EXCHANGE["case"]: say("readers exchanged in whole cases, exact, mid-p"),
        "bootstrap over cases, expanded percentiles": say("bootstrap over cases, expanded percentiles"),
        "Wilson over cases, since all resamples agree": say("Wilson over cases, since all resamples agree"),
    }
    return known.get(name) or evaluation_words.method(name)


def basis(found: Readers) -> str:
    """How many cases of how many patients, in a sentence."""
    counts = {
        "n": found.n,
        "positives": found.positives,
        "negatives": found.negatives,
        "units": found.n_units,
    }
    if found.level == "lesion":
        if found.unit == "patient":
            return say(
                "{n} lesions of {units} patients: {positives} positive and {negatives} negative by the reference.",
                **counts,
            )
        return say(
            "{n} lesions of {units} cases (patients not known): {positives} positive and {negatives} negative by the "
            "reference.",
            **counts,
        )
    if found.n_units is None:
        return say(
            "{n} cases (patients not known): {positives} positive and {negatives} negative by the reference.",
            **counts,
        )
    return say(
        "{n} cases of {units} patients: {positives} positive and {negatives} negative by the reference.",
        **counts,
    )


def missed(found: Readers) -> str:
    """The safety concern: what the network missed and the human found, in a sentence."""
    rate = found.cells["A"]
    if not rate.of:
        return say("Nothing is positive by the reference: nothing can be said of what the network misses.")
    values = {
        "count": rate.count,
        "of": rate.of,
        "share": rate.value,
        "low": rate.interval.low,
        "high": rate.interval.high,
        "things": say("lesions") if found.level == "lesion" else say("cases"),
    }
    if not math.isfinite(rate.interval.low):
        return say(
            "A: of {of} {things} positive by the reference, the network missed {count} that the human found.",
            **values,
        )
    if not rate.count:
        return say(
            "A: of {of} {things} positive by the reference, the network missed none that the human found; the true share may "
            "still be up to {high:.1%}.",
            **values,
        )
    return say(
        "A: of {of} {things} positive by the reference, the network missed {count} that the human found ({share:.1%}, 95 % "
        "interval {low:.1%} to {high:.1%}).",
        **values,
    )


def verdict(gap: Gap) -> str:
    """Whether network and human differ in sensitivity or specificity, in a sentence."""
    values = {
        "figure": figure(gap.figure),
        "points": 100 * gap.value,
        "low": 100 * gap.interval.low,
        "high": 100 * gap.interval.high,
        "p": gap.p_holm,
    }
    if not math.isfinite(gap.value) or not math.isfinite(gap.interval.low):
        return say("{figure}: too few cases to compare network and human.", figure=values["figure"])
    if gap.p_holm >= _ALPHA:
        return say(
            "{figure}: no difference shown between network and human ({points:+.1f} points, 95 % interval {low:+.1f} to "
            "{high:+.1f}; Holm-adjusted p {p:.3f}). This does not show that they are equally good.",
            **values,
        )
    if gap.value > 0:
        return say(
            "{figure}: the network is better than the human by {points:.1f} points (95 % interval {low:+.1f} to "
            "{high:+.1f}; Holm-adjusted p {p:.3f}).",
            **values,
        )
    return say(
        "{figure}: the network is worse than the human ({points:+.1f} points, 95 % interval {low:+.1f} to "
        "{high:+.1f}; Holm-adjusted p {p:.3f}).",
        **values,
    )


def cautions(found: Readers) -> list[str]:
    """Why the figures may not carry a claim, in sentences.

    The rules: patients are not known; fewer than 20 patients (cases) in all; fewer than 10 positive or negative by
    the reference; so few cases with different calls that no test could find a difference; nothing that both called
    negative and the reference positive, or at all (the reference may have been sought only where somebody called).
    """
    said = []
    if found.unit is None:
        said.append(
            say(
                "Patients are not known: cases are taken as independent, and intervals are too short if some are of "
                "one patient."
            )
        )
    elif found.unit == "case":
        said.append(
            say(
                "Patients are not known: cases are taken as independent, and intervals are too short if some are of "
                "one patient. Lesions of one case are not."
            )
        )
    units = found.n if found.n_units is None else found.n_units
    known = found.unit == "patient"
    if units < FEW_PATIENTS:
        said.append(
            say("Only {n} patients: too few for a claim about others.", n=units)
            if known
            else say("Only {n} cases: too few for a claim about others.", n=units)
        )
    for name, key in (("A", "sensitivity"), ("E", "specificity")):
        rate = found.cells[name]  # type: ignore[index]
        if not rate.of:
            said.append(
                say("Nothing is positive by the reference: sensitivity is not defined.")
                if key == "sensitivity"
                else say("Nothing is negative by the reference: specificity is not defined.")
            )
        elif rate.units < FEW_OF_A_CLASS:
            values = {"n": rate.units, "figure": figure(key)}
            said.append(
                say("{figure} rests on only {n} patients: it is hardly known.", **values)
                if known
                else say("{figure} rests on only {n} cases: it is hardly known.", **values)
            )
    for gap in found.gaps:
        if gap.least_p > _ALPHA:
            said.append(
                say(
                    "{figure}: network and human differ in so few cases ({count}) that no test can find a difference "
                    "here.",
                    figure=figure(gap.figure),
                    count=gap.network_only + gap.human_only,
                )
            )
    neither = (found.cells["D"].count or 0) + (found.cells["H"].count or 0)
    if not neither:
        said.append(
            say(
                "No case that both called negative is in the table. If the reference was sought only where one of them "
                "was positive, sensitivity is too high and specificity too low (verification bias)."
            )
        )
    elif not found.cells["D"].count and found.positives:
        said.append(
            say(
                "Nothing positive was missed by both. If the reference rests on what one of the two has found, such "
                "cases cannot come to light, and both sensitivities are too high."
            )
        )
    if found.level == "lesion":
        said.append(
            say(
                "Specificity by lesion is of the lesions that somebody listed, not of all places without one: it is not "
                "comparable with that of another list."
            )
        )
    return said


def prevalence_note(found: Readers) -> str:
    """At which share of positives predictive values are given."""
    if found.prevalence is not None:
        return say(
            "Predictive values are for a share of positives of {prevalence:.2%}, as it was stated.",
            prevalence=found.prevalence,
        )
    return say(
        "Predictive values are for the share of positives of this table, {prevalence:.1%}. Where fewer are positive, as in "
        "screening, the positive predictive value is lower: state that share (prevalence_percent) to see it.",
        prevalence=found.positives / found.n,
    )
