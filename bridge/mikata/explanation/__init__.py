"""Why a network says what it says: heat maps, and how they are drawn over an image."""

from __future__ import annotations

from mikata.explanation.engine import METHODS, Explanation, heat_maps
from mikata.explanation.layers import layer_names, target_layer

__all__ = ["METHODS", "Explanation", "heat_maps", "layer_names", "target_layer"]
