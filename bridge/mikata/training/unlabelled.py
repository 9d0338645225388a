"""Learning from images without labels, before a stage: two views of one image shall look alike to the network.

Losses and projection heads are the library lightly's (MIT), which is imported in this module only, and only when
a recipe asks for it. Views, order and steps are Mikata's own: they are functions of seed, epoch and index.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.datasets import Entry, read_unlabelled
from mikata.errors import DataError, RecipeError, TrainingError
from mikata.language import duration, say
from mikata.networks import Features, asked_between_layers, blocks, features
from mikata.training import order
from mikata.training.augmentation import augment
from mikata.training.data import Part, TrainingBatches, look_through
from mikata.training.stage import Augmentation, Stage, Unlabelled
from mikata.types import Progress

_SHOW_SECONDS = 0.2
_FEWEST = 8  # images: with fewer, "unlike all others" says nothing
_SMALLEST_CROP = (
    0.4  # of a side, so 0.16 of the area; SimCLR's are from 0.08 on, of photographs of whole scenes
)
_MOMENTUM = 0.99  # of BYOL's slow network at first, as its authors set it for their short training (appendix, 300 epochs)
_WEIGHT_DECAY = 1e-6  # SimCLR's

Views = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Flips:
    """Which ways a view may be mirrored: those that the stage's augmentation says, so that sides stay sides."""

    horizontal: bool = False
    vertical: bool = False
    quarter_turns: bool = False

    @classmethod
    def of(cls, stage: Stage) -> Flips:
        """Of a stage's augmentation."""
        own = stage.augmentation
        return cls(own.flip_horizontal, own.flip_vertical, own.quarter_turns)


def learn_unlabelled(
    classifier: Classifier,
    images: Part,
    settings: Unlabelled,
    seed: int,
    progress: Progress,
    *,
    recipe: str,
    value_range: tuple[float, float],
    flips: Flips,
    workers: int = 0,
    accelerator: str = "cpu",
) -> list[dict[str, float]]:
    """Teach the layers before a classifier's head what its images have in common, without their labels.

    ``simclr``: two views of an image are to be more alike than those of different images of the batch (Chen et al.
    2020, arXiv 2002.05709; temperature 0.5). ``vicreg``: alike, but with spread and uncorrelated features (Bardes et
    al. 2022, arXiv 2105.04906). ``byol``: one view predicts what a slowly following copy of the network makes of
    the other (Grill et al. 2020, arXiv 2006.07733). The optimiser is Adam, its rate falls along half a cosine.

    The same seed, images and number of threads give the same weights on the CPU.

    Parameters
    ----------
    classifier:
        All but its head is changed in place, batch normalisation's statistics too; it comes back on the CPU, in
        evaluation mode. The head stays as it was.
    images:
        Their labels are not looked at.
    settings:
        Method, epochs, batch and learning rate.
    recipe:
        Its name, for messages.
    value_range:
        Lowest and highest possible value of a pixel.
    flips:
        Which ways a view may be mirrored.
    workers:
        Threads that read images which are not in memory.
    accelerator:
        Lightning's name of the device.

    Returns
    -------
    list
        One mapping an epoch: epoch (from 1), loss, seconds.

    Raises
    ------
    RecipeError
        If lightly is not installed, or one image at once is asked for.
    DataError
        If there are too few images.
    TrainingError
        If the loss is no number any more; the network is then as it was before.
    Cancelled
        If the user asked to stop; the same.
    """
    if settings.batch < 2:
        raise RecipeError(
            say(
                "{recipe}: stage.unlabelled: batch = 1 leaves no other image to compare with. Say 2 or more, better 64.",
                recipe=recipe,
            )
        )
    if len(images) < _FEWEST:
        raise DataError(
            say(
                'source = "unlabelled" has {count} image(s) to learn from; it needs at least {fewest}.',
                count=len(images),
                fewest=_FEWEST,
            )
        )
    with _unchanged_if_it_fails(classifier), torch.random.fork_rng():
        torch.manual_seed(order.seed_of(seed, 0, "unlabelled weights"))
        device = torch.device(accelerator)
        learner = _Learner(classifier, settings.method, recipe).to(device)
        return _learn(learner, images, settings, seed, progress, value_range, flips, workers, device)


def images_of(
    settings: Unlabelled,
    learning: Part,
    left_out: Iterable[Entry],
    stage: Stage,
    progress: Progress,
) -> Part:
    """The images to learn from: the stage's own training images, or those of a folder.

    Of a folder, images and patients of the selection and test parts are left out: what they look like must not be
    known before they judge.

    Parameters
    ----------
    learning:
        The stage's training images.
    left_out:
        Entries of the other parts.

    Raises
    ------
    DataError
        If the folder holds no image that can be used, or none but those of the other parts.
    ImageError
        If one of its images is of another kind than the stage's.
    """
    if not settings.images:
        return learning
    folder = Path(settings.images)
    entries, _ = read_unlabelled(folder, progress=progress)
    others = list(left_out)
    digests = {entry.picture.digest for entry in others}
    patients = {entry.patient for entry in others} - {""}
    used = tuple(e for e in entries if e.picture.digest not in digests and e.patient not in patients)
    if not used:
        raise DataError(
            say("All images of {folder} are in the selection or test part of this stage.", folder=folder)
        )
    found = Part(used, torch.zeros(len(used), dtype=torch.int64), learning.spec)
    if found.nbytes() + learning.nbytes() <= stage.cache_gib * 2**30:
        message = say("Reading images without labels")
        look_through(found, keep=True, workers=stage.workers, message=message, progress=progress)
    return found


def _learn(
    learner: _Learner,
    images: Part,
    settings: Unlabelled,
    seed: int,
    progress: Progress,
    value_range: tuple[float, float],
    flips: Flips,
    workers: int,
    device: torch.device,
) -> list[dict[str, float]]:
    batches = TrainingBatches(images, settings.batch, seed, workers=workers)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, weight_decay=_WEIGHT_DECAY)
    total = len(batches) * settings.epochs
    history: list[dict[str, float]] = []
    started = shown = time.monotonic()
    step = 0
    loss_shown = math.nan
    learner.train()
    with asked_between_layers(learner.look.classifier, progress.check):
        for epoch in range(settings.epochs):
            batches.epoch = epoch
            torch.manual_seed(order.seed_of(seed, epoch, "unlabelled network"))
            draws = [order.draws(len(images), seed, epoch, f"view {number}") for number in (1, 2)]
            losses = torch.zeros((), device=device)
            place = 0
            epoch_started = time.monotonic()
            for pictures, _, _ in batches:
                here = slice(place, place + len(pictures))
                place += len(pictures)
                x = pictures.to(device)
                views = tuple(view(x, own[here].to(device), value_range, flips) for own in draws)
                done = step / total
                for group in optimiser.param_groups:
                    group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
                loss = learner((views[0], views[1]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                learner.follow(done)
                losses += loss.detach() * len(pictures)
                step += 1
                progress.check()
                if time.monotonic() - shown >= _SHOW_SECONDS:
                    shown = time.monotonic()
                    loss_shown = _finite(float(loss.detach()), epoch, settings)
                    words = say(
                        "Learning without labels, epoch {epoch} of {epochs}, loss {loss:.3g}",
                        epoch=epoch + 1,
                        epochs=settings.epochs,
                        loss=loss_shown,
                    )
                    left = duration((shown - started) / step * (total - step))
                    progress.step(f"{words}, {say('{time} left', time=left)}", step, total)
            mean = _finite(float(losses) / len(images), epoch, settings)
            history.append({"epoch": epoch + 1, "loss": mean, "seconds": time.monotonic() - epoch_started})
    return history


def _finite(loss: float, epoch: int, settings: Unlabelled) -> float:
    if math.isfinite(loss):
        return loss
    raise TrainingError(
        say(
            "The loss of learning without labels is not a number any more in epoch {epoch}. Try a learning rate lower "
            "than {rate:g} in [stage.unlabelled].",
            epoch=epoch + 1,
            rate=settings.learning_rate,
        )
    )


def view(images: Tensor, draws: Tensor, value_range: tuple[float, float], flips: Flips) -> Tensor:
    """One random view of each image (N, C, H, W): a part of it at full size, mirrored where allowed, otherwise lit.

    A rectangle of the image's own shape, 0.4 to 1 of its sides long, anywhere inside; brightness and contrast
    within 1 -/+ 0.4; a Gaussian blur of up to 1 % of the image's shorter side. No change of colour, which stains are
    told by.

    Parameters
    ----------
    draws:
        (N, len(DRAWS)), from 0 to 1: the only source of chance.
    """
    column = {name: draws[:, number] for number, name in enumerate(order.DRAWS)}
    size = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * column["scale"]
    zero = torch.zeros_like(size)
    right = (1 - size) * (2 * column["crop_x"] - 1)
    below = (1 - size) * (2 * column["crop_y"] - 1)
    matrices = torch.stack([torch.stack([size, zero, right], 1), torch.stack([zero, size, below], 1)], 1)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    parts = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    options = Augmentation(
        rotation_rad=0.0,
        shift=0.0,
        flip_horizontal=flips.horizontal,
        flip_vertical=flips.vertical,
        quarter_turns=flips.quarter_turns,
        brightness=0.4,
        contrast=0.4,
        blur_px=0.01 * min(images.shape[2:]),
    )
    return augment(parts, draws, options, value_range)


class _Learner(nn.Module):
    """The layers before the head with a method's own layers behind them: views to loss."""

    def __init__(self, classifier: Classifier, method: str, recipe: str) -> None:
        super().__init__()
        library = _lightly(recipe)
        self.look: Features = features(classifier)
        self.slow: nn.ModuleList | None = None
        width = self.look.width
        if method == "simclr":
            self.project = library.heads.SimCLRProjectionHead(width, width, min(128, width))
            self.loss = library.loss.NTXentLoss(temperature=0.5)
        elif method == "vicreg":
            wide = min(2048, max(256, 4 * width))
            # VICReg's expander has the form of this head: three layers of one width
            self.project = library.heads.BarlowTwinsProjectionHead(width, wide, wide)
            self.loss = library.loss.VICRegLoss()
        else:
            self.project = library.heads.BYOLProjectionHead(width, 1024, 256)
            self.predict = library.heads.BYOLPredictionHead(256, 1024, 256)
            self.loss = library.loss.NegativeCosineSimilarity()
            slow = copy.deepcopy(nn.ModuleList([classifier, self.project])).requires_grad_(False)
            self.slow = slow
            self.slow_look = features(slow[0])  # type: ignore[arg-type]
        self.update_momentum = library.update_momentum
        # nothing teaches the head: no gradient, no step
        classifier.requires_grad_(True)
        for parameter in blocks(classifier.network)[-1][1]:
            parameter.requires_grad_(False)

    def forward(self, views: Views) -> Tensor:
        """The method's loss of two views of the same images."""
        found = [self.project(self.look(x)) for x in views]
        if self.slow is None:
            loss: Tensor = self.loss(*found)
            return loss
        with torch.no_grad():
            aims = [self.slow[1](self.slow_look(x)) for x in views]
        guesses = [self.predict(x) for x in found]
        both: Tensor = (self.loss(guesses[0], aims[1]) + self.loss(guesses[1], aims[0])) / 2
        return both

    def follow(self, done: float) -> None:
        """Let BYOL's slow network follow, the more slowly the more of the training is done (share from 0 to 1)."""
        if self.slow is None:
            return
        momentum = 1 - (1 - _MOMENTUM) * (1 + math.cos(math.pi * done)) / 2
        self.update_momentum(self.look.classifier, self.slow[0], momentum)
        self.update_momentum(self.project, self.slow[1], momentum)


@dataclass(frozen=True)
class _Library:
    loss: Any
    heads: Any
    update_momentum: Any


def _lightly(recipe: str) -> _Library:
    try:
        from lightly import loss
        from lightly.models import utils
        from lightly.models.modules import heads
    except ImportError as error:
        raise RecipeError(
            say(
                '{recipe}: source = "unlabelled" needs the library lightly, which is not installed: '
                'pip install "mikata[unlabelled]"',
                recipe=recipe,
            )
        ) from error
    return _Library(loss, heads, utils.update_momentum)


@contextmanager
def _unchanged_if_it_fails(classifier: Classifier) -> Iterator[None]:
    """The classifier's weights as they were if the block fails; always on the CPU and in evaluation mode after it."""
    before = {key: value.detach().to("cpu", copy=True) for key, value in classifier.state_dict().items()}
    try:
        yield
    except BaseException:
        classifier.load_state_dict(before)
        raise
    finally:
        classifier.requires_grad_(True).zero_grad()
        classifier.to("cpu").eval()
