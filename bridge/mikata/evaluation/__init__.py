"""How good a classifier is on images it has not seen, each figure with its interval."""

from mikata.evaluation.intervals import Interval, clopper_pearson, wilson
from mikata.evaluation.report import ClassScores, Figure, Report, Score
from mikata.evaluation.running import evaluate
from mikata.evaluation.scoring import score

__all__ = [
    "ClassScores",
    "Figure",
    "Interval",
    "Report",
    "Score",
    "clopper_pearson",
    "evaluate",
    "score",
    "wilson",
]
