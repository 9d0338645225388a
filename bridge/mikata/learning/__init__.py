"""From labelled images to a tested package with a report: the work of the Train commands."""

from mikata.learning.detected import LearntDetection, train_detection_package
from mikata.learning.ensembling import train_ensemble
from mikata.learning.figures import interval_words
from mikata.learning.learnt import Learnt
from mikata.learning.packaged import train_package
from mikata.learning.page import sections
from mikata.learning.segmented import LearntSegmentation, train_segmentation_package

__all__ = [
    "Learnt",
    "LearntDetection",
    "LearntSegmentation",
    "interval_words",
    "sections",
    "train_detection_package",
    "train_ensemble",
    "train_package",
    "train_segmentation_package",
]
