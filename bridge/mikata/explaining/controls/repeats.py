"""Maps of networks from repeated trainings: how alike they are, and how far their heat shares lie apart.

Repeatability between trainings is one of the criteria of Arun et al. 2021, doi 10.1148/ryai.2021200267.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mikata.errors import NetworkError
from mikata.explaining.controls.measured import Array
from mikata.explaining.controls.results import Spread
from mikata.explaining.controls.sample import Candidate, subset
from mikata.explanation.controls.explainer import pooled
from mikata.explanation.controls.likeness import spearman, spearman_of_all
from mikata.explanation.measuring import Ruler
from mikata.explanation.planes import PlaneHeat, SettingsOf, plane_heat
from mikata.images import Images
from mikata.language import say
from mikata.networks import Model
from mikata.prediction import Plane
from mikata.types import Progress

Rulers = Callable[[PlaneHeat], Ruler]
"""The regions of a plane on the grid of its map."""


@dataclass(frozen=True, eq=False)
class Repeats:
    """Networks side by side.

    Attributes
    ----------
    likeness:
        (N,) mean rank correlation over the pairs of networks; 0 where one of the two has no heat; NaN where none has.
    others:
        (N, N) likeness of the explained network's maps of different images, on the same grid.
    spread:
        Heat shares by region; none without regions.
    networks:
        How many.
    """

    likeness: Array
    others: Array
    spread: tuple[Spread, ...]
    networks: int


def refuse_others(model: Model, repeats: Sequence[Model]) -> None:
    """Raise `NetworkError` for a package that cannot be a repeated training of the model's."""
    for other in repeats:
        if other.weights_sha256 == model.weights_sha256:
            raise NetworkError(
                say(
                    "{other} has the same weights as {model}: a repeated training has weights of its own.",
                    other=other.path.name,
                    model=model.path.name,
                )
            )
        if set(other.classes) != set(model.classes) or other.values != model.values:
            raise NetworkError(
                say(
                    "{other} cannot be a repeated training of {model}: it has the classes {found}, not {classes}.",
                    other=other.path.name,
                    model=model.path.name,
                    found=", ".join(other.classes) or say("none"),
                    classes=", ".join(model.classes) or say("none"),
                )
            )


def compare(
    model: Model,
    repeats: Sequence[Model],
    source: Images,
    chosen: Sequence[Candidate],
    *,
    method: str,
    layer: str,
    settings: SettingsOf | None,
    batch: int,
    rulers: Rulers | None,
    progress: Progress,
) -> Repeats:
    """Explain the same class of the same planes by all networks.

    Parameters
    ----------
    settings:
        As `plane_heat` takes them.
    layer:
        Of the model; networks of the same kind are explained at the same layer.
    rulers:
        Gives the regions of a plane, None without regions.

    Raises
    ------
    NetworkError
        For a network that is no repeat of the model, or has no such layer.
    """
    refuse_others(model, repeats)
    grids: list[list[NDArray[np.float32] | None]] = []
    shares: list[dict[str, list[float]]] = []
    areas: dict[str, list[float]] = {}
    for network in (model, *repeats):
        heats = _heats(network, model, source, chosen, method, layer, settings, batch, progress)
        grids.append([None if heat is None else heat.grid[0] for heat in heats])
        own: dict[str, list[float]] = {}
        for heat in heats:
            if heat is None or rulers is None:
                continue
            ruler = rulers(heat)
            measures = ruler.measure(heat.grid)
            for name, share, area in zip(
                ruler.regions.names, measures.share[0].tolist(), measures.area_share.tolist(), strict=True
            ):
                own.setdefault(name, []).append(share)
                if network is model:
                    areas.setdefault(name, []).append(area)
        shares.append(own)
    known = [n for n in range(len(chosen)) if all(own[n] is not None for own in grids)]
    shapes = [one.shape for own in grids for one in own if one is not None]
    size = min(shape[0] for shape in shapes), min(shape[1] for shape in shapes)
    maps = np.zeros((len(grids), len(chosen), *size))
    for k, own_grids in enumerate(grids):
        for n in known:
            one = own_grids[n]
            assert one is not None
            maps[k, n] = pooled(one[None], size)[0]
    return Repeats(
        _likeness(maps),
        spearman_of_all(maps[0]),
        tuple(
            Spread(
                name,
                tuple(_mean(own.get(name, [])) for own in shares),
                float(np.mean(values)),
                len(values),
            )
            for name, values in areas.items()
        ),
        len(grids),
    )


def _likeness(maps: Array) -> Array:
    heated = np.isfinite([spearman(own, own) for own in maps])
    pairs = np.array([spearman(a, b) for a, b in combinations(maps, 2)])
    return np.where(heated.any(0), np.nan_to_num(pairs).mean(0), np.nan)


def _mean(values: list[float]) -> float:
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _heats(
    network: Model,
    model: Model,
    source: Images,
    chosen: Sequence[Candidate],
    method: str,
    layer: str,
    settings: SettingsOf | None,
    batch: int,
    progress: Progress,
) -> list[PlaneHeat | None]:
    """Heat of each chosen plane, explaining the model's class of the same name."""
    numbers = {(one.plane.image, one.plane.z, one.plane.t): n for n, one in enumerate(chosen)}

    def explained(plane: Plane) -> int:
        number = numbers.get((plane.image, plane.z, plane.t))
        wanted = 0 if number is None else chosen[number].explained
        return wanted if network.values else network.classes.index(model.classes[wanted])

    found: list[PlaneHeat | None] = [None] * len(chosen)
    own_layer = layer if network is model or _same_kind(network, model) else ""
    for heat in plane_heat(
        network,
        subset(source, {one.plane.image for one in chosen}),
        target=explained,
        method=method,
        layer=own_layer,
        settings=settings,
        batch=batch,
        progress=progress,
        message=say("Controls of the heat maps"),
    ):
        number = numbers.get((heat.plane.image, heat.plane.z, heat.plane.t))
        if number is not None:
            found[number] = heat
    return found


def _same_kind(network: Model, model: Model) -> bool:
    return bool(network.classifier.configuration["network"] == model.classifier.configuration["network"])
