"""Training a classifier on a data set as a recipe says."""

from mikata.training.recipe import Recipe, Stage
from mikata.training.run import Run, train

__all__ = ["Recipe", "Run", "Stage", "train"]
