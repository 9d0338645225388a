"""How far a network sees and how its tiles may be shifted, found by trying: descriptions are often silent or wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mikata.networks.pixelwise import Sides

_TOLERANCE = 1e-4  # of the output's spread: what the order of sums changes is below
_LARGEST_SIDE = 512  # px of a probe; larger ones take too long
_ROOM = 32  # px of a probe beyond the halo on both sides
_SHIFTS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Probe:
    """A network to be tried, and noise like what it takes.

    Attributes
    ----------
    network:
        (1, C, h, w) to (1, K, h x scale, w x scale).
    channels, height, width, scale:
        As of a `PixelNetwork`.
    mean, std:
        Of the noise: those of the test image as the network gets it.
    """

    network: Callable[[Tensor], Tensor]
    channels: int
    height: Sides
    width: Sides
    scale: int
    mean: float
    std: float

    def noise(self, height: int, width: int, seed: int) -> Tensor:
        """The same noise for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return self.mean + self.std * torch.randn(1, self.channels, height, width, generator=generator)


def confirmed_halo(probe: Probe, halo: int) -> int | None:
    """The stated halo, or None where pixels further away than that change the output.

    See `sees_beyond`. Where the network takes only images too small for that, the statement is believed.

    Parameters
    ----------
    halo:
        In px of the input.
    """
    return None if sees_beyond(probe, halo) else halo


def sees_beyond(probe: Probe, halo: int) -> bool | None:
    """Whether pixels further away than `halo` (px of the input) change the output; None: images are too small to see.

    Noise goes through the network twice, the second time with brighter and stronger noise below and right of the middle;
    above and left of it, by more than the halo, the output must be the same. (Of noise alike, mean and spread of the
    whole, by which many networks normalise, would hardly change.)
    """
    h, w = (_side(sides, 2 * halo + _ROOM) for sides in (probe.height, probe.width))
    top, left = (h // 2 - halo) * probe.scale, (w // 2 - halo) * probe.scale
    if top < 1 or left < 1:
        return None
    first, second = probe.noise(h, w, 0), probe.noise(h, w, 1)
    second = probe.mean + probe.std + 2 * (second - probe.mean)
    second[..., : h // 2, : w // 2] = first[..., : h // 2, : w // 2]
    one, other = (probe.network(x)[..., :top, :left] for x in (first, second))
    return not _same(one, other)


def found_stride(probe: Probe, halo: int | None) -> int:
    """The least px by which a shift of the input shifts the output, and nothing more; tried from the sizes' step on.

    Where nothing that was tried does, or the image is too small to see: the larger of the steps, at least 1.
    """
    step = max(1, probe.height.step, probe.width.step)
    if halo is None:
        return step
    border, scale = halo, probe.scale
    candidates = [shift for shift in _SHIFTS if shift >= step and shift % step == 0] or [step]
    h, w = (_side(sides, 2 * border + _ROOM + candidates[-1]) for sides in (probe.height, probe.width))
    wide = probe.noise(h + candidates[-1], w + candidates[-1], 2)
    whole = probe.network(wide[..., :h, :w])
    for shift in candidates:
        moved = probe.network(wide[..., shift : h + shift, shift : w + shift])
        inner = [slice(border * scale, (side - border - shift) * scale) for side in (h, w)]
        later = [slice((border + shift) * scale, (side - border) * scale) for side in (h, w)]
        if inner[0].stop <= inner[0].start or inner[1].stop <= inner[1].start:
            break
        if _same(whole[..., later[0], later[1]], moved[..., inner[0], inner[1]]):
            return shift
    return step


def _side(sides: Sides, wanted: int) -> int:
    side = sides.at_least(wanted)
    return side if side <= _LARGEST_SIDE or sides.step == 0 else sides.at_least(sides.least)


def _same(one: Tensor, other: Tensor) -> bool:
    spread = float(one.max() - one.min())
    return bool(((one - other).abs() <= _TOLERANCE * max(spread, 1e-6)).all())
