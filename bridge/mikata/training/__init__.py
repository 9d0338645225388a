"""Training a network on data sets as a recipe says, in one stage or several."""

from mikata.training.detecting import train_detection
from mikata.training.detection_run import DetectionRun
from mikata.training.pretraining import Memory
from mikata.training.recipe import Recipe
from mikata.training.run import Run
from mikata.training.segmented_run import SegmentationRun
from mikata.training.segmenting import train_segmentation
from mikata.training.stage import Stage
from mikata.training.stages import train

__all__ = [
    "DetectionRun",
    "Memory",
    "Recipe",
    "Run",
    "SegmentationRun",
    "Stage",
    "train",
    "train_detection",
    "train_segmentation",
]
