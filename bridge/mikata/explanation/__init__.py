"""Why a network says what it says: heat maps, and how they are drawn over an image."""

from __future__ import annotations

from mikata.explanation.engine import black_box_maps, heat_maps
from mikata.explanation.explained import Explanation
from mikata.explanation.layers import layer_names, target_layer
from mikata.explanation.methods import METHODS, Method, Settings
from mikata.explanation.segmentation import segment_heat_maps

__all__ = [
    "METHODS",
    "Explanation",
    "Method",
    "Settings",
    "black_box_maps",
    "heat_maps",
    "layer_names",
    "segment_heat_maps",
    "target_layer",
]
