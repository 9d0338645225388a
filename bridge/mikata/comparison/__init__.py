"""Recipes compared on the same patients, and settings searched: training and judging together."""

from mikata.comparison.trials import Trials, run_trials
from mikata.comparison.variants import Contestant, contestants

__all__ = ["Contestant", "Trials", "contestants", "run_trials"]
