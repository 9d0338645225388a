"""bioimageio without its running commentary."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger


@contextmanager
def quiet() -> Iterator[None]:
    """Silence bioimageio's log and Python's warnings in a block.

    Much that it says is no problem of the package (a field it would like filled), and what is one
    stands in its summaries and exceptions.
    """
    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")
