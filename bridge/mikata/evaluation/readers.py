"""A network and a human reader on the same cases, both against a reference: who found what, and who is better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mikata.evaluation.intervals import LEVEL, Interval, drawings, expanded, wilson
from mikata.evaluation.paired import EXPANDED, difference_interval, holm
from mikata.evaluation.pairs import (
    clustered_wilson,
    exchange_p,
    kappa,
    kappa_interval,
    kappas,
    newcombe,
    predictive,
)

Cluster = Literal["patient", "case"]
"""What several cases (lesions) may share, which makes them depend on each other."""

Cell = Literal["A", "B", "C", "D", "E", "F", "G", "H"]

CELLS: dict[Cell, tuple[bool, bool, bool]] = {
    "A": (True, True, False),
    "B": (True, True, True),
    "C": (True, False, True),
    "D": (True, False, False),
    "E": (False, True, False),
    "F": (False, True, True),
    "G": (False, False, True),
    "H": (False, False, False),
}
"""What reference, human and network say, in this order. Positive by the reference: A human only, which the network
missed, B both, C network only, D neither. Negative by it: E human only, F both, G network only, H neither."""

MCNEMAR = "McNemar, exact, mid-p"
EXCHANGE = {
    "patient": "readers exchanged in whole patients, exact, mid-p",
    "case": "readers exchanged in whole cases, exact, mid-p",
}


@dataclass(frozen=True)
class Rate:
    """A share with its interval.

    Attributes
    ----------
    value, interval:
        From 0 to 1 (kappa: from -1); NaN where there is nothing to estimate from.
    count, of:
        Its numerator and denominator, cases or lesions; None for kappa and predictive values at a stated prevalence.
    units:
        How many patients (cases of lesions) it rests on; as many as `of` where all are independent.
    """

    value: float
    interval: Interval
    count: int | None
    of: int | None
    units: int


@dataclass(frozen=True)
class Gap:
    """How the network differs from the human in a share.

    Attributes
    ----------
    figure:
        ``sensitivity`` or ``specificity``.
    value, interval:
        Network less human, from -1 to 1.
    network_only, human_only:
        Cases that only the one has right.
    p, p_holm, test:
        Two-sided p, the same adjusted by Holm for all tests of a report, and which test.
    least_p:
        The smallest p that cases where they differ could give at all.
    """

    figure: str
    value: float
    interval: Interval
    network_only: int
    human_only: int
    p: float
    p_holm: float
    test: str
    least_p: float


@dataclass(frozen=True)
class Readers:
    """A network and a human reader, against a reference.

    Attributes
    ----------
    level:
        What is counted: ``case`` or ``lesion``.
    cells:
        Of `CELLS`: counts, and shares among those that are positive (A to D) and negative (E to H) by the reference.
    rates:
        ``sensitivity``, ``specificity``, ``ppv`` and ``npv`` of ``network`` and ``human``.
    gaps:
        Differences in sensitivity and specificity.
    agreement, kappa:
        Share of cases that network and human call the same, and Cohen's kappa, whatever the reference says.
    n, positives:
        Numbers of cases (lesions) in all and of those positive by the reference.
    n_units, unit:
        How many patients (cases of lesions) they are of; None where nothing is known of them.
    clustered:
        Whether some of these have several, so that cases are not independent.
    prevalence:
        At which predictive values are given; None: at the share of positives of this table.
    """

    level: Literal["case", "lesion"]
    cells: dict[Cell, Rate]
    rates: dict[tuple[str, str], Rate]
    gaps: tuple[Gap, ...]
    agreement: Rate
    kappa: Rate
    n: int
    positives: int
    n_units: int | None
    unit: Cluster | None
    clustered: bool
    prevalence: float | None

    @property
    def negatives(self) -> int:
        """How many are negative by the reference."""
        return self.n - self.positives


def compare_readers(
    network: ArrayLike,
    human: ArrayLike,
    reference: ArrayLike,
    units: Sequence[str] | None = None,
    *,
    unit: Cluster = "patient",
    level: Literal["case", "lesion"] = "case",
    prevalence: float | None = None,
    seed: int = 0,
) -> Readers:
    """Compare a network with a human reader.

    Of independent cases, shares have Wilson's interval, differences Newcombe's (method 10), kappa that of Fleiss,
    Cohen and Everitt, and tests are McNemar's with mid-p. Where a patient has several, shares have Wilson's interval
    with an effective number of cases (`mikata.evaluation.pairs.clustered_wilson`), differences and kappa come from
    resampling patients, and the test exchanges the readers in whole patients
    (`mikata.evaluation.pairs.exchange_p`).

    Parameters
    ----------
    network, human, reference:
        (n,) truth values: positive or not, of each case (lesion).
    units:
        (n,) which patient (case) each is of; None: not known, taken as independent.
    unit:
        What `units` are.
    level:
        What is counted.
    prevalence:
        For the predictive values, above 0, below 1; None: that of the table.
    seed:
        Of the resampling.

    Raises
    ------
    ValueError
        If there are no cases, or the numbers of values differ.
    """
    by_network, by_human, truth = (np.asarray(column, bool) for column in (network, human, reference))
    n = by_network.size
    shapes = {column.shape for column in (by_network, by_human, truth)}
    if n == 0 or shapes != {(n,)} or (units is not None and len(units) != n):
        raise ValueError("one call of network, human and reference is wanted for each of at least one case")
    whose = np.arange(n) if units is None else np.unique(list(units), return_inverse=True)[1].astype(np.int64)
    n_units = int(whose.max()) + 1
    table = _Table(by_network, by_human, truth, whose, unit, clustered=n_units < n, seed=seed)
    rates: dict[tuple[str, str], Rate] = {}
    for reader in ("network", "human"):
        rates |= {(figure, reader): rate for figure, rate in _rates(table, reader, prevalence)}
    yes, no = table.reference, ~table.reference
    cells: dict[Cell, Rate] = {}
    for name, (positive, human_says, network_says) in CELLS.items():
        inside = (by_human == human_says) & (by_network == network_says)
        cells[name] = table.share(inside, yes if positive else no)
    everyone = np.ones(n, bool)
    return Readers(
        level=level,
        cells=cells,
        rates=rates,
        gaps=(
            table.gap("sensitivity", table.network, table.human, yes),
            table.gap("specificity", ~table.network, ~table.human, no),
        ),
        agreement=table.share(table.network == table.human, everyone),
        kappa=table.kappa(),
        n=n,
        positives=int(yes.sum()),
        n_units=None if units is None else n_units,
        unit=None if units is None else unit,
        clustered=n_units < n,
        prevalence=prevalence,
    )


def adjusted(found: Sequence[Readers]) -> tuple[Readers, ...]:
    """The same with p adjusted by Holm for all tests of all of them."""
    ps = iter(holm([gap.p for one in found for gap in one.gaps]))
    return tuple(replace(one, gaps=tuple(replace(gap, p_holm=next(ps)) for gap in one.gaps)) for one in found)


def _rates(table: _Table, reader: str, prevalence: float | None) -> Iterator[tuple[str, Rate]]:
    said = table.network if reader == "network" else table.human
    yes = table.reference
    sensitivity, specificity = table.share(said, yes), table.share(~said, ~yes)
    yield "sensitivity", sensitivity
    yield "specificity", specificity
    if prevalence is None:
        yield "ppv", table.share(yes, said)
        yield "npv", table.share(~yes, ~said)
        return
    wide = 1 - (1 - LEVEL) / 2
    ends = (table.share(said, yes, wide).interval, table.share(~said, ~yes, wide).interval)
    found = predictive(*ends, (sensitivity.value, specificity.value), prevalence)
    for name, (value, interval) in zip(("ppv", "npv"), found, strict=True):
        yield name, Rate(value, interval, None, None, min(sensitivity.units, specificity.units))


class _Table:
    """Calls of the readers, and whose cases they are."""

    def __init__(
        self,
        network: NDArray[np.bool_],
        human: NDArray[np.bool_],
        reference: NDArray[np.bool_],
        whose: NDArray[np.int64],
        unit: Cluster,
        *,
        clustered: bool,
        seed: int,
    ) -> None:
        self.network, self.human, self.reference = network, human, reference
        self._whose, self._unit, self._seed = whose, unit, seed
        self._clustered = clustered

    def share(self, right: NDArray[np.bool_], among: NDArray[np.bool_], level: float = LEVEL) -> Rate:
        """Share of `right` in `among`."""
        count, of = int((right & among).sum()), int(among.sum())
        counts = np.bincount(self._whose, weights=among)
        interval = (
            clustered_wilson(np.bincount(self._whose, weights=right & among), counts, level)
            if self._clustered
            else wilson(count, of, level)
        )
        return Rate(count / of if of else math.nan, interval, count, of, int((counts > 0).sum()))

    def gap(
        self, figure: str, first: NDArray[np.bool_], second: NDArray[np.bool_], among: NDArray[np.bool_]
    ) -> Gap:
        """Difference of two shares of `among`, first less second."""
        of = int(among.sum())
        only_first, only_second = first & ~second & among, second & ~first & among
        b, c = int(only_first.sum()), int(only_second.sum())
        units = np.flatnonzero(np.bincount(self._whose, weights=among))
        sums = [
            np.bincount(self._whose, weights=part)[units]
            for part in (among, only_first, only_second)
        ] if of else [np.zeros(0)] * 3  # fmt: skip
        size, won, lost = sums
        differences = won - lost
        value = (b - c) / of if of else math.nan
        several = bool((size > 1).any())
        if several:
            draws = np.concatenate(
                [(differences @ drawn) / (size @ drawn) for drawn in drawings(len(units), seed=self._seed)]
            )
            interval = self._named(difference_interval(value, draws, len(units), len(units), "patient"))
        else:
            both = int((first & second & among).sum())
            interval = newcombe(both, b, c, of - both - b - c)
        p = exchange_p(differences) if of else math.nan
        return Gap(
            figure,
            value,
            interval,
            b,
            c,
            p,
            p,
            EXCHANGE[self._unit] if several else MCNEMAR,
            exchange_p(np.abs(differences)) if of else math.nan,
        )

    def kappa(self) -> Rate:
        """Cohen's kappa of network and human."""
        parts = (
            self.network & self.human,
            self.network & ~self.human,
            ~self.network & self.human,
            ~self.network & ~self.human,
        )
        both, first, second, neither = (int(part.sum()) for part in parts)
        value = kappa(both, first, second, neither).value
        units = int(self._whose.max()) + 1
        interval = kappa_interval(both, first, second, neither, units)
        if self._clustered and first + second and math.isfinite(value):
            sums = np.stack([np.bincount(self._whose, weights=part, minlength=units) for part in parts])
            draws = np.concatenate([kappas(sums @ drawn) for drawn in drawings(units, seed=self._seed)])
            interval = self._named(Interval(*expanded(draws, units), EXPANDED["patient"]))
        return Rate(value, interval, None, None, units)

    def _named(self, interval: Interval) -> Interval:
        """The interval with its method said of what was resampled."""
        if self._unit == "patient":
            return interval
        return replace(interval, method=interval.method.replace("patients", "cases"))
