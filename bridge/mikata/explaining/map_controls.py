"""Controls beside plain heat maps: the planes they are made on, tables, and a page of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mikata import report
from mikata.errors import ParameterError
from mikata.explaining import controls as control_report
from mikata.explaining.asked import repeated
from mikata.explaining.controls import Candidate
from mikata.explaining.controls.repeats import refuse_others
from mikata.explanation.heat_run import HeatRun
from mikata.language import joined, say
from mikata.networks import Model
from mikata.outputs import ResultFolder, write_text
from mikata.types import Progress, Result

_FILES = "{} controls.csv", "{} control curves.csv", "{} controls.html"
_USED = {
    "Occlusion": ("window_percent", "baseline"),
    "RISE": ("masks",),
    "Integrated-Gradients": ("steps", "baseline"),
}
"""Parameters that a method's maps depend on."""


@dataclass(frozen=True)
class MapControls:
    """Controls of a run of heat maps; a `mikata.explanation.heat_run.Beside`.

    Attributes
    ----------
    images:
        On up to how many planes they are made.
    repeated:
        Packages of repeated trainings.
    """

    images: int = control_report.IMAGES
    repeated: Sequence[Model] = ()

    def check(self, network: Model, method: str) -> tuple[str, ...]:
        """Names of the files to come.

        Raises
        ------
        NetworkError
            For a package that cannot be a repeated training of the network.
        """
        refuse_others(network, self.repeated)
        return tuple(name.format(method) for name in _FILES)

    def make(self, run: HeatRun, folder: ResultFolder | None, progress: Progress) -> Result:
        """Put maps of the run, chosen by chance, to controls: two tables, a page, and what came of it in a sentence."""
        method = run.method.name
        found = control_report.controls_for(
            run.network,
            run.source,
            list(_candidates(run)),
            method=method,
            layer=run.layer,
            settings=run.method.settings_by(run.batch),
            images=self.images,
            repeated=self.repeated,
            batch=run.batch,
            progress=progress,
        )
        said = [control_report.sentence(found)]
        if run.target == "all" and found.controls:
            said.append(say("Of the classes' maps, that of the predicted class was put to the controls."))
        tables = (
            (found.table(f"{method} controls"), found.curve_table(f"{method} control curves"))
            if found.controls
            else ()
        )
        files: list[Path] = []
        page: Path | None = None
        if folder:
            *of_tables, of_page = self.check(run.network, method)
            files += [folder.write_table(name, one) for name, one in zip(of_tables, tables, strict=False)]
            page = write_text(folder.path(of_page), _page(run, control_report.section(found), said[1:]))
            files.append(page)
            folder.clear((*of_tables, of_page), files)
        return Result(joined(said), tables=tables, files=tuple(files), page=page)


def map_controls(controls: bool, images: int, repeats: str) -> MapControls | None:
    """What the parameters of the heat map command ask for; None for no controls.

    Raises
    ------
    ParameterError
        For repeated trainings without controls to compare them in.
    PackageError
        As `read_package`, for `repeats`.
    """
    if controls:
        return MapControls(images, repeated(repeats, no_controls=False))
    if repeats.strip(" ;"):
        raise ParameterError(
            say("repeats are packages to compare in the controls: set controls, or leave repeats empty.")
        )
    return None


def _candidates(run: HeatRun) -> Iterator[Candidate]:
    """The planes whose drawn map has heat, without the maps: of thousands these would be too much to hold."""
    for one in run.planes:
        if np.ptp(one.grids[one.shown]) > 0:  # a map without differences cannot be compared with anything
            yield Candidate(one.plane, one.classes[one.shown], one.predicted)


def _page(run: HeatRun, section: tuple[str, str], said: Sequence[str]) -> str:
    method = run.method
    facts: dict[str, object] = {
        say("network"): run.network.path.name,
        say("method"): method.name,
        **({say("layer"): run.layer} if run.layer else {}),
        **{name: getattr(method, name) for name in _USED.get(method.name, ())},
        say("explained class"): run.target,
        say("planes"): len(run.planes),
        say("images"): len(run.explained),
    }
    heading, html = section
    return report.page(
        say("{method}: controls", method=method.name),
        run.headline(),
        [
            (heading, "".join(map(report.paragraph, said)) + html),
            (say("How it was measured"), report.pairs(facts)),
            (say("Versions"), report.pairs(report.versions())),
        ],
    )
