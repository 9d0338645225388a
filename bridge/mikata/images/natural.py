"""The order of names that people expect: 2 before 10."""

from __future__ import annotations

import re


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that reads runs of digits as numbers and ignores case: ``b2`` before ``B10``.

    Texts that differ in case or leading zeros only are told apart last, so that the order is total.
    """
    parts = re.split(r"(\d+)", text)
    key = [(0, int(part), "") if i % 2 else (1, 0, part.casefold()) for i, part in enumerate(parts)]
    return (*key, (2, 0, text))
