"""Packages of other programs: read, judged and run."""

from mikata.networks.importing.foreign_networks import (
    ForeignClassifier,
    read_foreign_classifier,
    read_foreign_network,
)

__all__ = ["ForeignClassifier", "read_foreign_classifier", "read_foreign_network"]
