"""The control report beside heat maps: what a map must show before it is read. It never says that a map is right."""

from mikata.explaining.controls.page import section
from mikata.explaining.controls.results import Control, Controls, Curve, Figure
from mikata.explaining.controls.running import IMAGES, controls_for
from mikata.explaining.controls.sample import Candidate
from mikata.explaining.controls.words import sentence

__all__ = [
    "IMAGES",
    "Candidate",
    "Control",
    "Controls",
    "Curve",
    "Figure",
    "controls_for",
    "section",
    "sentence",
]
