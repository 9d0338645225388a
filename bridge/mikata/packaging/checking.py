"""A package, tried with bioimageio.core: does each of its weights give the test output?"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mikata.errors import PackageError
from mikata.language import say
from mikata.networks.quiet import quiet


@dataclass(frozen=True)
class FormatCheck:
    """What one weight format did: whether it passed, and in which words it did not."""

    weights: str
    passed: bool
    messages: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check` found.

    Attributes
    ----------
    path:
        The package.
    formats:
        One check for each weight format; empty where the description itself is not valid.
    problems:
        All messages, each once; empty if the package is good.
    """

    path: Path
    formats: tuple[FormatCheck, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the description is valid and each weight format gives the test output."""
        return not self.problems and bool(self.formats)


def check(path: Path) -> CheckReport:
    """Run a package's test tensors through each of its weight formats, with bioimageio.core.

    The package's ``architecture.py`` is run by this: check only packages that you made or trust.

    Parameters
    ----------
    path:
        Folder or zip.

    Raises
    ------
    PackageError
        If there is nothing at `path`.
    """
    if not path.exists():
        raise PackageError(say("There is no package {path}.", path=path))
    with quiet(), _settings_kept():
        try:
            return _check(path)
        finally:
            # bioimageio leaves files open until its objects are collected, and Windows cannot move or
            # delete a package with an open file
            gc.collect()


def _check(path: Path) -> CheckReport:
    from bioimageio.core import test_model
    from bioimageio.spec import load_description
    from bioimageio.spec.model import v0_4, v0_5

    # a zip that is none, and YAML that is none, are raised as all kinds of errors there
    try:
        description = load_description(path, perform_io_checks=True)
    except Exception as error:
        return CheckReport(path, (), (f"{type(error).__name__}: {error}",))
    if not isinstance(description, v0_4.ModelDescr | v0_5.ModelDescr):
        problems = _errors(description.validation_summary) or (say("It does not describe a model."),)
        return CheckReport(path, (), problems)
    checks = []
    for weights in sorted(description.weights.available_formats):
        summary = test_model(description, weight_format=weights, devices=["cpu"])
        checks.append(FormatCheck(weights, summary.status == "passed", _errors(summary)))
    problems = tuple(dict.fromkeys(f"{c.weights}: {m}" for c in checks for m in c.messages))
    problems += tuple(
        say("{weights}: failed", weights=c.weights) for c in checks if not c.passed and not c.messages
    )
    return CheckReport(path, tuple(checks), problems)


def _errors(summary: object) -> tuple[str, ...]:
    details = getattr(summary, "details", ())
    found = [
        f"{'.'.join(str(part) for part in error.loc)}: {error.msg}".lstrip(": ")
        for detail in details
        for error in detail.errors
    ]
    return tuple(dict.fromkeys(found))


@contextmanager
def _settings_kept() -> Iterator[None]:
    """bioimageio.core seeds everything and sets torch's determinism; afterwards all is as before."""
    state, numpy_state = random.getstate(), np.random.get_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
        torch.use_deterministic_algorithms(deterministic)
