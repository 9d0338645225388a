"""Why weights are not run, in words for users."""

from __future__ import annotations


class NotRunError(Exception):
    """Why weights of a package are not run; its words are a sentence for the user, without the package's name."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one short line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
