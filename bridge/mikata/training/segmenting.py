"""The training of a network for segmentation as a recipe says, with the loop of all trainings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.architecture import SMP, Segmenter
from mikata.datasets import Entry, Segmented, split
from mikata.errors import Cancelled, DataError, NetworkError, RecipeError
from mikata.language import english, say
from mikata.networks import read_pixel_network
from mikata.networks.instances import label_image
from mikata.networks.reach import step_of
from mikata.training import order, pixel_methods
from mikata.training.augmentation import refuse_flips_of_sides
from mikata.training.data import Statistics, channels_of, input_of, look_through
from mikata.training.fitting import StoppedBy, accelerator_for, device_name, fit
from mikata.training.patches import MaskPart
from mikata.training.pixel_losses import Parting, PixelLoss
from mikata.training.processes import main_process
from mikata.training.recipe import Recipe
from mikata.training.run import NOTICE, data_record, versions
from mikata.training.schedule import refuse_endless_warmup
from mikata.training.stage import Segmentation, Stage, shown
from mikata.types import SILENT, Progress

_GIB = 2**30
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

Parts = Mapping[str, tuple[Entry, ...]]


@dataclass(frozen=True, eq=False)
class SegmentationRun:
    """A finished training of a network for segmentation.

    Attributes
    ----------
    segmenter:
        The network with the weights of the best epoch, on the CPU, in evaluation mode.
    classes:
        Names, background first.
    outputs:
        Names of its output's channels.
    instances:
        How touching objects are told apart.
    step:
        Sides of images must be multiples of it, in px.
    settings:
        What objects are made with, chosen on the selection part; empty before, and where they are not told apart.
    channels, value_unit, value_range, history, recipe, dataset, parts, seed, best_epoch, stopped_by, seconds, device,
    versions, checkpoint, last_checkpoint, parent, notes:
        As of `mikata.training.Run`; the history has mean Dice of images in place of accuracies.
    """

    segmenter: Segmenter
    classes: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: Parting
    step: int
    channels: int
    value_unit: str
    value_range: tuple[float, float]
    history: tuple[dict[str, float], ...]
    recipe: Recipe
    dataset: Segmented
    parts: Parts = field(repr=False)
    seed: int
    best_epoch: int
    stopped_by: StoppedBy
    seconds: float
    device: str
    versions: dict[str, str]
    checkpoint: Path
    last_checkpoint: Path
    parent: dict[str, str]
    notes: tuple[str, ...] = ()
    settings: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, Any] | None = None

    @property
    def grouping(self) -> str:
        """How the split kept images together, in words for reports."""
        return self.dataset.grouping

    @property
    def split(self) -> str:
        """The same, and whether the table gave the split, in English words for records."""
        if any(entry.split for entry in self.dataset.entries):
            return english("{grouping}, given in the table", grouping=self.grouping)
        return self.grouping

    @property
    def methods(self) -> str:
        """How it was trained, as an English paragraph for a methods section."""
        return pixel_methods.paragraph(self)

    def record(self) -> dict[str, Any]:
        """Everything for ``training.json``: plain JSON values; no patient, no file name."""
        data = data_record(self.dataset, self.parts, self.split)
        for name, entries in self.parts.items():
            masks = [entry.mask for entry in entries if entry.mask is not None]
            data["parts"][name]["objects"] = sum(mask.objects for mask in masks)
            data["parts"][name]["empty_masks"] = sum(not mask.present for mask in masks)
        return {
            "notice": NOTICE,
            "configuration": dict(self.segmenter.configuration),
            "classes": list(self.classes),
            "outputs": list(self.outputs),
            "masks": self.dataset.reading.kind,
            "value_unit": self.value_unit,
            "value_range": list(self.value_range),
            "data": data,
            "recipe": self.recipe.record(),
            "notes": list(self.notes),
            "methods": self.methods,
            "parent": dict(self.parent),
            "seed": self.seed,
            "history": [dict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best_by": "lowest selection loss",
            "settings": dict(self.settings),
            "settings_chosen": self.chosen,
            "stopped_by": self.stopped_by,
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "versions": dict(self.versions),
        }

    def predict(self, image: NDArray[Any], device: str = "cpu") -> NDArray[np.float32]:
        """What the network says of an image (C, H, W) in the training images' unit: (K, H, W).

        The whole image at once, continued as in a mirror to the right and below up to multiples of `step`.
        """
        height, width = image.shape[1:]
        filled = np.pad(image, ((0, 0), (0, -height % self.step), (0, -width % self.step)), mode="reflect")
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(filled, np.float32))[None].to(device)
            found = self.segmenter.to(device)(x)[0, :, :height, :width]
        return np.asarray(found.float().cpu().numpy())

    def class_image(self, outputs: NDArray[Any]) -> NDArray[np.uint8]:
        """Number of the class of each pixel (H, W) of what `predict` gives."""
        if self.instances == "none":
            return np.asarray(outputs.argmax(0), np.uint8)
        return np.asarray(self.label_image(outputs) > 0, np.uint8)

    def label_image(self, outputs: NDArray[Any]) -> NDArray[np.int32]:
        """Number of the object of each pixel (H, W) of what `predict` gives, where objects are told apart."""
        return label_image(outputs, self.outputs, self.settings)


def train_segmentation(
    dataset: Segmented,
    recipe: Recipe,
    *,
    folder: Path,
    parts: Parts | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> SegmentationRun:
    """Train a network for segmentation.

    Every step is a function of seed, epoch and its number, and the epoch with the lowest selection loss is kept, as in
    `mikata.training.train`.

    Parameters
    ----------
    dataset:
        Images with masks.
    recipe:
        Of one stage; what ``[stage.segmentation]`` says counts.
    folder:
        Gets the checkpoints.
    parts:
        A split of `dataset` made before; None: by the recipe's shares and seed. Its test part is not looked at.
    resume:
        Whether to go on from the state that an earlier start of the same training has left in `folder`.

    Raises
    ------
    DataError, RecipeError, NetworkError, TrainingError, OutputError, Cancelled
        As `mikata.training.train` raises them.
    """
    started = time.monotonic()
    progress = progress if main_process() else SILENT
    stage = recipe.stage
    refuse_for_pixels(recipe)
    accelerator = accelerator_for(stage, recipe)
    refuse_endless_warmup(stage, recipe.source)
    refuse_flips_of_sides(recipe, dataclasses.replace(dataset, classes=dataset.reading.names))
    parts = parts or split(dataset, test=recipe.test, selection=recipe.selection, seed=recipe.seed)
    said = stage.segmentation
    outputs = outputs_of(dataset, said)
    _refuse_empty_training(dataset, parts)
    classes = len(outputs) - (said.instances == "distance")
    try:
        with order.own_random_numbers(recipe.seed):
            channels = channels_of([e for entries in parts.values() for e in entries], stage.channels)
            segmenter, parent = _start(stage, classes, channels, said.instances == "distance", recipe)
            step = step_of(segmenter.eval(), channels)
            learning, choosing, statistics = _load(parts, dataset, stage, channels, step, recipe, progress)
            segmenter = _normalised(segmenter, stage, statistics, learning.spec.value_unit, recipe)
            loop, stopped_by = fit(
                segmenter,
                learning,
                choosing,
                stage,
                recipe,
                statistics,
                folder,
                progress,
                accelerator,
                resume=resume,
                losses=PixelLoss(classes, said.loss, said.instances),
            )
    except KeyboardInterrupt as error:
        raise Cancelled(say("Stopped before the training had begun: nothing is kept.")) from error
    segmenter = segmenter.to("cpu")
    loop.checkpoints.load_best(segmenter)
    return SegmentationRun(
        segmenter=segmenter.eval(),
        classes=dataset.names,
        outputs=outputs,
        instances=said.instances,
        step=step,
        channels=channels,
        value_unit=learning.spec.value_unit,
        value_range=statistics.value_range,
        history=tuple(loop.history),
        recipe=recipe,
        dataset=dataset,
        parts=dict(parts),
        seed=recipe.seed,
        best_epoch=loop.checkpoints.best_epoch,
        stopped_by=stopped_by,
        seconds=time.monotonic() - started + loop.seconds,
        device=device_name(accelerator),
        versions=versions(),
        checkpoint=loop.checkpoints.best,
        last_checkpoint=loop.checkpoints.last,
        parent=parent,
        notes=tuple(loop.notes),
    )


def outputs_of(dataset: Segmented, said: Segmentation) -> tuple[str, ...]:
    """Names of the channels of the output.

    Raises
    ------
    RecipeError
        If objects of several classes are to be told apart.
    """
    if said.instances == "none":
        return dataset.names
    if len(dataset.names) > 2:
        raise RecipeError(
            say(
                'instances = "{instances}" tells objects of one class apart, but there are {count}: {names}. Say '
                'instances = "none", or train one network a class.',
                instances=said.instances,
                count=len(dataset.names) - 1,
                names=", ".join(dataset.names[1:]),
            )
        )
    return (*dataset.names, said.instances)


def refuse_for_pixels(recipe: Recipe) -> None:
    """Refuse what a recipe says that is not for segmentation.

    Raises
    ------
    RecipeError
        If it has several stages, scales images, or says what classifiers are trained with.
    """
    if len(recipe.stages) > 1:
        raise RecipeError(
            say("{recipe}: a network for segmentation is trained in one stage.", recipe=recipe.source)
        )
    stage = recipe.stage
    wanted = {
        "fit": (stage.fit, "native"),
        "head": (stage.head, "gradient"),
        "balance": (stage.balance, "none"),
        "label_smoothing": (stage.label_smoothing, 0.0),
    }
    for key, (value, needed) in wanted.items():
        if value != needed:
            raise RecipeError(
                say(
                    "{recipe}: a network for segmentation is trained with {key} = {needed}, not {value}.",
                    recipe=recipe.source,
                    key=key,
                    needed=shown(needed),
                    value=shown(value),
                )
            )
    if stage.source in ("formula", "unlabelled", "previous"):
        raise RecipeError(
            say(
                "{recipe}: source = {value} is for classifiers. Say none, imagenet (of an smp: network's encoder), or a "
                "package of a network for segmentation.",
                recipe=recipe.source,
                value=shown(stage.source),
            )
        )


def _refuse_empty_training(dataset: Segmented, parts: Parts) -> None:
    for name in ("training", "selection"):
        present = {k for entry in parts[name] if entry.mask is not None for k in entry.mask.present}
        for number, class_name in enumerate(dataset.reading.names, 1):
            if number not in present:
                raise DataError(
                    say(
                        "{path}: no mask of the {part} part holds the class '{name}': change the seed, the shares or the "
                        "column 'split'.",
                        path=dataset.path,
                        part=name,
                        name=class_name,
                    )
                )


def _load(
    parts: Parts,
    dataset: Segmented,
    stage: Stage,
    channels: int,
    step: int,
    recipe: Recipe,
    progress: Progress,
) -> tuple[MaskPart, MaskPart, Statistics]:
    """Training and selection images, and the statistics of the training images."""
    if stage.size[0] % step or stage.size[1] % step:
        raise RecipeError(
            say(
                "{recipe}: {network} takes patches whose sides are multiples of {step} px, not {height} x {width}. Say "
                "another size.",
                recipe=recipe.source,
                network=stage.network,
                step=step,
                height=stage.size[0],
                width=stage.size[1],
            )
        )
    used = (*parts["training"], *parts["selection"])
    spec = input_of(used, channels, stage.size, stage.fit)
    distance = stage.segmentation.instances == "distance"
    learning, choosing = (
        MaskPart.of(parts[name], dataset, spec, distance=distance, step=step)
        for name in ("training", "selection")
    )
    keep = learning.nbytes() + choosing.nbytes() <= stage.cache_gib * _GIB
    statistics = look_through(
        learning, keep=keep, workers=stage.workers, message=say("Reading training images"), progress=progress
    )
    if min(statistics.std) == 0:
        raise DataError(
            say("All training images have the same value everywhere in one channel: nothing can be learnt.")
        )
    if keep:
        look_through(
            choosing,
            keep=True,
            workers=stage.workers,
            message=say("Reading selection images"),
            progress=progress,
        )
        learning.keep_truth()
        choosing.keep_truth()
    if all(entry.picture.eight_bit for entry in used):
        statistics = Statistics(statistics.mean, statistics.std, (0.0, 255.0))
    return learning, choosing, statistics


def _start(
    stage: Stage, classes: int, channels: int, distance: bool, recipe: Recipe
) -> tuple[Segmenter, dict[str, str]]:
    """The untrained network with the weights it starts from, and what these are."""
    try:
        segmenter = Segmenter(stage.network, classes, channels, [0.0] * channels, [1.0] * channels, distance)
    except ValueError as error:
        raise NetworkError(
            say("The network {name} cannot be built: {error}.", name=stage.network, error=error)
        ) from error
    if stage.source == "none":
        return segmenter, {}
    if stage.source == "imagenet":
        _take_published(segmenter, stage.network, channels)
        return segmenter, {}
    path = Path(stage.source)
    package = read_pixel_network(path)
    own: Any = package.network
    for key in ("network", "classes", "channels", "distance"):
        if own.configuration[key] != segmenter.configuration[key]:
            raise RecipeError(
                say(
                    "{recipe}: the package {package} does not suit: its {key} is {other}, and here it is {here}.",
                    recipe=recipe.source,
                    package=path.name,
                    key=key,
                    other=own.configuration[key],
                    here=segmenter.configuration[key],
                )
            )
    return own, {"name": path.name}


def _take_published(segmenter: Segmenter, name: str, channels: int) -> None:
    """Give an encoder its published weights."""
    if not name.startswith(SMP):
        raise NetworkError(say('{name} has no published weights. Say source = "none".', name=name))
    import segmentation_models_pytorch as smp

    architecture, _, encoder = name.removeprefix(SMP).partition("/")
    try:
        whole = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights="imagenet", in_channels=channels
        )
    except Exception as error:  # of the network, of its hub, or that there are no such weights
        raise NetworkError(
            say(
                "The published weights of {name} cannot be had: {reason}. They are fetched once; without the internet say "
                'source = "none".',
                name=name,
                reason=str(error).splitlines()[0].rstrip(".。") if str(error) else type(error).__name__,
            )
        ) from error
    plain: Any = segmenter.network
    plain.encoder.load_state_dict(whole.encoder.state_dict())


def _normalised(
    segmenter: Segmenter, stage: Stage, statistics: Statistics, unit: str, recipe: Recipe
) -> Segmenter:
    """The network with the mean and standard deviation that the recipe asks for; a package keeps its own."""
    channels = len(statistics.mean)
    from_package = stage.source not in ("none", "imagenet")
    wanted = stage.normalisation
    if wanted == "auto":
        eight_bit = statistics.value_range == (0.0, 255.0)
        wanted = "imagenet" if stage.source == "imagenet" and eight_bit else "data"
        if from_package:
            wanted = "weights"
    if wanted == "weights":
        if not from_package:
            raise RecipeError(
                say(
                    '{recipe}: normalisation = "weights" needs weights to take it from. Name a package, or say "data".',
                    recipe=recipe.source,
                )
            )
        return segmenter
    if wanted in ("imagenet", "unit") and statistics.value_range != (0.0, 255.0):
        raise RecipeError(
            say(
                "{recipe}: the normalisation of ImageNet is for 8-bit images, but these have values in {unit} of another "
                'kind. Say normalisation = "data".',
                recipe=recipe.source,
                unit=unit,
            )
        )
    mean, std = list(statistics.mean), list(statistics.std)
    if wanted == "unit":
        mean, std = [0.0] * channels, [255.0] * channels
    elif wanted == "imagenet":
        mean, std = list(_IMAGENET_MEAN), list(_IMAGENET_STD)
        if channels != 3:
            mean, std = [sum(mean) / 3] * channels, [sum(std) / 3] * channels
    state = segmenter.network.state_dict()
    fresh = Segmenter(**{**segmenter.configuration, "mean": mean, "std": std})
    fresh.network.load_state_dict(state)
    return fresh
