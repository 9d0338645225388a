"""Random changes of a batch of training images, all at once on its device."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mikata.datasets import Dataset
from mikata.errors import RecipeError
from mikata.language import say
from mikata.training.order import DRAWS
from mikata.training.recipe import Recipe
from mikata.training.stage import Augmentation

_PADDING = {"reflect": "reflection", "nearest": "border", "lowest": "zeros"}
_WORD = 0xFFFFFFFF  # 32 bits
_SIDES = {"lt", "rt", "lft", "rgt", "sinister", "dexter", "hidari", "migi"}
_JAPANESE_SIDES = ("左", "右", "ひだり", "みぎ", "ヒダリ", "ミギ")
_SIDE_AT_START = re.compile(r"(left|right)(?!over|eous|ful)")  # leftlung, rightside, but no leftover
_SHORT = ({"l", "r"}, {"os", "od"}, {"sin", "dex"})  # speak of sides only where both are there


def augment(images: Tensor, draws: Tensor, options: Augmentation, value_range: tuple[float, float]) -> Tensor:
    """Move, turn and scale images, and change their values, in the order in which a camera would.

    First all that moves pixels, in one bilinear interpolation; then blur, brightness, contrast, gamma, noise, and
    the rectangle. What is off costs nothing. An image's result depends on its own row of `draws` alone.

    Parameters
    ----------
    images:
        (N, C, H, W), values within `value_range`.
    draws:
        (N, len(DRAWS)), from 0 to 1: the only source of chance.
    options:
        How far each change may go.
    value_range:
        Lowest and highest possible value: brightness is a factor on what is above the lowest, gamma an exponent
        on the share of the range, and the result stays inside.
    """
    column = {name: draws[:, i] for i, name in enumerate(DRAWS)}
    images = _moved(images, column, options, value_range[0])
    if options.blur_px:
        images = blurred(images, options.blur_px * column["blur"], options.blur_px)
    images = changed_values(images, column, options, value_range)
    if options.erase:
        images = _erased(images, column, options.erase)
    return images


def augment_masked(
    images: Tensor, planes: Tensor, draws: Tensor, options: Augmentation, value_range: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Change images as `augment` does, and move what their pixels are along with them.

    Parameters
    ----------
    images, draws, options, value_range:
        As of `augment`.
    planes:
        Numbers of each pixel (N, P, H, W), taken from the nearest one. Where an image goes on with its lowest value,
        they go on with 0, which is background.
    """
    column = {name: draws[:, i] for i, name in enumerate(DRAWS)}
    grid = _grid(images, column, options)
    if grid is not None:
        planes = F.grid_sample(
            planes, grid.to(planes.dtype), "nearest", padding_mode=_PADDING[options.fill], align_corners=False
        )
    return augment(images, draws, options, value_range), planes


def _moved(images: Tensor, column: dict[str, Tensor], options: Augmentation, low: float) -> Tensor:
    grid = _grid(images, column, options)
    if grid is None:
        return images
    # grid_sample knows no other fill than 0
    offset = low if options.fill == "lowest" else 0.0
    return (
        F.grid_sample(
            images - offset,
            grid.to(images.dtype),
            padding_mode=_PADDING[options.fill],
            align_corners=False,
        )
        + offset
    )


def _grid(images: Tensor, column: dict[str, Tensor], options: Augmentation) -> Tensor | None:
    """Where each place of the result is in the image (N, H, W, 2); None where nothing is moved."""
    if not moves(options):
        return None
    return F.affine_grid(matrices(column, options, images.shape), list(images.shape), align_corners=False)


def moves(options: Augmentation) -> bool:
    """Whether pixels are moved."""
    turned = options.flip_horizontal or options.flip_vertical or options.quarter_turns
    return bool(options.rotation_rad or options.shift or options.scale or turned)


def matrices(column: dict[str, Tensor], options: Augmentation, shape: Sequence[int]) -> Tensor:
    """From places in the result to places in the image (N, 2, 3), both from -1 to 1 over the image."""
    height, width = shape[-2:]
    angle = options.rotation_rad * (2 * column["rotation"] - 1)
    cosine, sine = angle.cos(), angle.sin()
    if options.quarter_turns:
        # a quarter turn of an oblong image would lose its ends and show as much that is made up: half turns there
        draw = column["quarter_turns"]
        turns = (draw * 4).long() % 4 if height == width else (draw * 2).long() % 2 * 2
        # exact, as the cosine of a float's quarter of a circle is not
        turned_cosine = torch.stack([cosine, -sine, -cosine, sine], 1).gather(1, turns[:, None])[:, 0]
        turned_sine = torch.stack([sine, cosine, -sine, -cosine], 1).gather(1, turns[:, None])[:, 0]
        cosine, sine = turned_cosine, turned_sine
    if options.scale:
        size = 1 + options.scale * (2 * column["scale"] - 1)
        cosine, sine = cosine * size, sine * size
    across = _signs(column["flip_horizontal"], options.flip_horizontal)
    down = _signs(column["flip_vertical"], options.flip_vertical)
    # 2 of these coordinates are the whole width or height
    right = 2 * options.shift * (2 * column["shift_x"] - 1)
    below = 2 * options.shift * (2 * column["shift_y"] - 1)
    # a rotation is one of pixels: in these coordinates, an oblong image needs its aspect ratio
    rows = [
        torch.stack([cosine * across, -sine * down * (height / width), right], 1),
        torch.stack([sine * across * (width / height), cosine * down, below], 1),
    ]
    return torch.stack(rows, 1)


def _signs(draw: Tensor, wanted: bool) -> Tensor:
    return torch.where(draw < 0.5, -1.0, 1.0) if wanted else torch.ones_like(draw)


def changed_values(
    images: Tensor, column: dict[str, Tensor], options: Augmentation, value_range: tuple[float, float]
) -> Tensor:
    """Brightness, contrast, gamma and noise of images, each kept within the range of values.

    `column` has each image's random number (N,) for each of DRAWS.
    """
    low, high = value_range
    span = high - low
    if options.brightness:
        factor = 1 + options.brightness * (2 * column["brightness"] - 1)
        images = ((images - low) * factor[:, None, None, None] + low).clamp(low, high)
    if options.contrast:
        factor = 1 + options.contrast * (2 * column["contrast"] - 1)
        mean = images.mean((2, 3), keepdim=True)
        images = ((images - mean) * factor[:, None, None, None] + mean).clamp(low, high)
    if options.gamma and span > 0:
        exponent = 1 + options.gamma * (2 * column["gamma"] - 1)
        share = ((images - low) / span).clamp(0, 1)
        images = share ** exponent[:, None, None, None] * span + low
    if options.noise:
        deviation = options.noise * span * column["noise"]
        noise = normal_noise(column["noise_seed"], images.shape[1:])
        images = (images + noise * deviation[:, None, None, None]).clamp(low, high)
    return images


def blurred(images: Tensor, sigma: Tensor, most: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian blur, each with its own standard deviation in px.

    It is scipy.ndimage.gaussian_filter's: cut off at 4 standard deviations, and reflected at the border with the
    outermost pixel twice. Written as two products with small matrices, since each image has its own.

    Parameters
    ----------
    sigma:
        (N,), from 0 (no blur) to `most`.
    most:
        An upper limit of `sigma`.
    """
    height, width = images.shape[2:]
    down, across = (_blur_matrix(sigma.to(images.dtype), size, most)[:, None] for size in (height, width))
    return down @ images @ across.transpose(-1, -2)


def _blur_matrix(sigma: Tensor, size: int, most: float) -> Tensor:
    """What each place of a line (rows) takes from each other one (N, size, size); every row sums to 1."""
    reach = int(4 * most + 0.5)
    place = torch.arange(size, device=sigma.device)
    limit = (4 * sigma + 0.5).floor()[:, None, None]
    spread = 2 * sigma.clamp(min=1e-6).square()[:, None, None]
    weights = torch.zeros(len(sigma), size, size, device=sigma.device, dtype=sigma.dtype)
    for period in range(-(reach // (2 * size)) - 1, reach // (2 * size) + 2):
        for image in (place, -1 - place):  # the line itself and its mirror image, and both again and again
            distance = (image + 2 * size * period)[None, :] - place[:, None]
            weights += torch.where(distance.abs() <= limit, (-distance.square() / spread).exp(), 0.0)
    return weights / weights.sum(2, keepdim=True)


def normal_noise(seeds: Tensor, shape: Sequence[int]) -> Tensor:
    """Normal noise of mean 0 and standard deviation 1 (N, *shape): a function of each image's seed and the place.

    Whole numbers of 32 bits are hashed (PCG: Jarzynski and Olano 2020, Hash Functions for GPU Rendering, JCGT 9(3),
    21-38) and made normal in pairs (Box and Muller 1958). So nothing is drawn one after the other: the device
    need not be waited for, and an image gets the same noise in whatever batch.

    Parameters
    ----------
    seeds:
        (N,), from 0 to below 1, of 24 bits as torch draws them.
    """
    count = math.prod(shape)
    pairs = -(-count // 2)
    keys = _hash((seeds * 2**24).long())
    # hashed twice: with one hash, two images could have the same noise, shifted by the difference of their keys
    place = _hash(torch.arange(2 * pairs, device=seeds.device))
    if seeds.device.type == "cpu":
        # one by one: the last few numbers of a tensor are computed another way than the others there
        return torch.stack([_normal(_hash(place + key), pairs)[:count] for key in keys]).reshape(-1, *shape)
    return _normal(_hash(place + keys[:, None]), pairs)[:, :count].reshape(-1, *shape)


def _normal(hashed: Tensor, pairs: int) -> Tensor:
    uniform = (hashed >> 8).float() / 2**24  # as many bits as a float holds: from 0 to below 1
    radius = (-2 * torch.log1p(-uniform[..., :pairs])).sqrt()
    angle = 2 * math.pi * uniform[..., pairs:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], -1)


def _hash(values: Tensor) -> Tensor:
    """Other whole numbers from 0 to 2^32 - 1 for those of `values`, which count modulo 2^32."""
    state = (values * 747796405 + 2891336453) & _WORD
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & _WORD
    return (word >> 22) ^ word


def _erased(images: Tensor, column: dict[str, Tensor], share: float) -> Tensor:
    """One rectangle set to the mean of each channel (Zhong et al. 2020, arXiv 1708.04896).

    Its area is up to `share` of the image, its height 1/3 to 3 times its width, both as shares of the image's.
    """
    height, width = images.shape[2:]
    area = share * column["erase"]
    ratio = 3 ** (2 * column["erase_shape"] - 1)
    # where the longer side would be longer than the image, it is as long, and the other one has the rest
    tall = (area * ratio).sqrt().clamp(max=1).maximum(area)
    rows = (tall * height).floor()
    columns = torch.where(tall > 0, area / tall.clamp(min=1e-12), 0.0).clamp(max=1).mul(width).floor()
    top = (column["erase_y"] * (height - rows + 1)).floor().minimum(height - rows)
    left = (column["erase_x"] * (width - columns + 1)).floor().minimum(width - columns)
    y = torch.arange(height, device=images.device)[None, :, None]
    x = torch.arange(width, device=images.device)[None, None, :]
    inside_y = (y >= top[:, None, None]) & (y < (top + rows)[:, None, None])
    inside_x = (x >= left[:, None, None]) & (x < (left + columns)[:, None, None])
    return torch.where((inside_y & inside_x)[:, None], images.mean((2, 3), keepdim=True), images)


def refuse_flips_of_sides(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse to mirror or turn around images whose classes are about sides.

    Raises
    ------
    RecipeError
        If the recipe flips images or turns them by quarters, and a class is named after a side (English, Japanese, or both of a
        pair such as L and R), or the labels are what the table's laterality column says.
    """
    options = recipe.stage.augmentation
    if not (options.flip_horizontal or options.flip_vertical or options.quarter_turns):
        return
    reason = _about_sides(dataset)
    if reason:
        raise RecipeError(
            say(
                "{recipe}: flips are on, but {reason}: a mirrored or turned image would have the wrong label. "
                "Set flip_horizontal, flip_vertical and quarter_turns to false.",
                recipe=recipe.source,
                reason=reason,
            )
        )


def _about_sides(dataset: Dataset) -> str:
    plain = {name: unicodedata.normalize("NFKC", name) for name in dataset.classes}
    words = {name: _tokens(text) for name, text in plain.items()}
    for name, tokens in words.items():
        in_japanese = any(side in plain[name] for side in _JAPANESE_SIDES)
        if in_japanese or tokens & _SIDES or any(map(_SIDE_AT_START.match, tokens)):
            return say("the class '{name}' speaks of a side", name=name)
    for one in dataset.classes:
        other = f"R{one[1:]}"
        if one.startswith("L") and other in dataset.classes:  # LMLO and RMLO, LUL and RUL
            return say("the classes '{one}' and '{other}' speak of sides", one=one, other=other)
    for pair in _SHORT:
        found = [name for name, tokens in words.items() if tokens & pair]
        if pair <= set().union(*words.values()):
            return say("the classes {names} speak of sides", names=say(" and ").join(map(repr, found)))
    if dataset.classes and all(entry.laterality for entry in dataset.entries):
        by_side: dict[str, set[str]] = {}
        for entry in dataset.entries:
            by_side.setdefault(entry.laterality.casefold(), set()).add(entry.label)
        if len(by_side) > 1 and all(len(labels) == 1 for labels in by_side.values()):
            return say("the classes follow the column 'laterality'")
    return ""


def _tokens(name: str) -> set[str]:
    """Words of a name in small letters; ``LeftLung`` has two."""
    return {word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
