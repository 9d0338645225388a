"""Test Robustness: from images and a network to tables, curves, images and a page; the command's work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mikata.errors import ImageError, NetworkError, ParameterError
from mikata.explaining.material import Part, class_numbers, material
from mikata.explaining.robustness import page, pictures, words
from mikata.explaining.robustness.asked import Asked
from mikata.explaining.robustness.attacked import Attack, Attacked, Said, attacked
from mikata.explaining.robustness.figures import plots
from mikata.explaining.robustness.human import human_calls
from mikata.explaining.robustness.outcomes import (
    FGSM,
    NOT_DEFINED,
    PGD,
    SMALLEST,
    Answer,
    Outcomes,
    Subject,
    Test,
    table,
)
from mikata.explaining.robustness.samples import Sample, Sampled, samples
from mikata.explanation.attacks import STEP
from mikata.explanation.corruptions import UNITS, Corruption, levels
from mikata.images import write_tiff
from mikata.language import joined, say
from mikata.networks import Model, asked_between_layers, read_package, to_input
from mikata.outputs import ResultFolder, write_text
from mikata.prediction import skipped_note
from mikata.types import Image, Progress, Result, Table

Tests = Literal["all", "adversarial", "corruptions"]

IMAGES, CURVES, PAGE = "Robustness.csv", "Robustness curves.csv", "Robustness.html"
_PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Of epsilon: levels at which the curve of the smallest changes is tabulated."""
_SHOWN = 3  # images whose pictures are given back where there is no folder
_EXAMPLES = 6


@dataclass(frozen=True)
class Asking:
    """What is tested, and how: see the parameters of the command."""

    tests: Tests = "all"
    epsilon: float = 8.0
    steps: int = 10
    levels: str = ""
    method: str = "Grad-CAM"
    layer: str = ""
    limit: int = 50
    seed: int = 0


def measure_robustness(
    images: Any,
    model: Path,
    asking: Asking,
    *,
    part: Part = "all",
    subfolders: bool = False,
    out: Path | None = None,
    batch: int = 16,
    overwrite: bool = False,
    progress: Progress,
) -> Result:
    """Attack images and make them worse, and tabulate what the network then says; the command's work.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes; or labelled data: a CSV (with a column ``human``, if there is one), or a folder of
        class folders.
    model:
        Folder or zip of a package that gives classes.
    part:
        Of the split that labelled data state.
    out:
        Folder for tables, images and the page; None to return tables, curves and a few images alone.

    Raises
    ------
    ParameterError
        If epsilon is not above 0 or larger than the values' range can mean, or levels cannot be understood.
    NetworkError
        If the network gives a value, or the method or layer does not fit it.
    PackageError, DataError, ImageError, OutputError
        As package, data, images and folder make it.
    """
    network = read_package(model)
    if network.values:
        raise NetworkError(
            say(
                "Test Robustness: {model} gives a value, not classes, so there is no class that a change could flip. "
                "Give a package of a classifier.",
                model=network.path.name,
            )
        )
    _check(asking, network)
    corruptions = () if asking.tests == "adversarial" else levels(asking.levels, network.value_range)
    given = material(images, part=part, subfolders=subfolders, progress=progress)
    source = Sampled(given.source, asking.limit, asking.seed)
    truth = class_numbers(given.entries, network.classes, network.path.name) if given.labelled else {}
    human = human_calls(images, given.entries, network.classes)
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    names = {name: folder.unique(name) for name in source.names} if folder else {}
    if folder:
        ends = () if asking.tests == "corruptions" else (pictures.CHANGED, pictures.DIFFERENCE, pictures.HEAT)
        folder.reserve(
            [IMAGES, CURVES, PAGE, *(f"{name}{end}.tif" for name in names.values() for end in ends)]
        )
    patients = {name: entry.patient for name, entry in given.entries.items()}
    run = Run(network, source, asking, corruptions, truth, human, patients, folder, names)
    run.measure(batch, progress)
    source.skipped.extend(given.skipped)
    return run.result(progress)


def _check(asking: Asking, network: Model) -> None:
    epsilon = asking.epsilon
    if asking.tests == "corruptions":
        return
    if not math.isfinite(epsilon) or epsilon <= 0:
        raise ParameterError(
            say(
                "epsilon_grey is {epsilon}: the bound of the change must be a number above 0.",
                epsilon=epsilon,
            )
        )
    low, high = network.value_range
    if epsilon > (high - low) / 2:
        raise ParameterError(
            say(
                "epsilon_grey is {epsilon:g}, more than half of the range of values that the network was trained on "
                "({low:g} to {high:g} {unit}): any image could become any other. Give a bound in these units.",
                epsilon=epsilon,
                low=low,
                high=high,
                unit=network.value_unit,
            )
        )


@dataclass
class Run:
    """One call: planes tested as they are read, then tables, curves and a page of all."""

    network: Model
    source: Sampled
    asking: Asking
    corruptions: tuple[Corruption, ...]
    truth: dict[str, int]
    human: dict[str, int]
    patients: dict[str, str]
    folder: ResultFolder | None
    names: dict[str, str]
    outcomes: Outcomes = field(default_factory=Outcomes, init=False)
    rows: list[words.Row] = field(default_factory=list, init=False)
    files: list[Path] = field(default_factory=list, init=False)
    failed: dict[Corruption, int] = field(default_factory=dict, init=False)
    examples: list[pictures.Example] = field(default_factory=list, init=False)
    _shown: list[tuple[float, dict[str, Image]]] = field(default_factory=list, init=False)
    _waiting: list[tuple[int, Sample]] = field(default_factory=list, init=False)
    _open: dict[str, tuple[int, list[Attacked]]] = field(default_factory=dict, init=False)
    asked: Asked = field(init=False)

    def __post_init__(self) -> None:
        self.asked = Asked(self.network, self.asking.method, self.asking.layer)

    def measure(self, batch: int, progress: Progress) -> None:
        """Test every plane."""
        with asked_between_layers(self.asked.classifier, progress.check):
            for planes in samples(self.network, self.source, progress, say("Test Robustness")):
                name = planes[0].plane.image
                self._open[name] = (len(planes), [])
                for sample in planes:
                    number = self._begin(sample)
                    self._worsen(number, sample, batch, progress)
                    if self.asking.tests != "corruptions":
                        self._wait(number, sample, batch, progress)
            self._attack(progress)
        if not self.outcomes.subjects:
            raise ImageError(say("There is no image to test."))

    def _begin(self, sample: Sample) -> int:
        plane = sample.plane
        found = self.asked.answers(sample.input[None])[0]
        predicted = int(found.argmax())
        return self.outcomes.add(
            Subject(
                plane.image,
                plane.z,
                plane.t,
                self.patients.get(plane.image, ""),
                self.truth.get(plane.image),
                self.human.get(plane.image),
                predicted,
                float(found[predicted]),
            )
        )

    def _worsen(self, number: int, sample: Sample, batch: int, progress: Progress) -> None:
        """Every corruption of one plane, several at once."""
        inputs, tests = [], []
        for one in self.corruptions:
            progress.check()
            changed = one.applied(sample.values, sample.limits, sample.window, sample.seed(self.asking.seed))
            try:
                inputs.append(to_input(changed, self.network, name=sample.plane.image))
            except ImageError:  # nothing is left to be seen in it: the level is counted without this plane
                self.failed[one] = self.failed.get(one, 0) + 1
                continue
            tests.append(Test(one.kind, one.level, self._unit(one.kind)))
        predicted = self.outcomes.subjects[number].predicted
        for at in range(0, len(inputs), batch):
            found = self.asked.answers(torch.stack(inputs[at : at + batch]))
            for test, row in zip(tests[at : at + batch], found, strict=True):
                self.outcomes.answer(number, test, Answer(int(row.argmax()), float(row[predicted])))

    def _unit(self, kind: str) -> str:
        return self.network.value_unit if kind == "noise" else UNITS[kind]

    def _wait(self, number: int, sample: Sample, batch: int, progress: Progress) -> None:
        shape = self._waiting[0][1].changeable.shape if self._waiting else sample.changeable.shape
        if len(self._waiting) == batch or shape != sample.changeable.shape:
            self._attack(progress)
        self._waiting.append((number, sample))

    def _attack(self, progress: Progress) -> None:
        """Attack the planes that wait."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        asking = self.asking
        attack = Attack(asking.epsilon, asking.steps, asking.seed)
        found = attacked(self.asked, [sample for _, sample in waiting], attack, progress)
        for (number, sample), one in zip(waiting, found, strict=True):
            self._note(number, one)
            self._keep_example(one)
            count, done = self._open[sample.plane.image]
            done.append(one)
            if len(done) == count:
                del self._open[sample.plane.image]
                self._write(sample.plane.image, done)

    def _note(self, number: int, one: Attacked) -> None:
        unit, epsilon = self.network.value_unit, self.asking.epsilon
        facts = one.facts
        for name, said in ((FGSM, facts.fgsm), (PGD, facts.pgd)):
            self.outcomes.answer(number, Test(name, epsilon, unit), Answer(said.predicted, said.left))
        for part in _PARTS:
            level = part * epsilon
            there = facts.smallest is not None and facts.distance <= level * (1 + 1e-6)
            said = facts.after if there else facts.before
            self.outcomes.answer(number, Test(SMALLEST, level, unit), Answer(said.predicted, said.left))
        self.rows.append(words.Row(self.outcomes.subjects[number], facts))

    def _keep_example(self, one: Attacked) -> None:
        """The planes that the least change flips, and where there are too few, any."""
        if len(self.examples) == _EXAMPLES and one.facts.distance >= self.examples[-1].facts.distance:
            return
        self.examples = sorted([*self.examples, pictures.example(one)], key=lambda each: each.facts.distance)
        del self.examples[_EXAMPLES:]

    def _write(self, name: str, planes: list[Attacked]) -> None:
        planes = sorted(planes, key=lambda one: (one.sample.plane.t, one.sample.plane.z))
        made = pictures.images(name, planes, pictures.Names(self.network.classes, self.network.value_unit))
        if self.folder:
            self.files += [
                write_tiff(self.folder.path(f"{self.names[name]}{end}.tif"), image)
                for end, image in made.items()
            ]
            return
        least = min(one.facts.distance for one in planes)
        self._shown = sorted([*self._shown, (least, made)], key=lambda each: each[0])[:_SHOWN]

    def result(self, progress: Progress) -> Result:
        """Tables, curves and the page."""
        progress.step(say("Resample"), 0, 1)
        figures = self.outcomes.figures()
        tables = [table(figures, self.outcomes.unit)]
        if self.rows:
            tables.insert(0, _per_image(self.rows, self.network, self.asking))
        found = words.Found(
            self.network,
            self.outcomes,
            figures,
            tuple(self.rows),
            epsilon=self.asking.epsilon,
            adversarial=self.asking.tests != "corruptions",
            failed=self.failed,
            no_heat=self.asked.no_heat,
            sample=self.source.words(),
        )
        notes = words.notes(found)
        files = list(self.files)
        written: Path | None = None
        skipped = skipped_note(self.source).strip()
        if self.folder:
            if self.rows:
                files.append(self.folder.write_table(IMAGES, tables[0]))
            files.append(self.folder.write_table(CURVES, tables[-1]))
            text = page.page(
                found, self.examples, facts=self._facts(), said=[*notes, skipped] if skipped else notes
            )
            written = write_text(self.folder.path(PAGE), text)
            files.append(written)
        shown = [image for _, made in self._shown for image in made.values()]
        if shown and len(self.rows) and len({row.subject.image for row in self.rows}) > len(self._shown):
            notes.append(
                say(
                    "Shown are the {count} images that the least change flips: name a folder to get all.",
                    count=len(self._shown),
                )
            )
        notice = say("Research use, not for diagnosis.")
        return Result(
            f"{joined([words.tested(found), *words.leading(found), *notes, skipped])} {notice}",
            images=tuple(shown),
            tables=tuple(tables),
            plots=plots(found),
            files=tuple(files),
            page=written,
        )

    def _facts(self) -> dict[str, object]:
        asking, network = self.asking, self.network
        outcomes = self.outcomes
        facts: dict[str, object] = {
            say("network"): network.path.name,
            say("planes"): len(outcomes.subjects),
            say("images"): len({one.image for one in outcomes.subjects}),
            say("patients"): len(set(outcomes.units.tolist()))
            if outcomes.unit == "patient"
            else say("not known"),
            say("sample"): self.source.words() or say("all images"),
            say("seed"): asking.seed,
        }
        if asking.tests != "corruptions":
            facts |= {
                say("bound of every change"): f"{asking.epsilon:g} {network.value_unit}",
                say("steps of PGD"): say(
                    "{steps}, each {size:.3g} {unit}, from a random start",
                    steps=asking.steps,
                    size=STEP * asking.epsilon / asking.steps,
                    unit=network.value_unit,
                ),
                say("changes are made"): words.where_changed(network),
                say("method"): asking.method,
                say("layer"): self.asked.layer or say("none"),
            }
        for kind in dict.fromkeys(one.kind for one in self.corruptions):
            listed = ", ".join(f"{one.level:g}" for one in self.corruptions if one.kind == kind)
            facts[words.kind(kind)] = f"{listed} {words.unit(kind, network.value_unit)}"
        return facts


def _per_image(rows: Sequence[words.Row], network: Model, asking: Asking) -> Table:
    """One row a plane; what is larger than the bound or was not found is said in words."""
    unit = network.value_unit
    columns = (
        "image", "slice", "frame", "patient", "label", "human", "predicted", "probability",
        "FGSM_predicted", "FGSM_probability", "FGSM_flips", "PGD_predicted", "PGD_probability", "PGD_flips",
        "flipped", "smallest_flip_at_most", "smallest_flip_percent_of_range", "flip_predicted", "flip_probability",
        "changed_image", "heat_kept", "heat_rank_correlation", "heat_shift_px", "bound", "value_unit",
        "range_of_values", "size_changed_px", "no_gradient", "layer", "method",
    )  # fmt: skip
    classes = network.classes
    lines = []
    for row in rows:
        one, facts = row.subject, row.facts

        def said(answer: Said, first: int = one.predicted) -> tuple[object, ...]:
            return classes[answer.predicted], answer.probability, int(answer.predicted != first)

        smallest = facts.smallest
        flip: tuple[object, ...] = (
            (1, facts.distance, facts.percent, classes[smallest.predicted], smallest.probability, SMALLEST)
            if smallest
            else (0, words.NONE_FOUND, words.NONE_FOUND, "", "", PGD)
        )
        moved = facts.moved
        heat = (
            tuple(
                float(x) if math.isfinite(x) else NOT_DEFINED
                for x in (moved.kept, moved.rank_correlation, moved.shift_px)
            )
            if moved
            else ("", "", "")
        )
        lines.append((
            one.image, one.z, one.t, one.patient,
            "" if one.truth is None else classes[one.truth], "" if one.human is None else classes[one.human],
            classes[one.predicted], one.probability, *said(facts.fgsm), *said(facts.pgd), *flip, *heat,
            asking.epsilon, unit, facts.range, f"{facts.size[1]} x {facts.size[0]}", int(facts.still),
            facts.layer, asking.method if moved else "",
        ))  # fmt: skip
    return Table("Robustness", columns, tuple(lines))
