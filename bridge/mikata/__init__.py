"""Mikata: train, explain and measure deep networks on images, from ImageJ. Research use, not for diagnosis.

The commands are functions here (`train`, `compare`, `grad_cam` and so on); everything else is in the modules,
such as `mikata.imagej` and `mikata.explanation`. Importing this loads neither torch nor Java.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mikata.commands import (
    COMMANDS,
    agreement,
    check_package,
    compare,
    derive,
    detect,
    doctor,
    ensemble,
    export_package,
    formula,
    grad_cam,
    heat_by_region,
    import_package,
    montage,
    predict,
    region_overlap,
    robustness,
    search,
    segment,
    train,
    train_detection,
    train_segmentation,
)
from mikata.errors import MikataError
from mikata.types import Image, Progress, Region, Result, Table

if TYPE_CHECKING:
    __version__: str

_MODULES = frozenset(
    {
        "datasets",
        "evaluation",
        "explanation",
        "fractals",
        "imagej",
        "images",
        "networks",
        "packaging",
        "regions",
        "training",
    }
)

__all__ = [
    "COMMANDS",
    "Image",
    "MikataError",
    "Progress",
    "Region",
    "Result",
    "Table",
    "__version__",
    "agreement",
    "check_package",
    "compare",
    "derive",
    "detect",
    "doctor",
    "ensemble",
    "export_package",
    "formula",
    "grad_cam",
    "heat_by_region",
    "import_package",
    "montage",
    "predict",
    "region_overlap",
    "robustness",
    "search",
    "segment",
    "train",
    "train_detection",
    "train_segmentation",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # looked up when asked for: it takes longer than everything else here
        from importlib.metadata import version

        return version("mikata")
    if name in _MODULES:
        return importlib.import_module(f"mikata.{name}")
    raise AttributeError(f"module 'mikata' has no attribute '{name}'")
