"""How good a network is on images it has not seen, each figure with its interval."""

from mikata.evaluation.abstaining import (
    Abstention,
    RiskCoverage,
    Threshold,
    abstain,
    risk_coverage,
    threshold_for,
)
from mikata.evaluation.agreeing import AGREEMENT, Agreement, Intraclass, agreement, intraclass
from mikata.evaluation.cautions import basis, cautions
from mikata.evaluation.choosing import MARGIN, Choice, Verdict, better, verdict
from mikata.evaluation.comparing import compare
from mikata.evaluation.comparison import COMPARED, Comparison, Difference, Measured, Method, Spread
from mikata.evaluation.detecting import DetectionReport, evaluate_detection
from mikata.evaluation.intervals import Interval, clopper_pearson, wilson
from mikata.evaluation.measures import FIGURES
from mikata.evaluation.paired import ResampledT, corrected_t, holm
from mikata.evaluation.pairs import clustered_wilson, exchange_p, kappa, newcombe
from mikata.evaluation.parting import choose_settings, evaluate_segmentation
from mikata.evaluation.ranking import auc
from mikata.evaluation.readers import CELLS, Gap, Rate, Readers, compare_readers
from mikata.evaluation.report import AverageScores, ClassScores, Figure, Report, Score
from mikata.evaluation.running import evaluate
from mikata.evaluation.scoring import score
from mikata.evaluation.segmenting import PixelReport
from mikata.evaluation.valuing import ValueReport, evaluate_values

__all__ = [
    "AGREEMENT",
    "CELLS",
    "COMPARED",
    "FIGURES",
    "MARGIN",
    "Abstention",
    "Agreement",
    "AverageScores",
    "Choice",
    "ClassScores",
    "Comparison",
    "DetectionReport",
    "Difference",
    "Figure",
    "Gap",
    "Interval",
    "Intraclass",
    "Measured",
    "Method",
    "PixelReport",
    "Rate",
    "Readers",
    "Report",
    "ResampledT",
    "RiskCoverage",
    "Score",
    "Spread",
    "Threshold",
    "ValueReport",
    "Verdict",
    "abstain",
    "agreement",
    "auc",
    "basis",
    "better",
    "cautions",
    "choose_settings",
    "clopper_pearson",
    "clustered_wilson",
    "compare",
    "compare_readers",
    "corrected_t",
    "evaluate",
    "evaluate_detection",
    "evaluate_segmentation",
    "evaluate_values",
    "exchange_p",
    "holm",
    "intraclass",
    "kappa",
    "newcombe",
    "risk_coverage",
    "score",
    "threshold_for",
    "verdict",
    "wilson",
]
