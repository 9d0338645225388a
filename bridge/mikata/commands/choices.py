"""What several commands let the user choose from: declared once, so that their dialogs and errors agree."""

from typing import Literal

MethodName = Literal[
    "Grad-CAM",
    "Grad-CAM++",
    "HiResCAM",
    "LayerCAM",
    "Eigen-CAM",
    "Score-CAM",
    "Integrated-Gradients",
    "Occlusion",
    "RISE",
]

Lut = Literal["Fire", "Inferno", "Magma", "Viridis", "Turbo", "Jet", "Grays"]

Part = Literal["all", "training", "selection", "test"]
