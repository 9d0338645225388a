"""The training loop: what lightning runs for each batch and epoch, and what is kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mikata.architecture import Network
from mikata.errors import TrainingError
from mikata.language import say
from mikata.training.augmentation import augment, augment_masked
from mikata.training.averaging import Average
from mikata.training.centre_losses import CentreLoss
from mikata.training.checkpoints import Checkpoints, Weights
from mikata.training.data import Batch, TrainingBatches
from mikata.training.learning_parts import LearningParts, steps_done
from mikata.training.losses import ClassLoss, ValueLoss
from mikata.training.memory import Before, has_batch_norm, is_out_of_memory, release
from mikata.training.moving import augment_objects
from mikata.training.order import seed_device, seed_of
from mikata.training.pixel_losses import PixelLoss
from mikata.training.processes import Processes
from mikata.training.schedule import rate_factor
from mikata.training.stage import Stage
from mikata.training.state import Belonging, State
from mikata.training.together import Together
from mikata.training.watching import Watch

_BETA2 = 0.999  # Adam's, in torch and Keras alike
_AVERAGE = "average"  # what the state calls the averaged weights


class Loop(LightningModule):
    """One stage: loss, optimiser, augmentation, history and checkpoints.

    Every step is a function of seed, epoch and its number, so that a training can go on between any two of them.
    Lightning leaves the step to this class (its "manual optimisation"), since one that memory does not suffice for
    is undone and done again in pieces.

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
    belongs:
        What the state that is written belongs to.
    together:
        The other processes of this training; None: there is no other.

    Attributes
    ----------
    epoch, step:
        Whole epochs that are over, and steps of the next one.
    history:
        One mapping a whole epoch.
    notes:
        What the user was told and has to be remembered.
    """

    sums: Tensor

    def __init__(
        self,
        classifier: Network,
        stage: Stage,
        batches: TrainingBatches,
        losses: ClassLoss | ValueLoss | PixelLoss | CentreLoss,
        parts: LearningParts,
        value_range: tuple[float, float],
        seed: int,
        checkpoints: Checkpoints,
        watch: Watch,
        belongs: Belonging | None = None,
        together: Together | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.allow_zero_length_dataloader_with_multiple_devices = True  # of few selection images
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
        self.together = Together(Processes()) if together is None else together
        self.history: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.epoch = 0
        self.step = 0
        self._belongs = {} if belongs is None else belongs
        # about how large a state is: the weights now, of the last and of the best epoch, and the optimiser's averages
        copies = 4 if stage.optimiser == "sgd" else 5
        self._state_bytes = copies * sum(tensor.nbytes for tensor in classifier.state_dict().values())
        self._normalises = has_batch_norm(classifier)
        self._pieces = 1
        self._whole_pieces = 1
        self._phase: Literal["between", "learning", "stepping"] = "between"
        self._before: Before | None = None
        self._started_from: State | None = None
        self._write_now = False
        self._seconds = self._epoch_seconds = 0.0  # used by earlier starts
        self._started = self._epoch_started = time.monotonic()
        self._logits: Callable[[Tensor], Tensor] = classifier.logits
        self._format = torch.channels_last if stage.channels_last else torch.contiguous_format
        # rows training and selection: sum of losses, right answers (errors of values), images; on the device, which never waits
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

    # --- where it begins

    def go_on_from(self, state: State) -> None:
        """Begin where an earlier start was; what lightning makes gets its state once it is made."""
        self._started_from = state
        self.classifier.load_state_dict(state.weights)
        self.epoch, self.step = state.epochs, state.steps
        self.history, self.notes = list(state.history), list(state.notes)
        if self.average is not None and _AVERAGE in state.extra:
            self.average.restore(state.extra[_AVERAGE])
        self._pieces = state.pieces
        self._seconds, self._epoch_seconds = state.seconds, state.epoch_seconds
        kept = self.checkpoints
        kept.best_epoch, kept.best_loss = state.best_epoch, state.best_loss
        kept.best_weights, kept.last_weights = state.best_weights, state.last_weights
        self.watch.done = self.watch.before = self.epoch * len(self.batches) + self.step
        self._tell_figure()

    def _tell_figure(self) -> None:
        """Let the user see the last whole epoch's figure of the selection images."""
        last = self.history[-1] if self.history else {}
        self.watch.accuracy = last.get("selection_accuracy", math.nan)
        self.watch.dice = last.get("selection_dice", math.nan)
        self.watch.f1 = last.get("selection_f1", math.nan)
        self.watch.error, self.watch.unit = last.get("selection_mae", math.nan), self.classifier.unit

    @property
    def over(self) -> bool:
        """Whether no epoch is to follow."""
        patience = self.stage.early_stopping
        waited = self.epoch - self.checkpoints.best_epoch
        return self.epoch >= self.stage.epochs or bool(patience and self.epoch and waited >= patience)

    @property
    def seconds(self) -> float:
        """Wall-clock time that earlier starts of this training have used."""
        return self._seconds

    def on_fit_start(self) -> None:
        """See that all processes do the same, and make the network as fast as the recipe says."""
        position = f"{self.epoch} {self.step}"
        self.together.begin(" ".join([position, *(f"{k}={v}" for k, v in sorted(self._belongs.items()))]))
        self.classifier.to(memory_format=self._format)
        if self.stage.compile:
            self._logits = torch.compile(self.classifier.logits)
        self._before = Before([*self.classifier.buffers(), self.sums])

    def on_train_start(self) -> None:
        """Give optimiser and schedule the state they had."""
        state, self._started_from = self._started_from, None
        if state is None:
            return
        self._optimiser().load_state_dict(state.optimiser)
        schedule: Any = self.lr_schedulers()
        if schedule is not None:
            schedule.load_state_dict(state.schedule)
        if state.scaler:
            self.trainer.precision_plugin.load_state_dict(state.scaler)
        if self.together.processes.main:  # the sum over all processes, which is its own from now on
            self.sums.copy_(state.sums)

    def on_train_epoch_start(self) -> None:
        """Fix the order, the augmentation and what learns of this epoch."""
        self.batches.epoch = self.epoch
        self.parts.begin(self.epoch)
        if not self.step:
            self.sums.zero_()
            self._epoch_seconds = 0.0
        self._epoch_started = time.monotonic()

    def _optimiser(self) -> torch.optim.Optimizer:
        wrapped: Any = self.optimizers()
        optimiser: torch.optim.Optimizer = wrapped.optimizer
        return optimiser

    # --- a step

    def _augmented(self, batch: Batch) -> Batch:
        images, labels, draws = batch
        if labels.ndim > 1:  # what each pixel is, or objects (N, M, 5), moved with the image
            move = augment_objects if labels.ndim == 3 else augment_masked
            changed = move(images, labels, draws, self.stage.augmentation, self.value_range)
            return *changed, draws
        return augment(images, draws, self.stage.augmentation, self.value_range), labels, draws

    @property
    def judged(self) -> Network:
        """The network with the weights that are judged and kept."""
        return self.classifier if self.average is None else self.average.classifier

    def _losses(self, batch: Batch, row: int) -> Tensor:
        images, labels, _ = batch
        averaged = row == 1 and self.average is not None
        logits = self.judged.logits if averaged else self._logits
        scores = logits(images.contiguous(memory_format=self._format)).float()
        losses = (self.losses.of_training, self.losses.of_selection)[row](scores, labels)
        with torch.no_grad():
            figure = self.losses.figures(scores, labels).sum()
            self.sums[row] += torch.stack([losses.sum(), figure, figure.new_tensor(len(labels))])
        return losses

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Learn from a batch: as a whole or, where memory does not suffice for that, in pieces."""
        optimiser: Any = self.optimizers()
        while True:
            memory_lacks = not self._learn(batch, optimiser)
            agreed = self.together.agree(
                out_of_memory=memory_lacks,
                stop=self.watch.asked(),
                write=self.checkpoints.due(self._state_bytes, within_epoch=True),
            )
            if not agreed.out_of_memory:
                break
            optimiser.zero_grad()
            self.undo()
            release()
            self._halve(len(batch[1]))
        self.together.add_gradients(self.classifier.parameters())
        self._write_now = agreed.write
        self._phase = "stepping"
        optimiser.step()
        self.after_step()
        self.step += 1
        self._phase = "between"

    def after_step(self) -> None:
        """What belongs to a step and follows the optimiser's: the schedule of the learning rate, and the average."""
        schedule: Any = self.lr_schedulers()
        if schedule is not None:
            schedule.step()
        if self.average is not None:
            self.average.update(self.classifier)

    def _learn(self, batch: Batch, optimiser: Any) -> bool:
        """Add up the gradients of a batch; False where memory did not suffice."""
        assert self._before is not None
        self._before.remember()
        self._phase = "learning"
        rank = self.together.processes.rank
        seed_device(seed_of(self.seed, self.epoch, f"network {self.step} {rank}"), self.device)
        total = self.batches.size(self.step)
        count = len(batch[1])
        pieces = min(self._pieces, max(1, count // self._least))
        try:
            optimiser.zero_grad()
            for images, labels, draws in zip(*(values.tensor_split(pieces) for values in batch), strict=True):
                losses = self._losses(self._augmented((images, labels, draws)), 0)
                self.manual_backward(losses.sum() / total)
        except (RuntimeError, MemoryError) as error:
            # synchronised layers of the others wait for this process already: it cannot ask them to begin again
            if not is_out_of_memory(error) or self._synchronised:
                raise
            return False
        return True

    @property
    def _synchronised(self) -> bool:
        """Whether batch normalisation sees the images of all processes."""
        return any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in self.classifier.modules())

    @property
    def _least(self) -> int:
        """How few images may be learnt at once: batch normalisation needs two, unless the recipe says one."""
        return 2 if self.stage.batch > 1 and self._normalises else 1

    def undo(self) -> bool:
        """Make everything as it was before the step at hand; False where that had half changed the weights."""
        if self._phase == "stepping":
            return False
        if self._phase == "learning":
            assert self._before is not None
            self._before.restore()
            self._phase = "between"
        return True

    def _halve(self, count: int) -> None:
        """Learn in pieces of half the size from now on, and say so.

        Raises
        ------
        TrainingError
            If they cannot be smaller.
        """
        most = max(1, count // self._least)
        pieces = min(self._pieces, most)
        now = -(-count // pieces)
        if pieces == most:
            raise TrainingError(
                say(
                    "The memory does not suffice even for {count} image(s) of {width} x {height} px at once. Say a "
                    "smaller size or a smaller network.",
                    count=now,
                    width=self.stage.size[1],
                    height=self.stage.size[0],
                )
            )
        self._pieces = min(2 * pieces, most)
        note = say(
            "The memory does not suffice for {count} images at once: from epoch {epoch} on they are learnt {fewer} "
            "at a time, and each step is still that of the whole batch.",
            count=now,
            epoch=self.epoch + 1,
            fewer=-(-count // self._pieces),
        )
        if self._normalises:
            note += " " + say(
                "Batch normalisation sees fewer images at a time, though, so that the result is not quite that of a "
                "larger memory."
            )
        self.notes.append(note)
        self.watch.say(note)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch of selection images, in pieces where memory does not suffice for all of it."""
        count = len(batch[1])
        while True:
            before = self.sums.clone()
            try:
                for piece in zip(
                    *(values.tensor_split(min(count, self._whole_pieces)) for values in batch), strict=True
                ):
                    self._losses(piece, 1)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._whole_pieces >= count:
                    raise
                self._whole_pieces *= 2
            self.sums.copy_(before)
            release()
        self.watch.check()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move epsilon to where Keras adds it, and clip."""
        if self.stage.adam_formula == "keras":
            self._move_epsilon(optimizer)
        self.configure_gradient_clipping(optimizer)

    def _move_epsilon(self, optimizer: torch.optim.Optimizer) -> None:
        """Keras: p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).

        torch divides v by (1 - b2^t) first, so that the same step needs epsilon / sqrt(1 - b2^t) there. The number
        of steps t is the one that the optimiser has counted itself, which its state holds.
        """
        for group in optimizer.param_groups:
            done = steps_done(optimizer, group)
            group["eps"] = self.stage.epsilon / math.sqrt(1 - _BETA2 ** (done + 1))

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
        """Show the loss now and then, stop at once when it is no number, and write the state when it is time."""
        self.watch.done += 1
        last = self.step == len(self.batches)
        if last:
            self._average_statistics()
        if not self.together.several:  # all stop together, when they next agree
            self.watch.check()
        if self.watch.due():
            loss = self._mean_loss(self.sums, 0)
            self.watch.show(self.epoch + 1, loss)
        if self._write_now and not last and self._can_go_on_within_an_epoch:
            self._mean_loss(self.together.total(self.sums), 0)  # a state that is no number is of no use
            self.write_state()

    @property
    def _can_go_on_within_an_epoch(self) -> bool:
        """Not where every process has statistics of batch normalisation of its own until the epoch's end."""
        return not self.together.several or not self._normalises or self._synchronised

    def _average_statistics(self) -> None:
        if self.together.several and self._normalises and not self._synchronised:
            self.together.average_buffers(self.classifier)
            if self.average is not None:
                self.together.average_buffers(self.average.classifier)

    def _mean_loss(self, sums: Tensor, row: int) -> float:
        total, _, count = sums[row].tolist()
        loss: float = total / count if count else math.nan
        if not math.isfinite(loss):
            raise TrainingError(f"{self._not_a_number(row)} {self._kept()}")
        return loss

    def _not_a_number(self, row: int) -> str:
        values = {"epoch": self.epoch + 1, "rate": self.stage.learning_rate}
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
        write = self.checkpoints.due(self._state_bytes, within_epoch=False)
        agreed = self.together.agree(stop=self.together.several and self.watch.asked(), write=write)
        sums = self.together.total(self.sums)
        losses = [self._mean_loss(sums, row) for row in (0, 1)]
        figures = (sums[:, 1] / sums[:, 2]).tolist()
        epoch = self.epoch + 1
        entry = {
            "epoch": epoch,
            "training_loss": losses[0],
            f"training_{self.losses.figure}": figures[0],
            "selection_loss": losses[1],
            f"selection_{self.losses.figure}": figures[1],
        }
        self._phase = "stepping"
        self.checkpoints.note(self.kept_weights(), epoch, losses[1])
        entry["seconds"] = self._epoch_seconds + time.monotonic() - self._epoch_started
        self.history.append(entry)
        self.epoch, self.step, self.batches.begin = epoch, 0, 0
        self._phase = "between"
        self._tell_figure()
        self.watch.show(epoch, losses[0])
        if self.over:
            self.trainer.should_stop = True
        elif agreed.write:
            self.write_state()

    # --- what is kept

    def kept_weights(self) -> Weights:
        """The weights that an epoch is judged by and that are kept of it."""
        return self.judged.state_dict()

    def write_state(self, ended: str = "") -> None:
        """Write what the training goes on from, of a moment between two steps.

        Raises
        ------
        OutputError
            If that is not possible; the state before is then kept.
        """
        sums = self.sums if ended else self.together.total(self.sums)
        if self.checkpoints.writes:
            self.checkpoints.write_state(self._state(sums, ended).plain(self._belongs))

    def _state(self, sums: Tensor, ended: str) -> State:
        kept = self.checkpoints
        schedule: Any = None if ended else self.lr_schedulers()
        now = time.monotonic()
        weights = (
            kept.last_weights
            if ended
            else {k: v.detach().cpu() for k, v in self.classifier.state_dict().items()}
        )
        if kept.last_weights and all(torch.equal(weights[k], v) for k, v in kept.last_weights.items()):
            weights = kept.last_weights  # between two epochs; the file then holds them but once
        return State(
            epochs=self.epoch,
            steps=self.step,
            ended=ended,
            history=self.history,
            best_epoch=kept.best_epoch,
            best_loss=kept.best_loss,
            weights=weights,
            best_weights=kept.best_weights,
            last_weights=kept.last_weights,
            optimiser={} if ended else self._optimiser().state_dict(),
            schedule={} if schedule is None else schedule.state_dict(),
            scaler={} if ended else self.trainer.precision_plugin.state_dict(),
            sums=sums,
            pieces=self._pieces,
            notes=self.notes,
            seconds=self._seconds + now - self._started,
            epoch_seconds=self._epoch_seconds + now - self._epoch_started if self.step else 0.0,
            extra={} if ended or self.average is None else {_AVERAGE: self.average.state()},
        )
