"""Running lightning's trainer: the device, quiet, Ctrl-C, and how it ended."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from mikata.architecture import Classifier
from mikata.errors import Cancelled, RecipeError, TrainingError
from mikata.language import say
from mikata.networks import asked_between_layers
from mikata.training.data import Part, Statistics, TrainingBatches, WholeBatches
from mikata.training.losses import ClassLoss
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage
from mikata.types import Progress

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mikata.training.loop import Loop

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}

StoppedBy = Literal["finished", "early stopping", "interrupted"]


def fit(
    classifier: Classifier,
    learning: Part,
    choosing: Part,
    stage: Stage,
    recipe: Recipe,
    statistics: Statistics,
    folder: Path,
    progress: Progress,
    accelerator: str,
) -> tuple[Loop, StoppedBy]:
    """Train until the epochs are over, nothing gets better, or the user stops it.

    Returns
    -------
    tuple
        The loop, with history and checkpoints, and how it ended.

    Raises
    ------
    TrainingError
        If the loss is no number any more, or the memory does not suffice.
    OutputError
        If a checkpoint cannot be written.
    Cancelled
        If the user stopped it before the first epoch had ended.
    """
    with _quiet_lightning():
        from lightning.pytorch import Trainer

        from mikata.training.checkpoints import Checkpoints
        from mikata.training.learning_parts import LearningParts
        from mikata.training.loop import Loop, Stopped, Watch

        batches = TrainingBatches(
            learning, stage.batch, recipe.seed, balanced=stage.balance == "sampling", workers=stage.workers
        )
        with _watching_for_interrupt() as interrupted:
            loop = Loop(
                classifier,
                stage,
                batches,
                ClassLoss(learning.labels, classifier.configuration["classes"], stage),
                LearningParts(classifier, stage, recipe.source),
                statistics.value_range,
                recipe.seed,
                Checkpoints(folder),
                Watch(progress, len(batches), stage.epochs, interrupted),
            ).train()
            trainer = Trainer(
                accelerator=accelerator,
                devices=1,
                precision=_PRECISIONS[stage.precision],
                max_epochs=stage.epochs,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            _leave_javas_signals(trainer)
            whole = WholeBatches(choosing, stage.batch, workers=stage.workers)
            try:
                with asked_between_layers(classifier, loop.watch.check):
                    trainer.fit(loop, batches, whole)
            except (Stopped, KeyboardInterrupt, SystemExit) as error:  # the last: lightning for the second
                if not loop.history:
                    raise Cancelled(
                        say("Stopped before the first epoch had ended: nothing is kept.")
                    ) from error
                progress.show(
                    say("Stopped: what was learnt is tested and packaged, Ctrl-C again breaks that off too")
                )
                return loop, "interrupted"
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise TrainingError(
                    say(
                        "{network} cannot be trained on a single image of {width} x {height} px at once (its "
                        "batch normalisation needs more values). Say batch = 2 or more, or a larger size.",
                        network=stage.network,
                        width=stage.size[1],
                        height=stage.size[0],
                    )
                ) from error
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise TrainingError(
                    say(
                        "The memory does not suffice for {batch} images of {width} x {height} px at once. "
                        "Say batch = {smaller} or a smaller size.",
                        batch=stage.batch,
                        width=stage.size[1],
                        height=stage.size[0],
                        smaller=max(1, stage.batch // 2),
                    )
                ) from error
            early = len(loop.history) < stage.epochs
            return loop, "early stopping" if early else "finished"


def _leave_javas_signals(trainer: Trainer) -> None:
    """Let lightning put back, in the end, only the signal handlers that it changes.

    It notes all of Python's and puts them all back. Where Java runs in the process (ImageJ), the handler of
    SIGSEGV is Java's, of which Python knows nothing: "putting back" the default takes it away, and the next null
    reference inside Java, an everyday thing there, ends the process.
    """
    changed = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    connector = trainer._signal_connector
    connector._get_current_signal_handlers = lambda: {s: signal.getsignal(s) for s in changed}  # type: ignore[method-assign]


def accelerator_for(stage: Stage, recipe: Recipe) -> str:
    """Lightning's name of the device: a GPU where there is one that can do what the recipe says."""
    if torch.cuda.is_available():
        return "cuda"
    if stage.precision == "16":
        raise RecipeError(
            say(
                '{recipe}: precision = "16" needs a GPU, and there is none. Say "32" or "bf16".',
                recipe=recipe.source,
            )
        )
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_name(accelerator: str) -> str:
    """What the record calls the device."""
    if accelerator == "cuda":
        return torch.cuda.get_device_name()
    if accelerator == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep lightning's notices off the console; errors come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    with warnings.catch_warnings():
        # advice on its own data loaders and loggers, which are not used here
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        # here, since its import sets the levels
        import lightning.pytorch  # noqa: F401

        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _watching_for_interrupt() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C rather than break off in the middle of a step; a second one breaks off.

    Only Python's main thread gets signals: elsewhere the door's cancel is the way to stop.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def note(signum: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        # None: a handler that was not Python's own, which cannot be put back from here
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
