"""Running lightning's trainer: the device, quiet, Ctrl-C, and how it ended."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from mikata.architecture import Network
from mikata.errors import Cancelled, MikataError, OutputError, RecipeError, TrainingError
from mikata.language import say
from mikata.networks import asked_between_layers
from mikata.training import state
from mikata.training.centre_losses import CentreLoss
from mikata.training.data import Part, Remaining, Statistics, TrainingBatches, WholeBatches
from mikata.training.losses import ClassLoss, ValueLoss
from mikata.training.memory import is_out_of_memory
from mikata.training.pixel_losses import PixelLoss
from mikata.training.processes import Processes, processes
from mikata.training.recipe import Recipe
from mikata.training.stage import Stage
from mikata.training.together import Stopped, Together, strategy
from mikata.types import SILENT, Progress

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mikata.training.loop import Loop

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}

_AGAIN_SECONDS = 2.0  # a second Ctrl-C sooner than that is the first one, passed on

StoppedBy = Literal["finished", "early stopping", "interrupted"]


def fit(
    classifier: Network,
    learning: Part,
    choosing: Part,
    stage: Stage,
    recipe: Recipe,
    statistics: Statistics,
    folder: Path,
    progress: Progress,
    accelerator: str,
    *,
    resume: bool = False,
    losses: PixelLoss | CentreLoss | None = None,
) -> tuple[Loop, StoppedBy]:
    """Train until the epochs are over, nothing gets better, or the user stops it.

    Parameters
    ----------
    folder:
        Gets what `mikata.training.checkpoints` keeps.
    resume:
        Whether to go on from the state that an earlier start of the same training has left there.
    losses:
        What a network from images to images learns from; None: what suits the classifier.

    Returns
    -------
    tuple
        The loop, with history and checkpoints, and how it ended.

    Raises
    ------
    TrainingError
        If the loss is no number any more, the memory does not suffice, the network cannot be compiled, another
        process ended, or the state belongs to another training. What was learnt before is kept.
    OutputError
        If a checkpoint cannot be written.
    Cancelled
        If the user stopped it before the first epoch had ended.
    """
    with _quiet_lightning():
        from mikata.training.checkpoints import Checkpoints
        from mikata.training.learning_parts import LearningParts
        from mikata.training.loop import Loop
        from mikata.training.watching import Watch

        group = processes()
        share = (group.rank, group.count)
        batches = learning.training_batches(stage, recipe.seed, share)
        _refuse_empty_shares(batches, recipe, group)
        checkpoints = Checkpoints(folder, writes=group.main)
        checkpoints.prepare(resume=resume)
        belongs = state.belonging(classifier, learning, choosing, stage, recipe.seed)
        earlier = state.read(checkpoints.state, belongs) if resume else None
        with _watching_for_interrupt(of_several=group.count > 1) as interrupted:
            watch = Watch(progress if group.main else SILENT, len(batches), stage.epochs, interrupted)
            loop = Loop(
                classifier,
                stage,
                batches,
                losses or _losses(classifier, learning, stage),
                LearningParts(classifier, stage, recipe.source),
                statistics.value_range,
                recipe.seed,
                checkpoints,
                watch,
                belongs,
                Together(group),
            ).train()
            if earlier is not None:
                loop.go_on_from(earlier)
                if loop.over:
                    # killed before it had written that, or its files are gone
                    if not (earlier.ended and checkpoints.best.exists() and checkpoints.last.exists()):
                        _keep_all(loop)
                    return loop, _end(loop, stage)
                _say_where(loop, len(batches))
            whole = choosing.whole_batches(stage, share)
            try:
                stopped = _run(loop, whole, recipe, accelerator, group)
            finally:
                classifier.to(memory_format=torch.contiguous_format)  # as everything that reads it expects
            return loop, "interrupted" if stopped else _end(loop, stage)


def _losses(classifier: Network, learning: Part, stage: Stage) -> ClassLoss | ValueLoss:
    if classifier.target is None:
        return ClassLoss(learning.labels, classifier.configuration["classes"], stage)
    return ValueLoss(classifier.target[1])


def _run(loop: Loop, whole: WholeBatches, recipe: Recipe, accelerator: str, group: Processes) -> bool:
    """Let lightning run the loop, and keep what there is however it ends; whether the user stopped it."""
    from lightning.pytorch import Trainer

    stage = loop.stage
    loop.batches.begin = loop.step
    trainer = Trainer(
        accelerator=accelerator,
        devices=group.count // group.nodes,
        num_nodes=group.nodes,
        strategy=strategy(group, accelerator),
        plugins=[group.cluster()],
        sync_batchnorm=group.count > 1 and accelerator == "cuda",
        use_distributed_sampler=False,
        precision=_PRECISIONS[stage.precision],
        max_epochs=stage.epochs - loop.epoch,
        # an epoch that an earlier start had begun has fewer batches than the ones after it
        reload_dataloaders_every_n_epochs=int(loop.step > 0),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    _leave_signals(trainer, group)
    # compiled layers cannot be asked between, and one process must not leave the others inside a layer
    asking = stage.compile or group.count > 1
    try:
        with nullcontext() if asking else asked_between_layers(loop.classifier, loop.watch.check):
            trainer.fit(loop, Remaining(loop.batches), whole)
    except (Stopped, KeyboardInterrupt, SystemExit) as error:  # the last: lightning for the second
        loop.together.leave(stop=True)
        _keep_after_stop(loop, error)
        return True
    except BaseException as error:
        loop.together.leave(error=str(error) or type(error).__name__)
        _keep_after_error(loop)
        explained = _explained(error, loop)
        if explained is None:
            raise
        raise explained from error
    _keep_all(loop)
    return False


def _keep_all(loop: Loop) -> None:
    """Write what a training that has ended by itself leaves; the state last, which says that all is there."""
    loop.checkpoints.keep()
    loop.write_state(_end(loop, loop.stage))


def _keep_after_stop(loop: Loop, error: BaseException) -> None:
    """Write what was learnt until the user stopped it.

    Raises
    ------
    Cancelled
        If that is nothing.
    """
    kept = loop.checkpoints
    # of several processes none knows how far the others were: they go on from what was last written
    whole = not loop.together.several and loop.undo() and loop.step < len(loop.batches)
    worth = bool(loop.history) or kept.state.exists()
    if worth:
        kept.keep()
        if whole:
            loop.write_state()
    if not loop.history:
        if worth and kept.state.exists():
            raise Cancelled(
                say(
                    "Stopped before the first epoch had ended. {file} is kept: train again, resuming, to go on.",
                    file=kept.state,
                )
            ) from error
        raise Cancelled(say("Stopped before the first epoch had ended: nothing is kept.")) from error


def _keep_after_error(loop: Loop) -> None:
    """Write the weights that were learnt before an error, if they can be written; the error itself matters more."""
    with suppress(OutputError):
        loop.checkpoints.keep()


def _explained(error: BaseException, loop: Loop) -> MikataError | None:
    """An error in words that the user can act on; None where it is in such words, or nobody can."""
    stage = loop.stage
    words = {"width": stage.size[1], "height": stage.size[0]}
    if isinstance(error, OutputError) and loop.checkpoints.state.exists():
        return OutputError(
            say(
                "{error} The training is kept as it was before: make room, then train again, resuming, to go on.",
                error=error,
            )
        )
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return TrainingError(
            say(
                "{network} cannot be trained on a single image of {width} x {height} px at once (its "
                "batch normalisation needs more values). Say batch = 2 or more, or a larger size.",
                network=stage.network,
                **words,
            )
        )
    if is_out_of_memory(error):
        return TrainingError(
            say(
                "The memory does not suffice for {batch} images of {width} x {height} px at once. "
                "Say batch = {smaller} or a smaller size.",
                batch=stage.batch,
                smaller=max(1, stage.batch // 2),
                **words,
            )
        )
    if stage.compile and _of_the_compiler(error):
        return TrainingError(
            say(
                "{network} cannot be compiled on this computer: {reason} Install a C++ compiler (and Triton for a "
                "GPU), or say compile = false.",
                network=stage.network,
                reason=_first_line(error),
            )
        )
    return None


def _first_line(error: BaseException) -> str:
    """What the compiler itself said: torch wraps it in an error whose own first line only names the wrapper."""
    inner = getattr(error, "inner_exception", None) or error
    said = str(inner).strip()
    return said.splitlines()[0] if said else type(inner).__name__


def _of_the_compiler(error: BaseException) -> bool:
    modules = {cause.__class__.__module__ for cause in _causes(error)}
    return any(module.startswith(("torch._dynamo", "torch._inductor")) for module in modules)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _end(loop: Loop, stage: Stage) -> Literal["finished", "early stopping"]:
    return "early stopping" if loop.epoch < stage.epochs else "finished"


def _say_where(loop: Loop, steps: int) -> None:
    if loop.step:
        message = say(
            "Goes on in epoch {epoch}, after {step} of {steps} steps",
            epoch=loop.epoch + 1,
            step=loop.step,
            steps=steps,
        )
    else:
        message = say("Goes on after epoch {epoch}", epoch=loop.epoch)
    loop.watch.say(message)


def _refuse_empty_shares(batches: TrainingBatches, recipe: Recipe, group: Processes) -> None:
    """Refuse batches that are too small for every process to get an image of each."""
    smallest = batches.size(len(batches) - 1)
    if smallest < group.count:
        raise RecipeError(
            say(
                "{recipe}: batches of {batch} image(s) cannot be shared by {processes} processes. Say a larger batch, "
                "or start fewer processes.",
                recipe=recipe.source,
                batch=smallest,
                processes=group.count,
            )
        )


def _leave_signals(trainer: Trainer, group: Processes) -> None:
    """Keep lightning from doing more with signals than it has to.

    Of several processes, each would broadcast its end signal to the others in the midst of whatever they do; here
    they agree on it after each step (`mikata.training.together`).
    """
    _leave_javas_signals(trainer)
    if group.count > 1:
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


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
def _watching_for_interrupt(*, of_several: bool) -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C rather than break off in the middle of a step; a second one breaks off.

    Only Python's main thread gets signals: elsewhere the door's cancel is the way to stop. Of several processes,
    each gets Ctrl-C from the terminal and once more from the program that started them, and SIGTERM where the time
    of a batch job is over: these stop it at leisure.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    first = 0.0

    def note(signum: int, frame: Any) -> None:
        nonlocal first
        if not pressed.is_set():
            first = time.monotonic()
            pressed.set()
        elif not of_several or (signum == signal.SIGINT and time.monotonic() - first > _AGAIN_SECONDS):
            raise KeyboardInterrupt

    watched = [signal.SIGINT, *([signal.SIGTERM] if of_several else [])]
    before = [signal.signal(number, note) for number in watched]
    try:
        yield pressed.is_set
    finally:
        for number, handler in zip(watched, before, strict=True):
            # None: a handler that was not Python's own, which cannot be put back from here
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler if handler is not None else usual)
