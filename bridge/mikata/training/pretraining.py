"""What comes before a stage with ``source = "formula"`` or ``"unlabelled"``: learning without anyone's labels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mikata import fractals
from mikata.architecture import Classifier
from mikata.errors import Cancelled
from mikata.language import say
from mikata.networks import InputSpec, Model, build, source_of
from mikata.training.data import Known, Part, Statistics
from mikata.training.fitting import accelerator_for, fit
from mikata.training.named import Named
from mikata.training.plan import Parts
from mikata.training.recipe import Recipe
from mikata.training.run import Run
from mikata.training.stage import Augmentation, Stage
from mikata.training.starting import Start
from mikata.training.unlabelled import Flips, images_of, learn_unlabelled
from mikata.types import Progress

_CHOOSING = 0.2  # share of each class's pictures that chooses the epoch


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was learnt from pictures drawn by formula."""

    start: Start
    record: dict[str, Any]


@dataclass
class Memory:
    """What several trainings share: stages that were trained before, each under all that makes it what it is.

    Attributes
    ----------
    runs, drawn:
        Stages on images, and on pictures drawn by formula.
    images:
        Images that were read, as long as there is room for them.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    images: Known = field(default_factory=dict)


def learn_formula(
    stage: Stage,
    channels: int,
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    memory: Memory | None,
    *,
    resume: bool = False,
) -> Drawn:
    """Train the stage's network on pictures drawn by formula (FractalDB), from random weights.

    Nothing is downloaded, and no licence is needed. Part of the pictures of each class chooses the epoch.

    Parameters
    ----------
    channels:
        Of the stage's images: 1 draws in grey, more in colour.
    folder:
        Gets the checkpoints.
    memory:
        Is asked first, and given what was learnt.
    """
    wanted = stage.formula
    said = [recipe.seed, stage.network, stage.size, channels, stage.precision, dataclasses.asdict(wanted)]
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    if memory is not None and key in memory.drawn:
        return memory.drawn[key]
    started = time.monotonic()
    progress = Named(progress, say("pictures drawn by formula"))
    drawn_pictures = fractals.pictures(
        wanted.classes, wanted.per_class, stage.size, recipe.seed, colour=channels == 3, progress=progress
    )
    images = torch.from_numpy(drawn_pictures).float()
    images = images.movedim(-1, 1) if channels == 3 else images[:, None].expand(-1, channels, -1, -1)
    labels = torch.arange(wanted.classes).repeat_interleave(wanted.per_class)
    place = torch.arange(len(labels)) % wanted.per_class
    chooses = place < max(1, round(_CHOOSING * wanted.per_class))
    if wanted.per_class == 1:  # one picture a class (OFDB): augmentation makes the others
        chooses = torch.ones(len(labels), dtype=torch.bool)
    learns = ~chooses if wanted.per_class > 1 else chooses
    spec = InputSpec(channels, stage.size, "resize", "grey", (0.0, 255.0))
    learning, choosing = (
        Part((), labels[mask], spec, images[mask].contiguous()) for mask in (learns, chooses)
    )
    assert isinstance(learning.kept, torch.Tensor)
    mean = learning.kept.mean((0, 2, 3)).tolist()
    std = learning.kept.std((0, 2, 3)).tolist()
    statistics = Statistics(tuple(mean), tuple(std), (0.0, 255.0))
    own = Stage(
        name="formula",
        network=stage.network,
        size=stage.size,
        epochs=wanted.epochs,
        batch=wanted.batch,
        learning_rate=wanted.learning_rate,
        precision=stage.precision,
        channels_last=stage.channels_last,
        early_stopping=0,
        augmentation=Augmentation(flip_horizontal=True, flip_vertical=True),
    )
    classifier = build(
        stage.network,
        classes=wanted.classes,
        channels=channels,
        mean=mean,
        std=std,
        size=stage.size if stage.fit == "resize" else None,
    )
    loop, stopped_by = fit(
        classifier,
        learning,
        choosing,
        own,
        recipe,
        statistics,
        folder,
        progress,
        accelerator_for(own, recipe),
        resume=resume,
    )
    if stopped_by == "interrupted":
        raise Cancelled(say("Stopped while it learnt pictures drawn by formula: no package is made."))
    classifier = classifier.to("cpu")
    loop.checkpoints.load_best(classifier)
    classes = tuple(f"class_{number:04d}" for number in range(1, wanted.classes + 1))
    model = Model(
        classifier.eval(),
        classes,
        channels,
        stage.size,
        "resize",
        "grey",
        (0.0, 255.0),
        "",
        {},
        Path("formula"),
    )
    drawn = Drawn(
        Start(source_of(model), classes=classes, normalised=False),
        {
            "name": "formula",
            "source": "none",
            "formula": dataclasses.asdict(wanted),
            "history": [dict(epoch) for epoch in loop.history],
            "best_epoch": loop.checkpoints.best_epoch,
            "stopped_by": stopped_by,
            "seconds": round(time.monotonic() - started, 1),
        },
    )
    if memory is not None:
        memory.drawn[key] = drawn
    return drawn


def learn_without_labels(
    classifier: Classifier,
    learning: Part,
    parts: Parts,
    stage: Stage,
    recipe: Recipe,
    statistics: Statistics,
    progress: Progress,
    accelerator: str,
) -> dict[str, Any]:
    """Teach a network images without labels, in place, and return the record of it."""
    started = time.monotonic()
    settings = stage.unlabelled
    progress = Named(progress, say("images without labels"))
    images = images_of(settings, learning, (*parts["selection"], *parts["test"]), stage, progress)
    history = learn_unlabelled(
        classifier,
        images,
        settings,
        recipe.seed,
        progress,
        recipe=recipe.source,
        value_range=statistics.value_range,
        flips=Flips.of(stage),
        workers=stage.workers,
        accelerator=accelerator,
    )
    said = dataclasses.asdict(settings) | {"images": Path(settings.images).name}
    return {
        "name": "unlabelled",
        "source": "none",
        "unlabelled": said,
        "images": len(images),
        "history": history,
        "seconds": round(time.monotonic() - started, 1),
    }
