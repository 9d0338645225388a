"""Figures of a training in words."""

from __future__ import annotations

import math

from mikata.evaluation import Interval, Report, ValueReport, words
from mikata.language import say


def interval_words(scores: Report) -> str:
    """The accuracy's interval with everything that a reader must know of it."""
    bounds = scores.accuracy.interval
    return _interval(bounds, share(bounds.low), share(bounds.high), scores)


def error_words(scores: ValueReport) -> str:
    """The mean absolute error's interval with everything that a reader must know of it."""
    bounds = scores.agreement.mae.interval
    return _interval(
        bounds, amount(bounds.low, scores.value_unit), amount(bounds.high, scores.value_unit), scores
    )


def _interval(bounds: Interval, low: str, high: str, scores: Report | ValueReport) -> str:
    values = {
        "level": bounds.level,
        "low": low,
        "high": high,
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


def amount(value: float, unit: str) -> str:
    """A value with its unit, four significant digits; ``not defined`` where it is NaN."""
    return f"{value:.4g} {unit}".rstrip() if math.isfinite(value) else say("not defined")
