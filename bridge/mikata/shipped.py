"""What comes with Mikata: recipes and trained packages, in the installed package or in the source tree."""

from __future__ import annotations

from pathlib import Path

_DESCRIPTION = "rdf.yaml"


def folder() -> Path:
    """The folder of the packages, with the recipes in its folder ``recipes``."""
    package = Path(__file__).parent
    installed = package / "_data" / "bioimage_models"
    return installed if installed.is_dir() else package.parents[1] / "bioimage_models"


def recipes() -> dict[str, Path]:
    """The recipes' files, by name."""
    return {path.stem: path for path in sorted((folder() / "recipes").glob("*.toml"))}


def models() -> dict[str, Path]:
    """The packages' folders, by name."""
    return {path.parent.name: path.parent for path in sorted(folder().glob(f"*/{_DESCRIPTION}"))}
