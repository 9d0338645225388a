"""Trained networks -> BioImage.IO packages that deepImageJ runs, and their check."""

from mikata.packaging.checking import CheckReport, FormatCheck, check
from mikata.packaging.description import refuse_words
from mikata.packaging.exported import Exported
from mikata.packaging.exporting import export
from mikata.packaging.segmented import write_segmentation
from mikata.packaging.trained import Evaluated, Trained, formula_image
from mikata.packaging.writer import FILES, refuse_target, write, zip_package

__all__ = [
    "FILES",
    "CheckReport",
    "Evaluated",
    "Exported",
    "FormatCheck",
    "Trained",
    "check",
    "export",
    "formula_image",
    "refuse_target",
    "refuse_words",
    "write",
    "write_segmentation",
    "zip_package",
]
