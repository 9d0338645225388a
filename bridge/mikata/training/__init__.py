"""Training a classifier on a data set as a recipe says."""

from mikata.training.recipe import Recipe
from mikata.training.run import Run, train
from mikata.training.stage import Stage

__all__ = ["Recipe", "Run", "Stage", "train"]
