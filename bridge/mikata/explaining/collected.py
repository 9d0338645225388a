"""Measures of many heat maps in one array, whatever regions each image has, and their long table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mikata.explanation.measuring import LEAST_CELLS, Measures
from mikata.types import Table

NOT_DEFINED = "not defined"
"""What tables say where there is no figure: a map without heat has no shares."""


@dataclass(frozen=True)
class Subject:
    """The plane that heat maps are of.

    Attributes
    ----------
    image:
        Name of the image in the run; `z` and `t` count from 1.
    truth:
        Number of the true class, None where it is not known.
    patient:
        As in all results, empty where not known.
    predicted:
        Number of the predicted class.
    outputs:
        Probabilities, or the value alone.
    """

    image: str
    z: int
    t: int
    truth: int | None
    patient: str
    predicted: int
    outputs: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _Row:
    subject: Subject
    classes: tuple[int, ...]
    regions: tuple[str, ...]
    measures: Measures
    area_cells: NDArray[np.float64]


@dataclass
class Collected:
    """Measures as they come in, plane by plane.

    Attributes
    ----------
    classes:
        Names of what the network gives.
    values:
        Whether it gives a value instead of classes.
    layer, method:
        Of the explanation, once there is a plane.
    """

    classes: tuple[str, ...]
    values: bool = False
    layer: str = ""
    method: str = ""
    _rows: list[_Row] = field(default_factory=list, init=False)

    def add(
        self,
        subject: Subject,
        classes: tuple[int, ...],
        regions: tuple[str, ...],
        measures: Measures,
        area_cells: NDArray[np.float64],
    ) -> None:
        """Take one plane: K maps in its R regions."""
        self._rows.append(_Row(subject, classes, regions, measures, area_cells))

    def __len__(self) -> int:
        return len(self._rows)

    def maps(self) -> Maps:
        """All maps in arrays."""
        names = self.regions()
        column = {name: index for index, name in enumerate(names)}
        count = sum(len(row.classes) for row in self._rows)
        share, area, hit = (np.full((count, len(names)), np.nan) for _ in range(3))
        subjects: list[Subject] = []
        classes: list[int] = []
        for row in self._rows:
            start = len(subjects)
            subjects += [row.subject] * len(row.classes)
            classes += row.classes
            lines = slice(start, len(subjects))
            columns = [column[name] for name in row.regions]
            share[lines, columns] = row.measures.share
            area[lines, columns] = row.measures.area_share
            hit[lines, columns] = np.where(row.measures.total[:, None] > 0, row.measures.inside, np.nan)
        return Maps(
            names, tuple(subjects), np.array(classes, np.int64), share, area, hit, self.classes, self.values
        )

    def regions(self) -> tuple[str, ...]:
        """Names of all regions, in the order in which they came."""
        return tuple(dict.fromkeys(name for row in self._rows for name in row.regions))

    def small(self) -> dict[str, float]:
        """Regions smaller than two cells of the network's grid, each with its smallest size in cells."""
        found: dict[str, float] = {}
        for row in self._rows:
            for name, cells in zip(row.regions, row.area_cells.tolist(), strict=True):
                if cells < LEAST_CELLS:
                    found[name] = min(cells, found.get(name, cells))
        return found

    def table(self) -> Table:
        """One row for each plane, class and region.

        Places count pixels from 0. ``peak_region`` names all regions that hold the peak; ``peak_inside`` is 1 where
        this one does, which is the pointing game. ``below_2_cells`` is 1 where the region is smaller than two cells
        of the network's grid.
        """
        named = ("value",) if self.values else ("class", "probability", "predicted")
        columns = (
            "image", "slice", "frame", "patient", "label", *named, "region", "heat_share", "area_share", "heat_mean",
            "peak_x_px", "peak_y_px", "peak_region", "peak_inside", "centre_x_px", "centre_y_px", "area_px",
            "area_cells", "below_2_cells", "layer", "method",
        )  # fmt: skip
        return Table(
            "Heat by Region", columns, tuple(line for row in self._rows for line in self._lines(row))
        )

    def _lines(self, row: _Row) -> list[tuple[object, ...]]:
        found, one = row.measures, row.subject
        lines: list[tuple[object, ...]] = []
        label = "" if one.truth is None else self.classes[one.truth]
        for k, number in enumerate(row.classes):
            heated = bool(found.total[k] > 0)
            says = (
                (one.outputs[0],)
                if self.values
                else (self.classes[number], one.outputs[number], self.classes[one.predicted])
            )
            where = "; ".join(name for name, hit in zip(row.regions, found.inside[k], strict=True) if hit)
            peak = (int(found.peak[k, 1]), int(found.peak[k, 0])) if heated else (NOT_DEFINED,) * 2
            centre = (float(found.centre[k, 1]), float(found.centre[k, 0])) if heated else (NOT_DEFINED,) * 2
            for r, name in enumerate(row.regions):
                lines.append((
                    one.image, one.z, one.t, one.patient, label, *says, name,
                    float(found.share[k, r]) if heated else NOT_DEFINED, float(found.area_share[r]),
                    float(found.mean[k, r]), *peak, where, int(found.inside[k, r]) if heated else NOT_DEFINED,
                    *centre, int(found.area_px[r]), float(row.area_cells[r]),
                    int(row.area_cells[r] < LEAST_CELLS), self.layer, self.method,
                ))  # fmt: skip
        return lines


@dataclass(frozen=True, eq=False)
class Maps:
    """M heat maps in R regions.

    Attributes
    ----------
    regions:
        Names of the R regions, in the order in which they came.
    subjects:
        (M,) what each map is of.
    explained:
        (M,) number of the class that each map explains.
    share:
        (M, R) heat share; NaN without heat, or where the image has no such region.
    area:
        (M, R) area share; NaN where the image has no such region.
    hit:
        (M, R) 1 where the peak is in the region, else 0; NaN as `share`.
    classes, values:
        As of `Collected`.
    """

    regions: tuple[str, ...]
    subjects: tuple[Subject, ...]
    explained: NDArray[np.int64]
    share: NDArray[np.float64]
    area: NDArray[np.float64]
    hit: NDArray[np.float64]
    classes: tuple[str, ...]
    values: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of what can be explained."""
        return ("value",) if self.values else self.classes
