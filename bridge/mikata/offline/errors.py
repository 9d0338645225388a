"""What goes wrong while files for a machine without a network are collected."""

from __future__ import annotations

from mikata.errors import MikataError


class CollectError(MikataError):
    """Something that has to come along cannot be had: pip, the network, a wheel, Mikata's own files."""
