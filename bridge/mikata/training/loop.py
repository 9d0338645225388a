"""The training loop: what lightning runs for each batch and epoch, and what is kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mikata.architecture import Classifier
from mikata.errors import TrainingError
from mikata.language import duration, say
from mikata.training.augmentation import augment
from mikata.training.averaging import Average
from mikata.training.checkpoints import Checkpoints
from mikata.training.data import Batch, TrainingBatches
from mikata.training.learning_parts import LearningParts, steps_done
from mikata.training.losses import ClassLoss
from mikata.training.order import seed_of
from mikata.training.schedule import rate_factor
from mikata.training.stage import Stage
from mikata.types import Progress

_SHOW_SECONDS = 0.2  # between two messages; each asks the device for the loss, which makes it wait
_BETA2 = 0.999  # Adam's, in torch and Keras alike


class Stopped(Exception):
    """The user asked to stop."""


@dataclass
class Watch:
    """Tells the user how far it is, and the loop when to stop."""

    progress: Progress
    steps: int
    epochs: int
    interrupted: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    shown: float = 0.0
    accuracy: float = math.nan
    done: int = 0

    def due(self) -> bool:
        """Whether it is time to show something."""
        return time.monotonic() - self.shown >= _SHOW_SECONDS

    def show(self, epoch: int, loss: float) -> None:
        """Show the state of an epoch that counts from 1."""
        self.shown = time.monotonic()
        words = [
            say("Epoch {epoch} of {epochs}, loss {loss:.3g}", epoch=epoch, epochs=self.epochs, loss=loss)
        ]
        if not math.isnan(self.accuracy):
            words.append(say("selection accuracy {accuracy:.1f} %", accuracy=100 * self.accuracy))
        total = self.steps * self.epochs
        if self.done:
            left = (self.shown - self.started) / self.done * (total - self.done)
            words.append(say("{time} left", time=duration(left)))
        try:
            self.progress.show(", ".join(words), self.done, total)
        except KeyboardInterrupt as error:  # lightning would end the whole program
            raise Stopped from error

    def check(self) -> None:
        """Leave the loop if the user asked to stop.

        Raises
        ------
        Stopped
            If so.
        """
        if self.interrupted() or self.progress.cancelled:
            raise Stopped


class Loop(LightningModule):
    """One stage: loss, optimiser, augmentation, history and checkpoints.

    Parameters
    ----------
    classifier:
        The network that learns.
    stage:
        How.
    batches:
        The training images; their epoch is set from here.
    losses:
        What is learnt from, and what chooses the epoch.
    parts:
        What learns in which epoch.
    value_range:
        Lowest and highest possible pixel value.
    seed:
        Of dropout and the like.
    checkpoints, watch:
        Where weights go, and who is told.
    """

    sums: Tensor

    def __init__(
        self,
        classifier: Classifier,
        stage: Stage,
        batches: TrainingBatches,
        losses: ClassLoss,
        parts: LearningParts,
        value_range: tuple[float, float],
        seed: int,
        checkpoints: Checkpoints,
        watch: Watch,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.stage = stage
        self.batches = batches
        self.losses = losses
        self.parts = parts
        # what is judged and kept in place of the raw weights
        self.average = Average(classifier, stage.ema_decay) if stage.averaging == "ema" else None
        self.value_range = value_range
        self.seed = seed
        self.checkpoints = checkpoints
        self.watch = watch
        self.history: list[dict[str, float]] = []
        self._epoch_started = 0.0
        # rows training and selection: sum of losses, right answers, images; on the device, which never waits
        self.register_buffer("sums", torch.zeros(2, 3, dtype=torch.float32))

    def configure_optimizers(self) -> Any:
        """Make the optimiser and the schedule of the learning rate."""
        stage = self.stage
        groups = self.parts.groups()
        rate, decay = stage.learning_rate, stage.weight_decay
        optimiser: torch.optim.Optimizer
        if stage.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, rate, stage.momentum, weight_decay=decay)
        else:
            kind = torch.optim.Adam if stage.optimiser == "adam" else torch.optim.AdamW
            optimiser = kind(groups, rate, (0.9, _BETA2), stage.epsilon, decay)
        if stage.schedule == "constant" and not stage.warmup_epochs:
            return optimiser
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: rate_factor(step, len(self.batches), stage)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Fix the order, the augmentation, dropout and what learns of this epoch."""
        self.batches.epoch = self.current_epoch
        torch.manual_seed(seed_of(self.seed, self.current_epoch, "network"))
        self.parts.begin(self.current_epoch)
        self.sums.zero_()
        self._epoch_started = time.monotonic()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment training images, once they are on the device."""
        images, labels, draws = batch
        if self.trainer.training:
            images = augment(images, draws, self.stage.augmentation, self.value_range)
        return images, labels, draws

    @property
    def judged(self) -> Classifier:
        """The network with the weights that are judged and kept."""
        return self.classifier if self.average is None else self.average.classifier

    def _count(self, row: int, scores: Tensor, labels: Tensor, losses: Tensor) -> None:
        with torch.no_grad():
            right = (scores.argmax(1) == labels).sum()
            self.sums[row] += torch.stack([losses.sum(), right, right.new_tensor(len(labels))])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of a batch."""
        images, labels, _ = batch
        scores = self.classifier.logits(images).float()
        losses = self.losses.of_training(scores, labels)
        self._count(0, scores, labels, losses)
        return losses.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch of selection images."""
        images, labels, _ = batch
        scores = self.judged.logits(images).float()
        self._count(1, scores, labels, self.losses.of_selection(scores, labels))
        self.watch.check()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the optimiser make its step."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Take the new weights into the average."""
        if self.average is not None:
            self.average.update(self.classifier)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move epsilon to where Keras adds it.

        Keras: p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon). torch divides v by
        (1 - b2^t) first, so that the same step needs epsilon / sqrt(1 - b2^t) there.
        """
        if self.stage.adam_formula != "keras":
            return
        for group in optimizer.param_groups:
            step = steps_done(optimizer, group) + 1
            group["eps"] = self.stage.epsilon / math.sqrt(1 - _BETA2**step)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as Keras does: g c / norm where norm > c, with nothing added to the norm.

        (torch's own adds 1e-6 to the norm, which matters at c = 0.001.)
        """
        limit = self.stage.clipnorm
        if not limit:
            return
        gradients = [p.grad for p in self.classifier.parameters() if p.grad is not None]
        norms = torch.stack([g.norm() for g in gradients])
        if self.stage.clipnorm_scope == "global":
            norms = norms.norm().expand(len(gradients))
        for gradient, factor in zip(gradients, (limit / norms).clamp(max=1), strict=True):
            gradient.mul_(factor)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Show the loss now and then, and stop at once when it is no number."""
        self.watch.done += 1
        self.watch.check()
        if self.watch.due():
            loss = self._mean_loss(0)
            self.watch.show(self.current_epoch + 1, loss)

    def _mean_loss(self, row: int) -> float:
        total, _, count = self.sums[row].tolist()
        loss: float = total / count if count else math.nan
        if not math.isfinite(loss):
            raise TrainingError(f"{self._not_a_number(row)} {self._kept()}")
        return loss

    def _not_a_number(self, row: int) -> str:
        values = {"epoch": self.current_epoch + 1, "rate": self.stage.learning_rate}
        if row == 0:
            return say(
                "The training loss of epoch {epoch} is not a number any more. Try a learning rate lower than "
                "{rate:g}, or a clipnorm.",
                **values,
            )
        return say(
            "The selection loss of epoch {epoch} is not a number any more. Try a learning rate lower than "
            "{rate:g}, or a clipnorm.",
            **values,
        )

    def _kept(self) -> str:
        if not self.checkpoints.best_epoch:
            return say("Nothing is kept, since no epoch had ended.")
        return say(
            "The weights of epoch {epoch} are kept in {file}.",
            epoch=self.checkpoints.best_epoch,
            file=self.checkpoints.best,
        )

    def on_train_epoch_end(self) -> None:
        """Write down the epoch, keep its weights, and stop when nothing gets better."""
        epoch = self.current_epoch + 1
        losses = [self._mean_loss(row) for row in (0, 1)]
        right = (self.sums[:, 1] / self.sums[:, 2]).tolist()
        entry = {
            "epoch": epoch,
            "training_loss": losses[0],
            "training_accuracy": right[0],
            "selection_loss": losses[1],
            "selection_accuracy": right[1],
        }
        self.checkpoints.save(self.judged, epoch, losses[1])
        entry["seconds"] = time.monotonic() - self._epoch_started
        self.history.append(entry)
        self.watch.accuracy = right[1]
        self.watch.show(epoch, losses[0])
        patience = self.stage.early_stopping
        if patience and epoch - self.checkpoints.best_epoch >= patience:
            self.trainer.should_stop = True
