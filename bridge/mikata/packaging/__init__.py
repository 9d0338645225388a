"""Trained networks -> BioImage.IO packages that deepImageJ runs, and their check."""

from mikata.packaging.checking import CheckReport, FormatCheck, check
from mikata.packaging.trained import Evaluated, Trained, formula_image
from mikata.packaging.writer import FILES, write, zip_package

__all__ = [
    "FILES",
    "CheckReport",
    "Evaluated",
    "FormatCheck",
    "Trained",
    "check",
    "formula_image",
    "write",
    "zip_package",
]
