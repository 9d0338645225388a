"""Occlusion and RISE: heat maps of anything that gives scores for images, by covering parts of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.errors import NetworkError
from mikata.explanation.checks import check_finite
from mikata.explanation.layers import check_scores
from mikata.explanation.methods import Settings
from mikata.explanation.scored import Scores
from mikata.language import say

Check = Callable[[], object]


def window_of(size: tuple[int, int], settings: Settings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Occlusion's window and its step for images of this size, each (height, width) in pixels.

    Raises
    ------
    NetworkError
        If the window is larger than the image, or the step than the window, which would leave gaps.
    """
    side = max(1, math.ceil(min(size) / 8))
    window = settings.window_px or (side, side)
    stride = settings.stride_px or (math.ceil(window[0] / 2), math.ceil(window[1] / 2))
    covering, step, whole = (" x ".join(map(str, pair)) for pair in (window, stride, size))
    if window[0] > size[0] or window[1] > size[1]:
        raise NetworkError(
            say(
                "Occlusion's window of {window_px} px is larger than the image of {image_px} px (height x width).",
                window_px=covering,
                image_px=whole,
            )
        )
    if stride[0] > window[0] or stride[1] > window[1]:
        raise NetworkError(
            say(
                "Occlusion's step of {step_px} px is larger than its window of {window_px} px (height x width): "
                "there would be gaps.",
                step_px=step,
                window_px=covering,
            )
        )
    return window, stride


def occlusion(
    scores_of: Scores,
    batch: Tensor,
    scores: Tensor,
    classes: tuple[int, ...] | None,
    settings: Settings,
    check: Check,
) -> Tensor:
    """Mean, over the windows that cover a pixel, of ``score_k(x) - score_k(x covered)``: (N, K, H, W), signed.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, arXiv 1311.2901,
    section 4.2; overlapping windows averaged, and the last ones cut off at the border, as captum does. The
    window covers all channels.

    Parameters
    ----------
    scores_of, batch:
        As for `black_box_maps`.
    scores:
        (N, K) of the uncovered batch.
    classes:
        One class for each image, or None for all: K is 1, or all.
    settings:
        `window_px`, `stride_px`, `baseline` and `forward` count.
    check:
        Called before each pass; what it raises ends the work.
    """
    images, size = len(batch), (int(batch.shape[-2]), int(batch.shape[-1]))
    window, stride = window_of(size, settings)
    together = settings.together(images)
    rows, columns = (_covered(size[axis], window[axis], stride[axis], batch.device) for axis in (0, 1))
    cover = baseline_of(batch, settings)
    count = len(rows) * len(columns)
    accurate = torch.promote_types(scores.dtype, torch.float32)
    falls: list[list[Tensor]] = [[] for _ in range(images)]
    for start in range(0, count, together):
        number = torch.arange(start, min(start + together, count), device=batch.device)
        covered = (
            rows[number // len(columns)][:, None, :, None] & columns[number % len(columns)][:, None, None, :]
        )
        for n in range(images):
            check()
            found = scores_of(torch.where(covered, cover, batch[n]))
            check_scores(found, len(number))
            check_finite(found)
            fall = scores[n].to(accurate) - found.to(accurate)
            falls[n].append(fall if classes is None else fall[:, classes[n], None])
    # a pixel's windows are its rows' times its columns', so their sum is two products of matrices
    down, right = rows.T.to(accurate), columns.T.to(accurate)
    every = torch.stack([torch.cat(one) for one in falls]).movedim(-1, 1)
    maps: Tensor = down @ every.reshape(*every.shape[:-1], len(rows), len(columns)) @ right.T
    return maps / (down.sum(1)[:, None] * right.sum(1))


def _covered(length: int, window: int, stride: int, device: torch.device) -> Tensor:
    """Which places each window covers along one axis, (windows, length): until the last place is covered."""
    count = math.ceil(max(0, length - window) / stride) + 1
    begins = torch.arange(count, device=device)[:, None] * stride
    places = torch.arange(length, device=device)
    return (places >= begins) & (places < begins + window)


def rise(
    scores_of: Scores,
    batch: Tensor,
    classes: tuple[int, ...] | None,
    settings: Settings,
    check: Check,
) -> Tensor:
    """``1 / (p N) sum over N masks of f_k(x * M_i) M_i``, (N, K, H, W), p the share of cells that is kept.

    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
    arXiv 1806.07421, equation 6. The masks are those of `rise_masks`, the same for every image.

    Parameters
    ----------
    scores_of:
        ``f``: in the paper the probabilities.
    batch:
        As for `black_box_maps`.
    classes:
        One class for each image, or None for all: K is 1, or all.
    settings:
        `masks`, `mask_cells`, `kept`, `seed` and `forward` count.
    check:
        Called before each pass; what it raises ends the work.
    """
    images, size = len(batch), (int(batch.shape[-2]), int(batch.shape[-1]))
    sums: list[Tensor | None] = [None] * images
    for masks in rise_masks(size, settings, settings.together(images)):
        masks = masks.to(batch.device)
        for n in range(images):
            check()
            found = scores_of(batch[n] * masks[:, None].to(batch.dtype))
            check_scores(found, len(masks))
            check_finite(found)
            found = found if classes is None else found[:, classes[n], None]
            accurate = torch.promote_types(found.dtype, torch.float32)
            part = torch.einsum("mk,mhw->khw", found.to(accurate), masks.to(accurate))
            before = sums[n]
            sums[n] = part if before is None else before.add_(part)
    return torch.stack([one for one in sums if one is not None]) / (settings.kept * settings.masks)


def rise_masks(size: tuple[int, int], settings: Settings, together: int) -> Iterator[Tensor]:
    """RISE's masks (m, H, W), 0 to 1, at most `together` at once: small random grids, enlarged and shifted.

    A grid of `mask_cells` squared cells, each 1 with the probability `kept`, is brought to one cell more than
    the image on each side, bilinear, and cut out at a random place (section 3.2 of the paper). The same seed gives
    the same masks, however many are asked for at once.

    Raises
    ------
    NetworkError
        If the image has fewer pixels on a side than the masks have cells.
    """
    cells = settings.mask_cells
    if min(size) < cells:
        raise NetworkError(
            say(
                "RISE's masks have {cells} x {cells} cells, more than the image of {height} x {width} px has pixels.",
                cells=cells,
                height=size[0],
                width=size[1],
            )
        )
    generator = torch.Generator().manual_seed(settings.seed)
    grids = (torch.rand(settings.masks, 1, cells, cells, generator=generator) < settings.kept).float()
    step = (math.ceil(size[0] / cells), math.ceil(size[1] / cells))
    shifts = [torch.randint(0, side, (settings.masks,), generator=generator).tolist() for side in step]
    for start in range(0, settings.masks, together):
        large = F.interpolate(
            grids[start : start + together],
            ((cells + 1) * step[0], (cells + 1) * step[1]),
            mode="bilinear",
            align_corners=False,
        )[:, 0]
        yield torch.stack(
            [
                one[y : y + size[0], x : x + size[1]]
                for one, y, x in zip(large, shifts[0][start:], shifts[1][start:], strict=False)
            ]
        )


def baseline_of(batch: Tensor, settings: Settings) -> Tensor:
    """The baseline as (C, H, W) on the batch's device; `NetworkError` if it does not fit the images."""
    value = torch.as_tensor(settings.baseline, dtype=batch.dtype, device=batch.device)
    try:
        value = value.expand(batch.shape[1:])
    except RuntimeError:
        raise NetworkError(
            say(
                "The baseline of {shape} does not fit images of {image} (channels, height, width).",
                shape=tuple(value.shape),
                image=tuple(batch.shape[1:]),
            )
        ) from None
    if not bool(torch.isfinite(value).all()):
        raise NetworkError(say("The baseline holds values that are not numbers (NaN) or infinite."))
    return value
