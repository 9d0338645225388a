"""Labelled images: a folder or a table read into a `Dataset`, its split and its folds by patient."""

from mikata.datasets.boxes import Box
from mikata.datasets.detected import Detected, read_detected
from mikata.datasets.entries import NOT_STATED, PARTS, Dataset, Entry, Mask, Picture, references_of
from mikata.datasets.folding import Fold, fold_of_each, folds, selection_folds
from mikata.datasets.masks import Reading, Truth
from mikata.datasets.reading import read, read_unlabelled
from mikata.datasets.segmented import Segmented, read_segmented
from mikata.datasets.splitting import split
from mikata.datasets.subsets import files_where
from mikata.datasets.values import values_of

__all__ = [
    "NOT_STATED",
    "PARTS",
    "Box",
    "Dataset",
    "Detected",
    "Entry",
    "Fold",
    "Mask",
    "Picture",
    "Reading",
    "Segmented",
    "Truth",
    "files_where",
    "fold_of_each",
    "folds",
    "read",
    "read_detected",
    "read_segmented",
    "read_unlabelled",
    "references_of",
    "selection_folds",
    "split",
    "values_of",
]
