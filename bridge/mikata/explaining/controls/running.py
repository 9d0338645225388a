"""The control report of a run of heat maps: chosen planes, measurements, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mikata.errors import NetworkError
from mikata.evaluation.paired import FEWEST
from mikata.explaining.controls import judging, repeats
from mikata.explaining.controls.measured import Measuring, Randomisation
from mikata.explaining.controls.repeats import Rulers
from mikata.explaining.controls.resampling import Resampling
from mikata.explaining.controls.results import Control, Controls, Curve, Example, Spread
from mikata.explaining.controls.sample import Alike, Candidate, choose, read, units
from mikata.explanation.controls.explainer import Explainer, maps_by
from mikata.explanation.controls.plain_maps import centre
from mikata.explanation.controls.randomised import Randomised
from mikata.explanation.methods import Settings
from mikata.explanation.planes import SettingsOf
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model, asked_between_layers
from mikata.types import SILENT, Progress

IMAGES = 12
"""Planes that controls are made on unless more are asked for."""

_EXAMPLES = 2


def controls_for(
    model: Model,
    source: Images,
    candidates: Sequence[Candidate],
    *,
    method: str = "Grad-CAM",
    layer: str = "",
    settings: SettingsOf | None = None,
    images: int = IMAGES,
    seed: int = 0,
    repeated: Sequence[Model] = (),
    rulers: Rulers | None = None,
    small: Mapping[str, float] | None = None,
    regions: int = 0,
    batch: int = 16,
    progress: Progress = SILENT,
) -> Controls:
    """Put the heat maps of a run to controls, on some of its planes.

    Parameters
    ----------
    model:
        The package; its network is left as it is found.
    source:
        The images of the run; those chosen are read once more.
    candidates:
        The planes of the run whose maps have heat, with the class that was explained.
    method, layer, settings:
        As `plane_heat` takes them.
    images:
        Up to how many planes are taken, at least `FEWEST`, spread evenly over groups and patients.
    seed:
        Of the choice, of random weights, orders and noise, and of the resampling.
    repeated:
        Packages of repeated trainings, for the control of that name.
    rulers:
        Gives a plane's regions, for the spread of heat shares between repeated trainings.
    small, regions:
        Regions below two cells of the grid, each with its size in cells, of how many; None without regions.
    batch:
        How many images go through the network at once.

    Returns
    -------
    Controls
        Without any, and the reason, for fewer than `FEWEST` independent patients or images.

    Raises
    ------
    NetworkError
        If a repeated training's network does not fit.
    ImageError
        If the images cannot be read any more.
    """
    repeats.refuse_others(model, repeated)
    chosen = choose(candidates, max(images, FEWEST), seed)
    names, unit = units(chosen)
    independent = len(set(names))
    if independent < FEWEST:
        return Controls(
            n_all=len(candidates), unit=unit, n_units=independent, method=method, layer=layer, seed=seed,
            not_run=judging.too_few(independent, unit),
        )  # fmt: skip
    message = say("Controls of the heat maps")
    groups = read(model, source, chosen, batch, progress, message)
    if sum(len(group.places) for group in groups) < len(chosen):  # a file has gone since
        there = sorted(place for group in groups for place in group.places)
        return controls_for(
            model, source, [chosen[place] for place in there], method=method, layer=layer, settings=settings,
            images=images, seed=seed, repeated=repeated, rulers=rulers, small=small, regions=regions, batch=batch,
            progress=progress,
        )  # fmt: skip
    random = _random(model.classifier.network, groups)
    depths = random.depths() if random else ()
    explainer = _explainer(
        model, method, layer, settings, batch, progress, len(chosen) * Measuring.passes(len(depths))
    )
    found = Measuring(len(chosen), explainer, groups, seed)
    sampled = Resampling(names, unit, seed)
    others, edges = found.others(), found.edges()
    controls: list[Control] = []
    drawn: list[Curve] = []
    made: Randomisation | None = None
    why = say("The network has no weights that could be taken away.")
    if random and depths:
        try:
            made = found.randomisation(random)
        except NetworkError as error:
            why = say("With random weights there are no maps: {reason}", reason=error)
    if made:
        one, lines = judging.randomisation(made, others, found.others_ssim(), sampled)
        controls.append(one)
        drawn += lines
    else:
        controls.append(Control("weight randomisation", note=why))
    middle = np.broadcast_to(centre(found.grid), found.maps.shape)
    likeness = {"edges": found.likeness_to(edges), "centre": found.likeness_to(middle)}
    heated = np.isfinite(np.diagonal(others))
    more, lines = judging.orders(found.deletion(), found.insertion(), likeness, heated, sampled)
    controls += more
    drawn += lines
    controls.append(judging.stability(found.moved(), found.noisy(), sampled))
    spread: tuple[Spread, ...] = ()
    if repeated:
        compared = repeats.compare(
            model, repeated, source, chosen, method=method, layer=layer, settings=settings, batch=batch,
            rulers=rulers, progress=progress,
        )  # fmt: skip
        controls.append(judging.repeats(compared.likeness, compared.others, compared.networks, sampled))
        spread = compared.spread
    if small is not None:
        controls.append(judging.small_regions(small, regions))
    return Controls(
        controls=tuple(controls),
        method=method,
        layer=layer,
        n_images=len(chosen),
        n_units=independent,
        unit=unit,
        n_all=len(candidates),
        seed=seed,
        depths=(*depths, len(random.layers)) if random else (),
        curves=tuple(drawn),
        examples=_examples(chosen, groups, found, edges, made),
        spread=spread,
    )


def _random(network: nn.Module, groups: Sequence[Alike]) -> Randomised | None:
    if next(network.parameters(), None) is None:
        return None
    return Randomised(network, groups[0].images[:1])


def _explainer(
    model: Model,
    method: str,
    layer: str,
    settings: SettingsOf | None,
    batch: int,
    progress: Progress,
    total: int,
) -> Explainer:
    done = 0
    of = settings or (lambda model, images: Settings(forward=batch))
    inner = maps_by(method, layer, lambda images: of(model, images))
    classifier = model.classifier
    message = say("Controls of the heat maps")

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress.step(message, min(done, total), total)

    def maps(network: nn.Module | None, images: Tensor, classes: Sequence[int]) -> Tensor:
        assert network is not None
        with asked_between_layers(network, progress.check):
            return inner(network, images, classes)

    def scores(images: Tensor) -> Tensor:
        with torch.inference_mode(), asked_between_layers(classifier.network, progress.check):
            found = classifier.network(images.clone()).float()
        # of a value, in standard deviations of the training values: its own unit may be anything
        return found if model.values else torch.softmax(found, 1)

    return Explainer(classifier.network, maps, scores, batch, step)


def _examples(
    chosen: Sequence[Candidate],
    groups: Sequence[Alike],
    found: Measuring,
    edges: np.ndarray[Any, np.dtype[np.float64]],
    made: Randomisation | None,
) -> tuple[Example, ...]:
    """The first planes of the choice that have heat, not the best looking ones."""
    shown: list[Example] = []
    where = {place: (group, n) for group in groups for n, place in enumerate(group.places)}
    for place in range(len(chosen)):
        if len(shown) == _EXAMPLES:
            break
        if not found.maps[place].any():
            continue
        group, n = where[place]
        grey = group.images[n].detach().float().mean(0).cpu().numpy()
        low, high = float(grey.min()), float(grey.max())
        shown.append(
            Example(
                chosen[place].plane.image,
                np.asarray((grey - low) / max(high - low, 1e-12), np.float32),
                found.maps[place],
                edges[place],
                made.examples[:, place] if made else np.zeros((0, *found.grid)),
            )
        )
    return tuple(shown)
