"""Pictures drawn by a formula, to learn from before there are data: no download, no licence, no patient.

Each class is one iterated function system, found by the rule of FractalDB; every picture is a pure function of
(seed, class, number, style), on any machine and with any number of processes. `pictures` fills an array for a
training, `picture` draws one, `write_folder` makes a folder of class folders.

Sources: Kataoka et al., "Pre-training without Natural Images", ACCV 2020 and IJCV 2022 (arXiv 2101.08515), with its
code (hirokatsukataoka16/FractalDB-Pretrained-ResNet-PyTorch, MIT, commit ffc4bf2), which the rule below is taken
from; Nakamura et al., "Pre-training Vision Transformers with Very Limited Synthesized Images", ICCV 2023
(arXiv 2307.14710; ryoo-nakamura/OFDB, MIT): one picture a class. No line of either code is used here.
"""

from __future__ import annotations

from mikata.fractals.drawing import Style, picture
from mikata.fractals.folder import Drawn, write_folder
from mikata.fractals.gallery import first_systems, pictures
from mikata.fractals.montage import montage
from mikata.fractals.systems import System, system

__all__ = [
    "Drawn",
    "Style",
    "System",
    "first_systems",
    "montage",
    "picture",
    "pictures",
    "system",
    "write_folder",
]
