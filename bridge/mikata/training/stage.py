"""What can be said of one stage of a recipe: every key, its default, and what it may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mikata.language import say

Fit = Literal["resize", "native"]
Fill = Literal["reflect", "nearest", "lowest"]
Check = Callable[[Any], str]  # what is wrong with a value, in words; empty when nothing is


def _number(low: float, high: float, *, open_low: bool = False) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if good and (low < value if open_low else low <= value) and value <= high:
            return ""
        if open_low:
            return say("a number above {low:g} to {high:g}", low=low, high=high)
        if high == math.inf:
            return say("a number from {low:g}", low=low)
        return say("a number from {low:g} to {high:g}", low=low, high=high)

    return check


def _whole(low: int, high: int = 2**31 - 1) -> Check:
    def check(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return ""
        if high == 2**31 - 1:
            return say("a whole number from {low}", low=low)
        return say("a whole number from {low} to {high}", low=low, high=high)

    return check


def _one_of(*choices: Any) -> Check:
    def check(value: Any) -> str:
        if any(type(value) is type(c) and value == c for c in choices):
            return ""
        return say("one of {choices}", choices=", ".join(map(shown, choices)))

    return check


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else say("true or false")


def shown(value: Any) -> str:
    """A value as it is written in a recipe."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _words(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else say("a text in quotes")


def _any_words(value: Any) -> str:
    return "" if isinstance(value, str) else say("a text in quotes")


def _list_of_words(value: Any) -> str:
    good = isinstance(value, list | tuple) and all(isinstance(v, str) and v.strip() for v in value)
    return "" if good else say('a list of texts in quotes, such as ["layer1", "layer2"]')


def _height_and_width(value: Any) -> str:
    good = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(v, int) and not isinstance(v, bool) and 16 <= v <= 4096 for v in value)
    )
    return "" if good else say("[height, width], each a whole number from 16 to 4096 px")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; see ``default.toml`` for what each key means."""

    rotation_rad: float = 0.1
    shift: float = 0.1
    scale: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: bool = False
    fill: Fill = "reflect"
    brightness: float = 0.1
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur_px: float = 0.0
    erase: float = 0.0


@dataclass(frozen=True)
class Formula:
    """The training on pictures drawn by formula that comes before a stage with ``source = "formula"``."""

    classes: int = 128
    per_class: int = 16
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.001


@dataclass(frozen=True)
class Unlabelled:
    """The training on images without labels that comes before a stage with ``source = "unlabelled"``.

    `images` is a folder, made absolute from the recipe's folder; empty for the stage's own training images.
    """

    images: str = ""
    method: Literal["simclr", "vicreg", "byol"] = "simclr"
    epochs: int = 50
    batch: int = 64
    learning_rate: float = 0.001


@dataclass(frozen=True)
class Segmentation:
    """How a network for segmentation is trained; see ``default.toml`` for what each key means."""

    masks: Literal["auto", "objects", "classes", "binary"] = "auto"
    names: tuple[str, ...] = ()
    instances: Literal["none", "boundary", "distance"] = "none"
    loss: Literal["dice_ce", "cross_entropy", "dice"] = "dice_ce"
    patches: int = 4
    foreground: float = 0.5
    shrink: Literal[1, 2, 4, 8] = 1


@dataclass(frozen=True)
class Detection:
    """How a network for detection is trained; see ``default.toml`` for what each key means."""

    names: tuple[str, ...] = ()
    shrink: Literal[1, 2, 4] = 1
    near_px: float = 10.0
    patches: int = 4
    foreground: float = 0.5


@dataclass(frozen=True)
class Stage:
    """One training of the network; see ``default.toml`` for what each key means.

    `source` is ``none``, ``imagenet``, ``previous``, ``formula``, ``unlabelled`` or a path, made absolute from the
    recipe's folder; `data` as well, empty for the data that the command is given.
    """

    name: str = ""
    data: str = ""
    network: str = "small_cnn"
    source: str = "none"
    size: tuple[int, int] = (128, 128)
    fit: Fit = "resize"
    channels: Literal["auto", 1, 3] = "auto"
    normalisation: Literal["auto", "data", "imagenet", "unit", "weights"] = "auto"
    head: Literal["gradient", "few_shot"] = "gradient"
    frozen: tuple[str, ...] = ()
    head_epochs: int = 0
    unfreeze_every: int = 0
    frozen_norm: bool = False
    rate_by_depth: float = 1.0
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 0.001
    epsilon: float = 1e-8
    adam_formula: Literal["torch", "keras"] = "torch"
    weight_decay: float = 0.0
    momentum: float = 0.9
    clipnorm: float = 0.0
    clipnorm_scope: Literal["global", "tensor"] = "global"
    epochs: int = 30
    batch: int = 16
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_epochs: float = 0.0
    early_stopping: int = 10
    averaging: Literal["none", "ema"] = "none"
    ema_decay: float = 0.99
    balance: Literal["none", "class_weights", "sampling", "down_sampling", "logit_adjustment"] = "none"
    label_smoothing: float = 0.0
    keep: Literal["better", "tuned"] = "better"
    precision: Literal["32", "bf16", "16"] = "32"
    channels_last: bool = False
    compile: bool = False
    workers: int = 0
    cache_gib: float = 4.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    formula: Formula = field(default_factory=Formula)
    unlabelled: Unlabelled = field(default_factory=Unlabelled)
    segmentation: Segmentation = field(default_factory=Segmentation)
    detection: Detection = field(default_factory=Detection)


CHECKS: dict[str, Check] = {
    "rotation_rad": _number(0, math.pi),
    "shift": _number(0, 0.5),
    "scale": _number(0, 0.9),
    "quarter_turns": _flag,
    "brightness": _number(0, 0.9),
    "contrast": _number(0, 0.9),
    "gamma": _number(0, 0.9),
    "noise": _number(0, 1),
    "blur_px": _number(0, 20),
    "erase": _number(0, 0.9),
    "flip_horizontal": _flag,
    "flip_vertical": _flag,
    "fill": _one_of(*get_args(Fill)),
    "name": _any_words,
    "data": _any_words,
    "network": _words,
    "source": _words,
    "head": _one_of("gradient", "few_shot"),
    "frozen": _list_of_words,
    "head_epochs": _whole(0, 100_000),
    "unfreeze_every": _whole(0, 100_000),
    "frozen_norm": _flag,
    "rate_by_depth": _number(0, 1, open_low=True),
    "size": _height_and_width,
    "fit": _one_of(*get_args(Fit)),
    "channels": _one_of("auto", 1, 3),
    "normalisation": _one_of("auto", "data", "imagenet", "unit", "weights"),
    "optimiser": _one_of("adam", "adamw", "sgd"),
    "learning_rate": _number(0, 10, open_low=True),
    "epsilon": _number(0, 1, open_low=True),
    "adam_formula": _one_of("torch", "keras"),
    "weight_decay": _number(0, 10),
    "momentum": _number(0, 0.9999),
    "clipnorm": _number(0, math.inf),
    "clipnorm_scope": _one_of("global", "tensor"),
    "epochs": _whole(1, 100_000),
    "batch": _whole(1, 65_536),
    "schedule": _one_of("constant", "cosine", "linear"),
    "warmup_epochs": _number(0, 100_000),
    "averaging": _one_of("none", "ema"),
    "ema_decay": _number(0, 0.99999),
    "label_smoothing": _number(0, 0.9),
    "keep": _one_of("better", "tuned"),
    "channels_last": _flag,
    "compile": _flag,
    "classes": _whole(2, 21_000),
    "per_class": _whole(1, 10_000),
    "images": _any_words,
    "method": _one_of("simclr", "vicreg", "byol"),
    "masks": _one_of("auto", "objects", "classes", "binary"),
    "names": _list_of_words,
    "instances": _one_of("none", "boundary", "distance"),
    "loss": _one_of("dice_ce", "cross_entropy", "dice"),
    "shrink": _one_of(1, 2, 4, 8),
    "near_px": _number(0, 1000, open_low=True),
    "patches": _whole(1, 10_000),
    "foreground": _number(0, 1),
    "early_stopping": _whole(0, 100_000),
    "balance": _one_of("none", "class_weights", "sampling", "down_sampling", "logit_adjustment"),
    "precision": _one_of("32", "bf16", "16"),
    "workers": _whole(0, 256),
    "cache_gib": _number(0, 4096),
    "seed": _whole(0),
    "test": _number(0, 0.9, open_low=True),
    "selection": _number(0, 0.9, open_low=True),
}
