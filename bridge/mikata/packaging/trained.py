"""What a package is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mikata.architecture import Classifier


class Taking(Protocol):
    """A classifier and what it takes; `mikata.networks.Model` is one."""

    @property
    def classifier(self) -> Classifier:
        """The network."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the network's outputs; none where it gives a value."""

    @property
    def channels(self) -> int:
        """Number of input channels."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px: the size itself with ``resize``, the smallest one with ``native``."""

    @property
    def fit(self) -> Literal["resize", "native"]:
        """Whether images are scaled to `size`, or keep their own scale."""

    @property
    def value_unit(self) -> str:
        """Unit of the training images' values."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the training images."""


class Trained(Taking, Protocol):
    """A trained classifier with its record: what the training returns."""

    @property
    def grouping(self) -> str:
        """How the split into training and test kept images together, such as ``patient-wise``."""

    @property
    def methods(self) -> str:
        """How it was trained, as a paragraph for a methods section."""

    def record(self) -> dict[str, Any]:
        """How it was trained, as plain JSON values without paths or names of patients."""


class IntervalLike(Protocol):
    """A confidence interval."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""

    @property
    def level(self) -> float:
        """Such as 0.95."""

    @property
    def method(self) -> str:
        """How it was found."""


class ScoreLike(Protocol):
    """One figure, from 0 to 1; NaN where it is not defined."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def interval(self) -> IntervalLike:
        """Its confidence interval."""

    @property
    def n(self) -> int:
        """Number of images it is made of."""


class FigureLike(Protocol):
    """A figure under its name, flat."""

    @property
    def name(self) -> str:
        """Such as ``Bias (predicted less true) [mm]``."""

    @property
    def value(self) -> float:
        """The figure; NaN where it is not defined."""

    @property
    def low(self) -> float:
        """Lower end of its interval."""

    @property
    def high(self) -> float:
        """Upper end."""

    @property
    def level(self) -> float:
        """Confidence of the interval, such as 0.95."""

    @property
    def method(self) -> str:
        """How the interval was found."""

    @property
    def n(self) -> int:
        """Number of images it is made of."""


class ClassScoresLike(Protocol):
    """Scores of one class against the rest."""

    @property
    def name(self) -> str:
        """The class."""

    @property
    def recall(self) -> ScoreLike:
        """Share of its images that were found."""

    @property
    def precision(self) -> ScoreLike:
        """Share of the images called so that are of it."""


class Evaluated(Protocol):
    """What was measured on the test part; `mikata.evaluation.Report` is one."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def n_patients(self) -> int | None:
        """Number of patients, None where they are not known."""

    @property
    def accuracy(self) -> ScoreLike:
        """Share of images whose most probable class is the true one."""

    @property
    def balanced_accuracy(self) -> ScoreLike:
        """Mean recall of the classes."""

    @property
    def per_class(self) -> Sequence[ClassScoresLike]:
        """Scores of each class."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know, in sentences."""

    @property
    def references(self) -> Mapping[str, int]:
        """What the truth rests on: number of images for each."""

    def record(self) -> dict[str, Any]:
        """All figures as plain JSON values."""


class HasFigures(Protocol):
    """What was measured, flat."""

    def figures(self) -> Sequence[FigureLike]:
        """All figures with their intervals, in English."""


@runtime_checkable
class EvaluatedValues(Protocol):
    """What was measured of values on the test part; `mikata.evaluation.ValueReport` is one."""

    @property
    def n(self) -> int:
        """Number of images."""

    @property
    def n_patients(self) -> int | None:
        """Number of patients, None where they are not known."""

    @property
    def value_unit(self) -> str:
        """Unit of the values; empty where the data do not say it."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know, in sentences."""

    @property
    def references(self) -> Mapping[str, int]:
        """What the truth rests on: number of images for each."""

    def figures(self) -> Sequence[FigureLike]:
        """All figures with their intervals, in English."""

    def record(self) -> dict[str, Any]:
        """All figures as plain JSON values."""


def formula_image(trained: Taking) -> NDArray[np.float32]:
    """Return a test image (C, H, W) made by formula, so that no patient's image goes into a package.

    Two waves, fine and coarse, under a slow shade, other phases in each channel, whole numbers that
    fill the middle four fifths of the values' range.
    """
    height, width = trained.size
    if trained.fit == "resize":  # of another size and shape, so that scaling is tested too
        height, width = height + height // 3, width + width // 5
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(trained.channels):
        shade = (x / max(1, width - 1) + y / max(1, height - 1)) / 2
        coarse = np.sin(2 * np.pi * (x + 0.5 * y) / 23 + channel)
        fine = np.sin(2 * np.pi * (y - 0.3 * x) / 7 + 2 * channel)
        planes.append(0.5 + 0.2 * coarse + 0.15 * fine + 0.15 * (2 * shade - 1))
    low, high = trained.value_range
    values = low + (high - low) * (0.1 + 0.8 * np.stack(planes))
    # whole numbers where the range has room for them: they are the same in 8, 16 and 32 bit
    return np.asarray(np.rint(values) if high - low >= 50 else values, np.float32)
