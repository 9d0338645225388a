"""Figures of a training in words."""

from __future__ import annotations

from mikata.evaluation import Report, words
from mikata.language import say


def interval_words(scores: Report) -> str:
    """The accuracy's interval with everything that a reader must know of it."""
    bounds = scores.accuracy.interval
    values = {
        "level": bounds.level,
        "low": share(bounds.low),
        "high": share(bounds.high),
        "method": words.method(bounds.method),
        "n": scores.n,
    }
    if scores.n_patients:
        return say(
            "{level:.0%} interval {low} to {high}, {method}, n = {n} images of {patients} patients",
            patients=scores.n_patients,
            **values,
        )
    return say("{level:.0%} interval {low} to {high}, {method}, n = {n} images", **values)


def share(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.1f} %"
