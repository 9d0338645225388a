"""Mikata for machines without a network: a wheelhouse to install from, a folder for a memory stick."""

from __future__ import annotations

from mikata.offline.portable import portable
from mikata.offline.wheelhouse import wheelhouse

__all__ = ["portable", "wheelhouse"]
