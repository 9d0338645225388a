"""Labelled images: a folder or a table read into a `Dataset`, and its split by patient."""

from mikata.datasets.entries import NOT_STATED, PARTS, Dataset, Entry, Picture
from mikata.datasets.reading import read, read_unlabelled
from mikata.datasets.splitting import split

__all__ = ["NOT_STATED", "PARTS", "Dataset", "Entry", "Picture", "read", "read_unlabelled", "split"]
